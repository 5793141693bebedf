"""Stories: a world of two directories, brought to a state from which one sync has everything to do."""

import os
import random

from kit import trees
from kit.program import Device
from kit.trees import MIB

CONTESTED = 'papers/contested.txt'
# A traced sync of a story takes a second or two.
PATIENCE_S = 60


class World:
    """Two directories and a home; `prepare` plays the story up to the sync that is to be killed."""

    def __init__(self, binary, directory, story):
        self.directory, self.story = directory, story
        self.left, self.right = os.path.join(directory, 'left'), os.path.join(directory, 'right')
        self.device = Device(binary, os.path.join(directory, 'home'))
        self.contested = {CONTESTED}
        self.origin = {}

    def prepare(self):
        """Makes the world; returns the digests of all contents that users have on either side."""
        os.makedirs(self.left)
        os.makedirs(self.right)
        self.story(self)
        for root in (self.left, self.right):
            for path, entry in trees.picture(root).items():
                if entry.kind == 'file':
                    self.origin[entry.digest] = f'{os.path.basename(root)}/{path.decode(errors="backslashreplace")}'
        return set(self.origin)

    def sync(self, wrapper=()):
        """One `dunlin sync` of the two."""
        return self.device.run('--json', 'sync', self.left, self.right, wrapper=wrapper, patience_s=PATIENCE_S)

    def names(self, digests):
        """Where the contents stood, at most three."""
        return [self.origin[digest] for digest in sorted(digests)][:3]


def first(world):
    """Two filled directories meet for the first time: new files, a large one, a collision."""
    base(world.left)
    trees.small_files(os.path.join(world.right, 'other'), 30, seed=62)
    trees.big_binary(os.path.join(world.right, 'heavy.raw'), 6 * MIB, seed=63)
    os.makedirs(os.path.join(world.right, 'papers'))
    trees.write(os.path.join(world.right, CONTESTED), b'the right side has this name too\n')


def update(world):
    """A synced pair, changed on both sides in every way there is."""
    base(world.left)
    world.sync()
    edit(world.left, number=0)
    edit(world.right, number=1)
    overwrite(os.path.join(world.left, 'large.raw'), 3 * MIB)
    os.rename(os.path.join(world.right, 'moving'), os.path.join(world.right, 'moved'))
    trees.write(os.path.join(world.left, CONTESTED), b'the left side of it\n')
    trees.write(os.path.join(world.right, CONTESTED), b'the right side of it\n')
    trees.big_binary(os.path.join(world.right, 'heavy.raw'), 6 * MIB, seed=64)
    os.remove(os.path.join(world.left, 'link'))
    os.symlink('papers', os.path.join(world.left, 'link'))


def base(root):
    """The tree from which the stories start."""
    trees.small_files(os.path.join(root, 'papers'), 50, seed=61)
    trees.small_files(os.path.join(root, 'moving'), 12, seed=65)
    trees.write(os.path.join(root, CONTESTED), b'first draft\n')
    trees.big_binary(os.path.join(root, 'large.raw'), 8 * MIB, seed=66)
    trees.big_text(os.path.join(root, 'book.txt'), MIB, seed=67)
    os.symlink('book.txt', os.path.join(root, 'link'))


def edit(root, number):
    """Edits, deletes, moves and makes small files; the two sides take different ones."""
    rng = random.Random(68 + number)
    folder = os.path.join(root, 'papers', 'shelf0000')
    mine = [name for at, name in enumerate(sorted(os.listdir(folder))) if at % 2 == number]
    for name in mine[:6]:
        trees.write(os.path.join(folder, name), trees.text(rng, rng.randrange(100, 9000)))
    for name in mine[6:11]:
        os.remove(os.path.join(folder, name))
    for name in mine[11:16]:
        os.rename(os.path.join(folder, name), os.path.join(root, f'away-{number}-{name}'))
    trees.small_files(os.path.join(root, f'new-{number}'), 15, seed=70 + number)
    for name in mine[16:18]:
        os.chmod(os.path.join(folder, name), 0o600)


def overwrite(path, at):
    """Writes into the middle of a file in place."""
    with open(path, 'r+b') as file:
        file.seek(at)
        file.write(random.Random(69).randbytes(64 * 1024))


STORIES = {'first': first, 'update': update}
