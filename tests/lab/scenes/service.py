"""`serve` as a service: what it tells its manager, bounded rates, a configuration that is read again, units, the
doctor.
"""

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time

from kit import program, trees
from kit.network import PORT, Cable
from kit.program import Device
from kit.scenes import check, scene

from .guards import Pair, await_same

MIB = 1 << 20
# For waitpid: threads too.
WALL = 0x40000000


def configure(home, text):
    """Writes a device's configuration."""
    os.makedirs(home, exist_ok=True)
    with open(os.path.join(home, 'config.toml'), 'w') as config:
        config.write(text)


def seconds_until(path, size, patience_s=120):
    """How long it takes until the file is there, whole."""
    began = time.monotonic()
    while not (os.path.exists(path) and os.path.getsize(path) == size):
        check(time.monotonic() < began + patience_s, f'{path} arrives within {patience_s} s')
        time.sleep(0.01)
    return time.monotonic() - began


@scene('service: a bounded rate holds, and is lifted by a reload', root=True, tools=('ip',), measures=True)
def bounded_rate(stage):
    """2 MiB/s up at the sender, then none, then 2 MiB/s down at the receiver; 8 MiB of noise each time."""
    size = 8 * MIB
    with Cable() as cable:
        left, right = stage.path('left'), stage.path('right')
        os.makedirs(left)
        addresses = [f'{cable.addresses[side]}:{PORT}' for side in (cable.left, cable.right)]
        sharer = Device(stage.binary, stage.path('home-left'), cable.left)
        joiner = Device(stage.binary, stage.path('home-right'), cable.right)
        configure(sharer.home, '[bandwidth]\nlimit = "2M:off"\nlan = true\n')
        sharing = sharer.start('--json', 'share', left, '--listen', addresses[0])
        invite = sharing.record_with('invite')['invite']
        ended = joiner.run('--json', 'join', invite, right, '--once', '--listen', addresses[1])
        check(ended.code == program.IN_SYNC, ended.describe())
        sharing.interrupt()
        serving = sharer.start('--json', 'serve', '--listen', addresses[0])
        following = joiner.start('--json', 'serve', '--listen', addresses[1])
        try:
            following.record_with('peer')
            write(left, 'slow', size)
            slow = seconds_until(os.path.join(right, 'slow'), size)
            configure(sharer.home, '[bandwidth]\nlimit = "off"\n')
            serving.signal(signal.SIGHUP)
            wait_for(lambda: 'read again' in ''.join(serving.complaints), 'the configuration is read again')
            write(left, 'fast', size)
            fast = seconds_until(os.path.join(right, 'fast'), size)
            configure(joiner.home, '[bandwidth]\nlimit = "off:2M"\nlan = true\n')
            following.signal(signal.SIGHUP)
            wait_for(lambda: 'read again' in ''.join(following.complaints), 'the configuration is read again')
            write(left, 'down', size)
            down = seconds_until(os.path.join(right, 'down'), size)
        finally:
            for running in (serving, following):
                running.interrupt()
        stage.note(f'8 MiB: {slow:.1f} s at 2 MiB/s up, {fast:.1f} s without a bound, {down:.1f} s at 2 MiB/s down')
        check(3.6 <= down <= 12, f'8 MiB at 2 MiB/s down take 4 s and a little and not {down:.1f}')
        check(3.6 <= slow <= 8, f'8 MiB at 2 MiB/s take 4 s and not {slow:.1f}')
        check(fast < slow / 2, f'without a bound they take less than half of it, not {fast:.1f}')


def write(root, name, size):
    """A file of noise, renamed into place."""
    with open(os.path.join(root, f'.{name}.part'), 'wb') as file:
        file.write(os.urandom(size))
    os.rename(file.name, os.path.join(root, name))


def wait_for(is_so, what, patience_s=20):
    """Waits until it is so."""
    limit = time.monotonic() + patience_s
    while not is_so():
        check(time.monotonic() < limit, f'within {patience_s} s {what}')
        time.sleep(0.02)


class Manager:
    """A service manager, as far as its notification socket goes."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)

    def next(self, word, patience_s=20):
        """The next message that says `word`."""
        limit = time.monotonic() + patience_s
        while True:
            self.socket.settimeout(max(limit - time.monotonic(), 0.01))
            try:
                text = self.socket.recv(4096).decode()
            except TimeoutError:
                check(False, f'the manager hears {word} within {patience_s} s')
            if word in text.splitlines():
                return text

    def drain(self):
        """All that was said and not heard yet."""
        self.socket.setblocking(False)
        said = []
        with contextlib.suppress(BlockingIOError):
            while True:
                said.append(self.socket.recv(4096).decode())
        return said


@contextlib.contextmanager
def served(stage, config, environment, name=''):
    """A folder with one file that is served."""
    root = stage.fresh(f'{name}folder')
    trees.small_files(root, 20, seed=3)
    device = Device(stage.binary, stage.fresh(f'{name}home'))
    check(device.sync(root, stage.fresh(f'{name}other')).code == program.IN_SYNC, 'the folder is made')
    configure(device.home, config)
    running = device.start('serve', environment=environment)
    try:
        yield device, running
    finally:
        if running.alive:
            running.kill()


@scene('service: the manager hears of begin, life, reload and end')
def notifies(stage):
    """READY, WATCHDOG again and again, RELOADING and READY, STOPPING."""
    manager = Manager(stage.path('notify'))
    environment = {'NOTIFY_SOCKET': manager.path, 'WATCHDOG_USEC': '1000000'}
    with served(stage, '', environment) as (device, running):
        check('STATUS=' in manager.next('READY=1'), 'it says what it does')
        began = time.monotonic()
        for _ in range(3):
            manager.next('WATCHDOG=1')
        check(0.8 <= time.monotonic() - began < 5, 'it says that it lives twice in the time of the watchdog')
        running.signal(signal.SIGHUP)
        check('MONOTONIC_USEC=' in manager.next('RELOADING=1'), 'a reload has its time')
        manager.next('READY=1')
        configure(device.home, '[bandwidth]\nlimit = "fast"\n')
        running.signal(signal.SIGHUP)
        manager.next('READY=1')
        wait_for(lambda: 'stays as it was' in ''.join(running.complaints), 'a wrong configuration is refused')
        running.signal(signal.SIGTERM)
        manager.next('STOPPING=1')
        check(running.wait(30).code == program.IN_SYNC, 'it ends well')


@scene('service: a run that is stuck is not said to live', root=True)
def stuck(stage):
    """The thread that decides is stopped by a debugger's means: the watchdog hears nothing more, and hears it again once that goes on."""
    manager = Manager(stage.path('notify'))
    with served(stage, '', {'NOTIFY_SOCKET': manager.path, 'WATCHDOG_USEC': '1000000'}) as (_, running):
        manager.next('READY=1')
        manager.next('WATCHDOG=1')
        with stopped(thread_of(running.process.pid, 'dunlin-engine')):
            # What was said before that has been heard by then; who asks whether it lives waits ten seconds for an answer.
            time.sleep(2)
            manager.drain()
            time.sleep(12)
            said = manager.drain()
            check(not any('WATCHDOG=1' in text for text in said), f'nothing is said of life: {said}')
        manager.next('WATCHDOG=1')
        running.signal(signal.SIGTERM)
        check(running.wait(30).code == program.IN_SYNC, 'it ends well')


def thread_of(process, name):
    """The id of a process's thread, which has the kernel's 15 bytes of its name."""
    for thread in os.listdir(f'/proc/{process}/task'):
        with open(f'/proc/{process}/task/{thread}/comm') as comm:
            if comm.read().strip() == name[:15]:
                return int(thread)
    return check(False, f'there is a thread {name}')


@contextlib.contextmanager
def stopped(thread):
    """One thread of a process stands still, and the others do not."""
    seize, interrupt, detach = 0x4206, 0x4207, 17
    library = ctypes.CDLL(None, use_errno=True)
    for request in (seize, interrupt):
        check(library.ptrace(request, thread, None, None) == 0, f'the thread can be stopped: {os.strerror(ctypes.get_errno())}')
    os.waitpid(thread, WALL)
    try:
        yield
    finally:
        library.ptrace(detach, thread, None, None)


@scene('service: a configuration that is read again holds for runs that go on')
def reloads(stage):
    """The rate of a scrub, the log's format, and what is held: each as the file says at the time."""
    with served(stage, '[scrub]\nrate = "8M"\n[hold]\nfiles = 10\nshare = 10\n', {}) as (device, running):
        root = stage.path('folder')
        wait_for(lambda: 'serving' in ''.join(running.complaints), 'it serves')
        trees.write(os.path.join(root, 'large'), os.urandom(28 * MIB))
        check(device.run('scan', root).code == program.IN_SYNC, 'it is looked at')
        at_rate, lifted = scrub(device, root), scrub(device, root, '--fast')
        again(device, running, '[log]\nformat = "json"\n[hold]\nfiles = 10\nshare = 10\n[scrub]\nrate = "off"\n')
        unbounded = scrub(device, root)
        stage.note(f'28 MiB: {at_rate:.1f} s at 8 MiB/s, {lifted:.1f} s with --fast, {unbounded:.1f} s at no rate')
        check(at_rate >= 2.9, f'three pieces have to wait: {at_rate:.1f}')
        check(lifted < 2 and unbounded < 2, f'nothing waits: {lifted:.1f} and {unbounded:.1f}')
        check(program.json_lines(''.join(running.complaints)), 'the log is for programs from then on')
        for name in sorted(os.listdir(root)):
            if name.startswith('shelf'):
                shutil.rmtree(os.path.join(root, name))
        wait_for(lambda: device.run('held', 'list', root).code == program.HELD, 'by its bounds a mass change is held')
        again(device, running, '[hold]\non = false\n')
        wait_for(lambda: device.run('held', 'list', root).code == program.IN_SYNC, 'nothing is held any more')
        wait_for(lambda: device.run('--json', 'log', root, '--deleted').records, 'and what was held is done')


def again(device, running, text):
    """Has a configuration read, and waits until it is."""
    count = ''.join(running.complaints).count('read again')
    configure(device.home, text)
    running.signal(signal.SIGHUP)
    wait_for(lambda: ''.join(running.complaints).count('read again') > count, 'the configuration is read again')


def scrub(device, root, *more):
    """How long a scrub takes."""
    began = time.monotonic()
    done = device.run('scrub', root, *more)
    check(done.code == program.IN_SYNC, done.describe())
    return time.monotonic() - began


@scene('service: a wrong configuration stops a start, and names the place')
def wrong_configuration(stage):
    """Unknown keys, and a file that was asked for and is not there."""
    with served(stage, '[bandwith]\nlimit = "1M"\n', {}) as (device, running):
        ended = running.wait(30)
        check(ended.code == program.USAGE, ended.describe())
        check('bandwith' in ended.complaint and 'line 1' in ended.complaint, ended.complaint)
        ended = device.run('serve', '--config', stage.path('nowhere.toml'))
        check(ended.code == program.USAGE and 'nowhere.toml' in ended.complaint, ended.describe())
        ended = device.run('doctor')
        check(ended.code == program.ATTENTION and 'bandwith' in ended.output, ended.describe())
        configure(device.home, '')
        ended = device.run('--json', 'doctor')
        check(ended.code == program.IN_SYNC, ended.describe())
        check(all(record['level'] != 'failure' for record in ended.records), ended.output)


@scene('service: the log has levels, for people and for programs')
def log(stage):
    """JSON lines as configured; nothing below the level."""
    with served(stage, '[log]\nformat = "json"\n', {}) as (_, running):
        wait_for(lambda: program.json_lines(''.join(running.complaints)), 'the log begins')
        line = program.json_lines(''.join(running.complaints))[0]
        check(line['level'] == 'INFO' and 'timestamp' in line, f'a line of the log: {line}')
    with served(stage, '[log]\nlevel = "error"\n', {}, 'quiet-') as (_, running):
        running.signal(signal.SIGTERM)
        ended = running.wait(30)
        check(' INFO ' not in ended.complaint, f'nothing below the level is logged: {ended.complaint}')


# A user that is not root, and one more; every system has both.
USER, STRANGER = 'daemon', 'nobody'

# What systemd 254 brought; older ones say that they pass it over.
LATER = ('RestartSteps', 'RestartMaxDelaySec')


@scene('service: units that systemd accepts and finds narrow', tools=('systemd-analyze',))
def units(stage):
    """The unit of the system scores at most 1.6 in `systemd-analyze security`; both are verified."""
    root = stage.fresh('my 100% folder')
    device = Device(stage.binary, stage.fresh('home'))
    check(device.sync(root, stage.fresh('other')).code == program.IN_SYNC, 'the folder is made')
    for scope, name in (('--system', f'dunlin@{USER}.service'), (None, 'of-user.service')):
        ended = device.run('service', 'install', '--print', *([scope] if scope else []))
        check(ended.code == program.IN_SYNC, ended.describe())
        path = stage.path(name)
        with open(path, 'w') as unit:
            unit.write(ended.output)
        tool = ['systemd-analyze', '--man=no', *([] if scope else ['--user']), 'verify', path]
        done = subprocess.run(tool, capture_output=True, text=True)
        said = [line for line in done.stderr.splitlines() if os.path.basename(path) in line]
        said = [line for line in said if not ('Unknown key' in line and any(key in line for key in LATER))]
        check(not said, f'systemd finds nothing wrong: {said}')
    path = stage.path(f'dunlin@{USER}.service')
    done = subprocess.run(['systemd-analyze', 'security', '--offline=true', '--threshold=17', path], capture_output=True, text=True)
    check(done.returncode == 0, f'the unit is narrow: {done.stdout.splitlines()[-1:]}')
    stage.note(done.stdout.splitlines()[-1].strip())


# Stands before the system's own tool, which writes all that `enable` and `disable` mean, and leaves out what only a running
# manager can do.
SYSTEMCTL = """#!/bin/sh
echo "$*" >> {log}
for word; do shift; [ "$word" = --now ] || set -- "$@" "$word"; done
SYSTEMD_OFFLINE=1 exec {real} "$@"
"""


@scene('service: units are installed and removed', root=True, tools=('systemctl', 'unshare', 'getent'))
def installed(stage):
    """For a user's own manager and for the system, in a mount namespace with no units of its own."""
    units, tools, mine = stage.fresh('units'), stage.fresh('tools'), stage.fresh('mine')
    log, device = stage.path('log'), Device(stage.binary, stage.fresh('home'))
    with open(os.path.join(tools, 'systemctl'), 'w') as tool:
        tool.write(SYSTEMCTL.format(log=log, real=shutil.which('systemctl')))
    os.chmod(tool.name, 0o755)
    apart = ('unshare', '--mount', 'sh', '-c', f'mount --bind {units} /etc/systemd/system; exec "$@"', 'sh')
    environment = {'PATH': f'{tools}:{os.environ["PATH"]}', 'HOME': mine, 'XDG_RUNTIME_DIR': stage.fresh('run'), 'SUDO_USER': ''}

    def service(*words, code=program.IN_SYNC, environment=environment):
        ended = device.run('service', *words, wrapper=apart, environment=environment)
        check(ended.code == code, f'{words}: {ended.describe()}')
        return ended.output + ended.complaint

    def files(where):
        return sorted(os.path.relpath(os.path.join(base, name), where) for base, _, names in os.walk(where) for name in names)

    own = ['.config/systemd/user/default.target.wants/dunlin.service', '.config/systemd/user/dunlin.service']
    service('install')
    check(files(mine) == own, f'a unit that starts by itself: {files(mine)}')
    service('remove')
    check(files(mine) == [], f'nothing is left: {files(mine)}')
    check('not installed' in service('remove', code=program.USAGE), 'twice is once too often')

    words = ('--system', '--user', USER)
    check('chown' in service('install', *words, code=program.USAGE), 'a state that is not the user\'s is refused')
    check('no such user' in service('install', '--system', '--user', 'no-such-user', code=program.USAGE), 'so is nobody\'s')
    check('--user NAME' in service('install', '--system', code=program.USAGE), 'the user is to be named')
    check(files(units) == [], f'nothing was begun: {files(units)}')
    shutil.chown(device.home, USER)
    template, wants = 'dunlin@.service', f'multi-user.target.wants/dunlin@{USER}.service'
    service('install', *words)
    check(files(units) == [template, f'dunlin@{USER}.service.d/dunlin.conf', wants], f'an instance: {files(units)}')
    with open(os.path.join(units, f'dunlin@{USER}.service.d', 'dunlin.conf')) as besides:
        check(f'DUNLIN_HOME={device.home}"' in besides.read(), 'it knows where its state is')
    os.symlink(template, os.path.join(units, f'multi-user.target.wants/dunlin@{STRANGER}.service'))
    service('remove', *words)
    check(files(units) == [template, f'multi-user.target.wants/dunlin@{STRANGER}.service'], f'another\'s stays: {files(units)}')
    service('remove', '--system', '--user', STRANGER)
    check(files(units) == [], f'nothing is left: {files(units)}')
    with open(log) as lines:
        said = lines.read().splitlines()
    check(f'enable --now dunlin@{USER}.service' in said and '--user disable --now dunlin.service' in said, f'it starts and stops: {said}')
    if not os.path.isdir('/run/systemd/system'):
        service('install', *words, code=program.ATTENTION, environment={**environment, 'PATH': os.environ['PATH']})
        check(files(units) == [], f'without a manager nothing is left: {files(units)}')


@scene('service: a unit of the system serves the folder of a user that is not root', root=True, tools=('setpriv', 'unshare'))
def as_user(stage):
    """The unit's user, bounding set and file system, by hand: a folder and a state that are that user's alone."""
    printed = Device(stage.binary, stage.fresh('home-printed')).run('service', 'install', '--system', '--print').output.splitlines()
    for line in ('User=%i', 'CapabilityBoundingSet=', 'AmbientCapabilities=', 'NoNewPrivileges=yes', 'ProtectSystem=full', 'UMask=0077'):
        check(line in printed, f'the unit says {line}')
    user = pwd.getpwnam(USER)
    left, home = stage.fresh('left'), stage.fresh('home-left')
    trees.small_files(left, 40, seed=41)
    subprocess.run(['chown', '-R', f'{user.pw_uid}:{user.pw_gid}', left, home], check=True)
    for path, mode in ((left, 0o700), (home, 0o700), (stage.directory, 0o755)):
        os.chmod(path, mode)
    full = 'for d in /usr /boot /etc; do [ ! -d $d ] || mount --bind $d $d && mount -o remount,bind,ro $d; done; umask 0077; exec "$@"'
    narrow = ('unshare', '--mount', 'sh', '-c', full, 'sh', 'setpriv', '--bounding-set=-all', '--inh-caps=-all', '--no-new-privs')
    ended = Device(stage.binary, home).run('status', wrapper=narrow)
    check(ended.code != program.IN_SYNC, f'root without capabilities cannot: {ended.describe()}')
    pair = Pair(stage, left, wrapper=(*narrow, f'--reuid={user.pw_uid}', f'--regid={user.pw_gid}', '--clear-groups', '--'))
    pair.share()
    with pair.serving():
        write(pair.right, 'theirs', 1000)
        write(left, 'mine', 1000)
        os.chown(os.path.join(left, 'mine'), user.pw_uid, user.pw_gid)
        await_same(left, pair.right, 'changes go both ways')
        check(os.stat(os.path.join(left, 'theirs')).st_uid == user.pw_uid, 'what comes is the user\'s')
        check(pair.status()[1] == program.IN_SYNC, f'status says so: {pair.status()[0][-300:]}')


# Asks for the status and prints what comes; whoever runs it.
ASK = """
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
try:
    client.sendall(b'{"dunlin":1,"ask":"status","dirs":[]}\\n')
except BrokenPipeError:
    pass  # Who is refused is so before it has asked.
try:
    while piece := client.recv(4096):
        sys.stdout.write(piece.decode())
except ConnectionResetError:
    pass
"""


@scene('service: the socket is its user\'s, and root\'s', root=True, tools=('setpriv',))
def whose_socket(stage):
    """Another user is kept out by the mode, and refused by its name where the mode was changed."""
    user, stranger = pwd.getpwnam(USER).pw_uid, pwd.getpwnam(STRANGER).pw_uid
    home = stage.fresh('home')
    os.chown(home, user, user)
    for path in (home, stage.directory):
        os.chmod(path, 0o755)
    serving = Device(stage.binary, home, user=user).start('--json', 'serve')
    try:
        serving.record_with('folders')
        path = os.path.join(home, 'api.sock')
        found = os.stat(path)
        check((found.st_mode & 0o7777, found.st_uid) == (0o600, user), f'mode {found.st_mode:o} of {found.st_uid}')

        def ask(uid):
            become = ['setpriv', f'--reuid={uid}', '--clear-groups', '--', 'python3', '-c', ASK, path]
            return subprocess.run(become, capture_output=True, text=True, timeout=30)

        for uid in (user, 0):
            check('"event":"device"' in ask(uid).stdout, f'user {uid} gets an answer: {ask(uid)}')
        check('PermissionError' in ask(stranger).stderr, f'the mode keeps others out: {ask(stranger)}')
        os.chmod(path, 0o666)
        answer = ask(stranger).stdout
        check(f'"exit":{program.REFUSED}' in answer and f'user {stranger} may not ask' in answer, f'it is refused: {answer}')
        check('"event":"device"' not in answer, f'and learns nothing: {answer}')
    finally:
        serving.interrupt()


@scene('service: status and doctor say that the key lies in a plain file')
def plain_key(stage):
    """For people and for programs, with a daemon and without."""
    with served(stage, '', {}) as (device, running):
        for _ in range(2):
            said = device.run('--json', 'status').records[0]
            check(said['event'] == 'device' and said['key'] == 'file', f'status: {said}')
            check('the identity is a plain file' in device.run('status').output, 'status, for people')
            warned = [r for r in device.run('--json', 'doctor').records if 'the identity is a plain file' in r['what']]
            check(len(warned) == 1 and warned[0]['level'] == 'warning', f'doctor: {warned}')
            running.interrupt()
