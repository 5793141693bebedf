"""What a stranger sees: nothing. No datagram answers it, and a capture of a handshake names nobody."""

import base64
import os
import random
import socket
import struct
import subprocess
import threading
import time

from kit import program, quic_initial, trees
from kit.network import PORT, Cable, Capture, tool, within
from kit.program import Device
from kit.scenes import check, scene

FOLDER_NAME = 'plans-for-the-heron-garden'
FILE_NAME = 'secret-recipe-of-the-dunlin.txt'
FILE_TEXT = b'three handfuls of lugworms, served at low tide'
# A version that RFC 9000 reserves to force version negotiation.
RESERVED_VERSION = 0x1a2a3a4a
# The sharer seeks its members at their last addresses; what it says to those is no answer to this port.
STRANGER_PORT = 40404
LISTENING_S = 2.0
FLOOD_PER_S = 50_000


@scene('outsider: strangers get no datagram back', root=True, tools=('ip',))
def silence(stage):
    """Garbage, QUIC version 1, other versions, replayed and bent first packets, and a join with a foreign key."""
    with Cable() as cable:
        _, share, invite = serve(stage, cable, 'true')
        opening = first_datagram(stage, cable, invite)
        check(len(opening) >= 1200, 'a first datagram is padded')
        sent = strange_datagrams(opening)
        with Capture(cable.right) as capture:
            for name, datagram in sent:
                within(cable.right, lambda: throw(cable, datagram))
            time.sleep(LISTENING_S)
        answers = capture.datagrams(False, target=STRANGER_PORT)
        check(not answers, f'{len(answers)} datagrams came back for {len(sent)} strange ones, first {answers[0][:40] if answers else None}')
        check(share.alive, 'the sharer is unmoved')
        stage.note(f'{len(sent)} strange datagrams, 0 answers')
        share.interrupt()
        foreign_key(stage, cable)


def foreign_key(stage, cable):
    """An invite of another folder, used on this one: the same address, another pre-shared key."""
    _, other, wrong = serve(stage, cable, 'other')
    other.interrupt()
    _, share, right = serve(stage, cable, 'third')
    stranger = Device(stage.binary, stage.path('home-stranger'), cable.right)
    os.makedirs(stage.path('stranger'))
    with Capture(cable.right) as capture:
        joining = stranger.start('--json', 'join', wrong, stage.path('stranger'), '--once', '--wait', '15')
        deadline = time.monotonic() + 30
        while joining.alive and time.monotonic() < deadline:
            time.sleep(0.1)
        check(not joining.alive, 'a join that nobody answers gives up when its time is up')
        ended = joining.wait()
    asked, answers = capture.datagrams(True, target=PORT), capture.datagrams(False, source=PORT)
    check(asked, 'the stranger did knock')
    check(not answers, f'{len(answers)} datagrams came back for a wrong key')
    check(ended.code == program.NO_PEER, f'exit 5, no peer reachable: {ended.describe()}')
    check(share.alive, 'the sharer is unmoved')
    stage.note(f'wrong key: {len(asked)} datagrams, 0 answers, gave up after {ended.seconds:.1f} s')
    member = Device(stage.binary, stage.path('home-member'), cable.right)
    os.makedirs(stage.path('member'))
    with Capture(cable.right) as capture:
        check(member.run('--json', 'join', right, stage.path('member'), '--once').code == 0, 'the right key is answered')
    check(capture.datagrams(False, source=PORT), 'the capture sees answers where there are some')
    share.interrupt()


@scene('outsider: a capture of the handshake names nobody', root=True, tools=('ip',))
def anonymity(stage):
    """All frames of a join and a sync, searched for ids, names and content in all their spellings."""
    with Cable() as cable:
        with Capture(cable.right) as capture:
            sharer, share, invite = serve(stage, cable, FOLDER_NAME)
            joiner = Device(stage.binary, stage.path('home-joiner'), cable.right)
            os.makedirs(stage.path('joined'))
            ended = joiner.run('--json', 'join', invite, stage.path('joined'), '--once')
            check(ended.code == program.IN_SYNC, f'the join ends in sync: {ended.describe()}')
            share.interrupt()
        wire = b''.join(frame for _, frame in capture.frames)
        check(len(capture.datagrams(False, source=PORT)) > 3, 'the capture holds the handshake')
        secrets = spoken_names(stage) | spoken_ids(sharer) | spoken_ids(joiner)
        secrets |= spoken_ids(sharer, 'debug', 'ledger', stage.path(FOLDER_NAME))
        check(len(secrets) >= 10, f'ids were found to look for: {len(secrets)}')
        found = [secret for secret in sorted(secrets) if secret in wire]
        check(not found, f'in clear on the wire: {found}')
        stage.note(f'{len(capture.frames)} frames, {len(wire)} bytes, {len(secrets)} spellings looked for')


@scene('outsider: a flood of spoofed first packets, and replays', root=True, tools=('ip', 'sysctl'), measures=True)
def flood(stage):
    """50 000 datagrams a second under ever other addresses: made-up ones that look like first packets, bent ones, and the
    same true one over and over. No answer, no state; a member comes in as ever."""
    seconds, replays = stage.size(6, 60), stage.size(10_000, 100_000)
    with Cable() as cable:
        sharer, share, _ = serve(stage, cable, 'flooded')
        invites = [sharer.run('--json', 'share', stage.path('flooded')).records[-1]['invite'] for _ in range(3)]
        opening = first_datagram(stage, cable, invites[0])
        allow_spoofing(cable)
        before, heard = resident(share.process.pid), datagrams_heard(cable)
        forget_peak(share.process.pid)
        with Capture(cable.left) as capture:
            within(cable.right, lambda: throw_spoofed(cable, [opening], replays, FLOOD_PER_S))
            time.sleep(LISTENING_S)
        answers = capture.datagrams(True, source=PORT)
        check(not answers, f'{len(answers)} datagrams came back for {replays} replays of a first message')
        kinds = [d for name, d in strange_datagrams(opening) if 'first datagram' in name or 'of ours' in name]
        for name, invite in (('while it lasts', invites[1]), ('after it', invites[2])):
            flooding = threading.Thread(target=within, args=(cable.right, lambda: rates.append(throw_spoofed(cable, kinds, int(seconds * FLOOD_PER_S), FLOOD_PER_S))))
            rates = []
            if name == 'while it lasts':
                flooding.start()
                time.sleep(seconds / 3)
            member, root = Device(stage.binary, stage.path(f'home {name}'), cable.right), stage.fresh(f'joined {name}')
            began = time.monotonic()
            ended = member.run('--json', 'join', invite, root, '--once', '--wait', '30')
            took = time.monotonic() - began
            check(ended.code == program.IN_SYNC, f'a member comes in {name}: {ended.describe()}')
            if flooding.ident:
                flooding.join()
                stage.note(f'{rates[0]:.0f} datagrams a second came out')
            check(took < 5, f'a member comes in {name} within 5 s: {took:.2f}')
            stage.note(f'joined {name}: {took:.2f} s')
        heard, thrown = datagrams_heard(cable) - heard, replays + seconds * FLOOD_PER_S
        check(heard > thrown / 2, f'most of the {thrown} datagrams came as far as the sharer: {heard}')
        grown = resident(share.process.pid) - before
        check(grown < 8 << 20, f'its memory has grown by {grown} bytes')
        most = peak(share.process.pid) - before
        check(most < 8 << 20, f'its memory had grown by {most} bytes at some moment')
        check(share.alive, 'the sharer is unmoved')
        stage.note(f'{replays} replays, {seconds} s of flood, {heard} datagrams heard: {grown / 2 ** 20:.1f} MiB more, {most / 2 ** 20:.1f} at most')
        share.interrupt()


def allow_spoofing(cable):
    """The flooded machine takes datagrams from addresses that nothing leads back to."""
    for name in ('all', 'eth0'):
        tool('ip', 'netns', 'exec', cable.left, 'sysctl', '-qw', f'net.ipv4.conf.{name}.rp_filter=0')
    tool('ip', '-n', cable.left, 'route', 'add', 'default', 'via', cable.addresses[cable.right])


def throw_spoofed(cable, payloads, count, per_second):
    """Sends datagrams from random addresses, so many a second at most; gives how many a second it were."""
    rng, began = random.Random(47), time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as thrower:
        target = (cable.addresses[cable.left], 0)
        for number in range(count):
            payload = payloads[number % len(payloads)]
            source = struct.pack('!BBBB', 11, rng.randrange(256), rng.randrange(256), rng.randrange(1, 255))
            head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 28 + len(payload), 0, 0, 64, socket.IPPROTO_UDP, 0, source, socket.inet_aton(target[0]))
            udp = struct.pack('!HHHH', rng.randrange(1024, 65536), PORT, 8 + len(payload), 0)
            thrower.sendto(head + udp + payload, target)
            ahead = began + number / per_second - time.monotonic()
            if ahead > 0.002:
                time.sleep(ahead)
    return count / (time.monotonic() - began)


def datagrams_heard(cable):
    """What the sockets of the flooded machine were given so far."""
    names, values = [line.split() for line in tool('ip', 'netns', 'exec', cable.left, 'cat', '/proc/net/snmp').splitlines() if line.startswith('Udp:')]
    return int(values[names.index('InDatagrams')])


def resident(process):
    """Bytes of a process in memory."""
    with open(f'/proc/{process}/smaps_rollup') as handle:
        return next(int(line.split()[1]) * 1024 for line in handle if line.startswith('Rss:'))


def forget_peak(process):
    """What a process has at most in memory is counted from now on (proc(5), clear_refs)."""
    with open(f'/proc/{process}/clear_refs', 'w') as handle:
        handle.write('5')


def peak(process):
    """Bytes that a process has had in memory at most since then."""
    with open(f'/proc/{process}/status') as handle:
        return next(int(line.split()[1]) * 1024 for line in handle if line.startswith('VmHWM:'))


def serve(stage, cable, name):
    """A sharer on the left with a small folder: (device, running, invite)."""
    os.makedirs(stage.path(name))
    trees.write(os.path.join(stage.path(name), FILE_NAME), FILE_TEXT)
    sharer = Device(stage.binary, stage.path(f'home-of-{name}'), cable.left)
    share = sharer.start('--json', 'share', stage.path(name), '--listen', address(cable))
    return sharer, share, share.record_with('invite')['invite']


def address(cable):
    """Where the sharer listens."""
    return f'{cable.addresses[cable.left]}:{PORT}'


def first_datagram(stage, cable, invite):
    """The first datagram of a true join."""
    joiner = Device(stage.binary, stage.path('home-first'), cable.right)
    os.makedirs(stage.path('first'))
    with Capture(cable.right) as capture:
        check(joiner.run('--json', 'join', invite, stage.path('first'), '--once').code == 0, 'a true join works')
    return capture.datagrams(True, target=PORT)[0]


def strange_datagrams(opening):
    """(name, datagram) of everything a stranger may try."""
    rng = random.Random(31)
    version = opening[1:5]
    tries = [('QUIC version 1 Initial', quic_initial.client_initial())]
    for name, other in (('reserved version', RESERVED_VERSION), ('QUIC version 2', 0x6b3343cf), ('version 0', 0), ('next version', int.from_bytes(version) + 1)):
        tries.append((name, opening[:1] + struct.pack('!I', other) + opening[5:]))
    tries += [(f'{size} random bytes', rng.randbytes(size)) for size in (0, 1, 2, 7, 20, 21, 64, 300, 1199, 1200, 1452, 9000)]
    tries += [('long header of ours, random body', opening[:1] + version + rng.randbytes(1195)) for _ in range(20)]
    tries += [('short header, random body', bytes([0x40 | rng.randrange(64)]) + rng.randbytes(rng.randrange(20, 1200))) for _ in range(40)]
    for _ in range(40):
        bent = bytearray(opening)
        bent[rng.randrange(len(bent))] ^= 1 << rng.randrange(8)
        tries.append(('a bent first datagram', bytes(bent)))
    tries += [(f'the first datagram cut to {size}', opening[:size]) for size in (5, 20, 100, 600, 1199)]
    tries.append(('a replayed first datagram', opening))
    return tries


def throw(cable, datagram):
    """Sends one datagram at the sharer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thrower:
        thrower.bind(('', STRANGER_PORT))
        thrower.sendto(datagram, (cable.addresses[cable.left], PORT))


def spoken_names(stage):
    """The names and texts that must not be seen."""
    host = subprocess.run(['hostname'], capture_output=True, text=True).stdout.strip()
    names = [FOLDER_NAME, FILE_NAME, FILE_TEXT.decode(), *([host] if len(host) > 3 else [])]
    return {name.encode() for name in names} | {stage.directory.encode()}


def spoken_ids(device, *command):
    """Every 32-byte id that a command prints, in each of its spellings: raw, hex, base32."""
    ended = device.run('--json', *(command or ('id',)))
    spellings = set()
    for word in words(ended.records):
        raw = as_id(word)
        if raw:
            text = base64.b32encode(raw).rstrip(b'=')
            spellings |= {raw, raw[::-1], raw.hex().encode(), raw.hex().upper().encode(), text, text.lower(), raw[:12]}
    return spellings


def words(value):
    """All texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from words(part)
    elif isinstance(value, list):
        for part in value:
            yield from words(part)


def as_id(word):
    """The 32 bytes that a text spells, if it spells some."""
    for decode in (bytes.fromhex, lambda text: base64.b32decode(text.upper() + '=' * (-len(text) % 8))):
        try:
            raw = decode(word)
        except ValueError:
            continue
        if len(raw) == 32:
            return raw
    return None
