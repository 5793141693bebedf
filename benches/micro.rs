//! Micro benches: what each step of a sync costs by itself. `cargo bench --bench micro [FILTER]`.
//!
//! Bytes are pseudo-random from a fixed seed, so that two runs measure the same work. What they say
//! is how the parts compare; how dunlin compares with others is measured side by side elsewhere.

#[path = "micro/content.rs"]
mod content;
#[path = "micro/ledger.rs"]
mod ledger;
#[path = "micro/store.rs"]
mod store;
#[path = "micro/tree.rs"]
mod tree;

use dunlin_core::id::{ChainId, Dot};
use dunlin_core::identity::Identity;
use dunlin_core::ledger::event::Event;
use dunlin_core::path::Name;

fn main() {
    divan::main();
}

/// A mebibyte.
const MIB: usize = 1024 * 1024;

/// This bench's device.
fn identity() -> Identity {
    Identity::from_seed(&[7; 32])
}

/// Its chain.
fn chain() -> ChainId {
    ChainId { author: identity().peer_id(), incarnation: 1 }
}

/// The root of its folder.
fn root() -> Dot {
    Dot { chain: chain(), seq: 0, index: 0 }
}

/// The event that founds its folder.
fn founded() -> Event {
    Event::Founded { label: "bench".to_owned(), device: "bench".to_owned(), nonce: [3; 16], recovery: None }
}

fn name(number: usize) -> Name {
    Name::parse(format!("file-{number:07}.txt").as_bytes()).expect("a plain name")
}

/// Incompressible bytes, always the same (xorshift64*).
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Lines like those of a program's source: repetitive, but never the same block twice.
fn text(len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 64);
    for line in 0.. {
        if bytes.len() >= len {
            break;
        }
        let number = line * 2_654_435_761_usize % 100_003;
        bytes
            .extend_from_slice(format!("    let value_{number} = compute({line}, {number:x});\n").as_bytes());
    }
    bytes.truncate(len);
    bytes
}
