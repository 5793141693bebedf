//! Every bound of the rules and formats, in one place, with the relations between them.
//!
//! `transport` has its own list for datagrams and streams. A number here that a peer can notice is
//! part of the wire or ledger format; changing it needs a new version.

use std::time::Duration;

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
/// Chains that one removal can list with their cuts.
pub const CUTS_MAX: usize = 1024;
/// Keys that one member can have had before its last.
pub const ROTATIONS_MAX: usize = 64;
/// Rotations of its own that a device shows in its first word; who has missed more hears of them from others.
pub const HELLO_ROTATIONS_MAX: usize = 8;
/// Bytes of an entry with a rotation: head, parents, two keys and two signatures, each place at its longest.
pub const ROTATION_BYTES_MAX: usize = 1024;
/// Admins that it takes at least to remove a senior one: never one alone, whatever it can make of the others.
pub const QUORUM_MIN: usize = 2;

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
/// Heads that one message lists of a frontier; one with more goes in parts. Also: chains that a peer says to have and
/// this device does not, of which a session keeps that.
pub const FRONTIER_HEADS_MAX: usize = 8192;
/// Bytes of the words in a goodbye or a refusal; longer ones are cut.
pub const TEXT_BYTES_MAX: usize = 256;
/// Addresses in one invite.
pub const INVITE_ADDRS_MAX: usize = 32;
/// The largest nameplate of a short code.
pub const NAMEPLATE_MAX: u32 = 999_999;
/// Where nameplates are drawn from: a further attempt, since one was taken, draws from more of them.
pub const NAMEPLATE_RANGES: [u32; 4] = [999, 9_999, 99_999, NAMEPLATE_MAX];
/// How long a code is good.
pub const CODE_LIFETIME: Duration = Duration::from_secs(600);
/// Codes of one folder that a device gives out within [`CODE_LIFETIME`]: so many guesses has whoever burns them (P-12).
pub const CODES_MAX: usize = 3;
/// Bytes that either end of a code says at once; the longest is a proof with an invite of [`INVITE_ADDRS_MAX`].
pub const CODE_PAYLOAD_BYTES_MAX: usize = 4608;
/// Runs of chunks in one word on what a device holds.
pub const HAVE_RUNS_MAX: usize = 4096;
/// Items in one request for contents.
pub const WANT_ITEMS_MAX: usize = 1024;

/// Bytes of a text that is merged with others.
pub const MERGE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Lines of such a text: what the search for differences costs grows faster than they do.
pub const MERGE_LINES_MAX: usize = 128 * 1024;
/// Lines that one side has added and taken away; whoever rewrote more has written another text.
pub const MERGE_EDITS_MAX: u32 = 4096;
/// Lines between the first and the last change that are repeated more than 63 times, both sides together.
pub const MERGE_REPEATED_MAX: u32 = 16 * 1024;
/// Bytes of texts that are kept as bases, compressed; and the share of it that new files may fill, which come by
/// thousands: what is changed is changed again.
pub const LOOSE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// See [`LOOSE_BYTES_MAX`].
pub const LOOSE_BYTES_OF_NEW: u64 = 8 * 1024 * 1024;
/// Bytes of texts that are read again with one batch of observations.
pub const TEXT_BATCH_BYTES: u64 = 8 * 1024 * 1024;
/// Texts merged in one transaction.
pub const MERGE_BATCH: usize = 16;
/// Common bases that a merge tries; histories that cross more often are left to people.
pub const MERGE_BASES_MAX: usize = 4;

/// Read transactions of one store at a time; each room holds one at most, each digest hand too.
pub const STORE_READERS_MAX: u32 = 64;
/// Bytes of mapped files that one process keeps in memory while it works, the program's own 6 MiB included; one long
/// transaction can see more...
pub const RESIDENT_MAX: usize = 24 * 1024 * 1024;
/// ...and it is asked once for so many transactions of a store.
pub const RESIDENT_ASKED_EVERY: u32 = 64;
/// Vanished things that a scan can match with new places; beyond, a move is a deletion and a creation.
/// About 200 bytes each.
pub const SCAN_VANISHED_MAX: usize = 200_000;
/// Directories that a scan's first walk spares the second; the others are listed twice. About 200 bytes each.
pub const SCAN_UNCHANGED_MAX: usize = 50_000;
/// Rows that a look goes through for the other names of a file that was changed in place, about a quarter of a second; the
/// survey comes to those beyond.
pub const SCAN_LINKED_ROWS_MAX: usize = 262_144;
/// Names compared by one piece of the background scanner's pass: a few milliseconds of stats.
pub const SURVEY_NAMES: usize = 2048;
/// Differences that such a pass keeps until its end; beyond, a whole scan follows. About 100 bytes each.
pub const SURVEY_DIFFER_MAX: usize = 8192;
/// Files of which a piece of the scrub reads the bytes, and the bytes after which it ends.
pub const SCRUB_FILES: usize = 256;
/// See [`SCRUB_FILES`].
pub const SCRUB_BYTES: u64 = 8 * 1024 * 1024;
/// Files that wait to be read again since their bytes seem to be corrupt; the next scrub finds those beyond. About
/// 100 bytes each.
pub const SUSPECTS_MAX: usize = 4096;
/// Paths that could not be read and are looked at again; the background scanner finds those beyond. About 100 bytes each.
pub const UNREADABLE_MAX: usize = 4096;
/// Hints that the watcher keeps until the engine takes them; beyond, everything may have changed. About 100
/// bytes each.
pub const HINTS_MAX: usize = 16_384;
/// Names that wait for their look; beyond, the directories that hold them wait instead, and beyond that the
/// whole folder. About 200 bytes each.
pub const LOOKS_WAITING_MAX: usize = 16_384;
/// Files that are remembered because they were made or kept changing a short while ago. About 150 bytes each.
pub const RESTLESS_MAX: usize = 1024;
/// Files of fewer bytes are read as often as they are saved.
pub const HEAVY_MIN: u64 = 16 * 1024 * 1024;
/// Bytes of a file of ignore rules; none of a longer one counts.
pub const IGNORE_BYTES_MAX: usize = 256 * 1024;
/// Ignore rules that count, of all lists together. About 1 kB each, compiled.
pub const IGNORE_LINES_MAX: usize = 4096;
/// From a look that missed something to the next, which is believed.
pub const SECOND_LOOK_AFTER: Duration = Duration::from_millis(500);
/// Former secrets of a folder that still open a handshake. Each costs a failed decryption for each first packet.
pub const FORMER_KEYS_MAX: usize = 4;
/// How long a secret opens handshakes at least once there is a newer one, so that who missed the change can catch up.
pub const FORMER_KEY_KEPT: Duration = Duration::from_secs(14 * 24 * 3600);
/// Names that were missing at one look and wait for the second; beyond, everything is looked at again. About 150
/// bytes each.
pub const DOUBTS_MAX: usize = 16_384;
/// Beyond so many somebody is probably still deleting: the second look waits for the rest.
pub const DOUBTS_FEW: usize = 48;
/// Nothing is written into a folder whose disk has less free than one part in so many...
pub const FREE_SHARE_MIN: u64 = 100;
/// ...or than so many bytes, whichever is less.
pub const FREE_BYTES_MIN: u64 = 1024 * 1024 * 1024;
/// First bytes of a content that are looked at to tell order from noise.
pub const LOOK_BYTES: usize = 4096;
/// Fewer say nothing.
pub const LOOK_BYTES_MIN: usize = 512;
/// A mass change: so many percent of a folder's files deleted within the window...
pub const HOLD_SHARE: u64 = 25;
/// ...and at least so many of them.
pub const HOLD_FILES_MIN: u64 = 100;
/// Or so many files made noise; in a folder of fewer than 2 500, one in fifty, but at least [`HOLD_NOISE_MIN`].
pub const HOLD_NOISE: u64 = 50;
/// See [`HOLD_NOISE`].
pub const HOLD_NOISE_MIN: u64 = 20;
/// Deletions that pass at once, in percent of the files, and at least so many; more wait until it is quiet.
pub const FREE_SHARE_OF_LOSSES: u64 = 2;
/// See [`FREE_SHARE_OF_LOSSES`].
pub const FREE_LOSSES_MIN: u64 = 15;
/// Files that were deleted within the last while of which it is kept in mind what they held; 60 bytes each.
pub const LOSSES_KNOWN_MAX: usize = 65_536;
/// Held paths that are kept to be listed; the others are counted.
pub const HELD_TOLD: usize = 200;
/// Observations that wait to be cut or recorded; the scan waits beyond. About 300 bytes each.
pub const SEEN_QUEUE_MAX: usize = 8192;
/// Files being cut at a time; each holds at most one read buffer of 1 MiB, or of one chunk for each
/// thread that reads a large one.
pub const CUTS_IN_FLIGHT: usize = 64;
/// Files in one order to cut.
pub const CUT_BATCH_FILES: usize = 16;
/// Bytes after which an order to cut takes no more files.
pub const CUT_BATCH_BYTES: u64 = 1024 * 1024;
/// Observations recorded in one transaction; as many as one entry has events.
pub const RECORD_BATCH: usize = 1000;

/// Steps of a plan under way at a time.
pub const STEPS_IN_FLIGHT: usize = 4096;
/// Plans in a row that have no step and mark places all the same; then the engine waits before it plans again.
pub const FRUITLESS_PLANS_MAX: u32 = 16;
/// Retries in a row that mend nothing before a one-shot run takes the folder for as good as it gets.
pub const IDLE_TRIES_MAX: u32 = 7;
/// Plans made at most to bring a folder in line without an engine; things that are in each other's way take a few.
pub const MEND_PLANS_MAX: usize = 64;
/// Steps asked for with one plan.
pub const PLAN_BATCH: usize = 1024;
/// Steps applied as one batch, under one intent.
pub const APPLY_BATCH: usize = 512;
/// Bytes of small contents in one batch of steps.
pub const APPLY_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Content bytes asked for and not yet applied or staged, all peers together (P-16).
pub const FETCH_BYTES_IN_FLIGHT: u64 = 16 * 1024 * 1024;
/// Plain bytes asked for with one request.
pub const WANT_BYTES: u64 = 4 * 1024 * 1024;
/// Large files fetched at a time.
pub const TRANSFERS_MAX: usize = 4;
/// Contents in which one peer is interested at a time; the oldest gives way. A little over 100 bytes each.
pub const INTERESTS_MAX: usize = 4 * TRANSFERS_MAX;
/// Requests to one session that were given up and may still be answered; with so many it is asked for nothing.
pub const REQUESTS_LEFT_MAX: usize = 64;
/// Chunks that a peer sent wrong and is not asked for again; beyond, it is asked for nothing of that content.
pub const WRONG_CHUNKS_MAX: usize = 1024;
/// Whoever sends so many wrong pieces is asked for nothing for a minute.
pub const WRONG_PIECES_MAX: u32 = 3;
/// Contents of which it is remembered that all their parts were right and the whole was not.
pub const UNTRUE_MAX: usize = 1024;
/// Forks of one author whose proofs are kept and passed on.
pub const FORKS_OF_ONE_MAX: usize = 16;
/// The same of all authors.
pub const FORKS_MAX: usize = 1024;
/// Entries of other histories than those that are here that a run remembers by their names.
pub const OTHERS_MAX: usize = 65_536;
/// Cuts of removals that it remembers which cannot be taken into the ledger.
pub const NAMED_MAX: usize = 1024;
/// How often a replica gives way about one chain.
pub const VERDICTS_MAX: usize = 8;
/// How often it takes again what it gave up of one chain, since nobody brought the other history.
pub const READMISSIONS_MAX: usize = 8;
/// How long what was given up stays out from when somebody shows it again.
pub const READMITTED_AFTER: Duration = Duration::from_secs(60);
/// Devices that broke the protocol and are remembered for it.
pub const PENALTIES_MAX: usize = 2 * MEMBERS_MAX;
/// How long a device stays out that broke the protocol for the first time; doubles.
pub const PENALTY_MIN: Duration = Duration::from_secs(1);
/// See [`PENALTY_MIN`].
pub const PENALTY_MAX: Duration = Duration::from_secs(300);
/// What a device may have another one do for nothing, as the sum of the costs below; one second of it passes in a second.
pub const WASTE_MAX: Duration = Duration::from_secs(64);
/// For a part of a content that is not here, for an entry whose past has not come, and for each KiB of entries that nobody has
/// looked at when a session ends: lookups, and three signatures to check in a KiB, 10 to 200 µs.
pub const WASTE_IN_VAIN: Duration = Duration::from_micros(500);
/// For an entry, or the proof of a fork, that is here already, as its sender knows: a signature to check, 60 µs.
pub const WASTE_REPEATED: Duration = Duration::from_millis(4);
/// For a frontier that confirms nothing: up to [`MESSAGE_BYTES_MAX`] to decode and compare, 1 ms; for a further hello, which is
/// written to the store; for a request that is taken back.
pub const WASTE_FRONTIER: Duration = Duration::from_millis(16);
/// For any other word that changes nothing.
pub const WASTE_WORD: Duration = Duration::from_micros(64);
/// Contents that were asked for in vain and are known for it; beyond, any may have been. About 12 bytes each.
pub const MISSED_MAX: usize = 256 * 1024;
/// Devices of which it is remembered what they had this one do for nothing, and the other way round. About 80 bytes each.
pub const WASTE_DEVICES_MAX: usize = 2 * MEMBERS_MAX;
/// Silences of a session on one content, after which it counts as one that does not have it.
pub const SILENCES_MAX: u32 = 8;
/// Content bytes asked from a source of unknown rate.
pub const SOURCE_WINDOW_FIRST: u64 = 1024 * 1024;
/// The least that is asked from a slow one.
pub const SOURCE_WINDOW_MIN: u64 = 256 * 1024;
/// Bulk bytes handed to the transport and not yet sent, for each session.
pub const BULK_CREDIT: u64 = 8 * 1024 * 1024;
/// Control bytes handed to the transport and not yet sent, for each session.
pub const CONTROL_CREDIT: u64 = 1024 * 1024;
/// Entries' bytes on their way to a peer that it has not confirmed.
pub const ENTRIES_UNCONFIRMED: u64 = 4 * 1024 * 1024;
/// Bytes of messages with entries that came from one device and are not in the ledger yet; who keeps to
/// [`ENTRIES_UNCONFIRMED`] reaches it only with several sessions one after the other. Decoded they take a few times as much.
pub const ENTRIES_WAITING_MAX: u64 = 16 * 1024 * 1024;
/// Control bytes that a session has not taken, whatever they say; then it is ended.
pub const CONTROL_UNSENT_MAX: u64 = 4 * 1024 * 1024;
/// Items of requests that wait to be served, for each session.
pub const SERVE_QUEUE_MAX: usize = 16 * 1024;
/// Items being read for peers at a time.
pub const SERVES_IN_FLIGHT: usize = 8;
/// Files placed before a sync makes them durable.
pub const SETTLE_STEPS: u64 = 8192;
/// Sessions of one replica.
pub const SESSIONS_MAX: usize = 64;
/// Addresses at which one run looks for members.
pub const DIALS_MAX: usize = 1024;
/// Lines of one kind that the log takes within [`LOG_SPAN`]: some 30 MB in a day at most.
pub const LOG_LINES_MAX: usize = 200;
/// See [`LOG_LINES_MAX`].
pub const LOG_SPAN: Duration = Duration::from_secs(60);
/// Bytes of one request over the control socket; the longest has some paths.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one answer, as text and as JSON together; kept in memory until it is written.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Clients of the control socket at a time, a thread each; further ones wait outside.
pub const CLIENTS_MAX: usize = 64;
/// Answers that are made at a time: each reads a store, and holds at most [`ANSWER_BYTES_MAX`].
pub const ANSWERS_MADE_MAX: usize = 4;
/// Questions of people that one run has not answered yet; further ones wait outside.
pub const ASKS_OPEN_MAX: usize = 64;
/// Events that are kept for those who follow them, all folders of a process together; the oldest go first. About
/// 300 bytes each.
pub const EVENTS_KEPT: usize = 4096;
/// Events sent to a follower at a time.
pub const EVENTS_BATCH: usize = 256;
/// Problems that a run lists when it is asked how it is doing; the others are counted.
pub const PROBLEMS_TOLD: usize = 20;
/// Things that a reader changed and does not share which are known to the plans; about 200 bytes each.
pub const UNSHARED_MAX: usize = 65_536;
/// Changes that a revert lists; the others are counted.
pub const REVERTED_TOLD: usize = 1000;
/// Places that cannot be mended now and are tried again later.
pub const STUCK_MAX: usize = 65_536;

/// An identity's file is no longer than this; more is not read.
pub const IDENTITY_BYTES_MAX: u64 = 4096;
/// The shortest passphrase that is taken, in bytes.
pub const PASSPHRASE_BYTES_MIN: usize = 8;
/// What a passphrase's parameters may ask for: a file must not make dunlin take all memory, or all day.
pub const ARGON2_MEMORY_KIB_MAX: u32 = 1 << 20;
/// Passes over that memory, likewise.
pub const ARGON2_PASSES_MAX: u32 = 16;
/// How soon, and how rarely at last, a locked keyring is asked again: each time the desktop may show a prompt.
pub const KEEPER_PAUSE_MIN: Duration = Duration::from_secs(2);
/// See [`KEEPER_PAUSE_MIN`].
pub const KEEPER_PAUSE_MAX: Duration = Duration::from_secs(60);

const _: () = assert!(EVENTS_BATCH <= EVENTS_KEPT);
const _: () = assert!(ANSWERS_MADE_MAX <= CLIENTS_MAX && CLIENTS_MAX <= ASKS_OPEN_MAX);
const _: () = assert!(SURVEY_DIFFER_MAX <= LOOKS_WAITING_MAX && DOUBTS_MAX <= LOOKS_WAITING_MAX);
const _: () = assert!(DOUBTS_FEW < DOUBTS_MAX && LOOK_BYTES_MIN <= LOOK_BYTES);
const _: () = assert!(HOLD_NOISE_MIN <= HOLD_NOISE && FREE_SHARE_OF_LOSSES < HOLD_SHARE);
const _: () = assert!(APPLY_BATCH <= STEPS_IN_FLIGHT && PLAN_BATCH <= STEPS_IN_FLIGHT);
const _: () = assert!(WANT_BYTES <= FETCH_BYTES_IN_FLIGHT && CHUNK_BYTES_MAX as u64 <= WANT_BYTES);
const _: () =
    assert!(SOURCE_WINDOW_MIN <= SOURCE_WINDOW_FIRST && SOURCE_WINDOW_FIRST <= FETCH_BYTES_IN_FLIGHT);
// A run is at most 11 bytes; what stands before the runs is less than 1 KiB.
const _: () = assert!(HAVE_RUNS_MAX * 11 + 1024 <= MESSAGE_BYTES_MAX);
const _: () = assert!(RECORD_BATCH <= ENTRY_EVENTS_MAX && RECORD_BATCH <= SEEN_QUEUE_MAX);
const _: () = assert!(SINGLE_CHUNK_MAX as usize <= CHUNK_BYTES_MAX);
const _: () = assert!(CDC_MIN < CDC_AVG && CDC_AVG < CDC_MAX && CDC_MAX <= CHUNK_BYTES_MAX);
// What one session may have under way, one message more, and the same of two sessions before it.
const _: () = assert!(3 * (ENTRIES_UNCONFIRMED + MESSAGE_BYTES_MAX as u64) <= ENTRIES_WAITING_MAX);
const _: () = assert!(CONTROL_CREDIT + 2 * MESSAGE_BYTES_MAX as u64 <= CONTROL_UNSENT_MAX);
const _: () = assert!(ENTRY_BYTES_MAX + ENTRIES_MESSAGE_BYTES <= MESSAGE_BYTES_MAX);
const _: () = assert!(LOOSE_BYTES_OF_NEW < LOOSE_BYTES_MAX && MERGE_BYTES_MAX < LOOSE_BYTES_MAX);
// Who stops asking when half of its budget is spent has the rest for what is under way.
const _: () = assert!(
    (STEPS_IN_FLIGHT + PLAN_BATCH + FETCH_BYTES_IN_FLIGHT as usize / CDC_MIN) as u128
        * WASTE_IN_VAIN.as_micros()
        < WASTE_MAX.as_micros() / 2
);
const _: () = assert!(SEGMENT_CHUNKS_MAX * 40 < MANIFEST_PART_BYTES_MAX);

/// Large files of which it is known what they consist of.
pub const KNOWN_FILES_MAX: usize = 4;
/// Chunks of such a file: 1.1 MB at 68 bytes each; a file of 64 GiB has so many.
pub const KNOWN_CHUNKS_MAX: usize = 16 * 1024;
/// A file of fewer chunks is hashed in a moment, and others are better known.
pub const KNOWN_CHUNKS_MIN: usize = 16;

/// The largest average of content-defined chunks; the smallest is [`CDC_AVG`].
pub const CDC_AVERAGE_MAX: usize = 1024 * 1024;
/// Bytes of a content that a manifest can list: 4 TiB.
pub const CONTENT_BYTES_MAX: u64 = CHUNK_BYTES_MAX as u64 * MANIFEST_CHUNKS_MAX as u64;
/// A manifest segment ends at a chunk whose hash is the largest among so many on either side: segments
/// have 129 chunks on average, and any two such ends are further apart than this.
pub const SEGMENT_WINDOW: usize = 64;

const _: () = assert!(CDC_MIN * 4 == CDC_AVG && CDC_AVG * 4 == CDC_MAX);
const _: () = assert!(CDC_AVERAGE_MAX * 4 <= CHUNK_BYTES_MAX && CDC_AVG <= CDC_AVERAGE_MAX);
// The root of the longest manifest fits: its segments are ended by a window, by their length, or by the
// content's end; 19 bytes of head and 44 for each segment.
const _: () = assert!(
    19 + 44 * (MANIFEST_CHUNKS_MAX / (SEGMENT_WINDOW + 1) + MANIFEST_CHUNKS_MAX / SEGMENT_CHUNKS_MAX + 2)
        <= MANIFEST_PART_BYTES_MAX
);
