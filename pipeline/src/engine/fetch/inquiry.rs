//! What is under way for one path. Changes nothing.

use super::{Fetch, Waiting};
use crate::engine::inquiry::Fetching;
use dunlin_core::path::RelPath;
use dunlin_transport::ConnId;
use std::collections::BTreeSet;

impl Fetch {
    /// What is known of the content that the step at a path waits for; `None`: no step there waits for one.
    pub fn fetching(&self, path: &RelPath) -> Option<Fetching> {
        let is_it = |waiting: &&Waiting| waiting.step.operation.at() == path;
        if let Some(waiting) = self.here.iter().find(is_it) {
            return Some(Fetching { is_local: true, ..of(waiting) });
        }
        if let Some(waiting) = self.queue.iter().find(is_it) {
            return Some(of(waiting));
        }
        if let Some((owner, waiting)) = self.small.iter().find(|(_, waiting)| is_it(waiting)) {
            let asked = self.asked_for(*owner);
            return Some(Fetching { is_local: asked.is_empty(), asked, ..of(waiting) });
        }
        let (owner, transfer) = self.transfers.iter().find(|(_, transfer)| is_it(&transfer.waiting()))?;
        let (here, without) = (transfer.here(), transfer.without());
        Some(Fetching { here, without, asked: self.asked_for(*owner), ..of(transfer.waiting()) })
    }

    /// Who was asked for something of it and is waited for.
    fn asked_for(&self, owner: u64) -> BTreeSet<ConnId> {
        let is_owned = |request: &&super::Request| {
            !request.is_left
                && request.items.iter().any(|parts| parts.values().any(|part| part.owner == owner))
        };
        self.requests.values().filter(is_owned).map(|request| request.conn).collect()
    }
}

fn of(waiting: &Waiting) -> Fetching {
    Fetching {
        size: waiting.content.size,
        here: 0,
        is_local: false,
        asked: BTreeSet::new(),
        without: waiting.tried.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fetch::{Candidate, FetchWant};
    use dunlin_core::content::Content;
    use dunlin_core::id::{ChainId, ContentHash, Dot, PeerId};
    use dunlin_core::path::Name;
    use dunlin_core::tree::node::Place;
    use dunlin_storage::folder::apply::{Operation, Source, Step};
    use std::time::{Duration, Instant};

    fn path(name: &str) -> RelPath {
        RelPath::parse(name.as_bytes()).unwrap()
    }

    fn waiting(name: &str, is_here: bool) -> Waiting {
        let chain = ChainId { author: PeerId([1; 32]), incarnation: 1 };
        let node = Dot { chain, seq: 1, index: 0 };
        let operation = Operation::PutFile { at: path(name), source: Source::Awaited, over: None };
        Waiting {
            place: Place { parent: node, name: Name::parse(name.as_bytes()).unwrap() },
            step: Step::new(operation, None, None),
            node,
            version: node,
            content: Content { size: 5, hash: ContentHash::of(name.as_bytes()), manifest: None },
            is_here,
            tried: BTreeSet::new(),
            silences: Default::default(),
            instead: None,
        }
    }

    #[test]
    fn of_a_small_content_it_is_known_who_is_asked_for_it_and_who_lacks_it() {
        let (mut fetch, conn) = (Fetch::default(), ConnId(7));
        fetch.add(waiting("a", false));
        let first = fetch.fetching(&path("a")).unwrap();
        assert!(first.size == 5 && first.asked.is_empty() && first.without.is_empty() && !first.is_local);
        assert!(fetch.fetching(&path("b")).is_none());
        let source = Candidate {
            conn,
            room: 100,
            expected: Duration::ZERO,
            is_known: true,
            is_resting: false,
            may_miss: true,
            may_miss_again: true,
        };
        let Some(FetchWant::Ask { request, .. }) = fetch.poll(Instant::now(), &[source], 100) else {
            panic!("it is asked for")
        };
        assert_eq!(fetch.fetching(&path("a")).unwrap().asked, [conn].into());
        let taken = fetch.take_expected(conn, request, 0, 0).unwrap();
        fetch.give_back(taken.expected, Some(conn));
        let left = fetch.fetching(&path("a")).unwrap();
        assert_eq!((left.asked, left.without), (BTreeSet::new(), [conn].into()));
    }

    #[test]
    fn what_may_be_on_this_disk_is_looked_for_there() {
        let mut fetch = Fetch::default();
        fetch.add(waiting("a", true));
        assert!(fetch.fetching(&path("a")).unwrap().is_local);
        assert!(matches!(fetch.poll(Instant::now(), &[], 100), Some(FetchWant::Reuse { .. })));
        assert!(fetch.fetching(&path("a")).unwrap().is_local, "while it is read, too");
    }
}
