//! The ledger: one signed chain for each replica, linked into a DAG.

pub mod event;
