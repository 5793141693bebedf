"""Small changes of large files over two namespaces: what crosses the wire, from the interface counters."""

import os
import random

from kit import program, trees
from kit.network import PORT, Cable
from kit.program import Device
from kit.scenes import check, scene
from kit.trees import MIB

KIB = 1024


@scene('delta: an insertion in a text and an overwrite in a binary', root=True, tools=('ip', 'tc'))
def deltas(stage):
    """One byte near the start of a text, 64 KiB in the middle of a binary."""
    text_size, binary_size = stage.size(32 * MIB, 200 * MIB), stage.size(64 * MIB, 1024 * MIB)
    shared, joined = stage.fresh('shared'), stage.fresh('joined')
    trees.big_text(os.path.join(shared, 'log.txt'), text_size, seed=21)
    trees.big_binary(os.path.join(shared, 'disk.raw'), binary_size, seed=22)
    with Cable() as cable:
        sharer = Device(stage.binary, stage.path('home-sharer'), cable.left)
        joiner = Device(stage.binary, stage.path('home-joiner'), cable.right)
        listen = f'{cable.addresses[cable.left]}:{PORT}'
        share = sharer.start('--json', 'share', shared, '--listen', listen)
        invite = share.record_with('invite')['invite']
        check(joiner.run('--json', 'join', invite, joined, '--once').code == program.IN_SYNC, 'the join ends in sync')
        share.interrupt()
        for name, change, limit in (('insert', insert, 512 * KIB), ('overwrite', overwrite, 2 * MIB)):
            change(shared, binary_size)
            before = cable.crossed()
            share = sharer.start('--json', 'share', shared, '--listen', listen)
            share.record_with('invite')
            ended = joiner.run('--json', 'sync', joined)
            check(ended.code == program.IN_SYNC, f'{name} arrives: {ended.describe()}')
            share.interrupt()
            moved = cable.crossed() - before
            stage.note(f'{name}: {moved / KIB:.0f} KiB both ways, {ended.seconds:.2f} s')
            unlike = trees.difference(trees.picture(shared), trees.picture(joined))
            check(not unlike, f'the trees are equal: {unlike}')
            check(moved < limit, f'{name}: under {limit // KIB} KiB cross the wire, yet {moved // KIB} KiB did')


def insert(root, _):
    """The editor's way: a new file, renamed over the old."""
    path = os.path.join(root, 'log.txt')
    with open(path, 'rb') as old, open(path + '.new', 'wb') as new:
        new.write(old.read(1000) + b'Z')
        while piece := old.read(4 * MIB):
            new.write(piece)
    os.rename(path + '.new', path)


def overwrite(root, size):
    """The database's way: in place."""
    with open(os.path.join(root, 'disk.raw'), 'r+b') as file:
        file.seek(size // 2 + 12_345)
        file.write(random.Random(23).randbytes(64 * KIB))
