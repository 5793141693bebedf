"""SIGKILL at random moments over three running devices under load."""

import random
import time

import users
import world as worlds
from kit.scenes import check

CALM_EVERY = 40


def play(stage, kills):
    """`kills` kills; after each one nothing partial is visible and nothing is lost, now and then all become equal."""
    rng = random.Random(f'{stage.seed}/kills')
    with worlds.world(stage) as here:
        here.serve()
        with here.observed(), worlds.Work(here, 0.05) as work:
            for number in range(kills):
                time.sleep(rng.choice([0.02, 0.1, 0.3, 0.8]) * rng.uniform(0.5, 1.5))
                kill(here, work, rng.choice(here.machines), rng)
                if number % CALM_EVERY == CALM_EVERY - 1:
                    calm(here, work)
            work.end()
            took = here.settle()
        here.check_end()
        here.check_silence()
        deeds = sum(sum(user.deeds.values()) for user in here.users)
        stage.note(f'{kills} kills, {deeds} deeds, {here.oracle.reads} reads, equal after {took:.1f} s')
        check(deeds >= kills, f'there was load: {deeds} deeds')


def kill(here, work, machine, rng):
    """One kill, the look at what is left, and the restart."""
    machine.kill()
    with work.rest():
        here.readers[machine.number].known.clear()
        here.readers[machine.number].look()
        here.check_explained()
        here.check_kept()
        machine.start()
    check(all(one.is_up for one in here.machines), f'all run: {[one.say() for one in here.machines if not one.is_up]}')
    if rng.random() < 0.3:
        # Again within its start, so that recovery is interrupted.
        time.sleep(rng.uniform(0, 0.15))
        machine.kill()
        machine.start()


def calm(here, work):
    """Everybody rests until all is equal."""
    with work.rest():
        here.settle()
        here.check_end()
        for user in here.users:
            users.empty_trash(user.machine)
