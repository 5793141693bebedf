"""What people ask who serves: events, why a path is as it is, folders that rest, folders that come and go while it
runs.
"""

import contextlib
import os
import shutil
import time

from kit import program, trees
from kit.network import PORT, Cable
from kit.program import Device
from kit.scenes import check, scene

NEEDS = ('ip',)
PATIENCE_S = 30


def wait_for(is_so, what, patience_s=PATIENCE_S):
    """Waits until it is so, and returns what it says."""
    limit = time.monotonic() + patience_s
    while True:
        said = is_so()
        if said:
            return said
        check(time.monotonic() < limit, f'within {patience_s} s {what}')
        time.sleep(0.05)


def put(root, name, text='text'):
    """A file with a text, made in one go."""
    with open(os.path.join(root, f'.{name}.part'), 'w') as file:
        file.write(text)
    os.rename(file.name, os.path.join(root, name))


def read(root, name):
    """The text of a file; nothing if there is none."""
    try:
        with open(os.path.join(root, name)) as file:
            return file.read()
    except FileNotFoundError:
        return None


class Follower:
    """`dunlin events --follow` of one device."""

    def __init__(self, device, *more):
        self.running = device.start('--json', 'events', '--follow', *more)

    @property
    def records(self):
        """What came so far."""
        return program.json_lines(''.join(self.running.lines))

    def heard(self, **wanted):
        """Waits for an event with these facts, and returns it."""
        def found():
            same = (r for r in self.records if all(r.get(key) == value for key, value in wanted.items()))
            return next(same, None)
        return wait_for(found, f'an event comes: {wanted}; there are {self.records[-5:]}')

    def check_numbers(self):
        """No number is left out or comes twice."""
        numbers = [record['number'] for record in self.records]
        check(numbers == list(range(numbers[0], numbers[0] + len(numbers))), f'each event comes once: {numbers[:50]}')


@contextlib.contextmanager
def two(stage, cable):
    """A folder shared by one device and joined by the other; both go on."""
    left, right = stage.fresh('left'), stage.path('right')
    put(left, 'first')
    addresses = [f'{cable.addresses[side]}:{PORT}' for side in (cable.left, cable.right)]
    sharer = Device(stage.binary, stage.path('home-left'), cable.left)
    joiner = Device(stage.binary, stage.path('home-right'), cable.right)
    sharing = sharer.start('--json', 'share', left, '--listen', addresses[0])
    invite = sharing.record_with('invite')['invite']
    joining = joiner.start('--json', 'join', invite, right, '--listen', addresses[1])
    try:
        wait_for(lambda: read(right, 'first') == 'text', 'the first file arrives')
        yield sharer, joiner, left, right, sharing, joining
    finally:
        for running in (sharing, joining):
            if running.alive:
                running.kill()


@scene('control: events are numbered, follow what happens, and show what was lost', root=True, tools=NEEDS)
def events(stage):
    """Each deed at one device is an event at both; a follower that comes late gets what is kept; a burst beyond the
    ring shows as a gap to whoever slept."""
    with Cable() as cable, two(stage, cable) as (sharer, joiner, left, right, sharing, joining):
        near, far = Follower(sharer), Follower(joiner)
        far.heard(event='connected')
        far.heard(event='placed', deed='created', path='first')
        near.heard(event='changed', deed='created', path='first')
        far.heard(event='in-sync')
        put(left, 'first', 'more text')
        near.heard(event='changed', deed='written', path='first')
        far.heard(event='placed', deed='written', path='first')
        os.rename(os.path.join(left, 'first'), os.path.join(left, 'second'))
        near.heard(event='changed', deed='moved', path='second', **{'from': 'first'})
        far.heard(event='placed', deed='moved', path='second', **{'from': 'first'})
        os.unlink(os.path.join(left, 'second'))
        near.heard(event='changed', deed='deleted', path='second')
        far.heard(event='placed', deed='deleted', path='second')
        os.mkfifo(os.path.join(right, 'pipe'))
        check(joiner.run('--json', 'scan', right).code == program.SOME_FAILED, 'a pipe is a problem')
        far.heard(event='problem', path='pipe')
        kept = joiner.run('--json', 'events').records
        check([r['number'] for r in kept] == [r['number'] for r in far.records], 'who comes late gets what is kept')
        later = joiner.run('--json', 'events', '--since', str(kept[2]['number'])).records
        check(later[0]['number'] == kept[3]['number'], 'since means after')
        near.check_numbers()
        far.check_numbers()
        burst(stage, joiner, right, kept[-1]['number'])
        sharing.interrupt()
        ended = near.running.wait(30)
        check(ended.code == program.NO_DAEMON, f'a follower ends with what it follows: {ended.describe()}')
        far.heard(event='disconnected')
        joining.interrupt()
        check(far.running.wait(30).code == program.NO_DAEMON, 'so does the other one')
        check(joiner.run('events').code == program.NO_DAEMON, 'nobody serves any more')


def burst(stage, joiner, right, since):
    """More events than are kept, while nobody reads."""
    trees.small_files(os.path.join(right, 'burst'), 5000, seed=8)
    wait_for(lambda: needed(joiner) == 0 and scanned(joiner, right), 'the burst is recorded', 120)
    late = joiner.run('--json', 'events', '--since', str(since)).records
    gap = late[0]
    check(gap['event'] == 'gap' and gap['lost'] > 0, f'what is gone is told: {gap}')
    check(late[1]['number'] == since + 1 + gap['lost'], 'and how many are gone')
    check([r['number'] for r in late[1:]] == list(range(late[1]['number'], late[-1]['number'] + 1)), 'the rest is whole')
    stage.note(f'{gap["lost"]} events lost to who slept, {len(late) - 1} kept')


def folder_of(device, root=None):
    """The folder's line of `status`."""
    found = [r for r in device.run('--json', 'status').records if r['event'] == 'folder']
    return next(r for r in found if root is None or r['root'] == root)


def needed(device):
    """What a device's only folder lacks."""
    return folder_of(device)['needed']


def scanned(device, root):
    """Has a folder looked at; true if nothing new was found."""
    return device.run('--json', 'scan', root).report.get('entries_signed') == 0
