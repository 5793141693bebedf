"""A disk that takes shorter names than the one they come from: each call that names the long one there fails with ENAMETOOLONG."""

import os

from kit import program, trees
from kit.program import Device
from kit.scenes import check, scene

from .control import put, read, wait_for

# eCryptfs takes 143 bytes, a name of Linux has 255.
LONG = 'a name that is too long for the disk of the other device, ' * 4
# With -D the tracer is the grandchild: who is killed is the program.
SHORT_DISK = ('strace', '-D', '-f', '--seccomp-bpf', '-o', '/dev/null', '-e', 'trace=%file', '-e', 'inject=%file:error=ENAMETOOLONG', '-P', LONG)


@scene('names: a disk that takes shorter ones', tools=('strace',))
def short(stage):
    """A file and a directory of such a name come, and so do others, edits and a removal beside them. The long ones are told, nothing
    counts as deleted, the others come in; on a disk that takes them they come as well."""
    devices, roots = [Device(stage.binary, stage.path(f'home-{side}')) for side in 'ab'], (stage.fresh('a'), stage.fresh('b'))
    put(roots[0], 'short')
    os.makedirs(os.path.join(roots[0], 'shelf', LONG))
    for path in (os.path.join(roots[0], LONG), os.path.join(roots[0], 'shelf', LONG, 'below')):
        with open(path, 'w') as file:
            file.write('long')
    sharing = devices[0].start('--json', 'share', roots[0], '--listen', '127.0.0.1:0')
    try:
        invite = sharing.record_with('invite')['invite']
        joined = devices[1].run('--json', 'join', invite, roots[1], '--once', '--listen', '127.0.0.1:0', wrapper=SHORT_DISK)
        check(joined.code == program.SOME_FAILED, f'some could not be put: {joined.describe()}')
        told = {problem['path'] for problem in joined.report['problems']}
        check(LONG in told and any(path.startswith('shelf/') for path in told), f'they are told: {told}')
        check(read(roots[1], 'short') == 'text', 'the others are there')
        serving = devices[1].start('--json', 'serve', '--listen', '127.0.0.1:0', wrapper=SHORT_DISK)
        serving.record_with('folders')
        with open(os.path.join(roots[0], LONG), 'w') as file:
            file.write('longer')
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
        check(read(roots[0], LONG) == 'longer', 'the long one is where it was')
        ended = devices[1].run('sync', roots[1], '--listen', '127.0.0.1:0')
        check(ended.code == program.IN_SYNC, f'on another disk all is put: {ended.describe()}')
        unlike = trees.difference(trees.picture(roots[0]), trees.picture(roots[1]))
        check(not unlike, f'the trees are equal: {unlike}')
    finally:
        sharing.kill()
