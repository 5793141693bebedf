"""What rules say is left alone: it is not carried, not deleted anywhere, and not looked into."""

import os
import time

from kit import program, trees
from kit.program import Device
from kit.scenes import check, scene

PATIENCE_S = 30


def wait_for(what, words):
    """Waits until something holds."""
    limit = time.monotonic() + PATIENCE_S
    while not what():
        check(time.monotonic() < limit, words)
        time.sleep(0.05)


def write(root, path, text):
    """A file, with the directories above it."""
    at = os.path.join(root, path)
    os.makedirs(os.path.dirname(at), exist_ok=True)
    with open(at, 'w', encoding='utf-8') as file:
        file.write(text)


@scene('ignore: rules are shared, carry nothing, and delete nothing, whether they come or go')
def rules(stage):
    """Two devices serve; rules are added and taken back, and a directory with junk in it is deleted."""
    left, right = stage.path('left'), stage.path('right')
    here, there = Device(stage.binary, stage.path('home-left')), Device(stage.binary, stage.path('home-right'))
    for path in ('src/a.c', 'src/a.o', 'build/out', 'notes.txt', 'gone/x'):
        write(left, path, path)
    write(left, '.dunlinignore', '*.o\n{bad\n')
    write(left, '.DS_Store', 'junk')
    os.makedirs(right)
    serving = here.start('--json', 'share', left, '--listen', '127.0.0.1:0')
    joined = there.start('--json', 'join', serving.record_with('invite', 120)['invite'], right, '--listen', '127.0.0.1:0')
    on = lambda path: os.path.join(right, path)
    try:
        wait_for(lambda: all(map(os.path.exists, map(on, ('src/a.c', 'build/out', 'notes.txt', 'gone/x')))), 'the first sync')
        check(not os.path.exists(on('src/a.o')) and not os.path.exists(on('.DS_Store')), 'what is ignored is not carried')
        bad = [line for line in serving.lines if '.dunlinignore:2' in line]
        check(bad, 'a line that is no pattern is told')

        told = here.run('--json', 'ignore', 'explain', os.path.join(left, 'src/a.o')).report
        check((told['ignored'], told['file'], told['line']) == (True, '.dunlinignore', 1), f'it is explained: {told}')
        done = here.run('--json', 'ignore', 'add', 'build/', '--dir', left)
        check(done.code == program.IN_SYNC, f'a rule is added: {done.describe()}')
        check(here.run('ignore', 'add', '{x', '--dir', left).code == program.USAGE, 'what is no pattern is refused')
        wait_for(lambda: b'build/' in open(on('.dunlinignore'), 'rb').read(), 'the rule is shared')
        time.sleep(2)
        write(left, 'build/new', 'new')
        os.unlink(os.path.join(left, 'build/out'))
        write(right, 'build/theirs', 'theirs')
        write(left, 'marker', '1')
        wait_for(lambda: os.path.exists(on('marker')), 'a later file')
        time.sleep(2)
        check(os.path.exists(on('build/out')), 'what is deleted while it is ignored stays at the other device')
        check(not os.path.exists(on('build/new')), 'what is made while it is ignored is not carried')

        with open(os.path.join(left, '.dunlinignore'), 'w', encoding='utf-8') as file:
            file.write('*.o\n')
        wait_for(lambda: os.path.exists(on('build/new')), 'what was made is carried once it is not ignored')
        wait_for(lambda: os.path.exists(os.path.join(left, 'build/theirs')), 'from both sides')
        wait_for(lambda: os.path.exists(os.path.join(left, 'build/out')), 'what is missing comes back and is no deletion')

        write(right, 'gone/.DS_Store', 'junk')
        os.unlink(os.path.join(left, 'gone/x'))
        os.rmdir(os.path.join(left, 'gone'))
        wait_for(lambda: not os.path.exists(on('gone')), 'a directory goes with the junk that is in it')
        pictures = [trees.picture(root) for root in (left, right)]
        carried = [{path: entry.facts() for path, entry in seen.items() if not path.endswith((b'.o', b'.DS_Store'))}
                   for seen in pictures]
        check(carried[0] == carried[1], 'both show the same')
    finally:
        for running in (serving, joined):
            running.kill()
