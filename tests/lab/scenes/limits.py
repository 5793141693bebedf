"""What a run has to go without: descriptors, and memory."""

import os
import resource
import socket
import time

from kit import memory, program, trees
from kit.program import Device
from kit.scenes import Skipped, check, scene
from kit.trees import MIB

from .calls import are_alike
from .control import put, wait_for
from .guards import Pair

# While nothing can be opened it may try again, and no more.
STARVED_S = 3.0
BUSY_SHARE_MAX = 0.3
# Less than what a transfer takes, more than what a start does: where a disk is quick it may be the next lower one.
MEMORIES = [20 * MIB, 17 * MIB, 14 * MIB]
# Bytes that a name more may take on a side: it is in lists of names, and no more of it is kept.
OF_A_NAME = 400
NAMES = ['from-there', 'made', 'moved']


def open_files(pid):
    """How many descriptors a process holds."""
    return len(os.listdir(f'/proc/{pid}/fd'))


def allow(pid, count):
    """Sets how many descriptors it may hold from now on; says what was."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (count, hard))
    return soft


def spent_s(pid):
    """Seconds of a processor that it has used."""
    with open(f'/proc/{pid}/stat') as file:
        words = file.read().rpartition(')')[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf('SC_CLK_TCK')


def start_again(device, running):
    """It may have ended, but by itself and with a word of why; then it is started as a service manager would."""
    if running.alive:
        return running
    ended = running.wait()
    check(ended.code < 128 and 'panicked' not in ended.complaint and ended.complaint.strip(), f'it ended by itself: {ended.describe()}')
    return device.start('--json', 'serve', '--listen', '127.0.0.1:0')


@scene('limits: descriptors run out, and come back')
def descriptors(stage):
    """No file can be opened any more while files come from the other side, are made, moved and edited here. Nothing counts as deleted
    by that, and once there are descriptors again both sides become alike, with all that was done."""
    devices, roots = [Device(stage.binary, stage.path(f'home-{side}')) for side in 'ab'], (stage.fresh('a'), stage.fresh('b'))
    trees.small_files(os.path.join(roots[0], 'first'), 60, seed=3)
    serving = [devices[0].start('--json', 'share', roots[0], '--listen', '127.0.0.1:0')]
    try:
        invite = serving[0].record_with('invite')['invite']
        joined = devices[1].run('join', invite, roots[1], '--once', '--listen', '127.0.0.1:0')
        check(joined.code == program.IN_SYNC, f'it joins: {joined.describe()}')
        serving.append(devices[1].start('--json', 'serve', '--listen', '127.0.0.1:0'))
        serving[1].record_with('peer')
        with socket.socket(socket.AF_UNIX) as guest:
            starve(stage, serving[1].process.pid, roots, lambda: guest.connect(os.path.join(devices[1].home, 'api.sock')))
        serving[1] = start_again(devices[1], serving[1])
        wanted = saved(roots[0]) | saved(roots[1])
        wait_for(lambda: are_alike(roots), 'both are alike again')
        check(saved(roots[1]) == wanted and names(roots[1]) == NAMES, f'with all that was done: {names(roots[1])}')
        gone = devices[0].run('log', '--deleted', roots[0]).output
        check('deleted' not in gone, f'nothing counts as deleted: {gone}')
    finally:
        for running in serving:
            running.kill()


def starve(stage, pid, roots, ask):
    """Takes all descriptors that are free, does things on both sides, waits, and gives them back. Somebody asks and waits."""
    allowed = allow(pid, open_files(pid))
    spent = spent_s(pid)
    ask()
    trees.small_files(os.path.join(roots[0], 'from-there'), 20, seed=4)
    trees.small_files(os.path.join(roots[1], 'made'), 20, seed=5)
    os.rename(os.path.join(roots[1], 'first'), os.path.join(roots[1], 'moved'))
    put(os.path.join(roots[1], 'moved'), 'edited', 'while nothing could be opened')
    until = time.monotonic() + STARVED_S
    while time.monotonic() < until and not has_ended(pid):
        time.sleep(0.05)
    if has_ended(pid):
        stage.note('it ended, and was started again')
        return
    share = (spent_s(pid) - spent) / STARVED_S
    check(share < BUSY_SHARE_MAX, f'it does not spin: {share:.0%} of a processor')
    allow(pid, allowed)


def has_ended(pid):
    """True of one that has ended, whether it was waited for or not."""
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rpartition(')')[2].split()[0] == 'Z'
    except FileNotFoundError:
        return True


def saved(root):
    """The digests of all files that somebody saved."""
    return {entry.digest for entry in trees.picture(root).values() if entry.kind == 'file'}


def names(root):
    """What stands at the root."""
    return sorted(name for name in os.listdir(root) if name != '.dunlin')


@scene('limits: a member fills a disk that has a bound for it')
def member_fills(stage):
    """What fits comes, the rest stays away and is told; edits that take no more room, what is made here, and what there is room for
    again do not wait for it. Without the bound all comes."""
    pair = Pair(stage, stage.fresh('left'))
    for number in range(4):
        trees.big_binary(os.path.join(pair.left, f'film-{number}'), 400 * 1024, seed=50 + number)
    os.makedirs(pair.there.home, mode=0o700, exist_ok=True)
    config = os.path.join(pair.there.home, 'config.toml')
    trees.write(config, b'[quota]\nmember = "1M"\n')
    sharing = pair.here.start('--json', 'share', pair.left, '--listen', '127.0.0.1:0')
    try:
        invite = sharing.record_with('invite')['invite']
        joined = pair.there.run('join', invite, pair.right, '--once', '--listen', '127.0.0.1:0')
        check(joined.code == program.SOME_FAILED and '2 of them' in joined.complaint, f'two are left out, and told: {joined.describe()}')
        check(len(names(pair.right)) == 2, f'as many as fit came: {names(pair.right)}')
        serving = pair.there.start('--json', 'serve', '--listen', '127.0.0.1:0')
        try:
            play_full(stage, pair)
        finally:
            serving.kill()
        os.remove(config)
        synced = pair.there.run('sync', pair.right)
        check(synced.code == program.IN_SYNC, f'without the bound it ends in sync: {synced.describe()}')
        check(are_alike((pair.left, pair.right)), 'and both are alike')
    finally:
        sharing.kill()


def play_full(stage, pair):
    """Life goes on while a member has no room left."""
    there = names(pair.right)
    trees.big_binary(os.path.join(pair.right, 'own'), 2 * MIB, seed=60)
    wait_for(lambda: holds_same(pair, 'own'), 'what is made here comes to the other')
    trees.big_binary(os.path.join(pair.left, there[0]), 400 * 1024, seed=61)
    wait_for(lambda: holds_same(pair, there[0]), 'an edit that takes no more room comes through')
    trees.big_binary(os.path.join(pair.left, 'one-more'), 400 * 1024, seed=62)
    status = wait_for(lambda: has_words(pair.there.run('status', pair.right), '3 of them'), 'status tells how many are left out')
    check('[quota] in config.toml' in status, f'and why: {status}')
    os.remove(os.path.join(pair.left, there[1]))
    wait_for(lambda: len(names(pair.right)) == 3 and there[1] not in names(pair.right), 'another comes in place of what was deleted')
    time.sleep(2)
    check(len(names(pair.right)) == 3, f'and no more than that: {names(pair.right)}')
    stage.note(f'there are {names(pair.right)}')


def holds_same(pair, name):
    """True if both have a file, with the same bytes."""
    found = [trees.picture(root).get(os.fsencode(name)) for root in (pair.left, pair.right)]
    return None not in found and found[0].digest == found[1].digest


def has_words(done, words):
    """What a command said, if these words are in it."""
    said = done.output + done.complaint
    return said if words in said else None


@scene('limits: the kernel kills it for want of memory', root=True)
def memory_runs_out(stage):
    """Who joins runs in a control group with less memory than a large file takes on its way. Whatever stands in the folder after each
    kill is whole, and with memory enough it ends in sync."""
    device, root = Device(stage.binary, stage.path('home-a')), stage.fresh('a')
    trees.small_files(os.path.join(root, 'small'), 200, seed=6)
    for number in range(3):
        trees.big_binary(os.path.join(root, f'large-{number}'), 32 * MIB, seed=7 + number)
    sharing = device.start('--json', 'share', root, '--uses', str(len(MEMORIES)), '--listen', '127.0.0.1:0')
    try:
        invite = sharing.record_with('invite')['invite']
        for number, most in enumerate(MEMORIES):
            joiner, joined = Device(stage.binary, stage.path(f'home-b{number}')), stage.fresh(f'b{number}')
            kills = join_with(most, joiner, invite, joined, saved(root))
            check(are_alike((root, joined)) and saved(joined) == saved(root), 'both are alike in the end')
            stage.note(f'{most // MIB} MiB: {kills} kills')
            if kills > 0:
                return
        check(False, 'the memory was enough each time')
    finally:
        sharing.kill()


def join_with(most, device, invite, root, wanted):
    """Joins with so much memory, four times at most, and then with enough; gives how often the kernel killed it."""
    command = ('join', invite, root, '--once')
    with memory.Group(most) as group:
        if group is None:
            raise Skipped('no control group with a bound of memory can be made here')
        for _ in range(4):
            ended = device.run(*command, '--listen', '127.0.0.1:0', wrapper=group.wrapper())
            check(saved(root) <= wanted, 'what stands there is whole')
            if ended.code == program.IN_SYNC:
                break
            check(ended.code in (-9, 137), f'the kernel kills it: {ended.describe()}')
            command = ('sync', root) if os.path.exists(os.path.join(root, '.dunlin', 'marker')) else command
        kills = group.killed()
    again = device.run(*command, '--listen', '127.0.0.1:0')
    check(again.code == program.IN_SYNC, f'with memory enough it ends in sync: {again.describe()}')
    return kills


@scene('limits: very many names in one directory')
def many_names(stage):
    """Two directories are made the same, and looked at again when little has changed: what a process takes for that does not
    follow from how many names there are, but for the list of them."""
    few, many = stage.size(5_000, 20_000), stage.size(40_000, 1_000_000)
    most = {}
    for count in (few, many):
        roots = [stage.fresh(f'{side}{count}') for side in 'ab']
        device = Device(stage.binary, stage.path(f'home-{count}'))
        os.makedirs(os.path.join(roots[0], 'directory'))
        for number in range(count):
            os.close(os.open(os.path.join(roots[0], 'directory', f'name-{number:07}'), os.O_CREAT | os.O_WRONLY, 0o644))
        took = [own_memory(device, 'sync', *roots)]
        put(os.path.join(roots[0], 'directory'), 'one-more')
        os.remove(os.path.join(roots[1], 'directory', f'name-{count // 2:07}'))
        took.append(own_memory(device, 'sync', *roots))
        listed = [sorted(os.listdir(os.path.join(root, 'directory'))) for root in roots]
        check(listed[0] == listed[1] and len(listed[0]) == count, f'both have all of them: {len(listed[0])} and {len(listed[1])}')
        most[count] = took
    for what, small, large in zip(('at first', 'again'), most[few], most[many], strict=True):
        grown = (large - small) / (many - few)
        stage.note(f'{what}: {large >> 20} MiB at {many} names, {grown:.0f} bytes for each more')
        check(grown < 2 * OF_A_NAME, f'{what} each name takes {grown:.0f} bytes, on two sides')


def own_memory(device, *command):
    """Bytes of memory of its own that a command takes at most; what is mapped from files is the kernel's to give and take."""
    running, most = device.start('--json', *command), 0
    while running.alive:
        try:
            with open(f'/proc/{running.process.pid}/status') as status:
                most = max(most, next((int(line.split()[1]) * 1024 for line in status if line.startswith('RssAnon:')), 0))
        except (FileNotFoundError, ProcessLookupError):
            break
        time.sleep(0.01)
    ended = running.wait()
    check(ended.code == program.IN_SYNC, f'in sync: {ended.describe()}')
    return most
