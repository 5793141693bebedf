//! What is no name, what is no path, and what a terminal is shown of either.

use super::*;

/// D1: whatever leads up, out, nowhere, or into a byte that a file system takes for the end.
#[test]
fn a_path_leads_down_or_is_none() {
    use PathError::*;
    let long = vec![b'n'; NAME_BYTES_MAX + 1];
    let deep = vec![&b"d"[..]; PATH_DEPTH_MAX + 1].join(&b'/');
    let rows: [(&[u8], PathError); 14] = [
        (b"..", Dots),
        (b"../etc", Dots),
        (b"a/../../etc", Dots),
        (b"a/..", Dots),
        (b".", Dots),
        (b"a/./b", Dots),
        (b"/etc/passwd", Empty),
        (b"a//b", Empty),
        (b"a/", Empty),
        (b"a\0b", Forbidden),
        (b"a/b\0", Forbidden),
        (b"a/.dunlin/stage", Control),
        (&long, TooLong),
        (&deep, TooDeep),
    ];
    for (bytes, why) in rows {
        assert_eq!(RelPath::parse(bytes), Err(why), "{}", bytes.escape_ascii());
    }
    assert_eq!(Name::parse(b"a/b"), Err(Forbidden), "a name is one");
    // On this system they are names like any other.
    for name in [&b"a\\b"[..], b"C:", b"\\\\?\\a", b"...", b"CON", b"nul.txt", b"a.", b"a ", b"a:b", b"\xff"]
    {
        assert_eq!(RelPath::parse(name).map(|path| path.names().len()), Ok(1), "{}", name.escape_ascii());
    }
}

/// D13: dunlin's own directory, as some file system might take it.
#[test]
fn what_looks_like_the_control_directory_is_no_name() {
    let alike = [
        ".dunlin",
        ".DUNLIN",
        ".Dunlin",
        ".dun\u{200c}lin",
        "\u{feff}.dunlin",
        ".dunlin\u{202e}",
        ".dunlin.",
        ".dunlin ",
        ".dunlin. .",
        ".dunl\u{131}n",
        "DUNLIN~1",
        "dunlin~12",
        "dun\u{ad}lin~1",
        "dunlin~",
    ];
    for name in alike {
        assert_eq!(Name::parse(name.as_bytes()), Err(PathError::Control), "{name:?}");
    }
    for name in ["dunlin", ".dunlin2", ".dunlinignore", ".dunlinignore.local", "x.dunlin", "dunlin~x"] {
        assert!(Name::parse(name.as_bytes()).is_ok(), "{name:?}");
    }
}

/// D12: nothing that a terminal obeys, hides or turns round.
#[test]
fn what_a_terminal_would_obey_is_escaped() {
    let rows: [(&[u8], &str); 6] = [
        (b"a\nb\r", "a\\nb\\r"),
        (b"\x1b[2J\x07", "\\u{1b}[2J\\u{7}"),
        ("\u{202e}cod.exe".as_bytes(), "\\u{202e}cod.exe"),
        ("zero\u{200b}width".as_bytes(), "zero\\u{200b}width"),
        (b"\xff\x80", "\\xff\\x80"),
        ("\u{e4}\u{4e16} <img>".as_bytes(), "\u{e4}\u{4e16} <img>"),
    ];
    for (bytes, shown) in rows {
        assert_eq!(Name::parse(bytes).unwrap().to_string(), shown);
        assert_eq!(RelPath::parse(&[b"d/", bytes].concat()).unwrap().to_string(), format!("d/{shown}"));
    }
}
