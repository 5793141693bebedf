//! Where a look goes: at one name, at the names in one directory, or at everything below. Pure.

use dunlin_core::path::RelPath;
use std::collections::BTreeMap;

/// How far a look goes. Each reaches everything that the one before it does. A directory that has come
/// since the last look is looked into in any case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reach {
    /// The name itself.
    Name,
    /// The names in it too, if it is a directory.
    Listing,
    /// Everything below it too.
    Tree,
}

/// One place to look at.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Scope {
    /// Where.
    pub path: RelPath,
    /// How far.
    pub reach: Reach,
}

impl Scope {
    /// The whole folder.
    pub fn everything() -> Self {
        Self::tree(RelPath::root())
    }

    /// A name and everything below it.
    pub fn tree(path: RelPath) -> Self {
        Self { path, reach: Reach::Tree }
    }

    /// A name alone.
    pub fn name(path: RelPath) -> Self {
        Self { path, reach: Reach::Name }
    }

    /// True if it is the whole folder.
    pub fn is_everything(&self) -> bool {
        self.path.is_root() && self.reach == Reach::Tree
    }
}

/// Scopes that reach the same, without names in a directory that is listed and without anything below a tree; a
/// tree in a listed directory stays. In the order of their paths. Everything, if there are none.
pub fn outermost(scopes: &[Scope]) -> Vec<Scope> {
    if scopes.is_empty() {
        return vec![Scope::everything()];
    }
    let mut reaches: BTreeMap<&RelPath, Reach> = BTreeMap::new();
    for scope in scopes {
        let reach = reaches.entry(&scope.path).or_insert(scope.reach);
        *reach = (*reach).max(scope.reach);
    }
    let mut outermost = Vec::new();
    let mut tree: Option<&RelPath> = None;
    // Whatever lies below a path comes right after it.
    for (path, reach) in &reaches {
        let parent = path.split_last().map(|(parent, _)| parent);
        let is_listed = *reach == Reach::Name
            && parent.is_some_and(|parent| reaches.get(&parent).is_some_and(|r| *r >= Reach::Listing));
        if is_listed || tree.is_some_and(|tree| path.starts_with(tree)) {
            continue;
        }
        if *reach == Reach::Tree {
            tree = Some(*path);
        }
        outermost.push(Scope { path: (*path).clone(), reach: *reach });
    }
    outermost
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(path: &str, reach: Reach) -> Scope {
        Scope { path: RelPath::parse(path.as_bytes()).unwrap(), reach }
    }

    #[test]
    fn what_another_scope_reaches_is_left_out() {
        use Reach::{Listing, Name, Tree};
        let given = [
            scope("a/b", Name),
            scope("a", Tree),
            scope("a-", Name),
            scope("a-", Listing),
            scope("d/x", Name),
            scope("d", Listing),
            scope("d/x/y", Name),
            scope("d/t", Tree),
        ];
        let left = [
            scope("a", Tree),
            scope("a-", Listing),
            scope("d", Listing),
            scope("d/t", Tree),
            scope("d/x/y", Name),
        ];
        assert_eq!(outermost(&given), left);
        assert_eq!(outermost(&[]), [Scope::everything()]);
        assert_eq!(outermost(&[scope("a", Tree), Scope::everything()]), [Scope::everything()]);
    }
}
