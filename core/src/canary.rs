//! Planted bugs: proof that the simulator's net catches (`docs/simulator.md`).
//!
//! Without the feature `canary`, which only tests have, every question here is answered by a constant and
//! nothing of it is left in the program. Decides nothing itself.

/// A bug that can be planted, with its number in the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// A version supersedes whatever has a smaller Lamport time.
    LamportForBase = 1,
    /// The base of a local change is what the ledger holds, not what was on this disk.
    LedgerHeadForBase = 2,
    /// A file is not looked at again once it was read.
    FinalStatSkipped = 3,
    /// Rows are written before their files are placed.
    RowBeforeRename = 8,
    /// An intent stays open when its steps are done.
    IntentLeft = 9,
    /// What is missing at one look is deleted.
    OneLookDeletes = 10,
    /// What comes to be ignored counts as deleted.
    IgnoringDeletes = 11,
    /// A root without its marker is looked at like any other.
    EmptyRootAccepted = 12,
    /// What others delete or encrypt is done here, however much it is.
    GuardOnlyAtSender = 13,
    /// The names of conflict copies depend on the local clock.
    LocalClockInNames = 14,
    /// A file shows ten conflict copies at most.
    EleventhCopyPurged = 15,
    /// The latest modification time wins.
    MtimeWins = 16,
    /// A deletion beats an edit.
    DeleteWins = 17,
    /// Moves may form a cycle.
    CyclesUnchecked = 18,
    /// A file that cannot be read counts as empty.
    UnreadableIsEmpty = 21,
    /// What could not be made durable counts as durable.
    SyncErrorIgnored = 22,
    /// A corrupt file is empty until its content comes.
    HealBlanks = 25,
    /// A chunk from a peer is taken for what it should be.
    ChunkUnchecked = 26,
    /// The chunks that a content lacks are numbered among themselves.
    NumberedAfterFilter = 27,
    /// A store that was set back goes on in the chain that it knows.
    SetBackSigns = 28,
    /// Lamport times are not checked.
    LamportUnchecked = 29,
    /// Entries whose past is not here are kept, however many come.
    OrphansKept = 30,
    /// What was signed beyond the cut of a removal counts.
    CutIgnored = 31,
    /// An entry is judged by the role that its author has now, not by the one in its past.
    RoleOfNow = 32,
    /// Of two admins of one rank that who was heard first counts.
    DuelByArrival = 33,
    /// Nobody is told of a fork.
    ForkKept = 34,
    /// The proof of an identity does not say for which handshake.
    ProofWithoutHash = 35,
    /// A first message that was answered before is answered again.
    ReplaysAdmitted = 36,
    /// A content is given by the name of a thing that it belongs to, whatever version is named.
    VersionUnchecked = 37,
    /// The compressed bytes say how long a chunk becomes.
    SizeFromStream = 38,
    /// The issuer leaves it to the joiner whether an invite has expired.
    InviteByJoiner = 39,
    /// An identity that cannot be opened gives way to a new one.
    IdentityReplaced = 40,
    /// What the watcher missed is never looked for.
    MissedNotSought = 41,
    /// Where two sides of a merge changed the same lines, one of them counts.
    MergeKeepsOneSide = 42,
    /// What does not count is not kept either.
    QuarantineDropped = 43,
    /// Names are checked where the disk is read, and not in what others sign.
    NamesUnchecked = 45,
    /// What a hint is about counts as gone without a look.
    HintBelieved = 46,
    /// A moved file is not read, then or later, though its row was read in the racy window.
    RacyMoveUnread = 47,
    /// What is removed here stays where it stands.
    RemovedStays = 48,
    /// A name counts as gone though the listing of its directory was cut short.
    UncleanListing = 50,
    /// The mass-change guard counts each batch for itself.
    BatchForWindow = 51,
    /// Bytes that changed without their stat are signed as if a user had written them.
    RotSigned = 60,
    /// What a peer asks for is sent without a look at its hash.
    RotServed = 61,
    /// Who was asked for contents and gives none is waited for.
    SilentKept = 70,
    /// What a removal says of two histories is not heard.
    VerdictUnheard = 71,
    /// A member's share of a disk has no bound.
    QuotaIgnored = 72,
    /// What is on disk is counted for nobody when it goes.
    GoneStillCounted = 73,
}

#[cfg(feature = "canary")]
pub use planted::{is, plant, set_clock, wall_ms};

/// True if this bug is planted.
#[cfg(not(feature = "canary"))]
pub const fn is(_: Bug) -> bool {
    false
}

/// The time that goes into a conflict copy's name: the one that is given.
#[cfg(not(feature = "canary"))]
pub const fn wall_ms(ms: i64) -> i64 {
    ms
}

#[cfg(feature = "canary")]
mod planted {
    use super::Bug;
    use std::cell::Cell;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU8, Ordering};

    /// Tests that are run to see them fail are told the number from outside.
    static PLANTED: LazyLock<AtomicU8> = LazyLock::new(|| {
        let number = std::env::var("DUNLIN_CANARY").ok().and_then(|text| text.parse().ok());
        AtomicU8::new(number.unwrap_or(0))
    });

    thread_local! {
        static CLOCK: Cell<i64> = const { Cell::new(0) };
    }

    /// True if this bug is planted.
    pub fn is(bug: Bug) -> bool {
        PLANTED.load(Ordering::Relaxed) == bug as u8
    }

    /// Plants a bug in the whole process, or takes it out.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.store(bug.map_or(0, |bug| bug as u8), Ordering::Relaxed);
    }

    /// Says how far the clock of the device that this thread works for is off, milliseconds.
    pub fn set_clock(offset_ms: i64) {
        CLOCK.set(offset_ms);
    }

    /// The time that goes into a conflict copy's name.
    pub fn wall_ms(ms: i64) -> i64 {
        if is(Bug::LocalClockInNames) { ms + CLOCK.get() } else { ms }
    }
}
