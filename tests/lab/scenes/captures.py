"""Who captures what devices say to find each other by a code, on a network and at a server, cannot tell that one which was started
again is the same.

Of DNS-SD each word is looked at, and each address, which is one of the place and not of the device: others say the same there. Of all other datagrams each string of eight bytes: what two other devices in the same places say
as well (the beginning of a datagram, for one) tells nobody apart and is taken away. So are nameplates, which are drawn for each
code from so few numbers that they come again by chance.
"""

import os
import struct

from kit import dns, program, trees
from kit.network import Capture, is_over_six, udp_payload
from kit.program import Device
from kit.routed import Routed
from kit.scenes import check, scene
from kit.switch import Switch

from .codes import JOINER, RENDEZVOUS_PORT, SERVER, SHARER
from .outsider import FOLDER_NAME

# What repeats in so many bytes is a name, but for counters and what is padded with zeros.
WINDOW = 8
DIFFERENT_MIN = 4
# What every dunlin says by mDNS.
WORDS = {b'code', b'_udp', b'local', b'_services', b'_dns-sd'}
# Sharing by a code is eight round trips.
DATAGRAMS_MIN = 8


class Pair:
    """A sharer and a joiner with homes of their own."""

    def __init__(self, stage, net, name):
        self.stage, self.net, self.name = stage, net, name
        self.devices = [Device(stage.binary, stage.path(f'home-{name}-{number}'), net.namespaces[number]) for number in (SHARER, JOINER)]
        self.shared = os.path.join(stage.fresh(name), FOLDER_NAME)
        trees.small_files(self.shared, 10, seed=61)

    def live(self, number, *more):
        """They meet by a code, and end; each one's payloads."""
        captures = [Capture(self.net.namespaces[side]) for side in (SHARER, JOINER)]
        with captures[0], captures[1]:
            sharing = self.devices[0].start('--json', 'share', self.shared, '--code', '--listen', self.net.listen(SHARER), *more)
            code = sharing.record_with('code')['code']
            joined = self.devices[1].run('--json', 'join', code, self.stage.fresh(f'{self.name}-{number}'), '--once', '--listen', self.net.listen(JOINER), *more)
            check(joined.code == program.IN_SYNC, f'they meet: {joined.describe()}')
            sharing.interrupt()
        said = [Said(code, own_datagrams(capture)) for capture in captures]
        check(min(len(one.payloads) for one in said) >= DATAGRAMS_MIN, f'the captures hold what both say: {[len(one.payloads) for one in said]} datagrams')
        return said


class Said:
    """What one device sent in one life, without the nameplate: words by mDNS, payloads of all other datagrams."""

    def __init__(self, code, datagrams):
        nameplate = code.split('-')[0]
        self.words, self.addresses, self.payloads, self.over_six = set(), set(), [], 0
        for is_six, (_, port, payload) in datagrams:
            if port == dns.PORT_MULTICAST:
                self.over_six += is_six
                self.addresses |= dns.addresses(payload)
                self.words |= dns.words(payload) - WORDS - {f'_dunlin-{nameplate}'.encode()}
            else:
                self.payloads.append(payload.replace(struct.pack('!I', int(nameplate)), b''))


def own_datagrams(capture):
    """Of what went out: whether it was over IPv6, and source port, target port and payload."""
    found = [(is_over_six(frame), udp_payload(frame)) for is_outgoing, frame in capture.frames if is_outgoing]
    return [(is_six, one) for is_six, one in found if one]


def windows(payloads):
    """All strings of that length that are more than a counter."""
    every = (payload[at:at + WINDOW] for payload in payloads for at in range(len(payload) - WINDOW + 1))
    return {one for one in every if len(set(one)) >= DIFFERENT_MIN}


def repeats(lives):
    """What comes in more than one of these sets."""
    seen, repeated = set(), set()
    for life in lives:
        repeated |= life & seen
        seen |= life
    return repeated


def check_untold(stage, pairs, lives, *more):
    """In none of so many lives does a device of the first pair repeat what the second pair does not say as well. Gives how many words
    there were, and how many datagrams of mDNS over IPv6."""
    ours = [pairs[0].live(number, *more) for number in range(lives)]
    others = [pairs[1].live(number, *more) for number in range(2)]
    words, six = 0, 0
    for side, name in enumerate(('sharer', 'joiner')):
        told = repeats(life[side].words for life in ours)
        check(not told, f'the {name} repeats words: {told}')
        addresses = [set.union(*(life[side].addresses for life in lives)) for lives in (ours, others)]
        check(addresses[0] <= addresses[1], f'the {name} says addresses that are not those of the place: {addresses[0] - addresses[1]}')
        common = windows(payload for life in others for payload in life[side].payloads)
        strings = repeats(windows(life[side].payloads) for life in ours)
        planted = [windows([life[side].payloads[0] + FOLDER_NAME.encode()]) for life in ours]
        check(repeats(planted), 'what comes again is found')
        check(not strings - common, f'the {name} repeats {len(strings - common)} strings: {sorted(strings - common)[:4]}')
        words += sum(len(life[side].words) for life in ours)
        over_six = sum(life[side].over_six for life in ours)
        stage.note(f'{name}: {sum(len(life[side].payloads) for life in ours)} datagrams in {lives} lives; by mDNS {len(addresses[0])} addresses, {over_six} datagrams over IPv6')
        six += over_six
    return words, six


@scene('captures: who shares by a code on one network again and again is not told apart', root=True, tools=('ip',), measures=True)
def on_one_network(stage):
    """By mDNS, the sharer's own rendezvous and the session that follows."""
    with Switch(2) as switch:
        words, over_six = check_untold(stage, [Pair(stage, switch, name) for name in ('ours', 'others')], stage.size(3, 6))
        check(words >= stage.size(3, 6), f'each life has a name of its own, and it is seen: {words}')
        check(over_six, 'what is said over IPv6 is looked at')


@scene('captures: who shares by a code at a server again and again is not told apart', root=True, tools=('ip', 'sysctl'))
def at_a_server(stage):
    """By the server's datagrams and the session that follows."""
    with Routed(3) as net:
        at = f'{net.address(SERVER)}:{RENDEZVOUS_PORT}'
        server = Device(stage.binary, stage.path('home-server'), net.namespaces[SERVER]).start('--json', 'rendezvous', 'serve', '--listen', at)
        try:
            server.record_with('listening')
            check_untold(stage, [Pair(stage, net, name) for name in ('ours', 'others')], 3, '--rendezvous', at)
        finally:
            server.kill()
