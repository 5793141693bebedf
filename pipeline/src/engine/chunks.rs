//! A set of chunks of one content, as bits: which are missing, which are coming, which somebody holds.
//!
//! Grows to the greatest number that was put in; a manifest's bound keeps it below 128 KiB.

use dunlin_core::message::Run;

const BITS: u32 = u64::BITS;

/// See the module's doc.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Chunks {
    words: Vec<u64>,
}

impl Chunks {
    /// True if it holds none.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// True if it holds this one.
    pub fn has(&self, index: u32) -> bool {
        self.word(index / BITS) & bit(index) != 0
    }

    /// Puts one in.
    pub fn insert(&mut self, index: u32) {
        let at = (index / BITS) as usize;
        if self.words.len() <= at {
            self.words.resize(at + 1, 0);
        }
        self.words[at] |= bit(index);
    }

    /// Takes one out; true if it was there.
    pub fn remove(&mut self, index: u32) -> bool {
        let was_there = self.has(index);
        if was_there {
            self.words[(index / BITS) as usize] &= !bit(index);
        }
        was_there
    }

    /// Puts runs in.
    pub fn insert_runs(&mut self, runs: &[Run]) {
        for run in runs {
            (run.first..run.first.saturating_add(run.count)).for_each(|index| self.insert(index));
        }
    }

    /// All that are in `self` and, if it is given, in `within`, but in none of `without`.
    pub fn select(&self, within: Option<&Self>, without: &[&Self]) -> Self {
        let select = |(at, word): (usize, &u64)| {
            let within = within.map_or(u64::MAX, |set| set.word(at as u32));
            without.iter().fold(word & within, |word, set| word & !set.word(at as u32))
        };
        Self { words: self.words.iter().enumerate().map(select).collect() }
    }

    /// The first from `start` on; beyond the end it goes on from 0.
    pub fn next(&self, start: u32) -> Option<u32> {
        self.next_up(start).or_else(|| self.next_up(0))
    }

    /// As runs, in their order, `max` of them at most.
    pub fn runs(&self, max: usize) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut from = 0;
        while let Some(index) = self.next_up(from) {
            let is_next = runs.last().is_some_and(|last| last.first + last.count == index);
            if !is_next && runs.len() == max {
                break;
            }
            match runs.last_mut().filter(|_| is_next) {
                Some(last) => last.count += 1,
                None => runs.push(Run { first: index, count: 1 }),
            }
            from = index + 1;
        }
        runs
    }

    fn next_up(&self, start: u32) -> Option<u32> {
        let mut at = start / BITS;
        let mut word = self.word(at) & (u64::MAX << (start % BITS));
        while word == 0 {
            at += 1;
            word = *self.words.get(at as usize)?;
        }
        Some(at * BITS + word.trailing_zeros())
    }

    fn word(&self, at: u32) -> u64 {
        self.words.get(at as usize).copied().unwrap_or(0)
    }
}

impl FromIterator<u32> for Chunks {
    fn from_iter<I: IntoIterator<Item = u32>>(indexes: I) -> Self {
        let mut chunks = Self::default();
        indexes.into_iter().for_each(|index| chunks.insert(index));
        chunks
    }
}

const fn bit(index: u32) -> u64 {
    1 << (index % BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(indexes: &[u32]) -> Chunks {
        indexes.iter().copied().collect()
    }

    #[test]
    fn what_goes_in_comes_out_in_runs() {
        let chunks = set(&[0, 1, 2, 63, 64, 65, 200]);
        let runs = [(0, 3), (63, 3), (200, 1)].map(|(first, count)| Run { first, count });
        assert_eq!(chunks.runs(9), runs);
        assert_eq!(chunks.runs(2), runs[..2]);
        let mut again = Chunks::default();
        again.insert_runs(&runs);
        assert_eq!(again, chunks);
        assert!(again.remove(200) && !again.remove(200) && !again.has(200) && !again.is_empty());
        assert!(Chunks::default().runs(9).is_empty() && Chunks::default().is_empty());
    }

    #[test]
    fn the_next_goes_round_the_end() {
        let chunks = set(&[3, 64, 130]);
        let rows = [(0, 3), (3, 3), (4, 64), (65, 130), (131, 3), (9999, 3)];
        for (start, next) in rows {
            assert_eq!(chunks.next(start), Some(next), "from {start}");
        }
        assert_eq!(Chunks::default().next(7), None);
    }

    #[test]
    fn sets_of_unequal_length_are_compared_as_far_as_they_go() {
        let (long, short) = (set(&[1, 5, 300]), set(&[5, 6]));
        assert_eq!(long.select(Some(&short), &[]).runs(9), [Run { first: 5, count: 1 }]);
        assert_eq!(long.select(None, &[&short]), set(&[1, 300]));
        assert!(short.select(None, &[&long, &short]).is_empty());
    }
}
