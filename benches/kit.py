"""What the comparing benches share: the harness and the peers in a scratch directory, and what was measured."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
PACKAGES = [('syncthing/sid', 'st129'), ('unison-2.52/bookworm', 'u252'), ('rsync/bookworm', 'rs32'),
            ('libpopt0/bookworm', 'lib'), ('b3sum/sid', 'b3sum'), ('ethtool/bookworm', 'ethtool')]


def add_places(parser):
    """The options that say where program, harness and scratch directory are."""
    parser.add_argument('--binary', default=os.path.join(ROOT, 'target', 'release', 'dunlin'))
    parser.add_argument('--bench', default=os.path.join(os.path.dirname(ROOT), 'shared', 'bench'), help='the harness')
    parser.add_argument('--scratch', default=os.path.join(tempfile.gettempdir(), 'dunlin-compare'), help='kept between runs')


def prepare(bench, scratch, driver):
    """The harness, the peers and dunlin's driver in the scratch directory, whose modules can be imported then."""
    shutil.copytree(bench, scratch, dirs_exist_ok=True)
    for folder, folders, files in os.walk(scratch):
        for name in folders + files if folder == scratch else files:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                os.chmod(path, os.lstat(path).st_mode | 0o200)
        folders[:] = [name for name in folders if name in ('drivers', 'tools')]
    shutil.copy(driver, os.path.join(scratch, 'drivers', os.path.basename(driver)))
    missing = [package for package in PACKAGES if not os.path.isdir(os.path.join(scratch, 'root', package[1]))]
    if missing:
        get_peers(scratch, missing)
    sys.path.insert(0, scratch)


def get_peers(scratch, packages):
    """The harness's own way to get packages, with only those that are compared here."""
    with open(os.path.join(scratch, 'get_peers.sh')) as script:
        head = script.read().partition('\nget ')[0]
    wanted = '\n'.join(f'get {package} {place}' for package, place in packages)
    # Older packages put the program into /sbin, where the harness does not look.
    link = 'E=root/ethtool; mkdir -p $E/usr/sbin; [ -e $E/usr/sbin/ethtool ] || ln -s ../../sbin/ethtool $E/usr/sbin/ethtool'
    script = os.path.join(scratch, 'get_compared.sh')
    with open(script, 'w') as file:
        file.write(f'{head}\n{wanted}\n{link}\n')
    subprocess.run(['bash', script], check=True)


def records(path):
    """The JSON lines of a file, none if it is not there."""
    if not os.path.exists(path):
        return []
    with open(path) as lines:
        return [json.loads(line) for line in lines]
