//! What the texts say of each other: bounds, pages, commands, channels, and what they must not say.

use super::source::{Finding, Source};
use std::collections::BTreeSet;

/// Where every channel is made.
pub const WIRING: &str = "pipeline/src/wiring.rs";

/// Ends of the names of constants that bound something.
const BOUND_ENDS: &[&str] = &["_MAX", "_MIN", "_LIMIT", "_CAPACITY", "_IN_FLIGHT", "_TIMEOUT", "_KEPT"];

/// Beneath which path which bound may stand beside its only reader, and why.
const BOUNDS_ELSEWHERE: &[(&str, &str, &str)] = &[
    ("core/src/tree/name.rs", "LABEL_CHARS_MAX", "a promise of the names' format, asserted beside it"),
    ("core/src/tree/name.rs", "EXTENSION_MAX", "a promise of the names' format, asserted beside it"),
    ("core/src/tree/name.rs", "ID_BYTES_MAX", "a promise of the names' format, asserted beside it"),
    ("core/src/invite.rs", "ADDR_TEXT_MAX", "the text of an address, given by the standard library"),
    ("transport/src/noise/", "MESSAGE_MAX", "given by the Noise specification"),
    ("transport/src/noise/", "OVERHEAD_MAX", "given by the Noise specification"),
    ("transport/src/congestion", "START_STEP_MAX", "a constant of the controller's law"),
    ("transport/src/congestion", "GAPS_MAX", "a constant of the controller's law"),
    ("transport/src/congestion", "LOSS_SAMPLE_MIN", "a constant of the controller's law"),
    ("pipeline/src/engine/", "DIAL_PAUSE_MIN", "a pace; nothing grows with it"),
    ("pipeline/src/engine/", "DIAL_PAUSE_MAX", "a pace; nothing grows with it"),
    ("pipeline/src/engine/", "EXPECTED_MAX", "a pace; nothing grows with it"),
    ("pipeline/src/engine/", "REST_MIN", "a pace; nothing grows with it"),
    ("pipeline/src/engine/", "REST_MAX", "a pace; nothing grows with it"),
    ("pipeline/src/rooms/", "SLEEP_MAX", "a pace; nothing grows with it"),
    ("pipeline/src/jobs/", "LOOKS_MAX", "bounds one turn of one job"),
    ("pipeline/src/", "ADDRS_KEPT", "bounds one row of one table"),
    ("src/", "INPUT_MAX", "bounds one reading of standard input"),
];

/// A constant that bounds something and is a plain number stands in a `limits.rs`; one that follows from
/// those may stand where it is used.
pub fn bounds(source: &Source) -> Vec<Finding> {
    let is_limits = source.path.ends_with("limits.rs");
    if source.is_test() || is_limits || !source.path.contains("src/") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, name) in plain_bounds(source) {
        if !is_excepted(source, &name) {
            let what =
                format!("`{name}` is a bound: it stands in core/src/limits.rs or transport/src/limits.rs");
            findings.push(source.finding(number, what));
        }
    }
    findings
}

/// Exceptions that nothing needs any more.
pub fn stale_exceptions(sources: &[Source]) -> Vec<Finding> {
    let has = |source: &Source, name: &str| plain_bounds(source).iter().any(|(_, bound)| bound == name);
    let is_stale = |path: &str, name: &str| {
        !sources.iter().any(|source| source.path.starts_with(path) && has(source, name))
    };
    let stale = BOUNDS_ELSEWHERE.iter().filter(|(path, name, _)| is_stale(path, name));
    stale
        .map(|(path, name, _)| Source::new(path, "").finding(0, format!("`{name}` is no exception any more")))
        .collect()
}

fn is_excepted(source: &Source, name: &str) -> bool {
    BOUNDS_ELSEWHERE.iter().any(|(path, bound, _)| source.path.starts_with(path) && *bound == name)
}

/// The constants that bound something by a number of their own, with their lines.
fn plain_bounds(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for line in source.lines().filter(|line| !line.is_test) {
        let Some((_, rest)) = line.code.split_once("const ") else { continue };
        let Some((name, value)) =
            rest.split_once(": ").and_then(|(name, rest)| Some((name, rest.split_once('=')?.1)))
        else {
            continue;
        };
        // A constant or a function of another's makes it follow from something.
        let is_derived = value.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| {
            word.len() > 1
                && word.starts_with(|c: char| c.is_ascii_uppercase())
                && word == word.to_uppercase()
        });
        // Without a duration it is the number of an error.
        let is_code = name.ends_with("_TIMEOUT") && !value.contains("Duration");
        let has_number = value.contains(|c: char| c.is_ascii_digit()) && !is_code;
        if BOUND_ENDS.iter().any(|end| name.ends_with(end)) && has_number && !is_derived {
            found.push((line.number, name.to_owned()));
        }
    }
    found
}

/// Nothing is left for later.
pub fn leftovers(source: &Source) -> Vec<Finding> {
    // Put together here, so that this file is not found by itself.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK:")];
    each_line(source, |line| {
        words
            .iter()
            .find(|word| line.contains(*word))
            .map(|word| format!("`{word}`: nothing is left for later; finish it, or say it in the issue"))
    })
}

/// No text names a place that exists on one machine only, or a mirror of a registry.
pub fn machine_paths(source: &Source) -> Vec<Finding> {
    let places = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("/tm", "p/"),
        concat!("index.", "crates.io"),
    ];
    each_line(source, |line| {
        places.iter().find(|place| line.contains(*place)).map(|place| {
            format!("`{place}`: a place of one machine; use a relative path, `tempfile`, or `DIR`")
        })
    })
}

fn each_line(source: &Source, judge: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let lines = source.text.lines().enumerate();
    lines.filter_map(|(index, line)| Some(source.finding(index + 1, judge(line)?))).collect()
}

/// Pages that are named exist: `docs/….md` anywhere, and relative links in pages.
pub fn pages(source: &Source, exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let dir = source.path.rsplit_once('/').map_or("", |(dir, _)| dir);
    let mut findings = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        let mut named: Vec<String> = page_names(line).map(str::to_owned).collect();
        if source.path.ends_with(".md") {
            named.extend(
                links(line)
                    .map(|link| if dir.is_empty() { link.to_owned() } else { format!("{dir}/{link}") }),
            );
        }
        for path in named.iter().filter(|path| !exists(&resolved(path))) {
            findings.push(
                source.finding(index + 1, format!("`{path}` does not exist: write it, or name another")),
            );
        }
    }
    findings
}

/// The pages under `docs/` that a line names.
fn page_names(line: &str) -> impl Iterator<Item = &str> {
    let start = concat!("docs", "/");
    line.match_indices(start).filter_map(|(at, _)| {
        let is_part = |c: char| c.is_alphanumeric() || "/-_.".contains(c);
        let end = line[at..].find(|c| !is_part(c)).map_or(line.len(), |i| at + i);
        Some(line[at..end].trim_end_matches('.')).filter(|path| path.ends_with(".md"))
    })
}

/// The relative links of a line of Markdown, without their fragments.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(|(at, open)| {
        let rest = &line[at + open.len()..];
        let target = rest[..rest.find(')')?].split('#').next()?;
        Some(target).filter(|target| !target.is_empty() && !target.contains("://"))
    })
}

/// A path without `..`.
fn resolved(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The subcommands that the program knows: each `name = "…"` of src/.
pub fn commands(sources: &[Source]) -> BTreeSet<String> {
    let people = sources.iter().filter(|source| source.path.starts_with("src/"));
    let names = people.flat_map(|source| source.text.split("name = \"").skip(1));
    names.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
}

/// The README shows the two commands, and no command that the program does not know.
pub fn readme(readme: &Source, commands: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let shown = shown_commands(readme);
    for (number, command) in &shown {
        if !commands.contains(*command) {
            let what = format!("`dunlin {command}` is no command; say what there is, or build it");
            findings.push(readme.finding(*number, what));
        }
    }
    for command in ["share", "join"] {
        if !shown.iter().any(|(_, shown)| *shown == command) {
            findings
                .push(readme.finding(0, format!("the README shows `dunlin {command}` on a line of its own")));
        }
    }
    findings
}

/// The commands on the lines of code blocks, such as `$ dunlin share DIR`, with their lines.
fn shown_commands(readme: &Source) -> Vec<(usize, &str)> {
    let mut is_fenced = false;
    let mut shown = Vec::new();
    for (index, line) in readme.text.lines().enumerate() {
        is_fenced ^= line.starts_with("```");
        let bare = line.trim().trim_start_matches("$ ");
        let run = bare.split_once("cargo run --release -- ").map(|(_, rest)| rest);
        let rest = bare.strip_prefix("dunlin ").or(run).filter(|_| is_fenced || line.starts_with("    "));
        let command = rest.and_then(|rest| rest.split_whitespace().next());
        shown.extend(command.filter(|c| c.bytes().all(|b| b.is_ascii_lowercase())).map(|c| (index + 1, c)));
    }
    shown
}

/// Each channel of the wiring has a row in the table above it.
pub fn wiring(source: &Source) -> Vec<Finding> {
    let fields = source.text.lines().enumerate().filter_map(|(index, line)| {
        let (name, kind) = line.trim().strip_prefix("pub ")?.split_once(": ")?;
        kind.starts_with("Link<").then(|| (index + 1, name.replace('_', " ")))
    });
    let has_row = |name: &str| {
        let row = format!("//! | `{name}` |");
        source.text.lines().any(|line| line.starts_with(&row) && line.matches('|').count() == 5)
    };
    fields
        .filter(|(_, name)| !has_row(name))
        .map(|(number, name)| {
            source.finding(
                number,
                format!("`{name}`: say in the table who blocks on it and why that cannot deadlock"),
            )
        })
        .collect()
}

#[test]
fn a_bound_elsewhere_is_found() {
    let found = |path: &str, text: &str| bounds(&Source::new(path, text)).len();
    assert_eq!(found("core/src/a.rs", "pub const NAMES_MAX: usize = 4 * 1024;\n"), 1);
    assert_eq!(found("pipeline/src/a.rs", "const PAUSE_MIN: Duration = Duration::from_millis(200);\n"), 1);
    assert_eq!(found("src/a.rs", "const A_TIMEOUT: Duration = Duration::from_secs(3);\n"), 1);
    assert_eq!(found("src/a.rs", "const A_TIMEOUT: u32 = 3;\n"), 0);
    assert_eq!(found("core/src/a.rs", "const NAMES_MAX: usize = MEMBERS_MAX * 8;\n"), 0);
    assert_eq!(found("core/src/limits.rs", "pub const NAMES_MAX: usize = 4;\n"), 0);
    assert_eq!(found("core/src/a.rs", "const HEAD_LEN: usize = 3;\n"), 0);
    assert_eq!(found("core/src/tests.rs", "const NAMES_MAX: usize = 4;\n"), 0);
    assert_eq!(found("core/src/tree/name.rs", "const EXTENSION_MAX: usize = 32;\n"), 0);
    let without = Source::new("core/src/tree/name.rs", "const EXTENSION_MAX: usize = 32;\n");
    assert_eq!(stale_exceptions(&[without]).len(), BOUNDS_ELSEWHERE.len() - 1);
}

#[test]
fn leftovers_and_machine_paths_are_found() {
    let line = |word: &str| Source::new("docs/a.md", &format!("fine\nsee {word} x\n"));
    for word in [concat!("TO", "DO"), concat!("FIX", "ME")] {
        assert_eq!(leftovers(&line(word))[0].line, 2);
    }
    for word in [concat!("/ho", "me/me"), concat!("/wo", "rk/x"), concat!("/tm", "p/x")] {
        assert_eq!(machine_paths(&line(word))[0].line, 2);
    }
    assert!(leftovers(&line("to do")).is_empty() && machine_paths(&line("network/works")).is_empty());
}

#[test]
fn pages_that_do_not_exist_are_found() {
    let exists = |path: &str| path == concat!("docs", "/a.md") || path == "README.md";
    let found = |path: &str, text: &str| pages(&Source::new(path, text), &exists).len();
    assert_eq!(found("core/src/a.rs", concat!("//! See `docs", "/a.md`.\n")), 0);
    assert_eq!(found("core/src/a.rs", concat!("//! See docs", "/b.md.\n")), 1);
    assert_eq!(found("docs/a.md", "[b](b.md) [a](a.md#x) [r](../README.md) [w](https://a.b/c.md)\n"), 1);
    assert_eq!(found("README.md", "[a](docs/a.md) [b](docs/b.md)\n"), 2);
}

#[test]
fn a_readme_that_lies_is_found() {
    let sources = [Source::new(
        "src/cli.rs",
        "#[argh(subcommand, name = \"share\")]\n#[argh(subcommand, name = \"join\")]\n",
    )];
    let commands = commands(&sources);
    let found = |text: &str| readme(&Source::new("README.md", text), &commands).len();
    assert_eq!(found("    dunlin share DIR\n    $ dunlin join CODE DIR\n"), 0);
    assert_eq!(found("    dunlin share DIR\n"), 1);
    assert_eq!(found("    dunlin share DIR\n    dunlin join CODE DIR\n    dunlin fly\n"), 1);
    assert_eq!(found("dunlin is small.\n```\n$ dunlin share DIR\ndunlin join CODE DIR\n```\n"), 0);
}

#[test]
fn a_channel_without_words_is_found() {
    let text = "//! | `net events` | a → b | 2 | nobody: c |\npub struct Wiring {\n    pub net_events: Link<u8>,\n    pub done: Link<u8>,\n}\n";
    let findings = wiring(&Source::new(WIRING, text));
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].line, 4);
}
