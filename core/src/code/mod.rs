//! Short codes: `7-eagle-candy` stands for an invite while two people are at it (P-12).
//!
//! The number is the *nameplate*, by which two devices find each other at a rendezvous; it is drawn by itself and tells
//! nothing of the words. The two words are a password of 22 bits that never leaves either device: [`exchange`] proves that
//! both have it. Words are those of BIP-39, 2 048 of them, no two alike in their first four letters.

pub mod exchange;

#[cfg(test)]
mod tests;

use crate::limits::{CODE_LIFETIME, CODES_MAX, NAMEPLATE_MAX, NAMEPLATE_RANGES};
use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;
use thiserror::Error;
use zeroize::Zeroizing;

/// `bip-0039/english.txt` of github.com/bitcoin/bips, byte for byte; MIT licence.
const ENGLISH: &str = include_str!("english.txt");
/// How many there are: eleven bits a word.
pub const WORDS: usize = 2048;
/// So many pairs of words there are: whoever knows none of a code's is right once in so many tries.
pub const PAIRS: usize = WORDS * WORDS;
/// So many letters tell one word from all others.
const LETTERS_ENOUGH: usize = 4;

const _: () = assert!(WORDS == 1 << 11 && PAIRS == 1 << 22);

/// Why a text is no code.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum CodeError {
    /// Another kind of text.
    #[error("this is no code; a code looks like 7-eagle-candy")]
    NotACode,
    /// Mistyped; the word is shown, since it is in no code.
    #[error("no code has the word {0:?}; look at it again")]
    NotAWord(String),
}

/// A code. `Debug` hides the words.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code {
    nameplate: u32,
    words: [u16; 2],
}

impl Code {
    /// A new one. Nameplates are short at first and longer with each `attempt` that found its one taken. `random` must
    /// be that: its first half becomes the nameplate, the other one the words.
    pub fn draw(attempt: usize, random: &[u8; 8]) -> Self {
        let part = |at: usize| u16::from_le_bytes([random[at], random[at + 1]]);
        let range = NAMEPLATE_RANGES[attempt.min(NAMEPLATE_RANGES.len() - 1)];
        let number = u32::from(part(0)) << 16 | u32::from(part(2));
        // 2 048 divides 65 536: no word is likelier than another.
        let word = |at| part(at) % WORDS as u16;
        Self { nameplate: number % range + 1, words: [word(4), word(6)] }
    }

    /// As it was typed: upper or lower case, with dashes or blanks, each word by its first four letters at least.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let is_between = |c: char| c == '-' || c.is_whitespace();
        let mut parts = text.split(is_between).filter(|part| !part.is_empty());
        let (Some(number), Some(first), Some(second), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(CodeError::NotACode);
        };
        let is_number = number.bytes().all(|b| b.is_ascii_digit());
        let nameplate = number.parse().ok().filter(|n| is_number && (1..=NAMEPLATE_MAX).contains(n));
        let nameplate = nameplate.ok_or(CodeError::NotACode)?;
        Ok(Self { nameplate, words: [word_of(first)?, word_of(second)?] })
    }

    /// What a rendezvous may know of it.
    pub fn nameplate(&self) -> u32 {
        self.nameplate
    }

    /// What it may not.
    fn password(&self) -> Zeroizing<String> {
        let [first, second] = self.words.map(word_at);
        Zeroizing::new(format!("{first}-{second}"))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.nameplate, *self.password())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({}, words hidden)", self.nameplate)
    }
}

/// How many codes of one folder may still be given out: whoever burns them has no more guesses than that.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CodesGiven(VecDeque<Instant>);

impl CodesGiven {
    /// One more is given out; false if there were too many of late.
    pub fn take(&mut self, now: Instant) -> bool {
        while self.0.front().is_some_and(|at| now >= *at + CODE_LIFETIME) {
            self.0.pop_front();
        }
        let is_left = self.0.len() < CODES_MAX;
        self.0.extend(is_left.then_some(now));
        is_left
    }

    /// The last one was used by who had its words, or not given out after all: nobody has guessed.
    pub fn give_back(&mut self) {
        self.0.pop_back();
    }
}

/// The number of a word.
fn word_of(text: &str) -> Result<u16, CodeError> {
    let lower = text.to_lowercase();
    let is_meant =
        |word: &str| word == lower || lower.chars().count() >= LETTERS_ENOUGH && word.starts_with(&lower);
    let found = ENGLISH.lines().position(is_meant);
    found.map(|number| number as u16).ok_or_else(|| CodeError::NotAWord(text.chars().take(32).collect()))
}

fn word_at(number: u16) -> &'static str {
    // Numbers come from [`Code::draw`] and [`word_of`], which know no others.
    ENGLISH.lines().nth(usize::from(number)).expect("one of the words")
}
