//! Whose turn it is of the folder's keys, for each address that is dialled: who missed the last change of the secret opens by
//! an earlier key alone.
//!
//! One turn for all addresses would not do. Two that fail in turn would each get the same key for ever (seed 15438).

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// How often each address was dialled.
#[derive(Default)]
pub struct Turns(BTreeMap<SocketAddr, usize>);

impl Turns {
    /// Which of so many keys an address is dialled with now; the first at first.
    pub fn next(&mut self, addr: SocketAddr, keys: usize) -> usize {
        let turn = self.0.entry(addr).or_default();
        let now = *turn % keys.max(1);
        *turn = now + 1;
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_gets_each_key_whatever_is_dialled_between() {
        let (mut turns, addr) = (Turns::default(), |port| SocketAddr::from(([127, 0, 0, 1], port)));
        for round in 0..6 {
            assert_eq!(turns.next(addr(1), 2), round % 2);
            assert_eq!(turns.next(addr(2), 2), round % 2);
        }
        assert_eq!(turns.next(addr(1), 1), 0, "there is one key again");
    }
}
