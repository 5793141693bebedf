"""The world of a run: a switch, machines, users, readers, the judge; and the verdicts at its end."""

import contextlib
import os
import threading
import time

import machines
import readers
import users
import values
from kit.scenes import check
from kit.switch import Switch
from oracle import Oracle

# The slowest honest way to equal folders: a connection that is found dead, a retry with a grown pause.
PATIENCE_S = 150
SILENT_S = 8


class World:
    """Devices with a folder in common."""

    def __init__(self, stage, switch, count=3, places=None):
        self.stage, self.seed = stage, stage.seed
        self.oracle = Oracle(count)
        places = places or [{} for _ in range(count)]
        self.machines = [machines.Machine(stage.binary, stage.directory, switch, number, self.oracle.note, **places[number])
                         for number in range(count)]
        self.users = [users.User(machine, self.oracle, stage.seed) for machine in self.machines]
        self.readers = [readers.Reader(user, self.oracle) for user in self.users]
        self.checkout = None
        machines.join_all(self.machines)

    def serve(self):
        """All devices run."""
        for machine in self.machines:
            machine.start()

    def settle(self, patience_s=PATIENCE_S):
        """Waits until all folders are equal."""
        took = machines.settle(self.machines, patience_s)
        self.check_explained()
        return took

    def check_explained(self):
        """Nothing was seen that cannot be explained."""
        troubles = self.oracle.violations
        check(not troubles, f'{len(troubles)} sights cannot be explained: ' + ' | '.join(troubles[:4]))

    def check_kept(self):
        """At any moment: what nobody gave up is somewhere on a disk."""
        # While files are moved a look can miss one; what is missed several times in a row is gone.
        for _ in range(6):
            seen = {}
            for machine in self.machines:
                seen.update(readers.contents(machine.root))
            lost = self.oracle.missing(seen)
            if not lost:
                return
            time.sleep(0.2)
        check(False, f'{len(lost)} contents are on no disk any more: {lost[:4]}')

    def check_end(self):
        """All folders are equal: what they show is all that it has to be, and nothing else."""
        self.check_explained()
        root = self.machines[0].root
        seen, at = {}, {}
        for path in readers.files_below(root):
            if os.path.islink(os.path.join(root, path)):
                continue
            data = users.whole(os.path.join(root, path))
            trouble = self.oracle.saw(0, path, data, 0)
            check(not trouble, f'in the end: {trouble}')
            seen[values.digest(data)] = data if data[:1] != b'\0' else None
            at[path] = values.digest(data)
        lost = self.oracle.missing(seen)
        check(not lost, f'{len(lost)} contents that nobody gave up are not visible: {lost[:4]}; {self.where(lost)}')
        files, copies = self.oracle.zombies(at)
        check(not files, f'{len(files)} contents are back that users had given up: {files[:4]}')
        self.stage.note(f'{len(at)} files, {sum(" (conflict from " in path for path in at)} conflict copies, '
                        f'{len(copies)} of them of given up contents, {len(self.oracle.revived)} sights of such')
        if self.checkout:
            self.check_checkout(root)

    def where(self, lost):
        """Where lost contents are besides, for people."""
        found = []
        for machine in self.machines:
            for name in ('folder', 'trash'):
                root = machine.root if name == 'folder' else machine.trash
                still = set(lost) - set(self.oracle.missing(readers.contents(root)))
                found += [f'{one} is in the {name} of device {machine.number}' for one in sorted(still)[:3]]
        return found

    def check_checkout(self, root):
        """The directory that one user alone works in is as he left it."""
        base = os.path.join(root, 'project')
        there = {path: users.whole(os.path.join(base, path)) for path in readers.files_below(base)}
        wanted = self.checkout.expected()
        strange = [path for path in sorted(there.keys() | wanted.keys()) if there.get(path) != wanted.get(path)]
        check(not strange, f'the checkout is as its user left it: {strange[:5]}')

    def await_rest(self, seconds):
        """Waits until nothing was signed for so long: texts are merged some seconds after the last deed."""
        limit = time.monotonic() + PATIENCE_S
        known, since = None, time.monotonic()
        while time.monotonic() - since < seconds:
            now = [machine.entries() for machine in self.machines]
            if now != known:
                known, since = now, time.monotonic()
            check(time.monotonic() < limit, f'without a deed signing comes to an end: {now}')
            time.sleep(0.5)

    def check_silence(self, seconds=SILENT_S):
        """After a restart with nothing to do nobody signs anything."""
        self.await_rest(seconds)
        for machine in self.machines:
            machine.stop()
        before = [machine.signed for machine in self.machines]
        self.serve()
        self.settle()
        time.sleep(seconds)
        for machine in self.machines:
            machine.stop()
        signed = [machine.signed - earlier for machine, earlier in zip(self.machines, before)]
        check(not any(signed), f'without a deed nobody signs, yet {signed} entries were signed')

    @contextlib.contextmanager
    def observed(self):
        """With readers at work."""
        for reader in self.readers:
            reader.start()
        try:
            yield
        finally:
            for reader in self.readers:
                reader.stop()

    def close(self):
        """Ends what still runs."""
        for machine in self.machines:
            with contextlib.suppress(Exception):
                machine.kill()


@contextlib.contextmanager
def world(stage, count=3, places=None):
    """A world that is taken apart at the end; if it fails, what the programs said last is shown."""
    with Switch(count) as switch:
        here = World(stage, switch, count, places)
        try:
            yield here
        except BaseException:
            for machine in here.machines:
                print(f'-- device {machine.number} said last:\n{machine.say()}', flush=True)
                print(f'-- and of itself:\n{machine.describe()}', flush=True)
            with open(stage.path('diary'), 'w') as diary:
                diary.write('\n'.join(here.oracle.diary) + '\n')
            for machine in here.machines:
                with open(os.path.join(machine.directory, 'said'), 'w') as said:
                    said.write(machine.tell())
            raise
        finally:
            here.close()


class Work:
    """Users at work in threads of their own, each at a pace; they can be told to rest."""

    def __init__(self, world, pause_s):
        self.world, self.pause_s = world, pause_s
        self.resting = [threading.Event() for _ in world.users]
        self.hands = [threading.Lock() for _ in world.users]
        self.done = threading.Event()
        self.threads = [threading.Thread(target=self._work, args=(number,), daemon=True) for number in range(len(world.users))]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        """Everybody goes home."""
        self.done.set()
        for thread in self.threads:
            thread.join()

    def _work(self, number):
        user = self.world.users[number]
        while not self.done.wait(user.rng.uniform(0.2, 1.8) * self.pause_s):
            if self.resting[number].is_set():
                continue
            with self.hands[number]:
                try:
                    user.act()
                except Exception as trouble:
                    self.world.oracle.violation(f'the user of device {number} fails: {type(trouble).__name__}: {trouble}')
                    return

    @contextlib.contextmanager
    def rest(self):
        """Everybody's hands are off the keyboard."""
        with contextlib.ExitStack() as stack:
            for hand in self.hands:
                stack.enter_context(hand)
            yield
