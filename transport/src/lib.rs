//! dunlin transport.
