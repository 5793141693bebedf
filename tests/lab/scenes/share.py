"""`share` in one namespace, `join` in the other: whole, through a cut link, and through a kill of each side.

What is sent twice is read from the interface counters: the bytes that arrived at the joiner, less those
of an undisturbed run of the same tree over the same link.
"""

import contextlib
import os
import time

from kit import crates, program, trees
from kit.network import PORT, Cable
from kit.program import Device
from kit.scenes import check, scene
from kit.trees import MIB

FILES_MIN = 20_000
NEEDS = ('ip', 'tc')


class World:
    """Two devices on a cable, the sharer with a filled folder."""

    def __init__(self, stage, cable):
        self.cable = cable
        self.shared, self.joined = stage.path('shared'), stage.path('joined')
        self.sharer = Device(stage.binary, stage.path('home-sharer'), cable.left)
        self.joiner = Device(stage.binary, stage.path('home-joiner'), cable.right)
        os.makedirs(self.joined)
        if not os.path.isdir(self.shared):
            os.makedirs(self.shared)
            fill(stage, self.shared)

    def share(self, *more):
        """Starts `share`, waits for its invite."""
        running = self.sharer.start('--json', 'share', self.shared, '--listen', self.listen(self.cable.left), *more)
        return running, running.record_with('invite', 120)['invite']

    def join(self, invite):
        """Starts `join --once`."""
        return self.joiner.start('--json', 'join', invite, self.joined, '--once', '--listen', self.listen(self.cable.right))

    def listen(self, namespace):
        """The address to bind there."""
        return f'{self.cable.addresses[namespace]}:{PORT}'

    def arrived(self):
        """Bytes that came in at the joiner."""
        return self.cable.received(self.cable.right)

    def wait_for(self, amount, running):
        """Waits until that much arrived; the run must still be going on then."""
        limit = time.monotonic() + 120
        while self.arrived() < amount:
            check(running.alive, f'the run goes on while content is missing: {running.process.poll()}')
            check(time.monotonic() < limit, f'{amount} bytes arrive in two minutes, yet {self.arrived()} did')
            time.sleep(0.02)

    def check_equal(self):
        """The two trees are the same picture."""
        unlike = trees.difference(trees.picture(self.shared), trees.picture(self.joined))
        check(not unlike, f'the trees are equal: {unlike}')


@contextlib.contextmanager
def world(stage):
    """A world whose link takes some seconds to move the tree."""
    with Cable() as cable:
        cable.rate(stage.size(200, 2000))
        yield World(stage, cable)


def fill(stage, root):
    """The small or the full tree, with one large file."""
    if stage.full:
        crates.unpack(root, FILES_MIN, os.path.join(os.path.dirname(stage.directory), 'lab-crates'))
    else:
        trees.mixed(root, seed=11)
    trees.big_binary(os.path.join(root, 'film.raw'), stage.size(96 * MIB, 2048 * MIB), seed=12)


def plain_run(stage):
    """An undisturbed run; returns the bytes that arrived."""
    with world(stage) as here:
        running, invite = here.share('--once')
        joined = here.join(invite).wait()
        check(joined.code == program.IN_SYNC, f'join ends in sync: {joined.describe()}')
        shared = running.wait(60)
        check(shared.code == program.IN_SYNC, f'share --once ends with its joiner: {shared.describe()}')
        here.check_equal()
        stage.note(f'{joined.seconds:.1f} s')
        return here.arrived()


@scene('share: whole, then the link is cut, then each side is killed', root=True, tools=NEEDS)
def share_and_join(stage):
    """Four runs over the same tree; the three disturbed ones send little twice."""
    whole = plain_run(stage)
    stage.note(f'{whole / MIB:.0f} MiB arrive')
    for disturb in (link_cut, joiner_killed, sharer_killed):
        clear(stage)
        with world(stage) as here:
            arrived = disturb(stage, here, whole)
            here.check_equal()
        twice = arrived - whole
        stage.note(f'{disturb.__name__}: {twice / MIB:+.1f} MiB')
        check(twice < stage.size(24, 64) * MIB, f'{disturb.__name__}: little is sent twice, yet {twice / MIB:.1f} MiB were')


def clear(stage):
    """Forgets both devices and the joiner's tree; the sharer's tree stays, without its control directory."""
    for name in ('home-sharer', 'home-joiner', 'joined', os.path.join('shared', '.dunlin')):
        program.subprocess.run(['rm', '-rf', '--', stage.path(name)], check=True)


def link_cut(stage, here, whole):
    """The cable is out for ten seconds (three in the small variant) in the middle."""
    running, invite = here.share()
    joining = here.join(invite)
    here.wait_for(whole * 0.4, joining)
    here.cable.cut(here.cable.left)
    time.sleep(stage.size(3, 10))
    here.cable.mend(here.cable.left)
    finish(here, joining)
    stop(running)
    return here.arrived()


def joiner_killed(stage, here, whole):
    """The joiner dies in the middle and comes back with `dunlin sync`."""
    running, invite = here.share()
    joining = here.join(invite)
    here.wait_for(whole * 0.5, joining)
    joining.kill()
    no_partial_file(here)
    finish(here, here.joiner.start('--json', 'sync', here.joined))
    stop(running)
    return here.arrived()


def sharer_killed(stage, here, whole):
    """The sharer dies in the middle and comes back with `dunlin share`."""
    running, invite = here.share()
    joining = here.join(invite)
    here.wait_for(whole * 0.5, joining)
    running.kill()
    again, _ = here.share()
    finish(here, joining)
    stop(again)
    return here.arrived()


def finish(here, running):
    """Waits for the joiner; one that gave up while its peer was away is started again, as a user would do."""
    ended = running.wait()
    if ended.code == program.NO_PEER:
        ended = here.joiner.run('--json', 'sync', here.joined)
    check(ended.code == program.IN_SYNC, f'the joiner ends in sync: {ended.describe()}')


def stop(running):
    """Stops a serving side with Ctrl-C."""
    ended = running.interrupt()
    check(ended.code in (program.IN_SYNC, program.INTERRUPTED), f'share ends on Ctrl-C: {ended.describe()}')


def no_partial_file(here):
    """What the joiner shows after a kill is whole."""
    source = {entry.digest for entry in trees.picture(here.shared).values() if entry.kind == 'file'}
    partial = [path for path, entry in trees.picture(here.joined).items() if entry.kind == 'file' and entry.digest not in source]
    check(not partial, f'no partial file is visible: {partial[:5]}')
