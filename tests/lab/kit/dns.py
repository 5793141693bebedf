"""What a DNS message says (RFC 1035): names, texts and addresses."""

import struct

PORT_MULTICAST = 5353
A, PTR, TXT, AAAA, SRV, NSEC = 1, 12, 16, 28, 33, 47


def words(message):
    """All labels of all names, and all texts."""
    found = set()
    for kind, at, length in records(message, found):
        if kind in (PTR, NSEC):
            name(message, at, found)
        elif kind == SRV:
            name(message, at + 6, found)
        elif kind == TXT:
            found.add(message[at:at + length].strip(b'\0'))
    return found - {b''}


def addresses(message):
    """The bytes of all addresses."""
    return {message[at:at + length] for kind, at, length in records(message, set()) if kind in (A, AAAA)}


def records(message, found):
    """(kind, where its data begin, their length) of each record; adds the labels of the questions' and the records' names."""
    _, _, questions, answers, authorities, more = struct.unpack_from('!6H', message)
    at = 12
    for _ in range(questions):
        at = name(message, at, found) + 4
    for _ in range(answers + authorities + more):
        at = name(message, at, found)
        kind, _, _, length = struct.unpack_from('!HHIH', message, at)
        yield kind, at + 10, length
        at += 10 + length


def name(message, at, found):
    """Adds the labels of a name; where it ends."""
    end = None
    while message[at]:
        if message[at] >= 0xc0:
            end = end or at + 2
            at = struct.unpack_from('!H', message, at)[0] & 0x3fff
            continue
        found.add(message[at + 1:at + 1 + message[at]])
        at += 1 + message[at]
    return end or at + 1
