"""One large file from several members: time from one against two, with one of them cut off in the middle, and what the only
one that has it sends to two who fetch it. Each machine's way out is limited; nothing else is.
"""

import os
import time

from kit import trees
from kit.network import tool
from kit.program import Device
from kit.scenes import check, scene
from kit.switch import Switch
from kit.trees import MIB

MEGABITS = 100
# What a way out of that rate carries of contents in a second; headers take a tenth.
BYTES_A_SECOND = MEGABITS * 1_000_000 / 8 * 0.9
# More than members say before contents come.
FIRST_BYTES = 256 * 1024
NAME = 'film.raw'
NEEDS = ('ip', 'tc')


class Machine:
    """A device in its namespace, with its folder and what runs there."""

    def __init__(self, stage, switch, number):
        self.switch, self.number, self.namespace = switch, number, switch.namespaces[number]
        self.device = Device(stage.binary, stage.path(f'home{number}'), self.namespace)
        self.root = stage.fresh(f'folder{number}')
        self.running = None

    def start(self, *arguments):
        """Starts a command that goes on."""
        self.running = self.device.start('--json', *arguments)
        return self.running

    def stop(self):
        """Ends it."""
        self.running.interrupt()

    def limit(self):
        """Limits what leaves the machine."""
        tool('ip', 'netns', 'exec', self.namespace, 'tc', 'qdisc', 'replace', 'dev', 'eth0', 'root', 'tbf',
             'rate', f'{MEGABITS}mbit', 'burst', '256kb', 'latency', '20ms')

    def counted(self, column):
        """Bytes that came in (0) or went out (8), with all headers."""
        text = tool('ip', 'netns', 'exec', self.namespace, 'cat', '/proc/net/dev')
        line = next(line for line in text.splitlines() if line.strip().startswith('eth0:'))
        return int(line.split(':')[1].split()[column])

    def has_it(self):
        """Whether the file is in place."""
        return os.path.exists(os.path.join(self.root, NAME))

    def serve(self):
        """Starts to serve; gives the moment in which contents began to come."""
        before = self.counted(0)
        self.start('serve')
        wait_until(lambda: self.counted(0) - before > FIRST_BYTES, f'contents come to machine {self.number}')
        return time.monotonic()

    def file_after(self, began, patience_s=180):
        """The seconds from then until the file is in place."""
        while not self.has_it():
            check(time.monotonic() - began < patience_s, f'the file comes to machine {self.number} in {patience_s} s')
            check(self.running.alive, f'machine {self.number} runs on')
            time.sleep(0.01)
        return time.monotonic() - began


def acquainted(stage, switch, count):
    """Machines that share an empty folder and know each other's addresses; all but the first are stopped."""
    machines = [Machine(stage, switch, number) for number in range(count)]
    first = machines[0]
    shared = first.start('share', first.root, '--uses', str(count - 1), '--listen', switch.listen(0))
    invite = shared.record_with('invite')['invite']
    for machine in machines[1:]:
        peers = [word for other in range(1, machine.number) for word in ('--peer', switch.listen(other))]
        machine.start('join', invite, machine.root, '--listen', switch.listen(machine.number), *peers)
        machine.running.record_with('peer')
    for machine in machines[1:]:
        wait_until(lambda seen=machine: peers_of(seen) == count - 1, f'machine {machine.number} meets all others')
    for machine in machines[1:]:
        machine.stop()
    for machine in machines:
        machine.limit()
    return machines


def peers_of(machine):
    """Other devices that the machine has met."""
    lines = ''.join(machine.running.lines)
    return len({line for line in lines.splitlines() if '"connected"' in line})


def wait_until(holds, promise, patience_s=60):
    """Waits for something that must come true."""
    limit = time.monotonic() + patience_s
    while not holds():
        check(time.monotonic() < limit, promise)
        time.sleep(0.02)


def save(stage, machine, size):
    """The file appears in the first machine's folder, and is recorded there."""
    made = stage.path('made.raw')
    trees.big_binary(made, size, seed=31)
    os.rename(made, os.path.join(machine.root, NAME))
    done = machine.device.run('--json', 'scan', machine.root)
    check(done.code == 0, f'it is recorded: {done.describe()}')


def check_alike(machines):
    """All have the same bytes."""
    digests = {trees.digest(os.path.join(machine.root, NAME)) for machine in machines}
    check(len(digests) == 1, f'{len(digests)} different files')


@scene('sources: one against two, and one of two cut off', root=True, tools=NEEDS, measures=True)
def one_against_two(stage):
    """B fetches from A, C from A and B, D from A and B until A's plug is out."""
    size = stage.size(64 * MIB, 256 * MIB)
    with Switch(4) as switch:
        first, second, third, fourth = machines = acquainted(stage, switch, 4)
        save(stage, first, size)
        from_one = second.file_after(second.serve())
        from_two = third.file_after(third.serve())
        stage.note(f'{size // MIB} MiB at {MEGABITS} Mbit/s each: from one {from_one:.1f} s, from two {from_two:.1f} s')
        check(from_two < from_one * 0.7, f'two sources take little more than half the time: {from_two:.1f} s')
        third.stop()
        before, began = fourth.counted(0), fourth.serve()
        wait_until(lambda: fourth.counted(0) - before > size // 2, 'half of it comes to the fourth')
        switch.cut(0)
        cut_at, had = time.monotonic(), fourth.counted(0) - before
        took = fourth.file_after(cut_at)
        at_best = max(0, size - had) / BYTES_A_SECOND
        stage.note(f'one of two cut off at half: {cut_at - began + took:.1f} s in all, the rest in {took:.1f} s (at best {at_best:.1f} s)')
        check(took < at_best * 1.5 + 2, f'the rest comes from the other without a pause: {took:.1f} s for {at_best:.1f} s')
        check_alike(machines)
        for machine in (first, second, fourth):
            machine.stop()


@scene('sources: two fetch what one has', root=True, tools=NEEDS, measures=True)
def two_fetch(stage):
    """B and C begin at once; what one has got from A the other can have from it."""
    size = stage.size(64 * MIB, 256 * MIB)
    with Switch(3) as switch:
        first, second, third = machines = acquainted(stage, switch, 3)
        for machine in (second, third):
            machine.start('serve')
        for machine in (second, third):
            wait_until(lambda seen=machine: peers_of(seen) == 2, f'machine {machine.number} meets both others')
        before, began = first.counted(8), time.monotonic()
        save(stage, first, size)
        took = [machine.file_after(began) for machine in (second, third)]
        sent = first.counted(8) - before
        stage.note(f'{size // MIB} MiB at {MEGABITS} Mbit/s: there in {took[0]:.1f} and {took[1]:.1f} s; '
                   f'the only source sent {sent / size:.2f} times the file')
        bar = 1.6 if stage.full else 1.9
        check(sent < size * bar, f'less than twice the file leaves its only source: {sent / size:.2f}')
        check_alike(machines)
        for machine in machines:
            machine.stop()
