"""Who takes part in a folder and may do what: three devices that serve, one of each role, and what admins say of it."""

import base64
import concurrent.futures
import contextlib
import os
import pathlib
import shutil
import time

from kit import program
from kit.program import Device
from kit.scenes import check, scene

from .control import Follower, put, read, wait_for

# Two light modules of a QR code.
BLOCK = '\u2588'
# What may not come is waited for so long.
QUIET_S = 3.0


class Folder:
    """A founder, writers and a reader on loopback, who all serve and are connected; the founder's address stays the same."""

    def __init__(self, stage, writers):
        names = ('founder', *writers, 'reader')
        self.writers = writers
        self.devices = {name: Device(stage.binary, stage.path(f'home-{name}')) for name in names}
        self.roots = {name: stage.fresh(name) for name in names}
        self.serving = {}
        put(self.roots['founder'], 'first')
        self.serving['founder'] = self.devices['founder'].start('--json', 'share', self.roots['founder'], '--listen', '127.0.0.1:0')
        first = self.serving['founder'].record_with('invite')
        self.address = first['addrs'][0]
        for name in names[1:]:
            role = 'reader' if name == 'reader' else 'writer'
            invite = first['invite'] if name == names[1] else self.ask('founder', 'share', self.roots['founder'], '--role', role).records[-1]['invite']
            earlier = [part for other in self.serving if other != 'founder' for part in ('--peer', self.address_of(other))]
            self.serving[name] = self.devices[name].start('--json', 'join', invite, self.roots[name], '--listen', '127.0.0.1:0', *earlier)
            self.await_file(name, 'first', 'text')
        self.ids = {name: device.run('--json', 'id').records[0]['peer'] for name, device in self.devices.items()}

    def address_of(self, name):
        """Where a device listens."""
        return self.ask(name, 'status', self.roots[name]).records[-1]['listening'][0]

    def ask(self, name, *argv):
        """Runs a command on a device."""
        return self.devices[name].run('--json', *argv)

    def change_role(self, by, of, role):
        """Runs `device role`."""
        return self.ask(by, 'device', 'role', self.roots[by], self.ids[of][:10], role)

    def roles(self, name):
        """Name → role, as a device lists them."""
        members = self.ask(name, 'device', 'list', self.roots[name]).records[0]['members']
        of = {peer: known for known, peer in self.ids.items()}
        return {of[member['peer']]: member['role'] for member in members}

    def await_file(self, name, path, text):
        """Waits until a device has a file with this text."""
        wait_for(lambda: read(self.roots[name], path) == text, f'{path} arrives at the {name}')

    def check_absent(self, path, *names):
        """The file does not come to these devices."""
        time.sleep(QUIET_S)
        found = [name for name in names if read(self.roots[name], path) is not None]
        check(not found, f'{path} came to {found}')

    def problems(self, name):
        """Paths with trouble, as `status` tells them."""
        status = self.ask(name, 'status', self.roots[name]).records[-1]
        return {problem['path'] for problem in status['problems']}


@contextlib.contextmanager
def folder(stage, writers=('writer',)):
    """Such a folder; who serves is ended with it."""
    made = Folder(stage, writers)
    try:
        yield made
    finally:
        for running in made.serving.values():
            if running.alive:
                running.kill()


@scene('members: roles are kept to, and changed by those who may')
def roles(stage):
    """A reader's edit stays with it until it may write; a writer that may only read now gets what others do and shares
    nothing; nobody acts on a senior admin, nor on itself; also while nobody serves the folder."""
    with folder(stage) as one:
        told = {'founder': 'admin', 'writer': 'writer', 'reader': 'reader'}
        for name in told:
            wait_for(lambda name=name: one.roles(name) == told, f'the {name} knows who may do what')
        put(one.roots['reader'], 'note', 'from the reader')
        wait_for(lambda: 'note' in one.problems('reader'), 'status tells of what is not shared')
        one.check_absent('note', 'founder', 'writer')
        for by, of, role, code in (('reader', 'reader', 'writer', program.REFUSED), ('writer', 'reader', 'writer', program.REFUSED), ('founder', 'founder', 'reader', program.REFUSED),
                                   ('founder', 'reader', 'reader', program.USAGE), ('founder', 'reader', 'king', program.USAGE)):
            ended = one.change_role(by, of, role)
            check(ended.code == code and ended.complaint.strip(), f'{by} makes the {of} a {role}: exit {code}: {ended.describe()}')
        ended = one.ask('founder', 'device', 'role', one.roots['founder'], 'nobody', 'reader')
        check(ended.code == program.USAGE and 'nobody' in ended.complaint, f'an unknown device: {ended.describe()}')
        ended = one.change_role('founder', 'reader', 'writer')
        check(ended.code == program.IN_SYNC, f'the reader may write: {ended.describe()}')
        for name in ('founder', 'writer'):
            one.await_file(name, 'note', 'from the reader')
        wait_for(lambda: not one.problems('reader'), 'and status tells of no trouble any more')
        demote(one)
        promote(one)
        by_hand(one)


def changes(one):
    """What the reader has changed and does not share, as `revert --dry-run` tells: path → what was done."""
    told = one.ask('reader', 'revert', one.roots['reader'], '--dry-run')
    check(told.code == program.IN_SYNC, f'it tells: {told.describe()}')
    return {record['path']: record['deed'] for record in told.records if record['event'] == 'unshared'}


def kept(one):
    """Texts in the reader's history."""
    history = os.path.join(one.roots['reader'], '.dunlin', 'history')
    return {read(history, name) for name in os.listdir(history)}


@scene('members: a reader takes back what it has changed')
def revert(stage):
    """Edits, a new file, a deletion and moves stay with the reader while others change the same; `revert` lists them, takes back one,
    then all, with a run and without; what the reader wrote is in its history."""
    with folder(stage) as one:
        for name in ('edited', 'gone', 'moved', 'mine'):
            put(one.roots['founder'], name, f'{name} by the founder')
            one.await_file('reader', name, f'{name} by the founder')
        root = one.roots['reader']
        os.mkdir(os.path.join(root, 'own'))
        for directory, name in ((root, 'edited'), (root, 'mine'), (os.path.join(root, 'own'), 'new')):
            put(directory, name, f'{name} by the reader')
        os.remove(os.path.join(root, 'gone'))
        os.rename(os.path.join(root, 'moved'), os.path.join(root, 'moved-here'))
        put(one.roots['founder'], 'edited', 'edited again')
        wait_for(lambda: any('another version waits' in problem['what'] for problem in one.ask('reader', 'status', root).records[-1]['problems']),
                 'what others have is shown as waiting')
        check(read(root, 'edited') == 'edited by the reader', 'and the reader has its own')
        told = {'edited': 'written', 'mine': 'written', 'own': 'created', 'own/new': 'created', 'gone': 'deleted', 'moved-here': 'moved'}
        check(changes(one) == told, f'all of it is told: {changes(one)}')
        ended = one.ask('reader', 'revert', os.path.join(root, 'edited'), os.path.join(root, 'own'))
        check(ended.code == program.IN_SYNC and ended.records[-1]['changes'] == 3, f'these alone: {ended.describe()}')
        one.await_file('reader', 'edited', 'edited again')
        wait_for(lambda: not os.path.exists(os.path.join(root, 'own')), 'what is new goes')
        check(read(root, 'mine') == 'mine by the reader' and not os.path.exists(os.path.join(root, 'gone')), 'the rest stays as it is')
        for name in ('founder', 'writer'):
            refused = one.ask(name, 'revert', one.roots[name])
            check(refused.code == program.REFUSED, f'the {name} is no reader: {refused.describe()}')
        one.serving['reader'].interrupt()
        check(changes(one) == {'mine': 'written', 'gone': 'deleted', 'moved-here': 'moved'}, f'also without a run: {changes(one)}')
        ended = one.ask('reader', 'revert', root)
        check(ended.code == program.IN_SYNC and ended.records[-1]['changes'] == 3, f'and without a run: {ended.describe()}')
        check(read(root, 'moved') == 'moved by the founder' and not os.path.exists(os.path.join(root, 'moved-here')), 'what moved is back at once')
        one.serving['reader'] = one.devices['reader'].start('--json', 'serve', '--listen', '127.0.0.1:0')
        for name, text in (('mine', 'mine by the founder'), ('gone', 'gone by the founder')):
            one.await_file('reader', name, text)
        check(not changes(one) and not one.problems('reader'), 'nothing is left')
        missing = {f'{name} by the reader' for name in ('edited', 'mine', 'new')} - kept(one)
        check(not missing, f'not in its history: {missing}')
        one.check_absent('own/new', 'founder', 'writer')


def demote(one):
    """A writer may only read from now on."""
    check(one.change_role('founder', 'writer', 'reader').code == program.IN_SYNC, 'the writer may only read')
    wait_for(lambda: one.roles('writer')['writer'] == 'reader', 'it knows')
    put(one.roots['writer'], 'late', 'from the writer')
    put(one.roots['founder'], 'news', 'for all')
    one.await_file('writer', 'news', 'for all')
    one.check_absent('late', 'founder', 'reader')


def promote(one):
    """An admin that came later acts on its juniors and not on the founder."""
    check(one.change_role('founder', 'reader', 'admin').code == program.IN_SYNC, 'who was a reader is an admin')
    wait_for(lambda: one.roles('reader')['reader'] == 'admin', 'it knows')
    ended = one.change_role('reader', 'founder', 'reader')
    check(ended.code == program.REFUSED and 'earlier' in ended.complaint, f'not over the founder: {ended.describe()}')
    check(one.change_role('reader', 'writer', 'writer').code == program.IN_SYNC, 'but over the writer')
    for name in ('founder', 'reader'):
        one.await_file(name, 'late', 'from the writer')
    invited = one.ask('reader', 'share', one.roots['reader'])
    check(invited.code == program.IN_SYNC and invited.records[-1]['invite'], f'an admin invites: {invited.describe()}')


def by_hand(one):
    """Nobody serves the folder here: the command signs, and the others learn of it at the next run."""
    one.serving['founder'].interrupt()
    ended = one.change_role('founder', 'writer', 'reader')
    check(ended.code == program.IN_SYNC, f'without a run: {ended.describe()}')
    one.serving['founder'] = one.devices['founder'].start('--json', 'serve', '--listen', one.address)
    for name in ('writer', 'reader'):
        wait_for(lambda name=name: one.roles(name)['writer'] == 'reader', f'the {name} learns of it')
    put(one.roots['writer'], 'later', 'from the writer')
    one.check_absent('later', 'founder', 'reader')
    check(os.path.exists(os.path.join(one.roots['writer'], 'later')), 'nothing is taken from who may only read')


def sessions_with(one, name, other):
    """True if a device is connected with another one, as it tells."""
    members = one.ask(name, 'device', 'list', one.roots[name]).records[0]['members']
    return any(member['connected'] for member in members if member['peer'] == one.ids[other])


def restart(one, name):
    """Serves again."""
    one.serving[name].interrupt()
    one.serving[name] = one.devices[name].start('--json', 'serve')


def await_sessions(one, names):
    """Each of them is connected with the reader."""
    for name in names:
        wait_for(lambda name=name: sessions_with(one, name, 'reader'), f'the {name} is connected with it')


def wait_for_cuts(one, names, began):
    """How many seconds after that moment each of them has ended its session with the reader; each is watched by itself."""
    def watch(name):
        wait_for(lambda: not sessions_with(one, name, 'reader'), f'the {name} has cut it off')
        return time.monotonic() - began
    with concurrent.futures.ThreadPoolExecutor(len(names)) as watchers:
        return dict(zip(names, watchers.map(watch, names), strict=True))


@scene('members: a removed device is cut off at once and stays out')
def revoked(stage):
    """Four who are all connected with each other, one is removed; within two seconds none of the three others is with it.
    Neither a restart, nor what it signs as if it were still a member, nor an invite from before brings it back; an invite from
    after it does."""
    with folder(stage, ('writer', 'colleague')) as one:
        others = ('founder', *one.writers)
        check(one.change_role('founder', 'reader', 'writer').code == program.IN_SYNC, 'all write')
        old = one.ask('founder', 'share', one.roots['founder'], '--uses', '3').records[-1]['invite']
        await_sessions(one, others)
        keep_home(stage, one)
        await_sessions(one, others)
        put(one.roots['reader'], 'before', 'counts')
        for name in others:
            one.await_file(name, 'before', 'counts')
        for name in one.writers:
            ended = one.ask(name, 'device', 'revoke', one.roots[name], one.ids['reader'][:10])
            check(ended.code == program.REFUSED, f'a {name} removes nobody: {ended.describe()}')
        began = time.monotonic()
        ended = one.ask('founder', 'device', 'revoke', one.roots['founder'], one.ids['reader'][:10])
        check(ended.code == program.IN_SYNC and ended.records[-1]['open_invites'] == 1, f'removed: {ended.describe()}')
        cuts = wait_for_cuts(one, others, began)
        stage.note('cut off after ' + ', '.join(f'{after:.2f} s by the {name}' for name, after in cuts.items()))
        check(max(cuts.values()) <= 2, f'within two seconds: {cuts}')
        stay_out(one, others)
        backdate(stage, one, others)
        come_back(stage, one, old)


def stay_out(one, others):
    """What it does from then on, and again after a restart, reaches nobody, and it gets nothing."""
    for name in others:
        listed = one.ask(name, 'device', 'list', one.roots[name]).records[0]['members']
        check(one.ids['reader'] not in [member['peer'] for member in listed], f'it is listed no more: {listed}')
    put(one.roots['reader'], 'after', 'does not count')
    put(one.roots['founder'], 'news', 'for members')
    for name in one.writers:
        one.await_file(name, 'news', 'for members')
    restart(one, 'reader')
    one.check_absent('after', *others)
    check(read(one.roots['reader'], 'news') is None, 'nor does it get anything')
    told = one.ask('reader', 'status', one.roots['reader'])
    check('removed' in told.output, f'it is told: {told.output}')
    for name in others:
        check(read(one.roots[name], 'before') == 'counts', 'what it did before stays')
        check(not sessions_with(one, name, 'reader'), 'and it is not back')


def keep_home(stage, one):
    """The one that will be removed keeps a copy of its home, which knows nothing of it."""
    one.serving['reader'].interrupt()
    shutil.copytree(one.devices['reader'].home, stage.path('home-kept'), ignore=lambda _, names: [name for name in names if name.endswith('.sock')])
    one.serving['reader'] = one.devices['reader'].start('--json', 'serve')


def backdate(stage, one, others):
    """It signs with the copy of its home, where it is still a member, as if it had been done before; nobody takes that, nor lists
    it as work to adopt."""
    one.serving['reader'].interrupt()
    shutil.rmtree(one.devices['reader'].home)
    os.rename(stage.path('home-kept'), one.devices['reader'].home)
    put(one.roots['reader'], 'backdated', 'signed by a member, it says')
    signed = one.ask('reader', 'scan', one.roots['reader'])
    check(signed.code == program.IN_SYNC, f'it signs: {signed.describe()}')
    known = one.ask('reader', 'log', one.roots['reader']).output
    check('backdated' in known, f'it is in its ledger: {known}')
    one.serving['reader'] = one.devices['reader'].start('--json', 'serve')
    one.check_absent('backdated', *others)
    for name in others:
        listed = one.ask(name, 'quarantine', 'list', one.roots[name])
        check('backdated' not in listed.output, f'nor is it taken as work to adopt: {listed.describe()}')
        check(not sessions_with(one, name, 'reader'), 'and it is not back')


def come_back(stage, one, old):
    """The same device with a new directory: by an invite from before its removal, and by one from after it."""
    one.serving['reader'].interrupt()
    one.roots['again'] = stage.fresh('again')
    home = Device(stage.binary, stage.path('home-again'))
    with open(stage.path('words'), 'w') as file:
        file.write('a long passphrase\n')
    words = {'DUNLIN_PASSPHRASE_FILE': stage.path('words')}
    key = one.devices['reader'].run('id', 'export', stage.path('key'), environment=words)
    check(key.code == program.IN_SYNC, f'its key: {key.describe()}')
    key = home.run('id', 'import', stage.path('key'), '--keep', 'file', environment=words)
    check(key.code == program.IN_SYNC, f'the same device: {key.describe()}')
    ended = home.run('--json', 'join', old, one.roots['again'], '--once')
    check(ended.code == program.REFUSED and 'removed' in ended.output + ended.complaint, f'not by that: {ended.describe()}')
    new = one.ask('founder', 'share', one.roots['founder']).records[-1]['invite']
    ended = home.run('--json', 'join', new, one.roots['again'], '--once')
    check(ended.code == program.IN_SYNC and read(one.roots['again'], 'news') == 'for members', f'by a new one: {ended.describe()}')


@scene('members: what a removed device did offline is listed, and adopted by one command')
def adopted(stage):
    """The writer has taken it before it hears of the removal: the old content comes back, what was made goes to history,
    and what the writer built upon it stays. Then it is adopted."""
    with folder(stage, ('writer', 'colleague')) as one:
        check(one.change_role('founder', 'reader', 'writer').code == program.IN_SYNC, 'all write')
        put(one.roots['founder'], 'report', 'first')
        put(one.roots['founder'], 'plan', 'first')
        for name in (*one.writers, 'reader'):
            one.await_file(name, 'report', 'first')
            one.await_file(name, 'plan', 'first')
        await_sessions(one, one.writers)
        one.serving['founder'].interrupt()
        wait_for(lambda: not sessions_with(one, 'writer', 'founder'), 'the founder is away')
        listed = one.ask('writer', 'device', 'list', one.roots['writer']).records[0]['members']
        seen = [member['seen_ms'] for member in listed if member['peer'] == one.ids['founder']]
        check(len(seen) == 1 and abs(time.time() * 1000 - seen[0]) < 60_000, f'it was seen a moment ago: {listed}')
        put(one.roots['reader'], 'report', 'by the removed one')
        put(one.roots['reader'], 'plan', 'by the removed one')
        put(one.roots['reader'], 'made', 'offline')
        for name in one.writers:
            one.await_file(name, 'report', 'by the removed one')
            one.await_file(name, 'plan', 'by the removed one')
            one.await_file(name, 'made', 'offline')
        put(one.roots['writer'], 'plan', 'built upon it')
        one.await_file('reader', 'plan', 'built upon it')
        ended = one.ask('founder', 'device', 'revoke', one.roots['founder'], one.ids['reader'][:10])
        check(ended.code == program.IN_SYNC, f'removed while nobody serves: {ended.describe()}')
        one.serving['founder'] = one.devices['founder'].start('--json', 'serve', '--listen', one.address)
        for name in ('founder', *one.writers):
            one.await_file(name, 'plan', 'built upon it')
            one.await_file(name, 'report', 'first')
            wait_for(lambda name=name: read(one.roots[name], 'made') is None, f'what was made offline goes at the {name}')
        listed = {os.path.basename(item['path']): item for item in one.ask('writer', 'quarantine', 'list', one.roots['writer']).records}
        check(set(listed) == {'report', 'made'} and all(item['here'] for item in listed.values()), f'listed: {listed}')
        far = one.ask('founder', 'quarantine', 'list', one.roots['founder']).records
        check(len(far) == 2 and not any(item['here'] for item in far), f'the founder never had the bytes: {far}')
        ended = one.ask('founder', 'quarantine', 'adopt', one.roots['founder'], one.ids['reader'][:10])
        check(ended.records[-1]['taken'] == 0 and ended.records[-1]['elsewhere'] == 2, f'not there: {ended.describe()}')
        ended = one.ask('writer', 'quarantine', 'adopt', one.roots['writer'], one.ids['reader'][:10])
        check(ended.code == program.IN_SYNC and ended.records[-1]['taken'] == 2, f'adopted: {ended.describe()}')
        for name in ('founder', *one.writers):
            one.await_file(name, 'report', 'by the removed one')
            one.await_file(name, 'made', 'offline')
            one.await_file(name, 'plan', 'built upon it')
        check(not one.ask('writer', 'quarantine', 'list', one.roots['writer']).records, 'nothing is left to adopt')


@scene('members: who copied an invite and was first is seen, and removed')
def stolen(stage):
    """Nothing keeps a copied invite from being used. But it is good for one: whom it was meant for is refused and told why, who made
    it hears who came, and one command removes that one. By a new invite the right one comes in."""
    root = stage.fresh('folder')
    put(root, 'first')
    owner, thief, right = (Device(stage.binary, stage.path(f'home-{name}')) for name in ('owner', 'thief', 'right'))
    sharing = owner.start('--json', 'share', root, '--listen', '127.0.0.1:0')
    going = [sharing]
    try:
        invite = sharing.record_with('invite')['invite']
        going.append(thief.start('--json', 'join', invite, stage.path('taken'), '--listen', '127.0.0.1:0'))
        came = sharing.record_with('peer')
        check(came['event'] == 'joined' and came['peer'] == thief.run('--json', 'id').report['peer'], f'who made it hears who came: {came}')
        wait_for(lambda: read(stage.path('taken'), 'first') == 'text', 'it has what it came for')
        refused = right.run('--json', 'join', invite, stage.path('joined'), '--once', '--wait', '6')
        check(refused.code == program.REFUSED and 'used' in refused.complaint, f'whom it was meant for is told: {refused.describe()}')
        removed = owner.run('--json', 'device', 'revoke', root, came['peer'][:10])
        check(removed.code == program.IN_SYNC and removed.records[-1]['open_invites'] == 0, f'removed: {removed.describe()}')
        put(root, 'second')
        again = owner.run('--json', 'share', root).records[-1]['invite']
        joined = right.run('--json', 'join', again, stage.path('joined-again'), '--once')
        check(joined.code == program.IN_SYNC and read(stage.path('joined-again'), 'second') == 'text', f'by a new one: {joined.describe()}')
        check(read(stage.path('taken'), 'second') is None, 'and what is new is not given to the thief')
    finally:
        for running in going:
            running.kill()


@scene('members: who joins, changes or goes is told to every member, once')
def told(stage):
    """The reader comes in by an invite of the founder's, and the writer says so too: who came, as what, and who let it in. Who comes is not
    told of those before it; nobody says it again when it serves again; a change of role and a removal are told in the same way."""
    with folder(stage) as one:
        came = {'peer': one.ids['reader'], 'role': 'reader', 'by': one.ids['founder']}
        for name in ('founder', 'writer'):
            heard = wait_for(lambda name=name: news(one, name, 'joined', 'reader'), f'the {name} says who joined')
            check(len(heard) == 1 and came.items() <= heard[0].items(), f'the {name} says: {heard}')
            check(heard[0]['label'] and heard[0]['by_label'], f'with names: {heard}')
        check(not news(one, 'writer', 'joined', 'founder') and not news(one, 'writer', 'joined', 'writer'), 'who was there is no news to who comes')
        check(not [record for record in records(one, 'reader') if record['event'] == 'joined'], 'neither to the last one')
        restart(one, 'writer')
        one.serving['writer'].record_with('folders')
        follower = Follower(one.devices['writer'])
        follower.heard(event='in-sync')
        check(one.change_role('founder', 'reader', 'writer').code == program.IN_SYNC, 'it may write')
        follower.heard(event='role-changed', peer=one.ids['reader'], role='writer')
        check(one.ask('founder', 'device', 'revoke', one.roots['founder'], one.ids['reader'][:10]).code == program.IN_SYNC, 'it is removed')
        follower.heard(event='removed', peer=one.ids['reader'])
        check(not [record for record in follower.records if record['event'] == 'joined'], f'not told again: {follower.records}')
        lines = ''.join(one.serving['founder'].lines)
        check(news(one, 'founder', 'removed', 'reader') and news(one, 'founder', 'role-changed', 'reader'), f'who decided it says it too: {lines}')
        follower.running.interrupt()


def records(one, name):
    """What a device that serves has said."""
    return program.json_lines(''.join(one.serving[name].lines))


def news(one, name, event, of):
    """What a device has said of this kind about a member."""
    return [record for record in records(one, name) if record['event'] == event and record.get('peer') == one.ids[of]]


@scene('members: an invite for one device admits no other, and is shown as a QR code')
def bound(stage):
    """The thief has the whole link and is refused as if it had none of it; for whom it was made comes in. A QR code is for people alone."""
    root = stage.fresh('folder')
    put(root, 'first')
    owner, thief, right = (Device(stage.binary, stage.path(f'home-{name}')) for name in ('owner', 'thief', 'right'))
    meant = right.run('--json', 'id').report['peer']
    sharing = owner.start('--json', 'share', root, '--for', meant, '--qr', '--listen', '127.0.0.1:0')
    try:
        made = sharing.record_with('invite')
        check(made['device'] == meant and BLOCK not in ''.join(sharing.lines), f'it says for whom, and draws nothing for programs: {made}')
        listed = owner.run('--json', 'invite', 'list', root).records
        check([one['device'] for one in listed] == [meant], f'it is listed: {listed}')
        refused = thief.run('--json', 'join', made['invite'], stage.path('taken'), '--once', '--wait', '6')
        check(refused.code == program.REFUSED and 'another device' in refused.complaint, f'the thief is refused: {refused.describe()}')
        joined = right.run('--json', 'join', made['invite'], stage.path('joined'), '--once')
        check(joined.code == program.IN_SYNC and read(stage.path('joined'), 'first') == 'text', f'the right one comes in: {joined.describe()}')
        for wrong, word in ((meant, 'already'), (meant[:10], 'dunlin id')):
            ended = owner.run('--json', 'share', root, '--for', wrong)
            check(ended.code == program.USAGE and word in ended.complaint, f'--for {wrong}: {ended.describe()}')
        shown = owner.run('share', root, '--qr').output
        check('dunlin://join#' in shown and shown.count(BLOCK) > 200, f'the link, and the code below it: {shown}')
        typed = owner.run('share', root, '--qr', '--code')
        check(typed.code == program.USAGE, f'a code has no link: {typed.describe()}')
    finally:
        sharing.kill()


@scene('members: the founder is lost, and who has the recovery kit goes on')
def recovered(stage):
    """The kit goes to a file, once, and is not on the founder's device any more. Then that device is gone for good, its folder lies
    with a writer and a reader only, and nobody is an admin. The kit makes the reader one, with its daemon running: it removes the lost
    device, invites another, and what the lost device does when it turns up again counts nowhere."""
    with folder(stage) as one:
        root, kit = one.roots['founder'], stage.path('kit')
        check(one.ask('founder', 'device', 'list', root).records[0]['recovery_kit_here'], 'the founder has it until it is taken')
        taken = one.ask('founder', 'recovery', 'take', root, kit)
        check(taken.code == program.IN_SYNC and os.stat(kit).st_mode & 0o777 == 0o600, f'taken: {taken.describe()}')
        again = one.ask('founder', 'recovery', 'take', root, stage.path('again'))
        check(again.code == program.USAGE and not os.path.exists(stage.path('again')), f'it is not there twice: {again.describe()}')
        with open(kit, encoding='utf-8') as file:
            link = file.read().split()[-1]
        code = link.split('#')[1].upper()
        seed = base64.b32decode(code + '=' * (-len(code) % 8))[35:67]
        found = [path for path in files_of(stage.path('home-founder')) if seed in path.read_bytes()]
        check(link.startswith('dunlin://recovery#') and not found, f'the kit is not left in {found}')
        one.serving.pop('founder').kill()
        refused = one.ask('reader', 'device', 'role', one.roots['reader'], one.ids['writer'][:10], 'reader')
        check(refused.code == program.REFUSED, f'nobody is an admin: {refused.describe()}')
        damaged = stage.path('damaged')
        with open(damaged, 'w', encoding='utf-8') as file:
            file.write(link[:-1] + ('a' if link[-1] != 'a' else 'b'))
        wrong = one.ask('reader', 'recovery', 'use', one.roots['reader'], damaged)
        check(wrong.code == program.USAGE and 'damaged' in wrong.complaint, f'a mistyped kit: {wrong.describe()}')
        used = one.ask('reader', 'recovery', 'use', one.roots['reader'], kit, '--remove', one.ids['founder'][:10])
        check(used.code == program.IN_SYNC, f'used: {used.describe()}')
        wait_for(lambda: one.roles('writer') == {'writer': 'writer', 'reader': 'admin'}, 'the writer hears of it')
        put(one.roots['reader'], 'after')
        one.await_file('writer', 'after', 'text')
        invite = one.ask('reader', 'share', one.roots['reader']).records[-1]['invite']
        late = Device(stage.binary, stage.path('home-late'))
        joined = late.run('--json', 'join', invite, stage.path('late'), '--once')
        check(joined.code == program.IN_SYNC and read(stage.path('late'), 'after') == 'text', f'it admits: {joined.describe()}')
        # The lost device turns up again.
        put(root, 'by the lost one')
        back = one.devices['founder'].run('--json', 'sync', root, '--wait', '6')
        check(back.code != program.IN_SYNC and read(root, 'after') is None, f'it gets nothing: {back.describe()}')
        one.check_absent('by the lost one', 'writer', 'reader')


@scene('members: two admins vote, and the founder is out everywhere')
def voted(stage):
    """Neither may remove the founder by itself, and one vote does nothing but to be seen. With the second it is out at both, and
    is told so; what it does from then on reaches nobody, and the two go on."""
    with folder(stage) as one:
        voters = ('writer', 'reader')
        for name in voters:
            check(one.change_role('founder', name, 'admin').code == program.IN_SYNC, f'the {name} is an admin')
        told = {'founder': 'admin', 'writer': 'admin', 'reader': 'admin'}
        for name in told:
            wait_for(lambda name=name: one.roles(name) == told, f'the {name} knows who may do what')
        target = one.ids['founder'][:10]
        alone = one.ask('writer', 'device', 'revoke', one.roots['writer'], target)
        check(alone.code == program.REFUSED and '--vote' in alone.complaint, f'not by itself: {alone.describe()}')
        first = one.ask('writer', 'device', 'revoke', '--vote', one.roots['writer'], target)
        said = first.records[-1]
        check(first.code == program.IN_SYNC and said['event'] == 'voted' and said['votes']['needed'] == 2, f'one vote: {first.describe()}')
        twice = one.ask('writer', 'device', 'revoke', '--vote', one.roots['writer'], target)
        check(twice.code == program.USAGE and 'already' in twice.complaint, f'once: {twice.describe()}')
        for name in told:
            wait_for(lambda name=name: votes_against(one, name, 'founder') == [one.ids['writer']], f'the {name} sees the vote')
            check(one.roles(name) == told, 'and that is all')
        second = one.ask('reader', 'device', 'revoke', '--vote', one.roots['reader'], target)
        check(second.code == program.IN_SYNC and second.records[-1]['event'] == 'revoked', f'the second: {second.describe()}')
        for name in voters:
            wait_for(lambda name=name: one.roles(name) == {'writer': 'admin', 'reader': 'admin'}, f'it is out at the {name}')
        restart(one, 'founder')
        wait_for(lambda: 'removed' in one.ask('founder', 'status', one.roots['founder']).output, 'the founder is told')
        put(one.roots['founder'], 'after', 'does not count')
        put(one.roots['writer'], 'news', 'for members')
        one.await_file('reader', 'news', 'for members')
        one.check_absent('after', *voters)
        check(read(one.roots['founder'], 'news') is None, 'nor does it get anything')


def votes_against(one, name, other):
    """Who has voted for the removal of a device, as another one lists it."""
    members = one.ask(name, 'device', 'list', one.roots[name]).records[0]['members']
    votes = [member['votes'] for member in members if member['peer'] == one.ids[other]]
    return votes[0]['voters'] if votes and votes[0] else []


def files_of(home):
    """All files below a directory."""
    return [path for path in pathlib.Path(home).rglob('*') if path.is_file()]


@scene('members: an invite that asks lets in whom its maker confirms, and nobody who copied it')
def asked(stage):
    """Two devices come with one invite: a thief, first, and the right one. Both wait and show six digits; neither has anything. The maker
    types what the right one shows, with his daemon running: it is in, and the thief is refused. A wrong number admits nobody."""
    root = stage.fresh('folder')
    put(root, 'first')
    owner, thief, right = (Device(stage.binary, stage.path(f'home-{name}')) for name in ('owner', 'thief', 'right'))
    sharing = owner.start('--json', 'share', root, '--confirm', '--listen', '127.0.0.1:0')
    going = [sharing]
    try:
        invite = sharing.record_with('invite')['invite']
        going.append(thief.start('--json', 'join', invite, stage.path('taken'), '--listen', '127.0.0.1:0'))
        stolen_digits = going[1].record_with('digits')['digits']
        going.append(right.start('--json', 'join', invite, stage.path('joined'), '--listen', '127.0.0.1:0'))
        digits = going[2].record_with('digits')['digits']
        check(len(digits) == 6 and digits.isdecimal() and digits != stolen_digits, f'each shows its own: {digits}, {stolen_digits}')
        asks = sharing.record_with('peer')
        check(asks['event'] == 'asks' and 'digits' not in asks, f'its maker is asked, and not told the digits: {asks}')
        members = lambda: len(owner.run('--json', 'device', 'list', root).records[0]['members'])
        wrong = owner.run('--json', 'invite', 'confirm', root, f'{(int(digits) + 1) % 10**6:06}')
        check(wrong.code == program.USAGE and members() == 1, f'another number admits nobody: {wrong.describe()}')
        time.sleep(QUIET_S)
        check(read(stage.path('joined'), 'first') is None and read(stage.path('taken'), 'first') is None, 'neither has anything yet')
        confirmed = owner.run('--json', 'invite', 'confirm', root, f'{digits[:3]} {digits[3:]}')
        check(confirmed.code == program.IN_SYNC, f'confirmed: {confirmed.describe()}')
        wait_for(lambda: read(stage.path('joined'), 'first') == 'text', 'the right one has the folder')
        check(members() == 2, 'nobody else is a member')
        late = owner.run('--json', 'invite', 'confirm', root, stolen_digits)
        wait_for(lambda: going[1].process.poll() is not None, 'the thief is refused')
        check(members() == 2 and read(stage.path('taken'), 'first') is None, f'the invite is used up: {late.describe()}')
    finally:
        for running in going:
            running.kill()
