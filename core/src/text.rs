//! Texts: the three-way merge (INV-21), and how two texts differ.
//!
//! # The rule
//! Each side is a list of changes of the base: lines *a* to *b* become these lines. The merge is the base
//! with the changes of all sides. It exists only if any two changes are the same or have at least one
//! line of the base between them that neither touches; so it has what each side did and nothing else, is
//! the same in whatever order the sides come, and never holds a marker. The lines keep their ends, so that
//! CRLF, a byte order mark and a missing last line end stay as they are.
//!
//! # What it refuses to know
//! Versions, files, who merges and when. Diffs are imara-diff's (histogram, Myers where lines repeat too
//! often), which is bounded where minimal diffs are quadratic; each is checked before it is believed.
//! Three-way merges of libraries build texts with markers and diff in quadratic time, and what is left to do
//! here is to put two lists in order.

use crate::canary::{self, Bug};
use crate::limits::{MERGE_BYTES_MAX, MERGE_EDITS_MAX, MERGE_LINES_MAX, MERGE_REPEATED_MAX};
use imara_diff::sources::byte_lines;
use imara_diff::{Algorithm, BasicLineDiffPrinter, Diff, InternedInput, UnifiedDiffConfig};
use thiserror::Error;

/// Lines that occur more often are slow to place: imara-diff's histogram goes by rare lines.
const REPEATED_FROM: u32 = 63;

#[cfg(test)]
mod tests;

/// Why texts have no merge. All but [`NoMerge::Overlap`] hold for two-way diffs too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NoMerge {
    /// One of them is no UTF-8 text.
    #[error("not all of them are texts")]
    NotText,
    /// One of them has more bytes or lines than are compared.
    #[error("a text is too large to be compared")]
    TooLarge,
    /// A side has little in common with the base.
    #[error("the texts have too little in common")]
    TooDifferent,
    /// Two sides changed the same lines, or lines that touch.
    #[error("the same lines were changed")]
    Overlap,
}

/// The base with the changes of all sides; equal sides count once. Deterministic, and the same for any
/// order of the sides.
pub fn merge(base: &[u8], sides: &[&[u8]]) -> Result<Vec<u8>, NoMerge> {
    std::iter::once(&base).chain(sides).try_for_each(|text| check(text))?;
    let mut changes = Vec::new();
    for side in sides {
        changes.extend(changes_of(base, side)?);
    }
    changes.sort();
    changes.dedup();
    if canary::is(Bug::MergeKeepsOneSide) {
        changes.dedup_by(|later, earlier| later.start <= earlier.end);
    }
    if changes.windows(2).any(|two| two[1].start <= two[0].end) {
        return Err(NoMerge::Overlap);
    }
    let starts = line_starts(base);
    let mut merged = Vec::with_capacity(base.len() + changes.iter().map(|c| c.lines.len()).sum::<usize>());
    let mut line = 0;
    for change in changes {
        merged.extend_from_slice(&base[starts[line]..starts[change.start]]);
        merged.extend_from_slice(change.lines);
        line = change.end;
    }
    merged.extend_from_slice(&base[starts[line]..]);
    Ok(merged)
}

/// The differences of two texts in the unified format, without a head; empty for equal texts.
pub fn unified(ours: &[u8], theirs: &[u8]) -> Result<String, NoMerge> {
    check(ours)?;
    check(theirs)?;
    let texts = std::str::from_utf8(ours).and_then(|ours| Ok((ours, std::str::from_utf8(theirs)?)));
    let (ours, theirs) = texts.map_err(|_| NoMerge::NotText)?;
    let input = InternedInput::new(ours, theirs);
    if !is_quick(&input) {
        return Err(NoMerge::TooDifferent);
    }
    let diff = Diff::compute(Algorithm::Histogram, &input);
    let printer = BasicLineDiffPrinter(&input.interner);
    Ok(diff.unified_diff(&printer, UnifiedDiffConfig::default(), &input).to_string())
}

/// True for UTF-8 that a person could have written: no NUL, and nothing that begins like another format.
pub fn is_text(bytes: &[u8]) -> bool {
    let is_utf8 = !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok();
    is_utf8 && content_inspector::inspect(bytes).is_text()
}

fn check(text: &[u8]) -> Result<(), NoMerge> {
    if text.len() as u64 > MERGE_BYTES_MAX || byte_lines(text).nth(MERGE_LINES_MAX).is_some() {
        return Err(NoMerge::TooLarge);
    }
    if is_text(text) { Ok(()) } else { Err(NoMerge::NotText) }
}

/// Lines `start..end` of the base become `lines`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Change<'a> {
    start: usize,
    end: usize,
    lines: &'a [u8],
}

fn changes_of<'a>(base: &[u8], side: &'a [u8]) -> Result<Vec<Change<'a>>, NoMerge> {
    let input = InternedInput::new(base, side);
    if !is_quick(&input) {
        return Err(NoMerge::TooDifferent);
    }
    let diff = Diff::compute(Algorithm::Histogram, &input);
    let edits = diff.count_additions().saturating_add(diff.count_removals());
    if edits > MERGE_EDITS_MAX || !is_script(&diff, &input) {
        return Err(NoMerge::TooDifferent);
    }
    let starts = line_starts(side);
    let change = |hunk: imara_diff::Hunk| Change {
        start: hunk.before.start as usize,
        end: hunk.before.end as usize,
        lines: &side[starts[hunk.after.start as usize]..starts[hunk.after.end as usize]],
    };
    Ok(diff.hunks().map(change).collect())
}

/// True if the texts can be compared in a moment and might have few enough differences. Where lines are often
/// repeated, imara-diff needs 48 s for 128 Ki of them; between the first and the last difference there may be
/// some of those only.
fn is_quick<T>(input: &InternedInput<T>) -> bool {
    let (mut before, mut after) = (&input.before[..], &input.after[..]);
    while let ([one, rest @ ..], [other, other_rest @ ..]) = (before, after)
        && one == other
    {
        (before, after) = (rest, other_rest);
    }
    while let ([rest @ .., one], [other_rest @ .., other]) = (before, after)
        && one == other
    {
        (before, after) = (rest, other_rest);
    }
    let mut counts = vec![(0_u32, 0_u32); input.interner.num_tokens() as usize];
    before.iter().for_each(|token| counts[token.0 as usize].0 += 1);
    after.iter().for_each(|token| counts[token.0 as usize].1 += 1);
    let least: u32 = counts.iter().map(|(before, after)| before.abs_diff(*after)).sum();
    let repeated = counts.iter().map(|(before, after)| before + after).filter(|count| *count > REPEATED_FROM);
    least <= MERGE_EDITS_MAX && repeated.sum::<u32>() <= MERGE_REPEATED_MAX
}

/// True if what the diff leaves alone is the same on both sides. A wrong diff would put other bytes into the
/// user's file than anybody wrote; texts come from others, so it is no reason to panic either.
fn is_script<T>(diff: &Diff, input: &InternedInput<T>) -> bool {
    let kept = |tokens: &'_ [imara_diff::Token], is_changed: &dyn Fn(u32) -> bool| -> Vec<u32> {
        let all = tokens.iter().enumerate();
        all.filter(|(at, _)| !is_changed(*at as u32)).map(|(_, token)| token.0).collect()
    };
    let before = kept(&input.before, &|at| diff.is_removed(at));
    before == kept(&input.after, &|at| diff.is_added(at))
}

/// Where each line begins, and the end.
fn line_starts(text: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    let mut end = 0;
    for line in byte_lines(text) {
        end += line.len();
        starts.push(end);
    }
    starts
}
