"""`serve` as a service: what it tells its manager, bounded rates, a configuration that is read again, units, the
doctor.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time

from kit import program, trees
from kit.network import PORT, Cable
from kit.program import Device
from kit.scenes import check, scene

MIB = 1 << 20


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
    """2 MiB/s up at the sender, then none; 8 MiB of noise each time."""
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
        finally:
            for running in (serving, following):
                running.interrupt()
        stage.note(f'8 MiB: {slow:.1f} s at 2 MiB/s, {fast:.1f} s without a bound')
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


@scene('service: units that systemd accepts and finds narrow', tools=('systemd-analyze',))
def units(stage):
    """The unit of the system scores at most 2.5 in `systemd-analyze security`; both are verified."""
    root = stage.fresh('my 100% folder')
    device = Device(stage.binary, stage.fresh('home'))
    check(device.sync(root, stage.fresh('other')).code == program.IN_SYNC, 'the folder is made')
    for scope, name in (('--system', 'dunlin.service'), (None, 'of-user.service')):
        ended = device.run('service', 'install', '--print', *([scope] if scope else []))
        check(ended.code == program.IN_SYNC, ended.describe())
        path = stage.path(name)
        with open(path, 'w') as unit:
            unit.write(ended.output)
        tool = ['systemd-analyze', '--man=no', *([] if scope else ['--user']), 'verify', path]
        done = subprocess.run(tool, capture_output=True, text=True)
        said = [line for line in done.stderr.splitlines() if os.path.basename(path) in line]
        check(not said, f'systemd finds nothing wrong: {said}')
    done = subprocess.run(['systemd-analyze', 'security', '--offline=true', '--threshold=25', stage.path('dunlin.service')],
                          capture_output=True, text=True)
    check(done.returncode == 0, f'the unit is narrow: {done.stdout.splitlines()[-1:]}')
    stage.note(done.stdout.splitlines()[-1].strip())
