"""Trees: made from a seed, seen as a picture, and compared.

A picture holds what dunlin promises to carry: names as bytes, kinds, contents, the modes of files and
directories, and the modification times of files in nanoseconds. It leaves `.dunlin` out.
"""

import hashlib
import os
import random
import stat

CONTROL = b'.dunlin'
MIB = 1 << 20
# The last second of 2023: old enough that no file looks freshly written to a scan.
PAST_S = 1_703_980_799
NANOSECONDS = 1_000_000_000

WORDS = [''.join(random.Random(seed).choices('etaoinshrdlu', k=2 + seed % 9)) for seed in range(900)]

ODD_NAMES = [
    b'with space', 'gr\u00fc\u00dfe \u6f22\u5b57 \U0001f426'.encode(), b'new\nline', b'escape\x1b[31mred', b'tab\tquote"\\',
    b'invalid-\xff\xfe-utf8', b'n' * 255, b'-dash', b'trailing dot.', b'CON', b'* ? <|>', b"semi;colon$(touch x)'",
]


class Entry:
    """What stands at one path."""

    def __init__(self, kind, digest, mode, time_ns):
        self.kind, self.digest, self.mode, self.time_ns = kind, digest, mode, time_ns

    def facts(self):
        """The facts that must be equal on two devices."""
        return self.kind, self.digest, self.mode, self.time_ns


def picture(root):
    """All paths below a root, as bytes, with what stands there."""
    root = os.fsencode(root)
    seen = {}
    for folder, folders, files in os.walk(root):
        if folder == root and CONTROL in folders:
            folders.remove(CONTROL)
        for name in folders + files:
            path = os.path.join(folder, name)
            seen[os.path.relpath(path, root)] = look(path)
    return seen


def look(path):
    """One entry as it stands."""
    facts = os.lstat(path)
    mode = stat.S_IMODE(facts.st_mode)
    if stat.S_ISLNK(facts.st_mode):
        return Entry('link', os.readlink(path), None, None)
    if stat.S_ISDIR(facts.st_mode):
        return Entry('directory', None, mode, None)
    if stat.S_ISREG(facts.st_mode):
        return Entry('file', digest(path), mode, facts.st_mtime_ns)
    return Entry('special', None, None, None)


def digest(path):
    """The digest of a file's bytes."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'blake2b').digest()


def difference(left, right, ignore=()):
    """The differences of two pictures, in words, at most a dozen."""
    found = []
    for path in sorted(left.keys() | right.keys()):
        if path in ignore:
            continue
        ours, theirs = left.get(path), right.get(path)
        if ours is None or theirs is None:
            found.append(f'{path!r} only {"left" if ours else "right"}')
        elif ours.facts() != theirs.facts():
            names = ('kind', 'content', 'mode', 'time')
            what = [name for name, one, other in zip(names, ours.facts(), theirs.facts()) if one != other]
            found.append(f'{path!r} differs in {", ".join(what)}')
    return found[:12]


def contents(root):
    """The digests of all regular files below a root, `.dunlin` and all."""
    root = os.fsencode(root)
    return {digest(os.path.join(folder, name)) for folder, _, files in os.walk(root) for name in files
            if os.path.isfile(os.path.join(folder, name)) and not os.path.islink(os.path.join(folder, name))}


def write(path, data, mode=0o644, rng=None):
    """Writes a file as a user's program would; with `rng` its time lies in the past."""
    with open(path, 'wb') as file:
        file.write(data)
    os.chmod(path, mode)
    if rng:
        age(path, rng)


def age(path, rng):
    """Sets a time in the past with all nine digits of its fraction."""
    moment = (PAST_S - rng.randrange(10_000_000)) * NANOSECONDS + rng.randrange(NANOSECONDS)
    os.utime(path, ns=(moment, moment), follow_symlinks=False)


def text(rng, size):
    """Lines of words, of exactly that many bytes."""
    out = bytearray()
    while len(out) < size:
        out += (' '.join(rng.choices(WORDS, k=4000)) + f' {rng.getrandbits(40):010x}\n').encode()
    return bytes(out[:size])


def big_text(path, size, seed):
    """A text file of any size, written piece by piece."""
    rng = random.Random(seed)
    with open(path, 'wb') as file:
        for start in range(0, size, MIB):
            file.write(text(rng, min(MIB, size - start)))
    age(path, rng)


def big_binary(path, size, seed):
    """An incompressible file of any size, written piece by piece."""
    rng = random.Random(seed)
    with open(path, 'wb') as file:
        for start in range(0, size, 8 * MIB):
            file.write(rng.randbytes(min(8 * MIB, size - start)))
    age(path, rng)


def small_files(root, count, seed):
    """Directories of a hundred files of 1 to 8 KiB each."""
    rng = random.Random(seed)
    for number in range(count):
        folder = os.path.join(root, f'shelf{number // 100:04}')
        os.makedirs(folder, exist_ok=True)
        size = rng.randrange(1024, 8192)
        data = text(rng, size) if number % 2 else rng.randbytes(size)
        write(os.path.join(folder, f'leaf{number:06}.{"txt" if number % 2 else "bin"}'), data, rng=rng)


def mixed(root, seed, files=120):
    """A small tree with all that is odd in it: kinds, modes, links, sizes, names."""
    rng = random.Random(seed)
    small_files(os.path.join(root, 'papers'), files, seed)
    for number, name in enumerate(ODD_NAMES):
        folder = os.fsencode(os.path.join(root, 'odd'))
        os.makedirs(folder, exist_ok=True)
        write(os.path.join(folder, name), f'odd {number}\n'.encode(), rng=rng)
    modes = os.path.join(root, 'modes')
    os.makedirs(modes)
    for mode in (0o400, 0o444, 0o600, 0o640, 0o700, 0o755, 0o777):
        write(os.path.join(modes, f'mode{mode:o}'), f'mode {mode:o}\n'.encode(), mode, rng)
    os.makedirs(os.path.join(root, 'empty', 'deeper', 'deepest'))
    os.makedirs(os.path.join(root, *['deep'] * 40))
    write(os.path.join(root, 'nothing'), b'', rng=rng)
    write(os.path.join(root, 'tool.sh'), b'#!/bin/sh\nexit 0\n', 0o755, rng)
    write(os.path.join(root, 'picture.raw'), rng.randbytes(3 * MIB), rng=rng)
    write(os.path.join(root, 'book.txt'), text(rng, 2 * MIB), rng=rng)
    os.symlink('tool.sh', os.path.join(root, 'link-to-file'))
    os.symlink('papers/shelf0000', os.path.join(root, 'link-to-directory'))
    os.symlink('/nowhere/at all', os.path.join(root, 'link-to-nothing'))
    os.symlink(b'odd/invalid-\xff\xfe-utf8', os.fsencode(os.path.join(root, 'link-to-odd')))
