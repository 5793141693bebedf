"""Bits that flip on a disk: found, kept aside, never sent, never signed, and given their content again.

The folders lie on a file system in memory, where writing by a memory map leaves every time of a file as it was: a
flipped bit under an unchanged stat, without a disk that fails. Each device has a network namespace of its own.
"""

import contextlib
import hashlib
import mmap
import os
import random
import shutil
import tempfile
import time

from kit import program, trees
from kit.group import Group
from kit.program import Device
from kit.scenes import Skipped, check, scene
from kit.switch import Switch

PATIENCE_S = 120
NEEDS = ('ip',)
SHM = '/dev/shm'


@contextlib.contextmanager
def in_memory(count):
    """A directory in memory and a switch for so many devices, which go with the scene."""
    if not os.access(SHM, os.W_OK):
        raise Skipped(f'needs {SHM}')
    directory = tempfile.mkdtemp(prefix='dunlin-heal-', dir=SHM)
    try:
        with Switch(count) as switch:
            yield directory, switch
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def files_of(root):
    """All regular files of a folder that are not empty, as bytes, in their order."""
    seen = trees.picture(root)
    root = os.fsencode(root)
    paths = (os.path.join(root, path) for path, entry in sorted(seen.items()) if entry.kind == 'file')
    return [path for path in paths if os.path.getsize(path) > 0]


def flip(path, rng):
    """Flips a bit of a file, with its stat as it was; gives the digest of what stands there then."""
    before, mode = os.lstat(path), os.lstat(path).st_mode & 0o777
    with open(path, 'r+b') as file, mmap.mmap(file.fileno(), 0) as content:
        at = rng.randrange(len(content) * 8)
        content[at // 8] ^= 1 << (at % 8)
    after = os.lstat(path)
    facts = ('st_ino', 'st_size', 'st_mode', 'st_mtime_ns', 'st_ctime_ns')
    check(all(getattr(before, fact) == getattr(after, fact) for fact in facts), f'{path!r}: its stat stays ({mode:o})')
    return trees.digest(path)


def library(root, files, seed):
    """Files of all sizes: many small ones, texts of several chunks, binaries of a few MiB."""
    trees.small_files(root, files, seed)
    rng = random.Random(seed)
    for number in range(max(2, files // 100)):
        trees.write(os.path.join(root, f'book{number}.txt'), trees.text(rng, 400_000 + number * 7919), rng=rng)
        trees.write(os.path.join(root, f'photo{number}.raw'), rng.randbytes(1_500_000 + number * 104_729), rng=rng)


class Devices(Group):
    """Devices at one switch that share one folder, each with its own directory; all roots lie in memory."""

    def __init__(self, stage, world):
        self.stage, self.devices, self.roots = stage, [], []
        self.memory, self.switch = world

    def add(self, name):
        """One more, with an empty directory."""
        namespace = self.switch.namespaces[len(self.devices)]
        self.devices.append(Device(self.stage.binary, self.stage.path(f'home-{name}'), namespace))
        self.roots.append(os.path.join(self.memory, name))
        os.makedirs(self.roots[-1])
        return self.devices[-1], self.roots[-1]

    def listen(self, index):
        """Where a device listens."""
        return ('--listen', self.switch.listen(index))

    def first_sync(self):
        """The first device shares with the second."""
        sharing = self.devices[0].start('--json', 'share', self.roots[0], '--once', *self.listen(0))
        invite = sharing.record_with('invite', 60)['invite']
        joined = self.devices[1].run('--json', 'join', invite, self.roots[1], '--once', *self.listen(1))
        check(joined.code == program.IN_SYNC, f'the first sync ends in sync: {joined.describe()}')
        check(sharing.wait(60).code == program.IN_SYNC, 'so does the other side')

    def await_state(self, index, holds, what):
        """Waits until `status` says so."""
        limit = time.monotonic() + PATIENCE_S
        while True:
            status = self.status(index)
            if holds(status):
                return status
            check(time.monotonic() < limit, f'{what}: {status}')
            time.sleep(0.1)


def scrub(device, root):
    """`scrub` of one folder: the ended run and its figures."""
    done = device.run('--json', 'scrub', root)
    figures = next((record for record in done.records if record['event'] == 'scrubbed'), None)
    check(figures is not None, f'the scrub says what it did: {done.describe()}')
    return done, figures


def in_history(root):
    """The digests of what is in a folder's history."""
    history = os.path.join(root, '.dunlin', 'history')
    return {trees.digest(os.path.join(history, name)) for name in os.listdir(history)}


@scene('heal: flipped bits are found and given back by another device', root=True, tools=NEEDS)
def flipped(stage):
    """Bits flip in both folders, never in both copies of one file; a scrub of each, and both are as they were."""
    rng = random.Random(71)
    with in_memory(3) as world:
        devices = Devices(stage, world)
        roots = [devices.add(name)[1] for name in ('left', 'right')]
        library(roots[0], stage.size(200, 4000), seed=71)
        devices.first_sync()
        before = trees.picture(roots[0])
        paths = [os.path.relpath(path, os.fsencode(roots[0])) for path in files_of(roots[0])]
        victims = rng.sample(paths, stage.size(40, 1000))
        found, flips = 0, [{}, {}]
        with devices.serving(0, 1):
            for index in (0, 1):
                devices.await_state(index, lambda status: status.get('state') == 'in-sync', 'both are in sync')
            entries = devices.status(0)['entries']
            # Somebody may be at work at what has just been written; a scrub passes that by.
            time.sleep(3)
            for number, path in enumerate(victims):
                side = number % 2
                flips[side][path] = flip(os.path.join(os.fsencode(roots[side]), path), rng)
            check(trees.difference(before, trees.picture(roots[0])), 'the flipped bits show')
            for index in (0, 1):
                _, figures = scrub(devices.devices[index], roots[index])
                check(figures['found'] == len(flips[index]), f'each is found: {figures}, {len(flips[index])} flips')
                found += figures['found']
            for index in (0, 1):
                devices.await_state(index, lambda status: status['corrupt'] == 0 and status['needed'] == 0, 'all are healed')
                unlike = trees.difference(before, trees.picture(roots[index]))
                check(not unlike, f'everything is as it was: {unlike}')
                kept = in_history(roots[index])
                check(set(flips[index].values()) <= kept, 'what was found is in history')
                status = devices.status(index)
                check(status['entries'] == entries, f'nothing was signed: {status["entries"]} entries, {entries} before')
        stage.note(f'{len(victims)} bits flipped, {found} files found, {found} healed, 0 entries signed')


@scene('heal: what is corrupt is never sent, and waits for a member that has it', root=True, tools=NEEDS)
def never_sent(stage):
    """Bits flip at one device before anybody looks; a new device joins at that one while the other is away."""
    rng = random.Random(72)
    with in_memory(3) as world:
        devices = Devices(stage, world)
        roots = [devices.add(name)[1] for name in ('left', 'right')]
        library(roots[0], 150, seed=72)
        devices.first_sync()
        before = trees.picture(roots[0])
        # Texts are kept in the store as well, as bases of merges, and served from there.
        binaries = [path for path in files_of(roots[0]) if not path.endswith(b'.txt')]
        victims = [os.path.relpath(path, os.fsencode(roots[0])) for path in rng.sample(binaries, 20)]
        rotten = {path: flip(os.path.join(os.fsencode(roots[0]), path), rng) for path in victims}
        third, root = devices.add('third')
        sharing = devices.devices[0].start('--json', 'share', roots[0], *devices.listen(0))
        invite = sharing.record_with('invite')['invite']
        joining = third.start('--json', 'join', invite, root, *devices.listen(2))
        try:
            devices.await_state(0, lambda status: status['corrupt'] == len(victims), 'serving finds them')
            devices.await_state(2, lambda status: status['needed'] == len(victims), 'the new device has all the rest')
            there = trees.picture(root)
            check(not set(victims) & set(there), 'nothing corrupt came over')
            unlike = trees.difference({path: entry for path, entry in before.items() if path not in rotten}, there)
            check(not unlike, f'everything else did: {unlike}')
            second = devices.devices[1].start('--json', 'serve')
            try:
                for index in (0, 2):
                    devices.await_state(index, lambda status: status['needed'] == 0 and status['corrupt'] == 0, 'all are healed')
            finally:
                second.interrupt()
        finally:
            joining.interrupt()
            sharing.interrupt()
        for one in roots + [root]:
            check(not trees.difference(before, trees.picture(one)), f'{one} is as it was')
        check(set(rotten.values()) <= in_history(roots[0]), 'what was found is in history')
        check(not set(rotten.values()) & (trees.contents(roots[1]) | trees.contents(root)), 'and nowhere else')
        stage.note(f'{len(victims)} corrupt files, 0 of them sent, all healed')


@scene('heal: what nobody has stays, is told, and can be kept', root=True, tools=NEEDS)
def accepted(stage):
    """One device alone: nothing to heal from. Its files stay as they are, until their user keeps one or writes it anew."""
    rng = random.Random(73)
    with in_memory(3) as world:
        devices = Devices(stage, world)
        device, root = devices.add('left')
        trees.small_files(root, 4, seed=73)
        sharing = device.start('--json', 'share', root, *devices.listen(0))
        sharing.record_with('invite')
        sharing.interrupt()
        check(device.run('--json', 'scan', root).code == program.IN_SYNC, 'all files are recorded')
        first, second = (os.fsdecode(path) for path in files_of(root) if path.endswith((b'0.bin', b'2.bin')))
        digests = [flip(path, rng) for path in (first, second)]
        done = device.run('--json', 'scrub', root)
        listed = {record['path'] for record in done.records if record['event'] == 'corrupt'}
        check(done.code == program.SOME_FAILED and listed == {first, second}, f'both are told: {done.describe()}')
        check([trees.digest(path) for path in (first, second)] == digests, 'and stay as they are')
        check(devices.status(0)['corrupt'] == 2, 'status says so')
        again = device.run('--json', 'scrub', root)
        check(again.code == program.SOME_FAILED, f'and they are told again: {again.describe()}')
        kept = device.run('--json', 'scrub', '--accept', first)
        check(kept.code == program.SOME_FAILED, f'one is kept, and the other still corrupt: {kept.describe()}')
        check(kept.report['entries_signed'] == 1, f'as an edit: {kept.report}')
        refused = device.run('--json', 'scrub', '--accept', first)
        check(refused.code == program.USAGE, f'once only: {refused.describe()}')
        trees.write(second, b'written anew\n')
        scanned = device.run('--json', 'scan', root)
        check(scanned.report['entries_signed'] == 1, f'the other is written anew: {scanned.describe()}')
        check(devices.status(0)['corrupt'] == 0, 'nothing is corrupt any more')
        done, figures = scrub(device, root)
        check(done.code == program.IN_SYNC and figures['found'] == 0, f'nor found: {done.describe()}')
        digest = hashlib.blake2b(b'written anew\n').digest()
        check([trees.digest(path) for path in (first, second)] == [digests[0], digest], 'both are as their user wants')


def database(devices, index):
    """The one database file of a device."""
    home = devices.devices[index].home
    replica, = os.listdir(os.path.join(home, 'replicas'))
    return os.path.join(home, 'replicas', replica, 'store', 'data.mdb')


def deletions(devices, index):
    """Deletions that a device's ledger has."""
    done = devices.devices[index].run('--json', 'log', devices.roots[index], '--limit', '10000000')
    return sum(record.get('what', '').startswith('deleted') for record in done.records)


def flip_page(path, rng):
    """Flips a bit of a database, at any place of a page that is in use or was; gives which."""
    with open(path, 'r+b') as file:
        size = os.path.getsize(path)
        while True:
            at = rng.randrange(size * 8)
            file.seek(at // 8 // 4096 * 4096)
            page = bytearray(file.read(4096))
            if any(page):
                break
        page[at // 8 % 4096] ^= 1 << (at % 8)
        file.seek(at // 8 // 4096 * 4096)
        file.write(page)
        return at


def check_whole(devices, before, what):
    """All that was there is there, at both."""
    for root in devices.roots:
        unlike = trees.difference(before, trees.picture(root))
        check(not unlike, f'{what}: everything is there: {unlike}')


def mended(devices, side, what):
    """Waits until a device is in sync; gives whether its database was made anew, and takes away what was set aside."""
    status = devices.await_state(side, lambda status: status.get('state') == 'in-sync', what)
    for aside in status['databases_aside']:
        shutil.rmtree(aside)
    return bool(status['databases_aside'])


@scene('heal: a damaged database is moved aside and made anew', root=True, tools=NEEDS)
def damaged(stage):
    """Bits flip in the databases of two devices, one at a time, each before a start; at last one is lost altogether."""
    rng, rebuilt = random.Random(74), 0
    with in_memory(2) as world:
        devices = Devices(stage, world)
        roots = [devices.add(name)[1] for name in ('left', 'right')]
        trees.small_files(roots[0], stage.size(60, 500), seed=74)
        devices.first_sync()
        before = trees.picture(roots[0])
        with devices.serving(0, 1):
            devices.await_state(0, lambda status: status.get('state') == 'in-sync', 'both know each other')
        flips = stage.size(6, 120)
        for number in range(flips):
            side = number % 2
            with devices.serving(1 - side):
                at = flip_page(database(devices, side), rng)
                with devices.serving(side):
                    rebuilt += mended(devices, side, f'flip {number}, bit {at}: in sync again')
            check_whole(devices, before, f'flip {number}, bit {at}')
        shutil.rmtree(os.path.dirname(database(devices, 0)))
        trees.write(os.path.join(roots[0], 'meanwhile'), b'written while there was no database\n')
        with devices.serving(0, 1):
            devices.await_state(0, lambda status: status.get('state') == 'in-sync', 'a lost one is made anew')
            await_file(os.path.join(roots[1], 'meanwhile'), lambda: True)
        check(not trees.difference(before, trees.picture(roots[1]), (b'meanwhile',)), 'and nothing else changes')
        check(deletions(devices, 0) == deletions(devices, 1) == 0, 'no deletion was signed')
        stage.note(f'{flips} bits flipped in databases, {rebuilt} of them made anew and 1 that was lost, 0 deletions, nothing lost')


def await_file(path, goes_on):
    """Waits until a file is there; false if what brings it does not go on."""
    limit = time.monotonic() + PATIENCE_S
    while not os.path.exists(path):
        if not goes_on():
            return False
        check(time.monotonic() < limit, f'{path} comes over')
        time.sleep(0.05)
    return True


@scene('heal: a database is damaged under a running daemon', root=True, tools=NEEDS)
def damaged_live(stage):
    """Bits flip in the database of a device that serves, and its user goes on; it heals, or ends and its next start does."""
    rng, healed, told, ended, rebuilt = random.Random(75), 0, 0, 0, 0
    with in_memory(2) as world:
        devices = Devices(stage, world)
        roots = [devices.add(name)[1] for name in ('left', 'right')]
        trees.small_files(roots[0], stage.size(60, 500), seed=75)
        devices.first_sync()
        before = trees.picture(roots[0])
        flips = stage.size(4, 80)
        for number in range(flips):
            side = number % 2
            with devices.serving(1 - side), devices.serving(side) as (running,):
                mended(devices, side, 'in sync before')
                at = flip_page(database(devices, side), rng)
                name = f'live {number}'
                trees.write(os.path.join(roots[side], name), b'written meanwhile\n')
                before = trees.picture(roots[side])
                came = await_file(os.path.join(roots[1 - side], name), lambda: running.alive and is_going(devices, side))
                # A row that nobody needs is noticed by who asks for it.
                told += came and 'state' not in devices.status(side)
                healed += came and bool(devices.status(side).get('databases_aside'))
                ended += not came
                running.kill()
            with devices.serving(0, 1):
                rebuilt += mended(devices, side, f'flip {number}, bit {at}: in sync after a restart')
                await_file(os.path.join(roots[1 - side], name), lambda: True)
                devices.await_state(1 - side, lambda status: status.get('state') == 'in-sync', 'so is the other')
            check_whole(devices, before, f'flip {number}, bit {at}')
        check(deletions(devices, 0) == deletions(devices, 1) == 0, 'no deletion was signed')
        stage.note(f'{flips} bits flipped, {healed} databases made anew while serving and {rebuilt} after it, {told} told by status, '
                   f'{ended} runs ended by it, 0 deletions, nothing lost')


def is_going(devices, side):
    """Whether the folder is served still; a daemon that is just ending says nothing."""
    done = devices.devices[side].run('--json', 'status', devices.roots[side])
    status = next((record for record in done.records if record['event'] == 'folder'), None)
    return status is None or status.get('state') != 'stopped'
