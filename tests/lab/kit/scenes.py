"""Scenes and their tally: a scene makes its world, plays, and checks; the last line counts them.

A scene fails by a false check or by any exception, and then the others still run. What the machine
cannot do (no root, no namespaces) is skipped with its reason, never counted as passed.
"""

import functools
import multiprocessing
import os
import shutil
import subprocess
import tempfile
import time
import traceback

SCENES = []


class Skipped(Exception):
    """The machine cannot play this scene; the text says why."""


class Failed(Exception):
    """A promise that did not hold."""


def scene(name, root=False, tools=(), measures=False, long=False):
    """Registers a scene under a name; `root` and `tools` are what it needs of the machine; one that `measures` is played alone, one that
    takes `long` (more than half a minute) first among those that have company."""
    def register(play):
        SCENES.append((name, root, tools, measures, long, play))
        return play
    return register


def check(holds, promise):
    """One promise; the text is shown when it does not hold."""
    if not holds:
        raise Failed(promise)


class Stage:
    """What a scene gets: the binary, an empty directory, the wanted size, and a place for its figures."""

    def __init__(self, binary, directory, full):
        self.binary, self.directory, self.full, self.notes = binary, directory, full, []

    def path(self, *parts):
        """A path in the scene's directory."""
        return os.path.join(self.directory, *parts)

    def fresh(self, name):
        """A new empty directory of that name."""
        os.makedirs(self.path(name))
        return self.path(name)

    def note(self, text):
        """A measured figure, printed beside the result."""
        self.notes.append(text)

    def size(self, small, full):
        """One of two sizes, by the variant."""
        return full if self.full else small


def play_all(binary, full, wanted, scratch, lanes):
    """Plays the scenes whose name contains one of `wanted` (all, if none), so many at a time: first those that may have company, then
    those that measure, alone; returns the tally."""
    chosen = [index for index, (name, *_) in enumerate(SCENES) if not wanted or any(word in name for word in wanted)]
    in_company = [index for index in chosen if lanes > 1 and not SCENES[index][3]]
    # Else one lane would wait for a long one in the other.
    in_company.sort(key=lambda index: not SCENES[index][4])
    play = functools.partial(play_at, binary, full, scratch)
    outcomes = []
    if in_company:
        # Each in a process of its own kind: some change what a process is, and are seen by what they leave behind.
        with multiprocessing.get_context('fork').Pool(lanes, maxtasksperchild=1) as pool:
            outcomes += pool.imap_unordered(play, in_company)
    outcomes += [play(index) for index in chosen if index not in in_company]
    return {outcome: outcomes.count(outcome) for outcome in ('passed', 'failed', 'skipped')}


def play_at(binary, full, scratch, index):
    """Plays a scene on a stage of its own."""
    name, root, tools, _, _, play = SCENES[index]
    directory = tempfile.mkdtemp(prefix='lab-', dir=scratch)
    try:
        return play_one(Stage(binary, directory, full), name, root, tools, play)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def play_one(stage, name, root, tools, play):
    """Plays one scene and prints its line."""
    began = time.monotonic()
    try:
        demand(root, tools)
        play(stage)
    except Skipped as reason:
        print(f'skipped  {name}: {reason}', flush=True)
        return 'skipped'
    except Failed as promise:
        print(f'FAILED   {name}: {promise} [{"; ".join(stage.notes)}]', flush=True)
        return 'failed'
    except Exception as trouble:
        print(f'FAILED   {name}: {type(trouble).__name__}: {trouble}', flush=True)
        traceback.print_exc()
        return 'failed'
    print(f'ok       {name} ({time.monotonic() - began:.1f} s) {"; ".join(stage.notes)}', flush=True)
    return 'passed'


def demand(root, tools):
    """Skips where the machine lacks what the scene needs."""
    if root and os.geteuid() != 0:
        raise Skipped('needs root')
    for tool in tools:
        if shutil.which(tool) is None:
            raise Skipped(f'needs {tool}')
    if 'ip' in tools and subprocess.run(['ip', 'netns', 'list'], capture_output=True).returncode != 0:
        raise Skipped('needs network namespaces')


def close(tally):
    """Prints the closing line and returns the exit code."""
    skipped = f', {tally["skipped"]} skipped' if tally['skipped'] else ''
    print(f'{tally["passed"]} passed, {tally["failed"]} failed{skipped}')
    return 1 if tally['failed'] or not tally['passed'] + tally['skipped'] else 0
