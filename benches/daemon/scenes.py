"""What the daemons are put through. Each scene gives a dict of figures; the two trees are equal before and after it."""
import glob, os, random, statistics, time
from harness import *
from peers import wait_until

NOTES = 'proj00/mod_0000/notes.txt'
BIG = 'big.img'
BIG_BYTES = 1 << 30
SAVE_BYTES = 4096
SEED = 5
# Wire bytes that follow a change are counted for so long.
AFTERMATH_S = 2


class Setting:
    """A pair of hosts with a running daemon, and where the tree of many files stands at the moment."""

    def __init__(s, peer, hosts, chosen):
        s.peer, s.hosts, s.chosen, s.tree = peer, hosts, chosen, 'tree'
        s.random = random.Random(SEED)

    def path(s, side, *names): return os.path.join(s.hosts[side].dir, *names)

    def settle(s, quiet=2.0, limit=60):
        """Waits until the daemons are quiet: less than 3 % of a core over `quiet` seconds."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            before = sum(h.cpu() for h in s.hosts); time.sleep(quiet)
            if sum(h.cpu() for h in s.hosts) - before < 0.03 * quiet: return


def plain_save(path, data):
    """Opens, cuts to nothing, writes, closes."""
    with open(path, 'wb') as file: file.write(data)


def vim_save(path, data):
    """The calls of vim's `:w` with its defaults: a probe named 4913, the old file renamed to a backup, a new one written and synced."""
    folder = os.path.dirname(path)
    probe = os.open(f'{folder}/4913', os.O_CREAT | os.O_WRONLY | os.O_EXCL | os.O_NOFOLLOW, 0o100644)
    os.close(probe); os.unlink(f'{folder}/4913')
    mode = os.stat(path).st_mode
    os.rename(path, path + '~')
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o664)
    os.write(file, data); os.fsync(file); os.close(file)
    os.chmod(path, mode); os.unlink(path + '~')


def saves(setting, save):
    """A 4 KiB file rewritten at random intervals: from the beginning of the save to the same bytes on the other side."""
    here, there = setting.path(0, setting.tree, NOTES), setting.path(1, setting.tree, NOTES)
    waited, limit = [], time.monotonic() + setting.chosen.patience
    with Meter(setting.hosts) as meter:
        while len(waited) <= setting.chosen.saves and (time.monotonic() < limit or len(waited) < 3):
            data = setting.random.randbytes(SAVE_BYTES)
            began = time.monotonic()
            save(here, data)
            wait_until(lambda: has(there, data), 'a save did not arrive', 120, 0.001)
            waited.append(time.monotonic() - began)
            time.sleep(setting.random.uniform(0.05, 0.5))
    waited = sorted(waited[1:])
    at = lambda share: waited[min(len(waited) - 1, int(share * len(waited)))]
    return dict(n=len(waited), p50=at(.5), p90=at(.9), p99=at(.99), most=waited[-1], cpu=meter.r['cpu'], alien=meter.r['alien'])


def has(path, data):
    try:
        if os.stat(path).st_size != len(data): return False
        with open(path, 'rb') as file: return file.read() == data
    except OSError: return False


def move(setting):
    """The directory with all files goes to another parent, and back again."""
    rounds = []
    for number in range(setting.chosen.reps):
        to = 'archive/tree' if setting.tree == 'tree' else 'tree'
        gone, come = setting.path(1, setting.tree), setting.path(1, to)
        is_there = lambda: not os.path.lexists(gone) and os.path.lexists(f'{come}/{NOTES}') and all_here(come, setting.chosen.files + 1)
        with Change(setting) as change:
            os.rename(setting.path(0, setting.tree), setting.path(0, to))
            change.wait(is_there)
        setting.tree = to
        rounds.append(change.figures)
        if change.figures['seconds'] > setting.chosen.patience: break
        setting.settle()
    return medians(rounds)


def all_here(folder, files):
    """When the counting began that found them all; counting 100 000 names takes a while itself."""
    began = time.monotonic()
    return began if sum(len(names) for _, _, names in os.walk(folder)) == files else None


def append(setting):
    """1 MiB more at the end of a file of 1 GiB."""
    rounds = []
    here, there = setting.path(0, BIG), setting.path(1, BIG)
    for _ in range(setting.chosen.reps):
        data = setting.random.randbytes(1 << 20)
        warm(here), warm(there)
        with Change(setting) as change:
            with open(here, 'ab') as file: file.write(data)
            change.wait(lambda: ends_with(there, os.path.getsize(here), data))
        rounds.append(change.figures)
        if change.figures['seconds'] > setting.chosen.patience: break
        setting.settle()
    return medians(rounds)


def ends_with(path, length, data):
    try:
        with open(path, 'rb') as file:
            if os.fstat(file.fileno()).st_size != length: return False
            file.seek(length - len(data)); return file.read() == data
    except OSError: return False


def warm(path):
    with open(path, 'rb') as file:
        while file.read(8 << 20): pass


def idle(setting):
    """Nothing happens for a time."""
    setting.settle(5)
    seconds = setting.chosen.idle if setting.peer.name == 'dunlin' else min(60, setting.chosen.idle)
    before = [(h.ctxt(), counted(h, 'write_bytes')) for h in setting.hosts]
    with Meter(setting.hosts) as meter: time.sleep(seconds)
    after = [(h.ctxt(), counted(h, 'write_bytes')) for h in setting.hosts]
    return dict(seconds=seconds, pss=[h.pss() for h in setting.hosts], cpu=[round(c * 600 / seconds, 3) for c in meter.r['cpu']],
                wakes=[round((b[0] - a[0]) / seconds, 2) for a, b in zip(before, after)],
                written=[b[1] - a[1] for a, b in zip(before, after)], wire=sum(meter.r['tx']))


def start(setting):
    """Both sides start with a change that was made meanwhile: from the start to the change on the other side, and to calm on both."""
    rounds = []
    for number in range(setting.chosen.reps):
        setting.peer.stop()
        data = f'{number} {time.time()}'.encode()
        plain_save(setting.path(0, 'offline.txt'), data)
        time.sleep(1)
        with Meter(setting.hosts) as meter:
            setting.peer.start()
            wait_until(lambda: has(setting.path(1, 'offline.txt'), data), 'the change did not arrive', 1500, 0.005)
            visible = meter.elapsed()
            wait_until(setting.peer.is_up, 'not in sync', 1500, 0.01)
            meter.r['seconds'] = meter.elapsed()
            setting.settle()
        rounds.append(dict(visible=visible, seconds=meter.r['seconds'], cpu=sum(meter.r['cpu']), peak=max(meter.r['rss']),
                           pss=max(h.pss() for h in setting.hosts)))
        if visible > setting.chosen.patience: break
    return medians(rounds)


def rescan(setting):
    """One full look at a tree in which nothing has changed."""
    rounds = []
    for _ in range(setting.chosen.reps):
        rounds.append(dict(seconds=setting.peer.rescan()))
        if rounds[-1]['seconds'] > setting.chosen.patience: break
        setting.settle()
    return medians(rounds)


class Change:
    """A change and its arrival, with the wire bytes and the bytes that the daemons read for it."""

    def __init__(s, setting): s.setting, s.meter = setting, Meter(setting.hosts)

    def __enter__(s):
        s.read = [counted(h, 'rchar') for h in s.setting.hosts]
        s.meter.__enter__(); return s

    def wait(s, is_there):
        """`is_there` says whether it is, or since when."""
        since = wait_until(is_there, 'the change did not arrive', s.setting.chosen.patience * 4, 0.005)
        s.meter.r['seconds'] = s.meter.elapsed() if since is True else since - s.meter.t0
        time.sleep(AFTERMATH_S)

    def __exit__(s, *trouble):
        s.meter.__exit__(*trouble)
        read = [counted(h, 'rchar') - before for h, before in zip(s.setting.hosts, s.read)]
        s.figures = dict(seconds=s.meter.r['seconds'], wire=sum(s.meter.r['tx']), read=sum(read), cpu=sum(s.meter.r['cpu']))


def counted(host, what):
    """A counter of /proc/PID/io, over all processes of a host."""
    total = 0
    for process in host.pids():
        try:
            with open(f'/proc/{process}/io') as lines: total += next(int(line.split()[1]) for line in lines if line.startswith(what + ':'))
        except (OSError, StopIteration): continue
    return total


def medians(rounds):
    """The median of each figure, and all times."""
    figures = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    key = 'visible' if 'visible' in figures else 'seconds'
    return dict(figures, all=[round(one[key], 3) for one in rounds])


SCENES = {'saves': lambda setting: saves(setting, plain_save), 'vim': lambda setting: saves(setting, vim_save), 'move': move,
          'append': append, 'idle': idle, 'start': start, 'rescan': rescan}
