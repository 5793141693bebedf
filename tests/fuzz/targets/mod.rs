//! Everything that bytes of others reach, as plain functions: none may panic, hang or take memory without bound, and each
//! says what else must hold. Run by `tests/fuzz` on any toolchain and by cargo-fuzz (`tests/fuzz/libfuzzer`).

mod bytes;
mod codes;
mod lan;
mod member;
mod outsider;
mod rules;
mod session;

/// One function of bytes.
pub struct Target {
    /// Its name, and that of its directory in the corpus.
    pub name: &'static str,
    /// What it does with bytes; it panics where a promise does not hold.
    pub run: fn(&[u8]),
    /// Inputs that reach deep, to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "path", run: bytes::path, seeds: bytes::path_seeds },
    Target { name: "copy_name", run: bytes::copy_name, seeds: bytes::path_seeds },
    Target { name: "invite", run: bytes::invite, seeds: bytes::invite_seeds },
    Target { name: "code", run: codes::code, seeds: codes::code_seeds },
    Target { name: "code_exchange", run: codes::exchange, seeds: codes::exchange_seeds },
    Target { name: "rendezvous", run: codes::rendezvous, seeds: codes::rendezvous_seeds },
    Target { name: "mdns", run: lan::mdns, seeds: lan::seeds },
    Target { name: "entry", run: bytes::entry, seeds: member::entry_seeds },
    Target { name: "message", run: bytes::message, seeds: bytes::message_seeds },
    Target { name: "bulk", run: bytes::bulk, seeds: bytes::bulk_seeds },
    Target { name: "manifest", run: bytes::manifest, seeds: bytes::manifest_seeds },
    Target { name: "sealed_chunk", run: bytes::sealed_chunk, seeds: bytes::chunk_seeds },
    Target { name: "cutter", run: bytes::cutter, seeds: bytes::chunk_seeds },
    Target { name: "text_merge", run: bytes::text_merge, seeds: bytes::text_seeds },
    Target { name: "ignore_rules", run: rules::ignore_rules, seeds: rules::ignore_seeds },
    Target { name: "session_script", run: session::session_script, seeds: session::session_seeds },
    Target { name: "store_rows", run: bytes::store_rows, seeds: bytes::row_seeds },
    Target { name: "datagrams", run: outsider::datagrams, seeds: outsider::seeds },
    Target { name: "member_entries", run: member::entries, seeds: member::script_seeds },
];

/// The parts of an input: each begins with its length in two bytes, big-endian; what is cut off counts too.
fn parts(mut data: &[u8]) -> Vec<&[u8]> {
    const PARTS_MAX: usize = 64;
    let mut parts = Vec::new();
    while parts.len() < PARTS_MAX
        && let Some((length, rest)) = data.split_first_chunk::<2>()
    {
        let (part, rest) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes(*length))));
        parts.push(part);
        data = rest;
    }
    parts
}

/// The other way round.
fn joined(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.iter().flat_map(|part| [&(part.len() as u16).to_be_bytes()[..], part].concat()).collect()
}
