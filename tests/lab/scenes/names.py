"""Disks that do not take each name that the one takes from which it comes: each call that names such a one there fails."""

import os

from kit import program, trees
from kit.program import Device
from kit.scenes import check, scene

from .control import put, read, wait_for

# eCryptfs takes 143 bytes, a name of Linux has 255.
LONG = 'a name that is too long for the disk of the other device, ' * 4
# Windows has neither of both parts, and vfat says EINVAL.
RESERVED = 'aux: what?'


def refusing(name, error):
    """A command runs where no call with this name succeeds. With -D the tracer is the grandchild: who is killed is the program."""
    return ('strace', '-D', '-f', '--seccomp-bpf', '-o', '/dev/null', '-e', 'trace=%file', '-e', f'inject=%file:error={error}', '-P', name)


@scene('names: a disk that takes shorter ones', tools=('strace',))
def short(stage):
    """As eCryptfs does."""
    play(stage, LONG, 'ENAMETOOLONG')


@scene('names: a disk that reserves some', tools=('strace',))
def reserved(stage):
    """As vfat does."""
    play(stage, RESERVED, 'EINVAL')


def play(stage, name, error):
    """A file and a directory of such a name come, and so do others and edits beside them. These are told, nothing counts as deleted,
    the others come in and go out; on a disk that takes them they come as well."""
    disk = refusing(name, error)
    devices, roots = [Device(stage.binary, stage.path(f'home-{side}')) for side in 'ab'], (stage.fresh('a'), stage.fresh('b'))
    put(roots[0], 'short')
    os.makedirs(os.path.join(roots[0], 'shelf', name))
    for path in (os.path.join(roots[0], name), os.path.join(roots[0], 'shelf', name, 'below')):
        with open(path, 'w') as file:
            file.write('text')
    sharing = devices[0].start('--json', 'share', roots[0], '--listen', '127.0.0.1:0')
    try:
        invite = sharing.record_with('invite')['invite']
        joined = devices[1].run('--json', 'join', invite, roots[1], '--once', '--listen', '127.0.0.1:0', wrapper=disk)
        check(joined.code == program.SOME_FAILED, f'some could not be put: {joined.describe()}')
        told = {problem['path'] for problem in joined.report['problems']}
        check(name in told and any(path.startswith('shelf/') for path in told), f'they are told: {told}')
        check(read(roots[1], 'short') == 'text', 'the others are there')
        serving = devices[1].start('--json', 'serve', '--listen', '127.0.0.1:0', wrapper=disk)
        serving.record_with('folders')
        with open(os.path.join(roots[0], name), 'w') as file:
            file.write('more text')
        put(roots[0], 'beside')
        wait_for(lambda: read(roots[1], 'beside') == 'text', 'others come in meanwhile')
        put(roots[1], 'from-there')
        wait_for(lambda: read(roots[0], 'from-there') == 'text', 'and go out')
        scanned = devices[1].run('scan', roots[1])
        check(scanned.code in (program.IN_SYNC, program.SOME_FAILED), f'a look at all of it: {scanned.describe()}')
        put(roots[1], 'at-last')
        wait_for(lambda: read(roots[0], 'at-last') == 'text', 'what was found by the look has gone out')
        serving.interrupt()
        gone = devices[0].run('log', '--deleted', roots[0]).output
        check('deleted' not in gone, f'nothing counts as deleted: {gone}')
        check(read(roots[0], name) == 'more text', 'it is where it was')
        ended = devices[1].run('sync', roots[1], '--listen', '127.0.0.1:0')
        check(ended.code == program.IN_SYNC, f'on another disk all is put: {ended.describe()}')
        unlike = trees.difference(trees.picture(roots[0]), trees.picture(roots[1]))
        check(not unlike, f'the trees are equal: {unlike}')
    finally:
        sharing.kill()
