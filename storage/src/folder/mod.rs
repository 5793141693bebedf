//! The user's folder: the only code that reads or writes the user's files.
//!
//! Every call is relative to a held directory, names one component and follows no link. Nothing is
//! unlinked unhashed: what is displaced goes to `.dunlin/history`.

pub mod apply;
pub mod buffers;
pub mod cut;
pub mod durable;
pub mod fs;
mod history;
pub mod ignore;
pub mod intent;
pub mod known;
pub mod left_over;
pub mod lookout;
mod place;
pub mod recover;
pub mod root;
pub mod rules;
pub mod scan;
pub mod scope;
pub mod scrub;
pub mod seen;
pub mod stage;
pub mod step;
pub mod survey;
mod torn;
mod unshare;
pub mod witness;
