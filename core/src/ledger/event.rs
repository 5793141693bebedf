//! The facts that a ledger entry can state.

use crate::content::{Body, Meta};
use crate::id::{ChainId, EntryId, NodeId, PeerId, VersionId};
use crate::identity::sealed::SEALED_LEN;
use crate::path::Name;

/// What a member may do (DESIGN §4, membership).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Reads.
    Reader,
    /// Reads and writes files.
    Writer,
    /// Reads, writes, and decides who is a member.
    Admin,
}

impl Role {
    /// By its word, as people type it.
    pub fn parse(word: &str) -> Option<Self> {
        [Role::Reader, Role::Writer, Role::Admin].into_iter().find(|role| role.word() == word)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Role::Reader => "reader",
            Role::Writer => "writer",
            Role::Admin => "admin",
        }
    }
}

/// One fact. The event's own dot is (the entry's chain, its seq, its index in the entry).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The folder begins. Only event of the first entry of its founder's chain; makes the founder
    /// admin and is the root directory's creation (its dot is the root [`NodeId`]).
    Founded {
        /// The folder's label.
        label: String,
        /// The founder's label.
        device: String,
        /// Random, so that no two folders have one id.
        nonce: [u8; 16],
        /// The key of the recovery kit: no member, and senior to every admin for as long as the folder lives.
        recovery: Option<PeerId>,
    },
    /// A node came to be. `body` says its kind and is never `Deleted`.
    Created {
        /// The directory that holds it.
        parent: NodeId,
        /// Its name there.
        name: Name,
        /// What it holds.
        body: Body,
        /// Mode and time.
        meta: Meta,
    },
    /// A node's content or metadata changed.
    Written {
        /// The node.
        node: NodeId,
        /// The content versions that were on this disk when the change was seen.
        base: Vec<VersionId>,
        /// What it holds now; never `Deleted`, of the node's own kind.
        body: Body,
        /// Mode and time.
        meta: Meta,
    },
    /// Texts that were written at the same time are one again. Counts as `Written`; says that no person did it.
    Merged {
        /// The node.
        node: NodeId,
        /// All content versions that it unites.
        base: Vec<VersionId>,
        /// The merged text, a file.
        body: Body,
        /// Mode and time.
        meta: Meta,
    },
    /// A node went to another place.
    Moved {
        /// The node.
        node: NodeId,
        /// The place versions that were on this disk.
        base: Vec<VersionId>,
        /// The directory that holds it now.
        parent: NodeId,
        /// Its name there.
        name: Name,
    },
    /// A node was deleted.
    Deleted {
        /// The node.
        node: NodeId,
        /// The content versions that were on this disk.
        base: Vec<VersionId>,
    },
    /// Somebody was admitted.
    MemberAdded {
        /// The new member.
        peer: PeerId,
        /// What it may do.
        role: Role,
        /// Its label.
        label: String,
        /// The invite that it redeemed.
        invite: Option<VersionId>,
    },
    /// A member's role changed.
    RoleChanged {
        /// The member.
        peer: PeerId,
        /// What it may do from now on.
        role: Role,
    },
    /// A member was removed; entries of its chains beyond the cuts do not count.
    Revoked {
        /// Who.
        peer: PeerId,
        /// The last accepted entry of each of its chains.
        cuts: Vec<(ChainId, u64, EntryId)>,
    },
    /// An invite was made. It gives nothing by itself; `MemberAdded` does.
    InviteCreated {
        /// The public key of the invite's seed.
        key: PeerId,
        /// The role that it leads to.
        role: Role,
        /// Issuer's wall clock, milliseconds since 1970.
        not_after_ms: i64,
        /// How often it can be redeemed.
        uses: u32,
        /// The device that alone can redeem it; none: whoever has the seed.
        device: Option<PeerId>,
    },
    /// The folder's secret is another from now on, sealed to each member that is to know it.
    KeyEpoch {
        /// Sorted, each member once.
        sealed: Vec<(PeerId, [u8; SEALED_LEN])>,
    },
    /// The author's device has another key from now on, and stays the member that it was. The only event of its entry.
    KeyRotated {
        /// The new key.
        key: PeerId,
        /// The new key's consent, see [`super::rotation`].
        proof: [u8; 64],
    },
    /// A kind of event from a later version: carried, not applied.
    Unknown {
        /// Its number.
        kind: u32,
        /// Its encoded body.
        bytes: Vec<u8>,
    },
}
