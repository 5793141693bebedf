//! Which names a folder leaves alone: rules in the grammar of gitignore, and what they say of a path. Pure.
//!
//! Three lists, of which a later rule beats an earlier one: the built-in ones, those of the file `.dunlinignore` in
//! the root, which is synchronised like any other file and so is shared, and those of `.dunlinignore.local`, which
//! are this device's own. As in git, nothing in an ignored directory can be included again. A line that is no
//! pattern ignores nothing, and is told. What follows from being ignored is not decided here ([`super::rules`]).

use dunlin_core::limits::{IGNORE_BYTES_MAX, IGNORE_LINES_MAX};
use dunlin_core::path::RelPath;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use minicbor::{Decode, Encode};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The file of the shared rules, in the root.
pub const SHARED_FILE: &str = ".dunlinignore";
/// The file of this device's own rules, in the root. It is never synchronised.
pub const LOCAL_FILE: &str = ".dunlinignore.local";

/// What is made by a system, a file manager or an editor for this machine and this moment alone.
pub const BUILT_IN: &str = "\
.DS_Store
._*
.Spotlight-V100
.Trashes
.fseventsd
.TemporaryItems
.DocumentRevisions-V100
Thumbs.db
ehthumbs.db
desktop.ini
$RECYCLE.BIN
System Volume Information
.Trash-*
.fuse_hidden*
.nfs????????????????????????
.goutputstream-*
lost+found
.*.sw[n-px]
~$*
.~lock.*#
@eaDir
#recycle
.snapshot
.snapshots
.zfs
";

/// Where a rule stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// In the program.
    BuiltIn,
    /// In `.dunlinignore`.
    Shared,
    /// In `.dunlinignore.local`.
    Local,
}

impl Source {
    /// Its name for people.
    pub fn word(self) -> &'static str {
        match self {
            Source::BuiltIn => "built in",
            Source::Shared => SHARED_FILE,
            Source::Local => LOCAL_FILE,
        }
    }
}

/// One rule, as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// In which list.
    pub source: Source,
    /// Its line there, from 1.
    pub line: usize,
    /// The pattern.
    pub pattern: String,
}

/// A line that is no rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadLine {
    /// In which list.
    pub source: Source,
    /// Its line there, from 1; 0: the list as a whole.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

/// What the two files hold; a file that is not there holds nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Texts {
    /// `.dunlinignore`.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub shared: Vec<u8>,
    /// `.dunlinignore.local`.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub local: Vec<u8>,
}

/// Rules that cannot be used, as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("the ignore rules are too much to be compiled: {0}")]
pub struct TooMuch(String);

/// What the rules say of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict<'r> {
    /// No rule is about it.
    Kept,
    /// A rule with `!` is about it, and it is kept.
    Included(&'r Rule),
    /// It is left alone.
    Ignored {
        /// The path that the rule is about: this one, or a directory above it.
        at: RelPath,
        /// Which; `None`: it is a file of dunlin's own.
        rule: Option<&'r Rule>,
    },
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Kept => write!(f, "not ignored"),
            Verdict::Included(rule) => write!(f, "not ignored: {rule}"),
            Verdict::Ignored { at, rule: Some(rule) } => write!(f, "ignored: {rule} is about {at}"),
            Verdict::Ignored { rule: None, .. } => write!(f, "ignored: this device's own rules stay here"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Source::BuiltIn => write!(f, "{} (built in)", self.pattern),
            source => write!(f, "{} ({}, line {})", self.pattern, source.word(), self.line),
        }
    }
}

/// Rules, compiled.
pub struct Rules {
    matcher: Gitignore,
    /// By their place in the matcher's list.
    rules: Vec<Rule>,
    texts: Texts,
    bad: Vec<BadLine>,
}

impl Rules {
    /// Compiles the built-in rules and these.
    pub fn compile(texts: Texts) -> Result<Self, TooMuch> {
        let mut compiler = Compiler::default();
        compiler.add(Source::BuiltIn, BUILT_IN.as_bytes());
        compiler.add(Source::Shared, &texts.shared);
        compiler.add(Source::Local, &texts.local);
        let Compiler { builder, rules, bad } = compiler;
        let matcher = builder.build().map_err(|error| TooMuch(error.to_string()))?;
        Ok(Self { matcher, rules, texts, bad })
    }

    /// What they were compiled from.
    pub fn texts(&self) -> &Texts {
        &self.texts
    }

    /// Lines that are no rules.
    pub fn bad(&self) -> &[BadLine] {
        &self.bad
    }

    /// What is left of a path's question once its directory is known not to be ignored.
    pub fn ignores_here(&self, path: &RelPath, is_dir: bool) -> bool {
        match file_of_rules(path) {
            Some(source) => source == Source::Local,
            None => matches!(self.find(path, is_dir), Match::Ignore(_)),
        }
    }

    /// True if a path is ignored, or a directory above it.
    pub fn ignores(&self, path: &RelPath, is_dir: bool) -> bool {
        matches!(self.explain(path, is_dir), Verdict::Ignored { .. })
    }

    /// What the rules say of a path, and which of them says so.
    pub fn explain(&self, path: &RelPath, is_dir: bool) -> Verdict<'_> {
        let mut above = RelPath::root();
        let names = path.names();
        for (depth, name) in names.iter().enumerate() {
            // A path's beginning is no deeper than the path.
            let Ok(at) = above.join(name.clone()) else { return Verdict::Kept };
            let is_last = depth + 1 == names.len();
            match file_of_rules(&at) {
                Some(Source::Local) => return Verdict::Ignored { at, rule: None },
                Some(_) if is_last => return Verdict::Kept,
                // A directory of that name is kept too; what is in it is ignored like anything else.
                Some(_) => {
                    above = at;
                    continue;
                }
                None => {}
            }
            match self.find(&at, is_dir || !is_last) {
                Match::Ignore(rule) => return Verdict::Ignored { at, rule: Some(rule) },
                Match::Whitelist(rule) if is_last => return Verdict::Included(rule),
                _ => above = at,
            }
        }
        Verdict::Kept
    }

    fn find(&self, path: &RelPath, is_dir: bool) -> Match<&Rule> {
        let bytes = path.to_bytes();
        self.matcher.matched(Path::new(OsStr::from_bytes(&bytes)), is_dir).map(|glob| {
            let at = glob.from().and_then(Path::to_str).and_then(|number| number.parse::<usize>().ok());
            // The compiler gave each pattern its number.
            &self.rules[at.unwrap_or_default()]
        })
    }
}

/// The files of rules are not subject to them: who ignores everything but a few names would share the rules with
/// nobody, and this device's own are never carried.
fn file_of_rules(path: &RelPath) -> Option<Source> {
    let [only] = path.names() else { return None };
    let is = |name: &str| only.as_bytes() == name.as_bytes();
    if is(SHARED_FILE) { Some(Source::Shared) } else { is(LOCAL_FILE).then_some(Source::Local) }
}

struct Compiler {
    builder: GitignoreBuilder,
    rules: Vec<Rule>,
    bad: Vec<BadLine>,
}

impl Default for Compiler {
    fn default() -> Self {
        Self { builder: GitignoreBuilder::new("."), rules: Vec::new(), bad: Vec::new() }
    }
}

impl Compiler {
    fn add(&mut self, source: Source, text: &[u8]) {
        if text.len() > IGNORE_BYTES_MAX {
            let why = format!("it is longer than {IGNORE_BYTES_MAX} bytes; none of its rules counts");
            return self.bad.push(BadLine { source, line: 0, why });
        }
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let number = index + 1;
            if self.rules.len() >= IGNORE_LINES_MAX && !line.is_empty() {
                let why =
                    format!("there are more than {IGNORE_LINES_MAX} rules; those from here on do not count");
                return self.bad.push(BadLine { source, line: number, why });
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let added = match std::str::from_utf8(line) {
                Ok(line) => self.add_line(source, number, line),
                Err(_) => Err("it is not UTF-8".to_owned()),
            };
            self.bad.extend(added.err().map(|why| BadLine { source, line: number, why }));
        }
    }

    fn add_line(&mut self, source: Source, line: usize, text: &str) -> Result<(), String> {
        if text.starts_with('#') || text.trim().is_empty() {
            return Ok(());
        }
        // The matcher keeps of each pattern where it is from: here its place in the list.
        let from = PathBuf::from(self.rules.len().to_string());
        self.builder.add_line(Some(from), text).map_err(|error| error.to_string())?;
        self.rules.push(Rule { source, line, pattern: text.trim_end().to_owned() });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
