"""Short codes: two devices in networks of their own meet at a rendezvous server in a third, or find each other on one. Two
commands; a wrong word burns the code; a flood from one address keeps nobody else out; and what goes over names nobody.
"""

import contextlib
import os
import random
import socket
import struct
import threading
import time

from kit import program, trees
from kit.network import Capture, udp_payload, within
from kit.program import Device
from kit.routed import Routed
from kit.scenes import check, scene
from kit.switch import Switch

from .control import wait_for
from .outsider import FOLDER_NAME, resident, spoken_ids, spoken_names

NEEDS = ('ip', 'sysctl')
RENDEZVOUS_PORT = 27274
SHARER, JOINER, SERVER, FLOODER = range(4)
FIRST_FILE_S = 5.0
# Two words of 2 048: who knows neither is right once in so many tries.
ONE_GUESS_IN = 2 ** 22
MAGIC = b'dnr\x01'
MESSAGE_MAX = 1024


class Meeting:
    """A sharer with a small folder, a joiner, and a rendezvous server, each in a network of its own."""

    def __init__(self, stage, net):
        self.stage, self.net = stage, net
        self.at = f'{net.address(SERVER)}:{RENDEZVOUS_PORT}'
        self.sharer, self.joiner, self.server = (
            Device(stage.binary, stage.path(f'home-{number}'), net.namespaces[number]) for number in (SHARER, JOINER, SERVER))
        self.shared, self.joined = stage.path(FOLDER_NAME), stage.fresh('joined')
        if not os.path.isdir(self.shared):
            os.makedirs(self.shared)
            trees.small_files(self.shared, 40, seed=61)
        self.meeting = self.server.start('--json', 'rendezvous', 'serve', '--listen', self.at)
        self.meeting.record_with('listening')

    def share(self, *more):
        """Starts `share --code`; gives the run and the code."""
        running = self.sharer.start('--json', 'share', self.shared, '--code', '--rendezvous', self.at,
                                    '--listen', self.net.listen(SHARER), *more)
        return running, running.record_with('code')['code']

    def join(self, code, *more):
        """Starts `join --once` with a code."""
        return self.joiner.start('--json', 'join', code, self.joined, '--once', '--rendezvous', self.at,
                                 '--listen', self.net.listen(JOINER), *more)

    def invites(self):
        """The invites that somebody could still use."""
        listed = self.sharer.run('--json', 'invite', 'list', self.shared)
        check(listed.code == program.IN_SYNC, f'invites are listed: {listed.describe()}')
        return listed.records

    def check_equal(self):
        """The two trees are the same picture."""
        unlike = trees.difference(trees.picture(self.shared), trees.picture(self.joined))
        check(not unlike, f'the trees are equal: {unlike}')


@contextlib.contextmanager
def meeting(stage, machines=3):
    """Such a meeting; the server ends with it."""
    with Routed(machines) as net:
        made = Meeting(stage, net)
        try:
            yield made
        finally:
            made.meeting.kill()


def files_of(root):
    """The files that the folder shows."""
    shown = [files for folder, _, files in os.walk(root) if '.dunlin' not in folder]
    return [name for files in shown for name in files]


def states(running):
    """What became of the codes of a share, in order."""
    return [record['state'] for record in program.json_lines(''.join(running.lines)) if record['event'] == 'code']


def with_other_words(code):
    """The same nameplate with words that are not the code's."""
    nameplate, first, second = code.split('-')
    return '-'.join((nameplate, first, 'zebra' if second != 'zebra' else 'zero'))


@scene('codes: two commands, two networks, one server', root=True, tools=NEEDS)
def two_commands(stage):
    """share --code here, join CODE there: all is there in five seconds, and the code is used up."""
    with meeting(stage) as here:
        check(not here.net.hears_multicast(SHARER, JOINER), 'neither network hears the multicast of the other')
        began = time.monotonic()
        running, code = here.share()
        given = time.monotonic()
        joining = here.join(code)
        wait_for(lambda: files_of(here.joined), 'a first file is there')
        first = time.monotonic() - given
        ended = joining.wait(60)
        check(ended.code == program.IN_SYNC, f'join ends in sync: {ended.describe()}')
        here.check_equal()
        stage.note(f'code after {given - began:.2f} s, first file {first:.2f} s after join was typed, all after {ended.seconds:.2f} s')
        check(first <= FIRST_FILE_S, f'the first file is there within {FIRST_FILE_S} s: {first:.2f} s')
        check(states(running) == ['ready', 'used'], f'the sharer knows: {states(running)}')
        again = here.join(code).wait(60)
        check(again.code == program.REFUSED and 'nobody offers' in again.complaint, f'a code is good for once: {again.describe()}')
        running.interrupt()


@scene('codes: a wrong word burns the code', root=True, tools=NEEDS)
def burned(stage):
    """Both are told; the right words come too late; the next code works; three burned ones are enough."""
    with meeting(stage) as here:
        running, code = here.share()
        said = running.record_with('one_guess_in')
        check(said['one_guess_in'] == ONE_GUESS_IN and said['code'] == code, f'how likely a guess is right is said: {said}')
        wrong = here.join(with_other_words(code)).wait(60)
        check(wrong.code == program.REFUSED and 'burned' in wrong.complaint, f'who typed it is told: {wrong.describe()}')
        check(not here.invites(), f'no invite stands behind a code that nobody had the words of: {here.invites()}')
        check('--code' in wrong.complaint, f'and what to do: {wrong.describe()}')
        wait_for(lambda: 'burned' in states(running), 'the sharer is told')
        wait_for(lambda: states(running).count('ready') == 2, 'another code is given out')
        right = here.join(code).wait(60)
        check(right.code == program.REFUSED and 'nobody offers' in right.complaint, f'the right words come too late: {right.describe()}')
        check(not files_of(here.joined), 'nothing came')
        following = codes_of(running)[-1]
        slip = here.join(following.rsplit('-', 1)[0] + '-zebrra').wait(60)
        check(slip.code == program.USAGE and 'zebrra' in slip.complaint, f'a word that is none is not tried: {slip.describe()}')
        ended = here.join(following).wait(60)
        check(ended.code == program.IN_SYNC, f'the next code works: {ended.describe()}')
        here.check_equal()
        check(not here.invites(), f'the one behind it is used up: {here.invites()}')
        running.interrupt()
        running, _ = here.share('--once')
        for number in range(1, 4):
            wait_for(lambda number=number: len(codes_of(running)) == number, f'code {number} is given out')
            here.join(with_other_words(codes_of(running)[-1])).wait(60)
        ended = running.wait(60)
        check(ended.code == program.REFUSED, f'three burned codes are enough: {ended.describe()}')
        check(len(codes_of(running)) == 3, f'no fourth code: {codes_of(running)}')


def codes_of(running):
    """All codes that a share gave out."""
    return [record['code'] for record in program.json_lines(''.join(running.lines)) if 'code' in record]


@scene('codes: a flood from one address keeps nobody out', root=True, tools=NEEDS, measures=True)
def flood(stage):
    """One machine opens nameplates and leaves messages as fast as it can, with a proven address and with made-up ones."""
    seconds = stage.size(8, 60)
    with meeting(stage, machines=4) as here:
        before = resident(here.meeting.process.pid)
        counts = {}
        flooding = [threading.Thread(target=within, args=(here.net.namespaces[FLOODER], lambda pour=pour: pour(here, seconds, counts)))
                    for pour in (pour_proven, pour_spoofed)]
        for one in flooding:
            one.start()
        time.sleep(seconds / 4)
        running, code = here.share()
        ended = here.join(code).wait(60)
        check(ended.code == program.IN_SYNC, f'another pair meets while it lasts: {ended.describe()}')
        check(all(one.is_alive() for one in flooding), 'the flood lasts longer than they need')
        here.check_equal()
        for one in flooding:
            one.join()
        running.interrupt()
        grown = resident(here.meeting.process.pid) - before
        stage.note(f'{counts["turns"]} turns and {counts["spoofed"]} made-up ones in {seconds} s: {grown / 2 ** 20:.1f} MiB more, '
                   f'{counts["open"]} nameplates had; joined in {ended.seconds:.2f} s')
        check(counts['turns'] > 2000 * seconds / 8, f'it is a flood: {counts}')
        check(grown < 2 << 20, f'the server has grown by {grown} bytes')
        check(counts['open'] <= 8, f'one network has so many nameplates at most: {counts["open"]}')
        check(ended.seconds < FIRST_FILE_S + 2, f'the pair is hardly slowed down: {ended.seconds:.2f} s')


def turn(kind, cookie, nameplate, ticket, number=0, message=b''):
    """A turn, see docs/wire.md."""
    return MAGIC + bytes([kind]) + cookie + struct.pack('!I', nameplate) + ticket + bytes([0, 0, number]) + message


def pour_proven(here, seconds, counts):
    """Opens nameplates one after the other, and leaves messages at each."""
    rng, until, target = random.Random(5), time.monotonic() + seconds, (here.net.address(SERVER), RENDEZVOUS_PORT)
    turns, opened = 0, set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.settimeout(0.2)
        cookie = bytes(16)
        while cookie == bytes(16):
            mouth.sendto(turn(1, cookie, 1, bytes(16)), target)
            with contextlib.suppress(TimeoutError):
                cookie = mouth.recv(2048)[21:37]
        mouth.setblocking(False)
        while time.monotonic() < until:
            nameplate, ticket = 100_000 + turns // 6, struct.pack('!QQ', 7, turns // 6)
            mouth.sendto(turn(1, cookie, nameplate, ticket, 1 + turns % 6, rng.randbytes(MESSAGE_MAX)), target)
            turns += 1
            with contextlib.suppress(BlockingIOError):
                answer = mouth.recv(2048)
                if answer[4:5] == b'\x04' and answer[21] == 0:
                    opened.add(answer[5:21])
    counts['turns'], counts['open'] = turns, len(opened)


def pour_spoofed(here, seconds, counts):
    """The same from ever other addresses, which can prove nothing."""
    rng, until, sent = random.Random(6), time.monotonic() + seconds, 0
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as mouth:
        target = socket.inet_aton(here.net.address(SERVER))
        while time.monotonic() < until:
            payload = turn(1, rng.randbytes(16), rng.randrange(1, 999_999), rng.randbytes(16), 1, rng.randbytes(MESSAGE_MAX))
            source = struct.pack('!BBBB', 10, 82, FLOODER, rng.randrange(2, 250))
            head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 28 + len(payload), 0, 0, 64, socket.IPPROTO_UDP, 0, source, target)
            udp = struct.pack('!HHHH', rng.randrange(1024, 65536), RENDEZVOUS_PORT, 8 + len(payload), 0)
            mouth.sendto(head + udp + payload, (here.net.address(SERVER), 0))
            sent += 1
    counts['spoofed'] = sent


@scene('codes: what a router says, or somebody in its name, ends none', root=True, tools=NEEDS)
def forged_words(stage):
    """Words of the network that end a connected socket's wait (ICMP: protocol, host unreachable and more) come for each datagram of
    the sharer, before the code is used and while it is being burned: the code stays, and the sharer is told what became of it."""
    with meeting(stage) as here, Capture(here.net.namespaces[SERVER]) as capture:
        running, code = here.share()
        mouth = within(here.net.namespaces[SERVER], lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
        over, said = threading.Event(), []
        speaker = threading.Thread(target=answer_falsely, args=(capture, mouth, here.net.address(SHARER), over, said))
        speaker.start()
        try:
            wait_for(lambda: len(said) >= 12, 'each word was said to the sharer')
            check(running.alive, f'the code is still offered: {states(running)}')
            wrong = here.join(with_other_words(code)).wait(60)
            check(wrong.code == program.REFUSED and 'burned' in wrong.complaint, f'who typed it is told: {wrong.describe()}')
            wait_for(lambda: states(running) == ['ready', 'burned', 'ready'], 'the sharer is told, and gives another one')
            ended = here.join(codes_of(running)[-1]).wait(60)
            check(ended.code == program.IN_SYNC, f'which works: {ended.describe()}')
        finally:
            over.set()
            speaker.join()
            mouth.close()
        here.check_equal()
        stage.note(f'{len(said)} words in the name of a router')
        running.interrupt()


def answer_falsely(capture, mouth, sharer, over, said):
    """Says of each datagram that came from the sharer to the rendezvous that it cannot be delivered, with one reason after the other:
    those of ICMP (type 3) that Linux hands to a connected socket."""
    reasons = (2, 3, 6, 7, 8, 9, 10, 13)
    looked_at = 0
    while not over.wait(0.02):
        frames = capture.frames[looked_at:]
        looked_at += len(frames)
        for is_outgoing, frame in frames:
            found = udp_payload(frame)
            if is_outgoing or not found or found[1] != RENDEZVOUS_PORT or frame[26:30] != socket.inet_aton(sharer):
                continue
            word = struct.pack('!BBHI', 3, reasons[len(said) % len(reasons)], 0, 0) + frame[14:14 + 28]
            mouth.sendto(with_checksum(word), (sharer, 0))
            said.append(word)


def with_checksum(word):
    """A message of ICMP with its checksum."""
    total = sum(struct.unpack(f'!{len(word) // 2}H', word))
    total = (total >> 16) + (total & 0xffff)
    return word[:2] + struct.pack('!H', ~(total + (total >> 16)) & 0xffff) + word[4:]


@scene('codes: what goes through the server names nobody', root=True, tools=NEEDS)
def blind(stage):
    """All that the server got and gave, of a code that is used and of one that is burned, searched for words, ids and names."""
    with meeting(stage) as here:
        with Capture(here.net.namespaces[SERVER]) as capture:
            running, first = here.share()
            here.join(with_other_words(first)).wait(60)
            second = wait_for(lambda: [c for c in codes_of(running) if c != first], 'another code is given out')[0]
            ended = here.join(second).wait(60)
            check(ended.code == program.IN_SYNC, f'join ends in sync: {ended.describe()}')
            running.interrupt()
        came, went = capture.datagrams(False, target=RENDEZVOUS_PORT), capture.datagrams(True, source=RENDEZVOUS_PORT)
        check(len(came) > 8 and max(map(len, came)) > 500, f'the capture holds the exchange: {len(came)} datagrams')
        wire = b''.join(frame for _, frame in capture.frames)
        numbers = {struct.pack('!I', int(code.split('-')[0])) for code in (first, second)}
        check(all(number in wire for number in numbers), 'the capture would show what is there: the nameplates are')
        secrets = secrets_of(stage, here.sharer, here.joiner, here.shared, first, second)
        found = [secret for secret in sorted(secrets) if secret in wire]
        check(not found, f'in clear at the server: {found}')
        unproven = [len(datagram) for datagram in went if datagram[4:5] == b'\x03']
        check(unproven and max(unproven) < min(map(len, came)), 'who has proven nothing gets less than it sent')
        stage.note(f'{len(came)} datagrams came, {len(went)} went, {len(secrets)} spellings looked for')


def secrets_of(stage, sharer, joiner, shared, *codes):
    """What nobody may see, in all its spellings: names, ids, words, links."""
    secrets = spoken_names(stage) | spoken_ids(sharer) | spoken_ids(joiner) | spoken_ids(sharer, 'debug', 'ledger', shared)
    check(len(secrets) >= 10, f'ids were found to look for: {len(secrets)}')
    for code in codes:
        _, *words = code.split('-')
        # What is sealed holds any three letters by chance, once in a hundred runs.
        tellings = ['-'.join(words), *(word for word in words if len(word) > 4)]
        secrets |= {spelled.encode() for word in tellings for spelled in (word, word.upper())}
    return secrets | {b'dunlin://'}


@scene('codes: on one network no server is needed', root=True, tools=('ip',), measures=True)
def one_network(stage):
    """Both find each other by mDNS, which names nobody; a wrong word burns the code there too."""
    with Switch(2) as switch:
        sharer, joiner = (Device(stage.binary, stage.path(f'home-{number}'), switch.namespaces[number]) for number in range(2))
        shared, joined = stage.fresh(FOLDER_NAME), stage.fresh('joined')
        trees.small_files(shared, 40, seed=61)
        with Capture(switch.namespaces[1]) as capture:
            running = sharer.start('--json', 'share', shared, '--code', '--listen', switch.listen(0))
            first = running.record_with('code')['code']
            given = time.monotonic()
            wrong = joiner.run('--json', 'join', with_other_words(first), joined, '--once')
            check(wrong.code == program.REFUSED and 'burned' in wrong.complaint, f'who typed it is told: {wrong.describe()}')
            tried = time.monotonic() - given
            second = wait_for(lambda: [c for c in codes_of(running) if c != first], 'another code is given out')[0]
            ended = joiner.run('--json', 'join', second, joined, '--once', '--listen', switch.listen(1))
            check(ended.code == program.IN_SYNC, f'join ends in sync: {ended.describe()}')
            running.interrupt()
        unlike = trees.difference(trees.picture(shared), trees.picture(joined))
        check(not unlike, f'the trees are equal: {unlike}')
        check(ended.seconds <= FIRST_FILE_S, f'all is there within {FIRST_FILE_S} s: {ended.seconds:.2f}')
        check(states(running) == ['ready', 'burned', 'ready', 'used'], f'the sharer knows: {states(running)}')
        wire = b''.join(frame for _, frame in capture.frames)
        check(f'_dunlin-{second.split("-")[0]}'.encode() in wire, 'the capture holds what is said by mDNS')
        found = [secret for secret in sorted(secrets_of(stage, sharer, joiner, shared, first, second)) if secret in wire]
        check(not found, f'in clear on the network: {found}')
        stage.note(f'found and burned in {tried:.2f} s; the next one: all there in {ended.seconds:.2f} s; {len(capture.frames)} frames')


@scene('codes: while serve runs, as the configuration says, and typed in', root=True, tools=NEEDS)
def with_daemons(stage):
    """Both devices serve already; the code comes by standard input; share returns once it is used. Codes whose command is killed leave
    no invite, and count: three are all that a folder gives out in ten minutes, by whatever commands. No server, no code."""
    with meeting(stage) as here:
        apart = here.joiner.run('--json', 'join', '7-eagle-candy', here.joined)
        check(apart.code == program.REFUSED and 'config.toml' in apart.complaint, f'without a server it is said what to do: {apart.describe()}')
        alone = here.sharer.run('--json', 'share', here.shared, '--code', '--listen', '127.0.0.1:0')
        check(alone.code == program.NO_PEER and 'config.toml' in alone.complaint, f'without a network too: {alone.describe()}')
        for device in (here.sharer, here.joiner):
            with open(os.path.join(device.home, 'config.toml'), 'w') as config:
                config.write(f'[rendezvous]\nserver = "{here.at}"\n')
        serving = [device.start('--json', 'serve') for device in (here.sharer, here.joiner)]
        for one in serving:
            one.record_with('folders')
        sharing = here.sharer.start('--json', 'share', here.shared, '--code')
        code = sharing.record_with('code')['code']
        typed = ('sh', '-c', f'echo "{code}" | exec "$@"', 'sh')
        ended = here.joiner.run('--json', 'join', here.joined, '--once', wrapper=typed)
        check(ended.code == program.IN_SYNC, f'join ends in sync: {ended.describe()}')
        here.check_equal()
        shared = sharing.wait(60)
        check(shared.code == program.IN_SYNC and states(sharing) == ['ready', 'used'], f'share returns: {shared.describe()}')
        few_for_a_folder(here)
        here.meeting.kill()
        gone = here.sharer.run('--json', 'share', stage.fresh('other'), '--code')
        check(gone.code == program.NO_PEER and 'does not answer' in gone.complaint, f'a server that is gone: {gone.describe()}')
        for one in serving:
            one.interrupt()


def few_for_a_folder(here):
    """Three commands that are killed have given out all the codes there are; a code that was used counts for none."""
    for number in range(3):
        sharing = here.sharer.start('share', here.shared, '--code')
        wait_for(lambda sharing=sharing: 'dunlin join' in ''.join(sharing.lines), f'code {number} is given out')
        check('2^-22' in ''.join(sharing.lines), f'how likely a guess is right is said: {sharing.lines}')
        sharing.kill()
        check(not here.invites(), f'no invite stands behind it: {here.invites()}')
    fourth = here.sharer.run('--json', 'share', here.shared, '--code')
    check(fourth.code == program.REFUSED and '3 codes' in fourth.complaint, f'no fourth: {fourth.describe()}')
