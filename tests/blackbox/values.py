"""Contents that say what they are: no two are alike, and a part of one is recognised as no whole.

Blobs carry their number, device and length at the beginning and a checksum at the end. Texts are lines, each
with its own number and checksum, between a first and a last line, so that a merge of two is recognised too.
"""

import hashlib
import random
import re
import zlib

HEAD = 96
TAIL = 32
BLOB_LEAST = HEAD + TAIL + 32
SLOTS = 24
LINE = re.compile(rb'(\d{3}) line (\d+) of device (\d): ([a-z ]+) ([0-9a-f]{8})')
HEADING = re.compile(rb'document (\d+) begins')
ENDING = re.compile(rb'document (\d+) ends')
HEADER = re.compile(rb'\0value (\d+) of device (\d), document (\d+), (\d+) bytes\0')
WORDS = ('tide', 'wader', 'flock', 'shore', 'reed', 'dune', 'gull', 'sand', 'wing', 'nest', 'salt', 'mud')


def digest(data):
    """The name of a content."""
    return hashlib.blake2b(data, digest_size=16).digest()


def blob(number, device, document, size):
    """A content of `size` bytes that no text merge touches."""
    size = max(size, BLOB_LEAST)
    return seal(number, device, document, random.Random(number).randbytes(size - HEAD - TAIL))


def seal(number, device, document, body):
    """Puts head and tail around a body."""
    size = HEAD + len(body) + TAIL
    head = f'\0value {number} of device {device}, document {document}, {size} bytes'.encode()
    whole = head.ljust(HEAD, b'\0') + body
    return whole + f'end {number}'.encode().ljust(TAIL - 16, b'\0') + digest(whole)


def patched(data, number, device, document, rng):
    """The same content with other bytes in its middle."""
    body = bytearray(data[HEAD:-TAIL])
    size = max(1, len(body) // 8)
    at = rng.randrange(len(body) - size + 1)
    body[at:at + size] = random.Random(number).randbytes(size)
    return seal(number, device, document, bytes(body))


def extended(data, number, device, document, size):
    """The same content and more behind it."""
    return data + blob(number, device, document, size)


def is_blob(data):
    """True for what was made by `blob` and those after it."""
    return data.startswith(b'\0value ') and len(data) >= BLOB_LEAST


def is_beginning(data):
    """True for the first bytes of a blob, or none: what there is while a writer has not come further."""
    head = HEADER.match(data[:HEAD])
    return not data or head is not None and blob(*map(int, head.groups())).startswith(data)


def line(slot, number, device):
    """One line of a text, without its end."""
    rng = random.Random(number)
    text = f'{slot:03} line {number} of device {device}: {" ".join(rng.choices(WORDS, k=6))}'.encode()
    return text + f' {zlib.crc32(text):08x}'.encode()


def text(document, lines):
    """A whole text."""
    heading, ending = f'document {document} begins'.encode(), f'document {document} ends'.encode()
    return b'\n'.join([heading, *lines, ending, b''])


def lines_of(data):
    """The document, and the lines of a whole text in their order; None if it is not whole."""
    parts = data.split(b'\n')
    if len(parts) != SLOTS + 3 or parts[-1]:
        return None
    heading, ending = HEADING.fullmatch(parts[0]), ENDING.fullmatch(parts[-2])
    if not heading or not ending or heading.group(1) != ending.group(1):
        return None
    lines = parts[1:-2]
    if any(slot_of(one) != slot for slot, one in enumerate(lines)):
        return None
    return int(heading.group(1)), lines


def slot_of(one):
    """The slot of a line that is whole, else None."""
    found = LINE.fullmatch(one)
    if not found or f'{zlib.crc32(one[:-9]):08x}'.encode() != one[-8:]:
        return None
    return int(found.group(1))


def number_of(one):
    """The number of a whole line."""
    return int(LINE.fullmatch(one).group(2))


def describe(data):
    """What an unknown content may be a part of, for people."""
    if not data:
        return 'an empty file'
    start, end = bytes(data[:HEAD]).rstrip(b'\0'), bytes(data[-TAIL:])
    return f'{len(data)} bytes that begin with {start[:70]!r} and end with {end!r}'
