//! One UDP socket with segmentation and coalescing offloads, by quinn-udp.

use crate::limits::{DATAGRAMS_MAX, RECEIVE_BUFFERS, SOCKET_BUFFER};
use bytes::BytesMut;
use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{RecvMeta, UdpSocketState};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// One socket.
pub struct Socket {
    /// The socket itself, for waiting on it.
    pub udp: UdpSocket,
    state: UdpSocketState,
    buffers: Vec<u8>,
}

/// A datagram that came.
pub struct Received {
    /// From where.
    pub remote: SocketAddr,
    /// To which of our addresses.
    pub local_ip: Option<IpAddr>,
    /// Congestion mark.
    pub ecn: Option<EcnCodepoint>,
    /// Its bytes.
    pub data: BytesMut,
}

impl Socket {
    /// Binds; the system may grant smaller buffers than asked for.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        let udp = UdpSocket::bind(addr)?;
        let state = UdpSocketState::new((&udp).into())?;
        // A smaller buffer works too, only slower.
        let _ = state.set_recv_buffer_size((&udp).into(), SOCKET_BUFFER);
        let _ = state.set_send_buffer_size((&udp).into(), SOCKET_BUFFER);
        Ok(Self { udp, state, buffers: vec![0; RECEIVE_BUFFERS * (DATAGRAMS_MAX + 1)] })
    }

    /// Whether datagrams may be fragmented on the way.
    pub fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// Datagrams that one call can send.
    pub fn gso_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Sends a batch; `WouldBlock` if the socket is full.
    pub fn send(&self, transmit: &Transmit, contents: &[u8]) -> io::Result<()> {
        let transmit = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: &contents[..transmit.size],
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        self.state.try_send((&self.udp).into(), &transmit)
    }

    /// Receives what is there; calls `take` for each datagram. False if nothing was there.
    pub fn receive(&mut self, mut take: impl FnMut(Received)) -> io::Result<bool> {
        let mut metas = [RecvMeta::default(); RECEIVE_BUFFERS];
        let mut slices: Vec<IoSliceMut<'_>> =
            self.buffers.chunks_mut(DATAGRAMS_MAX + 1).map(IoSliceMut::new).collect();
        let count = match self.state.recv((&self.udp).into(), &mut slices, &mut metas) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            // An ICMP error for something we sent, or an interruption: not about this socket.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset
                        | io::ErrorKind::ConnectionRefused
                        | io::ErrorKind::Interrupted
                ) =>
            {
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        for (meta, slice) in metas.iter().zip(&slices).take(count) {
            let ecn = meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8));
            for datagram in slice[..meta.len].chunks(meta.stride.max(1)) {
                let data = BytesMut::from(datagram);
                take(Received { remote: meta.addr, local_ip: meta.dst_ip, ecn, data });
            }
        }
        Ok(true)
    }
}
