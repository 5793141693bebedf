//! Sizes as people write them: `512k`, `10M`, `1.5G`.

/// Bytes; `None`: that is no size. `bare`: the unit of a number without one, if there may be such.
pub fn parse_size(text: &str, bare: Option<char>) -> Option<u64> {
    let (number, unit) = match text.char_indices().next_back()? {
        (at, unit) if unit.is_ascii_alphabetic() => (&text[..at], unit.to_ascii_lowercase()),
        _ => (text, bare?),
    };
    let unit: u64 = match unit {
        'b' => 1,
        'k' => 1 << 10,
        'm' => 1 << 20,
        'g' => 1 << 30,
        't' => 1 << 40,
        _ => return None,
    };
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = number.parse().ok().filter(|_| is_plain)?;
    Some((number * unit as f64).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("512k", 512 << 10), ("10M", 10 << 20), ("1.5G", 3 << 29), ("2t", 2 << 40), ("7B", 7), ("0G", 0)]
        {
            assert_eq!(parse_size(text, None), Some(bytes), "{text}");
        }
        for text in ["", "G", "12", "-1G", "1e3k", "1.2.3M", "10 M", "10MB", "ten", "ü"] {
            assert_eq!(parse_size(text, None), None, "{text}");
        }
        assert_eq!(parse_size("12", Some('k')), Some(12 << 10));
    }
}
