"""The daemons that are compared: each is paired once over two equal trees, and then stopped and started at will."""
import json, os, time
from drivers import syncthing, unison
from harness import *

PATIENCE_S = 1500


def wait_until(is_so, what, patience=PATIENCE_S, pause=0.02):
    """Waits, and gives what `is_so` gave at last; a daemon that never gets there fails its run."""
    limit = time.monotonic() + patience
    while not (so := is_so()):
        if time.monotonic() > limit: raise RuntimeError(f'timeout: {what}')
        time.sleep(pause)
    return so


class Dunlin:
    """`share --once` and `join --once` pair the trees, then `serve` on both."""
    name = 'dunlin'

    def __init__(s, binary): s.binary = binary

    def command(s, h, *arguments): return [s.binary, '--home', f'{h.work}/home', '--json', *arguments]

    def pair(s, hosts):
        s.hosts = hosts; a, b = hosts
        for h in hosts: h.run(s.command(h, 'id'), log='id')
        share = a.spawn(s.command(a, 'share', a.dir, '--once', '--listen', f'{a.ip}:7000'), log='share')
        invites = lambda: [line for line in s.told(a, 'share') if 'invite' in line]
        wait_until(invites, 'no invite')
        b.run(s.command(b, 'join', invites()[-1]['invite'], b.dir, '--once'), log='join')
        share.wait(PATIENCE_S)
        s.start()
        wait_until(lambda: s.is_up(), 'not in sync')

    def told(s, h, log, after=0):
        if not os.path.exists(f'{h.work}/{log}.log'): return []
        with open(f'{h.work}/{log}.log', errors='replace') as lines:
            lines.seek(after)
            return [json.loads(line) for line in lines.read().splitlines() if line.startswith('{') and line.endswith('}')]

    def start(s):
        s.marks = [size(f'{h.work}/serve.log') for h in s.hosts]
        s.daemons = [h.spawn(s.command(h, 'serve', '--listen', f'{h.ip}:7000'), log='serve') for h in s.hosts]

    def is_up(s):
        """Both have looked at everything and are connected."""
        words = [{line.get('event') for line in s.told(h, 'serve', mark)} for h, mark in zip(s.hosts, s.marks)]
        return all({'watching', 'connected'} <= told for told in words)

    def stop(s):
        for h, daemon in zip(s.hosts, s.daemons): h.kill(daemon, signal.SIGINT)

    def rescan(s):
        """A full look at A's tree by a process of its own, the daemons being stopped."""
        s.stop()
        began = time.monotonic(); s.hosts[0].run(s.command(s.hosts[0], 'scan', s.hosts[0].dir), log='scan')
        took = time.monotonic() - began
        s.start(); wait_until(s.is_up, 'not in sync')
        return took

    def hashed(s):
        """Bytes that A and B have read and hashed in their last run, by their own reports."""
        return [s.told(h, 'serve', mark)[-1].get('bytes_hashed') for h, mark in zip(s.hosts, s.marks)]


class Syncthing:
    """The harness's driver, with Syncthing's own defaults but for its ways out into the world."""
    name = 'syncthing'

    def __init__(s, _): s.driver = syncthing.Peer()

    def pair(s, hosts):
        s.hosts = hosts; files, bytes_ = count_tree(hosts[0].dir)
        s.driver.setup(hosts); s.driver.start(); s.driver.wait_synced(files, bytes_)

    def start(s): s.driver.restart()

    def is_up(s):
        """Both have scanned and lack nothing."""
        try: states = [s.driver.status(h) for h in s.hosts]
        except Exception: return False
        return all(state['state'] == 'idle' and state['needTotalItems'] == 0 and state['localFiles'] for state in states)

    def stop(s): s.driver.stop()

    def rescan(s):
        began = time.monotonic()
        nsapi = syncthing.nsapi
        nsapi(s.hosts[0].ns, 'POST', '/rest/db/scan?folder=t', timeout=PATIENCE_S, key=s.driver.keys[s.hosts[0].ns])
        return time.monotonic() - began


class Unison:
    """`-repeat 1`, from Debian."""
    name, repetition = 'unison', '1'

    def __init__(s, _): s.driver = unison.Peer()

    def pair(s, hosts):
        s.hosts = hosts; s.driver.setup(hosts); s.driver.sync(); s.repeat()

    def repeat(s):
        a, b = s.hosts
        roots = [a.dir, f'socket://{b.ip}:5555//{b.dir.lstrip("/")}']
        options = '-batch -auto -times -perms -1 -confirmbigdel=false -contactquietly -dumbtty'.split()
        s.watcher = a.spawn([*s.driver.cmd(), *roots, *options, '-repeat', s.repetition, '-logfile', f'{a.work}/u.log'], s.driver.env(a), 'repeat')

    def start(s): s.driver.setup(s.hosts); s.repeat()

    def is_up(s): return True

    def stop(s):
        for h in s.hosts: h.kill_all()

    def rescan(s):
        """A run without changes: both trees are looked at."""
        s.hosts[0].kill(s.watcher)
        began = time.monotonic(); s.driver.sync(); took = time.monotonic() - began
        s.repeat()
        return took


class WatchingUnison(Unison):
    """Its watch mode, by `unison-fsmonitor`, which Debian does not ship: both programs, built from its source, lie in `bin`."""
    name, repetition = 'unison-watch', 'watch'

    def __init__(s, _):
        s.driver = unison.Peer()
        s.driver.cmd = lambda: [f'{B}/bin/unison']
        env = s.driver.env
        s.driver.env = lambda h: {**env(h), 'PATH': f'{B}/bin:{os.environ["PATH"]}'}


def size(path): return os.path.getsize(path) if os.path.exists(path) else 0


PEERS = {peer.name: peer for peer in (Dunlin, Syncthing, Unison, WatchingUnison)}
