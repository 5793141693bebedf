//! Tests of the store that are no law of every store: LMDB's own, and the typed rows.

mod lmdb;
mod loose;
mod model;
mod rows;
mod used;
