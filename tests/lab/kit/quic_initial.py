"""A true QUIC version 1 Initial packet with a ClientHello, as any QUIC client would send it.

The packet is the example of RFC 9001, appendix A.2, computed here: AES-128 and GCM are written out
because Python's standard library has no cipher, and this is the only place that needs one.
"""

import hmac
import struct

SALT_V1 = bytes.fromhex('38762cf7f55934b34d179ae6a4c80cadccbb7f0a')
CONNECTION_ID = bytes.fromhex('8394c8f03e515708')
CLIENT_HELLO = bytes.fromhex(
    '010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000c0'
    '00000010000e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e00'
    '0500050100000000003300260024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d7'
    '48002b0003020304000d0010000e0403050306030203080408050806002d00020101001c00024001003900320408ffffff'
    'ffffffffff05048000ffff07048000ffff0801100104800075300901100f088394c8f03e51570806048000ffff')
PACKET_NUMBER = 2
DATAGRAM_LEN = 1200


def client_initial():
    """The protected packet: 1 200 bytes."""
    crypto = b'\x06\x00' + struct.pack('!H', 0x4000 | len(CLIENT_HELLO)) + CLIENT_HELLO
    head_len, number_len, tag_len = 18, 4, 16
    plain = crypto.ljust(DATAGRAM_LEN - head_len - number_len - tag_len, b'\0')
    rest = number_len + len(plain) + tag_len
    head = bytes([0xc3]) + struct.pack('!I', 1) + bytes([len(CONNECTION_ID)]) + CONNECTION_ID + b'\0\0'
    head += struct.pack('!H', 0x4000 | rest) + struct.pack('!I', PACKET_NUMBER)
    secret = expand(hmac.digest(SALT_V1, CONNECTION_ID, 'sha256'), 'client in', 32)
    key, vector, mask_key = expand(secret, 'quic key', 16), expand(secret, 'quic iv', 12), expand(secret, 'quic hp', 16)
    nonce = (int.from_bytes(vector) ^ PACKET_NUMBER).to_bytes(12)
    sealed = gcm_seal(key, nonce, plain, head)
    mask = Aes(mask_key).block(sealed[:16])
    first = bytes([head[0] ^ (mask[0] & 0x0f)])
    number = bytes(byte ^ pad for byte, pad in zip(head[-number_len:], mask[1:]))
    return first + head[1:-number_len] + number + sealed


def expand(secret, label, length):
    """HKDF-Expand-Label of RFC 8446 with an empty context, one block."""
    name = b'tls13 ' + label.encode()
    info = struct.pack('!HB', length, len(name)) + name + b'\0\x01'
    return hmac.digest(secret, info, 'sha256')[:length]


def times_two(byte):
    """A byte times x in the field of AES."""
    return ((byte << 1) ^ (0x1b if byte & 0x80 else 0)) & 0xff


def substitution():
    """The S-box of FIPS 197, from its definition: inverse, then the affine map."""
    powers, logs, value = [0] * 255, [0] * 256, 1
    for exponent in range(255):
        powers[exponent], logs[value] = value, exponent
        value ^= times_two(value)
    box = []
    for byte in range(256):
        inverse = powers[-logs[byte] % 255] if byte else 0
        turned = 0x63
        for shift in range(5):
            turned ^= ((inverse << shift) | (inverse >> (8 - shift))) & 0xff
        box.append(turned)
    return box


SBOX = substitution()


class Aes:
    """AES with a 128-bit key, encryption of single blocks (FIPS 197)."""

    def __init__(self, key):
        words = [list(key[at:at + 4]) for at in range(0, 16, 4)]
        constant = 1
        while len(words) < 44:
            word = list(words[-1])
            if len(words) % 4 == 0:
                word = [SBOX[byte] for byte in word[1:] + word[:1]]
                word[0] ^= constant
                constant = times_two(constant)
            words.append([old ^ new for old, new in zip(words[-4], word)])
        self.keys = [sum(words[at:at + 4], []) for at in range(0, 44, 4)]

    def block(self, data):
        """One block of 16 bytes."""
        state = [byte ^ key for byte, key in zip(data, self.keys[0])]
        for number, keys in enumerate(self.keys[1:], 1):
            state = [SBOX[state[(at + 4 * (at % 4)) % 16]] for at in range(16)]
            if number < 10:
                state = sum((mix(state[at:at + 4]) for at in range(0, 16, 4)), [])
            state = [byte ^ key for byte, key in zip(state, keys)]
        return bytes(state)


def mix(column):
    """MixColumns on one column."""
    whole = column[0] ^ column[1] ^ column[2] ^ column[3]
    return [byte ^ whole ^ times_two(byte ^ column[(at + 1) % 4]) for at, byte in enumerate(column)]


def gcm_seal(key, nonce, plain, bound):
    """Ciphertext and tag of AES-128-GCM (NIST SP 800-38D)."""
    cipher = Aes(key)
    sealed = bytearray()
    for number, at in enumerate(range(0, len(plain), 16), 2):
        pad = cipher.block(nonce + struct.pack('!I', number))
        sealed += bytes(byte ^ key_byte for byte, key_byte in zip(plain[at:at + 16], pad))
    point, total = int.from_bytes(cipher.block(bytes(16))), 0
    lengths = struct.pack('!QQ', len(bound) * 8, len(sealed) * 8)
    for data in (bound, bytes(sealed), lengths):
        for at in range(0, len(data), 16):
            total = field_product(total ^ int.from_bytes(data[at:at + 16].ljust(16, b'\0')), point)
    tag = total ^ int.from_bytes(cipher.block(nonce + b'\0\0\0\1'))
    return bytes(sealed) + tag.to_bytes(16)


def field_product(left, right):
    """The product in GHASH's field, most significant bit first."""
    result = 0
    for bit in range(127, -1, -1):
        if left >> bit & 1:
            result ^= right
        right = (right >> 1) ^ (0xe1 << 120 if right & 1 else 0)
    return result


def self_test():
    """The bytes that the RFC prints: the head, the first sample and the end of the packet."""
    packet = client_initial()
    return (packet[:38].hex() == 'c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9b'
            and packet[-16:].hex() == 'e221af44860018ab0856972e194cd934')
