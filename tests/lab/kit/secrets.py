"""Secrets of a device and its folders, read from its home and its invites, and the search for them in what it says."""

import base64
import json
import os

from . import blake3

LINK = 'dunlin://join#'
KIT = 'dunlin://recovery#'
BYTES = 32
# Bytes at the end of a link by which a mistyped one is known.
CHECK = 4
# Before a string of 32 bytes in CBOR.
CBOR_BYTES_32 = b'\x58\x20'
# So many characters of an encoding that nobody writes by chance.
SHORTEST = 20


def of_device(home):
    """Name → 32 bytes: the seed of a device whose key lies in its file, and what each of its folders has."""
    with open(os.path.join(home, 'identity')) as file:
        found = {f'the seed of {os.path.basename(home)}': bytes.fromhex(json.load(file)['seed'])}
    for base, _, names in os.walk(home):
        if 'lifeline' in names:
            with open(os.path.join(base, 'lifeline'), 'rb') as file:
                told, body = file.read(BYTES), file.read()
            if blake3.digest(body) != told:
                raise ValueError(f'{base}/lifeline is not what it says')
            # An array of folder, marker of 16 bytes, secret (none before a member has given it), peers.
            rest = body[1 + 2 + BYTES + 1 + 16:]
            if 'recovery' in names:
                with open(os.path.join(base, 'recovery'), 'rb') as file:
                    found[f'the seed of the recovery kit of {os.path.basename(base)[:6]}'] = file.read()
            if rest.startswith(CBOR_BYTES_32):
                found |= of_folder(os.path.basename(base)[:6], rest[2:2 + BYTES])
    return found


def of_folder(name, secret):
    """A folder's secret and the key that follows from it."""
    return {f'the secret of folder {name}': secret, f'the key of folder {name}': blake3.derive_key('dunlin 1 folder psk', secret)}


def of_seed(name, seed):
    """The seed of a device, and its halves, of which either would do."""
    return {name: seed, f'a half of {name}': seed[:BYTES // 2], f'another half of {name}': seed[BYTES // 2:]}


def of_invite(link):
    """The seed of an invite and the key that follows from it."""
    code = link.removeprefix(LINK).upper()
    body = base64.b32decode(code + '=' * (-len(code) % 8))
    at = -1
    for _ in ('folder', 'issuer', 'seed'):
        at = body.index(CBOR_BYTES_32, at + 1) + 2
        seed = body[at:at + BYTES]
        at += BYTES - 1
    return {'the seed of an invite': seed, 'the key of an invite': blake3.derive_key('dunlin 1 invite psk', seed)}


def of_kit(link):
    """The seed of a recovery kit, as its link has it, and the words of the link."""
    code = link.removeprefix(KIT).upper()
    body = base64.b32decode(code + '=' * (-len(code) % 8))
    # Before it are a head and the folder, after it a check.
    return {'the seed of a recovery kit': body[-BYTES - CHECK:-CHECK]}


def spellings(secret):
    """The ways in which a program would write these bytes, without regard to case; those of base32 and base64 at each place of a
    longer text, without the characters that neighbours share."""
    yield secret.hex()
    yield ', '.join(str(byte) for byte in secret)
    yield ','.join(str(byte) for byte in secret)
    yield ':'.join(f'{byte:02x}' for byte in secret)
    yield ''.join(f'\\x{byte:02x}' for byte in secret)
    for encode, group, size in ((base64.b32encode, 5, 8), (base64.b64encode, 3, 4), (base64.urlsafe_b64encode, 3, 4)):
        for shift in range(group):
            whole = secret[(group - shift) % group:]
            whole = whole[:len(whole) // group * group]
            yield encode(whole).decode()[:len(whole) // group * size]


def found_in(text, secrets):
    """Names of the secrets that stand in a text, in any spelling; half of one counts."""
    flat = text.lower()
    is_there = lambda spelt: any(part.lower() in flat for part in (spelt[:len(spelt) // 2], spelt[len(spelt) // 2:]) if len(part) >= SHORTEST)  # noqa: E731
    return [name for name, secret in secrets.items() if any(is_there(spelt) for spelt in spellings(secret))]
