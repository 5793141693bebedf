//! What those who follow events are told: what was placed here, what went wrong no longer, with whom this device
//! came to agree. Decides nothing.

use super::Engine;
use super::calm::agrees;
use super::effect::Effect;
use crate::service::{Change, Deed, Happening, Notice};
use dunlin_core::message::Status;
use dunlin_core::path::RelPath;
use dunlin_core::tree::name::is_copy_name;
use dunlin_storage::folder::apply::{Operation, Step};

impl Engine {
    /// Tells what happened.
    pub(super) fn tell_all(&mut self, happenings: impl IntoIterator<Item = Happening>) {
        let tells = happenings.into_iter().map(|one| Effect::Tell(Notice::Happened(one)));
        self.effects.extend(tells);
    }

    /// Tells of those members with whom this device is in sync and was not before.
    pub(super) fn tell_agreements(&mut self, ours: &Status) {
        let mut told = Vec::new();
        for session in self.sessions.values_mut() {
            let is_new = agrees(session, ours) && !session.is_told;
            session.is_told = agrees(session, ours);
            told.extend(is_new.then_some(Happening::Agreed { peer: session.peer }));
        }
        self.tell_all(told);
    }
}

/// What a step that was carried out has changed, as people call it.
pub(super) fn happenings(step: &Step) -> Vec<Happening> {
    let path = step.operation.at().clone();
    let deed = match &step.operation {
        Operation::MakeDir { .. } => Deed::Created,
        Operation::PutFile { over, .. } | Operation::PutLink { over, .. } if over.is_none() => Deed::Created,
        Operation::PutFile { .. } | Operation::PutLink { .. } | Operation::SetMeta { .. } => Deed::Written,
        Operation::Move { from, .. } => Deed::Moved { from: from.clone() },
        Operation::Remove { .. } | Operation::RemoveDir { .. } => Deed::Deleted,
        // Nothing was touched.
        Operation::Adopt { .. } => return Vec::new(),
    };
    let is_gone = deed == Deed::Deleted;
    let conflict = winner_of(step).filter(|_| !is_gone);
    let conflict = conflict.map(|winner| Happening::Conflict { winner, copy: path.clone() });
    [Happening::Placed(Change { path, deed })].into_iter().chain(conflict).collect()
}

/// What has the name, if the step is about a conflict copy.
fn winner_of(step: &Step) -> Option<RelPath> {
    let (dir, name) = step.operation.at().split_last()?;
    let wanted = &step.place.as_ref()?.name;
    if !is_copy_name(name) || name == wanted {
        return None;
    }
    dir.join(wanted.clone()).ok()
}
