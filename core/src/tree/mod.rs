//! The tree rule: from accepted events to one tree, the same on all devices whatever the order.
//!
//! `apply` keeps the rows of nodes up to date, event by event; `order` says which head of a register
//! wins; `view` says what is shown at a place; `name` names conflict copies. DESIGN §4 has the rules.

pub mod apply;
pub mod memory;
pub mod name;
pub mod node;
pub mod order;
#[cfg(test)]
mod tests;
pub mod view;
