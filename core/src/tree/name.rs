//! Names of conflict copies: the same on all devices, legal on all file systems that hold the original.
//!
//! A name is made from nothing but the original name, the losing version and a device's label. What it
//! looks like is a promise: two devices that disagreed on it would show two files.

use crate::id::Dot;
use crate::limits::NAME_BYTES_MAX;
use crate::path::Name;

/// What stands before the label.
const MARK: &[u8] = b" (conflict from ";
/// Characters of a label that fit a name.
const LABEL_CHARS_MAX: usize = 24;
/// Bytes of an extension, its dot included; a longer one is no extension but part of the stem.
const EXTENSION_MAX: usize = 32;
/// Bytes of the longest id text.
const ID_BYTES_MAX: usize = 16;
/// UTF-8 characters have four bytes at most, so a cut is at most this far from where it was wanted.
const CUT_SLACK: usize = 3;

// The mark, a label of four-byte characters, a date, an id and an extension leave room for a stem.
const _: () = assert!(MARK.len() + 4 * LABEL_CHARS_MAX + 10 + ID_BYTES_MAX + 3 + EXTENSION_MAX < 200);

/// `stem (conflict from LABEL DATE ID).ext`, the stem cut so that the name fits. `wall_ms` are milliseconds
/// since 1970; `id` is text of at most 16 bytes without slash or NUL, such as [`Dot::short`].
pub fn conflict_name(name: &Name, label: &str, wall_ms: i64, id: &str) -> Name {
    assert!(id.len() <= ID_BYTES_MAX, "an id in a name is short");
    let (stem, extension) = split(name.as_bytes());
    let rest = format!("{} {} {id})", clean(label), date(wall_ms));
    let tail = [MARK, rest.as_bytes(), extension].concat();
    let made = [cut(stem, NAME_BYTES_MAX - tail.len()), &tail].concat();
    // The mark has blanks and brackets, nothing has a NUL or a slash, and the stem was cut to fit.
    Name::parse(&made).expect("a name with a mark is a name")
}

/// True if the name could have been made by [`conflict_name`].
pub fn is_copy_name(name: &Name) -> bool {
    !origins(name).is_empty()
}

/// The names of which a conflict copy of this name could be, as far as they can be read from it.
pub fn names_of_winner(name: &Name) -> Vec<Name> {
    origins(name).into_iter().filter_map(|origin| origin.name).collect()
}

/// What the names of all conflict copies of `name` begin with. Other names may begin so, too.
pub fn copies_begin(name: &Name) -> Vec<u8> {
    let (stem, _) = split(name.as_bytes());
    // A stem that fits beside the longest tail is never cut.
    let longest_tail = MARK.len() + 4 * LABEL_CHARS_MAX + 10 + ID_BYTES_MAX + 3 + EXTENSION_MAX;
    let never_cut = NAME_BYTES_MAX - longest_tail - CUT_SLACK;
    if stem.len() <= never_cut { [stem, MARK].concat() } else { stem[..never_cut].to_vec() }
}

/// The id text of a dot: at first [`Dot::short`], then 16 digits, then other 16 digits for each attempt.
pub fn conflict_id(dot: &Dot, attempt: u64) -> String {
    let mut digits = [0; ID_BYTES_MAX / 2];
    let mut reader = blake3::Hasher::new().update(&dot.to_key()).finalize_xof();
    reader.set_position(attempt.saturating_sub(1) * digits.len() as u64);
    reader.fill(&mut digits);
    let used = if attempt == 0 { 4 } else { digits.len() };
    data_encoding::HEXLOWER.encode(&digits[..used])
}

/// A name from which a conflict copy of a given name could have been made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    /// The name, if its stem was not cut.
    pub name: Option<Name>,
    /// What all such names begin with, if their stems may have been cut.
    pub cut_stem: Option<Name>,
}

/// All ways in which `name` could have been made by [`conflict_name`]; empty for nearly all names.
pub(super) fn origins(name: &Name) -> Vec<Origin> {
    let bytes = name.as_bytes();
    let starts = bytes.windows(MARK.len()).enumerate().filter(|(_, w)| *w == MARK).map(|(i, _)| i);
    let mut found = Vec::new();
    for start in starts {
        let stem = &bytes[..start];
        for close in (start + MARK.len()..bytes.len()).filter(|i| bytes[*i] == b')') {
            let extension = &bytes[close + 1..];
            let is_id = bytes[..close].iter().rev().take(8).all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if is_id && (extension.is_empty() || extension.len() <= EXTENSION_MAX && extension[0] == b'.') {
                let is_cut = bytes.len() >= NAME_BYTES_MAX - CUT_SLACK;
                let name = Name::parse(&[stem, extension].concat()).ok();
                found.push(Origin { name, cut_stem: Name::parse(stem).ok().filter(|_| is_cut) });
            }
        }
    }
    found
}

/// Stem and extension: cut at the last dot. A dot in front begins no extension, nor does one at the end.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let is_extension = |at: &usize| *at > 0 && (2..=EXTENSION_MAX).contains(&(bytes.len() - at));
    let dot = bytes.iter().rposition(|b| *b == b'.').filter(is_extension);
    bytes.split_at(dot.unwrap_or(bytes.len()))
}

/// At most `room` bytes, without cutting a UTF-8 character. What is no UTF-8 is cut where it falls.
fn cut(stem: &[u8], room: usize) -> &[u8] {
    let is_boundary = |at: &usize| stem.get(*at).is_none_or(|b| b & 0xc0 != 0x80);
    let wanted = stem.len().min(room);
    let end = (wanted.saturating_sub(CUT_SLACK)..=wanted).rev().find(is_boundary).unwrap_or(wanted);
    &stem[..end]
}

/// A label without what some file system or terminal would stumble over.
fn clean(label: &str) -> String {
    let is_plain = |c: char| !c.is_control() && !r#"/\:*?"<>|"#.contains(c) && !is_format(c);
    let cleaned: String = label.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let short: String = cleaned.trim().chars().take(LABEL_CHARS_MAX).collect();
    if short.is_empty() { "device".to_owned() } else { short }
}

/// Marks that turn or hide text.
fn is_format(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The UTC date, `yyyy-mm-dd`, of the years 0 to 9999; a clock beyond shows the nearest of them.
/// After Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
pub fn date(wall_ms: i64) -> String {
    let days = wall_ms.div_euclid(86_400_000).clamp(-719_528, 2_932_896) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
