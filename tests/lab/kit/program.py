"""The program under test: started, awaited, interrupted and killed as a user or a machine would do it.

It reads the binary's JSON lines and exit code and nothing else; it never looks into the program's state.
"""

import json
import os
import signal
import subprocess
import threading
import time

# The exit codes that the command line promises.
IN_SYNC, SOME_FAILED, USAGE, CONFLICTS, HELD, NO_PEER, REFUSED, ATTENTION = range(8)
NO_DAEMON, INTERRUPTED = 10, 130

# A run that takes longer than this many seconds hangs; the slowest honest one takes a minute or two.
PATIENCE_S = 300


class Hang(Exception):
    """A run that did not end, or a line that did not come, within its time."""


class Ended:
    """A run that is over: exit code, JSON lines, both outputs, seconds."""

    def __init__(self, code, output, complaint, seconds):
        # A shell shows a death by signal N as 128 + N, and so does this.
        self.code = code if code >= 0 else 128 - code
        self.output, self.complaint, self.seconds = output, complaint, seconds
        self.records = json_lines(output)

    @property
    def report(self):
        """The closing report: the last JSON line."""
        return self.records[-1] if self.records else {}

    @property
    def sides(self):
        """One report a side: of `sync A B` there are two."""
        return self.report.get('sides') or [self.report]

    def total(self, field):
        """The sum of a field over the sides; a list counts by its length."""
        values = [side.get(field) or 0 for side in self.sides]
        return sum(len(value) if isinstance(value, list) else value for value in values)

    def describe(self):
        """What a failed check shows of this run."""
        tail = (self.complaint.strip() or self.output.strip())[-400:]
        return f'exit {self.code} after {self.seconds:.2f} s: {tail}'


class Running:
    """A run that goes on in the background; both its outputs are read all the time."""

    def __init__(self, argv, environment, before):
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment, preexec_fn=before)
        self.news = threading.Condition()
        self.lines, self.complaints = [], []
        self.readers = [self._reader(self.process.stdout, self.lines), self._reader(self.process.stderr, self.complaints)]

    def _reader(self, pipe, lines):
        def drain():
            for line in pipe:
                with self.news:
                    lines.append(line.decode(errors='replace'))
                    self.news.notify_all()
            with self.news:
                self.news.notify_all()
        thread = threading.Thread(target=drain, daemon=True)
        thread.start()
        return thread

    def record_with(self, key, patience_s=60):
        """The first JSON line that has the key."""
        limit = time.monotonic() + patience_s
        with self.news:
            while True:
                for record in json_lines(''.join(self.lines)):
                    if key in record:
                        return record
                left = limit - time.monotonic()
                if left <= 0 or self.process.poll() is not None:
                    raise Hang(f'no line with "{key}": {"".join(self.lines + self.complaints)[-400:]}')
                self.news.wait(min(left, 0.2))

    @property
    def alive(self):
        """Whether it still runs."""
        return self.process.poll() is None

    def signal(self, number):
        """Sends a signal to the program; one that is gone already is fine."""
        if self.alive:
            self.process.send_signal(number)

    def kill(self):
        """What a power cut does to a process."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def interrupt(self):
        """What Ctrl-C does, and the wait for the end."""
        self.signal(signal.SIGINT)
        return self.wait(60)

    def wait(self, patience_s=PATIENCE_S):
        """Waits for the end."""
        try:
            code = self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Hang(f'still running after {patience_s} s: {"".join(self.lines + self.complaints)[-400:]}') from None
        for reader in self.readers:
            reader.join()
        seconds = time.monotonic() - self.began
        return Ended(code, ''.join(self.lines), ''.join(self.complaints), seconds)


class Device:
    """One installation: the binary with a home of its own, perhaps in a namespace, perhaps as another user."""

    def __init__(self, binary, home, namespace=None, user=None):
        self.binary, self.home, self.namespace, self.user = binary, home, namespace, user

    def start(self, *arguments, wrapper=(), environment=None):
        """Starts a command; `wrapper` is put before the binary (a tracer, for one), `environment` is added."""
        prefix = ['ip', 'netns', 'exec', self.namespace] if self.namespace else []
        argv = [*prefix, *wrapper, self.binary, '--home', self.home, *arguments]
        return Running([os.fsencode(str(part)) if not isinstance(part, bytes) else part for part in argv],
                       {**quiet_environment(), **(environment or {})}, self._become if self.user else None)

    def run(self, *arguments, wrapper=(), patience_s=PATIENCE_S, environment=None):
        """Runs a command to its end."""
        return self.start(*arguments, wrapper=wrapper, environment=environment).wait(patience_s)

    def sync(self, *folders, wrapper=()):
        """`dunlin sync` with JSON lines."""
        return self.run('--json', 'sync', *folders, wrapper=wrapper)

    def _become(self):
        os.setgroups([])
        os.setgid(self.user)
        os.setuid(self.user)


def quiet_environment():
    """The environment without what could steer the program from outside; where nothing is said, no keyring is asked."""
    steering = ('DUNLIN', 'XDG', 'RUST_', 'DBUS_', 'CREDENTIALS_')
    kept = {key: value for key, value in os.environ.items() if not key.startswith(steering)}
    return {**kept, 'LC_ALL': 'C.UTF-8', 'DUNLIN_KEEP_KEY': 'file'}


def json_lines(text):
    """The JSON objects among the lines, in their order."""
    found = []
    for line in text.splitlines():
        if line.startswith('{'):
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return found
