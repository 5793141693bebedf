//! A member that does harm, over real sockets: the real program serves on loopback, and this process speaks to it as a
//! device that was admitted, by dunlin's own transport and messages with the checks left off.
//!
//! After each attack the honest devices live, answer, exchange fresh edits both ways, and hold nothing but what they should
//! ([`world::World::check`]). What is attacked, and what else tries it: docs/attacks.md.

mod book;
mod device;
mod line;
mod member;
mod session;
mod world;

mod chains;
mod contents;
mod doors;
mod entries;
mod floods;
mod forks;
mod outcasts;
mod sources;
