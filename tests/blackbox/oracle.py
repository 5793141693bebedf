"""The judge: keeps what users did and what they saw, and says whether every sight can be explained.

After Hughes, Pierce, Arts and Norell, *Mysteries of Dropbox* (ICST 2016): a deed is recorded with the content
that its user really replaced, so the judge knows which contents somebody gave up knowingly. All others have
to be visible in the end, as a file, as a conflict copy, or line by line in a merge. What one device has seen
replaced it never sees again. A name is explained if some user gave it to that document.

The judge knows nothing of how dunlin works, and looks at no clock but the one that orders one device's own sights.
"""

import contextlib
import re
import threading
import time

import values

SUFFIX = re.compile(r' \(conflict from [^()]*\)')
# Names that an editor uses for a moment.
PASSING = ('~', '.tmp')
# What was put in place and taken back stands in place again this long after calls have failed.
UNDONE_S = 1


class Value:
    """One content, whole."""

    def __init__(self, number, device, document, digest, size, old, lines):
        self.number, self.device, self.document, self.digest, self.size = number, device, document, digest, size
        self.old, self.lines = old, lines
        # Who gave it up, by what deed; who moved it or changed its mode.
        self.ended, self.stirred = [], set()
        # Nobody has to see it: it was not written to its end, or into a file that had been replaced meanwhile.
        self.is_excused = False
        self.is_foreign = False

    def __str__(self):
        ends = '; '.join(f'{deed} on {device}' for device, deed in self.ended)
        return f'value {self.number} of device {self.device} ({self.size} bytes{", " + ends if ends else ""})'


class Line:
    """One line of a text."""

    def __init__(self, number, device, document):
        self.number, self.device, self.document, self.ended = number, device, document, []


class Oracle:
    """What is known of all contents and names; every method may be called by any thread."""

    def __init__(self, devices):
        self.lock = threading.Lock()
        self.last = 0
        self.values, self.lines = {}, {}
        # The family of a document, and the names that its members have been given.
        self.families, self.names, self.family_of_name = {}, {}, {}
        self.directories = set()
        # For each device: the contents that it has seen replaced, and since when.
        # Documents of which somebody took a conflict copy in hand: that says something about their originals, too.
        self.resolved = set()
        self.gone = [{} for _ in range(devices)]
        self.met = [set() for _ in range(devices)]
        # For each device: from when to when calls failed there.
        self.failing = [[] for _ in range(devices)]
        self.reads = 0
        self.revived, self.violations = [], []
        self.blind = []
        # Names of files that somebody made and left unfinished for longer than anybody has to wait.
        self.stalled_names = set()
        self.began, self.diary = time.monotonic(), []
        # Deeds that are under way, by a number each; what they do may show before it is recorded.
        self.doing, self.is_done = set(), threading.Condition()

    def note(self, text):
        """A line of the diary, which is shown when something is wrong."""
        self.diary.append(f'{time.monotonic() - self.began:9.3f} {text}')

    def number(self):
        """A number that no content or line has."""
        with self.lock:
            self.last += 1
            return self.last

    @contextlib.contextmanager
    def deed(self):
        """While a user does something and records it."""
        number = self.number()
        with self.is_done:
            self.doing.add(number)
        try:
            yield
        finally:
            with self.is_done:
                self.doing.discard(number)
                self.is_done.notify_all()

    def await_deeds(self):
        """Waits until all that was under way is done and recorded."""
        with self.is_done:
            before = set(self.doing)
            self.is_done.wait_for(lambda: not before & self.doing)

    # What users do.

    def write(self, data, device, document, old=None):
        """A user is about to write this content over `old`; `ended` says later whether he really replaced it."""
        value = Value(self.number(), device, document, values.digest(data), len(data), old, ())
        found = values.lines_of(data)
        with self.lock:
            if found:
                value.lines = tuple(values.number_of(one) for one in found[1])
                for one in value.lines:
                    self.lines.setdefault(one, Line(one, device, document))
            self.values.setdefault(value.digest, value)
        if document:
            self.note(f'device {device}: {value} of document {document} is written')
        return value

    def foreign(self, data):
        """A content that may come and go: a checkout brings it back again and again."""
        value = self.write(data, 0, 0)
        value.is_foreign = True
        return value

    def known(self, data):
        """The value that this content is, if somebody wrote it as a whole."""
        return self.values.get(values.digest(data))

    def name(self, document, name):
        """A user gave this name to a document.

        What follows another document at its name may be taken for its next version, and shares its fate from then
        on: the two become one family.
        """
        name = SUFFIX.sub('', name)
        with self.lock:
            ours = self._family(document)
            theirs = self._family(self.family_of_name.setdefault(name, ours))
            if theirs != ours:
                self.families[ours] = theirs
                self.names.setdefault(theirs, set()).update(self.names.pop(ours, ()))
            self.names.setdefault(theirs, set()).add(name)

    def _family(self, document):
        while document in self.families:
            document = self.families[document]
        return document

    def _names(self, document):
        return self.names.get(self._family(document), ())

    def directory(self, name):
        """A user gave this name to a directory."""
        with self.lock:
            self.directories.add(SUFFIX.sub('', name))

    def ended(self, device, path, data, deed, new=None):
        """A user gave a content up knowingly: it is what his deed has replaced or taken away at that path."""
        now = time.monotonic()
        with self.lock:
            value = self.values.get(values.digest(data))
            self.note(f'device {device}: {value or "a merge"} at {path} is {deed}' + (f', now {new.number}' if new else ''))
            self._note_resolved(path, value)
            if value:
                value.ended.append((device, deed))
                self._note_gone(device, path, value, now)
            kept = set(new.lines) if new else set()
            for one in self._lines_in(data):
                if one.number not in kept:
                    one.ended.append((device, deed))
            if new:
                new.old = value

    def _note_resolved(self, path, value):
        if value and SUFFIX.search(path):
            self.resolved.add(value.document)

    def stirred(self, device, path, data):
        """A user moves a content or changes its mode or time."""
        with self.lock:
            value = self.values.get(values.digest(data))
            self._note_resolved(path, value)
            if value:
                value.stirred.add(device)

    def moved(self, device, old, new):
        """A user moved something."""
        self.note(f'device {device}: {old} moves to {new}')

    def blinded(self, device, name):
        """A user replaced something in the very moment in which it changed: nobody knows what."""
        with self.lock:
            self.blind.append((device, SUFFIX.sub('', name)))
        self.note(f'device {device}: something unknown at {name} was replaced')

    def astray(self, device, before, value):
        """A user wrote into a file that was replaced or moved while he had it open: his bytes went with it."""
        self.note(f'device {device}: {value} is written astray')
        with self.lock:
            value.is_excused = True
            old = self.values.get(values.digest(before))
            if old:
                old.is_excused = True
            for one in self._lines_in(before):
                one.ended.append((device, 'written over astray'))

    def torn(self, half, value):
        """A writer paused for longer than anybody has to wait: what stood there then may be seen."""
        torn = self.write(half, value.device, value.document)
        torn.is_excused = True

    def stalled(self, name):
        """A writer was stopped with a file open, by the machine: its beginning may be seen."""
        with self.lock:
            self.stalled_names.add(SUFFIX.sub('', name))

    @contextlib.contextmanager
    def calls_fail(self, device):
        """While calls fail on a device: what it has put in place it may take back, until it can do all of it."""
        spell = [time.monotonic(), None]
        self.failing[device].append(spell)
        try:
            yield
        finally:
            spell[1] = time.monotonic() + UNDONE_S

    def _did_calls_fail(self, device, moment):
        return any(began <= moment and (ended is None or moment <= ended) for began, ended in self.failing[device])

    def _lines_in(self, data):
        found = values.lines_of(data)
        numbers = [values.number_of(one) for one in found[1]] if found else []
        return [self.lines[number] for number in numbers if number in self.lines]

    # What devices show.

    def saw(self, device, path, data, since):
        """A file was read whole; its reading began at `since`. Gives the trouble with it, or None."""
        self.reads += 1
        with self.lock:
            value = self.values.get(values.digest(data))
            trouble = self._trouble(device, path, data, value, since)
            if trouble is None and value and not self._is_passing(path):
                self._note_met(device, path, value)
            return trouble

    def violation(self, text):
        """Keeps what cannot be explained."""
        with self.lock:
            if text not in self.violations:
                self.violations.append(text)

    def _trouble(self, device, path, data, value, since):
        if SUFFIX.sub('', path.split('/')[-1]) in self.stalled_names and values.is_beginning(data):
            return None
        if value is None:
            return self._merge_trouble(path, data)
        if value.is_foreign:
            return None
        where = self._name_trouble(path, value.document)
        if where:
            return f'{value} has a name that nobody gave it: {where}'
        gone = self.gone[device].get(value.number)
        if gone is not None and gone < since and not self._is_passing(path):
            if self._may_return(path, value) or self._did_calls_fail(device, since):
                self._note_revived(f'{value} is back on device {device} as {path}')
                return None
            return f'{value} is back on device {device} as {path}, {since - gone:.3f} s after it was seen replaced'
        return None

    def _merge_trouble(self, path, data):
        found = values.lines_of(data)
        if not found:
            return f'a content that nobody wrote: {path}, {values.describe(data)}'
        document, lines = found
        strange = [one for one in lines if values.number_of(one) not in self.lines]
        if strange:
            return f'a merge with a line that nobody wrote: {path}, {strange[0]!r}'
        return self._name_trouble(path, document)

    def _name_trouble(self, path, document):
        *directories, name = [SUFFIX.sub('', part) for part in path.split('/')]
        if name not in self._names(document):
            return path
        return next((path for one in directories if one not in self.directories), None)

    def _may_return(self, path, value):
        """To move or touch a file is a deed of its own: it may bring back what was given up meanwhile. So may a
        conflict, and whoever takes one of its copies in hand. A text is what comes of it, too, when somebody has touched
        the one before: that is a version of its own, and the two are merged."""
        is_merged = value.lines and value.old and value.old.stirred
        return value.stirred or is_merged or SUFFIX.search(path) or self._is_resolved(value)

    def _is_resolved(self, value):
        """Families grow: the copy may have been of a document that was none of this one's family yet."""
        return self._family(value.document) in map(self._family, self.resolved)

    def _note_revived(self, text):
        if text not in self.revived:
            self.revived.append(text)

    def _note_met(self, device, path, value):
        """Seeing a content is seeing that those before it are replaced."""
        if value.old and value.number not in self.met[device] and not self._is_aside(path, value):
            self.met[device].add(value.number)
            self._note_gone(device, path, value.old, time.monotonic())

    def _note_gone(self, device, path, value, now):
        while value and value.number not in self.gone[device] and not value.is_foreign:
            self.gone[device][value.number] = now
            value = None if self._is_aside(path, value) else value.old

    @staticmethod
    def _is_aside(path, value):
        """A conflict copy says nothing of what its original shows: the winner may still be on its way."""
        return bool(SUFFIX.search(path) or value.stirred)

    @staticmethod
    def _is_passing(path):
        return path.endswith(PASSING)

    # The verdicts.

    def required(self):
        """The contents that nobody gave up, by digest."""
        with self.lock:
            return {value.digest: value for value in self.values.values() if self._is_required(value)}

    @staticmethod
    def _is_required(value):
        return not value.ended and not value.is_excused and not value.is_foreign and not value.lines

    def required_lines(self):
        """The lines that nobody gave up, by number."""
        with self.lock:
            written = {one for value in self.values.values() if not value.is_excused for one in value.lines}
            return {number: one for number, one in self.lines.items() if number in written and not one.ended}

    def missing(self, seen):
        """What is required and not among these contents, in words; `seen` has the data of texts by digest."""
        lines = set()
        for data in seen.values():
            found = values.lines_of(data) if data else None
            lines.update(values.number_of(one) for one in found[1]) if found else None
        lost = [str(value) + f' as {self._called(value.document)}' for digest, value in self.required().items()
                if digest not in seen and not self._is_blinded(value.document)]
        lost += [f'line {number} of device {one.device} in {self._called(one.document)}'
                 for number, one in self.required_lines().items()
                 if number not in lines and not self._is_blinded(one.document)]
        return lost

    def _called(self, document):
        return ', '.join(sorted(self._names(document)))

    def _is_blinded(self, document):
        return any(name in self._names(document) for _, name in self.blind)

    def zombies(self, seen):
        """Contents that somebody gave up and that are visible all the same; (files, those that may be)."""
        files, copies = [], []
        with self.lock:
            for path, digest in seen.items():
                value = self.values.get(digest)
                if not value or value.is_foreign or value.lines or not value.ended:
                    continue
                (copies if self._may_return(path, value) else files).append(f'{path}: {value}')
        return files, copies
