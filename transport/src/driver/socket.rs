//! One UDP socket with segmentation and coalescing offloads, by quinn-udp.

use super::batches::Batches;
use crate::endpoint::Datagram;
use crate::limits::{DATAGRAMS_MAX, RECEIVE_BUFFERS, SOCKET_BUFFER};
use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{RecvMeta, UdpSocketState};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

/// Bytes of a receive buffer: one more than fits, as quinn-udp wants the whole of a coalesced batch.
const BUFFER_LEN: usize = DATAGRAMS_MAX + 1;

/// One socket.
pub(super) struct Socket {
    udp: UdpSocket,
    state: UdpSocketState,
    /// Where it is bound.
    pub local: SocketAddr,
    buffers: Vec<u8>,
    batches: Batches,
}

/// What became of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// The system has it, or QUIC will notice its loss.
    Taken,
    /// The socket is full.
    Full,
    /// There is no way to its destination.
    Unreachable,
}

impl Socket {
    /// Binds. An IPv6 socket takes IPv6 only: IPv4 has sockets of its own.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let fd = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        if addr.is_ipv6() {
            sockopt::set_ipv6_v6only(&fd, true)?;
        }
        bind(&fd, &addr)?;
        let udp = UdpSocket::from(fd);
        let state = UdpSocketState::new((&udp).into())?;
        // A smaller buffer works too, only slower.
        let _ = state.set_recv_buffer_size((&udp).into(), SOCKET_BUFFER);
        let _ = state.set_send_buffer_size((&udp).into(), SOCKET_BUFFER);
        // Without them a dial of nobody takes until its time-out.
        let _ = state.enable_transport_errors((&udp).into());
        let local = udp.local_addr()?;
        Ok(Self {
            udp,
            state,
            local,
            buffers: vec![0; RECEIVE_BUFFERS * BUFFER_LEN],
            batches: Batches::default(),
        })
    }

    /// True if datagrams may be fragmented on the way.
    pub fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// Datagrams that one call can send; may shrink when the system shows that it cannot.
    pub fn datagrams_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Sends a batch.
    pub fn send(&self, transmit: &Transmit, contents: &[u8]) -> Sent {
        let transmit = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: &contents[..transmit.size],
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        let attempt = || self.state.try_send((&self.udp).into(), &transmit);
        // The system may report here what became of an earlier datagram; the second attempt is about this one.
        let result = attempt().or_else(|error| match error.kind() {
            ErrorKind::WouldBlock => Err(error),
            _ => attempt(),
        });
        match result.map_err(|error| error.kind()) {
            Err(ErrorKind::WouldBlock) => Sent::Full,
            Err(ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::AddrNotAvailable) => {
                Sent::Unreachable
            }
            // An error is a probe that is too large for the path, or a batch that the system cannot segment:
            // quinn-udp remembers, QUIC repeats.
            Ok(()) | Err(_) => Sent::Taken,
        }
    }

    /// Receives what is there, and calls `take` for each datagram. False if nothing was there.
    pub fn receive(&mut self, mut take: impl FnMut(Datagram)) -> io::Result<bool> {
        let mut metas = [RecvMeta::default(); RECEIVE_BUFFERS];
        let mut buffers = self.buffers.chunks_exact_mut(BUFFER_LEN);
        // There are as many buffers as asked for here.
        let mut slices: [IoSliceMut<'_>; RECEIVE_BUFFERS] =
            std::array::from_fn(|_| IoSliceMut::new(buffers.next().expect("a buffer for each slice")));
        let count = match self.state.recv((&self.udp).into(), &mut slices, &mut metas) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if is_about_others(error.kind()) => return Ok(true),
            Err(error) => return Err(error),
        };
        for (meta, slice) in metas.iter().zip(&slices).take(count) {
            let ecn = meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8));
            let mut batch = self.batches.copy(&slice[..meta.len]);
            while !batch.is_empty() {
                let data = batch.split_to(meta.stride.clamp(1, batch.len()));
                take(Datagram { remote: meta.addr, local_ip: meta.dst_ip, ecn, data });
            }
        }
        Ok(true)
    }

    /// Takes what the network said about datagrams that we sent; calls `take` for each host that says that nobody
    /// listens.
    pub fn receive_errors(&self, mut take: impl FnMut(IpAddr)) {
        while let Ok(Some(error)) = self.state.recv_transport_error((&self.udp).into()) {
            if let (quinn_udp::TransportErrorPayload::Unreachable, Some(addr)) = (error.payload, error.addr) {
                take(addr.ip());
            }
        }
    }
}

/// An error that says something about a datagram that we sent, or about nothing.
fn is_about_others(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::Interrupted
            | ErrorKind::PermissionDenied
    )
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.udp.as_fd()
    }
}
