"""Several machines in networks of their own, with a router between them: no multicast and no broadcast of one reaches another."""

import socket
import struct

from .machines import Machines
from .network import tool, within

MDNS_GROUP, MDNS_PORT = '224.0.0.251', 5353
LISTENING_S = 1.0


class Routed(Machines):
    """`count` namespaces that all reach each other by way of a router; a context manager."""

    def __init__(self, count):
        super().__init__('dlr', count)

    def _make(self):
        tool('ip', 'netns', 'exec', self.hub, 'sysctl', '-qw', 'net.ipv4.ip_forward=1')
        for number, namespace in enumerate(self.namespaces):
            self._add(number, f'net{number}')
            tool('ip', '-n', self.hub, 'addr', 'add', f'10.82.{number}.254/24', 'dev', f'net{number}')
            tool('ip', '-n', self.hub, 'link', 'set', f'net{number}', 'up')
            tool('ip', '-n', namespace, 'route', 'add', 'default', 'via', f'10.82.{number}.254')

    def address(self, number):
        """The address of one machine."""
        return f'10.82.{number}.1'

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
