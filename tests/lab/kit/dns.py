"""What a DNS message says (RFC 1035), as far as names and texts go."""

import struct

PORT_MULTICAST = 5353
A, PTR, TXT, SRV, NSEC = 1, 12, 16, 33, 47


def words(message):
    """All labels of all names, and all texts."""
    found = set()
    _, _, questions, answers, authorities, more = struct.unpack_from('!6H', message)
    at = 12
    for _ in range(questions):
        at = name(message, at, found) + 4
    for _ in range(answers + authorities + more):
        at = name(message, at, found)
        kind, _, _, length = struct.unpack_from('!HHIH', message, at)
        at += 10
        if kind in (PTR, NSEC):
            name(message, at, found)
        elif kind == SRV:
            name(message, at + 6, found)
        elif kind == TXT:
            found.add(message[at:at + length].strip(b'\0'))
        at += length
    return found - {b''}


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
