"""`share` and `join` stay in step while people work: saves of every kind, moves, bursts; then what idling costs.

The times are from the end of the save to the moment when the other directory shows the same bytes.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time

from kit import program, trees
from kit.network import PORT, Cable
from kit.program import Device
from kit.scenes import check, scene

from .control import wait_for

NEEDS = ('ip',)
SAVES = 200
PATIENCE_S = 30
# What the acceptance asks for, in milliseconds.
P50_MS, P99_MS = 60, 200


class Pair:
    """Two devices on a cable, in sync and running."""

    def __init__(self, stage, cable, files):
        self.left, self.right = stage.path('left'), stage.path('right')
        os.makedirs(self.left)
        trees.small_files(self.left, files, seed=21)
        addresses = [f'{cable.addresses[side]}:{PORT}' for side in (cable.left, cable.right)]
        self.sharer = Device(stage.binary, stage.path('home-left'), cable.left)
        self.joiner = Device(stage.binary, stage.path('home-right'), cable.right)
        self.sharing = self.sharer.start('--json', 'share', self.left, '--listen', addresses[0])
        invite = self.sharing.record_with('invite', 120)['invite']
        self.joining = self.joiner.start('--json', 'join', invite, self.right, '--listen', addresses[1])

    def follow(self, what, patience_s=PATIENCE_S):
        """Waits until both trees are the same picture."""
        limit = time.monotonic() + patience_s
        while True:
            try:
                unlike = trees.difference(trees.picture(self.left), trees.picture(self.right))
            except FileNotFoundError:
                unlike = ['something moved while it was looked at']
            if not unlike:
                return
            check(self.sharing.alive and self.joining.alive, f'both run on while {what}')
            check(time.monotonic() < limit, f'the peer follows within {patience_s} s: {what}: {unlike}')
            time.sleep(0.02)

    def stop(self):
        """Ends both by Ctrl-C; returns their reports."""
        ended = [running.interrupt() for running in (self.sharing, self.joining)]
        for one in ended:
            check(one.code in (program.IN_SYNC, program.CONFLICTS), f'it ends well on Ctrl-C: {one.describe()}')
        return ended


@contextlib.contextmanager
def pair(stage, files):
    """A pair that has become equal."""
    with Cable() as cable:
        both = Pair(stage, cable, files)
        try:
            both.follow('the first sync goes on', 120)
            yield both
        finally:
            for running in (both.sharing, both.joining):
                if running.alive:
                    running.kill()


@scene('watch: edits, saves, moves, deletes and bursts are followed', root=True, tools=NEEDS, long=True)
def work(stage):
    """Each deed at either side, and the wait until the other shows it."""
    with pair(stage, stage.size(2000, 20_000)) as both:
        rng = random.Random(5)
        for root in (both.left, both.right):
            for deed in (edit, save_by_rename, save_with_backup, append, truncate, make, remove, move_file,
                         change_mode, retime, link):
                began = time.monotonic()
                deed(root, rng)
                both.follow(f'{deed.__name__} in {os.path.basename(root)}')
                stage.note(f'{deed.__name__} {time.monotonic() - began:.2f} s')
        move_directory(stage, both)
        remove_directory(stage, both)
        checkout(stage, both, rng)
        both.stop()


def some(root, number):
    """A file that is there from the start."""
    return os.path.join(root, f'shelf{number // 100:04}', f'leaf{number:06}.{"txt" if number % 2 else "bin"}')


def edit(root, rng):
    """A file is written over."""
    trees.write(some(root, 101), rng.randbytes(5000))


def save_by_rename(root, rng):
    """Most editors: a new file takes the old one's name."""
    path = some(root, 103)
    with open(path + '.tmp', 'wb') as file:
        file.write(rng.randbytes(5000))
        os.fsync(file.fileno())
    os.rename(path + '.tmp', path)


def save_with_backup(root, rng):
    """vim: the old file becomes the backup, a new one is written, the backup goes."""
    path = some(root, 105)
    os.rename(path, path + '~')
    with open(path, 'wb') as file:
        file.write(rng.randbytes(5000))
        os.fsync(file.fileno())
    os.remove(path + '~')


def append(root, rng):
    """A log grows while its writer has it open."""
    with open(some(root, 107), 'ab') as file:
        for _ in range(20):
            file.write(rng.randbytes(100))
            file.flush()
            time.sleep(0.01)


def truncate(root, _rng):
    """A file becomes shorter."""
    os.truncate(some(root, 109), 700)


def make(root, rng):
    """Directories with a file in the innermost, faster than anybody can watch."""
    deep = os.path.join(root, os.path.basename(root), 'a', 'b', 'c')
    os.makedirs(deep)
    trees.write(os.path.join(deep, 'file'), rng.randbytes(100))


def remove(root, _rng):
    """A file goes."""
    os.remove(some(root, 211 if root.endswith('left') else 213))


def move_file(root, _rng):
    """A file moves to another directory."""
    path = some(root, 301 if root.endswith('left') else 303)
    os.rename(path, os.path.join(root, 'shelf0004', 'moved-' + os.path.basename(path)))


def change_mode(root, _rng):
    """A file becomes a program."""
    os.chmod(some(root, 113), 0o755 if root.endswith('left') else 0o700)


def retime(root, rng):
    """A time is set back."""
    trees.age(some(root, 115), rng)


def link(root, _rng):
    """A symbolic link."""
    os.symlink('shelf0001', os.path.join(root, 'link-' + os.path.basename(root)))


def move_directory(stage, both):
    """A directory of files moves, and no byte of them is read."""
    pids = [running.process.pid for running in (both.sharing, both.joining)]
    size = sum(entry.stat().st_size for entry in os.scandir(os.path.join(both.left, 'shelf0005')))
    before = [io_of(pid, 'rchar') for pid in pids]
    began = time.monotonic()
    os.makedirs(os.path.join(both.left, 'attic'))
    os.rename(os.path.join(both.left, 'shelf0005'), os.path.join(both.left, 'attic', 'shelf0005'))
    both.follow('a directory moves')
    stage.note(f'directory moved {time.monotonic() - began:.2f} s')
    for pid, bytes_read in zip(pids, before):
        bytes_read = io_of(pid, 'rchar') - bytes_read
        check(bytes_read < size / 4, f'no file of {size} bytes is read for a move, yet {bytes_read} bytes were')


def remove_directory(stage, both):
    """A directory goes with all that is in it."""
    began = time.monotonic()
    shutil.rmtree(os.path.join(both.left, 'shelf0006'))
    both.follow('a directory is removed')
    stage.note(f'directory removed {time.monotonic() - began:.2f} s')


def checkout(stage, both, rng):
    """What a change of branches does: hundreds of files are replaced by texts, made and removed in a moment."""
    began = time.monotonic()
    for number in range(700, 1100):
        path = some(both.right, number)
        os.remove(path)
        if number % 3:
            trees.write(path, trees.text(rng, 2000))
    for number in range(300):
        folder = os.path.join(both.right, 'branch', f'{number % 17}')
        os.makedirs(folder, exist_ok=True)
        trees.write(os.path.join(folder, f'new{number}'), trees.text(rng, 1500))
    both.follow('a branch is checked out')
    stage.note(f'700 files by checkout {time.monotonic() - began:.2f} s')


@scene('watch: from saved here to visible there', root=True, tools=NEEDS, measures=True)
def latency(stage):
    """A 4 KiB file is saved again and again at random moments, written over and by rename."""
    with pair(stage, stage.size(5000, 100_000)) as both:
        for name, save in (('written over', write_over), ('by rename', write_and_rename)):
            took = [measure(both, save, number) for number in range(SAVES)]
            took.sort()
            p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
            stage.note(f'{name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {took[-1]:.1f} ms')
            if stage.full:
                check(p50 <= P50_MS and p99 <= P99_MS, f'{name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms')
        both.stop()


def write_over(path, data):
    """As a shell's redirection does."""
    with open(path, 'wb') as file:
        file.write(data)


def write_and_rename(path, data):
    """As most editors do."""
    with open(path + '.swp', 'wb') as file:
        file.write(data)
    os.rename(path + '.swp', path)


def measure(both, save, number):
    """Milliseconds from one save to its sight."""
    rng = random.Random(number)
    time.sleep(rng.uniform(0.01, 0.15))
    data = rng.randbytes(4096)
    path, there = some(both.left, 555), some(both.right, 555)
    save(path, data)
    began = time.monotonic()
    while not holds(there, data):
        check(time.monotonic() < began + PATIENCE_S, f'save {number} is visible within {PATIENCE_S} s')
        time.sleep(0.0005)
    return (time.monotonic() - began) * 1000


def holds(path, data):
    """Whether a file holds exactly that."""
    try:
        with open(path, 'rb') as file:
            return file.read() == data
    except FileNotFoundError:
        return False


@scene('watch: an idle server sleeps', root=True, tools=NEEDS, measures=True)
def idle(stage):
    """`serve` at both ends, in sync: wake-ups, CPU and bytes written while nothing happens."""
    with pair(stage, stage.size(2000, 100_000)) as both:
        both.stop()
        serving = [device.start('--json', 'serve') for device in (both.sharer, both.joiner)]
        both.sharing, both.joining = serving
        for running in serving:
            running.record_with('peer')
        trees.write(some(both.left, 1), b'first word')
        both.follow('serve has started')
        await_rest(serving)
        before = [costs(running.process.pid) for running in serving]
        seconds = stage.size(10, 60)
        time.sleep(seconds)
        for running, (wakes, cpu, written) in zip(serving, before):
            now = costs(running.process.pid)
            rate = (now[0] - wakes) / seconds
            stage.note(f'{rate:.2f} wake-ups/s, {now[1] - cpu:.2f} s CPU, {now[2] - written} bytes written')
            check(rate <= 2, f'an idle server wakes at most twice a second, yet {rate:.2f}')
            check(now[2] == written, f'an idle server writes nothing, yet {now[2] - written} bytes')
        for running in serving:
            running.signal(signal.SIGTERM)
            ended = running.wait(20)
            check(ended.code == program.IN_SYNC, f'serve ends well on SIGTERM: {ended.describe()}')


def await_rest(serving):
    """Waits until what a start has to do is done: nothing was written for three seconds."""
    limit = time.monotonic() + 30
    written = None
    while written != (written := [io_of(running.process.pid, 'write_bytes') for running in serving]):
        check(time.monotonic() < limit, f'a start comes to its end within 30 s: {written}')
        time.sleep(3)


def costs(pid):
    """Voluntary switches and CPU seconds of all threads, bytes written."""
    switches = cpu = 0
    for task in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{task}/status') as file:
            switches += sum(int(line.split()[1]) for line in file if line.startswith('voluntary_ctxt'))
        with open(f'/proc/{pid}/task/{task}/stat') as file:
            fields = file.read().rpartition(')')[2].split()
        cpu += (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
    return switches, cpu, io_of(pid, 'write_bytes')


def io_of(pid, figure):
    """One of the kernel's figures about the process's reading and writing, in bytes."""
    with open(f'/proc/{pid}/io') as file:
        return next(int(line.split()[1]) for line in file if line.startswith(figure + ':'))


@scene('watch: a large file grows line by line', root=True, tools=NEEDS)
def grows(stage):
    """A log of 64 MiB gets a line twice a second: the first comes at once, the others together, and the disks are left in peace."""
    with pair(stage, 50) as both:
        size, path = 64 << 20, os.path.join(both.left, 'log')
        trees.write(path, random.Random(9).randbytes(size))
        both.follow('a large file comes')
        # Who saves now and then is not made to wait.
        time.sleep(4)
        pids = [running.process.pid for running in (both.sharing, both.joining)]
        before = [io_of(pid, 'write_bytes') for pid in pids]
        began = time.monotonic()
        append_line(path, 0)
        both.follow('the first line comes')
        first = time.monotonic() - began
        lines = stage.size(16, 40)
        for number in range(1, lines):
            append_line(path, number)
            time.sleep(0.5)
        both.follow('all lines are there')
        wrote = sum(io_of(pid, 'write_bytes') for pid in pids) - sum(before)
        stage.note(f'the first line after {first:.1f} s; {lines} lines: {wrote >> 20} MiB written at both ends')
        check(wrote <= 10 * size, f'for {lines} lines it is not written {lines} times: {wrote} bytes')
        append_line(path, lines)
        check(both.sharer.run('scan', both.left).code == program.IN_SYNC, 'somebody has it looked at')
        both.follow('who asks for a look waits for no pause', 3)
        both.stop()


def append_line(path, number):
    """One more line, as a program that opens its log for each."""
    with open(path, 'a') as log:
        log.write(f'line {number}\n')


@scene('watch: more directories than the kernel watches', root=True, tools=(*NEEDS, 'unshare'), long=True)
def limited(stage):
    """With room for few watches the background scanner finds the rest."""
    limit = room_for(8)
    with Cable() as cable:
        both = Pair(stage, cable, 2000)
        both.follow('the first sync goes on', 120)
        both.stop()
        both.sharing = both.sharer.start('--json', 'serve', wrapper=limit)
        both.joining = both.joiner.start('--json', 'serve')
        watching = both.sharing.record_with('watched')
        # Who has not looked yet has nothing to count.
        both.joining.record_with('watched')
        stage.note(f'{watching["watched"]} of {watching["directories"]} directories watched')
        check(0 < watching['watched'] <= 8 < watching['directories'], f'a part is watched: {watching}')
        told = both.sharer.run('--json', 'doctor').records
        short = [r for r in told if r['level'] == 'warning' and 'are not watched' in r['what']]
        check(len(short) == 1 and 'max_user_watches=' in short[0]['advice'], f'doctor says what to do beside who serves: {told}')
        counted = [r for r in both.joiner.run('--json', 'doctor').records if 'watches' in r['what']]
        check(f'{watching["directories"]} directories' in counted[-1]['what'], f'it counts what is served: {counted}')
        began = time.monotonic()
        for shelf in range(20):
            trees.write(some(both.left, shelf * 100), b'found by looking')
        both.follow('unwatched directories change', 100)
        stage.note(f'all found after {time.monotonic() - began:.0f} s')
        both.stop()


@scene('watch: more directories come than the kernel watches', root=True, tools=(*NEEDS, 'unshare'))
def outgrown(stage):
    """All is watched at first, and it is told once that is not so; what is changed in those that come when there is no more room is found
    by looking, within two minutes."""
    with Cable() as cable:
        both = Pair(stage, cable, 50)
        both.follow('the first sync goes on', 120)
        both.stop()
        both.sharing = both.sharer.start('--json', 'serve', wrapper=room_for(8))
        both.joining = both.joiner.start('--json', 'serve')
        watching = both.sharing.record_with('watched')
        check(watching['watched'] == watching['directories'], f'all is watched: {watching}')
        new = [os.path.join(both.left, f'new {number}') for number in range(12)]
        for place in new:
            os.makedirs(place)
            trees.write(os.path.join(place, 'file'), b'made')
        both.follow('directories are made', 30)
        told = wait_for(lambda: [r for r in program.json_lines(''.join(both.sharing.lines)) if r.get('watched', 99) < r.get('directories', 0)],
                        'it says that not all is watched any more')
        stage.note(f'{told[0]["watched"]} of {told[0]["directories"]} directories watched')
        if stage.full:
            began = time.monotonic()
            for place in new:
                trees.write(os.path.join(place, 'file'), b'found by looking')
            both.follow('what is not watched changes', 120)
            stage.note(f'all found after {time.monotonic() - began:.0f} s')
        both.stop()


def room_for(watches):
    """A wrapper for a command: a user namespace of its own has a limit of its own."""
    limit = ('unshare', '--user', '--map-root-user', '--', 'sh', '-c',
             f'echo {watches} > /proc/sys/user/max_inotify_watches; exec "$@"', 'sh')
    probe = subprocess.run([*limit, 'true'], capture_output=True, text=True)
    check(probe.returncode == 0, f'a limit of its own: {probe.stderr}')
    return limit
