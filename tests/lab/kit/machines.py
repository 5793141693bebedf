"""Several machines, a network namespace each, and one more in the middle that joins them somehow.

The namespaces carry a prefix and this process's id, and are removed at the end; the machine's own network is never touched.
"""

import os
import subprocess

from .network import PORT, tool


class Machines:
    """`count` namespaces and a hub, which a subclass joins in `_make`; a context manager."""

    def __init__(self, prefix, count):
        self.hub = f'{prefix}{os.getpid()}h'
        self.namespaces = [f'{prefix}{os.getpid()}n{number}' for number in range(count)]

    def __enter__(self):
        self._remove()
        try:
            tool('ip', 'netns', 'add', self.hub)
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_):
        self._remove()

    def _remove(self):
        for namespace in (*self.namespaces, self.hub):
            subprocess.run(['ip', 'netns', 'del', namespace], capture_output=True)

    def _add(self, number, plug):
        """One machine, and a cable from it to a plug of the hub."""
        namespace = self.namespaces[number]
        tool('ip', 'netns', 'add', namespace)
        tool('ip', '-n', namespace, 'link', 'set', 'lo', 'up')
        tool('ip', 'link', 'add', 'eth0', 'netns', namespace, 'type', 'veth', 'peer', 'name', plug, 'netns', self.hub)
        tool('ip', '-n', namespace, 'addr', 'add', f'{self.address(number)}/24', 'dev', 'eth0')
        tool('ip', '-n', namespace, 'link', 'set', 'eth0', 'up')

    def address(self, number):
        """The address of one machine."""
        raise NotImplementedError

    def listen(self, number):
        """Where it listens."""
        return f'{self.address(number)}:{PORT}'
