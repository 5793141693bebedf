//! The table of attacks says of each row of the catalogue which tests exercise it; those tests exist.

use super::source::{Finding, Source};
use std::collections::BTreeSet;

/// The page with the table.
pub const PAGE: &str = "docs/attacks.md";

/// The page that says what is promised against whom, and how that is tested.
pub const CLAIMS: &str = "docs/threat-model.md";

/// The sections of the catalogue, and how many rows each has.
const SECTIONS: [(&str, usize); 6] = [("D", 15), ("F", 17), ("G", 17), ("H", 18), ("I", 13), ("J", 9)];

/// Every row of the catalogue is there once, in five columns, with tests that exist or with the words that it has none.
pub fn table(page: &Source, sources: &[Source]) -> Vec<Finding> {
    let known = tests(sources);
    let mut missing: BTreeSet<String> = SECTIONS
        .iter()
        .flat_map(|(letter, rows)| (1..=*rows).map(move |row| format!("{letter}{row}")))
        .collect();
    let mut findings = Vec::new();
    for (index, line) in page.text.lines().enumerate() {
        let columns: Vec<&str> = line.trim().trim_matches('|').split(" | ").map(str::trim).collect();
        let is_row = line.starts_with("| ") && columns[0].starts_with(|c: char| c.is_ascii_uppercase());
        if !is_row {
            continue;
        }
        let mut say = |what: String| findings.push(page.finding(index + 1, what));
        if !missing.remove(columns[0]) {
            say(format!("`{}` is no row of the catalogue, or there twice", columns[0]));
        }
        let [_, _, _, named, result] = columns[..] else {
            say("a row has five columns: id, attack, code, tests, result".to_owned());
            continue;
        };
        let named: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        let has_none = ["not covered", "does not apply"].iter().any(|words| result.starts_with(words));
        if named.is_empty() != has_none {
            say("a row without a test is `not covered` or `does not apply`, and one with tests is neither"
                .to_owned());
        }
        for test in named.iter().filter(|test| !known.contains(**test)) {
            say(format!(
                "there is no test `{test}`: name one that there is, or say that the row is not covered"
            ));
        }
    }
    findings.extend(missing.iter().map(|id| page.finding(0, format!("`{id}` has no row"))));
    findings
}

/// A claim has two columns, the second with tests that exist.
pub fn claims(page: &Source, sources: &[Source]) -> Vec<Finding> {
    let known = tests(sources);
    let mut findings = Vec::new();
    let mut rows = 0;
    let table = page.text.lines().enumerate().skip_while(|(_, line)| !line.starts_with("| claim |")).skip(2);
    for (index, line) in table.take_while(|(_, line)| line.starts_with("| ")) {
        rows += 1;
        let named: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            findings.push(page.finding(index + 1, "a claim without a test is no claim".to_owned()));
        }
        let gone = named.iter().filter(|test| !known.contains(**test));
        findings.extend(gone.map(|test| page.finding(index + 1, format!("there is no test `{test}`"))));
    }
    if rows == 0 {
        findings.push(page.finding(0, "it does not say how its claims are tested".to_owned()));
    }
    findings
}

/// What can be named: functions of Rust by `file.rs::name`, scenes of the lab, targets of the fuzz tests, the
/// simulator's scenarios, invariants and planted bugs.
fn tests(sources: &[Source]) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for source in sources {
        let text = &source.text;
        let mut all = |kind: &str, before: &str, after: &str| {
            let names = text.split(before).skip(1).filter_map(|rest| Some(rest.split_once(after)?.0));
            known.extend(names.map(|name| format!("{kind}{name}")));
        };
        match source.path.as_str() {
            path if path.starts_with("tests/lab/scenes/") => all("lab ", "@scene('", "'"),
            path if path.starts_with("tests/tidy/") => {}
            "tests/sim/canary.rs" => all("canary ", "        (", ", Plant::"),
            path if path.starts_with("tests/sim/") => {
                all("sim ", "name: \"", "\"");
                all("sim INV-", "INV-", ":");
            }
            path if path.ends_with(".rs") => {
                all(&format!("{path}::"), "#[test]\nfn ", "(");
                all(&format!("{path}::"), "#[test]\n    fn ", "(");
                all("fuzz ", "Target { name: \"", "\"");
                all("fuzz ", " play(\"", "\"");
            }
            _ => {}
        }
    }
    known
}

#[test]
fn a_claim_whose_test_is_gone_is_found() {
    let sources = [Source::new("core/src/a.rs", "#[test]\nfn there() {}\n")];
    let found = |text: &str| claims(&Source::new(CLAIMS, text), &sources).len();
    let page =
        |row: &str| format!("| who | can |\n|---|---|\n| x | y |\n\n| claim | tests |\n|---|---|\n{row}");
    assert_eq!(found(&page("| x | `core/src/a.rs::there` |\n")), 0);
    assert_eq!(found(&page("| x | `core/src/a.rs::there`, `core/src/a.rs::gone` |\n")), 1);
    assert_eq!(found(&page("| x | by hand |\n")), 1);
    assert_eq!(found(&page("")), 1, "no claims at all");
}

#[test]
fn a_row_whose_test_is_gone_is_found() {
    let sources = [
        Source::new("core/src/a.rs", "#[test]\nfn there() {}\n"),
        Source::new("tests/lab/scenes/a.py", "@scene('a: scene', root=True)\n"),
    ];
    let all: Vec<String> = SECTIONS
        .iter()
        .flat_map(|(letter, rows)| (1..=*rows).map(move |row| format!("{letter}{row}")))
        .collect();
    let page = |first: &str, rest: &str| {
        let rest = all[1..].iter().map(|id| format!("| {id} | x | y | {rest} |\n"));
        Source::new(PAGE, &format!("| id | attack |\n|---|---|\n| {first} |\n{}", rest.collect::<String>()))
    };
    let found = |first: &str, rest: &str| table(&page(first, rest), &sources).len();
    let none = "- | not covered: why";
    assert_eq!(found("D1 | x | y | `core/src/a.rs::there`, `lab a: scene` | holds", none), 0);
    assert_eq!(found("D1 | x | y | `core/src/a.rs::gone` | holds", none), 1);
    assert_eq!(found("D1 | x | y | `lab a: other` | holds", none), 1);
    assert_eq!(found("D1 | x | y | - | holds", none), 1);
    assert_eq!(found("D1 | x | y | `core/src/a.rs::there` | not covered: x", none), 1);
    assert_eq!(found("D2 | x | y | - | not covered: x", none), 2, "one twice, one missing");
    assert_eq!(found("D1 | x | y | holds", none), 1);
}
