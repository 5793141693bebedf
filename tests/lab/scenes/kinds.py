"""Changes of every kind that programs make: links, holes, types, branches of a repository, an editor, a database."""

import os
import shutil
import sqlite3
import subprocess
import threading
import time

from kit import program, trees
from kit.scenes import check, scene
from kit.trees import MIB

from .control import wait_for
from .watch import NEEDS, pair, some

# An editor's own ways, whatever its user has set.
VIM = ('vim.tiny', '-u', 'NONE', '-N', '-es', '--cmd')


@scene('kinds: types, links, times and empty directories', root=True, tools=NEEDS)
def things(stage):
    """One thing becomes another under its name, at either side."""
    with pair(stage, 300) as both:
        for root in (both.left, both.right):
            side = os.path.basename(root)
            for deed in (types, hard_links, empty, times):
                deed(both, os.path.join(root, f'{side}-'))
        both.stop()


def types(both, at):
    """File, directory, link and file again."""
    path = at + 'thing'
    trees.write(path, b'a file')
    both.follow('a file is made')
    os.remove(path)
    os.makedirs(os.path.join(path, 'inside'))
    trees.write(os.path.join(path, 'inside', 'file'), b'in a directory')
    both.follow('a file becomes a directory')
    os.rename(path, path + '.moved')
    os.symlink('thing.moved/inside', path)
    both.follow('a directory becomes a link')
    os.remove(path)
    trees.write(path, b'a file again')
    both.follow('a link becomes a file')
    os.symlink('to nothing at all', at + 'dangling')
    both.follow('a link to nothing is made')


def hard_links(both, at):
    """Two names of one file: what one of them gets from a peer or by a rename is its own, and an edit in place is one of both."""
    root, side = os.path.split(at)
    there = os.path.join(both.right if root == both.left else both.left, side)
    trees.write(at + 'first', b'shared bytes')
    os.link(at + 'first', at + 'second')
    both.follow('a hard link is made')
    mode = os.stat(at + 'second').st_mode
    os.chmod(there + 'first', 0o600)
    both.follow('a mode comes for one of two names')
    check(os.stat(at + 'first').st_mode != mode, 'the name that it is for has it')
    check(os.stat(at + 'second').st_mode == mode, 'the other name has its own mode')
    os.remove(at + 'second')
    os.link(at + 'first', at + 'second')
    both.follow('a hard link is made again')
    with open(at + 'first', 'r+b') as file:
        file.write(b'SHARED')
    both.follow('a file with two names is edited in place', 5)
    check(read(there + 'second') == b'SHARED bytes', 'the edit came to the peer by both names')
    trees.write(there + 'first', b'from the peer')
    both.follow('a version comes for one of two names')
    check(read(at + 'second') == b'SHARED bytes', 'the other name keeps its bytes')
    with open(at + 'second', 'r+b') as file:
        file.write(b'edited')
    both.follow('the other name is edited in place')
    history = os.path.join(root, '.dunlin', 'history')
    kept = [os.path.join(history, name) for name in os.listdir(history)]
    check(any(read(path) == b'SHARED bytes' for path in kept if not os.path.islink(path)), 'the history keeps its bytes')
    os.remove(at + 'second')
    os.link(at + 'first', at + 'second')
    both.follow('a third hard link is made')
    trees.write(at + 'second' + '.new', b'bytes of its own')
    os.rename(at + 'second' + '.new', at + 'second')
    both.follow('one of two names is edited')
    check(read(at + 'first') == b'from the peer', 'the other name keeps what it had')


def read(path):
    """The bytes of a file."""
    with open(path, 'rb') as file:
        return file.read()


def empty(both, at):
    """Directories with nothing in them come and go."""
    os.makedirs(os.path.join(at + 'hollow', 'a', 'b'))
    trees.write(at + 'nothing', b'')
    both.follow('empty things are made')
    os.rmdir(os.path.join(at + 'hollow', 'a', 'b'))
    both.follow('an empty directory goes')


def times(both, at):
    """A time before 1970, one far ahead, and a fraction of a second."""
    trees.write(at + 'old', b'old')
    for stamp in (-86_400 * 10**9, 4_000_000_000 * 10**9, 1_234_567_890_123_456_789):
        os.utime(at + 'old', ns=(stamp, stamp))
        both.follow(f'the time is set to {stamp} ns')


@scene('kinds: holes stay holes', root=True, tools=NEEDS)
def holes(stage):
    """An image of a disk that is nearly empty: its holes are neither sent nor filled."""
    with pair(stage, 50) as both:
        size = stage.size(256, 4096) * MIB
        source, there = os.path.join(both.left, 'disk.img'), os.path.join(both.right, 'disk.img')
        # Made elsewhere: it is there at once, whole.
        made = stage.path('disk.img')
        with open(made, 'wb') as file:
            file.truncate(size)
            for part in range(8):
                file.seek(size // 8 * part + 12_345)
                file.write(b'block of data' * 300)
        os.rename(made, source)
        both.follow('an image with holes is copied', 120)
        took = os.stat(there).st_blocks * 512
        stage.note(f'{size // MIB} MiB: {os.stat(source).st_blocks // 2} KiB on the disk here, {took // 1024} KiB there')
        check(took <= 8 * 64 * 1024, f'the copy of {size} bytes has holes, yet {took} bytes are on the disk')
        with open(source, 'r+b') as file:
            file.seek(size // 2)
            file.write(b'more')
        both.follow('a byte is written into a hole', 120)
        took = os.stat(there).st_blocks * 512
        check(took <= 9 * 64 * 1024, f'the edited copy has holes, yet {took} bytes are on the disk')
        both.stop()


@scene('kinds: git switches branches', root=True, tools=(*NEEDS, 'git'), long=True)
def repository(stage):
    """Two branches with hundreds of files between them, the repository in the folder as well; it stays sound at both ends."""
    with pair(stage, 50) as both:
        here, there = (os.path.join(root, 'project') for root in (both.left, both.right))
        files = stage.size(300, 3000)
        os.makedirs(here)
        git(here, 'init', '--quiet', '--initial-branch', 'main')
        for branch, offset in (('main', 0), ('feature', files // 2)):
            if offset:
                git(here, 'switch', '--quiet', '--create', branch)
                git(here, 'rm', '--quiet', '-r', 'src/d1', 'src/d2')
            for number in range(offset, offset + files):
                os.makedirs(os.path.join(here, 'src', f'd{number % 10}'), exist_ok=True)
                trees.write(os.path.join(here, 'src', f'd{number % 10}', f'f{number}'), f'{branch} {number}\n'.encode() * 40)
            git(here, 'add', '--all')
            git(here, 'commit', '--quiet', '--message', branch)
        both.follow('a repository is made', 60)
        for branch in ('main', 'feature', 'main'):
            git(here, 'switch', '--quiet', branch)
            both.follow(f'{branch} is checked out', 60)
        git(here, 'merge', '--quiet', '--no-edit', '--strategy-option', 'theirs', 'feature')
        both.follow('branches are merged', 60)
        if stage.full:
            pack(both, here)
        check(git(there, 'status', '--porcelain') == '', 'nothing differs from its commit at the peer')
        git(there, 'fsck', '--strict')
        both.stop()


def pack(both, place):
    """Nearly all files of the folder go at once: that is held until somebody at either end says yes."""
    git(place, 'gc', '--quiet')
    for device, root in ((both.sharer, both.left), (both.joiner, both.right)):
        limit = time.monotonic() + 60
        while device.run('held', 'list', root).code != program.HELD:
            check(time.monotonic() < limit, f'what packing removes is held within 60 s in {root}')
            time.sleep(0.2)
        check(device.run('held', 'accept', root).code == 0, 'it is accepted')
    both.follow('objects are packed', 60)


def git(root, *words):
    """Runs it as nobody in particular; what it printed."""
    who = ('-c', 'user.name=Lab', '-c', 'user.email=lab@example.org', '-c', 'safe.directory=*', '-c', 'gc.auto=0')
    done = subprocess.run(('git', *who, *words), cwd=root, capture_output=True, text=True)
    check(done.returncode == 0, f'git {words[0]}: {done.stderr}')
    return done.stdout


@scene('kinds: a tree that is built', root=True, tools=(*NEEDS, 'cargo'))
def built(stage):
    """Cargo's own output is in the folder: thousands of files come and go within a second, with several names each. What is built at
    one end runs at the other, again after an edit, and the other way round; nobody makes a conflict of it."""
    with pair(stage, 600) as both:
        here, there = (os.path.join(root, 'project') for root in (both.left, both.right))
        crates = [f'part{number}' for number in range(stage.size(3, 12))]
        for name in crates:
            write_crate(os.path.join(here, name), 'src/lib.rs', '', f'pub fn word() -> &\'static str {{ "{name} 0" }}\n')
        needs = ''.join(f'{name} = {{ path = "{name}" }}\n' for name in crates)
        words = ', '.join(f'{name}::word()' for name in crates)
        write_crate(here, 'src/main.rs', needs, f'fn main() {{ println!("{{}}", [{words}].join(", ")); }}\n')
        done, waits = ['0'] * len(crates), []
        rounds = ((here, there), (there, here), (here, there), (here, there))
        for round_, (root, other) in enumerate(rounds[:stage.size(2, 4)]):
            if round_:
                part = round_ % len(crates)
                done[part] = str(round_)
                lines = f'pub fn word() -> &\'static str {{ "{crates[part]} {round_}" }}\n'
                trees.write(os.path.join(root, crates[part], 'src', 'lib.rs'), lines.encode())
            build(root)
            began = time.monotonic()
            both.follow(f'a tree is built, round {round_}', 120)
            waits.append(f'{time.monotonic() - began:.1f}')
            ran = subprocess.run((os.path.join(other, 'target', 'debug', 'project'),), capture_output=True, text=True)
            wanted = ', '.join(f'{name} {number}' for name, number in zip(crates, done))
            check(ran.stdout.strip() == wanted, f'what was built at one end runs at the other: {ran.stdout!r} {ran.stderr!r}')
        count = sum(len(files) for *_, files in os.walk(os.path.join(here, 'target')))
        stage.note(f'{count} files in the end; all there after {", ".join(waits)} s')
        if stage.full:
            shutil.rmtree(os.path.join(there, 'target', 'debug', 'incremental'))
            both.follow('a part of it is cleaned', 60)
        ended = both.stop()
        check(all(one.code == program.IN_SYNC for one in ended), f'nobody made a conflict of it: {[one.describe() for one in ended]}')


def write_crate(at, path, needs, text):
    """A crate of one file."""
    os.makedirs(os.path.join(at, 'src'))
    head = f'[package]\nname = "{os.path.basename(at)}"\nversion = "0.0.0"\nedition = "2021"\n'
    trees.write(os.path.join(at, 'Cargo.toml'), f'{head}[dependencies]\n{needs}'.encode())
    trees.write(os.path.join(at, path), text.encode())


def build(at):
    """Builds a crate, its output below it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(('CARGO_', 'RUST'))}
    done = subprocess.run(('cargo', 'build', '--quiet', '--offline'), cwd=at, env=environment, capture_output=True, text=True)
    check(done.returncode == 0, f'it is built: {done.stderr}')


@scene('kinds: a live database', root=True, tools=NEEDS)
def database(stage):
    """SQLite commits all the time, with its journal and with a log ahead; once it rests, both ends are the same and sound."""
    with pair(stage, 50) as both:
        for mode in ('DELETE', 'WAL'):
            path = os.path.join(both.left, f'{mode.lower()}.db')
            rows = write_rows(path, mode, stage.size(150, 3000))
            both.follow(f'a database with {mode} comes to rest', 60)
            copy = sqlite3.connect(f'file:{os.path.join(both.right, os.path.basename(path))}?immutable=1', uri=True)
            with copy:
                check(copy.execute('pragma integrity_check').fetchone() == ('ok',), f'{mode}: the copy is sound')
                check(copy.execute('select count(*) from page').fetchone() == (rows,), f'{mode}: all rows are there')
            copy.close()
        wait_for(lambda: both.sharer.run('status', both.left).code == program.IN_SYNC, 'what changed all the time is found at rest')
        ended = both.stop()
        check(all(one.code == program.IN_SYNC for one in ended), f'nobody made a conflict of it: {[one.describe() for one in ended]}')


def write_rows(path, mode, commits):
    """Commits so many times from another thread; returns the number of rows."""
    failed = []

    def work():
        try:
            data = sqlite3.connect(path)
            data.execute(f'pragma journal_mode={mode}')
            data.execute('create table page (id integer primary key, bytes blob)')
            for number in range(commits):
                with data:
                    data.execute('insert into page (bytes) values (?)', (os.urandom(3000),))
                    data.execute('update page set bytes = ? where id = ?', (os.urandom(3000), number // 2 + 1))
            data.close()
        except sqlite3.Error as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    check(not failed, f'the database writes: {failed}')
    return commits


@scene('kinds: vim saves', root=True, tools=(*NEEDS, 'vim.tiny'))
def editor(stage):
    """The real editor, in each of its ways to write, at both ends in turn; never two files, never a conflict."""
    with pair(stage, 200) as both:
        for round_, way in enumerate(('set backupcopy=no', 'set backupcopy=yes', 'set nowritebackup', 'set backup')):
            for root in (both.left, both.right):
                path = some(root, 101)
                words = ('-c', '%d', '-c', f'normal i{way} {round_}', '-c', 'w!', '-c', 'q!')
                done = subprocess.run((*VIM, way, *words, path), capture_output=True, text=True)
                check(done.returncode == 0, f'vim with {way}: {done.stderr}')
                both.follow(f'vim saves with {way}')
                with open(path) as file:
                    check(file.read() == f'{way} {round_}\n', f'{way}: what was saved stays')
        both.stop()
        left = [name for name in os.listdir(os.path.dirname(some(both.left, 101))) if 'conflict' in name]
        check(not left, f'no conflict copy: {left}')
