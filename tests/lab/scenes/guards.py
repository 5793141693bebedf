"""What is missing is not always deleted: roots that vanish, disks that drop out, listings that lie.

In none of it may a deletion be signed, and each must be said. The ledger is asked for what was signed.

A preload library cannot make the program's listings lie, since it makes its system calls itself; here the
tracer changes what the kernel answers.
"""

import contextlib
import ctypes
import os
import shutil
import subprocess
import time

from kit import program, trees
from kit.program import Device, json_lines
from kit.scenes import check, scene

NOBODY = 65534
AT_FDCWD, RENAME_EXCHANGE = -100, 2
PATIENCE_S = 60
# The second look at what is missing comes after half a second, after two where much is; some time more is given.
LOOKED_TWICE_S = 6
# A folder that has failed was tried again by then.
TRIED_S = 4


class Mounts:
    """A mount namespace of its own, in which a device runs and mounts come and go."""

    def __enter__(self):
        self.holder = subprocess.Popen(['unshare', '--mount', '--propagation', 'private', 'sleep', 'infinity'])
        limit = time.monotonic() + 10
        while os.readlink(f'/proc/{self.holder.pid}/ns/mnt') == os.readlink('/proc/self/ns/mnt'):
            check(time.monotonic() < limit, 'a mount namespace')
            time.sleep(0.01)
        self.enter = ('nsenter', '--target', str(self.holder.pid), '--mount', '--')
        return self

    def __exit__(self, *_):
        self.holder.kill()
        self.holder.wait()

    def do(self, *argv):
        """Runs a tool in there."""
        done = subprocess.run([*self.enter, *argv], capture_output=True, text=True)
        check(done.returncode == 0, f'{" ".join(argv)}: {done.stderr.strip()}')

    def path(self, path):
        """The path as it is in there, seen from here."""
        return f'/proc/{self.holder.pid}/root{path}'


class Pair:
    """Two devices on this machine with one folder between them; the left one may run behind a wrapper."""

    def __init__(self, stage, left, user=None, wrapper=()):
        self.left, self.right = left, stage.path('right')
        self.here = Device(stage.binary, stage.path('home-left'), user=user)
        self.there = Device(stage.binary, stage.path('home-right'))
        self.wrapper = wrapper

    def share(self, code=program.IN_SYNC):
        """The first sync, and the end of both, the left one with this code; gives the picture that both have."""
        sharing = self.here.start('--json', 'share', self.left, '--once', '--listen', '127.0.0.1:0', wrapper=self.wrapper)
        invite = sharing.record_with('invite', 120)['invite']
        joined = self.there.run('--json', 'join', invite, self.right, '--once', '--listen', '127.0.0.1:0')
        check(joined.code == program.IN_SYNC, f'the first sync ends in sync: {joined.describe()}')
        ended = sharing.wait(60)
        check(ended.code == code, f'the first sync ends in sync: {ended.describe()}')
        return trees.picture(self.right)

    @contextlib.contextmanager
    def serving(self, wrapper=()):
        """Both serve; gives the left one and the right one."""
        both = [self.there.start('--json', 'serve')]
        try:
            both.insert(0, self.here.start('--json', 'serve', wrapper=(*self.wrapper, *wrapper)))
            yield both
        finally:
            for running in both:
                if running.alive:
                    running.kill()

    def deletions(self):
        """Deletions that the left device's ledger has."""
        done = self.here.run('--json', 'log', self.left, '--deleted', '--limit', '10000000', wrapper=self.wrapper)
        check(done.code == program.IN_SYNC, f'the log can be read: {done.describe()}')
        return len(done.records)

    def status(self):
        """What `status` says of the left device, as one text, and its exit code."""
        done = self.here.run('status', wrapper=self.wrapper)
        return done.output + done.complaint, done.code


def await_record(running, holds, what, patience_s=PATIENCE_S):
    """The first JSON line for which `holds`."""
    limit = time.monotonic() + patience_s
    while True:
        for record in json_lines(''.join(running.lines)):
            if holds(record):
                return record
        check(time.monotonic() < limit, f'{what}: {"".join(running.lines + running.complaints)[-600:]}')
        time.sleep(0.05)


def has_problem(word):
    """A line that tells of trouble with these words."""
    return lambda record: record.get('event') == 'problem' and word in record['what']


def await_same(left, right, what, patience_s=PATIENCE_S, ignore=()):
    """Waits until both trees are the same picture."""
    limit = time.monotonic() + patience_s
    while True:
        try:
            unlike = trees.difference(trees.picture(left), trees.picture(right), ignore)
        except FileNotFoundError:
            unlike = ['something moved while it was looked at']
        if not unlike:
            return
        check(time.monotonic() < limit, f'both are equal after {patience_s} s: {what}: {unlike}')
        time.sleep(0.05)


def unchanged(pair, before, what):
    """Nothing was deleted: not in the ledger, and not at the other side."""
    check(pair.deletions() == 0, f'{what}: no deletion is signed, yet {pair.deletions()} were')
    unlike = trees.difference(before, trees.picture(pair.right))
    check(not unlike, f'{what}: the other side has all it had: {unlike}')


@scene('guards: an unmounted root stops its folder alone', root=True, tools=('unshare', 'nsenter'))
def unmounted(stage):
    """The root is a mount; it goes while the folder is served, and comes back. Another folder goes on meanwhile."""
    backing, root = stage.fresh('disk'), stage.fresh('left')
    trees.small_files(backing, stage.size(300, 5000), seed=31)
    with Mounts() as mounts:
        mounts.do('mount', '--bind', backing, root)
        pair = Pair(stage, root, wrapper=mounts.enter)
        before = pair.share()
        other, mirror = stage.fresh('other'), stage.path('mirror')
        trees.write(os.path.join(other, 'a'), b'first\n')
        second = Pair(stage, other, wrapper=mounts.enter)
        second.right = mirror
        second.share()
        with pair.serving() as (left, _):
            await_record(left, lambda r: r.get('event') == 'connected' and r['folder'] == root, 'a connection')
            mounts.do('umount', '--lazy', root)
            began = time.monotonic()
            await_record(left, lambda r: r.get('event') == 'ended' and 'marker' in r['why'], 'the folder says why it stopped')
            stage.note(f'noticed after {time.monotonic() - began:.1f} s')
            trees.write(os.path.join(other, 'b'), b'goes on\n')
            await_same(other, mirror, 'the other folder goes on')
            check(left.alive, 'the daemon goes on')
            text, code = pair.status()
            check(code == program.ATTENTION and 'marker' in text, f'status says so: exit {code}: {text[-300:]}')
        text, code = pair.status()
        check(code == program.ATTENTION and 'marker' in text, f'status says so: exit {code}: {text[-300:]}')
        check(os.listdir(root) == [], f'nothing is made where the disk was: {os.listdir(root)}')
        with pair.serving() as (left, _):
            await_record(left, lambda r: 'marker' in r.get('error', ''), 'a start without the disk says why')
            time.sleep(TRIED_S)
            text, code = pair.status()
            check(code == program.ATTENTION and 'marker' in text, f'status says so: exit {code}: {text[-300:]}')
            check(os.listdir(root) == [], f'nothing is made where the disk was: {os.listdir(root)}')
            mounts.do('mount', '--bind', backing, root)
            unchanged(pair, before, 'the root was unmounted')
            trees.write(os.path.join(backing, 'shelf0000', 'new'), b'the disk is back\n')
            await_same(backing, pair.right, 'the disk is back, and the folder goes on by itself')


@scene('guards: a lone folder whose disk is late, or goes, is waited for', root=True, tools=('unshare', 'nsenter'))
def late(stage):
    """`serve` begins before the disk of its only folder is there, and goes on when that comes, and once more when it has gone;
    a folder that only its user can mend ends it."""
    backing, root = stage.fresh('disk'), stage.fresh('left')
    trees.small_files(backing, 50, seed=37)
    with Mounts() as mounts:
        mounts.do('mount', '--bind', backing, root)
        pair = Pair(stage, root, wrapper=mounts.enter)
        before = pair.share()
        mounts.do('umount', root)
        with pair.serving() as (left, _):
            await_record(left, lambda r: r.get('tried_again') and 'marker' in r['error'], 'a start without the disk says why')
            text, code = pair.status()
            check(code == program.ATTENTION and 'marker' in text and 'tried again in' in text, f'status says so: exit {code}: {text[-300:]}')
            mounts.do('mount', '--bind', backing, root)
            trees.write(os.path.join(backing, 'shelf0000', 'new'), b'the disk is there\n')
            await_same(backing, pair.right, 'the disk is there, and the folder is served by itself')
            check(pair.status()[1] == program.IN_SYNC, f'status says so: {pair.status()[0][-300:]}')
            mounts.do('umount', '--lazy', root)
            # What is still watched has a look begin, which looks at the root first.
            trees.write(os.path.join(backing, 'shelf0000', 'newer'), b'the disk is back\n')
            await_record(left, lambda r: r.get('event') == 'ended' and 'marker' in r['why'], 'the folder says why it stopped')
            time.sleep(1)
            check(left.alive and 'tried again in' in pair.status()[0], f'it is waited for: {pair.status()[0][-300:]}')
            mounts.do('mount', '--bind', backing, root)
            await_same(backing, pair.right, 'the disk is back, and the folder goes on by itself')
            ended = left.interrupt()
            check(ended.code == program.IN_SYNC, f'it ends well: {ended.describe()}')
        check(pair.deletions() == 0, f'no deletion is signed, yet {pair.deletions()} were')
        check(before.keys() <= trees.picture(pair.right).keys(), 'the other side has all it had')
        # A chain of another identity is nothing that waiting mends.
        shutil.copy(os.path.join(pair.there.home, 'identity'), os.path.join(pair.here.home, 'identity'))
        ended = pair.here.run('--json', 'serve', wrapper=mounts.enter, patience_s=30)
        check(ended.code == program.ATTENTION and 'another identity' in ended.output + ended.complaint, ended.describe())


@scene('guards: an emptied root, and a marker that was made by hand')
def emptied(stage):
    """Everything in the root goes, dunlin's own directory with it; then somebody makes a marker, as forums advise."""
    root = stage.fresh('left')
    trees.small_files(root, stage.size(300, 5000), seed=32)
    pair = Pair(stage, root)
    before = pair.share()
    with pair.serving() as (left, _):
        await_record(left, lambda r: r.get('event') == 'connected', 'a connection')
        for name in os.listdir(root):
            shutil.rmtree(os.path.join(root, name))
        await_record(left, lambda r: r.get('event') == 'ended' and 'marker' in r['why'], 'the folder says why it stopped')
    for marker, word in ((None, 'gone'), ('0123456789abcdef' * 2, "another's"), ('hello', 'gone')):
        shutil.rmtree(os.path.join(root, '.dunlin'), ignore_errors=True)
        if marker:
            os.makedirs(os.path.join(root, '.dunlin'))
            trees.write(os.path.join(root, '.dunlin', 'marker'), marker.encode())
        serving = pair.here.start('--json', 'serve')
        await_record(serving, lambda r: r.get('missing') == [root], f'marker {marker}: not served')
        text, code = pair.status()
        check(code == program.ATTENTION and word in text, f'marker {marker}: status says so: {text[-300:]}')
        ended = serving.interrupt()
        check(ended.code == program.ATTENTION, f'marker {marker}: not served to the end: {ended.describe()}')
        ended = pair.here.run('--json', 'scan', root)
        check(ended.code == program.ATTENTION, f'marker {marker}: not looked at: {ended.describe()}')
    unlike = trees.difference(before, trees.picture(pair.right))
    check(not unlike, f'the other side has all it had: {unlike}')


def exchange(one, other):
    """Two directories take each other's place in one moment."""
    library = ctypes.CDLL(None, use_errno=True)
    failed = library.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)
    check(failed == 0, f'an exchange: {os.strerror(ctypes.get_errno())}')


@scene('guards: another directory at the root\'s path')
def replaced(stage):
    """The root is moved away while it is served, and a copy of a part of it, marker and all, takes its place."""
    root = stage.fresh('left')
    trees.small_files(root, stage.size(300, 5000), seed=33)
    pair = Pair(stage, root)
    before = pair.share()
    with pair.serving() as (left, _):
        await_record(left, lambda r: r.get('event') == 'connected', 'a connection')
        shutil.copytree(os.path.join(root, '.dunlin'), stage.path('copy', '.dunlin'))
        exchange(root, stage.path('copy'))
        await_record(left, lambda r: r.get('event') == 'ended' and 'another directory' in r['why'], 'the folder says why')
    exchange(root, stage.path('copy'))
    unchanged(pair, before, 'another directory stood at the path')


@scene('guards: a part of the tree is unmounted, mounted over, or cannot be read', root=True, tools=('unshare', 'nsenter'))
def parts(stage):
    """Mount points inside the folder, of another disk, of the same and of the folder itself, and a directory without permissions."""
    root = stage.fresh('left')
    trees.small_files(root, stage.size(300, 5000), seed=34)
    os.makedirs(os.path.join(root, 'media', 'below'))
    os.makedirs(os.path.join(root, 'circle', 'below'))
    subprocess.run(['chown', '-R', f'{NOBODY}:{NOBODY}', stage.directory], check=True)
    os.chmod(stage.directory, 0o755)
    with Mounts() as mounts:
        media = os.path.join(root, 'media')
        mounts.do('mount', '-t', 'tmpfs', 'none', media)
        for number in range(60):
            trees.write(os.path.join(mounts.path(media), f'clip{number}'), b'on another disk\n')
        mounts.do('chown', '-R', f'{NOBODY}', media)
        as_nobody = (*mounts.enter, 'setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups', '--')
        pair = Pair(stage, root, wrapper=as_nobody)
        before = pair.share(program.SOME_FAILED)
        with pair.serving() as (left, _):
            await_record(left, has_problem('mount point'), 'the mount point is shown')
            mounts.do('umount', '--lazy', media)
            mounts.do('mount', '-t', 'tmpfs', 'none', os.path.join(root, 'shelf0001'))
            mounts.do('mount', '--bind', stage.fresh('empty'), os.path.join(root, 'shelf0002'))
            # The whole folder once more below itself, and so without end.
            mounts.do('mount', '--rbind', root, os.path.join(root, 'circle'))
            os.chmod(os.path.join(root, 'shelf0000'), 0)
            trees.write(os.path.join(mounts.path(root), 'beside'), b'a look is due\n')
            os.chown(os.path.join(mounts.path(root), 'beside'), NOBODY, NOBODY)
            time.sleep(LOOKED_TWICE_S)
        with pair.serving() as (left, _):
            for shelf, word in (('shelf0000', 'permission'), ('shelf0001', 'mount point'), ('shelf0002', 'mount point'), ('circle', 'mount point')):
                await_record(left, lambda r: has_problem(word)(r) and r['path'] == shelf, f'{shelf} is shown')
                check(f'! {shelf}: ' in pair.status()[0], f'status shows {shelf}: {pair.status()[0]}')
            time.sleep(LOOKED_TWICE_S)
        os.chmod(os.path.join(root, 'shelf0000'), 0o755)
        for shelf in ('circle', 'shelf0002', 'shelf0001'):
            mounts.do('umount', '--recursive', os.path.join(root, shelf))
        check(pair.deletions() == 0, f'no deletion is signed, yet {pair.deletions()} were')
        gone = before.keys() - trees.picture(pair.right).keys()
        check(not gone, f'the other side has all it had, yet {len(gone)} are gone')
        with pair.serving():
            await_same(root, pair.right, 'all can be read again')
        check(pair.deletions() == 0, 'no deletion is signed afterwards')


LIES = {
    'leaves everything out': 'retval=0:when=1+',
    'leaves the rest out': 'retval=0:when=2+',
    'fails at once': 'error=EIO:when=1+',
    'breaks off': 'error=EIO:when=2+',
    'fails every other time': 'error=ESTALE:when=1+2',
}


@scene('guards: a listing that lies', tools=('strace',))
def lying(stage):
    """The kernel's answers are changed for one directory: names are left out, or the listing fails half-way."""
    root = stage.fresh('left')
    shelf = os.path.join(root, 'shelf0001')
    trees.small_files(root, 300, seed=35)
    for number in range(3000):
        # More than the kernel gives in one answer.
        trees.write(os.path.join(shelf, f'a-long-name-that-fills-the-answer-{number:06}'), b'', 0o644)
    pair = Pair(stage, root)
    before = pair.share()
    for lie, how in LIES.items():
        # With -D the tracer is the grandchild: who is killed is the program.
        tracer = ('strace', '-D', '-f', '--seccomp-bpf', '-o', '/dev/null', '-e', 'trace=getdents64', '-e', f'inject=getdents64:{how}', '-P', shelf)
        with pair.serving(wrapper=tracer) as (left, _):
            await_record(left, lambda r: r.get('event') == 'problem' and r['path'] == 'shelf0001', f'it is shown: {lie}')
            check('! shelf0001: ' in pair.status()[0], f'status shows it: {pair.status()[0]}')
            # Some real work next to it, which must go on.
            trees.write(os.path.join(root, 'shelf0000', 'note'), lie.encode())
            limit = time.monotonic() + PATIENCE_S
            while not holds(os.path.join(pair.right, 'shelf0000', 'note'), lie.encode()):
                check(time.monotonic() < limit, f'other files are synchronised meanwhile: {lie}')
                time.sleep(0.05)
            time.sleep(LOOKED_TWICE_S / 2)
        check(pair.deletions() == 0, f'{lie}: no deletion is signed, yet {pair.deletions()} were')
        gone = before.keys() - trees.picture(pair.right).keys()
        check(not gone, f'{lie}: the other side has all it had, yet {len(gone)} are gone')


def holds(path, data):
    """Whether a file holds exactly that."""
    try:
        with open(path, 'rb') as file:
            return file.read() == data
    except FileNotFoundError:
        return False


@scene('guards: a burst of events, and few watches', root=True, tools=('unshare',))
def burst(stage):
    """More events than the kernel keeps, at a daemon that may watch eight directories, and at one that may watch all."""
    root = stage.fresh('left')
    trees.small_files(root, stage.size(1000, 5000), seed=36)
    pair = Pair(stage, root)
    pair.share()
    few = ('unshare', '--user', '--map-root-user', '--', 'sh', '-c',
           'echo 8 > /proc/sys/user/max_inotify_watches; exec "$@"', 'sh')
    for limit in (few, ()) if stage.full else ((),):
        with pair.serving(wrapper=limit) as (left, _):
            await_record(left, lambda r: r.get('event') == 'connected', 'a connection')
            if limit:
                await_record(left, lambda r: r.get('watched', 99) <= 8, 'few directories are watched')
                check('directories watched' in pair.status()[0], f'status says how many: {pair.status()[0]}')
            events = stage.size(120_000, 1_000_000)
            began = time.monotonic()
            for number in range(events // 4):
                path = os.path.join(root, f'shelf{number % 8:04}', f'burst{number % 40}')
                with open(path, 'wb') as file:
                    file.write(b'%d' % number)
            stage.note(f'{events} events in {time.monotonic() - began:.1f} s')
            await_same(root, pair.right, 'the burst is over', 180)
        check(pair.deletions() == 0, f'no deletion is signed, yet {pair.deletions()} were')
