"""Forged announcements in the local network, while a code is given out and looked for there."""

import contextlib
import socket
import struct
import threading
import time

from kit import program, trees
from kit.dns import A, PORT_MULTICAST, PTR, SRV, TXT
from kit.network import Capture, within
from kit.program import Device
from kit.scenes import check, scene
from kit.switch import Switch

SHARER, JOINER, FORGER = range(3)
GROUP = '224.0.0.251'
FORGED = 10_000
PER_S = 4_000
# Nobody has this address; who believes an announcement asks there.
VICTIM = '10.81.0.200'
JOINED_S = 12.0
GROWN_MAX = 48 << 20
QUESTIONS_MAX = 400


def spelt(*labels):
    """A name, uncompressed."""
    return b''.join(bytes([len(label)]) + label.encode() for label in labels) + b'\0'


def announcement(nameplate):
    """A whole answer (RFC 6763) that nobody asked for: a nameplate, its host, and the victim's address."""
    service = (f'_dunlin-{nameplate}', '_udp', 'local')
    instance, host = spelt('code', *service), spelt(f'host-{nameplate}', 'local')
    records = ((spelt(*service), PTR, 1, instance), (instance, SRV, 0x8001, struct.pack('!HHH', 0, 0, 4000 + nameplate % 50_000) + host),
               (instance, TXT, 0x8001, b'\0'), (host, A, 0x8001, socket.inet_aton(VICTIM)))
    body = b''.join(name + struct.pack('!HHIH', kind, kind_class, 120, len(data)) + data for name, kind, kind_class, data in records)
    return struct.pack('!6H', 0, 0x8400, 0, len(records), 0, 0) + body


def forge(switch, nameplates, stop, sent):
    """Announces all of them, and again, until it is stopped."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        mouth.bind(('', PORT_MULTICAST))
        mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(switch.address(FORGER)))
        began = time.monotonic()
        while not stop.is_set():
            mouth.sendto(announcement(nameplates[sent[0] % len(nameplates)]), (GROUP, PORT_MULTICAST))
            sent[0] += 1
            ahead = began + sent[0] / PER_S - time.monotonic()
            if ahead > 0.002:
                stop.wait(ahead)


@contextlib.contextmanager
def forging(switch, nameplates):
    """Somebody forges meanwhile; how many announcements were sent so far."""
    stop, sent = threading.Event(), [0]
    forger = threading.Thread(target=within, args=(switch.namespaces[FORGER], lambda: forge(switch, nameplates, stop, sent)))
    forger.start()
    try:
        yield sent
    finally:
        stop.set()
        forger.join()


def peak(process):
    """Bytes of a process in memory at most so far; 0 if it is gone."""
    try:
        with open(f'/proc/{process}/status') as status:
            return next((int(line.split()[1]) * 1024 for line in status if line.startswith('VmHWM:')), 0)
    except FileNotFoundError:
        return 0


@scene('codes: forged announcements in the local network', root=True, tools=('ip',), measures=True)
def announced(stage):
    """10 000 other nameplates are announced at a victim's address, over and over. The code works, little is kept of them, and nothing
    goes to the victim."""
    with Switch(3) as switch:
        sharer, joiner = (Device(stage.binary, stage.path(f'home-{number}'), switch.namespaces[number]) for number in (SHARER, JOINER))
        shared, joined = stage.fresh('shared'), stage.fresh('joined')
        trees.small_files(shared, 20, seed=62)
        running = sharer.start('--json', 'share', shared, '--code', '--listen', switch.listen(SHARER))
        try:
            code = running.record_with('code')['code']
            ours, before = int(code.split('-')[0]), peak(running.process.pid)
            others = [number for number in range(1, FORGED + 2) if number != ours]
            with Capture(switch.namespaces[JOINER]) as capture, forging(switch, others) as sent:
                time.sleep(1)
                joining = joiner.start('--json', 'join', code, joined, '--once', '--listen', switch.listen(JOINER))
                began, most = time.monotonic(), 0
                while joining.alive and time.monotonic() < began + 60:
                    most = max(most, peak(joining.process.pid))
                    time.sleep(0.02)
                ended = joining.wait(1)
                # So that all of them have been announced, to the sharer at least.
                while sent[0] < FORGED:
                    time.sleep(0.1)
                grown = peak(running.process.pid) - before
            check(ended.code == program.IN_SYNC, f'the code works: {ended.describe()}')
            check(ended.seconds < JOINED_S, f'it works in {JOINED_S} s: {ended.seconds:.1f}')
            unlike = trees.difference(trees.picture(shared), trees.picture(joined))
            check(not unlike, f'the trees are equal: {unlike}')
            heard = len(capture.datagrams(False, target=PORT_MULTICAST))
            check(heard > 1000, f'the joiner heard of them: {heard}')
            check(most < GROWN_MAX and grown < GROWN_MAX, f'little is kept: {most >> 20} and {grown >> 20} MiB')
            asked = len(capture.datagrams(True, target=PORT_MULTICAST))
            check(asked < QUESTIONS_MAX, f'few questions follow: {asked} for {heard}')
            wire = [frame for outgoing, frame in capture.frames if outgoing and frame[30:34] == socket.inet_aton(VICTIM)]
            check(not wire, f'nothing goes to the victim, yet {len(wire)} frames do')
            stage.note(f'{sent[0]} sent, {heard} heard by the joiner, {asked} questions; joined in {ended.seconds:.1f} s; peak {most >> 20} MiB, sharer {grown >> 20} MiB more')
        finally:
            running.kill()
