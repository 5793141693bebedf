//! What comes by mDNS from anybody on the local network, as the library reads it that dunlin asks for nameplates with: this is
//! its own entry for fuzzing, and what it promises of a message that is one.

/// Names of the type, the host and the instance, as a sharer announces them.
const TYPE: [&[u8]; 3] = [b"_dunlin-7", b"_udp", b"local"];
const HOST: [&[u8]; 2] = [b"dunlin-0a1b2c3d", b"local"];
const INSTANCE: &[u8] = b"code";
/// Where the type's name stands in a message: right after its head.
const TO_TYPE: [u8; 2] = [0xc0, 12];
const A: u16 = 1;
const PTR: u16 = 12;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const NSEC: u16 = 47;

/// The library passes over questions of kinds that it does not know, and its entry for fuzzing counts them all the same: what
/// is asked for here is always known.
pub fn mdns(data: &[u8]) {
    let mut data = data.to_vec();
    let questions = data.get(4..6).map_or(0, |count| u16::from_be_bytes([count[0], count[1]]));
    let mut at = 12;
    for _ in 0..questions {
        at = end_of_name(&data, at);
        let Some(kind) = data.get_mut(at..at + 2) else { break };
        kind.copy_from_slice(&PTR.to_be_bytes());
        at += 4;
    }
    mdns_sd::fuzz_api::parse_packet(&data);
}

/// Where the name ends that begins there.
fn end_of_name(data: &[u8], mut at: usize) -> usize {
    loop {
        match data.get(at) {
            None | Some(0) => return at + 1,
            Some(0xc0..) => return at + 2,
            Some(length) => at += 1 + usize::from(*length),
        }
    }
}

/// A question, an announcement with all that belongs to it, whole and with names that are pointers, and one that is over.
pub fn seeds() -> Vec<Vec<u8>> {
    let question = [&head(0, [1, 0, 0, 0])[..], &name(&TYPE), &PTR.to_be_bytes(), &[0, 1]].concat();
    let instance = [&[INSTANCE.len() as u8][..], INSTANCE, &TO_TYPE].concat();
    let service = [&[0, 0, 0, 0, 0x6a, 0x88][..], &name(&HOST)].concat();
    let about = |kind, data: &[u8]| record(&instance, kind, 120, data);
    let of_host = |kind, data: &[u8]| record(&name(&HOST), kind, 120, data);
    let announcement = |ttl| {
        [
            head(0x8400, [0, 1, 0, 5]),
            record(&name(&TYPE), PTR, ttl, &instance),
            about(SRV, &service),
            about(TXT, &[0]),
            of_host(A, &[10, 81, 0, 1]),
            of_host(AAAA, &[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            about(NSEC, &[&instance[..], &[0, 5, 0, 0, 0, 0, 0x40]].concat()),
        ]
        .concat()
    };
    vec![question, announcement(4_500), announcement(0)]
}

fn head(flags: u16, counts: [u16; 4]) -> Vec<u8> {
    [0, flags].into_iter().chain(counts).flat_map(u16::to_be_bytes).collect()
}

fn name(labels: &[&[u8]]) -> Vec<u8> {
    let labels = labels.iter().flat_map(|label| [&[label.len() as u8][..], label].concat());
    labels.chain([0]).collect()
}

fn record(of: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let len = data.len() as u16;
    [of, &kind.to_be_bytes(), &[0x80, 1], &ttl.to_be_bytes(), &len.to_be_bytes(), data].concat()
}
