//! Tests of the tree rule.
