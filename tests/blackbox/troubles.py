"""Errors of the disk under three running devices: each for a moment, while everybody works.

A tracer is attached to one device for a moment, and for that long one system call fails there with one errno, always or
now and then. Afterwards nothing partial is visible and nothing is lost, and the device goes on by itself. One whose
store could not be written may end with an error instead; then it is started again, as its service would be.
"""

import os
import random
import signal
import subprocess
import time

import world as worlds
from kit import errnos, program
from kit.scenes import check

CALM_EVERY = 20


def play(stage, times):
    """So many troubles, all kinds of them if there is room for that."""
    rng = random.Random(f'{stage.seed}/troubles')
    kinds = errnos.draw(rng, times)
    with worlds.world(stage) as here:
        here.serve()
        injected = ended = 0
        with here.observed(), worlds.Work(here, 0.05) as work:
            for number, (error, call) in enumerate(kinds):
                machine = rng.choice(here.machines)
                with here.oracle.calls_fail(machine.number):
                    injected += disturb(stage, machine, error, call, rng)
                ended += look_after(here, work, error, call)
                if number % CALM_EVERY == CALM_EVERY - 1:
                    with work.rest():
                        here.settle()
                        here.check_end()
            work.end()
            took = here.settle()
        here.check_end()
        here.check_silence()
        stage.note(f'{times} troubles, in which {injected} calls failed; {ended} times a device ended and was started again; '
                   f'{here.oracle.reads} reads, equal after {took:.1f} s')
        check(injected * 2 > times, f'there was trouble: {injected} calls failed')


def disturb(stage, machine, error, call, rng):
    """For a moment a call fails on a device; gives how often."""
    trace = stage.path('trace')
    how = f'inject={call}:error={error}' + rng.choice(['', '', ':when=1+3', ':when=2+7'])
    machine.note(f'device {machine.number}: {how}')
    argv = ['strace', '-f', '-qq', '-o', trace, '-e', f'trace=?{call}', '-e', how, '-p', str(machine.running.process.pid)]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tracer:
        try:
            tracer.wait(rng.choice([0.4, 1.0, 2.5]))
        except subprocess.TimeoutExpired:
            let_go(tracer)
    if not os.path.exists(trace):
        return 0
    with open(trace, errors='replace') as lines:
        return sum('(INJECTED)' in line for line in lines)


def let_go(tracer):
    """Ends a tracer. One that goes while its program starts another may wait for ever for a child that it has stopped itself."""
    tracer.send_signal(signal.SIGINT)
    try:
        tracer.wait(10)
    except subprocess.TimeoutExpired:
        tracer.kill()
        tracer.wait()


def look_after(here, work, error, call):
    """After a trouble: nothing is wrong, and everybody runs. Gives how many had to be started again."""
    ended = 0
    with work.rest():
        here.check_explained()
        here.check_kept()
        for machine in here.machines:
            # One that ends does so after its last words.
            time.sleep(0.1)
            if machine.is_up:
                continue
            over = machine.end()
            check(over.code == program.ATTENTION, f'{error} from {call}: {over.describe()}')
            machine.start()
            ended += 1
    return ended
