//! A text as the laws see it: its lines, its code without comments and literals, what of it is a test.
//!
//! A scanner of a few dozen lines instead of a parser: the laws ask for words and braces only, and a
//! parser would drop the comments that some of them are about.

use std::fmt;
use std::path::Path;

/// One breach of a law.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The file, from the root.
    pub path: String,
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong and what to use instead.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// One text of the project.
#[derive(Clone, Debug)]
pub struct Source {
    /// From the root, with slashes.
    pub path: String,
    /// As it is.
    pub text: String,
    /// As long as `text`, with blanks for comments and for what is in literals.
    pub code: String,
    test_ranges: Vec<(usize, usize)>,
}

/// One line of code.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// From 1.
    pub number: usize,
    /// Without comments and literals.
    pub code: &'a str,
    /// Runs in tests only.
    pub is_test: bool,
}

impl Source {
    /// A text under a path.
    pub fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { blanked(text) } else { text.to_owned() };
        let test_ranges = test_ranges(&code);
        Self { path: path.to_owned(), text: text.to_owned(), code, test_ranges }
    }

    /// True for Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// True if the whole file runs in tests only.
    pub fn is_test(&self) -> bool {
        let is_beside = |dir: &str| self.path.starts_with(dir) || self.path.contains(&format!("/{dir}"));
        let is_contract = self.path.ends_with("/contract.rs");
        is_beside("tests/") || is_beside("benches/") || self.path.ends_with("tests.rs") || is_contract
    }

    /// Its lines.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let is_test = self.is_test();
        let mut start = 0;
        self.code.split('\n').enumerate().map(move |(index, code)| {
            let here = start;
            start += code.len() + 1;
            let in_range = self.test_ranges.iter().any(|(from, to)| (*from..*to).contains(&here));
            Line { number: index + 1, code, is_test: is_test || in_range }
        })
    }

    /// A finding in this file.
    pub fn finding(&self, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, message: message.into() }
    }
}

/// True if `word` stands in `line`, not as a part of a longer identifier.
pub fn has_word(line: &str, word: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let (bytes, pattern) = (line.as_bytes(), word.as_bytes());
    line.match_indices(word).any(|(at, _)| {
        let is_free = |inside: Option<&u8>, outside: Option<&u8>| {
            !(inside.is_some_and(|b| is_part(*b)) && outside.is_some_and(|b| is_part(*b)))
        };
        let before = at.checked_sub(1).and_then(|i| bytes.get(i));
        is_free(pattern.first(), before) && is_free(pattern.last(), bytes.get(at + word.len()))
    })
}

/// Where the brace that opens at `open` is closed, or the end.
pub fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    code.len()
}

/// All texts of the project, sorted by path. Hidden directories, build results and `ui/` are no part of
/// it, save `.ci` and `.cargo`.
pub fn texts(root: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    let mut open = vec![String::new()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(root.join(&dir)).expect("a directory of the project").flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if dir.is_empty() { name.clone() } else { format!("{dir}/{name}") };
            let is_hidden = name.starts_with('.') && ![".ci", ".cargo"].contains(&name.as_str());
            if is_hidden || ["target", "node_modules", "ui"].contains(&name.as_str()) {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path);
            } else if is_text(&name)
                && let Ok(text) = std::fs::read_to_string(entry.path())
            {
                found.push(Source::new(&path, &text));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn is_text(name: &str) -> bool {
    [".rs", ".md", ".toml", ".sh", ".py"].iter().any(|end| name.ends_with(end))
        || ["check", "run"].contains(&name)
}

fn test_ranges(code: &str) -> Vec<(usize, usize)> {
    let attribute = "#[cfg(test)]";
    let range = |at: usize| {
        let begin = at + code[at..].find(['{', ';'])?;
        Some((at, if code[begin..].starts_with('{') { closing(code, begin) + 1 } else { begin + 1 }))
    };
    code.match_indices(attribute).filter_map(|(at, _)| range(at)).collect()
}

fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let hidden = hidden_len(bytes, at);
        for byte in &bytes[at..at + hidden.max(1)] {
            let is_shown = hidden == 0 && byte.is_ascii() || *byte == b'\n';
            out.push(if is_shown { char::from(*byte) } else { ' ' });
        }
        at += hidden.max(1);
    }
    out
}

/// Bytes of the comment or literal that begins at `at`; 0 if none does.
fn hidden_len(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return block_comment_len(rest);
    }
    let is_ident = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let before = at.checked_sub(1).map(|i| bytes[i]);
    match rest[0] {
        b'"' => string_len(rest),
        b'r' if before.is_none_or(|b| !is_ident(b) || b == b'b') => raw_string_len(rest),
        b'\'' => char_len(rest),
        _ => 0,
    }
}

fn block_comment_len(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        match rest.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn string_len(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string_len(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|b| **b == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let end = [&b"\""[..], &b"#".repeat(hashes)].concat();
    let from = 2 + hashes;
    rest[from..].windows(end.len()).position(|w| w == end).map_or(rest.len(), |i| from + i + end.len())
}

/// A character, as opposed to a lifetime.
fn char_len(rest: &[u8]) -> usize {
    let close = if rest.get(1) == Some(&b'\\') {
        rest.iter().skip(3).position(|b| *b == b'\'').map(|i| i + 3)
    } else {
        let is_start = |b: &u8| (*b as i8) >= -0x40;
        rest.iter().skip(2).position(is_start).map(|i| i + 2).filter(|i| rest[*i] == b'\'')
    };
    close.map_or(0, |close| close + 1)
}

#[test]
fn comments_and_literals_are_not_code() {
    let text =
        "let a = \"x{\\\"\"; // y{\nlet b = r#\"z{\"#; /* v /* w */ { */ let c = '{'; fn f<'a>(d: &'a u8) {}";
    let source = Source::new("core/src/a.rs", text);
    assert_eq!(source.code.len(), text.len());
    assert_eq!(source.code.matches('{').count(), 1, "{}", source.code);
    assert!(source.code.contains("fn f<'a>(d: &'a u8) {}"));
    for hidden in ["x", "y", "z", "v", "w"] {
        assert!(!has_word(&source.code, hidden), "{hidden} in {}", source.code);
    }
    let words = Source::new("core/src/a.rs", "'é'; let x = 'ü'; y('\\u{61}', b'\\'', br\"k\")");
    assert_eq!(words.code.replace(' ', ""), ";letx=;y(,b,b)");
}

#[test]
fn words_are_whole() {
    assert!(has_word("a.unwrap();", ".unwrap()"));
    assert!(has_word("let m: HashMap<u8, u8>;", "HashMap"));
    assert!(!has_word("let m: MyHashMap<u8, u8>;", "HashMap"));
    assert!(!has_word("unbounded(3)", "bounded("));
    assert!(has_word("crossbeam_channel::bounded(3)", "bounded("));
}

#[test]
fn tests_are_told_from_code() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod t;\nfn d() {}\n";
    let source = Source::new("core/src/a.rs", text);
    let tests: Vec<usize> = source.lines().filter(|l| l.is_test).map(|l| l.number).collect();
    assert_eq!(tests, [2, 3, 4, 5, 7, 8]);
    assert!(Source::new("core/src/tree/tests/orders.rs", "").is_test());
    assert!(Source::new("tests/cli.rs", "").is_test());
    assert!(!Source::new("core/src/tree/order.rs", "").is_test());
}
