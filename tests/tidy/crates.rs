//! What is built on: the layers of our crates, and the licences, sources and absences of all others.
//!
//! Asks `cargo metadata`, so that features and platforms count as they are resolved. The rules of
//! licences stand in `deny.toml` alone; cargo-deny reads the same file where it is installed, and knows
//! the advisories, which nothing here can.

use super::source::Finding;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Our crates and what of ours each may import.
const LAYERS: &[(&str, &[&str])] = &[
    ("dunlin-core", &[]),
    ("dunlin-transport", &["dunlin-core"]),
    ("dunlin-storage", &["dunlin-core"]),
    ("dunlin-pipeline", &["dunlin-core", "dunlin-storage", "dunlin-transport"]),
    ("dunlin", &["dunlin-core", "dunlin-pipeline", "dunlin-storage", "dunlin-transport"]),
];

/// Crates that the program does without, for good (DESIGN §3, §7).
const ABSENT: &[(&str, &str)] = &[
    ("tokio", "threads and bounded channels"),
    ("async-std", "threads and bounded channels"),
    ("smol", "threads and bounded channels"),
    ("async-io", "threads and bounded channels"),
    ("futures-executor", "threads and bounded channels"),
    ("rustls", "snow in QUIC's CRYPTO stream (transport/src/noise)"),
    ("openssl", "snow and ring"),
    ("native-tls", "snow in QUIC's CRYPTO stream (transport/src/noise)"),
    ("quinn", "quinn-proto, driven by transport's own thread"),
];

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// One package of the resolved graph.
#[derive(Clone, Debug, Default)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// An SPDX expression; empty if it has none.
    pub licence: String,
    /// Where it comes from; `None` for ours.
    pub source: Option<String>,
    /// Packages that it is built upon, except for its tests alone.
    pub needs: BTreeSet<String>,
}

/// All packages, by their ids.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    packages: BTreeMap<String, Package>,
}

/// What `deny.toml` says.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Licences that may be built upon.
    pub allowed: BTreeSet<String>,
    /// Crates of which there is one version only.
    pub single: BTreeSet<String>,
}

impl Graph {
    /// The graph of the workspace at `root`, for all platforms, as the lock file says.
    pub fn of(root: &Path) -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["metadata", "--format-version", "1", "--locked"]).current_dir(root);
        let output = command.output().expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self::parse(&serde_json::from_slice(&output.stdout).expect("cargo writes JSON"))
    }

    /// The graph that `cargo metadata` describes.
    pub fn parse(metadata: &Value) -> Self {
        let mut packages = BTreeMap::new();
        for package in metadata["packages"].as_array().into_iter().flatten() {
            let text = |field: &str| package[field].as_str().unwrap_or_default().to_owned();
            let source = package["source"].as_str().map(str::to_owned);
            let (name, version, licence) = (text("name"), text("version"), text("license"));
            packages.insert(text("id"), Package { name, version, licence, source, needs: BTreeSet::new() });
        }
        for node in metadata["resolve"]["nodes"].as_array().into_iter().flatten() {
            let Some(package) = node["id"].as_str().and_then(|id| packages.get_mut(id)) else { continue };
            let deps = node["deps"].as_array().into_iter().flatten().filter(|dep| is_built_in(dep));
            package.needs = deps.filter_map(|dep| dep["pkg"].as_str()).map(str::to_owned).collect();
        }
        Self { packages }
    }

    fn ours(&self) -> impl Iterator<Item = (&String, &Package)> {
        self.packages.iter().filter(|(_, package)| package.source.is_none())
    }

    /// Everything that ours are built upon, with the way to it.
    fn reached(&self) -> BTreeMap<String, String> {
        let mut open: Vec<(String, String)> =
            self.ours().map(|(id, p)| (id.clone(), p.name.clone())).collect();
        let mut ways = BTreeMap::new();
        while let Some((id, way)) = open.pop() {
            let Some(package) = self.packages.get(&id).filter(|_| !ways.contains_key(&id)) else { continue };
            for next in &package.needs {
                let name = self.packages.get(next).map_or("", |package| &package.name);
                open.push((next.clone(), format!("{way} → {name}")));
            }
            ways.insert(id, way);
        }
        ways
    }
}

/// A dependency of the program, not of its tests: `null` is a normal one.
fn is_built_in(dep: &Value) -> bool {
    let kinds = dep["dep_kinds"].as_array();
    kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null() || kind["kind"] == "build"))
}

impl Rules {
    /// Reads the two lists; cargo-deny reads the rest.
    pub fn parse(text: &str) -> Self {
        let allowed = list(text, "[licenses]", "allow = [").map(str::to_owned).collect();
        let bans = text.split_once("[bans]").map_or("", |(_, rest)| rest);
        let single = bans.lines().filter(|line| line.contains("deny-multiple-versions = true"));
        let name = |line: &str| Some(line.split_once("crate = \"")?.1.split_once('"')?.0.to_owned());
        Self { allowed, single: single.filter_map(name).collect() }
    }
}

/// The quoted words of a list.
fn list<'a>(text: &'a str, table: &str, key: &str) -> impl Iterator<Item = &'a str> {
    let rest = text.split_once(table).and_then(|(_, rest)| rest.split_once(key)).map_or("", |(_, rest)| rest);
    let body = rest.split_once(']').map_or("", |(body, _)| body);
    let lines = body.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.flat_map(|line| line.split('"').skip(1).step_by(2))
}

/// Our crates import downwards only, and each stands in the table.
pub fn layers(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, package) in graph.ours() {
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == package.name) else {
            findings
                .push(finding(&package.name, "a new crate: say in the table of layers what it may import"));
            continue;
        };
        let needs = package.needs.iter().filter_map(|id| graph.packages.get(id));
        for other in needs.filter(|other| other.source.is_none() && !allowed.contains(&other.name.as_str())) {
            let what = format!("must not import {}; it may import {allowed:?}", other.name);
            findings.push(finding(&package.name, &what));
        }
    }
    findings
}

/// No async runtime and no other TLS, on any platform.
pub fn absent(graph: &Graph) -> Vec<Finding> {
    let ways = graph.reached();
    let name = |id: &str| graph.packages.get(id).map_or("", |package| package.name.as_str());
    let mut findings = Vec::new();
    for (banned, instead) in ABSENT {
        let way = ways.iter().find(|(id, _)| name(id) == *banned);
        findings
            .extend(way.map(|(_, way)| finding(banned, &format!("is built in ({way}); instead: {instead}"))));
    }
    findings
}

/// Every licence is allowed by `deny.toml`.
pub fn licences(graph: &Graph, rules: &Rules) -> Vec<Finding> {
    let reached = graph.reached();
    let packages =
        graph.packages.iter().filter(|(id, _)| reached.contains_key(*id)).map(|(_, package)| package);
    packages
        .filter(|package| !is_allowed(&package.licence, &rules.allowed))
        .map(|package| {
            let what =
                format!("its licence `{}` is not in deny.toml's list; use another crate", package.licence);
            finding(&package.name, &what)
        })
        .collect()
}

/// An SPDX expression holds if one side of each OR and both sides of each AND do.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    // Old manifests write `A/B` for `A OR B`.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut tokens: Vec<&str> = spaced.split_whitespace().rev().collect();
    let holds = alternatives(&mut tokens, allowed);
    holds && tokens.is_empty()
}

fn alternatives(tokens: &mut Vec<&str>, allowed: &BTreeSet<String>) -> bool {
    let mut holds = conjunction(tokens, allowed);
    while tokens.last() == Some(&"OR") {
        tokens.pop();
        holds |= conjunction(tokens, allowed);
    }
    holds
}

fn conjunction(tokens: &mut Vec<&str>, allowed: &BTreeSet<String>) -> bool {
    let mut holds = licence(tokens, allowed);
    while tokens.last() == Some(&"AND") {
        tokens.pop();
        holds &= licence(tokens, allowed);
    }
    holds
}

fn licence(tokens: &mut Vec<&str>, allowed: &BTreeSet<String>) -> bool {
    let Some(token) = tokens.pop() else { return false };
    if token == "(" {
        let holds = alternatives(tokens, allowed);
        return tokens.pop() == Some(")") && holds;
    }
    if tokens.last() == Some(&"WITH") {
        tokens.pop();
        let exception = tokens.pop().unwrap_or_default();
        return allowed.contains(token) || allowed.contains(&format!("{token} WITH {exception}"));
    }
    allowed.contains(token)
}

/// Everything comes from crates.io or from here.
pub fn sources(graph: &Graph) -> Vec<Finding> {
    let foreign = graph.packages.values().filter(|p| p.source.as_deref().is_some_and(|s| s != REGISTRY));
    foreign
        .map(|p| finding(&p.name, "comes from elsewhere than crates.io; publish it, or write it here"))
        .collect()
}

/// The crates of which a second version would be a second truth.
pub fn duplicates(graph: &Graph, rules: &Rules) -> Vec<Finding> {
    let reached = graph.reached();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (id, package) in &graph.packages {
        if reached.contains_key(id) && rules.single.contains(&package.name) {
            versions.entry(&package.name).or_default().insert(&package.version);
        }
    }
    let double = versions.iter().filter(|(_, versions)| versions.len() > 1);
    double
        .map(|(name, v)| finding(name, &format!("is built in twice ({v:?}); bring them to one version")))
        .collect()
}

fn finding(package: &str, what: &str) -> Finding {
    Finding { path: "Cargo.lock".to_owned(), line: 0, message: format!("{package}: {what}") }
}

/// Name, version, licence, source, needs.
type Row<'a> = (&'a str, &'a str, &'a str, Option<&'a str>, &'a [&'a str]);

/// A graph of packages whose ids are `name version`.
fn graph(packages: &[Row<'_>]) -> Graph {
    let package = |(name, version, licence, source, needs): &Row<'_>| {
        let id = format!("{name} {version}");
        let needs = needs.iter().map(|need| (*need).to_owned()).collect();
        let (name, version, licence) = ((*name).to_owned(), (*version).to_owned(), (*licence).to_owned());
        (id, Package { name, version, licence, source: source.map(str::to_owned), needs })
    };
    Graph { packages: packages.iter().map(package).collect() }
}

#[test]
fn a_crate_above_its_layer_is_found() {
    let core = ("dunlin-core", "1", "MIT", None, &[][..]);
    let good = graph(&[core, ("dunlin-storage", "1", "MIT", None, &["dunlin-core 1"])]);
    assert_eq!(layers(&good), []);
    let upwards = graph(&[
        core,
        ("dunlin-transport", "1", "MIT", None, &["dunlin-storage 1"]),
        ("dunlin-storage", "1", "MIT", None, &[]),
    ]);
    assert_eq!(layers(&upwards).len(), 1);
    assert_eq!(layers(&graph(&[("dunlin-new", "1", "MIT", None, &[])])).len(), 1);
}

#[test]
fn an_async_runtime_is_found_however_deep() {
    let deep = |dep: &'static str| {
        graph(&[
            ("dunlin", "1", "MIT", None, &["http 1"]),
            ("http", "1", "MIT", Some(REGISTRY), if dep.is_empty() { &[] } else { &["tokio 1"] }),
            ("tokio", "1", "MIT", Some(REGISTRY), &[]),
        ])
    };
    assert_eq!(absent(&deep("")), []);
    let findings = absent(&deep("tokio 1"));
    assert_eq!(findings.len(), 1);
    assert!(findings[0].message.contains("dunlin → http → tokio"), "{findings:?}");
}

#[test]
fn tests_may_build_on_more() {
    let metadata = serde_json::json!({
        "packages": [{"id": "a", "name": "dunlin", "version": "1", "license": "MIT", "source": null}],
        "resolve": {"nodes": [{"id": "a", "deps": [
            {"pkg": "t", "dep_kinds": [{"kind": "dev"}]},
            {"pkg": "n", "dep_kinds": [{"kind": "dev"}, {"kind": null}]},
            {"pkg": "b", "dep_kinds": [{"kind": "build"}]},
        ]}]},
    });
    let graph = Graph::parse(&metadata);
    assert_eq!(graph.packages["a"].needs, BTreeSet::from(["b".to_owned(), "n".to_owned()]));
}

#[test]
fn licences_are_read_as_they_are_meant() {
    let allowed = BTreeSet::from(["MIT".to_owned(), "BSD-3-Clause".to_owned()]);
    for good in [
        "MIT",
        "MIT OR GPL-3.0",
        "GPL-3.0/MIT",
        "(GPL-3.0 OR MIT) AND BSD-3-Clause",
        "MIT AND BSD-3-Clause OR X",
    ] {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR X) AND GPL-3.0", "MIT AND", "(MIT", "X WITH MIT"] {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
    let with = BTreeSet::from(["Apache-2.0 WITH LLVM-exception".to_owned()]);
    assert!(is_allowed("Apache-2.0 WITH LLVM-exception", &with));
    assert!(!is_allowed("Apache-2.0 WITH Other", &with));
}

#[test]
fn a_bad_dependency_is_found() {
    let rules = Rules::parse(
        "[licenses]\nallow = [\n  \"MIT\", # x \"y\"\n  \"Zlib\",\n]\n[bans]\ndeny = [\n  { crate = \"ring\", deny-multiple-versions = true },\n]\n",
    );
    assert_eq!(rules.allowed, BTreeSet::from(["MIT".to_owned(), "Zlib".to_owned()]));
    assert_eq!(rules.single, BTreeSet::from(["ring".to_owned()]));
    let bad = graph(&[
        ("dunlin", "1", "MIT", None, &["ring 1", "ring 2", "git 1"]),
        ("ring", "1", "MIT", Some(REGISTRY), &[]),
        ("ring", "2", "MIT", Some(REGISTRY), &[]),
        ("git", "1", "GPL-3.0", Some("git+https://example.org/git"), &[]),
        ("unused", "1", "GPL-3.0", Some(REGISTRY), &[]),
    ]);
    assert_eq!(licences(&bad, &rules).len(), 1);
    assert_eq!(sources(&bad).len(), 1);
    assert_eq!(duplicates(&bad, &rules).len(), 1);
}
