"""Readers: a thread a device that reads every file there is, again and again, and asks the judge about each.

What has not changed by its stat is not read again, but for every twentieth round. A file that its own user is
just writing into is left out; everybody else must see whole contents only.
"""

import os
import stat
import threading
import time

import values

PAUSE_S = 0.05
WHOLE_EVERY = 20


class Reader:
    """Reads one device's folder."""

    def __init__(self, user, oracle):
        self.user, self.oracle = user, oracle
        self.known = {}
        self.rounds = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        """Begins."""
        self.thread.start()

    def stop(self):
        """Ends."""
        self.done.set()
        self.thread.join()

    def _run(self):
        while not self.done.wait(PAUSE_S):
            self.rounds += 1
            if self.rounds % WHOLE_EVERY == 0:
                self.known.clear()
            try:
                self.look()
            except Exception as trouble:
                self.oracle.violation(f'the reader of device {self.user.device} fails: {type(trouble).__name__}: {trouble}')
                return

    def look(self):
        """Reads all that has changed."""
        for path in files_below(self.user.root):
            if self.done.is_set():
                return
            self.read(path)

    def read(self, path):
        """Reads one file, unless it is as it was."""
        whole = os.path.join(self.user.root, path)
        since = time.monotonic()
        try:
            with open(whole, 'rb', opener=nonblocking) as file:
                facts = os.fstat(file.fileno())
                mark = facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
                if not stat.S_ISREG(facts.st_mode) or self.known.get(path) == mark:
                    return
                data = file.read()
        except OSError:
            return
        if self.user.is_in_hand(facts.st_ino, since):
            return
        trouble = self.oracle.saw(self.user.device, path, data, since)
        if trouble:
            # A deed may show before it is recorded.
            self.oracle.await_deeds()
            if self.user.is_in_hand(facts.st_ino, since):
                return
            trouble = self.oracle.saw(self.user.device, path, data, since)
        if trouble:
            self.oracle.violation(f'device {self.user.device}: {trouble}')
        self.known[path] = mark


def nonblocking(path, flags):
    """Opens without waiting for anybody, and follows no link."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


def files_below(root):
    """All files of a folder, relative, without dunlin's own."""
    for folder, folders, files in os.walk(root):
        if folder == root:
            folders[:] = [name for name in folders if name != '.dunlin']
        for name in files:
            yield os.path.relpath(os.path.join(folder, name), root)


def contents(root):
    """All contents below a directory, dunlin's own included: for texts with their data, by digest."""
    seen = {}
    for folder, _, files in os.walk(root):
        for name in files:
            try:
                with open(os.path.join(folder, name), 'rb', opener=nonblocking) as file:
                    data = file.read()
            except OSError:
                continue
            seen[values.digest(data)] = data if data[:1] != b'\0' else None
    return seen
