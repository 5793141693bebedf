//! The tree rule: from accepted events to one tree, the same on all devices whatever the order.

pub mod node;
