"""The judge: what must hold on the disk after a kill, and what after the restart.

It reads the disk alone. It knows whole contents by their digests, and asks: is all that is visible whole,
is all that users had still somewhere, do the trees agree, and is the tree the one of an undisturbed run.
"""

import os

from kit import program, trees
from kit.scenes import check


def judge_wreck(world, before):
    """After the kill: nothing partial is visible, nothing is lost."""
    for root in (world.left, world.right):
        seen = trees.picture(root)
        partial = [path for path, entry in seen.items() if entry.kind == 'file' and entry.digest not in before]
        check(not partial, f'a content that nobody wrote is visible: {partial[:3]} in {os.path.basename(root)}')
    kept = trees.contents(world.left) | trees.contents(world.right)
    check(before <= kept, f'{len(before - kept)} contents are neither visible nor below .dunlin: {world.names(before - kept)}')


def judge_restart(world, before, expected):
    """After the restart: the trees agree, what was replaced is in history, the tree is the expected one."""
    ended = world.sync()
    unlike = trees.difference(trees.picture(world.left), trees.picture(world.right))
    check(ended.code in (program.IN_SYNC, program.CONFLICTS), f'the restart ends in sync: {unlike[:4]}, {ended.describe()}')
    if unlike:
        world.sync()
        later = trees.difference(trees.picture(world.left), trees.picture(world.right))
        check(False, f'the trees agree: {len(unlike)} differences, {unlike[:4]}; after one more sync {len(later)}')
    kept = set()
    for root in (world.left, world.right):
        kept |= {entry.digest for entry in trees.picture(root).values() if entry.kind == 'file'}
        kept |= trees.contents(os.path.join(root, '.dunlin', 'history'))
    check(before <= kept, f'{len(before - kept)} contents are neither visible nor in history: {world.names(before - kept)}')
    now = shape(world)
    check(now == expected, f'the tree is that of an undisturbed run; too much {sorted(now - expected)[:3]}, too little {sorted(expected - now)[:3]}')
    again = world.sync()
    check(again.total('applied') == 0 and again.total('bytes_received') == 0, f'a further run has nothing to do: {again.describe()}')


def settled(world):
    """What an undisturbed run shows; the world has been synced once."""
    ended = world.sync()
    check(ended.code in (program.IN_SYNC, program.CONFLICTS), f'an undisturbed run ends in sync: {ended.describe()}')
    unlike = trees.difference(trees.picture(world.left), trees.picture(world.right))
    check(not unlike, f'the trees of an undisturbed run agree: {unlike}')
    return shape(world)


def shape(world):
    """Names and contents of the left tree.

    Which of two concurrent edits keeps the name hangs on ids that each run draws anew, and a copy's name has
    them in it: so those names stand as one word, with both contents.
    """
    pairs = set()
    for path, entry in trees.picture(world.left).items():
        name = path.decode(errors='backslashreplace')
        if ' (conflict from ' in name or name in world.contested:
            name = 'contested'
        pairs.add((name, entry.kind, str(entry.digest)))
    return pairs
