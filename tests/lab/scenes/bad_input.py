"""Bad input: each gets a clear message and its exit code, and nothing is lost on either side."""

import os
import random
import signal
import socket
import stat
import subprocess
import threading
import time

from kit import program, trees
from kit.program import Device
from kit.scenes import Skipped, check, scene
from kit.trees import MIB

NOBODY = 65534


@scene('bad input: paths that cannot be folders')
def bad_paths(stage):
    """Absent, a file, one inside the other, the same twice: exit 2, a message that names the path, no traces."""
    left, device = stage.fresh('a'), Device(stage.binary, stage.path('home'))
    trees.write(os.path.join(left, 'file'), b'text\n')
    os.makedirs(os.path.join(left, 'inner'))
    os.symlink(left, stage.path('alias'))
    cases = [
        ('an absent first directory', stage.path('absent'), left),
        ('an absent second directory in an absent one', left, stage.path('absent', 'below')),
        ('a file', left, os.path.join(left, 'file')),
        ('one inside the other', left, os.path.join(left, 'inner')),
        ('the other inside the one', os.path.join(left, 'inner'), left),
        ('the same twice', left, left),
        ('the same by a link', left, stage.path('alias')),
        ('an empty path', left, ''),
    ]
    for what, one, other in cases:
        ended = device.sync(one, other)
        check(ended.code == program.USAGE, f'{what}: exit 2: {ended.describe()}')
        message = ended.complaint + ended.output
        check(message.strip() and 'panicked' not in message, f'{what}: a clear message: {message[:200]}')
    check(not os.path.exists(stage.path('absent')), 'an absent directory is not made')
    check(not os.path.exists(os.path.join(left, 'inner', '.dunlin')), 'a refused directory gets no control directory')


@scene('bad input: invites that are none')
def bad_invites(stage):
    """Damaged, cut off, of another kind: exit 2 and a message."""
    shared, joined = stage.fresh('shared'), stage.fresh('joined')
    sharer, joiner = Device(stage.binary, stage.path('home-sharer')), Device(stage.binary, stage.path('home-joiner'))
    share = sharer.start('--json', 'share', shared, '--listen', '127.0.0.1:0')
    invite = share.record_with('invite')['invite']
    middle = len(invite) // 2
    swapped = 'a' if invite[middle] != 'a' else 'b'
    for what, text in (('cut off', invite[:-9]), ('damaged', invite[:middle] + swapped + invite[middle + 1:]), ('a web link', 'https://example.org/'), ('empty', ''), ('nonsense', 'dunlin://join#!!!')):
        ended = joiner.run('--json', 'join', text, joined, '--once')
        check(ended.code == program.USAGE, f'{what}: exit 2: {ended.describe()}')
        check('panicked' not in ended.complaint and (ended.complaint + ended.output).strip(), f'{what}: a clear message')
    check(share.interrupt().code in (program.IN_SYNC, program.INTERRUPTED), 'the sharer ends on Ctrl-C')


@scene('bad input: a used invite')
def used_invite(stage):
    """The second joiner with the same invite is refused, and the folder's members stay as they were."""
    shared = stage.fresh('shared')
    trees.write(os.path.join(shared, 'file'), b'text\n')
    sharer = Device(stage.binary, stage.path('home-sharer'))
    share = sharer.start('--json', 'share', shared, '--listen', '127.0.0.1:0')
    invite = share.record_with('invite')['invite']
    for number, code in ((1, program.IN_SYNC), (2, program.REFUSED)):
        joiner = Device(stage.binary, stage.path(f'home-{number}'))
        ended = joiner.run('--json', 'join', invite, stage.fresh(f'joined-{number}'), '--once', '--listen', '127.0.0.1:0', '--wait', '6', patience_s=60)
        check(ended.code == code, f'joiner {number}: exit {code}: {ended.describe()}')
    check('invite' in ended.complaint, f'the message speaks of the invite: {ended.describe()}')
    check(not os.path.exists(stage.path('joined-2', 'file')), 'the refused one got nothing')
    share.interrupt()


@scene('bad input: an invite that was taken back')
def revoked_invite(stage):
    """Listed, taken back while the folder is served and while it is not; whoever comes with it is told and gets nothing."""
    shared = stage.fresh('shared')
    trees.write(os.path.join(shared, 'file'), b'text\n')
    sharer = Device(stage.binary, stage.path('home-sharer'))
    share = sharer.start('--json', 'share', shared, '--uses', '5', '--listen', '127.0.0.1:0')
    first = share.record_with('invite')
    invite, address = first['invite'], first['addrs'][0]

    def join(number):
        joiner, root = Device(stage.binary, stage.path(f'home-{number}')), stage.fresh(f'joined-{number}')
        ended = joiner.run('--json', 'join', invite, root, '--once', '--listen', '127.0.0.1:0', '--wait', '6', patience_s=60)
        return joiner, root, ended

    def listed(device, root):
        ended = device.run('--json', 'invite', 'list', root)
        check(ended.code == program.IN_SYNC, f'the list: {ended.describe()}')
        return [(one['role'], one['uses_left'], one['self'], one['name']) for one in ended.records]

    joiner, root, ended = join(1)
    check(ended.code == program.IN_SYNC, f'while it is open it admits: {ended.describe()}')
    (role, left, is_own, name), = listed(sharer, shared)
    check((role, left, is_own) == ('writer', 4, True), f'four devices are left: {role} {left} {is_own}')
    check(listed(joiner, root) == [('writer', 4, False, name)], 'every member sees it')
    ended = joiner.run('--json', 'invite', 'revoke', root, name)
    check(ended.code == program.REFUSED, f'who did not make it cannot take it back: {ended.describe()}')
    for wrong in ('', 'ffffffffff', '../x'):
        ended = sharer.run('--json', 'invite', 'revoke', shared, wrong)
        check(ended.code == program.USAGE and 'invite' in ended.complaint, f'no such name: {ended.describe()}')
    ended = sharer.run('--json', 'invite', 'revoke', shared, name[:6].upper())
    check(ended.code == program.IN_SYNC and ended.records[0]['name'] == name, f'taken back: {ended.describe()}')
    check(listed(sharer, shared) == [], 'it is listed no more')
    ended = sharer.run('--json', 'invite', 'revoke', shared, name)
    check(ended.code == program.USAGE, f'a second time: {ended.describe()}')
    _, root, ended = join(2)
    check(ended.code == program.REFUSED and 'taken back' in ended.complaint, f'whoever comes is told: {ended.describe()}')
    check(not os.path.exists(os.path.join(root, 'file')), 'and gets nothing')
    more = sharer.run('--json', 'share', shared)
    invite, (_, _, _, name) = more.records[-1]['invite'], listed(sharer, shared)[0]
    share.interrupt()
    ended = sharer.run('--json', 'invite', 'revoke', shared, name)
    check(ended.code == program.IN_SYNC, f'nobody serves the folder: {ended.describe()}')
    serving = sharer.start('--json', 'serve', '--listen', address)
    serving.record_with('folders')
    ended = join(3)[2]
    check(ended.code == program.REFUSED and 'taken back' in ended.complaint, f'also after that: {ended.describe()}')
    serving.interrupt()


@scene('bad input: fifos, sockets, devices and odd names')
def odd_files(stage):
    """What cannot be carried is left alone and listed; what can be carried is."""
    left, right, device = stage.fresh('a'), stage.fresh('b'), Device(stage.binary, stage.path('home'))
    trees.mixed(left, seed=41, files=5)
    os.mkfifo(os.path.join(left, 'pipe'))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.join(left, 'socket'))
    if os.geteuid() == 0:
        os.mknod(os.path.join(left, 'device'), stat.S_IFCHR | 0o600, os.makedev(1, 3))
    ended = device.sync(left, right)
    check(ended.code in (program.IN_SYNC, program.SOME_FAILED), f'the run ends: {ended.describe()}')
    special = {b'pipe', b'socket', b'device'}
    unlike = trees.difference(trees.picture(left), trees.picture(right), ignore=special)
    check(not unlike, f'all else is equal: {unlike}')
    check(not special & trees.picture(right).keys(), 'nothing special was made on the right')
    check(os.path.exists(os.path.join(left, 'pipe')), 'what is special stays on the left')


@scene('bad input: unreadable files and directories', root=True)
def unreadable(stage):
    """As a plain user: the run goes on with the rest, names what it could not read, and exits 1."""
    left, right = stage.fresh('a'), stage.fresh('b')
    trees.mixed(left, seed=42, files=10)
    for folder, folders, files in os.walk(stage.directory):
        for name in folders + files:
            os.chown(os.path.join(folder, name), NOBODY, NOBODY, follow_symlinks=False)
    os.chown(stage.directory, NOBODY, NOBODY)
    trees.write(os.path.join(left, 'locked.txt'), b'not for you\n', 0o600)
    os.makedirs(os.path.join(left, 'locked'), 0o700)
    trees.write(os.path.join(left, 'locked', 'inner'), b'nor this\n')
    for top in reachable(stage.directory):
        os.chmod(top, os.stat(top).st_mode | 0o011)
    device = Device(stage.binary, stage.path('home'), user=NOBODY)
    if device.run('id').code == 126:
        raise Skipped('the binary lies where a plain user cannot reach it')
    ended = device.sync(left, right)
    check(ended.code == program.SOME_FAILED, f'exit 1: {ended.describe()}')
    check('locked' in ended.output + ended.complaint, f'the message names the file: {ended.describe()}')
    unlike = trees.difference(trees.picture(left), trees.picture(right), ignore={b'locked.txt', b'locked', b'locked/inner'})
    check(not unlike, f'all else is equal: {unlike}')
    os.chown(os.path.join(left, 'locked.txt'), NOBODY, NOBODY)
    subprocess.run(['chown', '-R', str(NOBODY), os.path.join(left, 'locked')], check=True)
    ended = device.sync(left, right)
    check(ended.code == program.IN_SYNC, f'in sync once it can read them: {ended.describe()}')
    unlike = trees.difference(trees.picture(left), trees.picture(right))
    check(not unlike, f'the trees are equal: {unlike}')


def reachable(path):
    """The directory and its parents, whose search bits a plain user needs."""
    while path not in ('/', ''):
        yield path
        path = os.path.dirname(path)


@scene('bad input: a file that changes while it is read', long=True)
def changing(stage):
    """Writers go on during the syncs; no torn content arrives, and the last state does."""
    left, right, device = stage.fresh('a'), stage.fresh('b'), Device(stage.binary, stage.path('home'))
    path, done = os.path.join(left, 'growing.log'), threading.Event()
    page = 64 * 1024

    def keep_writing():
        number = 0
        while not done.is_set():
            number = (number + 1) % 250 + 1
            with open(path + '.new', 'wb') as file:
                file.write(bytes([number]) * page * 40)
            os.rename(path + '.new', path)
            with open(os.path.join(left, 'in-place.log'), 'r+b' if os.path.exists(os.path.join(left, 'in-place.log')) else 'wb') as file:
                file.write(bytes([number]) * page)
    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        for _ in range(stage.size(5, 30)):
            ended = device.run('--json', 'sync', left, right, patience_s=60)
            check(ended.code in (program.IN_SYNC, program.SOME_FAILED), f'the run ends: {ended.describe()}')
            if os.path.exists(os.path.join(right, 'growing.log')):
                data = open(os.path.join(right, 'growing.log'), 'rb').read()
                check(len(data) == page * 40 and len(set(data)) == 1, f'no torn content: {len(data)} bytes, {sorted(set(data))[:5]}')
    finally:
        done.set()
        writer.join()
    ended = device.sync(left, right)
    check(ended.code == program.IN_SYNC, f'in sync when the writer rests: {ended.describe()}')
    unlike = trees.difference(trees.picture(left), trees.picture(right))
    check(not unlike, f'the trees are equal: {unlike}')


@scene('bad input: a full disk on either side', root=True, tools=('mount',))
def full_disk(stage):
    """The disk of a tree fills up: a message, exit 1 or 7, no partial file; with room again it goes on."""
    for small_side in ('a', 'b'):
        home = stage.path(f'home-{small_side}')
        left, right = stage.fresh(f'{small_side}-left'), stage.fresh(f'{small_side}-right')
        small = right if small_side == 'b' else left
        with Mount(small, '24m'):
            trees.big_binary(os.path.join(left if small is right else right, 'large.raw'), 40 * MIB, seed=43)
            trees.write(os.path.join(small, 'own.txt'), b'it was here before\n')
            device = Device(stage.binary, home)
            ended = device.sync(left, right)
            check(ended.code in (program.SOME_FAILED, program.ATTENTION), f'{small_side}: exit 1 or 7: {ended.describe()}')
            said = (ended.complaint + ended.output).lower()
            check('space' in said or 'full' in said, f'{small_side}: the message says why: {ended.describe()}')
            check(not os.path.exists(os.path.join(small, 'large.raw')), f'{small_side}: no partial file is visible')
            check(os.path.exists(os.path.join(small, 'own.txt')), f'{small_side}: what was there stays')
            subprocess.run(['mount', '-o', 'remount,size=200m', small], check=True)
            ended = device.sync(left, right)
            check(ended.code == program.IN_SYNC, f'{small_side}: in sync once there is room: {ended.describe()}')
            unlike = trees.difference(trees.picture(left), trees.picture(right))
            check(not unlike, f'{small_side}: the trees are equal: {unlike}')


@scene('bad input: a home on a full disk', root=True, tools=('mount',))
def full_home(stage):
    """The state's disk fills up: a message, exit 7 or 1, and the trees are whole."""
    left, right = stage.fresh('a'), stage.fresh('b')
    trees.small_files(left, 3000, seed=44)
    before = trees.contents(left)
    with Mount(stage.fresh('home'), '1m'):
        ended = Device(stage.binary, stage.path('home')).sync(left, right)
        check(ended.code in (program.SOME_FAILED, program.ATTENTION), f'exit 1 or 7: {ended.describe()}')
        check('panicked' not in ended.complaint, f'no panic: {ended.describe()}')
        check(before <= trees.contents(left), 'the left tree is whole')
        there = trees.picture(right)
        unlike = trees.difference({path: what for path, what in trees.picture(left).items() if path in there}, there)
        check(not unlike, f'the right tree holds whole files only: {unlike}')
        subprocess.run(['mount', '-o', 'remount,size=200m', stage.path('home')], check=True)
        ended = Device(stage.binary, stage.path('home')).sync(left, right)
        check(ended.code == program.IN_SYNC, f'in sync once there is room: {ended.describe()}')
        unlike = trees.difference(trees.picture(left), trees.picture(right))
        check(not unlike, f'the trees are equal: {unlike}')


@scene('bad input: a home that has no room for a moment', root=True, tools=('strace',))
def full_for_a_moment(stage):
    """The store's page of pages cannot be written, after which LMDB refuses all: `serve` opens it anew and goes on."""
    folder, device = stage.fresh('folder'), Device(stage.binary, stage.path('home'))
    sharing = device.start('--json', 'share', folder, '--listen', '127.0.0.1:0')
    sharing.record_with('invite')
    sharing.interrupt()
    serving = device.start('--json', 'serve', '--listen', '127.0.0.1:0')
    try:
        serving.record_with('watched')
        felt = 0
        for number in range(1, 9):
            inject = ['-e', 'trace=pwrite64', '-e', f'inject=pwrite64:error=ENOSPC:when={number}', '-p', str(serving.process.pid)]
            with subprocess.Popen(['strace', '-f', '-qq', '-o', '/dev/null', *inject], stderr=subprocess.DEVNULL) as tracer:
                try:
                    time.sleep(0.3)
                    trees.write(os.path.join(folder, f'first{number}.txt'), b'while nothing can be written\n')
                    time.sleep(0.7)
                finally:
                    tracer.send_signal(signal.SIGINT)
            trees.write(os.path.join(folder, f'second{number}.txt'), b'when there is room again\n')
            for name in ('first', 'second'):
                recorded(device, os.path.join(folder, f'{name}{number}.txt'))
            felt = ''.join(serving.lines).count('"ended":"failed"')
        check(felt >= 2, f'the store could not be written: {felt} times')
        stage.note(f'{felt} times the store could not be written')
        check(serving.alive, 'it goes on')
    finally:
        ended = serving.interrupt()
    check(ended.code == program.IN_SYNC, f'it ends well: {ended.describe()}')


def recorded(device, path, patience_s=30):
    """Waits until the ledger knows of a path."""
    limit = time.monotonic() + patience_s
    while True:
        said = device.run('--json', 'log', path)
        if 'created' in said.output:
            return
        check(time.monotonic() < limit, f'{path} is recorded: {said.describe()}')
        time.sleep(0.3)


class Mount:
    """A small file system in memory, mounted over a directory while open."""

    def __init__(self, path, size):
        self.path, self.size = path, size

    def __enter__(self):
        done = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={self.size}', 'tmpfs', self.path], capture_output=True, text=True)
        if done.returncode:
            raise Skipped(f'no mount: {done.stderr.strip()}')

    def __exit__(self, *_):
        subprocess.run(['umount', '-l', self.path], check=True)


@scene('bad input: Ctrl-C at any moment')
def interrupted(stage):
    """SIGINT at random moments of a sync: exit 130 (or the run was over), no partial file, the next run finishes."""
    left, right, device = stage.fresh('a'), stage.fresh('b'), Device(stage.binary, stage.path('home'))
    trees.small_files(left, stage.size(1500, 20_000), seed=45)
    trees.big_binary(os.path.join(left, 'large.raw'), stage.size(48 * MIB, 512 * MIB), seed=46)
    whole, rng, interrupted_runs = trees.contents(left), random.Random(47), 0
    for _ in range(stage.size(6, 40)):
        running = device.start('--json', 'sync', left, right)
        try:
            running.process.wait(rng.uniform(0.01, stage.size(0.8, 6)))
        except subprocess.TimeoutExpired:
            pass
        ended = running.interrupt()
        check(ended.code in (program.INTERRUPTED, program.IN_SYNC), f'exit 130: {ended.describe()}')
        interrupted_runs += ended.code == program.INTERRUPTED
        seen = {entry.digest for entry in trees.picture(right).values() if entry.kind == 'file'}
        check(seen <= whole, f'{len(seen - whole)} partial files are visible')
    stage.note(f'{interrupted_runs} interrupted')
    check(device.sync(left, right).code == program.IN_SYNC, 'the last run ends in sync')
    unlike = trees.difference(trees.picture(left), trees.picture(right))
    check(not unlike, f'the trees are equal: {unlike}')


@scene('bad input: two syncs at once')
def two_at_once(stage):
    """The second says that the home is in use, or waits; the trees come out equal."""
    left, right, device = stage.fresh('a'), stage.fresh('b'), Device(stage.binary, stage.path('home'))
    trees.small_files(left, 1500, seed=48)
    runs = [device.start('--json', 'sync', left, right) for _ in range(2)]
    ends = [running.wait() for running in runs]
    codes = sorted(ended.code for ended in ends)
    check(codes[0] == program.IN_SYNC and codes[1] in (program.IN_SYNC, program.ATTENTION), f'0 and 0 or 7: {[ended.describe() for ended in ends]}')
    unlike = trees.difference(trees.picture(left), trees.picture(right))
    check(not unlike, f'the trees are equal: {unlike}')
