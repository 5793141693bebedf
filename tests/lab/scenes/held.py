"""Mass changes: what is deleted or encrypted in great number is followed by nobody until a person says so, and what
people do in great number every day is not held up.

An encryptor is played here as the known ones work: in place, in place and renamed, or into a new file with the old one
deleted. With its guard switched off the device on which it happens stands for one that is taken over: the other one has to
hold alone. Trees are told apart by their bytes; the ledger is asked for what was signed.
"""

import os
import random
import shutil
import subprocess
import time

from kit import program, trees
from kit.scenes import check, scene
from scenes.guards import Pair, await_record, await_same, holds

# Before so much of it is done at a peer a mass change has to be held.
DONE_MOST = 0.05
# Longer than anything waits until it is quiet.
QUIET_S = 8
OFF = '[hold]\non = false\n'


def documents(root, count, seed):
    """Texts, and pictures with a head, some tags and noise, in directories of fifty."""
    rng = random.Random(seed)
    for number in range(count):
        folder = os.path.join(root, f'year{number // 50:03}')
        os.makedirs(folder, exist_ok=True)
        if number % 2:
            trees.write(os.path.join(folder, f'note{number:05}.txt'), trees.text(rng, rng.randrange(700, 6000)), rng=rng)
        else:
            trees.write(os.path.join(folder, f'photo{number:05}.jpg'), photo(rng, 'no tag', rng.randbytes(rng.randrange(2000, 9000))), rng=rng)


def photo(_, tag, pixels):
    """A picture file: a head, its tags in a field of their own, and what only a decoder can read."""
    return b'\xff\xd8\xff\xe1\x04\x00Exif\0\0' + tag.encode().ljust(1000, b'\0') + b'\xff\xda' + pixels


def paths(root):
    """All files below a root, `.dunlin` left out, in their order."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name != '.dunlin')
        found += [os.path.join(folder, name) for name in sorted(files)]
    return found


def lost(before, root):
    """How many of the files of a picture are not at their path with their bytes any more."""
    now = trees.picture(root)
    old = {path: entry for path, entry in before.items() if entry.kind == 'file'}
    return sum(path not in now or now[path].digest != entry.digest for path, entry in old.items())


def await_held(device, root, what, patience_s=60):
    """Waits until `held list` says that something waits for a word; gives its records."""
    limit = time.monotonic() + patience_s
    while True:
        listed = device.run('--json', 'held', 'list', root)
        records = [record for record in listed.records if record.get('word') == 'held']
        if records:
            check(listed.code == program.HELD, f'{what}: the exit code says so: {listed.describe()}')
            return records
        check(time.monotonic() < limit, f'{what}: it is held within {patience_s} s')
        time.sleep(0.2)


def await_told(device, root, count, patience_s=60):
    """Waits until all of a deletion is told, which is looked at in pieces; gives the record."""
    limit = time.monotonic() + patience_s
    while True:
        record = await_held(device, root, 'rm -rf')[0]
        if record['deleted'] == count:
            return record
        check(time.monotonic() < limit, f'all {count} are told within {patience_s} s: {record}')
        time.sleep(0.2)


def check_status(device, root, what):
    """`status` says that something is held, and what to do."""
    status = device.run('status', root)
    check(status.code == program.HELD, f'{what}: status ends with 4: {status.describe()}')
    for word in ('held:', 'dunlin held list', 'accept or reject'):
        check(word in status.output, f'{what}: status says "{word}": {status.output[-600:]}')


def check_why(device, root, name, how):
    """`status --why` says that one of the files is held, and what to do."""
    ended = device.run('--json', 'status', '--why', os.path.join(root, name))
    check(ended.code == program.HELD, f'{name}: it ends with 4: {ended.describe()}')
    reasons = ended.report['reasons']
    check([one['why'] for one in reasons] == how, f'{name} is {how}: {reasons}')
    check('dunlin held accept' in reasons[-1]['text'], f'{name}: what to do is said: {reasons}')


def few_lost(stage, before, root, what, whole=None):
    """Less than five in a hundred of what the mass change is about is done here."""
    of, gone = whole or len([e for e in before.values() if e.kind == 'file']), lost(before, root)
    stage.note(f'{what}: {gone} of {of} done at the peer')
    check(gone < of * DONE_MOST, f'{what}: {gone} of {of} are done at the peer')


def goes_on(pair, root, other, name):
    """A new file made here is soon there."""
    trees.write(os.path.join(root, name), name.encode())
    limit = time.monotonic() + 20
    while not holds(os.path.join(other, name), name.encode()):
        check(time.monotonic() < limit, f'{name}: new files go on')
        time.sleep(0.05)


def connected(running):
    """Waits until both have each other."""
    for one in running:
        await_record(one, lambda r: r.get('event') == 'connected', 'a connection')


def remove_most(root):
    """`rm -rf` of six directories in ten; gives how many files that were."""
    folders = sorted(name for name in os.listdir(root) if name.startswith('year'))
    count = len(paths(root))
    for name in folders[:-(len(folders) * 4 // 10)]:
        shutil.rmtree(os.path.join(root, name))
    return count - len(paths(root))


@scene('held: most of a folder is deleted')
def deleted(stage):
    """Held where it happens, through a restart; put back by one word; and, done again and meant, held at the other end."""
    root = stage.fresh('left')
    documents(root, stage.size(600, 5000), seed=41)
    pair = Pair(stage, root)
    before = pair.share()
    with pair.serving() as running:
        connected(running)
        count = remove_most(root)
        await_held(pair.here, root, 'rm -rf')
        time.sleep(QUIET_S)
        record = await_told(pair.here, root, count)
        check(record['author'] is None, f'it was done here: {record}')
        check_status(pair.here, root, 'rm -rf')
        check_why(pair.here, root, os.path.join('year000', 'note00001.txt'), ['missing-here', 'held-here'])
        check(pair.deletions() == 0, f'no deletion is signed, yet {pair.deletions()} were')
        few_lost(stage, before, pair.right, 'rm -rf, sender', count)
        goes_on(pair, root, pair.right, 'while-held')
    with pair.serving() as running:
        connected(running)
        time.sleep(QUIET_S)
        check_status(pair.here, root, 'after a restart')
        check(pair.deletions() == 0, 'no deletion is signed after a restart')
        done = pair.here.run('held', 'reject', root)
        check(done.code == program.IN_SYNC, f'it is rejected: {done.describe()}')
        await_same(root, pair.right, 'rejected: everything is back')
        check(lost(before, root) == 0, f'everything is back: {lost(before, root)} are not')
        count = remove_most(root)
        await_held(pair.here, root, 'rm -rf again')
        done = pair.here.run('held', 'accept', root)
        check(done.code == program.IN_SYNC, f'it is accepted: {done.describe()}')
        record = await_held(pair.there, pair.right, 'the other end')[0]
        check(record['author'] is not None, f'it says who did it: {record}')
        time.sleep(QUIET_S)
        few_lost(stage, before, pair.right, 'rm -rf, receiver', count)
        check_status(pair.there, pair.right, 'the other end')
        left = {os.path.relpath(path, root) for path in paths(root)}
        kept = next(name for name in (os.path.relpath(path, pair.right) for path in paths(pair.right)) if name not in left)
        check_why(pair.there, pair.right, kept, ['leaving', 'held-elsewhere'])
        goes_on(pair, root, pair.right, 'while-held-there')
        goes_on(pair, pair.right, root, 'from-there')
        done = pair.there.run('held', 'accept', pair.right)
        check(done.code == program.IN_SYNC, f'it is accepted there: {done.describe()}')
        await_same(root, pair.right, 'accepted at both ends')
        check(pair.there.run('status').code == program.IN_SYNC, 'nothing is held any more')


@scene('held: a folder is deleted bit by bit', long=True)
def trickle(stage):
    """Few files at a time: a window counts. First where it happens, then, with its guard off, at the other end alone."""
    root = stage.fresh('left')
    documents(root, stage.size(600, 2000), seed=42)
    pair = Pair(stage, root)
    before = pair.share()
    count = len(paths(root))
    with pair.serving() as running:
        connected(running)
        delete_slowly(stage, root, count, lambda: pair.here.run('held', 'list', root).code == program.HELD)
        await_held(pair.here, root, 'bit by bit')
        time.sleep(QUIET_S)
        few_lost(stage, before, pair.right, 'bit by bit, sender', count)
        pair.here.run('held', 'reject', root)
        await_same(root, pair.right, 'put back')
    before = trees.picture(pair.right)
    trees.write(os.path.join(stage.path('home-left'), 'config.toml'), OFF.encode())
    with pair.serving() as running:
        connected(running)
        count = len(paths(root))
        delete_slowly(stage, root, count, lambda: pair.there.run('held', 'list', pair.right).code == program.HELD)
        await_held(pair.there, pair.right, 'bit by bit, guard off')
        time.sleep(QUIET_S)
        few_lost(stage, before, pair.right, 'bit by bit, receiver', count)
        done = pair.there.run('held', 'reject', pair.right)
        check(done.code == program.IN_SYNC, f'it is rejected there: {done.describe()}')
        await_same(root, pair.right, 'the other end has it put back')


def delete_slowly(stage, root, count, is_held):
    """One file in a hundred at a time, twice a second, until it is held or six in ten are gone."""
    gone = 0
    for start in range(0, count * 6 // 10, max(count // 100, 1)):
        for path in paths(root)[:max(count // 100, 1)]:
            os.remove(path)
            gone += 1
        time.sleep(0.5)
        if is_held():
            break
    stage.note(f'held after {gone} of {count} deletions')


def in_place(path, rng):
    """The bytes are written over."""
    noise = rng.randbytes(os.path.getsize(path))
    with open(path, 'r+b') as file:
        file.write(noise)


def renamed(path, rng):
    """The bytes are written over and the file gets another name."""
    in_place(path, rng)
    os.rename(path, path + '.locked')


def made_anew(path, rng):
    """A new file has the bytes, and the old one goes."""
    with open(path + '.locked', 'wb') as file:
        file.write(rng.randbytes(os.path.getsize(path)))
    os.remove(path)


@scene('held: an encryptor', long=True)
def encryptor(stage):
    """Three ways of work, each against both ends, and against the other end alone; a word puts everything back."""
    for way in (in_place, renamed, made_anew):
        for has_guard in (True, False):
            encrypt(stage, way, has_guard)


def encrypt(stage, way, has_guard):
    """One attack in a folder of its own, of which it reaches four files in five."""
    what = f'{way.__name__}, {"both guards" if has_guard else "the other end alone"}'
    inner = type(stage)(stage.binary, stage.fresh(f'{way.__name__}-{has_guard}'), stage.full)
    root = inner.fresh('left')
    # A file in fifty, but no fewer than twenty, are held: a small folder would lose more than one in twenty.
    documents(root, stage.size(1000, 2500), seed=43)
    pair = Pair(inner, root)
    before = pair.share()
    victims = paths(root)[:len(paths(root)) * 4 // 5]
    if not has_guard:
        trees.write(os.path.join(inner.path('home-left'), 'config.toml'), OFF.encode())
    holder, held_root = (pair.here, root) if has_guard else (pair.there, pair.right)
    rng = random.Random(44)
    with pair.serving() as running:
        connected(running)
        for number, path in enumerate(victims):
            way(path, rng)
            if number % 20 == 0:
                time.sleep(0.1)
        await_held(holder, held_root, what)
        time.sleep(QUIET_S)
        few_lost(stage, before, pair.right, what, len(victims))
        check_status(holder, held_root, what)
        goes_on(pair, pair.right, root, 'while-held')
        done = holder.run('held', 'reject', held_root)
        check(done.code == program.IN_SYNC, f'{what}: it is rejected: {done.describe()}')
        await_same(root, pair.right, f'{what}: rejected', 90)
        gone = lost(before, pair.right)
        stage.note(f'{gone} of them in history alone')
        check(gone < len(victims) * DONE_MOST, f'{what}: what was held is back: {gone} are not')
    kept = trees.contents(pair.right)
    missing = {entry.digest for entry in before.values() if entry.kind == 'file'} - kept
    check(not missing, f'{what}: no content is lost, yet {len(missing)} are')


@scene('held: a day\'s mass work is not held', tools=('git',), long=True)
def ordinary(stage):
    """A first import, another branch checked out and back, new tags in all photos, directories that move, a build tree."""
    root = stage.fresh('left')
    documents(root, 60, seed=45)
    pair = Pair(stage, root)
    pair.share()
    with pair.serving() as running:
        connected(running)
        import_photos(root, stage.size(600, 4000))
        await_same(root, pair.right, 'a first import', 120)
        for photo_path in paths(os.path.join(root, 'import')):
            with open(photo_path, 'rb') as file:
                old = file.read()
            trees.write(photo_path, photo(None, 'a tag of today', old[old.index(b'\xff\xda') + 2:]))
        await_same(root, pair.right, 'new tags', 120)
        os.makedirs(os.path.join(root, 'archive'))
        for name in sorted(os.listdir(os.path.join(root, 'import'))):
            os.rename(os.path.join(root, 'import', name), os.path.join(root, 'archive', name))
        await_same(root, pair.right, 'directories that move', 120)
        repository(os.path.join(root, 'code'), stage.size(300, 2000))
        await_same(root, pair.right, 'a repository', 120)
        for branch in ('other', 'main', 'other', 'main', 'other', 'main', 'other')[:stage.size(3, 7)]:
            git(os.path.join(root, 'code'), 'checkout', '-q', branch)
            await_same(root, pair.right, f'git checkout {branch}', 120)
        for one in running:
            check(not any('"held":true' in line for line in one.lines), f'nothing was held at any time: {[line for line in one.lines if "held" in line][:2]}')
        for device, folder in ((pair.here, root), (pair.there, pair.right)):
            listed = device.run('held', 'list', folder)
            check(listed.code == program.IN_SYNC and not listed.output, f'nothing is held: {listed.describe()}')


def import_photos(root, count):
    """Many new files, as from a camera."""
    rng = random.Random(46)
    for number in range(count):
        folder = os.path.join(root, 'import', f'roll{number // 100:02}')
        os.makedirs(folder, exist_ok=True)
        trees.write(os.path.join(folder, f'dsc{number:05}.jpg'), photo(rng, '', rng.randbytes(4000)), rng=rng)


def git(folder, *words):
    """Runs git there."""
    identity = ('-c', 'user.name=lab', '-c', 'user.email=lab@example.org', '-c', 'gc.auto=0')
    subprocess.run(['git', '-C', folder, *identity, *words], check=True, capture_output=True)


def repository(folder, count):
    """Two branches: of the files one in five is gone in the other, one in five is new there, and half differ."""
    rng = random.Random(47)
    os.makedirs(folder)
    git(folder, 'init', '-q', '-b', 'main')
    for number in range(count):
        os.makedirs(os.path.join(folder, f'src{number // 50}'), exist_ok=True)
        trees.write(os.path.join(folder, f'src{number // 50}', f'f{number}.c'), trees.text(rng, 1500))
    git(folder, 'add', '.')
    git(folder, 'commit', '-q', '-m', 'main')
    git(folder, 'checkout', '-q', '-b', 'other')
    for number in range(count):
        path = os.path.join(folder, f'src{number // 50}', f'f{number}.c')
        if number % 5 == 0:
            os.remove(path)
            trees.write(path + '.new', trees.text(rng, 1500))
        elif number % 2:
            trees.write(path, trees.text(rng, 1600))
    git(folder, 'add', '-A')
    git(folder, 'commit', '-q', '-m', 'other')
    git(folder, 'checkout', '-q', 'main')
