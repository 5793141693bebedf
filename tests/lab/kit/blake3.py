"""BLAKE3's hash and key derivation of one chunk, up to 1 024 bytes, as its specification draws it.

The standard library has none, and the lab installs nothing.
"""

import struct

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
COLUMNS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15), (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
CHUNK_START, CHUNK_END, ROOT, CONTEXT, MATERIAL = 1, 2, 8, 32, 64
BLOCK = 64
ROUNDS = 7


def digest(data):
    """The hash."""
    return chunk(IV, data, 0)


def derive_key(context, material):
    """The key for a context."""
    return chunk(words(chunk(IV, context.encode(), CONTEXT)), material, MATERIAL)


def chunk(key, data, flags):
    """The output of a tree that is one chunk."""
    assert len(data) <= 1024
    blocks = [data[at:at + BLOCK] for at in range(0, len(data), BLOCK)] or [b'']
    value = key
    for number, block in enumerate(blocks):
        here = flags | (CHUNK_START if number == 0 else 0) | (CHUNK_END | ROOT if number == len(blocks) - 1 else 0)
        value = compress(value, words(block.ljust(BLOCK, b'\0')), len(block), here)
    return struct.pack('<8I', *value)


def compress(value, message, length, flags):
    """One block, at counter zero."""
    state = [*value, *IV[:4], 0, 0, length, flags]
    for _ in range(ROUNDS):
        for number, column in enumerate(COLUMNS):
            mix(state, *column, *message[2 * number:2 * number + 2])
        message = [message[at] for at in ORDER]
    return [one ^ other for one, other in zip(state[:8], state[8:], strict=True)]


def mix(state, a, b, c, d, *parts):
    """The quarter round."""
    for part, first, second in zip(parts, (16, 8), (12, 7), strict=True):
        state[a] = state[a] + state[b] + part & 0xFFFFFFFF
        state[d] = turned(state[d] ^ state[a], first)
        state[c] = state[c] + state[d] & 0xFFFFFFFF
        state[b] = turned(state[b] ^ state[c], second)


def turned(word, by):
    """Rotated to the right."""
    return (word >> by | word << 32 - by) & 0xFFFFFFFF


def words(data):
    """Little-endian words of 32 bits."""
    return list(struct.unpack(f'<{len(data) // 4}I', data))
