//! The laws of the house (DESIGN §3, STYLE), read from the sources and checked by `cargo tidy`.
//!
//! A law is a pure function from sources to findings; each finding says where, what and what to use
//! instead. Each law is tried on bad snippets beside it, so that none of them can sleep. Nothing here
//! builds or runs the program.

#[path = "tidy/attacks.rs"]
mod attacks;
#[path = "tidy/crates.rs"]
mod crates;
#[path = "tidy/house.rs"]
mod house;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/words.rs"]
mod words;

use source::{Finding, Source, texts};
use std::path::Path;

#[test]
fn words_stay_where_they_belong() {
    check(words::banned);
}

#[test]
fn files_and_functions_fit() {
    let sources = rust();
    for source in sources.iter().filter(|source| shape::is_long(source)) {
        println!("note: {} has {} lines; is it two files?", source.path, source.text.lines().count());
    }
    check(shape::file_size);
    check(shape::function_size);
}

#[test]
fn files_open_with_what_they_are() {
    check(shape::opening);
}

#[test]
fn each_expect_has_its_reason() {
    check(shape::expects);
}

#[test]
fn nothing_is_left_for_later() {
    report(texts(root()).iter().flat_map(house::leftovers).collect());
}

#[test]
fn no_text_knows_the_machine() {
    report(texts(root()).iter().flat_map(house::machine_paths).collect());
}

#[test]
fn bounds_stand_in_limits() {
    let sources = rust();
    let mut findings: Vec<Finding> = sources.iter().flat_map(house::bounds).collect();
    findings.extend(house::stale_exceptions(&sources));
    report(findings);
}

#[test]
fn pages_that_are_named_exist() {
    let exists = |path: &str| root().join(path).is_file();
    // The snippets beside the laws name pages on purpose that do not exist.
    let sources = texts(root()).into_iter().filter(|source| !source.path.starts_with("tests/tidy/"));
    report(sources.flat_map(|source| house::pages(&source, &exists)).collect());
}

#[test]
fn the_table_of_attacks_names_tests_that_exist() {
    let sources = texts(root());
    let page = sources.iter().find(|source| source.path == attacks::PAGE).expect("the table of attacks");
    report(attacks::table(page, &sources));
    // The page is part of the repository.
    let page = sources.iter().find(|source| source.path == attacks::CLAIMS).expect("the threat model");
    report(attacks::claims(page, &sources));
}

#[test]
fn the_readme_tells_no_tales() {
    let commands = house::commands(&rust());
    let readme = texts(root()).into_iter().find(|source| source.path == "README.md");
    // An empty page has not the two commands, once the program has them.
    let readme = readme.or_else(|| commands.contains("share").then(|| Source::new("README.md", "")));
    report(readme.iter().flat_map(|readme| house::readme(readme, &commands)).collect());
}

#[test]
fn every_channel_says_who_blocks() {
    let wiring = rust().into_iter().find(|source| source.path == house::WIRING);
    report(house::wiring(&wiring.expect("the wiring")));
}

#[test]
fn crates_keep_their_layers() {
    report(crates::layers(&crates::Graph::of(root())));
}

#[test]
fn no_async_runtime_and_no_second_tls() {
    report(crates::absent(&crates::Graph::of(root())));
}

#[test]
fn dependencies_are_licensed_and_known() {
    let rules = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    let rules = crates::Rules::parse(&rules);
    let graph = crates::Graph::of(root());
    let mut findings = crates::licences(&graph, &rules);
    findings.extend(crates::sources(&graph));
    findings.extend(crates::duplicates(&graph, &rules));
    report(findings);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust() -> Vec<Source> {
    texts(root()).into_iter().filter(Source::is_rust).collect()
}

fn check(law: impl Fn(&Source) -> Vec<Finding>) {
    report(rust().iter().flat_map(law).collect());
}

fn report(findings: Vec<Finding>) {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "{} findings\n{}", lines.len(), lines.join("\n"));
}
