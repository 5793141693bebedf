"""`dunlin sync A B`: two directories on one machine become one, and stay one through edits on both sides."""

import os
import random
import shutil

from kit import crates, program, trees
from kit.program import Device
from kit.scenes import check, scene
from kit.trees import MIB

FILES_MIN = 20_000


@scene('local: first sync, and a second that has nothing to do')
def first_and_second(stage):
    """The tree arrives whole; the second run moves nothing and is quick."""
    left, right, device = fill(stage)
    first = device.sync(left, right)
    check(first.code == program.IN_SYNC, f'the first sync ends in sync: {first.describe()}')
    check_equal(left, right)
    second = device.sync(left, right)
    check(second.code == program.IN_SYNC, f'the second sync ends in sync: {second.describe()}')
    check_no_content(second)
    check(second.total('entries_signed') == 0, f'the second sync signs nothing: {second.report}')
    stage.note(f'first {first.seconds:.2f} s, second {second.seconds:.2f} s, hashed again {second.total("bytes_hashed")} B')
    check(second.seconds < first.seconds * (0.1 if stage.full else 0.7), 'the second run takes a small part of the first')
    check_equal(left, right)


@scene('local: two filled directories become their union')
def union(stage):
    """A first sync of two filled trees deletes nothing; equal files meet without a conflict."""
    left, right, device = stage.fresh('a'), stage.fresh('b'), Device(stage.binary, stage.path('home'))
    for root, seed in ((left, 1), (right, 2)):
        trees.small_files(root, 60, seed=7)
        trees.write(os.path.join(root, f'only-{seed}'), f'only here {seed}\n'.encode())
    before = trees.contents(left) | trees.contents(right)
    done = device.sync(left, right)
    check(done.code == program.IN_SYNC, f'equal files are no conflict: {done.describe()}')
    check_equal(left, right)
    check(before <= trees.contents(left), 'every content of both sides is on the left')
    check(len(trees.picture(left)) == 63, 'the union holds each file once')
    check_no_content(done, besides=len('only here 1\n') * 2)


@scene('local: edits, deletes and moves on both sides')
def both_sides(stage):
    """Each side changes something else; both end up with all changes, and what was replaced is kept."""
    left, right, device = fill(stage)
    check(device.sync(left, right).code == program.IN_SYNC, 'the first sync ends in sync')
    before = trees.contents(left) - trees.contents(os.path.join(left, '.dunlin'))
    expected = trees.picture(left)
    files = [path for path in sorted(expected) if expected[path].kind == 'file' and expected[path].mode & 0o200]
    changes = random.Random(5)
    for side, root in enumerate((left, right)):
        change(root, expected, changes.sample(files[side::2], 30), side)
    after = device.sync(left, right)
    check(after.code == program.IN_SYNC, f'no conflict, no trouble: {after.describe()}')
    check_equal(left, right)
    check(not trees.difference(expected, trees.picture(left)), f'the tree is the expected one: {trees.difference(expected, trees.picture(left))}')
    lost = before - trees.contents(left) - trees.contents(right)
    check(not lost, f'{len(lost)} of the replaced and deleted contents are neither visible nor in history')
    quiet = device.sync(left, right)
    check(quiet.code == program.IN_SYNC and quiet.total('applied') == 0, f'a further run has nothing to do: {quiet.describe()}')


@scene('local: moved files and directories cost no content')
def moves(stage):
    """A renamed large file and a renamed directory of many files travel as names only."""
    left, right, device = stage.fresh('a'), stage.fresh('b'), Device(stage.binary, stage.path('home'))
    trees.big_binary(os.path.join(left, 'film.raw'), stage.size(64 * MIB, 1024 * MIB), seed=3)
    os.makedirs(os.path.join(left, 'album'))
    trees.small_files(os.path.join(left, 'album'), stage.size(400, 10_000), seed=4)
    check(device.sync(left, right).code == program.IN_SYNC, 'the first sync ends in sync')
    os.rename(os.path.join(left, 'film.raw'), os.path.join(left, 'cinema.raw'))
    os.makedirs(os.path.join(right, 'shelf'))
    os.rename(os.path.join(right, 'album'), os.path.join(right, 'shelf', 'pictures'))
    inode = os.stat(os.path.join(right, 'film.raw')).st_ino
    done = device.sync(left, right)
    check(done.code == program.IN_SYNC, f'the moves arrive: {done.describe()}')
    check_equal(left, right)
    check(sorted(os.listdir(left)) == ['.dunlin', 'cinema.raw', 'shelf'], f'only the new names: {os.listdir(left)}')
    check_no_content(done)
    check(os.stat(os.path.join(right, 'cinema.raw')).st_ino == inode, 'the large file was renamed, not copied')
    stage.note(f'{done.seconds:.2f} s, hashed {done.total("bytes_hashed")} B')


@scene('local: concurrent edits make one conflict copy')
def conflict(stage):
    """Both versions stay, under the same two names with the same bytes on both sides."""
    left, right, device = stage.fresh('a'), stage.fresh('b'), Device(stage.binary, stage.path('home'))
    trees.write(os.path.join(left, 'letter.txt'), b'first draft\n')
    trees.write(os.path.join(left, 'kept.txt'), b'edited on one side, deleted on the other\n')
    check(device.sync(left, right).code == program.IN_SYNC, 'the first sync ends in sync')
    trees.write(os.path.join(left, 'letter.txt'), b'the left side says\n')
    trees.write(os.path.join(right, 'letter.txt'), b'the right side says so too\n')
    os.remove(os.path.join(left, 'kept.txt'))
    trees.write(os.path.join(right, 'kept.txt'), b'an edit beats a delete\n')
    done = device.sync(left, right)
    check(done.code == program.CONFLICTS, f'exit 3, conflicts remain: {done.describe()}')
    check_equal(left, right)
    names = sorted(name for name in os.listdir(left) if name != '.dunlin')
    check(len(names) == 3 and 'letter.txt' in names and 'kept.txt' in names, f'two versions and the kept file: {names}')
    copy = next(name for name in names if name not in ('letter.txt', 'kept.txt'))
    check(copy.startswith('letter (conflict from ') and copy.endswith(').txt'), f'the copy has its name: {copy}')
    texts = {open(os.path.join(left, name), 'rb').read() for name in ('letter.txt', copy)}
    check(texts == {b'the left side says\n', b'the right side says so too\n'}, f'both versions are there: {texts}')
    check(open(os.path.join(left, 'kept.txt'), 'rb').read() == b'an edit beats a delete\n', 'the edit beat the delete')
    again = device.sync(left, right)
    check(again.code == program.CONFLICTS and again.total('applied') == 0, f'and it is stable: {again.describe()}')
    os.remove(os.path.join(right, copy))
    solved = device.sync(left, right)
    check(solved.code == program.IN_SYNC, f'deleting the copy solves the conflict: {solved.describe()}')
    check(not os.path.exists(os.path.join(left, copy)), 'the copy is gone on both sides')


def fill(stage):
    """A device, a filled left and an empty right directory."""
    left, right = stage.fresh('a'), stage.fresh('b')
    if stage.full:
        stage.note(f'{crates.unpack(left, FILES_MIN, os.path.join(os.path.dirname(stage.directory), "lab-crates"))} files')
    else:
        trees.mixed(left, seed=1)
    return left, right, Device(stage.binary, stage.path('home'))


def change(root, expected, picked, side):
    """Edits, deletes, moves and makes things on one side and notes them in the expected picture."""
    base = os.fsencode(root)
    for path in picked[:10]:
        with open(os.path.join(base, path), 'ab') as file:
            file.write(b'edited on side %d\n' % side)
        expected[path] = trees.look(os.path.join(base, path))
    for path in picked[10:20]:
        os.remove(os.path.join(base, path))
        del expected[path]
    for number, path in enumerate(picked[20:28]):
        target = os.path.join(os.path.dirname(path), b'moved-%d-%d' % (side, number))
        os.rename(os.path.join(base, path), os.path.join(base, target))
        expected[target] = expected.pop(path)
    for path in picked[28:]:
        os.chmod(os.path.join(base, path), 0o750)
        expected[path] = trees.look(os.path.join(base, path))
    place = os.path.join(base, b'new-%d' % side)
    os.makedirs(os.path.join(place, b'below'))
    trees.write(os.path.join(place, b'below', b'file'), b'new on side %d\n' % side)
    os.symlink(b'below/file', os.path.join(place, b'link'))
    if side == 1:
        move_directory(base, expected)
    for path in (place, os.path.join(place, b'below'), os.path.join(place, b'below', b'file'), os.path.join(place, b'link')):
        expected[os.path.relpath(path, base)] = trees.look(path)


def move_directory(base, expected):
    """Moves the first top directory with all that is below it."""
    first = next(path for path in sorted(expected) if expected[path].kind == 'directory' and b'/' not in path)
    os.rename(os.path.join(base, first), os.path.join(base, b'renamed directory'))
    for path in [path for path in expected if path == first or path.startswith(first + b'/')]:
        expected[b'renamed directory' + path[len(first):]] = expected.pop(path)


def check_equal(left, right):
    """The two trees are the same picture, seen by us and by diff."""
    unlike = trees.difference(trees.picture(left), trees.picture(right))
    check(not unlike, f'the trees are equal: {unlike}')
    if shutil.which('diff'):
        diff = program.subprocess.run(['diff', '-r', '--no-dereference', '--exclude=.dunlin', left, right], capture_output=True)
        check(diff.returncode == 0, f'diff -r finds nothing: {diff.stdout[:300]}')


def check_no_content(ended, besides=0):
    """No content crossed: the bytes on the wire stay far below what entries and greetings need."""
    moved = ended.total('bytes_received')
    check(moved <= besides, f'no content travels, yet {moved} bytes did: {ended.report}')
