//! The hostile device: a member by a real invite, whose key this process holds.

use super::book::Book;
use super::device::{PATIENCE, until};
use super::line::Line;
use super::session::{Session, nothing};
use dunlin_core::content::{Body, Content, Meta};
use dunlin_core::id::{ChainId, ContentHash, FolderId};
use dunlin_core::identity::{Domain, Identity};
use dunlin_core::invite::{Invite, JoinProof, folder_psk, invite_psk};
use dunlin_core::ledger::entry::{Entry, SignedEntry};
use dunlin_core::ledger::event::Event;
use dunlin_core::ledger::frontier::Frontier;
use dunlin_core::message::{Hello, JoinRequest, Message, PROTOCOL};
use dunlin_core::path::Name;
use dunlin_transport::shaping::Shaper;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Events that a session keeps: more than any test leaves untaken.
const ROOM: usize = 8192;

pub struct Member {
    pub identity: Identity,
    pub folder: FolderId,
    secret: [u8; 32],
    pub chain: ChainId,
    pub book: Book,
}

impl Member {
    /// Redeems an invite.
    pub fn join(invite: &Invite, number: u8) -> Self {
        let identity = Identity::from_seed(&[number; 32]);
        let mut session = knock(invite, &identity);
        let secret = loop {
            if let Some(secret) = welcomed(&session) {
                break secret;
            }
            assert!(session.take(PATIENCE) && session.over.is_none(), "not welcome: {:?}", session.over);
        };
        let chain = ChainId { author: identity.peer_id(), incarnation: 0xbad };
        let (folder, book) = (invite.folder, Book::new(invite.folder));
        let mut member = Self { identity, folder, secret, chain, book };
        member.catch_up(&mut session);
        member
    }

    /// Somebody who knows all that it knows, the secret too, and has another key.
    pub fn thief(&self, number: u8) -> Self {
        let identity = Identity::from_seed(&[number; 32]);
        let chain = ChainId { author: identity.peer_id(), ..self.chain };
        Self { identity, folder: self.folder, secret: self.secret, chain, book: self.book.clone() }
    }

    /// As `device list` names it.
    pub fn name(&self) -> String {
        self.identity.peer_id().to_string()
    }

    /// A session in which it has said hello, and nothing else.
    pub fn call(&self, addr: SocketAddr) -> Session {
        self.call_by(Line::new(&self.identity, ROOM, Shaper::default()), addr)
    }

    /// The same by a program of its own.
    pub fn call_by(&self, mut line: Line, addr: SocketAddr) -> Session {
        let (conn, binding) = line.dial(addr, self.psk(), None).unwrap();
        let mut session = Session::new(line, conn, binding);
        session.say(&self.hello());
        session
    }

    pub fn psk(&self) -> [u8; 32] {
        *folder_psk(&self.secret)
    }

    pub fn hello(&self) -> Message {
        let (folder, replica) = (self.folder, self.chain);
        Message::Hello(Hello {
            protocol: PROTOCOL,
            folder,
            replica,
            label: "harm".to_owned(),
            join: None,
            rotations: Vec::new(),
        })
    }

    /// A session in which both know what the other knows. One that is kept out for now is begun again.
    pub fn meet(&mut self, addr: SocketAddr) -> Session {
        let mut met = None;
        until("it is let in", || {
            let mut session = self.call(addr);
            let is_in = self.catch_up(&mut session);
            met = Some(session).filter(|_| is_in);
            met.is_some()
        });
        met.unwrap()
    }

    /// Learns all that the other end has; false if the session ends instead.
    pub fn catch_up(&mut self, session: &mut Session) -> bool {
        session.say(&Message::Frontier(self.book.frontier().clone()));
        let end = Instant::now() + PATIENCE;
        loop {
            let is_level = |theirs: &Frontier| !theirs.exceeds(self.book.frontier());
            if session.over.is_some() || session.theirs.as_ref().is_some_and(is_level) {
                return session.over.is_none();
            }
            assert!(Instant::now() < end, "it is not told what there is");
            session.turn(&mut self.book, &mut nothing);
        }
    }

    /// The next entry of its chain, by all rules but for what it says. The book does not have it yet.
    pub fn next(&self, events: Vec<Event>) -> Entry {
        self.book.next(self.chain, &self.identity, events)
    }

    pub fn sign(&self, entry: &Entry) -> SignedEntry {
        SignedEntry::sign(entry, &self.identity)
    }

    /// The same for bytes that need not be an entry.
    pub fn sign_bytes(&self, bytes: Vec<u8>) -> SignedEntry {
        let mut signed = SignedEntry { bytes, signature: [0; 64] };
        let message = [self.folder.0, signed.id().0].concat();
        signed.signature = self.identity.sign(Domain::Entry, &message);
        signed
    }

    /// Signs the next entry of its chain, and goes on from there.
    pub fn sign_next(&mut self, events: Vec<Event>) -> SignedEntry {
        let signed = self.sign(&self.next(events));
        self.book.learn(&signed);
        signed
    }

    /// "There is a file".
    pub fn file(&self, name: &str, content: Content) -> Event {
        Event::Created {
            parent: self.book.root(),
            name: Name::parse(name.as_bytes()).unwrap(),
            body: Body::File(content),
            meta: Meta { mode: 0o644, ..Meta::default() },
        }
    }

    /// Says all entries that it signed, and waits until the other end has them.
    pub fn tell(&mut self, session: &mut Session, entries: &[SignedEntry]) {
        session.tell_entries(entries);
        let last = entries.last().unwrap().decode().unwrap();
        session.turn_until("the entries are taken", &mut self.book, &mut nothing, |session, _| {
            session.theirs.as_ref().is_some_and(|theirs| theirs.next_seq(&last.chain) > last.seq)
        });
    }
}

/// The folder's secret, if this session was given it.
pub fn welcomed(session: &Session) -> Option<[u8; 32]> {
    session.heard.iter().find_map(|message| match message {
        Message::Welcome(welcome) => Some(*welcome.secret),
        _ => None,
    })
}

/// A content of one chunk.
pub fn small(bytes: &[u8]) -> Content {
    Content { size: bytes.len() as u64, hash: ContentHash::of(bytes), manifest: None }
}

/// A session in which this device redeems an invite. The answer is still to come.
pub fn knock(invite: &Invite, identity: &Identity) -> Session {
    let mut session = ring(invite, identity);
    let hello = redemption(invite, identity, &session.binding);
    session.say(&hello);
    session
}

/// The connection for that, in which nothing is said yet.
pub fn ring(invite: &Invite, identity: &Identity) -> Session {
    let mut line = Line::new(identity, ROOM, Shaper::default());
    let end = Instant::now() + PATIENCE;
    loop {
        match line.dial(invite.addrs[0], *invite_psk(&invite.seed), Some(invite.issuer)) {
            Ok((conn, binding)) => return Session::new(line, conn, binding),
            Err(why) => assert!(Instant::now() < end, "{why}"),
        }
        // The program hears of a new invite a moment after it is made.
        let _ = crossbeam_channel::after(Duration::from_millis(20)).recv();
    }
}

/// The hello that redeems an invite.
pub fn redemption(invite: &Invite, identity: &Identity, binding: &[u8; 32]) -> Message {
    let proof = JoinProof::sign(invite, &identity.peer_id(), binding);
    let join = Some(JoinRequest { label: "harm".to_owned(), key: invite.key().peer_id(), proof });
    let replica = ChainId { author: identity.peer_id(), incarnation: 0xbad };
    Message::Hello(Hello {
        protocol: PROTOCOL,
        folder: invite.folder,
        replica,
        label: "harm".to_owned(),
        join,
        rotations: Vec::new(),
    })
}
