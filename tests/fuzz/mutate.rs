//! Inputs from inputs: bits, bytes, lengths and pieces are changed, by a seed. Blind; cargo-fuzz is the one that looks.

/// A stream of mutated inputs.
pub struct Mutator<'a> {
    seeds: &'a [Vec<u8>],
    state: u64,
    input: Vec<u8>,
}

/// Inputs grow no longer than this by being spliced.
const INPUT_BYTES_MAX: usize = 1 << 16;
/// Numbers at which code changes its mind.
const EDGES: [u8; 9] = [0, 1, 0x17, 0x18, 0x5f, 0x7f, 0x80, 0x9f, 0xff];

impl<'a> Mutator<'a> {
    /// From these, by this seed.
    pub fn new(seed: u64, seeds: &'a [Vec<u8>]) -> Self {
        Self { seeds, state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, input: Vec::new() }
    }

    /// The next one.
    pub fn next(&mut self) -> &[u8] {
        self.input.clear();
        if let Some(seed) = self.seeds.get(self.below(self.seeds.len())) {
            self.input.extend_from_slice(seed);
        }
        for _ in 0..=self.below(5) {
            self.change();
        }
        &self.input
    }

    fn change(&mut self) {
        let at = self.below(self.input.len());
        let edge = EDGES[self.below(EDGES.len())];
        let to = (at + 1 + self.below(32)).min(self.input.len());
        match self.below(8) {
            _ if self.input.is_empty() => self.input.push(edge),
            0 => self.input[at] ^= 1 << self.below(8),
            1 => self.input[at] = edge,
            2 => self.input[at] = self.input[at].wrapping_add(1),
            3 => self.input.truncate(at),
            4 => drop(self.input.drain(at..to)),
            5 => {
                let piece = self.input[at..to].to_vec();
                self.input.splice(at..at, piece);
            }
            6 => self.input.insert(at, edge),
            _ => self.splice(at),
        }
    }

    /// From here on it is another input.
    fn splice(&mut self, at: usize) {
        let Some(other) = self.seeds.get(self.below(self.seeds.len())) else { return };
        let from = self.below(other.len());
        self.input.truncate(at);
        self.input.extend_from_slice(&other[from.min(other.len())..]);
        self.input.truncate(INPUT_BYTES_MAX.max(at));
    }

    /// xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016).
    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let drawn = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        if bound == 0 { 0 } else { drawn as usize % bound }
    }
}
