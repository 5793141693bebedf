//! Names of conflict copies: the same on all devices, legal on all file systems that hold the original.

use crate::limits::NAME_BYTES_MAX;
use crate::path::Name;

/// `stem (conflict from LABEL DATE ID).ext`, the stem cut so that the name fits.
pub fn conflict_name(name: &Name, label: &str, wall_ms: i64, id: &str) -> Name {
    let bytes = name.as_bytes();
    // A dot in front is no extension, and one at the end neither.
    let dot = bytes.iter().rposition(|b| *b == b'.').filter(|at| *at > 0 && at + 1 < bytes.len());
    let (stem, ext) = bytes.split_at(dot.unwrap_or(bytes.len()));
    let label: String =
        label.chars().map(|c| if c.is_control() || c == '/' { '_' } else { c }).take(24).collect();
    let mark = format!(" (conflict from {label} {} {id})", date(wall_ms));
    let ext = if ext.len() + mark.len() < NAME_BYTES_MAX { ext } else { b"" };
    let room = NAME_BYTES_MAX - mark.len() - ext.len();
    let stem = cut(stem, room);
    let made = [stem, mark.as_bytes(), ext].concat();
    // The mark has blanks and brackets and no NUL or slash, so the whole is a legal name.
    Name::parse(&made).expect("a name with a mark is a name")
}

/// At most `room` bytes, without cutting a UTF-8 character.
fn cut(stem: &[u8], room: usize) -> &[u8] {
    let mut end = stem.len().min(room);
    while end > 0 && end < stem.len() && stem[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    &stem[..end]
}

/// The UTC date, `yyyy-mm-dd`. After Howard Hinnant, "chrono-compatible low-level date algorithms".
fn date(wall_ms: i64) -> String {
    let days = wall_ms.div_euclid(86_400_000) + 719_468;
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
