//! `ignore explain|add`: which rule is about a path, and a new rule. Reads and writes the files of rules; that a
//! folder's run goes by them is its own matter, it notices.

use super::absolute;
use super::log::find_folder;
use crate::args::{Ignore, IgnoreAction, IgnoreAdd, IgnoreExplain};
use crate::error::{CommandError, Exit};
use crate::home::Home;
use crate::replica::{find_replica, shown};
use crate::show::{Screen, clean};
use dunlin_storage::folder::fs::Folder;
use dunlin_storage::folder::ignore::{LOCAL_FILE, Rules, SHARED_FILE, Source, Texts, Verdict};
use dunlin_storage::folder::rules::on_disk;
use serde_json::{Value, json};
use std::fs::{OpenOptions, symlink_metadata};
use std::io::Write;
use std::path::Path;

/// Runs the command.
pub fn run(home: &Home, args: &Ignore, screen: &Screen) -> Result<Exit, CommandError> {
    match &args.action {
        IgnoreAction::Explain(args) => explain(home, args, screen),
        IgnoreAction::Add(args) => add(home, args, screen),
    }
}

fn explain(home: &Home, args: &IgnoreExplain, screen: &Screen) -> Result<Exit, CommandError> {
    let path = absolute(&args.path)?;
    let (dir, inside) = find_folder(home, &path)?;
    let rules = read(&dir.root)?;
    for bad in rules.bad() {
        screen.warn(&format!("{}, line {}: {}", bad.source.word(), bad.line, bad.why));
    }
    let is_dir = symlink_metadata(&path).is_ok_and(|meta| meta.is_dir())
        || args.path.as_os_str().to_string_lossy().ends_with('/');
    let verdict = inside.as_ref().map_or(Verdict::Kept, |inside| rules.explain(inside, is_dir));
    let (at, rule, is_ignored) = match &verdict {
        Verdict::Kept => (None, None, false),
        Verdict::Included(rule) => (None, Some(*rule), false),
        Verdict::Ignored { at, rule } => (Some(at), *rule, true),
    };
    let value = json!({
        "event": "ignore", "path": shown(&path), "ignored": is_ignored, "at": at.map(|at| clean(&at.to_string())),
        "pattern": rule.map(|rule| clean(&rule.pattern)), "file": rule.map(|rule| rule.source.word()),
        "line": rule.filter(|rule| rule.source != Source::BuiltIn).map(|rule| rule.line),
    });
    screen.say(&format!("{}: {}", shown(&path), clean(&verdict.to_string())), &value);
    Ok(Exit::Done)
}

fn read(root: &Path) -> Result<Rules, CommandError> {
    on_disk(&Folder::open(root)?).map_err(CommandError::attention)
}

fn add(home: &Home, args: &IgnoreAdd, screen: &Screen) -> Result<Exit, CommandError> {
    let root = find_replica(home, &args.dir)?.root;
    let pattern = args.pattern.trim_end();
    check(pattern)?;
    let name = if args.here { LOCAL_FILE } else { SHARED_FILE };
    let rules = read(&root)?;
    let old = if args.here { &rules.texts().local } else { &rules.texts().shared };
    let is_there = old.split(|byte| *byte == b'\n').any(|line| line == pattern.as_bytes());
    if !is_there {
        let gap = if old.last().is_some_and(|last| *last != b'\n') { "\n" } else { "" };
        let wrong = |error| CommandError::attention(format!("{}: {error}", shown(&root.join(name))));
        let mut file = OpenOptions::new().create(true).append(true).open(root.join(name)).map_err(wrong)?;
        file.write_all(format!("{gap}{pattern}\n").as_bytes()).map_err(wrong)?;
    }
    let word = if is_there { "is there already" } else { "added" };
    let value: Value =
        json!({ "event": "ignore", "pattern": clean(pattern), "file": name, "added": !is_there });
    screen.say(&format!("{}: {} {word}", shown(&root.join(name)), clean(pattern)), &value);
    Ok(Exit::Done)
}

/// Refuses what is no pattern, or says nothing.
fn check(pattern: &str) -> Result<(), CommandError> {
    let wrong = |why: String| CommandError::usage(format!("{}: {why}", clean(pattern)));
    if pattern.contains(['\n', '\r']) || pattern.trim().is_empty() || pattern.starts_with('#') {
        return Err(wrong("this is no pattern".to_owned()).hint("a name that begins with # is written \\#"));
    }
    let rules = Rules::compile(Texts { shared: pattern.as_bytes().to_vec(), local: Vec::new() });
    match rules {
        Err(error) => Err(wrong(error.to_string())),
        Ok(rules) => rules.bad().first().map_or(Ok(()), |bad| Err(wrong(bad.why.clone()))),
    }
}
