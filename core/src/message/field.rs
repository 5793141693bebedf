//! The parts of messages that have a bound of their own, checked before they are allocated.

use super::{Part, Run, WantItem};
use crate::ledger::entry::SignedEntry;
use crate::limits::{
    HAVE_RUNS_MAX, HELLO_ROTATIONS_MAX, LABEL_BYTES_MAX, MANIFEST_CHUNKS_MAX, ROTATION_BYTES_MAX,
    TEXT_BYTES_MAX, WANT_ITEMS_MAX,
};
use minicbor::decode::Error;
use minicbor::{Decoder, Encoder, encode};

/// A list of at most `max` parts. Grows as the parts are read, so its claimed length costs nothing.
pub(super) fn list<'b, T>(
    d: &mut Decoder<'b>,
    max: usize,
    mut part: impl FnMut(&mut Decoder<'b>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    match d.array()? {
        Some(count) if count <= max as u64 => (0..count).map(|_| part(d)).collect(),
        _ => Err(Error::message("a list beyond its limit")),
    }
}

/// A device's label.
pub(super) fn label<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<String, Error> {
    bounded(d, LABEL_BYTES_MAX)
}

/// Words for people.
pub(super) fn text<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<String, Error> {
    bounded(d, TEXT_BYTES_MAX)
}

/// Words for people, cut at a character.
pub(super) fn write_text<C, W: encode::Write>(
    text: &str,
    e: &mut Encoder<W>,
    _: &mut C,
) -> Result<(), encode::Error<W::Error>> {
    e.str(&text[..text.floor_char_boundary(TEXT_BYTES_MAX)])?.ok()
}

/// Items of a request.
pub(super) fn items<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<WantItem>, Error> {
    list(d, WANT_ITEMS_MAX, |d| d.decode_with(ctx))
}

/// Runs of chunks within the largest manifest, each behind the one before it.
pub(super) fn runs<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<Run>, Error> {
    let mut last = 0;
    list(d, HAVE_RUNS_MAX, |d| {
        let run: Run = d.decode_with(ctx)?;
        let end = u64::from(run.first) + u64::from(run.count);
        let is_legal = run.count > 0 && u64::from(run.first) >= last && end <= MANIFEST_CHUNKS_MAX as u64;
        last = end;
        if is_legal { Ok(run) } else { Err(Error::message("no runs of chunks of any manifest")) }
    })
}

/// A part of a content, within the largest manifest.
pub(super) fn part<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Part, Error> {
    let part: Part = d.decode_with(ctx)?;
    let is_legal = match part {
        Part::Manifest => true,
        Part::Segment { index } => (index as usize) < MANIFEST_CHUNKS_MAX,
        Part::Chunks { first, count } => {
            let end = u64::from(first) + u64::from(count);
            count > 0 && end <= MANIFEST_CHUNKS_MAX as u64
        }
    };
    if is_legal { Ok(part) } else { Err(Error::message("a part beyond the largest manifest")) }
}

/// A device's own rotations.
pub(super) fn rotations<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<SignedEntry>, Error> {
    list(d, HELLO_ROTATIONS_MAX, |d| {
        let entry: SignedEntry = d.decode()?;
        let is_short = entry.wire_len() <= ROTATION_BYTES_MAX;
        if is_short { Ok(entry) } else { Err(Error::message("no entry with a rotation has so many bytes")) }
    })
}

/// Entries of at most `bytes_max` together.
pub(super) fn entries(d: &mut Decoder<'_>, bytes_max: usize) -> Result<Vec<SignedEntry>, Error> {
    let mut bytes = 0;
    // Each entry has a signature at least.
    list(d, bytes_max / 64, |d| {
        let start = d.position();
        let entry: SignedEntry = d.decode()?;
        bytes += d.position() - start;
        if bytes > bytes_max { Err(Error::message("entries beyond their limit")) } else { Ok(entry) }
    })
}

fn bounded(d: &mut Decoder<'_>, max: usize) -> Result<String, Error> {
    let text = d.str()?;
    if text.len() > max { Err(Error::message("a text beyond its limit")) } else { Ok(text.to_owned()) }
}
