"""Who keeps the identity's key: a real keyring that is open, locked, away and another one; a passphrase; a file. The
identity itself is never replaced.
"""

import os
import shutil
import subprocess

from kit import program
from kit.keyring import Session
from kit.program import Device
from kit.scenes import check, scene

from .control import put, read, wait_for
from .members import folder

TOOLS = ('dbus-daemon', 'dbus-send', 'gnome-keyring-daemon')


def identity(device, environment):
    """What `id` says of it."""
    done = device.run('--json', 'id', environment=environment)
    check(done.code == program.IN_SYNC, f'the identity opens: {done.describe()}')
    return done.report


def file_of(device):
    """The identity's file, as bytes; None if there is none."""
    path = os.path.join(device.home, 'identity')
    if not os.path.exists(path):
        return None
    with open(path, 'rb') as file:
        return file.read()


def refuses(device, environment, word, *arguments):
    """A command that ends with 7 and says what to do."""
    done = device.run(*(arguments or ('id',)), environment=environment)
    check(done.code == program.ATTENTION, f'exit 7: {done.describe()}')
    check('hint:' in done.complaint and word in done.complaint, f'it says "{word}" and what to do: {done.describe()}')


@scene('keys: a keyring that is locked, away or another one; the identity stays', tools=TOOLS)
def keyring(stage):
    """First start without a word, restart, lock, unlock, absence, a keyring that knows nothing."""
    device = Device(stage.binary, stage.path('home'))
    with Session(stage.directory) as session:
        session.begin_keyring()
        said = identity(device, session.environment)
        check(said['key'] == 'keyring', f'the keyring keeps the key without a word: {said}')
        before = file_of(device)
        done = device.run('sync', stage.fresh('a'), stage.fresh('b'), environment=session.environment)
        check(done.code == program.IN_SYNC, f'two directories: {done.describe()}')
        serving = device.start('--json', 'serve', environment=session.environment)
        serving.record_with('folders')
        check(serving.interrupt().code == program.IN_SYNC, 'the daemon ends well')

        session.lock()
        refuses(device, session.environment, 'locked')
        serving = device.start('--json', 'serve', environment=session.environment)
        waiting = serving.record_with('hint')
        check('locked' in waiting['error'], f'the daemon says that it waits: {waiting}')
        check(serving.alive, 'the daemon waits')
        session.unlock()
        serving.record_with('folders', patience_s=90)
        check(serving.interrupt().code == program.IN_SYNC, 'the daemon went on by itself, and ends well')
        check(identity(device, session.environment)['peer'] == said['peer'], 'it is the same device')

        session.end_keyring()
        refuses(device, session.environment, 'keyring')
        newcomer = Device(stage.binary, stage.path('newcomer'))
        refuses(newcomer, session.environment, 'id create --keep')
        check(file_of(newcomer) is None, 'no identity is made where nobody keeps its key')
        late = device.start('--json', 'serve', environment=session.environment)
        late.record_with('hint')
        session.begin_keyring()
        late.record_with('folders', patience_s=90)
        check(late.interrupt().code == program.IN_SYNC, 'a keyring that is late at boot is waited for')

        done = device.run('--json', 'id', 'rotate', environment=session.environment)
        check(done.code == program.IN_SYNC and done.report['folders'] == 2, f'another key: {done.describe()}')
        check(done.report['before'] == said['peer'] and done.report['key'] == 'keyring', f'in the same hands: {done.report}')
        check(identity(device, session.environment)['peer'] == done.report['peer'], 'the keyring knows it by its name')
        done = device.run('sync', stage.path('a'), stage.path('b'), environment=session.environment)
        check(done.code == program.IN_SYNC, f'the two directories go on: {done.describe()}')
        before = file_of(device)
        session.end_keyring()
    other = stage.fresh('elsewhere')
    with Session(other) as session:
        session.begin_keyring()
        refuses(device, session.environment, 'does not hold its key')
    check(file_of(device) == before, 'the identity was never touched')


@scene('keys: a passphrase, a copy, other hands, a file that others can read')
def passphrase(stage):
    """Made under a passphrase, moved into a file, copied to where the device is no more."""
    right, wrong = stage.path('right'), stage.path('wrong')
    for path, text in ((right, 'a long passphrase'), (wrong, 'another passphrase')):
        with open(path, 'w') as file:
            file.write(text + '\n')
    device = Device(stage.binary, stage.path('home'))
    with_right, with_wrong = ({'DUNLIN_PASSPHRASE_FILE': path} for path in (right, wrong))
    done = device.run('id', 'create', '--keep', 'passphrase', environment=with_right)
    check(done.code == program.IN_SYNC, f'made: {done.describe()}')
    said = identity(device, with_right)
    check(said['key'] == 'passphrase', f'a passphrase keeps the key: {said}')
    refuses(device, with_wrong, 'wrong')
    refuses(device, {}, 'DUNLIN_PASSPHRASE_FILE')
    done = device.run('id', 'create', '--keep', 'file')
    check(done.code == program.USAGE, f'no second identity is made: {done.describe()}')

    done = device.run('id', 'export', stage.path('copy'), environment=with_wrong)
    check(done.code == program.ATTENTION, f'no copy without the passphrase: {done.describe()}')
    done = device.run('id', 'export', stage.path('copy'), environment=with_right)
    check(done.code == program.IN_SYNC, f'copied: {done.describe()}')
    heir = Device(stage.binary, stage.path('heir'))
    done = heir.run('id', 'import', stage.path('copy'), '--keep', 'file', environment=with_right)
    check(done.code == program.IN_SYNC, f'imported: {done.describe()}')
    heirs = identity(heir, {})
    check((heirs['peer'], heirs['key']) == (said['peer'], 'file'), f'the same identity in a file: {heirs}')

    done = device.run('id', 'keep', 'file', environment=with_right)
    check(done.code == program.IN_SYNC, f'into a file: {done.describe()}')
    check(identity(device, {})['peer'] == said['peer'], 'the same identity')

    before = file_of(device)
    done = device.run('--json', 'id', 'rotate')
    check(done.code == program.IN_SYNC and done.report['before'] == said['peer'], f'another key, in a file: {done.describe()}')
    check((identity(device, {})['peer'], identity(device, {})['key']) == (done.report['peer'], 'file'), 'it is the device\'s')
    check(file_of(device) != before, 'and nothing is left of the old one')
    heir.run('id', 'keep', 'passphrase', environment=with_right)
    refuses(heir, with_wrong, 'wrong', 'id', 'rotate')
    done = heir.run('--json', 'id', 'rotate', environment=with_right)
    check(done.code == program.IN_SYNC and done.report['key'] == 'passphrase', f'the passphrase stays: {done.describe()}')
    check(identity(heir, with_right)['peer'] == done.report['peer'], 'and opens the new one')
    os.chmod(os.path.join(device.home, 'identity'), 0o644)
    refuses(device, {}, 'chmod 600')


def rotate(one, name):
    """A device that nobody serves takes another key; gives what it says."""
    ended = one.ask(name, 'id', 'rotate')
    check(ended.code == program.IN_SYNC, f'the {name} takes another key: {ended.describe()}')
    said = ended.report
    check((said['before'], said['folders']) == (one.ids[name], 1), f'it says which: {said}')
    check(said['peer'] != one.ids[name], 'it is another')
    check(one.ask(name, 'id').report['peer'] == said['peer'], 'and is the key of this device')
    return said['peer']


def refuse_rotation(one, name, word):
    """A rotation that is not begun: nothing has changed by it."""
    before = file_of(one.devices[name])
    ended = one.ask(name, 'id', 'rotate')
    check(ended.code == program.ATTENTION and word in ended.complaint, f'it says "{word}": {ended.describe()}')
    check('hint' in ended.complaint, f'and what to do: {ended.describe()}')
    is_begun = os.path.exists(os.path.join(one.devices[name].home, 'identity.next'))
    check(file_of(one.devices[name]) == before and not is_begun, 'nothing was begun')


def interrupt_at_the_end(one, name, old):
    """All folders have gone over, and the file of the identity has not been replaced yet: what a crash leaves."""
    path = os.path.join(one.devices[name].home, 'identity')
    os.rename(path, path + '.next')
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), 'wb') as file:
        file.write(old)
    ended = one.ask(name, 'sync', one.roots[name])
    check(ended.code == program.ATTENTION and 'id rotate' in ended.complaint, f'the folder rests until it is done: {ended.describe()}')


@scene('keys: a device takes another key and stays the member that it was')
def another_key(stage):
    """Founder and writer rotate while they are apart; edits of before and after flow, nobody is asked again, and the old key is a
    stranger."""
    with folder(stage) as one:
        refuse_rotation(one, 'writer', 'serves')
        for name in ('writer', 'founder'):
            one.serving[name].interrupt()
        away = one.roots['writer'] + '.away'
        os.rename(one.roots['writer'], away)
        os.makedirs(one.roots['writer'])
        refuse_rotation(one, 'writer', one.roots['writer'])
        os.rmdir(one.roots['writer'])
        os.rename(away, one.roots['writer'])

        thief = Device(stage.binary, stage.path('home-thief'))
        shutil.copytree(one.devices['writer'].home, thief.home)
        put(one.roots['writer'], 'before', 'by the old key')
        old = file_of(one.devices['writer'])
        ids = {name: rotate(one, name) for name in ('writer', 'founder')}
        interrupt_at_the_end(one, 'writer', old)
        ended = one.ask('writer', 'id', 'rotate')
        check(ended.code == program.IN_SYNC and ended.report['peer'] == ids['writer'], f'it goes on: {ended.describe()}')
        one.ids.update(ids)

        one.serving['founder'] = one.devices['founder'].start('--json', 'serve', '--listen', one.address)
        one.serving['writer'] = one.devices['writer'].start('--json', 'serve')
        for name in ('founder', 'reader'):
            one.await_file(name, 'before', 'by the old key')
        put(one.roots['writer'], 'after', 'by the new key')
        put(one.roots['founder'], 'news', 'for all')
        put(one.roots['founder'], 'first', 'edited')
        for name in one.roots:
            for path, text in (('after', 'by the new key'), ('news', 'for all'), ('first', 'edited')):
                one.await_file(name, path, text)
            told = {'founder': 'admin', 'writer': 'writer', 'reader': 'reader'}
            wait_for(lambda name=name: one.roles(name) == told, f'the {name} knows three members by their keys')
            names = sorted(entry for entry in os.listdir(one.roots[name]) if entry != '.dunlin')
            check(names == ['after', 'before', 'first', 'news'], f'no conflict copies at the {name}: {names}')
        check(one.change_role('founder', 'reader', 'writer').code == program.IN_SYNC, 'the founder is an admin under its new key')
        wait_for(lambda: one.roles('writer')['reader'] == 'writer', 'and all know it')

        one.serving['writer'].interrupt()
        ended = thief.run('--json', 'sync', one.roots['writer'])
        check(ended.code == program.REFUSED, f'a copy of the old identity is refused: {ended.describe()}')
        one.serving['writer'] = one.devices['writer'].start('--json', 'serve')
        put(one.roots['founder'], 'last', 'for all')
        one.await_file('writer', 'last', 'for all')


@scene('keys: two directories of one device go over to another key, and what was cut short goes on')
def two_directories(stage):
    """A crash after the first of two folders: it is not opened with the old key, and the next run of the command does the rest."""
    device, roots = Device(stage.binary, stage.path('home')), [stage.fresh('a'), stage.fresh('b')]
    put(roots[0], 'one')
    check(device.sync(*roots).code == program.IN_SYNC, 'two directories')
    before = stage.path('before')
    shutil.copytree(device.home, before)
    done = device.run('--json', 'id', 'rotate')
    check(done.code == program.IN_SYNC and done.report['folders'] == 2, f'both go over: {done.describe()}')
    named = {root: name for name in os.listdir(os.path.join(before, 'replicas')) for root in roots
             if read(os.path.join(before, 'replicas', name), 'root') == os.path.realpath(root)}
    second = os.path.join('replicas', named[roots[1]])
    shutil.rmtree(os.path.join(device.home, second))
    shutil.copytree(os.path.join(before, second), os.path.join(device.home, second))
    os.rename(os.path.join(device.home, 'identity'), os.path.join(device.home, 'identity.next'))
    shutil.copy2(os.path.join(before, 'identity'), os.path.join(device.home, 'identity'))
    refuses(device, {}, 'id rotate', 'sync', roots[0])
    check('id rotate' in device.run('doctor').output, 'doctor says so too')
    again = device.run('--json', 'id', 'rotate')
    check(again.code == program.IN_SYNC and again.report['peer'] == done.report['peer'], f'it goes on: {again.describe()}')
    check('id rotate' not in device.run('doctor').output, 'and nothing is left of it')
    put(roots[1], 'two')
    check(device.sync(*roots).code == program.IN_SYNC, 'both are in sync')
    check(all(read(root, name) == 'text' for root in roots for name in ('one', 'two')), 'with what came since')


@scene('keys: systemd keeps the key, sealed to this machine', root=True, tools=('systemd-creds',))
def credential(stage):
    """Made, opened again, handed over as to a unit, and of no use elsewhere."""
    device = Device(stage.binary, stage.path('home'))
    done = device.run('id', 'create', '--keep', 'credential')
    check(done.code == program.IN_SYNC, f'made: {done.describe()}')
    said = identity(device, {})
    check(said['key'] == 'credential', f'systemd keeps the key: {said}')
    sealed = os.path.join(device.home, 'identity.cred')
    unit = device.run('service', 'install', '--print').output
    check(f'LoadCredentialEncrypted=dunlin-key:{sealed}' in unit, f'the unit gets it: {unit}')
    done = device.run('--json', 'id', 'rotate')
    check(done.code == program.IN_SYNC and done.report['before'] == said['peer'], f'another key: {done.describe()}')
    check(done.report['key'] == 'credential', f'systemd keeps it: {done.report}')
    said = done.report
    handed = stage.fresh('handed')
    with open(os.path.join(handed, 'dunlin-key'), 'wb') as file:
        subprocess.run(['systemd-creds', 'decrypt', '--name', 'dunlin-key', sealed, '-'], stdout=file, check=True)
    os.rename(sealed, sealed + '.away')
    refuses(device, {}, 'systemd')
    check(identity(device, {'CREDENTIALS_DIRECTORY': handed})['peer'] == said['peer'], 'as in a unit')
