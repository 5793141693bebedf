//! Keys and values of the tables. `docs/store.md` draws them.

use super::tables::{StoreError, Table};
use crate::disk::{DirId, ShownAs, Spot};
use dunlin_core::content::Content;
use dunlin_core::id::{ChainId, ContentHash, Dot, EntryId, NodeId, PeerId, VersionId};
use dunlin_core::ledger::clock::Clock;
use dunlin_core::path::Name;
use dunlin_core::secret::Secret;
use dunlin_core::tree::node::Place;
use minicbor::{Decode, Encode};

/// The rows of [`Table::Meta`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meta {
    /// The folder's id.
    Folder,
    /// This replica's chain.
    Chain,
    /// The id in the root's marker.
    Marker,
    /// The folder's secret.
    Secret,
    /// Whence it is, and those before it.
    Keys,
    /// Counts write transactions that marked places.
    Generation,
    /// The next [`DirId`].
    NextDir,
    /// The next intent.
    NextIntent,
    /// Directories whose winning move is skipped.
    Skipped,
    /// Bytes of the loose chunks that are kept as bases.
    LooseBytes,
    /// The texts of the ignore rules that are in force.
    IgnoreRules,
    /// How far the scrub is.
    Scrub,
    /// What is held.
    Held,
    /// The place of a chain from which on this ledger holds what its author has given up.
    Astray,
    /// Chains about whose forks this replica has given way once.
    Settled,
    /// The entry that was taken back and does not come in again for now.
    GivenUp,
    /// Chains of which what had been given up was let in again.
    Readmitted,
    /// What this device has to decide again about members.
    Owed,
    /// Chain and place of the forks that are known.
    Forks,
    /// The sums of what the files of each author take are kept.
    IsCounted,
}

impl Meta {
    /// Its key.
    pub fn key(self) -> &'static [u8] {
        match self {
            Meta::Folder => b"folder",
            Meta::Chain => b"chain",
            Meta::Marker => b"marker",
            Meta::Secret => b"secret",
            Meta::Keys => b"keys",
            Meta::Generation => b"generation",
            Meta::NextDir => b"next dir",
            Meta::NextIntent => b"next intent",
            Meta::Skipped => b"skipped",
            Meta::LooseBytes => b"loose bytes",
            Meta::IgnoreRules => b"ignore rules",
            Meta::Scrub => b"scrub",
            Meta::Held => b"held",
            Meta::Astray => b"astray",
            Meta::Settled => b"settled",
            Meta::GivenUp => b"given up at",
            Meta::Readmitted => b"readmitted",
            Meta::Owed => b"owed",
            Meta::Forks => b"forks",
            Meta::IsCounted => b"counted",
        }
    }
}

/// A decision about a member that was taken out of the ledger with a history that does not hold. Roles by their words.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Owed {
    /// It was admitted.
    #[n(0)]
    Admission {
        /// Who.
        #[n(0)]
        peer: PeerId,
        /// As what.
        #[n(1)]
        role: String,
        /// Its label.
        #[n(2)]
        label: String,
    },
    /// Its role was changed.
    #[n(1)]
    Role {
        /// Whose.
        #[n(0)]
        peer: PeerId,
        /// To what.
        #[n(1)]
        role: String,
    },
    /// It was removed.
    #[n(2)]
    Removal {
        /// Who.
        #[n(0)]
        peer: PeerId,
    },
}

impl Owed {
    /// Whom it is about.
    pub fn peer(&self) -> &PeerId {
        match self {
            Owed::Admission { peer, .. } | Owed::Role { peer, .. } | Owed::Removal { peer } => peer,
        }
    }
}

/// The prefix of the rows of [`Table::Meta`] that hold invites made here.
pub const INVITE_PREFIX: &[u8] = b"invite ";
/// The prefix of the rows of [`Table::Meta`] that hold how many bytes of this disk an author's files take.
pub const USED_PREFIX: &[u8] = b"used ";

/// An entry with what was derived for it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct EntryRow {
    /// Its chain.
    #[n(0)]
    pub chain: ChainId,
    /// Its place there.
    #[n(1)]
    pub seq: u64,
    /// Its Lamport time.
    #[n(2)]
    pub lamport: u64,
    /// Its causal past.
    #[n(3)]
    pub past: Clock,
    /// The signature.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub signature: [u8; 64],
    /// The bytes that were signed.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

/// A chain's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct HeadRow {
    /// Its last entry's place.
    #[n(0)]
    pub seq: u64,
    /// Its last entry.
    #[n(1)]
    pub id: EntryId,
}

/// Why an entry does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct QuarantineRow {
    /// It lies beyond the cut of its author's removal; else its author's role was undone.
    #[n(0)]
    pub is_cut: bool,
}

/// Where a chunk's bytes are: in a file that shows this node, at this offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ChunkPlace {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// As which of its contents.
    #[n(1)]
    pub shown_as: ShownAs,
    /// Bytes from the file's start.
    #[n(2)]
    pub offset: u64,
    /// Bytes.
    #[n(3)]
    pub len: u32,
}

/// What is known of a peer.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct PeerRow {
    /// Its label.
    #[n(0)]
    pub label: String,
    /// Where it was reached, the latest first.
    #[n(1)]
    pub addrs: Vec<String>,
    /// When it was last connected, by this device's clock, milliseconds since 1970; 0: by a version that kept no time.
    #[n(2)]
    #[cbor(default)]
    pub seen_ms: i64,
}

/// The heads of a file that has several.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ConflictRow {
    /// Its content versions, by id.
    #[n(0)]
    pub heads: Vec<VersionId>,
    /// They can never be merged.
    #[n(1)]
    pub is_settled: bool,
}

/// Why a chunk is kept that no file may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LooseKind {
    /// A text as somebody had it: what changes of it may be merged upon. Goes when there is no more room.
    Base = 0,
    /// A merged text on its way to its file.
    Merged = 1,
}

/// A chunk that no file may hold.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct LooseRow {
    /// Plain bytes.
    #[n(0)]
    pub size: u32,
    /// The payload is an LZ4 block.
    #[n(1)]
    pub lz4: bool,
    /// The chunk.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub payload: Vec<u8>,
    /// Of a merged text: the node, and the hash of the whole.
    #[n(3)]
    pub merged: Option<(NodeId, ContentHash)>,
}

/// A file on disk whose bytes changed without its stat. Counts for as long as the row of its spot says that the
/// found bytes stand there.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct CorruptRow {
    /// The node that is shown there.
    #[n(0)]
    pub node: NodeId,
    /// As which of its contents.
    #[n(1)]
    pub shown_as: ShownAs,
    /// The bytes that were found.
    #[n(2)]
    pub found: Content,
    /// What should stand there.
    #[n(3)]
    pub good: Content,
    /// When it was found by this device's clock, milliseconds since 1970.
    #[n(4)]
    pub noted_ms: i64,
}

/// How far the scrub is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct ScrubRow {
    /// Where the pass goes on that is under way.
    #[n(0)]
    pub from: Option<ScrubCursor>,
    /// When the last pass ended by this device's clock, milliseconds since 1970.
    #[n(1)]
    pub ended_ms: Option<i64>,
}

/// A place in a pass over all bytes: files up to this spot were read, and of the one at it so many chunks.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ScrubCursor {
    /// The spot that was read last.
    #[n(0)]
    pub spot: Spot,
    /// Chunks of its file that were read; 0: it is done.
    #[n(1)]
    pub chunks: u32,
    /// The bytes in them.
    #[n(2)]
    pub bytes: u64,
}

/// An invite made here.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct InviteRow {
    /// Its number, for the transport.
    #[n(0)]
    pub number: u64,
    /// Its seed.
    #[n(1)]
    pub seed: Secret,
    /// Its public key.
    #[n(2)]
    pub key: PeerId,
    /// Its user is asked before it admits anybody.
    #[cbor(n(3), default)]
    pub asks: bool,
}

/// Whence the folder's secret is, and those before it that still open a handshake.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct KeysRow {
    /// The change of secrets that was taken up last; none: the founder's is in use.
    #[n(0)]
    pub epoch: Option<Dot>,
    /// Newest first.
    #[n(1)]
    pub former: Vec<FormerKey>,
    /// The number of the next former one.
    #[n(2)]
    pub next: u64,
}

/// A secret that the folder had.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct FormerKey {
    /// Its number, for the transport.
    #[n(0)]
    pub number: u64,
    /// The secret.
    #[n(1)]
    pub secret: Secret,
    /// When this device took up the next, milliseconds since 1970.
    #[n(2)]
    pub replaced_ms: i64,
    /// Those who were members then and have not come with a newer one since.
    #[n(3)]
    pub unmet: Vec<PeerId>,
}

/// What the mass-change guard holds, and what people have said of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct HeldRow {
    /// Changes that were made here and are not signed.
    #[n(0)]
    pub local: Option<Hold>,
    /// Changes that others made and that are not done here, by who made them.
    #[n(1)]
    pub remote: Vec<(PeerId, Hold)>,
}

/// One mass change.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Hold {
    /// What is to become of it.
    #[n(0)]
    pub word: Word,
    /// Files that are or were deleted by it.
    #[n(1)]
    pub deleted: u64,
    /// Files that are or were made noise, or written over.
    #[n(2)]
    pub rewritten: u64,
    /// Some of the paths, escaped for a terminal.
    #[n(3)]
    pub paths: Vec<String>,
}

/// What is to become of a mass change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum Word {
    /// Nobody has said so yet.
    #[default]
    #[n(0)]
    Awaited,
    /// It is done.
    #[n(1)]
    Accepted,
    /// It is taken back.
    #[n(2)]
    Rejected,
}

/// Encodes a value.
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    // Writing to a Vec cannot fail.
    minicbor::to_vec(value).expect("a Vec takes all bytes")
}

/// Decodes a value of `table`.
pub fn decode<'b, T: Decode<'b, ()>>(table: Table, bytes: &'b [u8]) -> Result<T, StoreError> {
    minicbor::decode(bytes).map_err(|_| StoreError::Malformed(table))
}

/// Key of a chain.
pub fn chain_key(chain: &ChainId) -> Vec<u8> {
    [&chain.author.0[..], &chain.incarnation.to_be_bytes()].concat()
}

/// A chain from its key.
pub fn chain_from_key(key: &[u8]) -> Option<ChainId> {
    let author = PeerId::from_slice(key.get(..32)?)?;
    Some(ChainId { author, incarnation: u64::from_be_bytes(key.get(32..40)?.try_into().ok()?) })
}

/// The seq from a key of [`chain_seq_key`].
pub fn seq_from_key(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(40..48)?.try_into().ok()?))
}

/// Key of a place in a chain.
pub fn chain_seq_key(chain: &ChainId, seq: u64) -> Vec<u8> {
    [&chain_key(chain)[..], &seq.to_be_bytes()].concat()
}

/// Which register a superseded version belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegisterKind {
    /// Content.
    Content = 0,
    /// Place.
    Place = 1,
}

/// Key of a superseded version.
pub fn old_key(node: &NodeId, register: RegisterKind, id: &VersionId) -> Vec<u8> {
    [&old_prefix(node, register)[..], &id.to_key()].concat()
}

/// Prefix of the superseded versions of one register.
pub fn old_prefix(node: &NodeId, register: RegisterKind) -> Vec<u8> {
    [&node.to_key()[..], &[register as u8]].concat()
}

/// Prefix of a directory's children of one name. No name holds NUL, so names sort before longer ones.
pub fn child_prefix(parent: &NodeId, name: &Name) -> Vec<u8> {
    [&parent.to_key()[..], name.as_bytes(), &[0]].concat()
}

/// Key of a child.
pub fn child_key(parent: &NodeId, name: &Name, node: &NodeId) -> Vec<u8> {
    [&child_prefix(parent, name)[..], &node.to_key()].concat()
}

/// Name and node of a child's key.
pub fn child_from_key(key: &[u8]) -> Option<(Name, NodeId)> {
    let at = key.len().checked_sub(NodeId::KEY_LEN)?;
    let name = Name::parse(key.get(NodeId::KEY_LEN..at.checked_sub(1)?)?).ok()?;
    Some((name, NodeId::from_key(&key[at..])?))
}

/// Key of a place in the ledger's tree.
pub fn place_key(place: &Place) -> Vec<u8> {
    [&place.parent.to_key()[..], place.name.as_bytes()].concat()
}

/// A place from its key.
pub fn place_from_key(key: &[u8]) -> Option<Place> {
    let parent = NodeId::from_key(key.get(..NodeId::KEY_LEN)?)?;
    Some(Place { parent, name: Name::parse(&key[NodeId::KEY_LEN..]).ok()? })
}

/// Key of a loose chunk.
pub fn loose_key(kind: LooseKind, hash: &ContentHash) -> Vec<u8> {
    [&[kind as u8][..], &hash.0].concat()
}

/// Key of a directory.
pub fn dir_key(dir: DirId) -> [u8; 8] {
    dir.0.to_be_bytes()
}

/// Key of a spot.
pub fn spot_key(spot: &Spot) -> Vec<u8> {
    [&dir_key(spot.dir)[..], spot.name.as_bytes()].concat()
}

/// Key of where a node is on disk.
pub fn located_key(node: &NodeId, shown_as: ShownAs) -> Vec<u8> {
    let mut key = node.to_key().to_vec();
    if let ShownAs::Copy(version) = shown_as {
        key.extend_from_slice(&version.to_key());
    }
    key
}
