"""Three devices at a switch: started, killed, cut off, put to sleep, with clocks that jump.

The only part that knows how dunlin is started; it reads its JSON lines and exit codes and nothing else.
"""

import glob
import os
import signal
import time

from kit import program, trees
from kit.program import Device
from kit.scenes import check

PORT_WAIT_S = 60
YOUNG_S, TERMINATED = 1, 128 + signal.SIGTERM
# A mass change is what much is deleted or made noise within ten minutes; here that is many hours, and all bytes are noise.
TIME_IS_SHORT = '[hold]\non = false\n'
PRELOADED = ('/usr/lib/*/faketime/libfaketime.so.1', '/usr/lib/faketime/libfaketime.so.1')


class Machine:
    """One device: its folder, its program, its clock."""

    def __init__(self, binary, directory, switch, number, note, root=None, home=None):
        self.number, self.switch, self.note = number, switch, note
        self.directory = os.path.join(directory, f'device{number}')
        self.root = root or os.path.join(self.directory, 'folder')
        self.trash = os.path.join(os.path.dirname(self.root), 'trash')
        for made in (self.root, self.trash):
            os.makedirs(made, exist_ok=True)
        self.device = Device(binary, home or os.path.join(self.directory, 'home'), switch.namespaces[number])
        os.makedirs(self.device.home, exist_ok=True)
        with open(os.path.join(self.device.home, 'config.toml'), 'x') as file:
            file.write(TIME_IS_SHORT)
        self.running = None
        self.started_at, self.slept_s, self.asleep_since = 0, 0.0, 0.0
        self.offset_s = 0
        self.is_cut = self.is_asleep = False
        self.kills = self.signed = 0
        self.complaints = []
        self.runs = []
        self.clock_file = os.path.join(self.directory, 'clock')

    def listen(self):
        """Its address and port."""
        return self.switch.listen(self.number)

    def start(self, *arguments, wrapper=()):
        """Starts `serve`, or another command that goes on."""
        self.started_at, self.slept_s = time.monotonic(), 0.0
        self.note(f'device {self.number}: {" ".join(arguments[:1]) or "serve"} starts')
        arguments = arguments or ('serve', '--listen', self.listen())
        self.running = self.device.start('--json', *arguments, wrapper=(*self.clock(), *wrapper))
        self.runs.append(self.running)

    def clock(self):
        """What makes the program see this device's clock."""
        library = faketime()
        if not library or not self.offset_s:
            return ()
        self.set_clock()
        return ('env', f'LD_PRELOAD={library}', f'FAKETIME_TIMESTAMP_FILE={self.clock_file}', 'FAKETIME_CACHE_DURATION=1',
                'DONT_FAKE_MONOTONIC=1', 'NO_FAKE_STAT=1')

    def set_clock(self):
        """Moves the clock, also of a program that runs."""
        fresh = self.clock_file + '.new'
        with open(fresh, 'w') as file:
            file.write(f'{self.offset_s:+d}')
        os.rename(fresh, self.clock_file)

    def jump(self, seconds):
        """The clock is set; a program that was started with the true time sees it from its next start on."""
        self.offset_s += seconds
        self.note(f'device {self.number}: the clock is set by {seconds} s')
        self.set_clock()

    @property
    def is_up(self):
        """Whether the program runs."""
        return self.running is not None and self.running.alive

    @property
    def has_looked(self):
        """Whether its program has looked at the whole folder since its start, and watches it."""
        return self.is_up and any('"event":"watching"' in line for line in self.running.lines)

    def kill(self):
        """SIGKILL."""
        self.wake()
        if self.is_up:
            self.kills += 1
            self.note(f'device {self.number}: killed')
            self._keep(self.running.kill())
        self.running = None

    def stop(self):
        """SIGTERM, as a shutdown does."""
        self.wake()
        if not self.running:
            return
        was_up = self.is_up
        self.note(f'device {self.number}: stopped')
        self.running.signal(signal.SIGTERM)
        ended = self.running.wait(60)
        self.running = None
        self._keep(ended)
        # One that has hardly begun does not heed signals yet.
        is_young = ended.seconds - self.slept_s < YOUNG_S and ended.code == TERMINATED
        check(was_up and (is_young or ended.code == program.IN_SYNC), f'serve on device {self.number} ends well: {ended.describe()}')

    def end(self):
        """The end of a program that ended by itself."""
        ended = self.running.wait(20)
        self.note(f'device {self.number}: ended with {ended.code}')
        self.running = None
        self._keep(ended)
        return ended

    def _keep(self, ended):
        self.complaints = (self.complaints + ended.complaint.splitlines())[-60:]
        check('panicked' not in ended.complaint, f'no thread panics: {ended.complaint[-600:]}')
        for side in ended.sides:
            self.signed += side.get('entries_signed') or 0

    def sleep(self):
        """The lid is closed."""
        if self.is_up and not self.is_asleep:
            self.running.signal(signal.SIGSTOP)
            self.is_asleep, self.asleep_since = True, time.monotonic()
            self.note(f'device {self.number}: asleep')

    def wake(self):
        """And opened again."""
        if self.is_asleep:
            self.is_asleep = False
            self.slept_s += time.monotonic() - self.asleep_since
            self.note(f'device {self.number}: awake')
            self.running.signal(signal.SIGCONT)

    def cut(self):
        """Off the network."""
        if not self.is_cut:
            self.switch.cut(self.number)
            self.is_cut = True
            self.note(f'device {self.number}: off the network')

    def mend(self):
        """On it again."""
        if self.is_cut:
            self.switch.mend(self.number)
            self.is_cut = False
            self.note(f'device {self.number}: on the network')

    def say(self):
        """The last words of its program."""
        words = self.running.lines[-8:] + self.running.complaints[-8:] if self.running else []
        return ''.join(words) or '\n'.join(self.complaints[-8:])

    def tell(self):
        """All that its programs said."""
        return '\n'.join(''.join(['-- a run\n', *run.lines, *run.complaints]) for run in self.runs)

    def entries(self):
        """How many entries its ledger has, as it says itself."""
        return [record['entries'] for record in self.device.run('--json', 'status').records if record.get('event') == 'folder']

    def describe(self):
        """What its program says of the folder now."""
        return self.device.run('status').output if self.is_up else 'it does not run'


def faketime():
    """The library that moves a program's clock, if the machine has it."""
    return next((path for pattern in PRELOADED for path in sorted(glob.glob(pattern))), None)


def join_all(machines):
    """The first shares its folder, the others join it and then meet each other; nobody runs afterwards."""
    first, *others = machines
    first.start('share', first.root, '--uses', str(len(others)), '--listen', first.listen())
    invite = first.running.record_with('invite', PORT_WAIT_S)['invite']
    for machine in others:
        done = machine.device.run('--json', 'join', invite, machine.root, '--once', '--listen', machine.listen())
        check(done.code == program.IN_SYNC, f'device {machine.number} joins: {done.describe()}')
    for machine in others:
        # Only now all know that all are members.
        meet(machine, first)
    first.stop()
    for number, machine in enumerate(others):
        for later in others[number + 1:]:
            later.start()
            meet(machine, later)
            later.stop()


def meet(machine, peer):
    """One comes in sync with another that serves, and knows from now on where it is."""
    done = machine.device.run('--json', 'sync', machine.root, '--listen', machine.listen(), '--peer', peer.listen())
    check(done.code == program.IN_SYNC, f'device {machine.number} meets {peer.number}: {done.describe()}')


def unlike(machines):
    """How the folders differ from the first one's, in words."""
    try:
        first, *others = [trees.picture(machine.root) for machine in machines]
    except FileNotFoundError:
        return ['something moved while it was looked at']
    return [f'device {machine.number}: {one}' for machine, other in zip(machines[1:], others)
            for one in trees.difference(first, other)]


def settle(machines, patience_s):
    """Waits until all folders are equal, and stay so for a second; gives the seconds."""
    began = time.monotonic()
    equal_since = None
    while True:
        differences = unlike(machines)
        now = time.monotonic()
        if differences:
            equal_since = None
        else:
            equal_since = equal_since or now
            if now - equal_since > 1:
                return equal_since - began
        for machine in machines:
            check(machine.is_up, f'serve on device {machine.number} goes on: {machine.say()}')
        if now - began > patience_s:
            raise Apart(differences)
        time.sleep(0.1)


class Apart(Exception):
    """The folders did not become equal in time."""

    def __init__(self, differences):
        super().__init__(f'the folders do not become equal: {differences[:6]}')
