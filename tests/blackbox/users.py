"""A user at a device: deeds of every kind, each recorded with what it really replaced.

A deed takes what it needs from the tree as it stands, and looks afterwards whether what it replaced is what it
had read: dunlin works in the same folder. What a user takes away goes to a directory beside the folder, so
that it can be read when nobody else can change it any more.
"""

import contextlib
import ctypes
import os
import random
import shutil
import time

import values
from oracle import PASSING

AT_FDCWD, RENAME_NOREPLACE = -100, 1
FILES_MANY = 110
# Deeds in place that take their time are done only when the program has been up for so long: at its start it
# cannot know that somebody has a file open.
SETTLED_S = 6
SLOW_PAUSE_S = 0.03
SLOW_MOST_S = 0.2
SHARED_NAMES = ('agenda.txt', 'todo.bin', 'plan.txt', 'budget.bin')
FOLDERS = ('inbox', 'papers', 'photos', 'music', 'drafts')
OWN = ('.dunlin', 'project')


class User:
    """The person at one device."""

    def __init__(self, machine, oracle, seed):
        self.machine, self.oracle = machine, oracle
        self.rng = random.Random(f'{seed}/{machine.number}')
        self.root = machine.root
        self.writing = {}
        self.taken = 0
        self.deeds = {}

    @property
    def device(self):
        """The number of the device."""
        return self.machine.number

    def act(self):
        """One deed; what stood in its way (somebody else's change) ends it without harm."""
        files = self.files()
        deed = self.rng.choices([deed for deed, _ in DEEDS], [weight for _, weight in DEEDS])[0]
        if len(files) > FILES_MANY and deed in (make, make_shared, make_text):
            deed = self.rng.choice([remove, unlink, remove_directory])
        try:
            with self.oracle.deed():
                done = deed(self, files) is not False
        except (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError):
            done = False
        if done:
            self.deeds[deed.__name__] = self.deeds.get(deed.__name__, 0) + 1

    def files(self):
        """All regular files of the folder, relative, but those of the checkout."""
        found = []
        for folder, folders, files in os.walk(self.root):
            if folder == self.root:
                folders[:] = [name for name in folders if name not in OWN]
            folders.sort()
            found += [os.path.relpath(os.path.join(folder, name), self.root) for name in sorted(files)
                      if not name.endswith(PASSING) and not os.path.islink(os.path.join(folder, name))]
        return found

    def directories(self):
        """All directories of the folder, relative."""
        found = []
        for folder, folders, _ in os.walk(self.root):
            if folder == self.root:
                folders[:] = [name for name in folders if name not in OWN]
            found += [os.path.relpath(os.path.join(folder, name), self.root) for name in sorted(folders)]
        return sorted(found)

    def choose(self, paths):
        """One of them; if there is none, the deed has nothing to work on."""
        if not paths:
            raise FileNotFoundError
        return self.rng.choice(paths)

    def at(self, path):
        """A path on the disk."""
        return os.path.join(self.root, path)

    def read(self, path):
        """What stands there."""
        with open(self.at(path), 'rb') as file:
            return file.read()

    def somewhere(self, name):
        """A path with that name in some directory, which is made if need be."""
        directory = self.rng.choice(self.directories() + list(FOLDERS))
        if self.rng.random() < 0.1:
            directory = os.path.join(directory, f'box{self.oracle.number()}')
        for part in directory.split('/'):
            self.oracle.directory(part)
        os.makedirs(self.at(directory), exist_ok=True)
        return os.path.join(directory, name)

    def fresh(self, document=None):
        """The data of a new blob; (data, document)."""
        number = self.oracle.number()
        document = document or number
        size = self.rng.choice([200, 900, 4000, 20_000, 60_000, 150_000])
        if self.rng.random() < 0.03:
            size = self.rng.randrange(1_000_000, 5_000_000)
        return values.blob(number, self.device, document, size), document

    def next_version(self, data, path):
        """What a user makes of it; (data, document)."""
        found = values.lines_of(data)
        if found:
            return self.edited(*found), found[0]
        known = self.oracle.known(data)
        document = known.document if known else self.oracle.number()
        self.oracle.name(document, os.path.basename(path))
        if not values.is_blob(data) or self.rng.random() < 0.4 or len(data) > 12_000_000:
            return self.fresh(document)
        if self.rng.random() < 0.5:
            return values.patched(data, self.oracle.number(), self.device, document, self.rng), document
        return values.extended(data, self.oracle.number(), self.device, document, self.rng.choice([300, 5000, 70_000])), document

    def edited(self, document, lines):
        """A text with one or two other lines."""
        lines = list(lines)
        for slot in self.rng.sample(range(len(lines)), self.rng.choice([1, 1, 2])):
            lines[slot] = values.line(slot, self.oracle.number(), self.device)
        return values.text(document, lines)

    def new_text(self, document):
        """The first version of a text."""
        return values.text(document, [values.line(slot, self.oracle.number(), self.device) for slot in range(values.SLOTS)])

    @contextlib.contextmanager
    def fresh_file(self, path):
        """A new file, open for writing in place."""
        began = time.monotonic()
        with open(path, 'xb') as file, self.inside(file, began):
            yield file

    @contextlib.contextmanager
    def inside(self, file, began=None):
        """While a file is written in place, what stands in it is no whole content; a new one is empty from `began` on."""
        number, began = os.fstat(file.fileno()).st_ino, began or time.monotonic()
        self.writing[number] = None
        try:
            yield
            file.flush()
        finally:
            self.writing[number] = time.monotonic()
            if self.writing[number] - began > SLOW_MOST_S:
                self.oracle.stalled(os.path.basename(file.name))

    def is_in_hand(self, number, since):
        """Whether this user was writing into the file at that time or later."""
        return number in self.writing and (self.writing[number] is None or self.writing[number] >= since)

    def take(self, path):
        """Moves something out of the folder; gives where it is."""
        self.taken += 1
        gone = os.path.join(self.machine.trash, f'{self.taken}')
        os.rename(self.at(path), gone)
        return gone


def whole(path):
    """The bytes of a file."""
    with open(path, 'rb') as file:
        return file.read()


def put(path, data):
    """A new file."""
    with open(path, 'xb') as file:
        file.write(data)


def make(user, _files):
    """A new file appears."""
    data, document = user.fresh()
    name = f'leaf{document}.bin'
    user.oracle.name(document, name)
    path = user.somewhere(name)
    user.oracle.write(data, user.device, document)
    put_visibly(user, path, data)


def make_text(user, _files):
    """A new text appears."""
    document = user.oracle.number()
    name = f'text{document}.txt'
    user.oracle.name(document, name)
    path = user.somewhere(name)
    data = user.new_text(document)
    user.oracle.write(data, user.device, document)
    put_visibly(user, path, data)


def make_shared(user, _files):
    """A new file under a name that others choose too."""
    document = user.oracle.number()
    name = user.rng.choice(SHARED_NAMES)
    data = user.new_text(document) if name.endswith('.txt') else user.fresh(document)[0]
    user.oracle.name(document, name)
    folder = user.rng.choice(FOLDERS)
    user.oracle.directory(folder)
    os.makedirs(user.at(folder), exist_ok=True)
    value = user.oracle.write(data, user.device, document)
    try:
        put_visibly(user, f'{folder}/{name}', data)
    except FileExistsError:
        value.is_excused = True
        raise


def put_visibly(user, path, data):
    """Writes a new file, in place or as most programs do."""
    try:
        if not user.machine.has_looked:
            put_whole(user, path, data)
            return
        with user.fresh_file(user.at(path)) as file:
            file.write(data)
    except OSError:
        user.oracle.known(data).is_excused = True
        raise


def put_whole(user, path, data):
    """The file comes from elsewhere, and is whole from the beginning."""
    user.taken += 1
    fresh = os.path.join(user.machine.trash, f'fresh{user.taken}')
    put(fresh, data)
    try:
        rename_new(fresh, user.at(path))
    except OSError:
        os.unlink(fresh)
        raise


def save_by_rename(user, files):
    """A new file takes the old one's name."""
    path = user.choose(files)
    with open(user.at(path), 'rb') as old:
        before = old.read()
        data, document = user.next_version(before, path)
        fresh = user.at(path) + '.tmp'
        user.oracle.name(document, os.path.basename(fresh))
        value = user.oracle.write(data, user.device, document)
        value.is_excused = True
        with user.fresh_file(fresh) as file:
            file.write(data)
        if user.machine.offset_s:
            moment = time.time_ns() + user.machine.offset_s * 1_000_000_000
            os.utime(fresh, ns=(moment, moment))
        try:
            os.rename(fresh, user.at(path))
        except OSError:
            os.unlink(fresh)
            raise
        value.is_excused = False
        settle_replaced(user, old, before, path, 'saved by rename', value)


def settle_replaced(user, old, before, path, deed, value=None):
    """What was replaced is what was read, if nothing has its name any more."""
    if os.fstat(old.fileno()).st_nlink == 0:
        user.oracle.ended(user.device, path, before, deed, value)
    else:
        user.oracle.blinded(user.device, os.path.basename(path))


def save_with_backup(user, files):
    """vim: the old file becomes the backup, a new one is written, the backup goes."""
    path = user.choose(files)
    backup = user.at(path) + '~'
    if os.path.lexists(backup):
        return False
    before = user.read(path)
    data, document = user.next_version(before, path)
    known = user.oracle.known(before)
    for one in {document, known.document if known else document}:
        user.oracle.name(one, os.path.basename(backup))
    os.rename(user.at(path), backup)
    before = whole(backup)
    value = user.oracle.write(data, user.device, document)
    try:
        put_visibly(user, path, data)
    except FileExistsError:
        # Somebody else's file came in between: the editor gives up, and its user throws the backup away.
        user.oracle.ended(user.device, path, whole(user.take(path + '~')), 'given up as a backup')
        return False
    gone = user.take(path + '~')
    user.oracle.ended(user.device, path, whole(gone), 'saved with backup', value)
    return True


def write_over(user, files):
    """A file is truncated and written anew, in place."""
    write_in_place(user, files, 0)


def write_slowly(user, files):
    """The same, with a pause in the middle."""
    if not user.machine.is_up or time.monotonic() - user.machine.started_at < SETTLED_S:
        return False
    return write_in_place(user, files, SLOW_PAUSE_S)


def write_in_place(user, files, pause_s):
    """Overwrites what stands there."""
    if user.machine.is_up and not user.machine.has_looked:
        return False
    path = user.choose(files)
    with open(user.at(path), 'r+b') as file:
        before = file.read()
        data, document = user.next_version(before, path)
        value = user.oracle.write(data, user.device, document)
        began = time.monotonic()
        with user.inside(file):
            file.seek(0)
            file.truncate()
            file.write(data[:len(data) // 2])
            if pause_s:
                file.flush()
                time.sleep(pause_s)
            file.write(data[len(data) // 2:])
            file.flush()
        is_late = time.monotonic() - began > SLOW_MOST_S
        inode = os.fstat(file.fileno()).st_ino
    finish_in_place(user, path, before, value, inode, 'written over')
    if is_late:
        user.oracle.torn(data[:len(data) // 2], value)


def append(user, files):
    """A file grows."""
    if user.machine.is_up and not user.machine.has_looked:
        return False
    path = user.choose(files)
    with open(user.at(path), 'r+b') as file:
        before = file.read()
        known = user.oracle.known(before)
        if not known or not values.is_blob(before) or len(before) > 12_000_000:
            return False
        number = user.oracle.number()
        data = values.extended(before, number, user.device, known.document, user.rng.choice([300, 3000, 40_000]))
        value = user.oracle.write(data, user.device, known.document)
        with user.inside(file):
            file.write(data[len(before):])
            file.flush()
        inode = os.fstat(file.fileno()).st_ino
    finish_in_place(user, path, before, value, inode, 'appended to')
    return True


def finish_in_place(user, path, before, value, inode, deed):
    """The user sees whether his bytes went to the file that has the name; if not, nobody need show them."""
    try:
        is_there = os.lstat(user.at(path)).st_ino == inode
    except OSError:
        is_there = False
    if is_there:
        user.oracle.ended(user.device, path, before, deed, value)
    else:
        # The program replaced or moved the file while it was open. The bytes went with it.
        value.is_excused = True
        user.oracle.astray(user.device, before, value)


def remove(user, files):
    """A file goes to the trash."""
    path = user.choose(files)
    user.oracle.ended(user.device, path, whole(user.take(path)), 'removed')


def unlink(user, files):
    """A file is unlinked."""
    path = user.choose(files)
    with open(user.at(path), 'rb') as old:
        before = old.read()
        os.unlink(user.at(path))
        settle_replaced(user, old, before, path, 'unlinked')


def remove_directory(user, _files):
    """A small directory goes with all that is in it."""
    small = [one for one in user.directories() if count_below(user.at(one)) <= 12]
    if not small:
        return False
    path = user.rng.choice(small)
    gone = user.take(path)
    for folder, _, files in os.walk(gone):
        for name in files:
            user.oracle.ended(user.device, os.path.join(path, name), whole(os.path.join(folder, name)), 'removed with its directory')
    return True


def count_below(root):
    """Files below a directory."""
    return sum(len(files) for _, _, files in os.walk(root))


def move(user, files):
    """A file gets another name or place."""
    path = user.choose(files)
    data = user.read(path)
    known = user.oracle.known(data)
    stem, end = os.path.splitext(os.path.basename(path))
    name = os.path.basename(path) if user.rng.random() < 0.5 else f'{stem.split(" ")[0]}-{user.oracle.number()}{end}'
    found = values.lines_of(data)
    document = found[0] if found else known.document if known else None
    if document is None:
        return False
    user.oracle.name(document, name)
    to = user.somewhere(name)
    user.oracle.stirred(user.device, path, data)
    user.oracle.moved(user.device, path, to)
    rename_new(user.at(path), user.at(to))
    moved = user.read(to)
    if moved != data:
        known = user.oracle.known(moved)
        if known:
            user.oracle.name(known.document, name)
            user.oracle.stirred(user.device, path, moved)
    return True


def rename_new(old, new):
    """A rename that replaces nothing."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), RENAME_NOREPLACE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), old)


def move_over(user, files):
    """A file is moved over another one."""
    path, target = user.choose(files), user.choose(files)
    if path == target:
        return False
    data = user.read(path)
    known = user.oracle.known(data)
    found = values.lines_of(data)
    document = found[0] if found else known.document if known else None
    if document is None:
        return False
    user.oracle.name(document, os.path.basename(target))
    user.oracle.stirred(user.device, path, data)
    user.oracle.moved(user.device, path, target)
    with open(user.at(target), 'rb') as old:
        before = old.read()
        os.rename(user.at(path), user.at(target))
        settle_replaced(user, old, before, target, 'moved over')
    return True


def move_directory(user, _files):
    """A directory gets another name or place."""
    directories = user.directories()
    path = user.choose(directories)
    name = os.path.basename(path) if user.rng.random() < 0.5 else f'box{user.oracle.number()}'
    into = user.rng.choice([*directories, '.'])
    if into == path or into.startswith(path + '/') or into.count('/') > 4:
        return False
    user.oracle.directory(name)
    for folder, _, files in os.walk(user.at(path)):
        for one in files:
            user.oracle.stirred(user.device, one, whole(os.path.join(folder, one)))
    to = os.path.normpath(os.path.join(into, name))
    user.oracle.moved(user.device, path, to)
    rename_new(user.at(path), user.at(to))
    return True


def touch(user, files):
    """A mode or a time changes."""
    path = user.choose(files)
    user.oracle.stirred(user.device, path, user.read(path))
    if user.rng.random() < 0.5:
        os.chmod(user.at(path), user.rng.choice([0o600, 0o644, 0o664, 0o755]))
    else:
        os.utime(user.at(path), ns=(user.rng.randrange(10 ** 18, 2 * 10 ** 18),) * 2)


def resolve(user, files):
    """A user looks at a conflict copy and takes it away, or gives it a name of its own."""
    copies = [path for path in files if ' (conflict from ' in path]
    if not copies:
        return False
    if user.rng.random() < 0.6:
        return remove(user, copies)
    return move(user, copies)


def link(user, _files):
    """A symbolic link is made or goes."""
    path = user.at(f'link{user.rng.randrange(6)}')
    if os.path.islink(path):
        os.unlink(path)
    elif not os.path.lexists(path):
        os.symlink(f'inbox/{user.oracle.number()}', path)


def make_directory(user, _files):
    """An empty directory."""
    user.somewhere(f'box{user.oracle.number()}')
    name = f'empty{user.oracle.number()}'
    user.oracle.directory(name)
    os.makedirs(user.at(user.somewhere(name)), exist_ok=True)


def burst(user, _files):
    """Many files at once, as from an archive."""
    name = f'burst{user.oracle.number()}'
    user.oracle.directory(name)
    os.makedirs(user.at(name))
    for _ in range(25):
        data, document = user.fresh()
        leaf = f'leaf{document}.bin'
        user.oracle.name(document, leaf)
        user.oracle.write(data, user.device, document)
        put_visibly(user, f'{name}/{leaf}', data)


DEEDS = (
    (make, 14), (make_text, 5), (make_shared, 4), (save_by_rename, 22), (save_with_backup, 10), (write_over, 12),
    (write_slowly, 3), (append, 7), (remove, 5), (unlink, 5), (remove_directory, 1), (move, 8), (move_over, 2),
    (move_directory, 3), (touch, 4), (resolve, 6), (link, 1), (make_directory, 2),
)


class Checkout:
    """A directory that one user switches between two branches, with git where there is one."""

    COUNT = 60

    def __init__(self, user):
        self.user, self.branch = user, -1
        self.branches = [self._branch(number) for number in range(2)]

    def _branch(self, number):
        rng, tree = random.Random(f'branch {number}'), {}
        for at in range(self.COUNT):
            if rng.random() < 0.75:
                common = at % 3 == 0
                data = values.blob(10 ** 9 + at * 2 + (0 if common else number), 0, 0, 300 + at * 40)
                tree[f'{"src" if at % 2 else f"lib{at % 7}"}/unit{at}.rs'] = data
        for data in tree.values():
            self.user.oracle.foreign(data)
        return tree

    def switch(self):
        """Checks the other branch out, as git does: what differs is unlinked and made anew."""
        with self.user.oracle.deed():
            self._switch()

    def _switch(self):
        self.branch = 1 - max(self.branch, 0) if self.branch >= 0 else 0
        root, wanted = self.user.at('project'), self.branches[self.branch]
        for path in sorted(set(self.branches[0]) | set(self.branches[1])):
            target, data = os.path.join(root, path), wanted.get(path)
            if os.path.exists(target) and (data is None or whole(target) != data):
                os.unlink(target)
            if data is not None and not os.path.exists(target):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                with self.user.fresh_file(target) as file:
                    file.write(data)
        for folder, folders, files in os.walk(root, topdown=False):
            if not os.listdir(folder):
                os.rmdir(folder)

    def expected(self):
        """What the directory must show on every device."""
        return self.branches[self.branch] if self.branch >= 0 else {}


def empty_trash(machine):
    """Forgets what was taken away."""
    shutil.rmtree(machine.trash)
    os.makedirs(machine.trash)
