"""No secret stands in what dunlin says: on its outputs, in its log at the most talkative level, in answers on the control socket."""

import glob
import json
import os
import signal
import socket
import sys
import time

from kit import program, secrets
from kit.program import Device
from kit.scenes import Skipped, check, scene

from .control import put, read, wait_for
from .service import configure

# Standard error is what a journal would read.
AS_A_UNIT = ('sh', '-c', 'JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2) exec "$0" "$@"')
ANSWER_S = 10
# It leaves a core where it may, in the directory that is its first argument.
WITH_CORES = ('sh', '-c', 'cd "$0" && ulimit -c unlimited && exec "$@"')
CORE_S = 10
# Two users of the machine, neither of whom is root.
OWNER, OTHER = 41_001, 41_002
# What is open to whoever runs this, of the home that is its first argument.
TRIES = '''
for file in "$0"/identity "$0"/api.sock "$0"/replicas/*/recovery; do
    if [ -r "$file" ] || [ -w "$file" ]; then echo "$file"; else echo shut; fi
done
'''
# Of a day of all commands there are some hundred lines.
LINES_MIN = 150


class Said:
    """All that was said, by whom; links are left out where they are what was asked for."""

    def __init__(self):
        self.texts = []

    def hear(self, who, text, *asked_for):
        """Something was said."""
        for link in asked_for:
            check(link in text, f'{who} gives the link')
            text = text.replace(link, '')
        self.texts.append((who, text))

    def run(self, device, *argv):
        """Runs a command and hears it."""
        done = device.run(*argv)
        self.hear(' '.join(argv), done.output + done.complaint)
        return done

    def check(self, known):
        """None of the secrets stands anywhere."""
        for who, text in self.texts:
            found = secrets.found_in(text, known)
            check(not found, f'{who} says {found}')
        lines = sum(text.count('\n') for _, text in self.texts)
        check(lines >= LINES_MIN, f'{lines} lines are not all that is said')
        return lines


def ask(home, **request):
    """The raw answer to a request on the control socket."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(ANSWER_S)
        line.connect(os.path.join(home, 'api.sock'))
        line.sendall(json.dumps({'dunlin': 1, **request}).encode() + b'\n')
        return b''.join(iter(lambda: line.recv(65536), b'')).decode()


def check_search(known):
    """The premise: each secret is found in each spelling, wherever it stands in a longer text."""
    for name, secret in known.items():
        for spelling in secrets.spellings(secret):
            check(name in secrets.found_in(f'it is "{spelling.upper()}" today', {name: secret}), f'{name} is found as {spelling[:8]}…')


def hear_commands(said, device, root):
    """What everybody may ask, by the command and on the socket."""
    for argv in (('status',), ('log', root), ('device', 'list', root), ('invite', 'list', root), ('conflicts', 'list', root), ('quarantine', 'list', root),
                 ('held', 'list', root), ('folder', 'list'), ('events',), ('id',), ('doctor',), ('scan', root), ('--version',)):
        said.run(device, *argv)
        said.run(device, '--json', *argv)
    for request in ({'ask': 'status', 'dirs': []}, {'ask': 'log', 'path': root, 'limit': 1000, 'deleted': False}, {'ask': 'device list', 'dirs': [root]},
                    {'ask': 'invite list', 'dirs': [root]}, {'ask': 'events', 'dirs': [], 'since': None, 'follow': False}, {'ask': 'folder list'},
                    {'ask': 'quarantine list', 'dirs': [root]}, {'ask': 'held list', 'dirs': [root]}, {'ask': 'join', 'invite': 3}, {'ask': 'nonsense'}):
        said.hear(f'the socket, asked for {request["ask"]}', ask(device.home, **request))


def hear_invites(said, devices, roots):
    """Invites that are given, used, used again, mistyped, taken back; the links."""
    given = devices[0].run('--json', 'share', roots[0], '--uses', '2')
    links = [given.records[-1]['invite']]
    said.hear('share', given.output + given.complaint, links[0])
    answer = ask(devices[0].home, ask='share', dir=roots[0], role='writer', expires_s=600, uses=1, listen=[])
    links.append(next(record['value']['invite'] for record in program.json_lines(answer) if 'value' in record))
    said.hear('the socket, asked to share', answer.replace(links[1], ''))
    joined = said.run(devices[1], 'join', links[0], roots[1])
    check(joined.code == program.IN_SYNC, f'it joins: {joined.describe()}')
    for spoilt in (links[1][:-4], links[1][:-1] + ('a' if links[1][-1] != 'a' else 'b'), links[1].upper() + links[1]):
        ended = said.run(devices[1], 'join', spoilt, roots[1] + '-other')
        check(ended.code == program.USAGE, f'it is no invite: {ended.describe()}')
    listed = devices[0].run('--json', 'invite', 'list', roots[0]).records
    for invite in listed:
        said.run(devices[0], 'invite', 'revoke', roots[0], invite['name'])
    refused = said.run(devices[1], 'join', links[1], roots[1] + '-late')
    check(refused.code != program.IN_SYNC, f'it was taken back: {refused.describe()}')
    return links


def hear_proc(said, running):
    """What other users of the machine may see of a process."""
    for kind in ('cmdline', 'environ'):
        with open(f'/proc/{running.process.pid}/{kind}', 'rb') as file:
            said.hear(f'{kind} of {running.process.args[3:]}', file.read().decode(errors='replace'))


def hear_kit(said, stage, device, root):
    """The founder takes the recovery kit away; the file has it, and nothing else says it."""
    file = stage.path('kit')
    taken = said.run(device, 'recovery', 'take', root, file)
    check(taken.code == program.IN_SYNC, f'the kit is taken: {taken.describe()}')
    with open(file) as kit:
        return secrets.of_kit(next(word for word in kit.read().split() if word.startswith(secrets.KIT)))


def hear_typed(said, stage, link):
    """An invite that `join -` reads from its standard input, and a code that a share gives out and `join -` uses; what is seen of the processes
    meanwhile. Gives the words of the code."""
    put(stage.directory, 'typed', link)
    joiner = Device(stage.binary, stage.path('home-typed'))
    joining = joiner.start('--json', 'join', '-', stage.path('typed-root'), '--listen', '127.0.0.1:0', wrapper=typed(stage.path('typed')))
    wait_for(lambda: read(stage.path('typed-root'), 'first') == 'text', 'it has joined')
    hear_proc(said, joining)
    ended = joining.interrupt()
    said.hear('join -', ended.output + ended.complaint)
    server = joiner.start('--json', 'rendezvous', 'serve', '--listen', '127.0.0.1:0')
    at = server.record_with('listening')['listening']
    sharer, root = Device(stage.binary, stage.path('home-sharer')), stage.fresh('coded')
    put(root, 'first')
    sharing = sharer.start('--json', 'share', root, '--code', '--rendezvous', at, '--listen', '127.0.0.1:0')
    code = sharing.record_with('code')['code']
    put(stage.directory, 'typed', code)
    guest = Device(stage.binary, stage.path('home-guest'))
    joining = guest.start('--json', 'join', '-', stage.path('coded-root'), '--rendezvous', at,
                          '--listen', '127.0.0.1:0', wrapper=typed(stage.path('typed')))
    wait_for(lambda: read(stage.path('coded-root'), 'first') == 'text', 'it has joined by the code')
    for running in (joining, sharing, server):
        hear_proc(said, running)
        ended = running.interrupt()
        said.hear(f'{running.process.args[3:5]}', (ended.output + ended.complaint).replace(code, '', 1) if running is sharing else ended.output + ended.complaint)
    return code.split('-', 1)[1]


def typed(path):
    """A wrapper that gives a command the file as its standard input."""
    return 'sh', '-c', f'exec "$0" "$@" < {path}'


@scene('secrets: none is said, logged or answered')
def said(stage):
    """Two that serve, logging all there is to log, one as below a journal and one as JSON: share, join, wrong invites, edits,
    a removal; then everything that can be asked."""
    heard = Said()
    devices = [Device(stage.binary, stage.path(f'home-{side}')) for side in 'ab']
    roots = [stage.fresh('a'), stage.path('b')]
    put(roots[0], 'first')
    serving = []
    for device, form, wrapper in zip(devices, ('text', 'json'), (AS_A_UNIT, ()), strict=True):
        configure(device.home, f'[log]\nlevel = "trace"\nformat = "{form}"\n')
        serving.append(device.start('--json', 'serve', '--listen', '127.0.0.1:0', wrapper=wrapper))
        serving[-1].record_with('folders')
    try:
        links = hear_invites(heard, devices, roots)
        wait_for(lambda: read(roots[1], 'first') == 'text', 'the first file arrives')
        hear_commands(heard, devices[1], roots[1])
        kept = secrets.of_device(devices[0].home)
        check(any('recovery kit' in name for name in kept), 'the founder has the recovery kit')
        kit = hear_kit(heard, stage, devices[0], roots[0])
        check(set(kit.values()) <= set(kept.values()), 'the file has the seed that the home had')
        link = devices[0].run('--json', 'share', roots[0]).records[-1]['invite']
        links.append(link)
        words = hear_typed(heard, stage, link)
        hers = devices[1].run('--json', 'id').report['peer']
        ended = heard.run(devices[0], 'device', 'revoke', roots[0], hers[:10])
        check(ended.code == program.IN_SYNC, f'removed: {ended.describe()}')
        put(roots[0], 'second')
        hear_commands(heard, devices[0], roots[0])
        for running in serving:
            hear_proc(heard, running)
    finally:
        for running in serving:
            running.interrupt()
    for device, root, running in zip(devices, roots, serving, strict=True):
        heard.hear('the log', ''.join(running.lines + running.complaints))
        for what in ('ledger', 'tree', 'store'):
            heard.run(device, 'debug', what, root)
    known = kept | kit | secrets.of_device(devices[0].home) | secrets.of_device(devices[1].home)
    said_words = [who for who, text in heard.texts if words in text]
    check(not said_words, f'the words of a code are said by {said_words}')
    invited = [secrets.of_invite(link) for link in links]
    check(all(secrets.found_in(link, one) for link, one in zip(links, invited, strict=True)), 'the seed of an invite is found in its link')
    known |= {f'{name} ({number})': secret for number, one in enumerate(invited) for name, secret in one.items()}
    check_search(known)
    stage.note(f'{len(known)} secrets, {heard.check(known)} lines')


@scene('secrets: another user of the machine gets nothing', root=True)
def another_user(stage):
    """Who serves does so as one user; another one asks it, connects to its socket, and reads its home. Nothing listens where a browser could ask."""
    os.chmod(stage.directory, 0o755)
    for name in ('home', 'shared'):
        os.makedirs(stage.path(name), exist_ok=True)
        os.chown(stage.path(name), OWNER, OWNER)
    os.chmod(stage.path('home'), 0o700)
    device, other = (Device(stage.binary, stage.path('home'), user=user) for user in (OWNER, OTHER))
    sharing = device.start('--json', 'share', stage.path('shared'), '--listen', '127.0.0.1:0')
    try:
        sharing.record_with('invite')
        check(device.run('status').code in (program.IN_SYNC, program.NO_PEER), 'its own user is answered')
        for argv in (('status',), ('share', stage.path('shared')), ('recovery', 'take', stage.path('shared'), stage.path('stolen'))):
            ended = other.run(*argv)
            check(ended.code not in (program.IN_SYNC, program.NO_PEER) and secrets.LINK not in ended.output, f'{argv[0]}: {ended.describe()}')
        open_to_its_own = device.run('status', wrapper=('sh', '-c', TRIES, stage.path('home'))).output.split()
        check(len(open_to_its_own) == 3 and 'shut' not in open_to_its_own, f'its own user reads them: {open_to_its_own}')
        for mode in (0o700, 0o755):
            # Were the home open to all, the socket still is not, nor what lies beside it.
            os.chmod(stage.path('home'), mode)
            tried = other.run('status', wrapper=('sh', '-c', TRIES, stage.path('home')))
            check(tried.output.split() == ['shut'] * 3, f'mode {mode:o}: {tried.describe()}')
        inodes = {os.readlink(f'/proc/{sharing.process.pid}/fd/{name}') for name in os.listdir(f'/proc/{sharing.process.pid}/fd')}
        lines = [line.split() for kind in ('tcp', 'tcp6') for line in open(f'/proc/{sharing.process.pid}/net/{kind}').readlines()[1:]]
        check(not [line for line in lines if f'socket:[{line[9]}]' in inodes], 'it has no TCP socket')
    finally:
        sharing.interrupt()


@scene('secrets: a crash leaves no core, and no file holds the key that a passphrase keeps')
def crash(stage):
    """Who serves dies by SIGSEGV, SIGABRT and SIGQUIT where cores are allowed, beside a process that does leave one with the same
    bytes in it; then all files of the home and of the folder are searched."""
    device, root, cores = Device(stage.binary, stage.path('home')), stage.fresh('shared'), stage.fresh('cores')
    put(root, 'first')
    sharing = device.start('--json', 'share', root, '--listen', '127.0.0.1:0')
    sharing.record_with('invite')
    sharing.interrupt()
    name, seed = next((name, seed) for name, seed in secrets.of_device(device.home).items() if name.startswith('the seed'))
    check(holders(stage.path('home'), {name: seed}) == [os.path.join(device.home, 'identity')], 'the search finds it where a file keeps it')
    check(leaves_core(cores, seed), 'a process without this protection leaves a core with the seed in it')
    put(stage.directory, 'words', 'a long passphrase\n')
    environment = {'DUNLIN_PASSPHRASE_FILE': stage.path('words')}
    kept = device.run('id', 'keep', 'passphrase', environment=environment)
    check(kept.code == program.IN_SYNC, f'a passphrase keeps it: {kept.describe()}')
    configure(device.home, '[log]\nlevel = "trace"\n')
    for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGQUIT):
        serving = device.start('--json', 'serve', '--listen', '127.0.0.1:0', wrapper=(*WITH_CORES, cores), environment=environment)
        serving.record_with('folders')
        put(root, f'before-{number}')
        wait_for(lambda name=f'before-{number}': name in device.run('log', root).output, 'it is at work')
        # The first SIGSEGV goes to Rust's guard of its stack, which waits for the fault to come again.
        serving.signal(number)
        wait_for(lambda run=serving, number=number: run.signal(number) or not run.alive, 'it dies', CORE_S)
        ended = serving.wait()
        check(ended.code in (-number, 128 + number), f'it dies of {number.name}: {ended.describe()}')
        check(not glob.glob(os.path.join(cores, '*')), f'{number.name} leaves nothing: {os.listdir(cores)}')
        put(stage.directory, f'log-{number}', ended.output + ended.complaint)
    found = holders(stage.directory, secrets.of_seed(name, seed))
    check(not found, f'the seed stands in {found}')


def leaves_core(directory, seed):
    """Whether this machine writes cores as files at all; then they are what is looked for, and are taken away."""
    waits = f'import time; seed = bytes.fromhex("{seed.hex()}"); print("ready", flush=True); time.sleep(60)'
    crashing = program.Running([*WITH_CORES, directory, sys.executable, '-c', waits], program.quiet_environment(), None)
    wait_for(lambda: crashing.lines, 'it is ready')
    crashing.signal(signal.SIGSEGV)
    crashing.wait()
    until = time.monotonic() + CORE_S
    while not (found := glob.glob(os.path.join(directory, '*'))):
        if time.monotonic() > until:
            with open('/proc/sys/kernel/core_pattern') as file:
                raise Skipped(f'cores are no files here: {file.read().strip()}')
        time.sleep(0.1)
    with open(found[0], 'rb') as core:
        held = seed in core.read()
    os.remove(found[0])
    return held


def holders(directory, known):
    """The files below a directory that hold one of these secrets, as bytes or spelt out."""
    paths = (os.path.join(base, name) for base, _, names in os.walk(directory) for name in names)
    found = []
    for path in sorted(path for path in paths if os.path.isfile(path)):
        with open(path, 'rb') as file:
            held = file.read()
        if any(secret in held for secret in known.values()) or secrets.found_in(held.decode('latin-1'), known):
            found.append(path)
    return found
