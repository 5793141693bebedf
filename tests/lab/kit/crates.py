"""A real tree for the full variant: the unpacked sources of some hundred crates.

What the local registry cache holds is used; what is missing to the wanted number of files is fetched by
cargo itself into a home of its own, which is kept between runs.
"""

import glob
import os
import random
import stat
import subprocess
import tarfile

from . import trees

FETCHED = '''[package]
name = "sources"
version = "0.0.0"
edition = "2021"
[workspace]
[dependencies]
aws-lc-sys = "0.30"
libgit2-sys = "0.18"
librocksdb-sys = "0.17"
openssl-src = "300"
wasmtime = "30"
web-sys = "0.3"
'''


def unpack(root, files_min, cache):
    """Fills `root`; returns how many regular files it holds."""
    archives = local_archives(os.path.expanduser(os.environ.get('CARGO_HOME', '~/.cargo')))
    count = unpack_all(root, archives)
    if count < files_min:
        count += unpack_all(root, fetched_archives(cache))
    if count < files_min:
        raise OSError(f'only {count} files in the crates that could be had')
    decorate(root)
    return count


def local_archives(home):
    """The archives in a cargo home."""
    return sorted(glob.glob(os.path.join(home, 'registry', 'cache', '*', '*.crate')))


def fetched_archives(cache):
    """The archives of a fetch of our own."""
    home = os.path.join(cache, 'home')
    os.makedirs(os.path.join(cache, 'src'), exist_ok=True)
    with open(os.path.join(cache, 'Cargo.toml'), 'w') as manifest:
        manifest.write(FETCHED)
    with open(os.path.join(cache, 'src', 'lib.rs'), 'w') as library:
        library.write('')
    if not local_archives(home):
        subprocess.run(['cargo', 'fetch', '--quiet'], cwd=cache, env={**os.environ, 'CARGO_HOME': home}, check=True)
    return local_archives(home)


def unpack_all(root, archives):
    """Unpacks the archives that are not there yet; returns the number of new files."""
    count = 0
    for archive in archives:
        if os.path.exists(os.path.join(root, os.path.basename(archive).removesuffix('.crate'))):
            continue
        with tarfile.open(archive) as crate:
            members = [member for member in crate.getmembers() if member.isreg() or member.isdir()]
            count += sum(member.isreg() for member in members)
            crate.extractall(root, members)
    return count


def decorate(root):
    """Adds what archives lack: links, executables, empty directories, times with nanoseconds."""
    rng = random.Random(2)
    newest = {}
    for name in sorted(os.listdir(root)):
        newest[name.rpartition('-')[0]] = name
    os.makedirs(os.path.join(root, 'latest'))
    for name, target in newest.items():
        os.symlink(f'../{target}', os.path.join(root, 'latest', name))
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            if os.path.islink(path):
                continue
            if name.endswith(('.sh', '.pl', '.py')):
                os.chmod(path, stat.S_IMODE(os.lstat(path).st_mode) | 0o111)
            trees.age(path, rng)
    os.makedirs(os.path.join(root, 'empty', 'deeper'))
