"""A control group with a bound of memory: whoever in it needs more is killed by the kernel. Version 2, or version 1's controller."""

import os
import time

V2, V1 = '/sys/fs/cgroup', '/sys/fs/cgroup/memory'


class Group:
    """Processes that may have so many bytes together; a context manager, None where no such group can be made."""

    def __init__(self, limit):
        self.limit = limit
        self.is_v2 = os.path.exists(f'{V2}/cgroup.controllers')
        self.path = os.path.join(V2 if self.is_v2 else V1, f'dlt{os.getpid()}')

    def __enter__(self):
        try:
            os.makedirs(self.path, exist_ok=True)
            self._write('memory.max' if self.is_v2 else 'memory.limit_in_bytes', self.limit)
            if self.is_v2:
                self._write('memory.swap.max', 0)
        except OSError:
            self.__exit__()
            return None
        return self

    def __exit__(self, *_):
        # The kernel lets go of it once the last process is gone.
        for _ in range(50):
            try:
                os.rmdir(self.path)
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.1)

    def wrapper(self):
        """To be put before a command that is to run in it."""
        return ('sh', '-c', f'echo $$ > {self.path}/cgroup.procs && exec "$0" "$@"')

    def killed(self):
        """How many the kernel has killed."""
        name = 'memory.events' if self.is_v2 else 'memory.oom_control'
        with open(os.path.join(self.path, name)) as file:
            return next(int(line.split()[1]) for line in file if line.startswith('oom_kill '))

    def _write(self, name, value):
        with open(os.path.join(self.path, name), 'w') as file:
            file.write(str(value))
