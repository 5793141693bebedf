//! The tree rule: from accepted events to one tree, the same on all devices whatever the order.
//!
//! `apply` turns events into versions of registers; `register` says which of them are heads; `order` says which head
//! wins; `cycle` says where directories stand; `settle` keeps index, liveness and marks in line; `view` says what is
//! shown at a place; `name` names conflict copies; `merge` says what of a node's texts may become one. `node` has the
//! rows and asks for a keeper; `memory` is one.
//! DESIGN §4 has the rules.

pub mod apply;
mod cycle;
pub mod memory;
pub mod merge;
pub mod name;
pub mod node;
pub mod order;
mod register;
mod settle;
#[cfg(test)]
mod tests;
pub mod view;
