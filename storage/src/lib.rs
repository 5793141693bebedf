//! dunlin at rest: the store (LMDB) and the user's folder. No thread, no channel, no network.

pub mod disk;
pub mod folder;
pub mod store;
