//! Whether who says hello is a member, be it under a key that the ledger here has not heard of yet: then it shows the entries
//! by which it came to it. Only who holds the member's old key can have made them, and until they come into the ledger
//! they are worth what the old key is worth there; from then on the ledger alone decides.

use super::Engine;
use super::gossip::{BYE_REFUSED, NO_MEMBER};
use super::session::Session;
use dunlin_core::ledger::entry::SignedEntry;
use dunlin_core::ledger::rotation::{Shown, shown_by};
use dunlin_transport::ConnId;

impl Engine {
    /// A device that holds no entry yet cannot know the members; its first peer can.
    pub(super) fn is_member(&mut self, conn: ConnId, rotations: &[SignedEntry]) -> bool {
        let Some(session) = self.sessions.get_mut(&conn) else { return false };
        let members = &self.ledger.members;
        if members.is_empty() || members.contains_key(&session.peer) {
            return true;
        }
        session.rotations = shown_by(&session.peer, &self.config.folder, rotations).unwrap_or_default();
        let shown = session.rotations.clone();
        self.follows_a_member(&shown)
    }

    /// True if a key that goes by one of the rotations is a member's, and the ledger does not hold it or a later one: what it
    /// holds it has judged, and the last key would be a member if they counted.
    fn follows_a_member(&self, rotations: &[Shown]) -> bool {
        let is_known = |one: &Shown| self.ledger.frontier.next_seq(&one.chain) > one.seq;
        let from = rotations.iter().rposition(is_known).map_or(0, |at| at + 1);
        rotations[from..].iter().any(|one| self.ledger.members.contains_key(&one.old))
    }

    /// Ends the sessions with those who came by rotations that turn out to be void, or whose old key is a member's no more.
    pub(super) fn part_with_strangers(&mut self) {
        let is_stranger = |session: &&Session| {
            session.is_open()
                && !session.rotations.is_empty()
                && !self.ledger.members.contains_key(&session.peer)
                && !self.follows_a_member(&session.rotations)
        };
        let strangers: Vec<ConnId> = self.sessions.values().filter(is_stranger).map(|s| s.conn).collect();
        for conn in strangers {
            self.close(conn, BYE_REFUSED, NO_MEMBER);
        }
    }
}
