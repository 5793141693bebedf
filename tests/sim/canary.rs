//! Planted bugs: proof that the net catches (reliability.md 5.4).
//!
//! Some are planted in the simulator's own world, some in the product behind the feature `canary`.

use crate::disk::Faults;
use crate::plan::Plan;
use dunlin_core::canary::{self, Bug};
use dunlin_core::id::EntryId;
use dunlin_storage::store::memory::MemoryStore;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::collections::VecDeque;
use std::process::Command;

/// Orders of the ledger's room that a commit lags behind when it is acknowledged too early.
const LAG: usize = 6;

/// A planted bug, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plant {
    /// The product as it is.
    Nothing,
    /// 4: the rename over the target does not keep what was there.
    PlainRename,
    /// 5: what is put in place was never synced.
    NoFileSync,
    /// 6: names are never synced.
    NoNameSync,
    /// 7: the store says that something is durable before it is, so that it is announced too early.
    EarlyAnnouncement,
    /// One in the product.
    Product(Bug),
}

impl Plant {
    /// All of them, with their numbers in the list and what they do.
    pub const ALL: [(u8, Plant, &'static str); 51] = [
        (1, Plant::Product(Bug::LamportForBase), "compare Lamport times instead of the base"),
        (2, Plant::Product(Bug::LedgerHeadForBase), "base = the ledger's heads"),
        (3, Plant::Product(Bug::FinalStatSkipped), "skip the final stat"),
        (4, Plant::PlainRename, "plain rename over the target"),
        (5, Plant::NoFileSync, "no sync of file bytes"),
        (6, Plant::NoNameSync, "no sync of directories"),
        (7, Plant::EarlyAnnouncement, "announce before the commit is durable"),
        (8, Plant::Product(Bug::RowBeforeRename), "rows before the rename"),
        (9, Plant::Product(Bug::IntentLeft), "intent not cleared"),
        (10, Plant::Product(Bug::OneLookDeletes), "what one look misses is deleted"),
        (11, Plant::Product(Bug::IgnoringDeletes), "what comes to be ignored is deleted"),
        (12, Plant::Product(Bug::EmptyRootAccepted), "a root without its marker is believed"),
        (13, Plant::Product(Bug::GuardOnlyAtSender), "the guard stands at the sender alone"),
        (14, Plant::Product(Bug::LocalClockInNames), "conflict names from the local clock"),
        (15, Plant::Product(Bug::EleventhCopyPurged), "purge the eleventh copy"),
        (16, Plant::Product(Bug::MtimeWins), "the modification time picks the winner"),
        (17, Plant::Product(Bug::DeleteWins), "an edit loses to a delete"),
        (18, Plant::Product(Bug::CyclesUnchecked), "move cycles unchecked"),
        (21, Plant::Product(Bug::UnreadableIsEmpty), "a read that fails is an empty file"),
        (22, Plant::Product(Bug::SyncErrorIgnored), "a sync that fails is ignored"),
        (25, Plant::Product(Bug::HealBlanks), "heal blanks a file"),
        (26, Plant::Product(Bug::ChunkUnchecked), "a chunk is written before its hash is checked"),
        (27, Plant::Product(Bug::NumberedAfterFilter), "what is missing is numbered after the filter"),
        (28, Plant::Product(Bug::SetBackSigns), "a restored database signs at once"),
        (29, Plant::Product(Bug::LamportUnchecked), "Lamport times unchecked"),
        (30, Plant::Product(Bug::OrphansKept), "entries without their past are kept"),
        (31, Plant::Product(Bug::CutIgnored), "a cut is ignored"),
        (32, Plant::Product(Bug::RoleOfNow), "a role as it is now, not in the entry's past"),
        (33, Plant::Product(Bug::DuelByArrival), "of two equals who is heard first wins"),
        (34, Plant::Product(Bug::ForkKept), "proofs of forks are not passed on"),
        (35, Plant::Product(Bug::ProofWithoutHash), "the proof of an identity without the hash"),
        (36, Plant::Product(Bug::ReplaysAdmitted), "a replayed first message is answered"),
        (37, Plant::Product(Bug::VersionUnchecked), "a content by a name that no entry says"),
        (38, Plant::Product(Bug::SizeFromStream), "a chunk's size from the compressed bytes"),
        (39, Plant::Product(Bug::InviteByJoiner), "an invite's end is the joiner's matter"),
        (40, Plant::Product(Bug::IdentityReplaced), "a key that is not given makes a new identity"),
        (41, Plant::Product(Bug::MissedNotSought), "what the watcher missed is ignored"),
        (42, Plant::Product(Bug::MergeKeepsOneSide), "a merge keeps one side where two meet"),
        (43, Plant::Product(Bug::QuarantineDropped), "what does not count is not kept"),
        (45, Plant::Product(Bug::NamesUnchecked), "names of others are not checked"),
        (46, Plant::Product(Bug::HintBelieved), "a hint counts as a look"),
        (47, Plant::Product(Bug::RacyMoveUnread), "a move hides a change in the racy window"),
        (48, Plant::Product(Bug::RemovedStays), "what is removed stays"),
        (60, Plant::Product(Bug::RotSigned), "a flipped bit is signed as an edit"),
        (61, Plant::Product(Bug::RotServed), "what is served is not looked at"),
        (70, Plant::Product(Bug::SilentKept), "who gives nothing is waited for"),
        (71, Plant::Product(Bug::VerdictUnheard), "a removal does not say which history holds"),
        (72, Plant::Product(Bug::QuotaIgnored), "a member's share has no bound"),
        (73, Plant::Product(Bug::GoneStillCounted), "what is gone counts as there"),
        (50, Plant::Product(Bug::UncleanListing), "a listing that breaks off is believed"),
        (51, Plant::Product(Bug::BatchForWindow), "a batch counts and not a window"),
    ];

    /// The test of a crate, by package and name, that must fail with it: what it breaks is not in the simulator.
    pub fn test(self) -> Option<(&'static str, &'static str)> {
        let Plant::Product(bug) = self else { return None };
        Some(match bug {
            Bug::DuelByArrival => (
                "dunlin-core",
                "ledger::tests::membership::a_duel_of_equals_is_not_decided_by_who_is_heard_first",
            ),
            Bug::ProofWithoutHash => (
                "dunlin-transport",
                "noise::tests::a_proof_is_worth_nothing_in_another_role_session_or_with_another_key",
            ),
            Bug::ReplaysAdmitted => ("dunlin-transport", "noise::tests::a_first_message_is_answered_once"),
            Bug::SizeFromStream => ("dunlin-core", "chunk::tests::seal::attacks_are_refused"),
            Bug::InviteByJoiner => (
                "dunlin-pipeline",
                "jobs::tests::strangers::an_invite_admits_who_proves_it_here_in_time_and_first",
            ),
            Bug::IdentityReplaced => {
                ("dunlin", "keys::tests::an_identity_that_its_keeper_does_not_open_is_never_replaced")
            }
            _ => return None,
        })
    }

    /// Plants it in the product, if that is where it belongs; takes out any other.
    pub fn plant(self) {
        canary::plant(match self {
            Plant::Product(bug) => Some(bug),
            _ => None,
        });
    }

    /// True if a story tells of what it breaks, and no seed does.
    pub fn is_told(self) -> bool {
        matches!(
            self,
            Plant::Product(
                Bug::FinalStatSkipped
                    | Bug::GuardOnlyAtSender
                    | Bug::BatchForWindow
                    | Bug::SilentKept
                    | Bug::IgnoringDeletes
                    | Bug::VerdictUnheard
                    | Bug::QuotaIgnored
                    | Bug::SetBackSigns
                    | Bug::CutIgnored
            )
        )
    }

    /// What the run needs so that the bug can show at all.
    pub fn adjust(self, plan: &mut Plan) {
        match self {
            Plant::Product(Bug::LamportUnchecked) => plan.liars = 2,
            Plant::Product(Bug::QuarantineDropped) => plan.hardships.is_one_removed = true,
            Plant::Product(
                Bug::OrphansKept | Bug::VersionUnchecked | Bug::NamesUnchecked | Bug::ForkKept,
            ) => plan.hardships.malice = 40,
            // Somebody does not know of it when a role is changed.
            Plant::Product(Bug::RoleOfNow) => {
                (plan.hardships.malice, plan.hardships.is_one_away) = (40, true);
            }
            Plant::Product(Bug::IgnoringDeletes) => plan.rules = 20,
            Plant::Product(Bug::MergeKeepsOneSide) => plan.texts = 60,
            Plant::Product(Bug::CyclesUnchecked) => plan.shuffles = 70,
            Plant::Product(Bug::RacyMoveUnread) => {
                // Changes within one step of the disk's clock, and many of them.
                plan.granularity = 1_000_000_000;
                plan.storm_ms = plan.storm_ms.min(6_000);
                plan.deeds = 150;
            }
            Plant::Product(Bug::OneLookDeletes | Bug::EmptyRootAccepted) => plan.veils = 8,
            // It shows only where somebody works in a directory whose listing breaks off.
            Plant::Product(Bug::UncleanListing) => (plan.veils, plan.deeds) = (40, 150),
            Plant::Product(Bug::FinalStatSkipped) => {
                // Files that take more than one read, and people who write meanwhile.
                (plan.large, plan.deeds_inside) = (4_000_000, 60);
            }
            // Large files of which a part is here already.
            Plant::Product(Bug::NumberedAfterFilter) => (plan.large, plan.deeds) = (3_000_000, 60),
            Plant::Product(Bug::EleventhCopyPurged) => plan.gather(14),
            Plant::Product(Bug::UnreadableIsEmpty) => plan.hardships.errors = 6,
            Plant::Product(Bug::SyncErrorIgnored) => plan.hardships.errors = 6,
            Plant::Product(Bug::ChunkUnchecked) => plan.hardships.garbled = 4,
            Plant::Product(Bug::MissedNotSought) => plan.unnoticed = 50,
            Plant::Product(Bug::RotSigned | Bug::RotServed | Bug::HealBlanks) => plan.hardships.rots = 8,
            Plant::Product(Bug::LocalClockInNames) => plan.clocks = 100_000,
            _ => {}
        }
    }

    pub fn faults(self) -> Faults {
        Faults {
            exchange_overwrites: self == Plant::PlainRename,
            sync_skips_bytes: self == Plant::NoFileSync,
            sync_skips_names: self == Plant::NoNameSync,
        }
    }

    /// The device's hands are about to work.
    pub fn before_work(self, clock_offset: i128) {
        canary::set_clock((clock_offset / 1_000_000) as i64);
    }
}

/// True if a test of a crate passes as the product is and fails with the bug of that number planted.
pub fn is_caught_by_test(number: u8, package: &str, test: &str) -> bool {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let said = |number: u8, words: &str| {
        // The program has no library.
        let target: &[&str] = if package == "dunlin" { &["--bin", "dunlin"] } else { &["--lib"] };
        let args = ["--features", "dunlin-core/canary", "-p", package, "--", "--exact", test];
        let run = Command::new(&cargo)
            .arg("test")
            .args(target)
            .args(args)
            .env("DUNLIN_CANARY", number.to_string())
            .output();
        run.is_ok_and(|run| String::from_utf8_lossy(&run.stdout).contains(words))
    };
    said(0, "1 passed; 0 failed") && said(number, "0 passed; 1 failed")
}

/// A store whose last commits may be less durable than it says.
#[derive(Default)]
pub struct Durable {
    past: VecDeque<MemoryStore>,
}

impl Durable {
    /// An order is about to be carried out.
    pub fn before_order(&mut self, plant: Plant, store: &MemoryStore) {
        if plant == Plant::EarlyAnnouncement {
            self.past.push_back(store.crashed());
            if self.past.len() > LAG {
                self.past.pop_front();
            }
        }
    }

    /// The store as a new process finds it.
    pub fn crashed(&mut self, store: &MemoryStore) -> MemoryStore {
        let found = self.past.front().unwrap_or(store).crashed();
        self.past.clear();
        found
    }

    /// True if the entry would survive a crash now.
    pub fn has(&self, store: &MemoryStore, id: &EntryId) -> bool {
        let found = self.past.front().unwrap_or(store);
        found.read().is_ok_and(|tx| matches!(View(&*tx).entry(id), Ok(Some(_))))
    }
}
