//! A link as a QR code for a terminal. Knows neither what the link means nor how wide the terminal is.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use zeroize::Zeroizing;

/// A link as a QR code, two rows of it to a line; `None`: it is longer than a code holds. In capital letters, which take fewer
/// bits there than others; links are read in either.
pub fn of_link(link: &str) -> Option<String> {
    let link = Zeroizing::new(link.to_ascii_uppercase());
    let code = QrCode::with_error_correction_level(link.as_bytes(), EcLevel::L).ok()?;
    // A terminal's background is dark as a rule, so what is drawn is what is light; readers take the other way round too.
    let (dark, light) = (Dense1x2::Light, Dense1x2::Dark);
    Some(code.render::<Dense1x2>().dark_color(dark).light_color(light).build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_core::id::{FolderId, PeerId};
    use dunlin_core::invite::{Invite, LINK_BYTES_MAX};
    use qrcode::{Color, Version};
    use std::net::SocketAddr;

    /// Light modules around a code, on each side.
    const QUIET: usize = 4;

    fn invite(addrs: usize) -> Invite {
        let addr = |n| SocketAddr::from(([10, 0, 0, n as u8], 27272));
        Invite {
            folder: FolderId([1; 32]),
            issuer: PeerId([2; 32]),
            seed: Zeroizing::new([3; 32]),
            not_after_ms: 1_764_000_000_000,
            label: "photos".to_owned(),
            addrs: (0..addrs).map(addr).collect(),
        }
    }

    /// The modules that are drawn, true where they are dark, without the margin.
    fn modules(drawn: &str) -> Vec<bool> {
        let rows = |line: &str| {
            let halves = |c| match c {
                ' ' => [true, true],
                '\u{2580}' => [false, true],
                '\u{2584}' => [true, false],
                '\u{2588}' => [false, false],
                other => panic!("{other:?}"),
            };
            let halves: Vec<[bool; 2]> = line.chars().map(halves).collect();
            [0, 1].map(|half| halves.iter().map(|module| module[half]).collect::<Vec<_>>())
        };
        let rows: Vec<Vec<bool>> = drawn.lines().flat_map(rows).collect();
        let width = rows[0].len() - 2 * QUIET;
        // An odd row more is half a line.
        let (code, rest) = rows[QUIET..].split_at(width);
        assert!(rows[..QUIET].iter().chain(&rest[..QUIET]).flatten().all(|dark| !dark), "light around it");
        code.iter().flat_map(|row| row[QUIET..QUIET + width].to_vec()).collect()
    }

    #[test]
    fn what_is_drawn_is_the_code_of_the_link() {
        let link = invite(2).to_link();
        let code = QrCode::with_error_correction_level(link.to_uppercase(), EcLevel::L).unwrap();
        let dark: Vec<bool> = code.to_colors().into_iter().map(|color| color == Color::Dark).collect();
        let drawn = of_link(&link).unwrap();
        assert_eq!(modules(&drawn), dark);
        assert!(modules(&of_link(&invite(1).to_link()).unwrap()) != dark, "another link is another code");
        assert_eq!(
            Invite::parse(&link.to_uppercase()).unwrap(),
            invite(2),
            "what a reader gives is an invite"
        );
    }

    #[test]
    fn a_code_fits_a_terminal_and_holds_the_longest_link() {
        let usual = of_link(&invite(3).to_link()).unwrap();
        let wide = usual.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(wide <= 80 && usual.lines().count() <= 40, "{wide} wide:\n{usual}");
        let longest = format!("DUNLIN://JOIN#{}", "A".repeat(LINK_BYTES_MAX - 14));
        let code = QrCode::with_error_correction_level(&longest, EcLevel::L).unwrap();
        assert!(matches!(code.version(), Version::Normal(_)) && of_link(&longest).is_some());
        assert_eq!(of_link(&"A".repeat(5000)), None, "and says so where it does not");
    }
}
