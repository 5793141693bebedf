//! What is told of members: who was admitted, by whom and as what, whose role or key is another, who was removed. Each device
//! tells it of all that it learns, whoever decided it (P-11).
//!
//! A device tells nothing of what was before it was a member: what it learns by its own admission is the folder's past. Nor does
//! it tell anything twice, since what it knows when it begins is not news.

use super::Engine;
use super::effect::Effect;
use super::event::LedgerState;
use crate::service::Notice;
use dunlin_core::id::PeerId;

impl Engine {
    /// Tells what a new state says of members that the last one did not.
    pub(super) fn tell_of_members(&mut self, state: &LedgerState) {
        let own = self.config.identity.peer_id();
        let news = news(&self.ledger, state, &own);
        self.effects.extend(news.into_iter().map(Effect::Tell));
    }
}

fn news(old: &LedgerState, new: &LedgerState, own: &PeerId) -> Vec<Notice> {
    let mut news = Vec::new();
    if old.members == new.members || !old.members.contains_key(own) {
        return news;
    }
    let is_new = |peer: &&PeerId| !old.members.contains_key(*peer);
    for (former, member) in old.members.iter().filter(|(peer, _)| !new.members.contains_key(*peer)) {
        let label = member.label.clone();
        let next = new.successors.get(former).filter(is_new);
        match next.filter(|next| new.members.contains_key(*next)) {
            Some(peer) => news.push(Notice::KeyChanged { peer: *peer, former: *former, label }),
            // It is told so, and why.
            None if former == own => {}
            None => news.push(Notice::Removed { peer: *former, label }),
        }
    }
    let was = |peer: &PeerId| {
        let is_its = |former: &&PeerId| new.successors.get(*former) == Some(peer);
        old.members.get(peer).or_else(|| old.members.get(old.members.keys().find(is_its)?))
    };
    for (peer, member) in &new.members {
        let (peer, role, by, label) = (*peer, member.role, member.by, member.label.clone());
        match was(&peer) {
            Some(was) if was.role == role => {}
            Some(_) => news.push(Notice::RoleChanged { peer, label, role }),
            None => {
                let by_label = new.members.get(&by).map(|one| one.label.clone());
                news.push(Notice::Joined { peer, label, role, by, by_label });
            }
        }
    }
    news
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event::KnownMember;
    use dunlin_core::ledger::event::Role;

    const OWN: u8 = 1;
    const ADMIN: u8 = 2;

    fn id(number: u8) -> PeerId {
        PeerId([number; 32])
    }

    /// Members by number and role, all admitted by the admin; with their former keys.
    fn state(members: &[(u8, Role)], successors: &[(u8, u8)]) -> LedgerState {
        let member = |&(number, role): &(u8, Role)| {
            (id(number), KnownMember { role, label: format!("d{number}"), by: id(ADMIN) })
        };
        LedgerState {
            members: members.iter().map(member).collect(),
            successors: successors.iter().map(|(old, new)| (id(*old), id(*new))).collect(),
            ..LedgerState::default()
        }
    }

    /// What is told, as words.
    fn told(old: &LedgerState, new: &LedgerState) -> Vec<String> {
        let words = |notice: Notice| match notice {
            Notice::Joined { label, role, by, by_label, .. } => {
                let by = by_label.unwrap_or_else(|| by.short());
                format!("{label} joined as {} by {by}", role.word())
            }
            Notice::RoleChanged { label, role, .. } => format!("{label} is {}", role.word()),
            Notice::KeyChanged { peer, former, .. } => format!("{} is {}", former.short(), peer.short()),
            Notice::Removed { label, .. } => format!("{label} removed"),
            other => format!("{other:?}"),
        };
        news(old, new, &id(OWN)).into_iter().map(words).collect()
    }

    #[test]
    fn what_became_of_members_is_told_once_and_the_past_is_not() {
        use Role::{Admin, Reader, Writer};
        let before = [(OWN, Writer), (ADMIN, Admin)];
        let joined = [(OWN, Writer), (ADMIN, Admin), (3, Reader)];
        let rows: [(&str, LedgerState, LedgerState, &[&str]); 9] = [
            ("the folder's past", state(&[], &[]), state(&joined, &[]), &[]),
            ("its own admission", state(&[(ADMIN, Admin)], &[]), state(&joined, &[]), &[]),
            ("somebody came", state(&before, &[]), state(&joined, &[]), &["d3 joined as reader by d2"]),
            ("known already", state(&joined, &[]), state(&joined, &[]), &[]),
            (
                "it may write",
                state(&joined, &[]),
                state(&[before[0], before[1], (3, Writer)], &[]),
                &["d3 is writer"],
            ),
            ("it is out", state(&joined, &[]), state(&before, &[]), &["d3 removed"]),
            ("this one is out", state(&joined, &[]), state(&joined[1..], &[]), &[]),
            (
                "another key, and another role",
                state(&joined, &[]),
                state(&[before[0], before[1], (4, Writer)], &[(3, 4)]),
                &["03030303 is 04040404", "d4 is writer"],
            ),
            (
                "who admitted it is gone",
                state(&before, &[]),
                state(&[before[0], (3, Reader)], &[]),
                &["d2 removed", "d3 joined as reader by 02020202"],
            ),
        ];
        for (what, old, new, wanted) in rows {
            assert_eq!(told(&old, &new), wanted, "{what}");
        }
    }
}
