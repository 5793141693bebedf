"""Two machines on one cable: two network namespaces joined by a veth pair, with counters, cuts and a capture.

The namespaces carry the prefix `dlt` and this process's id, and are removed at the end; the machine's own
network is never touched.
"""

import ctypes
import os
import socket
import struct
import subprocess
import threading

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
PACKET_OUTGOING = 4
FRAME_MAX = 1 << 17
SO_RCVBUFFORCE = 33

PORT = 27272


class Cable:
    """Namespaces `left` and `right` with one address each; a context manager."""

    def __init__(self):
        self.left, self.right = f'dlt{os.getpid()}l', f'dlt{os.getpid()}r'
        self.addresses = {self.left: '10.79.0.1', self.right: '10.79.0.2'}

    def __enter__(self):
        self._remove()
        for namespace in (self.left, self.right):
            tool('ip', 'netns', 'add', namespace)
            tool('ip', '-n', namespace, 'link', 'set', 'lo', 'up')
        tool('ip', 'link', 'add', 'eth0', 'netns', self.left, 'mtu', '1500', 'type', 'veth',
             'peer', 'name', 'eth0', 'netns', self.right, 'mtu', '1500')
        for namespace, address in self.addresses.items():
            tool('ip', '-n', namespace, 'addr', 'add', f'{address}/24', 'dev', 'eth0')
            tool('ip', '-n', namespace, 'link', 'set', 'eth0', 'up')
        return self

    def __exit__(self, *_):
        self._remove()

    def _remove(self):
        for namespace in (self.left, self.right):
            subprocess.run(['ip', 'netns', 'del', namespace], capture_output=True)

    def rate(self, megabits):
        """Limits what leaves either side, in Mbit/s."""
        for namespace in (self.left, self.right):
            tool('ip', 'netns', 'exec', namespace, 'tc', 'qdisc', 'replace', 'dev', 'eth0', 'root', 'tbf',
                 'rate', f'{megabits}mbit', 'burst', '256kb', 'latency', '20ms')

    def cut(self, namespace):
        """Takes the cable out at one side."""
        tool('ip', '-n', namespace, 'link', 'set', 'eth0', 'down')

    def mend(self, namespace):
        """Puts it in again."""
        tool('ip', '-n', namespace, 'link', 'set', 'eth0', 'up')

    def received(self, namespace):
        """Bytes that came in there, with all headers, since the cable was made."""
        return self._counter(namespace, 0)

    def crossed(self):
        """Bytes in both directions since the cable was made."""
        return self._counter(self.left, 0) + self._counter(self.left, 8)

    def _counter(self, namespace, column):
        text = tool('ip', 'netns', 'exec', namespace, 'cat', '/proc/net/dev')
        line = next(line for line in text.splitlines() if line.strip().startswith('eth0:'))
        return int(line.split(':')[1].split()[column])


class Capture:
    """All frames that pass a namespace's interface while it is open, as (outgoing, bytes)."""

    def __init__(self, namespace):
        self.namespace, self.frames = namespace, []

    def __enter__(self):
        self.socket = within(self.namespace, packet_socket)
        self.done = False
        self.thread = threading.Thread(target=self._record, daemon=True)
        self.thread.start()
        return self

    def _record(self):
        self.socket.settimeout(0.1)
        while True:
            try:
                frame, address = self.socket.recvfrom(FRAME_MAX)
            except TimeoutError:
                # The socket is drained before the end is believed, so no frame is missed.
                if self.done:
                    return
                continue
            self.frames.append((address[2] == PACKET_OUTGOING, frame))

    def __exit__(self, *_):
        self.done = True
        self.thread.join()
        self.socket.close()

    def datagrams(self, outgoing, source=None, target=None):
        """The UDP payloads in one direction, from one port and to one port where those are given."""
        payloads = []
        for is_outgoing, frame in self.frames:
            found = udp_payload(frame)
            if found and is_outgoing == outgoing and source in (None, found[0]) and target in (None, found[1]):
                payloads.append(found[2])
        return payloads


def packet_socket():
    """A raw socket on eth0 of the current namespace."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    raw.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    raw.bind(('eth0', ETH_P_ALL))
    return raw


def udp_payload(frame):
    """(source port, target port, payload) of an Ethernet frame with UDP over IPv4, or over IPv6 with no header between, else None."""
    if len(frame) >= 42 and frame[12:14] == b'\x08\x00' and frame[23] == socket.IPPROTO_UDP:
        start = 14 + (frame[14] & 15) * 4
    elif len(frame) >= 62 and is_over_six(frame) and frame[20] == socket.IPPROTO_UDP:
        start = 54
    else:
        return None
    return *struct.unpack_from('!HH', frame, start), frame[start + 8:]


def is_over_six(frame):
    """True for an Ethernet frame with IPv6."""
    return frame[12:14] == b'\x86\xdd'


def within(namespace, make):
    """What `make` returns when a thread calls it inside the namespace."""
    result = []

    def enter():
        library = ctypes.CDLL(None, use_errno=True)
        with open(f'/run/netns/{namespace}') as handle:
            if library.setns(handle.fileno(), CLONE_NEWNET):
                result.append(OSError(ctypes.get_errno(), 'setns'))
                return
        try:
            result.append(make())
        except OSError as trouble:
            result.append(trouble)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[0]


def tool(*argv):
    """Runs a system tool; its complaint becomes the exception's text."""
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f'{" ".join(argv)}: {done.stderr.strip()}')
    return done.stdout
