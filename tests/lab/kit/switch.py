"""Several machines at one switch, and cuts of single plugs."""

from .machines import Machines
from .network import tool


class Switch(Machines):
    """`count` namespaces that all reach each other by a bridge; a context manager."""

    def __init__(self, count):
        super().__init__('dls', count)

    def _make(self):
        tool('ip', '-n', self.hub, 'link', 'add', 'bridge', 'type', 'bridge')
        tool('ip', '-n', self.hub, 'link', 'set', 'bridge', 'up')
        for number in range(len(self.namespaces)):
            self._add(number, f'plug{number}')
            tool('ip', '-n', self.hub, 'link', 'set', f'plug{number}', 'master', 'bridge', 'up')

    def address(self, number):
        """The address of one machine."""
        return f'10.81.0.{number + 1}'

    def cut(self, number):
        """Takes one plug out."""
        tool('ip', '-n', self.hub, 'link', 'set', f'plug{number}', 'down')

    def mend(self, number):
        """Puts it in again."""
        tool('ip', '-n', self.hub, 'link', 'set', f'plug{number}', 'up')
