//! What is left in a directory that is to go: names without rows, which nobody else has.
//!
//! What a system leaves in every directory (the built-in rules) goes to history with it. What a user ignores stays,
//! and the directory with it.

use super::fs::{DirHandle, Folder, FsError, Standing, list};
use super::history::keep_unknown;
use super::ignore::{Rules, Source, Verdict};
use dunlin_core::content::Kind;
use dunlin_core::path::{Name, RelPath};

/// True if something is left in a directory, and nothing but what a user ignores. Files that are ignored by built-in
/// rules go to history.
pub fn holds_only_ignored(folder: &Folder, rules: &Rules, at: &RelPath) -> Result<bool, FsError> {
    let dir = folder.dir(at)?;
    let listing = list(&*dir)?;
    let (mut users, mut others) = (0, listing.unusable.len());
    for name in &listing.names {
        match what_is_it(rules, &*dir, at, name)? {
            Left::Junk => put_away(folder, &*dir, name)?,
            Left::Users => users += 1,
            Left::Other => others += 1,
        }
    }
    Ok(users > 0 && others == 0)
}

enum Left {
    /// A file that a built-in rule ignores.
    Junk,
    /// Something else that is ignored.
    Users,
    /// Something that a scan has to see.
    Other,
}

fn what_is_it(rules: &Rules, dir: &dyn DirHandle, at: &RelPath, name: &Name) -> Result<Left, FsError> {
    let Ok(path) = at.join(name.clone()) else { return Ok(Left::Other) };
    let kind = match dir.stat(name.as_bytes())? {
        Standing::Node(stat) => Some(stat.kind),
        Standing::Special => None,
    };
    Ok(match rules.explain(&path, kind == Some(Kind::Directory)) {
        Verdict::Ignored { rule: Some(rule), .. }
            if rule.source == Source::BuiltIn && kind == Some(Kind::File) =>
        {
            Left::Junk
        }
        Verdict::Ignored { .. } => Left::Users,
        _ => Left::Other,
    })
}

fn put_away(folder: &Folder, dir: &dyn DirHandle, name: &Name) -> Result<(), FsError> {
    const TEMP: &str = "left-over";
    match keep_unknown(folder, TEMP) {
        Ok(()) | Err(FsError::NotFound) => {}
        Err(error) => return Err(error),
    }
    dir.rename_new(name.as_bytes(), folder.stage(), TEMP.as_bytes())?;
    keep_unknown(folder, TEMP)
}
