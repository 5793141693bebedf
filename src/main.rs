//! The `dunlin` program.
fn main() {}
