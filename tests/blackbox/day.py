"""A day of three people, in minutes: they work, go offline, sleep, crash, restart, and their clocks jump."""

import random
import time

import machines
import users
import world as worlds

# (what happens to a device in an hour, how often)
WEATHER = (
    ('work', 8), ('rest', 2), ('offline', 3), ('flapping', 1), ('asleep', 2), ('off', 2), ('crash', 2), ('reboot', 2),
    ('clock', 2),
)
JUMPS_S = (-86_400, -3600, -7, 7, 3600, 86_400, 40 * 86_400)


def play(stage, is_long):
    """Twelve or twenty-four hours; everything is equal at noon and at the end."""
    rng = random.Random(f'{stage.seed}/day')
    hours, hour_s = (24, 20.0) if is_long else (10, 3.0)
    if machines.faketime() is None:
        stage.note('no clock jumps: there is no libfaketime')
    with worlds.world(stage) as here:
        here.checkout = users.Checkout(here.users[0])
        here.serve()
        happened = {}
        with here.observed(), worlds.Work(here, 0.12) as work:
            for hour in range(hours):
                plan = [rng.choices([one for one, _ in WEATHER], [weight for _, weight in WEATHER])[0] for _ in here.machines]
                for one in plan:
                    happened[one] = happened.get(one, 0) + 1
                spend(here, work, plan, hour_s, rng)
                if hour == hours // 2:
                    noon(here, work)
            work.end()
            took = here.settle()
        here.check_end()
        here.check_silence()
        deeds = sum(sum(user.deeds.values()) for user in here.users)
        stage.note(f'{hours} hours ({", ".join(f"{one} {count}" for one, count in sorted(happened.items()))}), '
                   f'{deeds} deeds, {here.oracle.reads} reads, equal after {took:.1f} s')


def spend(here, work, plan, hour_s, rng):
    """One hour, in quarters."""
    for machine, what in zip(here.machines, plan):
        begin(machine, work, what, rng)
    for quarter in range(4):
        if rng.random() < 0.5:
            with work.hands[0]:
                here.checkout.switch()
        time.sleep(hour_s / 4)
        for machine, what in zip(here.machines, plan):
            during(machine, what, quarter, rng)
        here.check_explained()
    for machine in here.machines:
        finish(machine, work)


def begin(machine, work, what, rng):
    """What an hour begins with."""
    if what in ('rest', 'asleep', 'off'):
        work.resting[machine.number].set()
    if what == 'asleep':
        machine.sleep()
    elif what == 'off':
        machine.stop()
    elif what == 'offline':
        machine.cut()
    elif what == 'clock':
        machine.jump(rng.choice(JUMPS_S))
        if rng.random() < 0.5:
            machine.stop()
            machine.start()


def during(machine, what, quarter, rng):
    """What happens in its quarters."""
    if what == 'flapping':
        (machine.mend if machine.is_cut else machine.cut)()
    elif what == 'crash':
        machine.kill()
        machine.start()
    elif what == 'reboot' and quarter == 1:
        # Its user goes on working while the program is not there yet.
        machine.kill() if rng.random() < 0.5 else machine.stop()
    elif what == 'reboot' and quarter == 2:
        machine.start()
    elif what == 'clock' and quarter == 2:
        machine.jump(rng.choice(JUMPS_S))


def finish(machine, work):
    """The hour is over: all is as it usually is."""
    machine.wake()
    machine.mend()
    if not machine.is_up:
        machine.start()
    work.resting[machine.number].clear()


def noon(here, work):
    """Everybody rests until all is equal."""
    with work.rest():
        here.settle()
        here.check_end()
