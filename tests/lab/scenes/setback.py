"""Devices that are set back: a home from a backup, a copied disk, a machine that goes on from an earlier state.

Each device has a network namespace of its own. What was signed twice is looked for in the ledgers; every content that
was ever completed must be there at the end, and all trees are one.
"""

import hashlib
import os
import shutil
import time

from kit import trees
from kit.group import Group
from kit.program import Device
from kit.scenes import check, scene
from kit.switch import Switch

PATIENCE_S = 120
NEEDS = ('ip',)


class Copy:
    """A device that has another's disk, so that its folder stands at the same path."""

    def __init__(self, device, root, path):
        self.device, self.home, self.path = device, device.home, path
        self.wrapper = ('unshare', '--mount', 'sh', '-c', 'mount --bind "$0" "$1" && shift && exec "$@"', root, path)

    def start(self, *arguments):
        """Starts a command there."""
        return self.device.start(*arguments, wrapper=self.wrapper)

    def run(self, *arguments):
        """Runs one to its end; its folder is named by the path that it has there."""
        return self.device.run(*(self.path if argument == self.wrapper[-2] else argument for argument in arguments), wrapper=self.wrapper)


class World(Group):
    """Devices at one switch that share one folder."""

    def __init__(self, stage, switch, count):
        self.stage, self.switch, self.devices, self.roots = stage, switch, [], []
        for number in range(count):
            self.add(number, stage.path(f'home{number}'), stage.path(f'root{number}'))

    def add(self, number, home, root):
        """One more."""
        os.makedirs(root, exist_ok=True)
        self.devices.append(Device(self.stage.binary, home, self.switch.namespaces[number]))
        self.roots.append(root)

    def listen(self, number):
        """Where a device listens."""
        return ('--listen', self.switch.listen(number))

    def first_sync(self):
        """The first device shares, all others join."""
        for number in range(1, len(self.devices)):
            sharing = self.devices[0].start('--json', 'share', self.roots[0], *self.listen(0))
            invite = sharing.record_with('invite')['invite']
            joined = self.devices[number].run('--json', 'join', invite, self.roots[number], '--once', *self.listen(number))
            check(joined.code == 0, f'device {number} joins: {joined.describe()}')
            sharing.interrupt()

    def await_equal(self, *which):
        """Waits until these devices have the same tree and lack nothing; gives it."""
        limit = time.monotonic() + PATIENCE_S
        while True:
            pictures = [trees.picture(self.roots[number]) for number in which]
            states = [self.status(number) for number in which]
            entries = {state.get('entries') for state in states}
            if all(not trees.difference(pictures[0], other) for other in pictures) and len(entries) == 1 \
                    and all(state.get('needed') == 0 for state in states):
                return pictures[0]
            check(time.monotonic() < limit, f'all come in line: {states}')
            time.sleep(0.2)

    def contents(self, number):
        """The digests of all files of a device."""
        return trees.contents(self.roots[number])

    def work(self, number, word):
        """A user writes over a file, makes one, deletes one and moves one; gives what he made."""
        root = self.roots[number]
        names = sorted(name for name in os.listdir(root) if name.startswith('file'))
        made = [f'{word} in {number}: written over\n'.encode(), f'{word} in {number}: new\n'.encode()]
        trees.write(os.path.join(root, names[number]), made[0])
        trees.write(os.path.join(root, f'new {number} {word}'), made[1])
        os.unlink(os.path.join(root, names[3 + number]))
        os.rename(os.path.join(root, names[6 + number]), os.path.join(root, f'moved {number} {word}'))
        return made


def fill(root):
    """Files to begin with."""
    for number in range(40):
        trees.write(os.path.join(root, f'file{number:02}'), f'the file {number}\n'.encode() * (number + 1))


def hold_all(world, made):
    """Every content that was made is somewhere in the one tree."""
    contents = world.contents(0)
    for content in made:
        check(hashlib.blake2b(content).digest() in contents, f'{content!r} is there')


def write_back(saved, place):
    """Brings a tree back as a machine that is set back has it: the same files, with the bytes and times of then."""
    there = {os.path.relpath(os.path.join(at, name), place) for at, _, names in os.walk(place) for name in names}
    kept = {os.path.relpath(os.path.join(at, name), saved) for at, _, names in os.walk(saved) for name in names}
    for name in there - kept:
        os.unlink(os.path.join(place, name))
    for name in kept:
        source, target = os.path.join(saved, name), os.path.join(place, name)
        if not os.path.isfile(source):
            continue
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(source, 'rb') as old, open(target, 'r+b' if os.path.exists(target) else 'w+b') as file:
            file.write(old.read())
            file.truncate()
        shutil.copystat(source, target)


@scene('setback: a home is restored from a backup', root=True, tools=NEEDS)
def restored(stage):
    """The home of a device is as it was an hour ago, its folder is not; it works before it hears of the others."""
    with Switch(2) as switch:
        world = World(stage, switch, 2)
        fill(world.roots[0])
        world.first_sync()
        backup = stage.path('backup')
        shutil.copytree(world.devices[0].home, backup)
        with world.serving(0, 1):
            made = world.work(0, 'before') + world.work(1, 'before')
            time.sleep(1)
            world.await_equal(0, 1)
        shutil.rmtree(world.devices[0].home)
        shutil.copytree(backup, world.devices[0].home)
        with world.serving(0) as running:
            made += world.work(0, 'alone')
            time.sleep(2)
            with world.serving(1):
                tree = world.await_equal(0, 1)
            said = ''.join(running[0].complaints)
        check('restored, copied or cut short' in said, f'it knows what it is: {said[-600:]}')
        check('two histories' not in said, f'nothing was signed twice: {said[-600:]}')
        hold_all(world, made)
        conflicts = sum(b'(conflict from' in path for path in tree)
        stage.note(f'{len(tree)} things, {conflicts} conflict copies, nothing lost')


@scene('setback: a home and its folder are copied, and both go on', root=True, tools=(*NEEDS, 'unshare'))
def copied(stage):
    """Two devices with one identity work at the same time, each beside a third; they meet by that one alone."""
    with Switch(3) as switch:
        world = World(stage, switch, 2)
        fill(world.roots[0])
        world.first_sync()
        home, root = stage.path('home2'), stage.path('root2')
        shutil.copytree(world.devices[0].home, home)
        shutil.copytree(world.roots[0], root, symlinks=True)
        world.add(2, home, root)
        world.devices[2] = Copy(world.devices[2], root, world.roots[0])
        with world.serving(0, 1, 2):
            made = [content for number in range(3) for content in world.work(number, 'both')]
            time.sleep(3)
            tree = world.await_equal(0, 1, 2)
        hold_all(world, made)
        conflicts = sum(b'(conflict from' in path for path in tree)
        stage.note(f'{len(tree)} things, {conflicts} conflict copies, nothing lost')


@scene('setback: a machine goes on from an earlier state', root=True, tools=NEEDS)
def set_back(stage):
    """Home and folder of a device are as they were, file by file; it works before it hears of the others."""
    with Switch(2) as switch:
        world = World(stage, switch, 2)
        fill(world.roots[0])
        world.first_sync()
        saved = {place: stage.path(f'saved{number}') for number, place in enumerate((world.devices[0].home, world.roots[0]))}
        with world.serving(0, 1):
            world.await_equal(0, 1)
        for place, copy in saved.items():
            shutil.copytree(place, copy, symlinks=True)
        with world.serving(0, 1):
            made = world.work(0, 'before') + world.work(1, 'before')
            time.sleep(1)
            world.await_equal(0, 1)
        for place, copy in saved.items():
            write_back(copy, place)
        with world.serving(0) as running:
            made += world.work(0, 'again')
            time.sleep(2)
            with world.serving(1):
                tree = world.await_equal(0, 1)
            check(running[0].alive, 'the daemon goes on')
            said = ''.join(running[0].complaints)
        check('one was taken back' in said, f'what was signed twice was taken back: {said[-600:]}')
        hold_all(world, made)
        conflicts = sum(b'(conflict from' in path for path in tree)
        stage.note(f'{len(tree)} things, {conflicts} conflict copies, nothing lost')
