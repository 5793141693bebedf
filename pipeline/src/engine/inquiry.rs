//! What the engine has under way for one path, for whoever asks why it is as it is. Reads, and decides nothing.

use super::Engine;
use super::effect::Effect;
use super::gossip::THIS_DEVICE;
use super::room::{FOLDER, LOOKS};
use super::session::Session;
use crate::ask::Answer;
use crate::why::{Coming, Inquiry};
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::Place;
use dunlin_transport::ConnId;
use std::collections::BTreeSet;

/// What the fetch side knows of a content that a path waits for.
pub struct Fetching {
    /// Its bytes.
    pub size: u64,
    /// How many of them are staged.
    pub here: u64,
    /// It is looked for on this disk.
    pub is_local: bool,
    /// Who was asked for some of it and has not answered.
    pub asked: BTreeSet<ConnId>,
    /// Who said not to have it.
    pub without: BTreeSet<ConnId>,
}

impl Engine {
    pub(super) fn inquire(&mut self, ticket: u64, path: &RelPath, places: &[Place]) {
        let answer = Answer::Why(Box::new(self.inquiry(path, places)));
        self.effects.push_back(Effect::Reply { ticket, answer });
    }

    fn inquiry(&self, path: &RelPath, places: &[Place]) -> Inquiry {
        let open: Vec<&Session> = self.sessions.values().filter(|session| session.is_open()).collect();
        let mut connected: Vec<_> = open.iter().map(|session| session.peer).collect();
        connected.sort();
        connected.dedup();
        let told = |name: &str| self.problems.get(name).cloned();
        let is_short = self.root.is_short() || self.root.left() == 0;
        Inquiry {
            has_looked: self.local.first_scan_done(),
            is_written: self.quiet.is_open(path),
            is_missed: self.doubts.is_missed(path),
            trouble: self.trouble_at(path),
            folder_trouble: told(LOOKS).or_else(|| told(THIS_DEVICE)),
            no_room: is_short.then(|| told(FOLDER).unwrap_or_else(|| "the disk is nearly full".to_owned())),
            member_bytes: self.config.limits.member_bytes,
            coming: self.fetch.fetching(path).map(|fetching| coming(&fetching, &open)),
            is_under_way: places.iter().any(|place| self.remote.is_busy_at(place)),
            is_refused: places.iter().any(|place| self.remote.is_refused_at(place)),
            is_left_alone: places.iter().any(|place| self.remote.is_stuck_at(place)),
            connected,
        }
    }

    /// What was told of a path, or of the nearest directory above it that anything was told of.
    fn trouble_at(&self, path: &RelPath) -> Option<(String, String)> {
        let mut at = path.clone();
        loop {
            let name = at.to_string();
            if let Some(what) = self.problems.get(&name).filter(|_| !at.is_root()) {
                return Some((name, what.clone()));
            }
            at = at.split_last()?.0;
        }
    }
}

fn coming(fetching: &Fetching, open: &[&Session]) -> Coming {
    let asked = open.iter().filter(|session| fetching.asked.contains(&session.conn));
    Coming {
        size: fetching.size,
        here: fetching.here,
        asked: asked.map(|session| session.label.clone()).collect(),
        has_source: fetching.is_local || open.iter().any(|s| !fetching.without.contains(&s.conn)),
    }
}
