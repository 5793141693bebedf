//! `status --why PATH`: why one path is as it is on this device, in a sentence or a few. The reasons come from
//! `dunlin_pipeline::why`; here they get their words.

use super::folder::pause_text;
use super::log::{find_folder, moment};
use crate::answer::Answer;
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::home::{Home, ReplicaDir};
use crate::host::Live;
use crate::replica::shown;
use crate::show::clean;
use dunlin_core::content::Body;
use dunlin_core::path::{Name, RelPath};
use dunlin_pipeline::jobs::why::look_up;
use dunlin_pipeline::rooms::clock::now_ms;
use dunlin_pipeline::why::{By, Coming, Gone, Known, Lacking, LeftOut, OnDisk, Run, Why, why};
use dunlin_storage::folder::fs::{Folder, Standing};
use dunlin_storage::folder::ignore::{Source, Verdict};
use dunlin_storage::folder::rules::on_disk;
use indicatif::HumanBytes;
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Makes the answer.
pub fn answer(desk: &Desk, path: &Path, answer: &mut Answer) -> Result<Exit, CommandError> {
    let (dir, above, name) = find(&desk.home, path)?;
    let inside = match Name::parse(name) {
        Ok(name) => {
            above.join(name).map_err(|error| CommandError::usage(format!("{}: {error}", shown(path))))?
        }
        Err(error) => {
            let text = format!("not synchronised: {error}");
            let value = json!([{ "why": "bad-name", "text": text }]);
            say(answer, &dir.root, path, &text, &value)?;
            return Ok(Exit::Done);
        }
    };
    let pause = dir.pause(now_ms());
    let live = desk.host.live(&dir.root).or(pause.map(Live::Paused));
    let replica = desk.replica(dir)?;
    if !matches!(live, Some(Live::Going(_))) {
        // Whoever stopped since its root went away says so.
        replica.check_marker()?;
    }
    let folder = Folder::open(&replica.root)?;
    let rules = on_disk(&folder).map_err(CommandError::attention)?;
    let known = look_up(&*replica.store, &folder, &rules, &inside)?;
    let run = match live {
        None => Run::NotServed,
        Some(Live::Paused(_)) => Run::Paused,
        Some(Live::Ended(why)) => Run::Ended(why),
        Some(Live::Silent) => Run::Silent,
        Some(Live::Going(_)) => {
            let inquiry = desk.host.inquire(&replica.root, &inside, &known.places);
            inquiry.map_or(Run::Silent, Run::Going)
        }
    };
    let whys = why(&known, &run);
    let place = Place { root: &replica.root, path, rest: pause.map(pause_text) };
    let texts: Vec<String> = whys.iter().map(|why| place.words(why, &known)).collect();
    let reasons = whys.iter().zip(&texts).map(|(why, text)| reason(why, text)).collect();
    say(answer, &replica.root, path, &texts.join("\n  "), &Value::Array(reasons))?;
    let is_held = whys.iter().any(|why| matches!(why, Why::HeldHere | Why::HeldElsewhere(_)));
    Ok(if is_held { Exit::Held } else { Exit::Done })
}

/// The folder that holds a path, the directory in it, and the last name. A link is not followed: it is what is asked about.
fn find<'p>(home: &Home, path: &'p Path) -> Result<(ReplicaDir, RelPath, &'p [u8]), CommandError> {
    if let (Some(above), Some(name)) = (path.parent(), path.file_name())
        && let Ok((dir, inside)) = find_folder(home, above)
    {
        return Ok((dir, inside.unwrap_or_else(RelPath::root), name.as_bytes()));
    }
    let (dir, _) = find_folder(home, path)?;
    Err(CommandError::usage(format!("{} is the folder itself", shown(path)))
        .hint(format!("dunlin status {} says how it is doing", shown(&dir.root))))
}

fn say(
    answer: &mut Answer,
    root: &Path,
    path: &Path,
    text: &str,
    reasons: &Value,
) -> Result<(), CommandError> {
    let value = json!({
        "event": "why", "root": shown(root), "path": shown(path), "why": reasons[0]["why"], "reasons": reasons,
    });
    answer.say(&format!("{}\n  {text}", shown(path)), &value)
}

/// One reason for programs: its word, the same in words, and its facts.
fn reason(why: &Why, text: &str) -> Value {
    let mut value = facts(why);
    value["why"] = json!(word(why));
    value["text"] = json!(text);
    value
}

/// A word for programs.
fn word(why: &Why) -> &'static str {
    match why {
        Why::InStep(_) => "in-step",
        Why::ConflictCopy(_) => "conflict-copy",
        Why::Behind(..) => "behind",
        Why::Leaving(_) => "leaving",
        Why::ChangedHere => "changed-here",
        Why::NewHere => "new-here",
        Why::MissingHere => "missing-here",
        Why::Gone(Gone { to: None, .. }) => "deleted",
        Why::Gone(_) => "moved",
        Why::Unknown => "unknown",
        Why::LeftOut(..) => "ignored",
        Why::Special => "special",
        Why::Unreadable(_) => "unreadable",
        Why::Corrupt => "corrupt",
        Why::Below(_) => "needed-below",
        Why::HeldHere => "held-here",
        Why::HeldElsewhere(_) => "held-elsewhere",
        Why::ReadOnly => "read-only",
        Why::NoMember => "no-member",
        Why::BeingWritten => "being-written",
        Why::SecondLook => "second-look",
        Why::LookToCome => "look-to-come",
        Why::FirstLook => "first-look",
        Why::NoRoom(_) => "no-room",
        Why::OverQuota(..) => "over-quota",
        Why::Trouble(..) => "trouble",
        Why::FolderTrouble(_) => "folder-trouble",
        Why::Coming(_) => "coming",
        Why::NobodyHasIt(..) => "nobody-has-it",
        Why::NobodyIsHere(_) => "nobody-is-here",
        Why::NameTaken => "name-taken",
        Why::InTheWay => "in-the-way",
        Why::UnderWay => "under-way",
        Why::Queued => "queued",
        Why::NotServed => "not-served",
        Why::Paused => "paused",
        Why::Ended(_) => "stopped",
        Why::Silent => "silent",
    }
}

/// What programs are told of a reason besides.
fn facts(why: &Why) -> Value {
    let of = |by: &By| json!({ "author": by.author.to_string(), "label": by.label, "wall_ms": by.wall_ms });
    let gone = |gone: &Gone| {
        let mut value = of(&gone.by);
        value["at"] = json!(inside(&gone.at));
        value["to"] = json!(gone.to.as_ref().map(inside));
        value
    };
    let coming = |coming: Option<&Coming>| match coming {
        Some(one) => json!({ "from": one.asked, "bytes_here": one.here, "size": one.size }),
        None => json!({}),
    };
    match why {
        Why::InStep(by) | Why::Behind(_, by) | Why::HeldElsewhere(by) => of(by),
        Why::ConflictCopy(copy) => {
            let mut value = of(&copy.by);
            value["of"] = json!(inside(&copy.winner));
            value
        }
        Why::Leaving(one) | Why::Gone(one) => gone(one),
        Why::LeftOut(LeftOut { at, rule }, by) => json!({
            "at": inside(at), "pattern": rule.as_ref().map(|rule| clean(&rule.pattern)),
            "file": rule.as_ref().map(|rule| rule.source.word()),
            "line": rule.as_ref().filter(|rule| rule.source != Source::BuiltIn).map(|rule| rule.line),
            "in_ledger": by.is_some(),
        }),
        Why::Below(needed) => json!({ "needed": needed }),
        Why::OverQuota(by, share, most) => {
            let mut value = of(by);
            (value["used"], value["more"], value["most"]) =
                (json!(share.used), json!(share.more), json!(most));
            value
        }
        Why::Trouble(at, what) => json!({ "at": at, "what": what }),
        Why::Unreadable(what) | Why::FolderTrouble(what) | Why::NoRoom(what) | Why::Ended(what) => {
            json!({ "what": what })
        }
        Why::Coming(one) => coming(Some(one)),
        Why::NobodyHasIt(one, _) | Why::NobodyIsHere(one) => coming(one.as_ref()),
        _ => json!({}),
    }
}

/// What the words are about.
struct Place<'a> {
    root: &'a Path,
    path: &'a Path,
    /// How the folder rests.
    rest: Option<String>,
}

impl Place<'_> {
    /// A reason for people.
    fn words(&self, why: &Why, known: &Known) -> String {
        let (root, path) = (shown(self.root), shown(self.path));
        match why {
            Why::InStep(by) => {
                let is_dir = known.wanted.as_ref().is_some_and(|wanted| wanted.body == Body::Directory);
                let deed = if is_dir { "made it" } else { "wrote it last" };
                format!("in step; {} {deed}, {}", who(by), when(by))
            }
            Why::ConflictCopy(copy) => format!(
                "a conflict copy of {}: {} wrote it {}, and another version won\n  dunlin conflicts resolve {path} --keep winner, copy or both settles it",
                inside(&copy.winner),
                who(&copy.by),
                when(&copy.by)
            ),
            Why::Behind(lacking, by) => behind(*lacking, by),
            Why::Leaving(gone) => format!("{}, and it stands here still", fate(gone)),
            Why::Gone(gone) => fate(gone),
            Why::ChangedHere => "changed here, and others do not know of it".to_owned(),
            Why::NewHere => "new here, and others do not know of it".to_owned(),
            Why::MissingHere => "missing here, and that is not believed".to_owned(),
            Why::Unknown => "never heard of: neither this disk nor the folder's ledger has it".to_owned(),
            Why::LeftOut(left_out, by) => ignored(left_out, by.as_ref(), known),
            Why::Corrupt => format!(
                "corrupt: its bytes changed though nobody wrote them; it gets its content again, what it held is kept in history\n  dunlin scrub --accept {path} keeps what it holds"
            ),
            Why::Below(1) => "one thing below it is needed still".to_owned(),
            Why::Below(needed) => format!("{needed} things below it are needed still"),
            Why::HeldHere => format!(
                "held: it is part of a mass change made here, which others are not told of; dunlin held accept {root} shares it, dunlin held reject {root} takes it back"
            ),
            Why::HeldElsewhere(by) => format!(
                "held: it is part of a mass change by {}, which is not done here; dunlin held accept {root} does it, dunlin held reject {root} takes it back",
                who(by)
            ),
            Why::Coming(one) => coming(one),
            Why::NobodyHasIt(one, is_author_here) => {
                let author = known.wanted.as_ref().filter(|_| !is_author_here).map(|wanted| &wanted.by);
                let absent = author
                    .map_or(String::new(), |by| format!("; {}, who wrote it, is not connected", who(by)));
                format!(
                    "waits for its content, and no member that is connected has it{absent}{}",
                    so_far(one.as_ref())
                )
            }
            Why::NobodyIsHere(one) => {
                format!("waits for its content, and nobody is connected{}", so_far(one.as_ref()))
            }
            _ => self.causes(why),
        }
    }

    /// The reasons that are about the folder or the device rather than about the path.
    fn causes(&self, why: &Why) -> String {
        let root = shown(self.root);
        match why {
            Why::Special => "a pipe, socket or device is not synchronised".to_owned(),
            Why::Unreadable(what) => format!("it cannot be read: {}", clean(what)),
            Why::ReadOnly => "it is not shared: this device may only read".to_owned(),
            Why::NoMember => "this device is no member of the folder now; dunlin status says why".to_owned(),
            Why::BeingWritten => {
                "it is being written; it is read once that is over, or it is quiet".to_owned()
            }
            Why::SecondLook => "a second look will tell whether it is gone".to_owned(),
            Why::LookToCome => "the next look takes it in; dunlin scan looks at once".to_owned(),
            Why::FirstLook => "waits until the folder has been looked at".to_owned(),
            Why::NoRoom(what) => clean(what),
            Why::OverQuota(by, share, most) => format!(
                "left out: with it the files of {} would take {} here, and they may take {} ([quota] in config.toml)",
                who(by),
                HumanBytes(share.used.saturating_add(share.more)),
                HumanBytes(*most)
            ),
            Why::Trouble(at, what) => format!("{}: {}", clean(at), clean(what)),
            Why::FolderTrouble(what) => clean(what),
            Why::NameTaken => {
                "this disk takes its name for another one that is there; rename one of them".to_owned()
            }
            Why::InTheWay => {
                "what stands on this disk is in its way; it is looked at and tried again".to_owned()
            }
            Why::UnderWay => "it is being put in its place".to_owned(),
            Why::NotServed => "nobody serves the folder now; dunlin serve or dunlin sync does".to_owned(),
            Why::Paused => {
                let rest = self.rest.clone().unwrap_or_else(|| "paused".to_owned());
                format!("the folder is {rest}; dunlin folder resume {root} has it go on")
            }
            Why::Ended(what) => format!("the folder is stopped: {}", clean(what)),
            Why::Silent => "the folder gives no answer: it is stopped, or stuck in its disk".to_owned(),
            _ => "its turn will come".to_owned(),
        }
    }
}

fn behind(lacking: Lacking, by: &By) -> String {
    let what = match lacking {
        Lacking::Everything => "not here yet",
        Lacking::Content => "behind: a newer version is known",
        Lacking::Meta => "behind: another mode or time is known",
    };
    format!("{what}; {} wrote it {}", who(by), when(by))
}

/// What became of something.
fn fate(gone: &Gone) -> String {
    let Gone { at, to, by } = gone;
    match to {
        Some(to) => format!("{} moved {} to {}, {}", who(by), inside(at), inside(to), when(by)),
        None => format!("{} deleted {}, {}", who(by), inside(at), when(by)),
    }
}

/// As `ignore explain` says it.
fn ignored(LeftOut { at, rule }: &LeftOut, by: Option<&By>, known: &Known) -> String {
    let verdict = Verdict::Ignored { at: at.clone(), rule: rule.as_ref() };
    let is_here = matches!(known.disk, OnDisk::There(Standing::Node(_)));
    let there = match by {
        Some(by) if is_here => format!("; the folder has one by {}, and what is here is left alone", who(by)),
        Some(by) => format!("; the folder has one by {}, which is not put here", who(by)),
        None => String::new(),
    };
    format!("{}{there}", clean(&verdict.to_string()))
}

fn coming(one: &Coming) -> String {
    let labels: Vec<String> = one.asked.iter().map(|label| clean(label)).collect();
    let from = match &labels[..] {
        [] => "waits for its turn".to_owned(),
        labels => format!("comes from {}", labels.join(", ")),
    };
    format!("its content {from}{}", so_far(Some(one)))
}

fn so_far(coming: Option<&Coming>) -> String {
    match coming {
        Some(one) if one.here > 0 => {
            format!("; {} of {} are here", HumanBytes(one.here), HumanBytes(one.size))
        }
        _ => String::new(),
    }
}

fn who(by: &By) -> String {
    if by.is_own { "this device".to_owned() } else { clean(&by.label) }
}

fn when(by: &By) -> String {
    format!("{} UTC", moment(by.wall_ms))
}

fn inside(path: &RelPath) -> String {
    clean(&path.to_string())
}
