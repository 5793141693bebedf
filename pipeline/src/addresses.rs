//! Where members may be found, and who was found there.

use dunlin_core::id::PeerId;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Addresses, each with the members that are known to have been there; none: it was named by somebody, and nobody was met
/// there yet. A member has several: it moves, and has other ports at times.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Addresses(BTreeMap<SocketAddr, BTreeSet<PeerId>>);

impl Addresses {
    /// Somebody named this address, whoever was there before.
    pub fn add(&mut self, addr: SocketAddr) {
        self.0.insert(addr, BTreeSet::new());
    }

    /// A member was there, at some time.
    pub fn add_member(&mut self, addr: SocketAddr, peer: PeerId) {
        self.0.entry(addr).or_default().insert(peer);
    }

    /// Who is there now, if the address is one of these: who was there before has gone elsewhere.
    pub fn learn(&mut self, addr: SocketAddr, peer: PeerId) {
        if let Some(members) = self.0.get_mut(&addr) {
            *members = BTreeSet::from([peer]);
        }
    }

    /// Nobody is looked for there any more.
    pub fn remove(&mut self, addr: &SocketAddr) {
        self.0.remove(addr);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those at which somebody may be who is not there by another way: nobody is known to have been there, or one of whom
    /// this does not hold.
    pub fn worth_dialling(&self, is_here: impl Fn(&PeerId) -> bool) -> impl Iterator<Item = SocketAddr> {
        let is_worth = move |members: &BTreeSet<PeerId>| members.is_empty() || !members.iter().all(&is_here);
        self.0.iter().filter(move |(_, members)| is_worth(members)).map(|(addr, _)| *addr)
    }
}

impl Extend<SocketAddr> for Addresses {
    fn extend<T: IntoIterator<Item = SocketAddr>>(&mut self, addrs: T) {
        addrs.into_iter().for_each(|addr| self.add(addr));
    }
}

impl FromIterator<SocketAddr> for Addresses {
    fn from_iter<T: IntoIterator<Item = SocketAddr>>(addrs: T) -> Self {
        let mut all = Self::default();
        all.extend(addrs);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn peer(number: u8) -> PeerId {
        PeerId([number; 32])
    }

    #[test]
    fn where_all_members_are_connected_nobody_is_dialled() {
        let mut all = Addresses::from_iter([addr(1)]);
        all.add_member(addr(2), peer(2));
        all.add_member(addr(3), peer(2));
        all.add_member(addr(3), peer(3));
        let dialled = |all: &Addresses, here: &[PeerId]| -> Vec<u16> {
            all.worth_dialling(|peer| here.contains(peer)).map(|addr| addr.port()).collect()
        };
        assert_eq!(dialled(&all, &[]), [1, 2, 3]);
        assert_eq!(dialled(&all, &[peer(2)]), [1, 3]);
        assert_eq!(dialled(&all, &[peer(2), peer(3)]), [1]);
        // Another device got the address meanwhile.
        all.learn(addr(2), peer(4));
        all.learn(addr(1), peer(3));
        all.learn(addr(9), peer(3));
        assert_eq!(dialled(&all, &[peer(2), peer(3)]), [2]);
        assert_eq!(all.len(), 3);
        all.add(addr(3));
        assert_eq!(dialled(&all, &[peer(2), peer(3)]), [2, 3], "it was named");
    }
}
