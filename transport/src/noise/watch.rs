//! What tests see of packet keys, and the one bound of theirs that a test lowers. Each test has a thread of its own, and the
//! network in memory runs on it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

thread_local! {
    static SEALED: RefCell<Sealed> = RefCell::default();
    static INTEGRITY: Cell<Option<u64>> = const { Cell::new(None) };
}

/// All packets that were sealed in this thread.
#[derive(Clone, Default)]
pub(crate) struct Sealed {
    /// The nonces of each key, which has the initial vector for its name: both follow from one secret.
    pub nonces: BTreeMap<[u8; 12], BTreeSet<[u8; 12]>>,
    /// How often a nonce was there already.
    pub twice: u32,
}

/// A packet is sealed.
pub(crate) fn note(iv: [u8; 12], nonce: [u8; 12]) {
    SEALED.with_borrow_mut(|sealed| {
        let is_new = sealed.nonces.entry(iv).or_default().insert(nonce);
        sealed.twice += u32::from(!is_new);
    });
}

/// What was sealed since it was asked last.
pub(crate) fn take() -> Sealed {
    SEALED.take()
}

/// From now on keys endure so many forgeries.
pub(crate) fn set_integrity_limit(limit: u64) {
    INTEGRITY.set(Some(limit));
}

/// That, or what the cipher says.
pub(crate) fn integrity_limit(of_cipher: u64) -> u64 {
    INTEGRITY.get().unwrap_or(of_cipher)
}
