//! dunlin at rest: the store (LMDB) and the user's folder. No thread, no channel, no network.

pub mod disk;
pub mod store {
    //! The store: tables of bytes (LMDB or memory) and the typed rows over them.
    pub mod tables;
}
