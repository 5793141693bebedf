//! dunlin pipeline.
