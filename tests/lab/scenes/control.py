"""What people ask who serves: events, why a path is as it is, status that is shown again whenever it changes, folders that rest,
folders that come and go while it runs.
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
        far.heard(number=kept[-1]['number'])
        check(kept == far.records[:len(kept)], 'who comes late gets what is kept')
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


@contextlib.contextmanager
def servers(stage, cable):
    """Two devices that serve, without a folder at first."""
    devices = [Device(stage.binary, stage.path(f'home-{side}'), side_of) for side, side_of in
               (('left', cable.left), ('right', cable.right))]
    serving = [device.start('--json', 'serve') for device in devices]
    try:
        for running in serving:
            running.record_with('folders')
        yield devices, serving
    finally:
        for running in serving:
            if running.alive:
                running.kill()


def hand_over(devices, cable, left, right, *more):
    """Shares and joins by two devices that serve; both commands return."""
    shared = devices[0].run('--json', 'share', left)
    check(shared.code == program.IN_SYNC, f'share hands over and returns: {shared.describe()}')
    joined = devices[1].run('--json', 'join', shared.records[-1]['invite'], right, *more)
    check(joined.code == program.IN_SYNC, f'join hands over and returns: {joined.describe()}')
    return joined


@scene('control: share, join and sync hand over to who serves', root=True, tools=NEEDS)
def handing_over(stage):
    """Folders come while it serves; a further invite; a second folder; sync waits, with the exit codes; who serves
    nothing yet keeps on serving after a wrong invite."""
    with Cable() as cable, servers(stage, cable) as (devices, serving):
        left, right = stage.fresh('left'), stage.path('right')
        put(left, 'first')
        refused = devices[1].run('--json', 'join', 'dunlin://join#nonsense', right)
        check(refused.code == program.USAGE, refused.describe())
        hand_over(devices, cable, left, right)
        wait_for(lambda: read(right, 'first') == 'text', 'the first file arrives')
        again = devices[0].run('--json', 'share', left)
        check(again.code == program.IN_SYNC and again.records[-1]['invite'], 'a served folder gives another invite')
        taken = devices[0].run('--json', 'share', left, '--listen', '0.0.0.0:4711')
        check(taken.code == program.USAGE and 'listen' in taken.complaint, taken.describe())
        other_left, other_right = stage.fresh('other-left'), stage.path('other-right')
        put(other_left, 'second', 'another')
        joined = hand_over(devices, cable, other_left, other_right, '--once')
        check(joined.report['event'] == 'report' and read(other_right, 'second') == 'another',
              'with --once it waits until all is there')
        put(left, 'third', 'sync me')
        synced = devices[0].run('--json', 'sync', left)
        check(synced.code == program.IN_SYNC, synced.describe())
        check(read(right, 'third') == 'sync me', 'what was there when sync began is there when it ends')
        check(len(devices[0].run('--json', 'sync').sides) == 2, 'without a name it is about all folders')
        os.mkfifo(os.path.join(left, 'pipe'))
        synced = devices[0].run('--json', 'sync', left)
        check(synced.code == program.SOME_FAILED, f'sync tells of trouble: {synced.describe()}')
        os.unlink(os.path.join(left, 'pipe'))
        both = devices[0].run('--json', 'sync', left, stage.fresh('free'))
        check(both.code == program.ATTENTION and 'served' in both.complaint, both.describe())
        serving[1].interrupt()
        alone = devices[0].run('--json', 'sync', left, '--wait', '1')
        check(alone.code == program.NO_PEER, f'nobody is there: {alone.describe()}')
        ended = serving[0].interrupt()
        check(ended.code == program.IN_SYNC, f'it ends well: {ended.describe()}')
        stranger = devices[1].start('--json', 'serve')
        stranger.record_with('folders')
        check(len(folders(devices[1])) == 2, 'what was handed over is served after a restart')
        stranger.interrupt()


@scene('control: a folder rests, also across a restart, and goes on by itself', root=True, tools=NEEDS)
def resting(stage):
    """Nothing moves while it rests; a time that was given ends it; a clock that is set back does not lengthen it."""
    with Cable() as cable, servers(stage, cable) as (devices, serving):
        left, right = stage.fresh('left'), stage.path('right')
        put(left, 'first')
        hand_over(devices, cable, left, right, '--once')
        follower = Follower(devices[1])
        paused = devices[1].run('--json', 'folder', 'pause', right)
        check(paused.code == program.IN_SYNC and paused.report['until_ms'] is None, paused.describe())
        follower.heard(event='paused')
        check(folders(devices[1])[0]['state'] == 'paused', 'it is listed so')
        check(folder_of(devices[1])['state'] == 'paused', 'and status says so')
        put(left, 'second')
        for refused in (('sync', right), ('share', right)):
            ended = devices[1].run('--json', *refused)
            check(ended.code == program.ATTENTION and 'resume' in ended.complaint, f'{refused}: {ended.describe()}')
        serving[1].interrupt()
        serving[1] = devices[1].start('--json', 'serve')
        serving[1].record_with('folders')
        time.sleep(1)
        check(read(right, 'second') is None, 'it rests after a restart too')
        check(devices[1].run('folder', 'resume', right).code == program.IN_SYNC, 'it goes on')
        wait_for(lambda: read(right, 'second') == 'text', 'what it missed arrives')
        paused = devices[1].run('--json', 'folder', 'pause', right, '--for', '3s')
        put(left, 'third')
        began = time.monotonic()
        wait_for(lambda: read(right, 'third') == 'text', 'it goes on by itself')
        took = time.monotonic() - began
        stage.note(f'--for 3s: the next file {took:.1f} s later')
        check(took > 2, f'it rested for 3 s, not {took:.1f}')
        set_back(devices[1], right, serving)


@scene('control: why a path is as it is', root=True, tools=NEEDS)
def why_so(stage):
    """From who serves, and from the store once nobody does: in step, left out, no file, changed, written, missing, on its way, gone."""
    with Cable() as cable, two(stage, cable) as (sharer, joiner, left, right, sharing, joining):
        def because(name, root=right, device=joiner):
            """The words of the reasons, and the first of them whole."""
            ended = device.run('--json', 'status', '--why', os.path.join(root, name))
            check(ended.code == program.IN_SYNC and len(ended.records) == 1, f'{name}: {ended.describe()}')
            reasons = ended.report['reasons']
            check(ended.report['why'] == reasons[0]['why'] and all(one['text'] for one in reasons), f'{name}: {reasons}')
            return [one['why'] for one in reasons], reasons

        def comes_to(name, *wanted, **facts):
            """Waits until the reasons are these and the last has these facts."""
            def so():
                words, reasons = because(name)
                return words == list(wanted) and all(reasons[-1].get(key) == value for key, value in facts.items()) and reasons
            return wait_for(so, f'{name} is {wanted} {facts}, and not {because(name)}')

        [first] = comes_to('first', 'in-step')
        check(first['author'] in joiner.run('--json', 'device', 'list').output and first['label'] and first['wall_ms'] > 0,
              f'it is said who wrote it: {first}')
        spoken = joiner.run('status', '--why', os.path.relpath(os.path.join(right, 'first')))
        check('in step; ' in spoken.output and 'wrote it last' in spoken.output, spoken.describe())
        put(right, '.dunlinignore', '# ours\n*.tmp\n')
        comes_to('a.tmp', 'ignored', line=2, file='.dunlinignore', pattern='*.tmp')
        os.mkfifo(os.path.join(right, 'pipe'))
        comes_to('pipe', 'special')
        comes_to('.dunlin', 'bad-name')
        comes_to('nothing', 'unknown')
        written_and_missing(right, because, comes_to)
        os.unlink(os.path.join(left, 'first'))
        comes_to('first', 'deleted', to=None, author=first['author'])
        put(left, 'old', 'to be moved')
        comes_to('old', 'in-step')
        os.rename(os.path.join(left, 'old'), os.path.join(left, 'new'))
        comes_to('old', 'moved', to='new')
        on_its_way(stage, cable, left, comes_to, sharing)
        joining.interrupt()
        comes_to('large', 'behind', 'not-served')
        comes_to('new', 'in-step', 'not-served')
        put(right, 'new', 'changed')
        comes_to('new', 'changed-here', 'not-served')
        check(joiner.run('folder', 'pause', right).code == program.IN_SYNC, 'it rests')
        comes_to('large', 'behind', 'paused')
        whole = joiner.run('status', '--why', right)
        check(whole.code == program.USAGE and 'dunlin status' in whole.complaint, whole.describe())
        both = joiner.run('status', '--why', os.path.join(right, 'new'), right)
        check(both.code == program.USAGE, both.describe())


def written_and_missing(right, because, comes_to):
    """A file that is being written waits for its writer; one that goes waits for a second look."""
    with open(os.path.join(right, 'log'), 'w') as file:
        def is_waited_for():
            file.write('a line\n')
            file.flush()
            return because('log')[0] == ['new-here', 'being-written']
        wait_for(is_waited_for, 'its writer is waited for')
    comes_to('log', 'in-step')
    os.unlink(os.path.join(right, 'log'))
    words = set()
    wait_for(lambda: words.add(tuple(because('log')[0])) or ('deleted',) in words, 'it counts as gone')
    check(words <= {('missing-here', 'look-to-come'), ('missing-here', 'second-look'), ('deleted',)}, f'it was missing before: {words}')
    check(('missing-here', 'second-look') in words, f'and waited for a second look: {words}')


def on_its_way(stage, cable, left, comes_to, sharing):
    """A large file, while it comes and once who sent it is gone."""
    cable.rate(20)
    trees.big_binary(os.path.join(left, '.large.part'), 24 * trees.MIB, seed=5)
    os.rename(os.path.join(left, '.large.part'), os.path.join(left, 'large'))
    coming = comes_to('large', 'behind', 'coming', size=24 * trees.MIB)[-1]
    check(coming['from'] and coming['bytes_here'] < coming['size'], f'it is said from whom and how much is here: {coming}')
    wait_for(lambda: comes_to('large', 'behind', 'coming')[-1]['bytes_here'] > 0, 'some of it is here')
    sharing.interrupt()
    cut = comes_to('large', 'behind', 'nobody-is-here', size=24 * trees.MIB)[-1]
    check(0 < cut['bytes_here'] < cut['size'], f'what is here stays: {cut}')
    stage.note(f'{cut["bytes_here"] >> 20} of 24 MiB here when who sent it went')


@scene('control: a conflict is told, counted and shown; the last full pass, too', root=True, tools=NEEDS)
def conflict_told(stage):
    """An event at either end, `conflicts` in its status, and who wrote the copy; all gone once it is resolved."""
    with Cable() as cable, servers(stage, cable) as (devices, serving):
        left, right = stage.fresh('left'), stage.path('right')
        put(left, 'notes', 'as it was')
        hand_over(devices, cable, left, right, '--once')
        full_pass(devices[1], right)
        followers = [Follower(device) for device in devices]
        check(folder_of(devices[1])['conflicts'] == 0, 'no conflict at first')
        check(devices[1].run('folder', 'pause', right).code == program.IN_SYNC, 'one of them rests')
        put(left, 'notes', 'by the left')
        put(right, 'notes', 'by the right')
        check(devices[1].run('folder', 'resume', right).code == program.IN_SYNC, 'and goes on')
        told = [follower.heard(event='conflict', path='notes') for follower in followers]
        check(told[0]['copy'] == told[1]['copy'] != 'notes', f'both name the same copy: {told}')
        for device, root in zip(devices, (left, right)):
            wait_for(lambda: folder_of(device)['conflicts'] == 1, 'the conflict is counted')
            check('1 conflict copy; dunlin conflicts list' in device.run('status').output, 'and people are told how to see it')
            copy = os.path.join(root, told[0]['copy'])
            reason = device.run('--json', 'status', '--why', copy).report['reasons'][0]
            check(reason['why'] == 'conflict-copy' and reason['of'] == 'notes' and reason['label'], f'whose it is: {reason}')
            [listed] = device.run('--json', 'conflicts', 'list').records
            check(listed['author'] == reason['author'], f'both say the same author: {listed} {reason}')
        [kept] = [[r for r in follower.records if r['event'] == 'conflict'] for follower in followers[:1]]
        check(len(kept) == 1, f'it is told once: {kept}')
        done = devices[0].run('conflicts', 'resolve', os.path.join(left, 'notes'), '--keep', 'winner')
        check(done.code == program.IN_SYNC, done.describe())
        for device in devices:
            wait_for(lambda: folder_of(device)['conflicts'] == 0, 'it is resolved')


def full_pass(device, root):
    """`status` says how long ago all was looked at, which grows until all is looked at again."""
    def ago():
        return folder_of(device)['full_pass_ago_s']
    check('looked at in full' in device.run('status', root).output, 'people are told')
    wait_for(lambda: ago() is not None and ago() >= 2, 'the last full pass grows old')
    check(scanned(device, root), 'a look at everything finds nothing')
    wait_for(lambda: ago() == 0, 'and is a full pass')


@scene('control: status is shown again whenever it changes', root=True, tools=NEEDS)
def watched_status(stage):
    """Nothing comes while nothing happens; one record for each change; no control characters where no terminal reads."""
    with Cable() as cable, servers(stage, cable) as (devices, serving):
        left, right = stage.fresh('left'), stage.path('right')
        put(left, 'first')
        hand_over(devices, cable, left, right, '--once')
        wait_for(lambda: folder_of(devices[1])['state'] == 'in-sync', 'it is in sync')
        told, shown = devices[1].start('--json', 'status', '--watch', right), devices[1].start('status', '--watch')
        about = devices[1].start('--json', 'status', '--watch', '--why', os.path.join(right, 'second'))

        def records(running=told):
            return program.json_lines(''.join(running.lines))

        wait_for(lambda: len(records()) == 2, 'device and folder are shown at first')
        time.sleep(3.5)
        check([r['event'] for r in records()] == ['device', 'folder'], f'and no more while nothing happens: {records()[2:]}')
        put(left, 'second')
        wait_for(lambda: records()[-1].get('files') == 2, 'a file more is told')
        wait_for(lambda: [r['why'] for r in records(about)] in (['unknown', 'in-step'], ['unknown', 'behind', 'in-step']),
                 f'why changes too: {records(about)}')
        devices[1].run('folder', 'pause', right)
        wait_for(lambda: records()[-1].get('state') == 'paused', 'a rest is told')
        check(all(r['event'] == 'folder' for r in records()[1:]), f'only what changed is told: {records()}')
        serving[1].interrupt()
        wait_for(lambda: any(r['event'] == 'device' and r['serving'] is None for r in records()), 'it goes on without who serves')
        for running in (told, shown, about):
            ended = running.interrupt()
            check(ended.code == program.IN_SYNC, f'Ctrl-C ends it well: {ended.describe()}')
        text = ''.join(shown.lines)
        check('in sync' in text and 'paused' in text and '\x1b' not in text, f'plain text: {text!r}')


def set_back(device, right, serving):
    """As if the clock had been set back by a day since the rest began: its end is a day too far."""
    device.run('--json', 'folder', 'pause', right, '--for', '1h')
    serving[1].interrupt()
    [path] = [os.path.join(base, 'pause') for base, _, names in os.walk(device.home) if 'pause' in names]
    with open(path) as file:
        until, span = (int(word) for word in file.read().split())
    with open(path, 'w') as file:
        file.write(f'{until + 86_400_000} {span}')
    serving[1] = device.start('--json', 'serve')
    serving[1].record_with('folders')
    left_ms = folders(device)[0]['until_ms'] - time.time() * 1000
    check(0 < left_ms <= 3_600_000, f'it rests for an hour at most, not for {left_ms / 3_600_000:.1f}')


def folders(device):
    """What `folder list` says."""
    return device.run('--json', 'folder', 'list').records


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
