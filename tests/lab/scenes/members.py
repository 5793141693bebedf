"""Who takes part in a folder and may do what: three devices that serve, one of each role, and what admins say of it."""

import contextlib
import os
import time

from kit import program
from kit.program import Device
from kit.scenes import check, scene

from .control import put, read, wait_for

# What may not come is waited for so long.
QUIET_S = 3.0


class Folder:
    """A founder, a writer and a reader on loopback, who all serve; the founder's address stays the same."""

    def __init__(self, stage):
        names = ('founder', 'writer', 'reader')
        self.devices = {name: Device(stage.binary, stage.path(f'home-{name}')) for name in names}
        self.roots = {name: stage.fresh(name) for name in names}
        self.serving = {}
        put(self.roots['founder'], 'first')
        self.serving['founder'] = self.devices['founder'].start('--json', 'share', self.roots['founder'], '--listen', '127.0.0.1:0')
        first = self.serving['founder'].record_with('invite')
        self.address = first['addrs'][0]
        reader = self.ask('founder', 'share', self.roots['founder'], '--role', 'reader').records[-1]
        for name, invite in (('writer', first['invite']), ('reader', reader['invite'])):
            self.serving[name] = self.devices[name].start('--json', 'join', invite, self.roots[name], '--listen', '127.0.0.1:0')
            self.await_file(name, 'first', 'text')
        self.ids = {name: device.run('--json', 'id').records[0]['peer'] for name, device in self.devices.items()}

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
def folder(stage):
    """Such a folder; who serves is ended with it."""
    made = Folder(stage)
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
