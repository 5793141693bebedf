//! Every bound of the rules and formats, in one place, with the relations between them.
//!
//! `transport` has its own list for datagrams and streams. A number here that a peer can notice is
//! part of the wire or ledger format; changing it needs a new version.

/// Bytes of one name in a path.
pub const NAME_BYTES_MAX: usize = 255;
/// Names in a path (P-16).
pub const PATH_DEPTH_MAX: usize = 128;
/// Bytes of a symbolic link's target (Linux `PATH_MAX`).
pub const SYMLINK_TARGET_MAX: usize = 4096;

/// Encoded bytes of one ledger entry, signature included.
pub const ENTRY_BYTES_MAX: usize = 256 * 1024;
/// Events in one entry.
pub const ENTRY_EVENTS_MAX: usize = 1000;
/// Parents of one entry.
pub const ENTRY_PARENTS_MAX: usize = 16;
/// Versions in a `base`.
pub const BASE_MAX: usize = 64;
/// Lamport times stay below this (INV-14).
pub const LAMPORT_MAX: u64 = 1 << 48;
/// Bytes of a label (device or folder).
pub const LABEL_BYTES_MAX: usize = 64;
/// Members that one folder can have.
pub const MEMBERS_MAX: usize = 1024;

/// Bytes of one chunk.
pub const CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A content up to this size is one chunk and needs no manifest.
pub const SINGLE_CHUNK_MAX: u64 = 128 * 1024;
/// The smallest fixed chunk.
pub const FIXED_CHUNK_MIN: usize = 256 * 1024;
/// Content-defined chunks: minimum, average and maximum size.
pub const CDC_MIN: usize = 16 * 1024;
/// See [`CDC_MIN`].
pub const CDC_AVG: usize = 64 * 1024;
/// See [`CDC_MIN`].
pub const CDC_MAX: usize = 256 * 1024;
/// Chunks that one manifest can list (P-16).
pub const MANIFEST_CHUNKS_MAX: usize = 1 << 20;
/// Chunks in one manifest segment.
pub const SEGMENT_CHUNKS_MAX: usize = 1024;
/// Encoded bytes of a manifest's root or of one segment.
pub const MANIFEST_PART_BYTES_MAX: usize = 1024 * 1024;

/// Encoded bytes of one message on the control lane.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Entries' bytes in one `Entries` message.
pub const ENTRIES_MESSAGE_BYTES: usize = 512 * 1024;
/// Items in one request for contents.
pub const WANT_ITEMS_MAX: usize = 1024;

const _: () = assert!(SINGLE_CHUNK_MAX as usize <= CHUNK_BYTES_MAX);
const _: () = assert!(CDC_MIN < CDC_AVG && CDC_AVG < CDC_MAX && CDC_MAX <= CHUNK_BYTES_MAX);
const _: () = assert!(ENTRY_BYTES_MAX + ENTRIES_MESSAGE_BYTES <= MESSAGE_BYTES_MAX);
const _: () = assert!(SEGMENT_CHUNKS_MAX * 40 < MANIFEST_PART_BYTES_MAX);
