"""Which files a traced run named, and how: what strace wrote, judged for a folder.

A name inside of a folder is good if it is one component, relative to a directory that is held open, and no call follows a link
at it. A path leads through directories that somebody may have replaced since.
"""

import os
import re

# With paths shown for descriptors, whole strings, and each thread.
TRACER = ('strace', '-D', '-f', '-y', '-s', '4096', '-e', 'trace=%file')
CALL = re.compile(r'^\d+ +(\w+)\((.*)$')
STRING = r'"((?:[^"\\]|\\.)*)"'
AT = re.compile(r'(AT_FDCWD|\d+)<([^>]*)>, ' + STRING)
FIRST = re.compile(r'^' + STRING)
SECOND = re.compile(r'^' + STRING + ', ' + STRING)
# Their first string is what a link says, and no name of a file.
TARGETS = ('symlink', 'symlinkat')
# They follow the last name unless they are told not to.
FOLLOWING = {
    'open': 'O_NOFOLLOW', 'openat': 'O_NOFOLLOW', 'newfstatat': 'AT_SYMLINK_NOFOLLOW', 'statx': 'AT_SYMLINK_NOFOLLOW',
    'utimensat': 'AT_SYMLINK_NOFOLLOW', 'fchmodat2': 'AT_SYMLINK_NOFOLLOW', 'fchownat': 'AT_SYMLINK_NOFOLLOW',
    'fchmodat': None, 'faccessat': None, 'name_to_handle_at': None,
}
BENEATH = ('RESOLVE_BENEATH', 'RESOLVE_NO_SYMLINKS')


def tracer(path):
    """The wrapper that writes a trace there."""
    return [*TRACER, '-o', path]


def is_over(path):
    """Whether the tracer has written the end of all threads."""
    with open(path, errors='replace') as lines:
        last = lines.readlines()[-1:]
    return bool(last) and ('+++ exited with' in last[0] or '+++ killed by' in last[0])


def judge(path, root, by_path=()):
    """(calls inside of the folder that are relative to a held directory, those that are not); looks at a path of `by_path` are left
    out, calls that could change something there are not."""
    good, bad = 0, []
    with open(path, errors='replace') as lines:
        for line in lines:
            found = CALL.match(line)
            if found:
                call, rest = found.groups()
                for where, name in names(call, rest):
                    verdict = judge_name(call, rest, where, name, root, by_path)
                    good += verdict is True
                    if verdict is False:
                        bad.append(line.strip()[:300])
    return good, bad


def names(call, rest):
    """The names that a call gives: the held directory, or None, and the name."""
    if call in TARGETS:
        at = AT.findall(rest)
        plain = [] if at else [found.group(2) for found in [SECOND.match(rest)] if found]
    else:
        at = AT.findall(rest)
        both = SECOND.match(rest)
        plain = list(both.groups()) if both else [found.group(1) for found in [FIRST.match(rest)] if found]
    held = [(None, os.path.join(where, name)) if handle == 'AT_FDCWD' else (where, name) for handle, where, name in at]
    return [*held, *((None, name) for name in plain)]


def judge_name(call, rest, where, name, root, by_path):
    """True if it is inside and good, False if it is inside and not, None if it is outside."""
    if call == 'inotify_add_watch':
        # There is no other way to name it, and what it tells decides nothing.
        return None
    if where is None or os.path.isabs(name):
        if not is_inside(name, root):
            return None
        return None if name in by_path and is_look(call, rest) else False
    if not is_inside(where, root):
        return False if is_inside(os.path.join(where, name), root) else None
    if call == 'openat2':
        return all(word in rest for word in BENEATH) or '<unfinished' in rest
    if '/' in name or name == '..':
        return False
    word = FOLLOWING.get(call, '')
    return word is not None and (name in ('', '.') or word in rest or '<unfinished' in rest)


def is_inside(path, root):
    """True of a root and of all in it."""
    return path == root or path.startswith(root + '/')


def is_look(call, rest):
    """True of a call that changes nothing."""
    if call in ('open', 'openat'):
        return not re.search(r'O_(CREAT|WRONLY|RDWR|TRUNC)', rest)
    return call in ('stat', 'lstat', 'newfstatat', 'statx', 'access', 'faccessat', 'faccessat2', 'readlink', 'readlinkat', 'statfs')
