"""dunlin for the comparison harness: `share` on A, `join --once` on B, nothing prepared but the two identities.

The clock holds everything: both process starts, scan and hash of the tree, the handshake, the transfer, the
files made durable on B, and the ledger's entries. Identities are made before, as the peers' keys are.
The memory of each side is sampled apart from the harness: PSS, and the part of it that no file backs,
for RSS also counts the mapped pages of the store, which the kernel takes back when it likes.
"""
import json, os, threading, time
from harness import *

BIN = os.environ['DUNLIN']
PATIENCE_S = 600


class Peer(Driver):
    name = 'dunlin'; kind = 'oneshot'; bidir = True

    def version(s): return sh(BIN, '--version').split()[-1]

    def setup(s, hosts):
        s.h = hosts[:2]
        for h in s.h: h.run(s.command(h, 'id'), log='id')
        s.joined = False

    def command(s, h, *arguments): return [BIN, '--home', f'{h.work}/home', '--json', *arguments]

    def sync(s):
        a, b = s.h
        with Memory(s.h) as memory:
            share = a.spawn(s.command(a, 'share', a.dir, '--listen', f'{a.ip}:7000'), log='share')
            invite = s.invite(a, share)
            again = ['sync', b.dir] if s.joined else ['join', invite, b.dir, '--once']
            b.run(s.command(b, *again), log='join', timeout=PATIENCE_S)
            s.joined = True
            a.kill(share, signal.SIGINT)
        emit(f'{B}/results/memory.jsonl', dict(pss=memory.pss, anonymous=memory.anonymous, workload=os.path.basename(a.dir)))

    def invite(s, a, share):
        limit = time.monotonic() + PATIENCE_S
        while time.monotonic() < limit:
            for line in reversed(open(f'{a.work}/share.log', errors='replace').read().splitlines()):
                if line.startswith('{') and 'invite' in line: return json.loads(line)['invite']
            if share.poll() is not None: break
            time.sleep(0.005)
        raise RuntimeError('share gave no invite: ' + open(f'{a.work}/share.log', errors='replace').read()[-600:])

    def state_bytes(s): return [du(f'{h.work}/home') for h in s.h]


class Memory:
    """Peaks of each host's PSS and anonymous memory in bytes, sampled five times a second."""

    def __init__(s, hosts):
        s.hosts, s.done = hosts, threading.Event()
        s.pss, s.anonymous = [0] * len(hosts), [0] * len(hosts)

    def __enter__(s):
        s.thread = threading.Thread(target=s.sample, daemon=True); s.thread.start(); return s

    def __exit__(s, *_): s.done.set(); s.thread.join()

    def sample(s):
        while not s.done.wait(0.2):
            for at, host in enumerate(s.hosts):
                pss = anonymous = 0
                for process in host.pids():
                    try:
                        for line in open(f'/proc/{process}/smaps_rollup'):
                            if line.startswith('Pss:'): pss += int(line.split()[1]) * 1024
                            if line.startswith('Anonymous:'): anonymous += int(line.split()[1]) * 1024
                    except OSError: continue
                s.pss[at], s.anonymous[at] = max(s.pss[at], pss), max(s.anonymous[at], anonymous)
