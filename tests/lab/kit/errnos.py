"""Which system calls may fail with which errno, for tests that have them fail."""

READS = ('openat', 'openat2', 'pread64', 'getdents64', 'newfstatat', 'statx', 'readlinkat')
PLACES = ('renameat2', 'unlinkat', 'mkdirat', 'symlinkat', 'fchmod', 'utimensat')
WRITES = ('pwrite64', 'writev', 'ftruncate', 'fallocate')
SYNCS = ('fsync', 'fdatasync', 'syncfs')
FULL = ('openat', 'openat2', 'renameat2', 'mkdirat', 'symlinkat', *WRITES, *SYNCS)
# Calls by which inotify, a wake-up or a terminal would be hit as well (read, write) are left out.
SWEEP = {
    'EIO': READS + PLACES + WRITES + SYNCS,
    'ENOSPC': FULL,
    'EDQUOT': FULL,
    'EACCES': ('openat', 'openat2', 'getdents64', 'newfstatat', 'readlinkat') + PLACES,
    'EMFILE': ('openat', 'openat2'),
}
KINDS = [(error, call) for error, calls in SWEEP.items() for call in calls]


def draw(rng, wanted):
    """So many kinds; each comes once before one comes twice."""
    rounds = wanted // len(KINDS) + 1
    return [kind for _ in range(rounds) for kind in rng.sample(KINDS, len(KINDS))][:wanted]
