//! One program of the hostile device: the transport's real driver, on a socket of its own.

use super::device::PATIENCE;
use crossbeam_channel::{Receiver, Sender, bounded};
use dunlin_core::id::PeerId;
use dunlin_core::identity::Identity;
use dunlin_transport::driver::{Setup, Waker, spawn};
use dunlin_transport::shaping::Shaper;
use dunlin_transport::{CloseReason, Command, ConnId, Event, PskId};
use std::net::SocketAddr;
use std::time::Duration;

const PSK: PskId = PskId(0);

pub struct Line {
    commands: Sender<Command>,
    events: Receiver<Event>,
    waker: Waker,
    tickets: u64,
    /// Connections that the other end has closed.
    pub closed: usize,
}

impl Line {
    /// `room`: events that are kept before the driver reads no further.
    pub fn new(identity: &Identity, room: usize, shaper: Shaper) -> Self {
        let (commands, to_obey) = bounded(4096);
        let (told, events) = bounded(room);
        let waker = Waker::new().unwrap();
        let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let identity = identity.clone();
        spawn(Setup { identity, listen, commands: to_obey, events: told, waker: waker.clone(), shaper })
            .unwrap();
        Self { commands, events, waker, tickets: 0, closed: 0 }
    }

    pub fn tell(&self, command: Command) {
        self.commands.send(command).unwrap();
        self.waker.wake();
    }

    /// What the driver reports next, if it does so in time.
    pub fn next(&mut self, wait: Duration) -> Option<Event> {
        let event = self.events.recv_timeout(wait).ok()?;
        self.waker.taken();
        let is_closed = matches!(event, Event::Closed { reason: CloseReason::PeerClosed { .. }, .. });
        self.closed += usize::from(is_closed);
        Some(event)
    }

    /// Connects; gives the connection and its binding.
    pub fn dial(
        &mut self,
        addr: SocketAddr,
        psk: [u8; 32],
        expect: Option<PeerId>,
    ) -> Result<(ConnId, [u8; 32]), String> {
        self.tickets += 1;
        self.tell(Command::SetPsk { id: PSK, key: psk.into() });
        self.tell(Command::Dial { ticket: self.tickets, addr, psk: PSK, expect });
        while let Some(event) = self.next(PATIENCE) {
            match event {
                Event::Connected { conn, binding, outbound, .. } if outbound == Some(self.tickets) => {
                    return Ok((conn, binding));
                }
                Event::DialFailed { error, .. } => return Err(error.to_string()),
                _ => {}
            }
        }
        Err("no answer".to_owned())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // The driver also ends by itself once nobody commands it.
        let _ = self.commands.try_send(Command::Shutdown);
        self.waker.wake();
    }
}
