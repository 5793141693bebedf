//! What a watcher says. A hint may be wrong, late, doubled or missing: it makes the engine look, and
//! decides nothing.

use dunlin_core::path::RelPath;

/// A hint about one name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hint {
    /// Where.
    pub path: RelPath,
    /// What seems to have happened there.
    pub sign: Sign,
}

/// What seems to have happened at a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sign {
    /// Something was made there that has yet to be filled.
    Made,
    /// Its bytes change.
    Written,
    /// Its writer has closed it.
    Closed,
    /// Its mode, owner, times or links changed.
    Touched,
    /// It left its name.
    Gone,
    /// It came whole: a directory was made, or something was moved here from outside.
    Came,
    /// It came from another name in the folder.
    Moved {
        /// From where.
        from: RelPath,
    },
}
