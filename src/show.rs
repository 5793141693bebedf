//! What people see of a run: bars with rate and time left on a terminal, plain lines elsewhere, JSON lines
//! when asked for. Everything that comes from other devices is escaped.

use crate::answer::Line;
use dunlin_core::path::is_ignorable;
use dunlin_pipeline::service::{Ended, Notice, Progress, Report};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::Level;

/// Problems that are listed one by one; the rest is counted.
const PROBLEMS_SHOWN: usize = 20;

/// Where output goes, and how. A clone has the same output.
#[derive(Clone)]
pub struct Screen {
    json: bool,
    quiet: bool,
    /// What runs tell goes to the log.
    logs: bool,
    bars: Option<MultiProgress>,
    bar_of: BTreeMap<usize, ProgressBar>,
}

impl Screen {
    /// For a command's output.
    pub fn new(json: bool, quiet: bool) -> Self {
        let bars = (!json && !quiet && std::io::stderr().is_terminal()).then(MultiProgress::new);
        Self { json, quiet, logs: false, bars, bar_of: BTreeMap::new() }
    }

    /// From now on what runs tell goes to the log, as a server's words do; programs get their lines as before.
    pub fn use_log(&mut self) {
        self.logs = true;
        self.bars = None;
    }

    /// A line for people, or a value for programs.
    pub fn say(&self, text: &str, value: &Value) {
        if self.json {
            line(&harmless(value));
        } else {
            self.line(text);
        }
    }

    /// True if what comes is lines for programs.
    pub fn is_for_programs(&self) -> bool {
        self.json
    }

    /// Clears a terminal: what follows takes the place of what was shown before. Whatever else reads the output keeps that.
    pub fn clear(&self) {
        if !self.json && std::io::stdout().is_terminal() {
            line("\x1b[H\x1b[2J\x1b[3J");
        }
    }

    /// A value for programs alone.
    pub fn tell(&self, value: &Value) {
        if self.json {
            line(&harmless(value));
        }
    }

    /// A line that is a result; a server's results are what its log says.
    fn line(&self, text: &str) {
        if self.logs { log(Level::INFO, text) } else { line(text) }
    }

    /// A line for people that is no result.
    pub fn warn(&self, text: &str) {
        if !self.json && !self.quiet {
            self.aside(text);
        }
    }

    /// Trouble that does not end the command.
    pub fn trouble(&self, text: &str, value: &Value) {
        if self.json { line(&harmless(value)) } else { self.aside(text) }
    }

    /// Something that a run tells; `run` is its number, `name` its name for people.
    pub fn notice(&mut self, run: usize, name: &str, notice: &Notice) {
        match notice {
            Notice::Progress(progress) => self.progress(run, name, progress),
            _ if self.logs => {
                if let Some(text) = as_text(name, notice) {
                    log(level_of(notice), &text);
                }
                if self.json
                    && let Some(value) = as_json(name, notice)
                {
                    line(&harmless(&value));
                }
            }
            _ if self.json => {
                if let Some(value) = as_json(name, notice) {
                    line(&harmless(&value));
                }
            }
            _ => {
                if let Some(text) = as_text(name, notice).filter(|_| !self.quiet) {
                    self.aside(&text);
                }
            }
        }
    }

    /// A line beside the bars.
    fn aside(&self, text: &str) {
        if self.logs {
            return log(Level::WARN, text);
        }
        match &self.bars {
            // A terminal that is gone is no reason to stop.
            Some(bars) => drop(bars.println(text)),
            None => {
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
    }

    fn progress(&mut self, run: usize, name: &str, progress: &Progress) {
        let Some(bars) = &self.bars else { return };
        let bar = self.bar_of.entry(run).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new(0));
            let style = ProgressStyle::with_template("{prefix} {msg} {wide_bar} {pos}/{len} {per_sec} {eta}");
            // The template is a constant that parses.
            bar.set_style(style.expect("a template that parses"));
            bar.set_prefix(name.to_owned());
            bar
        });
        let left = progress.needed;
        bar.set_length(progress.applied + left);
        bar.set_position(progress.applied);
        bar.set_message(stage_of(progress));
    }

    /// The runs are over; the bars go.
    pub fn finish(&mut self) {
        if let Some(bars) = &self.bars {
            // A terminal that is gone is no reason to stop.
            let _ = bars.clear();
        }
    }

    /// The last word on one or more runs.
    pub fn report(&self, command: &str, reports: &[(String, Report)]) {
        report_lines(command, reports).iter().for_each(|line| line.show(self));
    }
}

/// The last word on one or more runs; for people a line each, with their problems before it.
pub fn report_lines(command: &str, reports: &[(String, Report)]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut texts = Vec::new();
    for (name, report) in reports {
        let problems = report.problems.iter().take(PROBLEMS_SHOWN);
        lines.extend(problems.map(|one| Line::Warn(format!("{name}: {}: {}", one.path, one.what))));
        if report.problems.len() > PROBLEMS_SHOWN {
            let more = report.problems.len() - PROBLEMS_SHOWN;
            lines.push(Line::Warn(format!("{name}: {more} more problems")));
        }
        texts.push(report_text(name, report));
    }
    let sides: Vec<Value> = reports.iter().map(|(name, report)| report_json(name, report)).collect();
    let value = match <[Value; 1]>::try_from(sides) {
        Ok([mut one]) => {
            one["event"] = json!("report");
            one["command"] = json!(command);
            one
        }
        Err(sides) => json!({ "event": "report", "command": command, "sides": sides }),
    };
    lines.push(Line::Say { text: texts.join("\n"), value });
    lines
}

/// Set once nobody reads the output any more.
static READER_GONE: AtomicBool = AtomicBool::new(false);

/// Writes a line; a reader that went away is no reason to stop what is under way.
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        READER_GONE.store(true, Ordering::Relaxed);
    }
}

/// True once the output's reader has gone away: what only shows things can end.
pub fn is_reader_gone() -> bool {
    READER_GONE.load(Ordering::Relaxed)
}

fn stage_of(progress: &Progress) -> String {
    if progress.scanning {
        return format!("reading, {} looked at", progress.scanned);
    }
    let moved = HumanBytes(progress.bytes_received + progress.bytes_sent);
    match (progress.peers, progress.needed) {
        (0, _) => "looking for members".to_owned(),
        (_, 0) => format!("{moved} moved"),
        (_, needed) => format!("{moved} moved, {needed} needed"),
    }
}

/// How loudly a server says it.
fn level_of(notice: &Notice) -> Level {
    match notice {
        Notice::Refused { .. } => Level::ERROR,
        Notice::Problem(_) | Notice::Healed { .. } | Notice::Held { .. } | Notice::Watching { .. } => {
            Level::WARN
        }
        _ => Level::INFO,
    }
}

fn log(level: Level, text: &str) {
    match level {
        Level::ERROR => tracing::error!("{text}"),
        Level::WARN => tracing::warn!("{text}"),
        _ => tracing::info!("{text}"),
    }
}

pub fn as_text(name: &str, notice: &Notice) -> Option<String> {
    Some(match notice {
        Notice::Joined { label, peer, role, by, by_label } => {
            let by = by_label.as_ref().map_or_else(|| by.short(), |label| clean(label));
            format!("{name}: {} ({}) joined as {}, invited by {by}", clean(label), peer.short(), role.word())
        }
        Notice::RoleChanged { label, peer, role } => {
            format!("{name}: {} ({}) is {} now", clean(label), peer.short(), role.word())
        }
        Notice::KeyChanged { label, peer, former } => {
            format!("{name}: {} ({}) goes by another key now: {}", clean(label), former.short(), peer.short())
        }
        Notice::Removed { label, peer } => {
            format!("{name}: {} ({}) was removed", clean(label), peer.short())
        }
        Notice::Asks { label, peer } => format!(
            "{name}: {} ({}) wants to join and shows six digits; if it is the device that you mean:\n\n  dunlin invite confirm DIR DIGITS\n",
            clean(label),
            peer.short()
        ),
        Notice::Compare { digits } => {
            format!("{name}: whoever invited you is asked for the digits that this device shows: {digits}")
        }
        Notice::Connected { label, addr, .. } => format!("{name}: connected to {} at {addr}", clean(label)),
        Notice::Disconnected { peer, reason } => format!("{name}: lost {}: {}", peer.short(), clean(reason)),
        Notice::Refused { text } => format!("{name}: refused: {}", clean(text)),
        Notice::Problem(problem) => format!("{name}: {}: {}", problem.path, problem.what),
        Notice::Healed { path } => {
            format!("{name}: {path}: it has its content again; the corrupt bytes are in .dunlin/history")
        }
        Notice::Scrubbed { files, bytes, found } => {
            let bytes = HumanBytes(*bytes);
            format!("{name}: read all bytes again: {files} files, {bytes}, {found} of them corrupt")
        }
        Notice::InSync { peer } => format!("{name}: in sync with {}", peer.short()),
        Notice::Watching { directories, watched } if watched < directories => format!(
            "{name}: {watched} of {directories} directories are watched; changes in the others are found within a minute or so"
        ),
        Notice::Watching { .. } => return None,
        Notice::Room { is_short: true, free, bound } => format!(
            "{name}: the disk is nearly full: {} are free, and {} are kept free; nothing is fetched until there is room",
            HumanBytes(*free),
            HumanBytes(*bound)
        ),
        Notice::Room { .. } => format!("{name}: there is room again"),
        Notice::Held { author, deleted, rewritten, is_held: true } => {
            format!("{name}: {}", crate::command::held::words(author.is_none(), *deleted, *rewritten))
        }
        Notice::Held { .. } => format!("{name}: held no longer"),
        Notice::Ended(Ended::Failed(why)) => format!("{name}: stopped: {}", clean(&why.text)),
        Notice::Listening { .. }
        | Notice::Unreachable { .. }
        | Notice::Progress(_)
        | Notice::Happened(_)
        | Notice::Ended(_) => return None,
    })
}

pub fn as_json(name: &str, notice: &Notice) -> Option<Value> {
    Some(match notice {
        Notice::Listening { addrs } => json!({ "event": "listening", "folder": name, "addrs": addrs }),
        Notice::Joined { peer, label, role, by, by_label } => json!({
            "event": "joined", "folder": name, "peer": peer.to_string(), "label": label, "role": role.word(),
            "by": by.to_string(), "by_label": by_label,
        }),
        Notice::RoleChanged { peer, label, role } => json!({
            "event": "role-changed", "folder": name, "peer": peer.to_string(), "label": label, "role": role.word(),
        }),
        Notice::KeyChanged { peer, former, label } => json!({
            "event": "key-changed", "folder": name, "peer": peer.to_string(), "former": former.to_string(),
            "label": label,
        }),
        Notice::Removed { peer, label } => {
            json!({ "event": "removed", "folder": name, "peer": peer.to_string(), "label": label })
        }
        Notice::Asks { peer, label } => {
            json!({ "event": "asks", "folder": name, "peer": peer.to_string(), "label": label })
        }
        Notice::Compare { digits } => json!({ "event": "compare", "folder": name, "digits": digits }),
        Notice::Connected { peer, label, addr } => {
            json!({ "event": "connected", "folder": name, "peer": peer.to_string(), "label": label, "addr": addr })
        }
        Notice::Disconnected { peer, reason } => {
            json!({ "event": "disconnected", "folder": name, "peer": peer.to_string(), "reason": reason })
        }
        Notice::Refused { text } => json!({ "event": "refused", "folder": name, "reason": text }),
        Notice::Unreachable { addr, why } => {
            json!({ "event": "unreachable", "folder": name, "addr": addr, "reason": why })
        }
        Notice::Problem(problem) => {
            json!({ "event": "problem", "folder": name, "path": problem.path, "what": problem.what })
        }
        Notice::Watching { directories, watched } => {
            json!({ "event": "watching", "folder": name, "directories": directories, "watched": watched })
        }
        Notice::Room { is_short, free, bound } => {
            json!({ "event": "room", "folder": name, "short": is_short, "free": free, "bound": bound })
        }
        Notice::Healed { path } => json!({ "event": "healed", "folder": name, "path": path }),
        Notice::Scrubbed { files, bytes, found } => {
            json!({ "event": "scrubbed", "folder": name, "files": files, "bytes": bytes, "found": found })
        }
        Notice::Held { author, deleted, rewritten, is_held } => json!({
            "event": "held", "folder": name, "held": is_held, "author": author.map(|peer| peer.to_string()),
            "deleted": deleted, "rewritten": rewritten,
        }),
        Notice::InSync { peer } => json!({ "event": "in-sync", "folder": name, "peer": peer.to_string() }),
        Notice::Ended(Ended::Failed(why)) => {
            json!({ "event": "ended", "folder": name, "ended": "failed", "why": why.text })
        }
        Notice::Progress(_) | Notice::Happened(_) | Notice::Ended(_) => return None,
    })
}

pub fn ended_word(ended: &Ended) -> &'static str {
    match ended {
        Ended::InSync => "in-sync",
        Ended::Stopped => "stopped",
        Ended::NoPeer => "no-peer",
        Ended::Refused(_) => "refused",
        Ended::Failed(_) => "failed",
    }
}

fn report_json(name: &str, report: &Report) -> Value {
    let p = &report.progress;
    let problems: Vec<Value> =
        report.problems.iter().map(|one| json!({ "path": one.path, "what": one.what })).collect();
    json!({
        "folder": name,
        "ended": ended_word(&report.ended),
        "scanned": p.scanned,
        "bytes_hashed": p.bytes_hashed,
        "bytes_sent": p.bytes_sent,
        "bytes_received": p.bytes_received,
        "bytes_reused": p.bytes_reused,
        "applied": p.applied,
        "corrupt": p.corrupt,
        "healed": p.healed,
        "needed": p.needed,
        "entries_signed": p.entries_signed,
        "entries_received": p.entries_received,
        "conflicts": report.conflicts,
        "problems": problems,
        "held": report.is_held,
    })
}

fn report_text(name: &str, report: &Report) -> String {
    let p = &report.progress;
    let mut text = match &report.ended {
        Ended::InSync => format!("{name}: in sync"),
        Ended::Stopped => format!("{name}: stopped, {} needed", p.needed),
        Ended::NoPeer => format!("{name}: nobody there"),
        Ended::Refused(why) => format!("{name}: refused: {}", clean(why)),
        Ended::Failed(why) => format!("{name}: failed: {}", clean(&why.text)),
    };
    text += &format!(
        "; {} changed here, {} received, {} sent, {} found on this disk",
        p.applied,
        HumanBytes(p.bytes_received),
        HumanBytes(p.bytes_sent),
        HumanBytes(p.bytes_reused)
    );
    if report.is_held {
        text += "; changes are held, dunlin held list shows them";
    }
    match report.conflicts {
        0 => {}
        1 => text += "; 1 conflict copy",
        n => text += &format!("; {n} conflict copies"),
    }
    text
}

/// Words of other devices, harmless for a terminal: nothing that it obeys, hides or turns round (D12).
pub fn clean(text: &str) -> String {
    let is_plain = |c: char| !c.is_control() && !is_ignorable(c);
    text.chars().flat_map(|c| if is_plain(c) { vec![c] } else { c.escape_default().collect() }).collect()
}

/// A value as a line of JSON that is as harmless (D12). JSON itself escapes the control characters of ASCII alone; what else is
/// none for a terminal stands within strings only, where the escape means the same.
pub fn harmless(value: &Value) -> String {
    let is_plain = |c: char| !c.is_control() && !is_ignorable(c);
    let mut out = String::new();
    for c in value.to_string().chars() {
        match is_plain(c) {
            true => out.push(c),
            false => out.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}"))),
        }
    }
    out
}

/// D12: no character that a terminal obeys, hides or turns round by is in a line of JSON, and the line means what was meant.
#[test]
fn lines_of_json_are_harmless_and_mean_the_same() {
    let all: String = (0..=0x2_0000).filter_map(char::from_u32).collect();
    let value = json!({ "name": all, all.clone(): [all.clone(), "\u{1b}[2J\n\r\u{9b}2J\u{7f}\u{202e}"] });
    let text = harmless(&value);
    let bad = text.chars().find(|c| c.is_control() || is_ignorable(*c));
    assert_eq!(bad, None);
    assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value));
}

#[test]
fn words_of_others_are_harmless() {
    assert_eq!(clean("nas \u{e4}"), "nas \u{e4}");
    assert_eq!(clean("a\u{1b}[2J\n\u{202e}b\u{200b}"), "a\\u{1b}[2J\\n\\u{202e}b\\u{200b}");
}
