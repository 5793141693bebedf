"""Several devices with one folder each, as scenes have them serve."""

import contextlib


class Group:
    """Whoever has `devices`, their `roots`, and says by `listen(number)` where each of them is."""

    @contextlib.contextmanager
    def serving(self, *which):
        """These devices serve."""
        running = [self.devices[number].start('--json', 'serve', *self.listen(number)) for number in which]
        try:
            for one in running:
                one.record_with('folders')
            yield running
        finally:
            for one in running:
                one.interrupt()

    def status(self, number):
        """What `status` says of the folder."""
        done = self.devices[number].run('--json', 'status', self.roots[number])
        return next((record for record in done.records if record['event'] == 'folder'), {})
