"""Links in a device's home, in place of the files that dunlin has there: none is written through."""

import glob
import os
import stat

from kit import program
from kit.program import Device
from kit.scenes import check, scene

from .control import put

PRECIOUS = 'what somebody keeps elsewhere'


class Home:
    """A home with one folder, and files elsewhere that links lead to."""

    def __init__(self, stage):
        self.device, self.root, self.away = Device(stage.binary, stage.path('home')), stage.fresh('shared'), stage.fresh('away')
        put(self.root, 'first')
        sharing = self.device.start('--json', 'share', self.root, '--listen', '127.0.0.1:0')
        sharing.record_with('invite')
        sharing.interrupt()
        self.replica = glob.glob(os.path.join(self.device.home, 'replicas', '*'))[0]

    def link(self, path, name):
        """Puts a link in place of a file of the home; what it leads to is there, or not."""
        if os.path.lexists(path):
            os.rename(path, path + '.kept')
        os.symlink(os.path.join(self.away, name), path)

    def restore(self, path):
        """The file is back."""
        os.remove(path)
        if os.path.lexists(path + '.kept'):
            os.rename(path + '.kept', path)

    def check_away(self, what):
        """Nothing elsewhere was made or changed."""
        with open(os.path.join(self.away, 'precious')) as file:
            check(file.read() == PRECIOUS, f'{what}: what the link leads to is as it was')
        check(os.listdir(self.away) == ['precious'], f'{what}: nothing is made there: {os.listdir(self.away)}')


@scene('links: those in the home are not followed')
def home(stage):
    """The lock and the store are refused; the socket and what is written down are made anew in place of the link; the configuration is
    read where it lies, and never written."""
    here = Home(stage)
    put(here.away, 'precious', PRECIOUS)
    home_dir, replica = here.device.home, here.replica
    for path in (os.path.join(home_dir, 'api.lock'), *(os.path.join(replica, 'store', name) for name in ('data.mdb', 'lock.mdb', 'lock')), os.path.join(replica, 'store')):
        for name in ('precious', 'nothing'):
            here.link(path, name)
            command = ('serve', '--listen', '127.0.0.1:0') if path.endswith('api.lock') else ('status', here.root)
            ended = here.device.run(*command, patience_s=20)
            check(ended.code != program.IN_SYNC and 'link' in ended.output + ended.complaint, f'{path} is refused: {ended.describe()}')
            here.check_away(path)
            here.restore(path)
    config = os.path.join(home_dir, 'config.toml')
    os.symlink(os.path.join(here.away, 'precious'), config)
    check(here.device.run('serve', '--listen', '127.0.0.1:0', patience_s=20).code == program.USAGE, 'the configuration is read, and is none')
    here.check_away(config)
    os.remove(config)
    written = [os.path.join(replica, name) for name in ('port', 'pause', 'seal', 'lifeline', 'port.new', 'pause.new', 'lifeline.new')]
    for path in (os.path.join(home_dir, 'api.sock'), *written):
        here.link(path, 'precious')
    serving = here.device.start('--json', 'serve', '--listen', '127.0.0.1:0')
    serving.record_with('folders')
    check(stat.S_ISSOCK(os.lstat(os.path.join(home_dir, 'api.sock')).st_mode), 'the socket stands in place of the link')
    for words in (('folder', 'pause', here.root), ('folder', 'resume', here.root)):
        ended = here.device.run(*words)
        check(ended.code == program.IN_SYNC, f'{words[1]}: {ended.describe()}')
    serving.interrupt()
    here.check_away('what is written down')
    stage.note(f'{[os.path.basename(path) for path in written if not os.path.islink(path)]} are files again')
