"""Several machines in networks of their own, with a router between them: no multicast and no broadcast of one reaches another.

The namespaces carry the prefix `dlr` and this process's id, and are removed at the end; the machine's own network is never
touched.
"""

import os
import socket
import struct
import subprocess

from .network import PORT, tool, within

MDNS_GROUP, MDNS_PORT = '224.0.0.251', 5353
LISTENING_S = 1.0


class Routed:
    """`count` namespaces that all reach each other by way of a router; a context manager."""

    def __init__(self, count):
        self.router = f'dlr{os.getpid()}r'
        self.namespaces = [f'dlr{os.getpid()}n{number}' for number in range(count)]

    def __enter__(self):
        self._remove()
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def _make(self):
        tool('ip', 'netns', 'add', self.router)
        tool('ip', 'netns', 'exec', self.router, 'sysctl', '-qw', 'net.ipv4.ip_forward=1')
        for number, namespace in enumerate(self.namespaces):
            tool('ip', 'netns', 'add', namespace)
            tool('ip', '-n', namespace, 'link', 'set', 'lo', 'up')
            tool('ip', 'link', 'add', 'eth0', 'netns', namespace, 'type', 'veth',
                 'peer', 'name', f'net{number}', 'netns', self.router)
            tool('ip', '-n', self.router, 'addr', 'add', f'10.82.{number}.254/24', 'dev', f'net{number}')
            tool('ip', '-n', self.router, 'link', 'set', f'net{number}', 'up')
            tool('ip', '-n', namespace, 'addr', 'add', f'{self.address(number)}/24', 'dev', 'eth0')
            tool('ip', '-n', namespace, 'link', 'set', 'eth0', 'up')
            tool('ip', '-n', namespace, 'route', 'add', 'default', 'via', f'10.82.{number}.254')

    def __exit__(self, *_):
        self._remove()

    def _remove(self):
        for namespace in (*self.namespaces, self.router):
            subprocess.run(['ip', 'netns', 'del', namespace], capture_output=True)

    def address(self, number):
        """The address of one machine."""
        return f'10.82.{number}.1'

    def listen(self, number):
        """Where it listens."""
        return f'{self.address(number)}:{PORT}'

    def hears_multicast(self, sender, listener):
        """Whether what one machine says to the group of mDNS comes to another."""
        def ear():
            heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            heard.bind(('', MDNS_PORT))
            heard.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                             struct.pack('4s4s', socket.inet_aton(MDNS_GROUP), socket.inet_aton(self.address(listener))))
            heard.settimeout(LISTENING_S)
            return heard

        def say():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
                mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
                mouth.sendto(b'anybody there?', (MDNS_GROUP, MDNS_PORT))
        with within(self.namespaces[listener], ear) as heard:
            within(self.namespaces[sender], say)
            try:
                return bool(heard.recv(100))
            except TimeoutError:
                return False
