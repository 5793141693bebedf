"""What a run asks of the system: nothing inside of a folder is named by its path."""

import os
import random
import subprocess

from kit import calls, program, trees
from kit.program import Device
from kit.scenes import check, scene

from .control import put, read, wait_for

TOOLS = ('strace',)
# What a second look at a path is for: whether this root is still what stands there.
SEEN_BY_PATH = ('', '/.dunlin/marker')
# A folder of some dozens of files is not done with fewer.
CALLS_MIN = 200


def check_calls(trace, roots):
    """Each call of a trace inside of these roots is relative to a directory that is held."""
    wait_for(lambda: calls.is_over(trace), 'the tracer has written all')
    good = 0
    for root in roots:
        seen, bad = calls.judge(trace, root, [root + path for path in SEEN_BY_PATH])
        check(not bad, f'{len(bad)} calls name something by its path: {bad[:3]}')
        good += seen
    check(good >= CALLS_MIN, f'{good} calls are no sync')
    return good


def check_judge(stage):
    """The premise: programs that go by path are found out."""
    root = stage.fresh('by-path')
    for name in ('one', 'two', 'three'):
        put(root, name)
    path = os.path.join(root, 'one')
    for number, argv in enumerate((['chmod', '600', path], ['touch', '-c', path], ['mv', path, path + '-moved'], ['ln', '-s', 'x', path + '-link'],
                                   ['mkdir', path + '-dir'], ['rmdir', path + '-dir'], ['rm', os.path.join(root, 'two')], ['rm', '-r', root])):
        trace = stage.path(f'premise-{number}')
        subprocess.run([*calls.tracer(trace), *argv], check=True, stderr=subprocess.DEVNULL)
        wait_for(lambda trace=trace: calls.is_over(trace), 'the tracer has written all')
        check(calls.judge(trace, root)[1], f'{argv[0]} is found out')


def edit(root, number):
    """Changes of all kinds; what an earlier edit of the other side changed is left alone."""
    shelf = os.path.join(root, 'papers', 'shelf0000')
    mine = sorted(name for name in os.listdir(shelf) if name.startswith('leaf'))[number * 10:]
    trees.write(os.path.join(shelf, mine[0]), trees.text(random.Random(number), 5000))
    os.remove(os.path.join(shelf, mine[1]))
    os.rename(os.path.join(shelf, mine[2]), os.path.join(root, f'moved-{number}'))
    os.chmod(os.path.join(shelf, mine[3]), 0o640)
    os.utime(os.path.join(shelf, mine[4]), ns=(1, 1_234_567_890_000_000_000 + number))
    os.symlink('papers', os.path.join(root, f'link-{number}'))
    os.makedirs(os.path.join(root, f'made-{number}', 'in', 'it'))
    os.rename(os.path.join(root, f'old-{number}'), os.path.join(root, f'new-{number}'))


def fill(root):
    """A tree from which everything can be done."""
    trees.small_files(os.path.join(root, 'papers'), 40, seed=3)
    for number in (0, 1):
        trees.small_files(os.path.join(root, f'old-{number}'), 4, seed=4 + number)
    trees.big_binary(os.path.join(root, 'large.raw'), 5 * trees.MIB, seed=6)


def are_alike(roots):
    """Whether both show the same; what changes while it is looked at is not."""
    try:
        return not trees.difference(*(trees.picture(root) for root in roots))
    except FileNotFoundError:
        return False


@scene('calls: a sync names nothing in a folder by its path', tools=TOOLS)
def sync(stage):
    """New files, edits, moves, deletions, modes, times, links and a conflict, each way."""
    check_judge(stage)
    device, roots = Device(stage.binary, stage.path('home')), (stage.fresh('a'), stage.fresh('b'))
    fill(roots[0])
    traces = [stage.path('first'), stage.path('second')]
    done = device.sync(*roots, wrapper=calls.tracer(traces[0]))
    check(done.code == program.IN_SYNC, f'the first: {done.describe()}')
    for number, root in enumerate(roots):
        edit(root, number)
        put(root, 'both', f'by {number}')
    done = device.sync(*roots, wrapper=calls.tracer(traces[1]))
    check(done.code == program.CONFLICTS, f'the second: {done.describe()}')
    check(are_alike(roots), 'both are alike')
    stage.note(f'{sum(check_calls(trace, roots) for trace in traces)} calls, each relative to a directory that is held')


@scene('calls: who serves names nothing in a folder by its path', tools=TOOLS)
def serve(stage):
    """The same over a session, with watches, and with the background's scanners."""
    devices = [Device(stage.binary, stage.path(f'home-{side}')) for side in 'ab']
    roots, traces = (stage.fresh('a'), stage.fresh('b')), [stage.path('trace-a'), stage.path('trace-b')]
    fill(roots[0])
    sharing = devices[0].start('--json', 'share', roots[0], '--listen', '127.0.0.1:0', wrapper=calls.tracer(traces[0]))
    invite = sharing.record_with('invite')['invite']
    joining = devices[1].start('--json', 'join', invite, roots[1], '--listen', '127.0.0.1:0', wrapper=calls.tracer(traces[1]))
    try:
        put(roots[0], 'all-is-there')
        wait_for(lambda: read(roots[1], 'all-is-there') and are_alike(roots), 'the tree arrives')
        for number, root in enumerate(roots):
            edit(root, number)
            wait_for(lambda: are_alike(roots), f'what side {number} did arrives')
        for device, root in zip(devices, roots, strict=True):
            done = device.run('scrub', root)
            check(done.code == program.IN_SYNC, f'all is read once: {done.describe()}')
    finally:
        ended = [running.interrupt() for running in (joining, sharing)]
    check(all(one.code in (program.IN_SYNC, program.INTERRUPTED) for one in ended), f'both end: {[one.describe() for one in ended]}')
    good = [check_calls(trace, [root]) for trace, root in zip(traces, roots, strict=True)]
    stage.note(f'{good[0]} and {good[1]} calls, each relative to a directory that is held')
