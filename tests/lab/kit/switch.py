"""Several machines at one switch: a network namespace each, a bridge in one more, and cuts of single plugs.

The namespaces carry the prefix `dls` and this process's id, and are removed at the end; the machine's own
network is never touched.
"""

import os
import subprocess

from .network import PORT, tool


class Switch:
    """`count` namespaces that all reach each other; a context manager."""

    def __init__(self, count):
        self.hub = f'dls{os.getpid()}h'
        self.namespaces = [f'dls{os.getpid()}n{number}' for number in range(count)]

    def __enter__(self):
        self._remove()
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def _make(self):
        tool('ip', 'netns', 'add', self.hub)
        tool('ip', '-n', self.hub, 'link', 'add', 'bridge', 'type', 'bridge')
        tool('ip', '-n', self.hub, 'link', 'set', 'bridge', 'up')
        for number, namespace in enumerate(self.namespaces):
            tool('ip', 'netns', 'add', namespace)
            tool('ip', '-n', namespace, 'link', 'set', 'lo', 'up')
            tool('ip', 'link', 'add', 'eth0', 'netns', namespace, 'type', 'veth',
                 'peer', 'name', f'plug{number}', 'netns', self.hub)
            tool('ip', '-n', namespace, 'addr', 'add', f'{self.address(number)}/24', 'dev', 'eth0')
            tool('ip', '-n', namespace, 'link', 'set', 'eth0', 'up')
            tool('ip', '-n', self.hub, 'link', 'set', f'plug{number}', 'master', 'bridge', 'up')

    def __exit__(self, *_):
        self._remove()

    def _remove(self):
        for namespace in (*self.namespaces, self.hub):
            subprocess.run(['ip', 'netns', 'del', namespace], capture_output=True)

    def address(self, number):
        """The address of one machine."""
        return f'10.81.0.{number + 1}'

    def listen(self, number):
        """Where it listens."""
        return f'{self.address(number)}:{PORT}'

    def cut(self, number):
        """Takes one plug out."""
        tool('ip', '-n', self.hub, 'link', 'set', f'plug{number}', 'down')

    def mend(self, number):
        """Puts it in again."""
        tool('ip', '-n', self.hub, 'link', 'set', f'plug{number}', 'up')
