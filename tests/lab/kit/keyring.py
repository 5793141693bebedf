"""A real keyring without a desktop: a session bus and gnome-keyring's Secret Service, of this scene alone."""

import os
import signal
import socket
import struct
import subprocess
import time

PASSWORD = b'correct horse'
# The default collection, which the password of the login opens.
LOGIN = '/org/freedesktop/secrets/collection/login'
SECRETS = ['--session', '--dest=org.freedesktop.secrets', '--print-reply', '/org/freedesktop/secrets']
# The operation "unlock" of gnome-keyring's control socket (gkd-control-codes.h).
CONTROL_UNLOCK = 1
PATIENCE_S = 20
# A bus that starts no service by itself, so that an absent keyring stays absent until the scene begins it.
BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:dir={directory}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class Session:
    """A user's session in a directory of its own; as a context it ends all that it started."""

    def __init__(self, directory):
        self.runtime, self.home = os.path.join(directory, 'run'), os.path.join(directory, 'desktop')
        for path in (self.runtime, self.home):
            os.makedirs(path, mode=0o700)
        self.config = os.path.join(directory, 'bus.conf')
        with open(self.config, 'w') as config:
            config.write(BUS.format(directory=self.runtime))
        self.bus = self.daemon = None

    def __enter__(self):
        self.bus = subprocess.Popen(['dbus-daemon', f'--config-file={self.config}', '--nofork', '--print-address'],
                                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self._bare())
        self.address = self.bus.stdout.readline().decode().strip()
        return self

    def __exit__(self, *_):
        self.end_keyring()
        self.bus.terminate()
        self.bus.wait()

    @property
    def environment(self):
        """What a program of this session has in its environment."""
        return {'DBUS_SESSION_BUS_ADDRESS': self.address, 'XDG_RUNTIME_DIR': self.runtime, 'HOME': self.home,
                'XDG_DATA_HOME': os.path.join(self.home, 'data'), 'DUNLIN_KEEP_KEY': ''}

    def begin_keyring(self):
        """The keyring begins, open: what a login does."""
        self.daemon = subprocess.Popen(
            ['gnome-keyring-daemon', '--foreground', '--unlock', '--components=secrets'],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**self._bare(), **self.environment})
        self.daemon.stdin.write(PASSWORD)
        self.daemon.stdin.close()
        self._await(lambda: self.is_locked() is False)

    def end_keyring(self):
        """The keyring goes, as at the end of a session."""
        if self.daemon:
            self.daemon.send_signal(signal.SIGTERM)
            self.daemon.wait()
            self.daemon = None

    def lock(self):
        """Somebody locks it."""
        self._ask('org.freedesktop.Secret.Service.Lock', f'array:objpath:{LOGIN}')
        self._await(lambda: self.is_locked() is True)

    def unlock(self):
        """Somebody unlocks it, by the password: what the login's PAM module says at gnome-keyring's control socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.connect(os.path.join(self.runtime, 'keyring', 'control'))
            control.send(b'\0')
            control.send(struct.pack('>III', 12 + len(PASSWORD), CONTROL_UNLOCK, len(PASSWORD)) + PASSWORD)
            control.recv(8)
        self._await(lambda: self.is_locked() is False)

    def is_locked(self):
        """Whether the default collection is locked; None if nobody knows."""
        command = ['dbus-send', *SECRETS[:-1], LOGIN, 'org.freedesktop.DBus.Properties.Get',
                   'string:org.freedesktop.Secret.Collection', 'string:Locked']
        said = subprocess.run(command, env={**self._bare(), **self.environment}, capture_output=True, text=True)
        if said.returncode != 0:
            return None
        return 'boolean true' in said.stdout

    def _ask(self, *words):
        subprocess.run(['dbus-send', *SECRETS, *words], env={**self._bare(), **self.environment}, check=True,
                       stdout=subprocess.DEVNULL)

    def _await(self, holds):
        limit = time.monotonic() + PATIENCE_S
        while not holds():
            if time.monotonic() > limit:
                raise TimeoutError('the keyring does not do what it was asked')
            time.sleep(0.1)

    def _bare(self):
        kept = {key: value for key, value in os.environ.items() if not key.startswith(('XDG', 'DBUS', 'GNOME'))}
        return {**kept, 'HOME': self.home, 'XDG_RUNTIME_DIR': self.runtime}
