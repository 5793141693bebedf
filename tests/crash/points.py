"""Kill points: which calls there are, which are taken, and the run that is killed at one.

strace counts for each thread on its own, so a point (call, N) is the moment when the first thread
makes its N-th such call; the largest count of one thread bounds N.
"""

import collections
import os
import re

CALLS = [
    'write', 'writev', 'pwrite64', 'pwritev', 'copy_file_range', 'fallocate', 'ftruncate', 'msync',
    'fsync', 'fdatasync', 'syncfs', 'rename', 'renameat', 'renameat2', 'link', 'linkat', 'symlink', 'symlinkat',
    'unlink', 'unlinkat', 'mkdir', 'mkdirat', 'rmdir', 'fchmod', 'fchmodat', 'utimensat',
]
# The calls around which an order can be wrong; half of the sample is theirs, however rare they are.
DECISIVE = {'fsync', 'fdatasync', 'syncfs', 'rename', 'renameat', 'renameat2', 'unlink', 'unlinkat', 'linkat', 'ftruncate', 'msync'}


class Point(collections.namedtuple('Point', 'story call number')):
    """The number-th call of that name in a story; printed as `--only` takes it."""

    def __str__(self):
        return f'{self.story}:{self.call}:{self.number}'


def parse(text):
    """A point as it is printed, STORY:CALL:N."""
    story, call, number = text.split(':')
    return Point(story, call, int(number))


def count(world, calls=tuple(CALLS)):
    """Plays the story whole; the most often that one thread makes each of the calls."""
    world.prepare()
    trace = os.path.join(world.directory, 'trace')
    # The question mark lets strace pass over calls that this processor does not have.
    wrapper = ['strace', '-f', '-qq', '--seccomp-bpf', '-o', trace, '-e', 'trace=' + ','.join(f'?{call}' for call in calls)]
    world.sync(wrapper)
    made = collections.Counter()
    with open(trace, errors='replace') as lines:
        for line in lines:
            found = re.match(r'(\d+) +(\w+)\(', line)
            if found:
                made[found.groups()] += 1
    most = collections.Counter()
    for (_, call), times in made.items():
        most[call] = max(most[call], times)
    return most


def sample(counted, wanted, rng):
    """That many points out of all, without repetition as far as there are enough."""
    every = [Point(story, call, number + 1) for story in sorted(counted) for call in sorted(counted[story])
             for number in range(counted[story][call])]
    decisive = [point for point in every if point.call in DECISIVE]
    others = [point for point in every if point.call not in DECISIVE]
    half = min(len(decisive), max(wanted // 2, wanted - len(others)))
    taken = rng.sample(decisive, half) + rng.sample(others, min(len(others), wanted - half))
    rng.shuffle(taken)
    return taken


def killed(world, point):
    """Runs the sync until the point and no further; False if it ended before."""
    # No filter in the kernel here: with one, strace 6.1 injects only where N is 1.
    wrapper = ['strace', '-f', '-qq', '-o', '/dev/null', '-e', f'trace={point.call}', '-e',
               f'inject={point.call}:signal=SIGKILL:when={point.number}']
    ended = world.sync(wrapper)
    return ended.code == 137
