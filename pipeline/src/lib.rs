//! dunlin's movement: from the disk to the ledger and back, between devices.
//!
//! ```text
//!  senses                        the desk                       hands
//!  net      ── Event ───────▶  ┌──────────┐ ── Ledger ──────▶  ledger   (the store's writer)
//!  control  ── Ask, stop ───▶  │  ENGINE  │ ── Folder ──────▶  folder   (the user's files)
//!  clock    ── deadline ────▶  │ 1 thread │ ── Digest ──────▶  digest×N (read, hash, verify, seal)
//!  hands    ── done ────────▶  └──────────┘ ── Net ─────────▶  net      (UDP)
//! ```
//! [`engine`] decides and is pure; [`jobs`] are what the hands do; [`rooms`] are the threads;
//! [`wiring`] makes every channel; [`service`] is what the people's side sees, [`ask`] what it may ask, [`why`] why a path is as it is.

pub mod addresses;
pub mod ask;
pub mod engine;
pub mod failure;
pub mod jobs;
pub mod rooms;
pub mod service;
pub mod why;
pub mod wiring;

pub use rooms::{Running, StartError, start};
