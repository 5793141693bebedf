"""Errors: one call of `dunlin sync` fails with an errno, once or from then on.

Such a run may end with whatever exit code says what happened, but neither panic, hang nor claim more than it did. What the
judge of kills asks of a wreck and of the next run, he asks here as well.
"""

import collections

import oracle
import points
from kit import errnos, program, trees
from kit.scenes import check


class Error(collections.namedtuple('Error', 'story call error when')):
    """Calls of that name that fail in a story, as strace's `when` says; printed as `--error` takes it."""

    def __str__(self):
        return f'{self.story}:{self.call}:{self.error}:{self.when}'


def parse(text):
    """An error as it is printed, STORY:CALL:ERRNO:WHEN."""
    return Error(*text.split(':'))


def sample(counted, wanted, rng):
    """That many errors of all kinds, as far as a story has such calls; every other one lasts."""
    taken = []
    for error, call in errnos.draw(rng, wanted):
        stories = [story for story in sorted(counted) if counted[story][call]]
        if stories:
            story = rng.choice(stories)
            number = rng.randrange(counted[story][call]) + 1
            taken.append(Error(story, call, error, f'{number}{rng.choice(["", "+"])}'))
    return taken


def suffer(world, error, expected):
    """One run with the error, the judgement, the next run, the last judgement; true if the run felt it."""
    before = world.prepare()
    trace = f'{world.directory}/trace'
    ended = world.sync(['strace', '-f', '-qq', '-o', trace, '-e', f'trace={error.call}', '-e',
                        f'inject={error.call}:error={error.error}:when={error.when}'])
    with open(trace, errors='replace') as lines:
        is_felt = any('(INJECTED)' in line for line in lines)
    check('panicked' not in ended.complaint and ended.code < 128, f'it ends by itself: {ended.describe()}')
    oracle.judge_wreck(world, before)
    if ended.code in (program.IN_SYNC, program.CONFLICTS):
        unlike = trees.difference(trees.picture(world.left), trees.picture(world.right))
        check(not unlike, f'it says that all is in sync: {unlike[:4]}, {ended.describe()}')
    oracle.judge_restart(world, before, expected)
    return is_felt


def count(world):
    """The most often that one thread makes each call that may fail."""
    return points.count(world, sorted({call for _, call in errnos.KINDS}))
