//! What the rules say, pattern by pattern.

use super::*;

fn rules(shared: &str, local: &str) -> Rules {
    Rules::compile(Texts { shared: shared.into(), local: local.into() }).unwrap()
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

/// Paths end in a slash if they are directories.
fn ignored<'p>(rules: &Rules, paths: &[&'p str]) -> Vec<&'p str> {
    let is_ignored = |text: &&&str| rules.ignores(&path(text.trim_end_matches('/')), text.ends_with('/'));
    paths.iter().filter(is_ignored).copied().collect()
}

#[test]
fn the_grammar_is_that_of_gitignore() {
    let rows: [(&str, &[&str], &[&str]); 9] = [
        ("*.o", &["a.o", "x/a.o", "o"], &["a.o", "x/a.o"]),
        ("/top", &["top", "x/top"], &["top"]),
        ("build/", &["build", "build/", "x/build/", "x/build/y"], &["build/", "x/build/", "x/build/y"]),
        ("a/*/b", &["a/x/b", "a/x/y/b"], &["a/x/b"]),
        ("a/**/b", &["a/b", "a/x/y/b"], &["a/b", "a/x/y/b"]),
        ("*.log\n!keep.log", &["a.log", "keep.log"], &["a.log"]),
        ("dir/\n!dir/keep", &["dir/", "dir/keep"], &["dir/", "dir/keep"]),
        ("# no\n\n\\#yes\r\n", &["# no", "#yes"], &["#yes"]),
        ("\u{feff}first", &["first"], &["first"]),
    ];
    for (text, paths, expected) in rows {
        assert_eq!(ignored(&rules(text, ""), paths), expected, "{text:?}");
    }
}

#[test]
fn what_is_built_in_can_be_included_again() {
    let junk = [".DS_Store", "x/Thumbs.db", ".a.txt.swp", "~$a.docx", ".~lock.a.odt#", ".Trash-1000/"];
    assert_eq!(ignored(&rules("", ""), &junk), junk);
    let kept = ["a.swp", "a~", ".git/", ".hidden", "node_modules/", "a.tmp", ".dunlinignore"];
    assert_eq!(ignored(&rules("", ""), &kept), [""; 0]);
    assert_eq!(ignored(&rules("!Thumbs.db", ""), &junk[..2]), junk[..1]);
}

#[test]
fn this_devices_rules_beat_the_shared_ones_and_its_file_is_never_carried() {
    let rules = rules("*.iso\n!.dunlinignore.local", "!small.iso\nvideos/");
    let paths = ["a.iso", "small.iso", "videos/", "videos/x", ".dunlinignore.local"];
    assert_eq!(ignored(&rules, &paths), ["a.iso", "videos/", "videos/x", ".dunlinignore.local"]);
    assert_eq!(ignored(&rules, &["x/.dunlinignore.local"]), [""; 0], "only that in the root");
    let rules = self::rules("*\n!*.txt", "");
    assert_eq!(ignored(&rules, &["a", "a.txt", ".dunlinignore"]), ["a"], "the shared one always");
}

/// Found by the fuzz target `ignore_rules`: a walk passed over what is in such a directory, while whoever asked for a path
/// in it (a look at one name, `dunlin ignore explain`) was told that it is kept.
#[test]
fn what_is_in_a_directory_with_the_name_of_the_rules_is_ignored_like_anything_else() {
    let rules = rules("*.o", "");
    assert_eq!(
        ignored(&rules, &[".dunlinignore/", ".dunlinignore/a", ".dunlinignore/a.o"]),
        [".dunlinignore/a.o"]
    );
    assert!(rules.ignores_here(&path(".dunlinignore/a.o"), false));
}

#[test]
fn it_says_which_rule_it_was() {
    let rules = rules("# a comment\n\n*.o\nbuild/\n!b.o", "");
    let of = |text: &str| rules.explain(&path(text), false);
    let Verdict::Ignored { at, rule: Some(rule) } = of("x/build/y/z") else { panic!("it is ignored") };
    assert_eq!((at, rule.source, rule.line, &*rule.pattern), (path("x/build"), Source::Shared, 4, "build/"));
    let Verdict::Included(rule) = of("b.o") else { panic!("it is included") };
    assert_eq!((rule.line, &*rule.pattern), (5, "!b.o"));
    assert_eq!(of("b.c"), Verdict::Kept);
    let Verdict::Ignored { rule: Some(rule), .. } = of(".DS_Store") else { panic!("it is ignored") };
    assert_eq!(rule.source, Source::BuiltIn);
}

#[test]
fn a_line_that_is_no_pattern_ignores_nothing_and_is_told() {
    let mut text = b"{a\n*.o\n".to_vec();
    text.extend_from_slice(b"\xff\xfe\n{x,\nz\n");
    let rules = Rules::compile(Texts { shared: text, local: Vec::new() }).unwrap();
    let lines: Vec<usize> = rules.bad().iter().map(|bad| bad.line).collect();
    assert_eq!(lines, [1, 3, 4], "{:?}", rules.bad());
    assert_eq!(ignored(&rules, &["{a", "a", "x.o", "x", "z"]), ["x.o", "z"]);
    let Verdict::Ignored { rule: Some(rule), .. } = rules.explain(&path("z"), false) else { panic!() };
    assert_eq!((rule.line, &*rule.pattern), (5, "z"), "the lines are counted as they stand");
}

#[test]
fn what_is_too_long_counts_as_none() {
    let rules = rules(&"*\n".repeat(IGNORE_BYTES_MAX), "");
    assert_eq!((rules.bad().len(), rules.bad()[0].line), (1, 0));
    assert_eq!(ignored(&rules, &["a"]), [""; 0]);
    let rules = rules_of_lines(IGNORE_LINES_MAX);
    assert_eq!(rules.bad().len(), 1, "{:?}", rules.bad());
    assert_eq!(ignored(&rules, &["x0"]), ["x0"]);
}

fn rules_of_lines(count: usize) -> Rules {
    rules(&(0..count).map(|number| format!("x{number}\n")).collect::<String>(), "")
}
