"""A disk that is too small, then full to its last byte, then larger: the device goes on by itself.

Folder, home and trash of the second device lie on a tmpfs of 64 MiB of its own.
"""

import contextlib
import os
import random
import time

import users
import values
import world as worlds
from kit import trees
from kit.network import tool
from kit.scenes import check

DISK_MIB, LATER_MIB = 64, 320
FILE_MIB = 5
PATIENCE_S = 120


def play(stage, is_long):
    """More arrives than the disk holds; its user goes on; even that fails; then there is room again."""
    rng = random.Random(f'{stage.seed}/room')
    with small_disk(stage.path('small')) as disk:
        small = {'root': os.path.join(disk, 'folder'), 'home': os.path.join(disk, 'home')}
        with worlds.world(stage, places=[{}, small, {}]) as here:
            here.serve()
            with here.observed():
                for round_number in range(4 if is_long else 1):
                    fill(here, rng)
                    await_word(here.machines[1])
                    write_meanwhile(here)
                    full_to_the_brim(here, disk, is_killed=round_number % 2 == 1)
                    tool('mount', '-o', f'remount,size={LATER_MIB}m', disk)
                    took = here.settle(PATIENCE_S)
                    here.check_end()
                    shrink(here, disk)
            here.check_silence()
        stage.note(f'equal {took:.1f} s after there was room, {here.oracle.reads} reads')


@contextlib.contextmanager
def small_disk(path):
    """A small file system of its own."""
    os.makedirs(path)
    tool('mount', '-t', 'tmpfs', '-o', f'size={DISK_MIB}m', 'tmpfs', path)
    try:
        yield path
    finally:
        tool('umount', '-l', path)


def fill(here, rng):
    """The first user writes more than the second one's disk holds; the others have it soon."""
    for _ in range(DISK_MIB // FILE_MIB + 2):
        put(here.users[0], FILE_MIB * trees.MIB - rng.randrange(trees.MIB))
    await_equal(here, (0, 2), 'the others have all')


def put(user, size):
    """A new file, whole from the beginning."""
    number = user.oracle.number()
    name = f'leaf{number}.bin'
    user.oracle.name(number, name)
    user.oracle.directory('inbox')
    os.makedirs(user.at('inbox'), exist_ok=True)
    data = values.blob(number, user.device, number, size)
    user.oracle.write(data, user.device, number)
    users.put_whole(user, f'inbox/{name}', data)
    return f'inbox/{name}'


def await_word(machine):
    """Its status says that there is no room."""
    limit = time.monotonic() + PATIENCE_S
    while True:
        said = machine.device.run('--json', 'status')
        if 'room' in said.output or 'full' in said.output:
            return
        check(time.monotonic() < limit, f'status says that the disk is full: {said.output[-600:]}')
        time.sleep(0.5)


def write_meanwhile(here):
    """What the user of the full disk does is sent as always."""
    path = put(here.users[1], 900)
    for other in (0, 2):
        await_true(lambda other=other: os.path.exists(here.users[other].at(path)), f'{path} of the full device is on device {other}')
    check(here.machines[1].is_up, f'it runs: {here.machines[1].say()}')


def full_to_the_brim(here, disk, is_killed):
    """Nothing at all can be written for a while; all go on working."""
    ballast = os.path.join(disk, 'ballast')
    machine, user = here.machines[1], here.users[1]
    with open(ballast, 'wb', buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    if is_killed:
        machine.kill()
        machine.start()
    for one in (here.users[0], here.users[2]):
        for _ in range(6):
            put(one, 3000)
    users.remove(user, user.files())
    time.sleep(4)
    here.check_explained()
    here.check_kept()
    check(machine.is_up, f'it waits for room: {machine.say()}')
    os.unlink(ballast)
    check(machine.is_up, f'it runs: {machine.say()}')


def shrink(here, disk):
    """Most goes again, so that the disk can be small for the next round."""
    user = here.users[0]
    for path in [one for one in user.files() if os.path.getsize(user.at(one)) > trees.MIB]:
        data = users.whole(user.at(path))
        os.unlink(user.at(path))
        user.oracle.ended(user.device, path, data, 'unlinked')
    here.settle(PATIENCE_S)
    for machine in here.machines:
        users.empty_trash(machine)
    history = os.path.join(disk, 'folder', '.dunlin', 'history')
    for name in os.listdir(history):
        os.unlink(os.path.join(history, name))
    tool('mount', '-o', f'remount,size={DISK_MIB}m', disk)


def await_equal(here, numbers, what):
    """Waits until some folders are equal."""
    roots = [here.machines[number].root for number in numbers]
    await_true(lambda: same(roots), what)


def same(roots):
    """Whether folders show the same; while something moves it cannot be told."""
    with contextlib.suppress(FileNotFoundError):
        first, *others = [trees.picture(root) for root in roots]
        return all(not trees.difference(first, other) for other in others)
    return False


def await_true(holds, what):
    """Waits for something."""
    limit = time.monotonic() + PATIENCE_S
    while not holds():
        check(time.monotonic() < limit, what)
        time.sleep(0.2)
