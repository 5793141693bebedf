"""What a run has to go without: descriptors."""

import os
import resource

from kit import program, trees
from kit.program import Device
from kit.scenes import check, scene

from .control import put, read, wait_for

# While nothing can be opened it may try again, and no more.
BUSY_S = 3.0
BUSY_SHARE_MAX = 0.2


def open_files(pid):
    """How many descriptors a process holds."""
    return len(os.listdir(f'/proc/{pid}/fd'))


def bound(pid, count):
    """Sets how many descriptors it may hold; gives what was."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (count, hard))
    return soft


def spent_s(pid):
    """Seconds of a processor that it has used."""
    with open(f'/proc/{pid}/stat') as file:
        words = file.read().rpartition(')')[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf('SC_CLK_TCK')
