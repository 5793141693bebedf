//! What a command can end with: a kind that becomes the exit code, a text, and hints that say what to do.

use dunlin_pipeline::StartError;
use dunlin_pipeline::failure::{Failure, WantsRoom};
use dunlin_pipeline::jobs::JobError;
use dunlin_pipeline::jobs::mend::MendError;
use dunlin_storage::folder::fs::FsError;
use dunlin_storage::store::lmdb::OpenError;
use dunlin_storage::store::tables::StoreError;
use std::fmt;
use std::process::ExitCode;

/// How a command ended; the numbers are a promise (README, exit codes).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// In sync, or done.
    Done = 0,
    /// Finished, but some files could not be synchronised.
    SomeFailed = 1,
    /// The command line, or a path in it, is wrong.
    Usage = 2,
    /// Conflict copies remain.
    Conflicts = 3,
    /// A mass change is held.
    Held = 4,
    /// Nobody could be reached.
    NoPeer = 5,
    /// The other side refused us.
    Refused = 6,
    /// The folder or its state needs attention.
    Attention = 7,
    /// Only a running dunlin can do it, and none runs.
    NoDaemon = 10,
    /// Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// By its number.
    pub fn from_number(number: u64) -> Option<Self> {
        let all = [
            Exit::Done,
            Exit::SomeFailed,
            Exit::Usage,
            Exit::Conflicts,
            Exit::Held,
            Exit::NoPeer,
            Exit::Refused,
            Exit::Attention,
            Exit::NoDaemon,
            Exit::Interrupted,
        ];
        all.into_iter().find(|exit| *exit as u64 == number)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug)]
pub struct CommandError {
    /// The exit code.
    pub exit: Exit,
    /// What happened.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// It would go well with more room on a disk.
    pub is_for_want_of_room: bool,
    /// No waiting mends it: somebody has to do something.
    pub is_for_good: bool,
}

/// What is said where a disk is full.
const MAKE_ROOM: &str =
    "make room and try again; nothing was lost, and what is here already is not sent again";

impl CommandError {
    /// The command line or a path in it is wrong.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }

    /// The folder or its state needs attention.
    pub fn attention(text: impl Into<String>) -> Self {
        Self::new(Exit::Attention, text)
    }

    /// A disk is full; which, in words.
    pub fn full(text: impl Into<String>) -> Self {
        Self { is_for_want_of_room: true, ..Self::attention(text).hint(MAKE_ROOM) }
    }

    /// Of this kind.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into(), hint: None, is_for_want_of_room: false, is_for_good: false }
    }

    /// No waiting mends it.
    pub fn for_good(mut self) -> Self {
        self.is_for_good = true;
        self
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.hint.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))
    }
}

impl From<OpenError> for CommandError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::InUse => CommandError::attention(error.to_string())
                .hint("wait for it to end, or stop it, then try again"),
            OpenError::Full => CommandError::full(error.to_string()),
            OpenError::Newer | OpenError::NetworkFs(_) | OpenError::Link(_) => {
                CommandError::attention(error.to_string()).for_good()
            }
            OpenError::Failed(_) => CommandError::attention(error.to_string()),
        }
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => CommandError::full(error.to_string()),
            _ => CommandError::attention(error.to_string()).hint(
                "move the folder's state away and share or join again: files are never touched by that",
            ),
        }
    }
}

impl From<JobError> for CommandError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Store(error) => error.into(),
            other if other.wants_room() => CommandError::full(other.to_string()),
            other => CommandError::attention(other.to_string()),
        }
    }
}

impl From<MendError> for CommandError {
    fn from(error: MendError) -> Self {
        match error {
            MendError::Job(error) => error.into(),
            MendError::Apply(_) | MendError::Barred(_) => Failure::of(&error).into(),
        }
    }
}

impl From<FsError> for CommandError {
    fn from(error: FsError) -> Self {
        let text = format!("the folder cannot be used: {error}");
        if error.wants_room() { CommandError::full(text) } else { CommandError::attention(text) }
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        let make = if failure.is_for_want_of_room { CommandError::full } else { CommandError::attention };
        make(failure.text)
    }
}

impl From<StartError> for CommandError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Network(_) => {
                CommandError::attention(error.to_string()).hint("is the address free? try --listen 0.0.0.0:0")
            }
            StartError::Job(error) => error.into(),
            StartError::Folder(error) => error.into(),
            StartError::Thread(_) => CommandError::attention(error.to_string()),
        }
    }
}
