//! dunlin storage.
