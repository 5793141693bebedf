"""A disk that does not tell names apart by their case: NTFS as some mount it, through FUSE, since no file system of a kernel that is
built without Unicode tables folds names."""

import contextlib
import os
import subprocess

from kit import program, trees
from kit.program import Device
from kit.scenes import Skipped, check, scene

TOOLS = ('lowntfs-3g', 'mkntfs', 'umount')
SIZE = 64 * trees.MIB


@contextlib.contextmanager
def folding_disk(stage):
    """Such a disk; the path of an empty directory on it."""
    image, at = stage.path('image'), stage.fresh('disk')
    with open(image, 'wb') as file:
        file.truncate(SIZE)
    subprocess.run(['mkntfs', '-q', '-F', image], check=True, capture_output=True)
    mounted = subprocess.run(['lowntfs-3g', '-o', 'ignore_case,permissions', image, at], capture_output=True, text=True)
    if mounted.returncode != 0:
        raise Skipped(f'no such disk can be mounted: {mounted.stderr.strip()[-200:]}')
    try:
        root = os.path.join(at, 'folder')
        os.mkdir(root)
        yield root
    finally:
        subprocess.run(['umount', '-l', at], check=True)


def texts(root):
    """Path → text of all files."""
    found = {}
    for path, entry in trees.picture(root).items():
        if entry.kind == 'file':
            with open(os.path.join(os.fsencode(root), path)) as file:
                found[os.fsdecode(path)] = file.read()
    return found


def write(root, files):
    """Files with their texts."""
    for path, text in files.items():
        os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
        with open(os.path.join(root, path), 'w') as file:
            file.write(text)


@scene('folding: names that differ in case only meet a disk that folds them', root=True, tools=TOOLS)
def folded(stage):
    """Both directions, and edits of what one name stands for there. This disk has no rename that spares what is in the way either, so
    nothing is put on it, which is told; and nothing is lost or deleted on either side, whatever it lists."""
    device, plain = Device(stage.binary, stage.path('home')), stage.fresh('plain')
    both = {'Letter': 'upper', 'letter': 'lower', 'Shelf/book': 'one', 'shelf/book': 'other', 'alone': 'here'}
    write(plain, both)
    with folding_disk(stage) as folding:
        with open(os.path.join(folding, 'Probe'), 'w'):
            check(os.path.exists(os.path.join(folding, 'pROBE')), 'the disk folds names')
        os.remove(os.path.join(folding, 'Probe'))
        theirs = {'theirs': 'made there', 'mixed': 'as it was'}
        write(folding, theirs)
        check_keeps(device, plain, folding, both | theirs, theirs, runs=2)
        os.rename(os.path.join(folding, 'Mixed'), os.path.join(folding, 'mIXED'))
        write(folding, {'MIXED': 'edited there'})
        write(plain, {'letter': 'edited here', 'Mixed': 'another one here'})
        theirs['mixed'] = 'edited there'
        ours = both | theirs | {'letter': 'edited here', 'Mixed': 'another one here'}
        check_keeps(device, plain, folding, ours, theirs)
        os.remove(os.path.join(folding, 'MIXED'))
        del theirs['mixed'], ours['mixed']
        check_keeps(device, plain, folding, ours, theirs)


def check_keeps(device, plain, folding, ours, theirs, runs=1):
    """After so many runs each side has just that, and it is told that not all is well."""
    for _ in range(runs):
        done = device.sync(plain, folding)
        check(done.code == program.SOME_FAILED and done.total('problems'), f'what cannot be there is told: {done.describe()}')
        check(texts(plain) == ours, f'the plain side has {texts(plain)}, not {ours}')
        check(texts(folding) == theirs, f'the folding side has {texts(folding)}, not {theirs}')
