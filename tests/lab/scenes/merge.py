"""Two devices change one text: parts that do not meet become one file; parts that do are a conflict, which
`conflicts list`, `diff` and `resolve` show and end.
"""

import os

from kit import program, trees
from kit.network import PORT, Cable
from kit.program import Device
from kit.scenes import check, scene

LINES = [f'line {number}\n' for number in range(1, 21)]


class World:
    """Two devices that have shared a folder with one text, and are apart from each other now."""

    def __init__(self, stage, cable, text):
        self.cable = cable
        self.shared, self.joined = stage.fresh('shared'), stage.fresh('joined')
        self.sharer = Device(stage.binary, stage.path('home-sharer'), cable.left)
        self.joiner = Device(stage.binary, stage.path('home-joiner'), cable.right)
        write(self.shared, text)
        running = self.share()
        invite = running.record_with('invite')['invite']
        done = self.joiner.run('--json', 'join', invite, self.joined, '--once', '--listen', self.at(cable.right))
        check(done.code == program.IN_SYNC, f'the first sync ends in sync: {done.describe()}')
        running.wait(60)

    def at(self, namespace):
        """The address to bind there."""
        return f'{self.cable.addresses[namespace]}:{PORT}'

    def share(self):
        """The first device serves until one member is in sync."""
        return self.sharer.start('--json', 'share', self.shared, '--once', '--listen', self.at(self.cable.left))

    def meet(self):
        """They see each other again, once; gives how it ended for the second."""
        running = self.share()
        running.record_with('invite')
        done = self.joiner.run('--json', 'sync', self.joined, '--listen', self.at(self.cable.right))
        running.wait(60)
        unlike = trees.difference(trees.picture(self.shared), trees.picture(self.joined))
        check(not unlike, f'the trees are equal: {unlike}')
        return done

    def names(self):
        """What is in the folder."""
        return sorted(name for name in os.listdir(self.joined) if name != '.dunlin')


def write(root, text):
    """Overwrites the text in place, as most programs do."""
    with open(os.path.join(root, 'notes.txt'), 'w', encoding='utf-8', newline='') as file:
        file.write(text)


def read(root, name='notes.txt'):
    """A text as it stands."""
    with open(os.path.join(root, name), encoding='utf-8', newline='') as file:
        return file.read()


def with_line(number, line, end='\n'):
    """The text with another line of that number."""
    return ''.join(LINES[:number - 1]) + line + end + ''.join(LINES[number:])


@scene('merge: two devices change other lines of one text', root=True, tools=('ip',))
def merged(stage):
    """One file with both changes, no copy, the same bytes and time on both, and no second merge."""
    with Cable() as cable:
        here = World(stage, cable, ''.join(LINES))
        write(here.shared, with_line(3, 'three, said by the first'))
        write(here.joined, with_line(18, 'eighteen, said by the second'))
        done = here.meet()
        check(done.code == program.IN_SYNC, f'it ends in sync, without a conflict: {done.describe()}')
        check(here.names() == ['notes.txt'], f'there is one file: {here.names()}')
        lines = list(LINES)
        lines[2], lines[17] = 'three, said by the first\n', 'eighteen, said by the second\n'
        check(read(here.shared) == ''.join(lines), f'it has both changes: {read(here.shared)}')
        again = here.meet()
        check(again.code == program.IN_SYNC and again.total('entries_signed') == 0, f'and it is stable: {again.describe()}')
        log = here.joiner.run('log', os.path.join(here.joined, 'notes.txt'))
        check('merged 2 versions of notes.txt' in log.output, f'the log tells of it: {log.describe()}')
        kept = {read(os.path.join(root, '.dunlin', 'history'), name)
                for root in (here.shared, here.joined) for name in os.listdir(os.path.join(root, '.dunlin', 'history'))}
        check(with_line(3, 'three, said by the first') in kept, 'what the first had written is in history')
        check(with_line(18, 'eighteen, said by the second') in kept, 'what the second had written is in history')
        # Each goes on from the merge.
        write(here.shared, read(here.shared) + 'one line more\n')
        write(here.joined, 'a title\n' + read(here.joined))
        check(here.meet().code == program.IN_SYNC, 'they merge again')
        check(read(here.joined) == 'a title\n' + ''.join(lines) + 'one line more\n', 'title and last line are there')


@scene('merge: the same line is a conflict, which is listed, shown and resolved', root=True, tools=('ip',))
def resolved(stage):
    """A copy at first; then each way to keep something, from either end, and exit 0 at the end."""
    with Cable() as cable:
        here = World(stage, cable, ''.join(LINES))
        for keep in ('winner', 'copy', 'both'):
            conflict(here, keep)
            copy = listed(here)
            winner_text, copy_text = read(here.joined), read(here.joined, copy)
            shown_diff(here, copy)
            device, root = (here.joiner, here.joined) if keep != 'copy' else (here.sharer, here.shared)
            name = 'notes.txt' if keep == 'winner' else copy
            done = device.run('--json', 'conflicts', 'resolve', os.path.join(root, name), '--keep', keep)
            check(done.code == program.IN_SYNC, f'keep {keep}: {done.describe()}')
            check(read(root) == (copy_text if keep == 'copy' else winner_text), f'keep {keep}: the file is right at once')
            check(os.path.exists(os.path.join(root, copy)) == (keep == 'both'), f'keep {keep}: the copy is right at once')
            gone = {'winner': copy_text, 'copy': winner_text}.get(keep)
            history = os.path.join(root, '.dunlin', 'history')
            kept = [read(history, name) for name in os.listdir(history)]
            check(gone is None or gone in kept, f'keep {keep}: what went is in history')
            after = here.meet()
            check(after.code == program.IN_SYNC, f'keep {keep}: no conflict is left: {after.describe()}')
            check(len(here.names()) == (2 if keep == 'both' else 1), f'keep {keep}: {here.names()}')
        for device in (here.joiner, here.sharer):
            empty = device.run('--json', 'conflicts', 'list')
            check(empty.code == program.IN_SYNC and not empty.records, f'nothing is listed: {empty.describe()}')
        wrong = here.joiner.run('conflicts', 'resolve', os.path.join(here.joined, 'notes.txt'), '--keep', 'winner')
        check(wrong.code == program.USAGE, f'there is nothing to resolve: {wrong.describe()}')


def conflict(here, word):
    """Both change line 9."""
    write(here.shared, with_line(9, f'nine, said by the first, {word}'))
    write(here.joined, with_line(9, f'nine, said by the second, {word}'))
    done = here.meet()
    check(done.code == program.CONFLICTS, f'exit 3, a conflict remains: {done.describe()}')


def listed(here):
    """The one copy, by `conflicts list` on both ends."""
    copies = set()
    for device, root in ((here.joiner, here.joined), (here.sharer, here.shared)):
        done = device.run('--json', 'conflicts', 'list')
        check(done.code == program.CONFLICTS and len(done.records) == 1, f'one conflict is listed: {done.describe()}')
        one = done.records[0]
        check(one['path'] == os.path.join(root, 'notes.txt'), f'its file is named: {one}')
        check(one['size'] == os.path.getsize(one['copy']) and one['label'] and one['wall_ms'] > 0, f'size, device, time: {one}')
        copies.add(os.path.basename(one['copy']))
    check(len(copies) == 1, f'the copy has one name: {copies}')
    return copies.pop()


def shown_diff(here, copy):
    """`conflicts diff` by either path shows the two lines."""
    for name in ('notes.txt', copy):
        done = here.joiner.run('conflicts', 'diff', os.path.join(here.joined, name))
        lines = done.output.splitlines()
        changed = [line for line in lines if line[:1] in '+-' and 'nine' in line]
        check(done.code == 0 and len(changed) == 2, f'the difference is shown: {done.describe()}')
        check(lines[0] == '--- notes.txt' and lines[1] == f'+++ {copy}', f'with its head: {lines[:2]}')
