//! Why a path is as it is on this device: a pure function over what its store, its disk and its run know of it.
//!
//! [`Known`] is what the rows and the ledger's tree say and what stands on the disk, [`Inquiry`] what the engine has
//! under way; both are made elsewhere (`jobs::why`, `engine::inquiry`). The answer is a list: first how the path is,
//! then what it waits for, what matters most first. Knows no words for people, and changes nothing.

#[cfg(test)]
mod tests;

use dunlin_core::content::{Body, Kind, Meta};
use dunlin_core::id::{NodeId, PeerId};
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::Place;
use dunlin_core::tree::view::is_same;
use dunlin_storage::disk::DiskRow;
use dunlin_storage::folder::fs::Standing;
use dunlin_storage::folder::ignore::Rule;
use dunlin_storage::folder::scan::is_changed;
use std::collections::BTreeSet;

/// Who did something, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct By {
    /// Who.
    pub author: PeerId,
    /// The author's label.
    pub label: String,
    /// True for this device.
    pub is_own: bool,
    /// When, by the author's clock: milliseconds since 1970.
    pub wall_ms: i64,
}

/// What the ledger says should stand at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// What it is.
    pub body: Body,
    /// Its mode and time.
    pub meta: Meta,
    /// The nodes that it stands for.
    pub nodes: Vec<NodeId>,
    /// Who wrote it last.
    pub by: By,
}

/// What became of a path at which nothing should stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gone {
    /// The path that it happened to: this one, or a directory above it.
    pub at: RelPath,
    /// Where it is now; `None`: it was deleted.
    pub to: Option<RelPath>,
    /// Who did it.
    pub by: By,
}

/// The ignore rule that leaves a path out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftOut {
    /// The path that it is about: this one, or a directory above it.
    pub at: RelPath,
    /// Which; `None`: it is a file of dunlin's own.
    pub rule: Option<Rule>,
}

/// A conflict copy: whose, and by whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyOf {
    /// What has the name.
    pub winner: RelPath,
    /// Who wrote what the copy holds.
    pub by: By,
}

/// What stands on the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OnDisk {
    /// Nothing.
    Nothing,
    /// Something.
    There(Standing),
    /// Something that has another name, which this disk takes for the same.
    Alias,
    /// It cannot be looked at; why, in words.
    Unreadable(String),
}

/// What the files of the author of what is wanted take here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// Bytes that they take now.
    pub used: u64,
    /// Bytes that this file would add.
    pub more: u64,
}

/// What is known of a path without its run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// What stands there.
    pub disk: OnDisk,
    /// What was recorded or put there last.
    pub row: Option<DiskRow>,
    /// What should stand there.
    pub wanted: Option<Wanted>,
    /// What became of it, if nothing should.
    pub gone: Option<Gone>,
    /// The places that the path is about.
    pub places: Vec<Place>,
    /// It is left out.
    pub left_out: Option<LeftOut>,
    /// Its bytes changed though nobody wrote them.
    pub is_corrupt: bool,
    /// It is a conflict copy.
    pub copy_of: Option<CopyOf>,
    /// Changes made here wait for a person's word.
    pub is_held_here: bool,
    /// It is one of the first that were held.
    pub is_named_held: bool,
    /// Whose changes wait for one.
    pub held_of: BTreeSet<PeerId>,
    /// This device is a member.
    pub is_member: bool,
    /// It may sign changes.
    pub may_write: bool,
    /// Of a file that another member wrote.
    pub share: Option<Share>,
    /// Of a directory: places below it that are not in line.
    pub below: u64,
}

/// What a run knows of a path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Inquiry {
    /// The whole folder has been looked at.
    pub has_looked: bool,
    /// Somebody writes the file.
    pub is_written: bool,
    /// It was missing at one look, and the second is to come.
    pub is_missed: bool,
    /// Trouble that was told of it, or of a directory above it: where, and what.
    pub trouble: Option<(String, String)>,
    /// Trouble with the folder as a whole.
    pub folder_trouble: Option<String>,
    /// Nothing is written for want of room; the figures, in words.
    pub no_room: Option<String>,
    /// What another member's files may take here.
    pub member_bytes: Option<u64>,
    /// Its content is on its way.
    pub coming: Option<Coming>,
    /// A step at its place is under way.
    pub is_under_way: bool,
    /// The last steps at its place found the disk other than they should.
    pub is_refused: bool,
    /// Its place is left alone for a while, since what it needs could not be had.
    pub is_left_alone: bool,
    /// The members that are connected.
    pub connected: Vec<PeerId>,
}

/// A content that is waited for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Coming {
    /// Its bytes.
    pub size: u64,
    /// How many are here already.
    pub here: u64,
    /// Labels of those who were asked and have not answered yet.
    pub asked: Vec<String>,
    /// True if a connected member may have it.
    pub has_source: bool,
}

/// How the folder is being served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Run {
    /// Nobody serves it.
    NotServed,
    /// It rests.
    Paused,
    /// Its run has ended; why, in words.
    Ended(String),
    /// It gives no answer.
    Silent,
    /// It says this of the path.
    Going(Box<Inquiry>),
}

/// What of a wanted thing is not here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lacking {
    /// All of it.
    Everything,
    /// Its newest content.
    Content,
    /// Its mode or time.
    Meta,
}

/// One reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// It is as the ledger says.
    InStep(By),
    /// It is a conflict copy, and in step.
    ConflictCopy(CopyOf),
    /// A newer version is known.
    Behind(Lacking, By),
    /// Others have deleted or moved it, and it stands here still.
    Leaving(Gone),
    /// It was changed here, and that is not recorded.
    ChangedHere,
    /// It is new here, and not recorded.
    NewHere,
    /// It is missing here, and that is not recorded.
    MissingHere,
    /// It was deleted, or moved away.
    Gone(Gone),
    /// Neither the disk nor the ledger has it.
    Unknown,
    /// An ignore rule leaves it out; whether the folder has something of that name.
    LeftOut(LeftOut, Option<By>),
    /// A pipe, socket or device.
    Special,
    /// It cannot be looked at.
    Unreadable(String),
    /// Its bytes changed though nobody wrote them; it is being healed.
    Corrupt,
    /// Places below it are not in line.
    Below(u64),
    /// A mass change that was made here is held.
    HeldHere,
    /// A mass change of another member is held.
    HeldElsewhere(By),
    /// This device may only read.
    ReadOnly,
    /// This device is no member (any more, or yet).
    NoMember,
    /// Somebody writes it.
    BeingWritten,
    /// It was missing at one look.
    SecondLook,
    /// It will be looked at.
    LookToCome,
    /// The whole folder is still being looked at.
    FirstLook,
    /// There is no room.
    NoRoom(String),
    /// Its author's files may take so much here, and take so much.
    OverQuota(By, Share, u64),
    /// Trouble was told of it: where, and what.
    Trouble(String, String),
    /// Trouble with the folder as a whole.
    FolderTrouble(String),
    /// Its content is on its way.
    Coming(Coming),
    /// No connected member has its content; how much is here, and whether who wrote it is connected.
    NobodyHasIt(Option<Coming>, bool),
    /// Nobody is connected.
    NobodyIsHere(Option<Coming>),
    /// This disk takes its name for another one that stands there.
    NameTaken,
    /// The disk is not as it should be for it.
    InTheWay,
    /// It is being put in its place.
    UnderWay,
    /// Its turn will come.
    Queued,
    /// Nobody serves the folder.
    NotServed,
    /// The folder rests.
    Paused,
    /// The folder's run has ended.
    Ended(String),
    /// The folder's run gives no answer.
    Silent,
}

/// How what stands on the disk compares with what was recorded there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Local {
    Nothing,
    AsRecorded,
    Changed,
    New,
    Missing,
}

/// Why the path is as it is; never empty.
pub fn why(known: &Known, run: &Run) -> Vec<Why> {
    if let Some(left_out) = &known.left_out {
        let by = known.wanted.as_ref().map(|wanted| wanted.by.clone());
        return vec![Why::LeftOut(left_out.clone(), by)];
    }
    if known.is_corrupt {
        return [vec![Why::Corrupt], waits_for(known, run, true)].concat();
    }
    let local = match &known.disk {
        OnDisk::There(Standing::Special) => return vec![Why::Special],
        OnDisk::Unreadable(why) => {
            return [vec![Why::Unreadable(why.clone())], at_rest(run)].concat();
        }
        OnDisk::There(Standing::Node(stat)) => match &known.row {
            None => Local::New,
            Some(row) if row.stat.kind != stat.kind => Local::Changed,
            // A row that is not sure is read again in good time; as long as the stat is the same nothing is known of a change.
            Some(row) if stat.kind != Kind::Directory && row.stat == *stat => Local::AsRecorded,
            Some(row) if is_changed(row, stat) => Local::Changed,
            Some(_) => Local::AsRecorded,
        },
        OnDisk::Nothing | OnDisk::Alias if known.row.is_some() => Local::Missing,
        OnDisk::Nothing | OnDisk::Alias => Local::Nothing,
    };
    match local {
        Local::Changed => changed_here(Why::ChangedHere, known, run),
        Local::New => changed_here(Why::NewHere, known, run),
        Local::Missing => changed_here(Why::MissingHere, known, run),
        Local::AsRecorded | Local::Nothing => as_recorded(known, run),
    }
}

/// Something was changed here, and that is not in the ledger: what it waits for.
fn changed_here(how: Why, known: &Known, run: &Run) -> Vec<Why> {
    // While something is held other edits pass, and nobody should accept that for their sake.
    let is_held = match how {
        Why::MissingHere => known.is_held_here,
        Why::ChangedHere => known.is_named_held,
        _ => false,
    };
    let mut whys = vec![how];
    if !known.is_member {
        whys.push(Why::NoMember);
    } else if !known.may_write {
        whys.push(Why::ReadOnly);
    } else if is_held {
        whys.push(Why::HeldHere);
    }
    let Run::Going(inquiry) = run else { return [whys, at_rest(run)].concat() };
    if whys.len() > 1 {
        return whys;
    }
    whys.push(match &inquiry.trouble {
        _ if inquiry.is_written => Why::BeingWritten,
        _ if inquiry.is_missed => Why::SecondLook,
        Some((at, what)) => Why::Trouble(at.clone(), what.clone()),
        None => inquiry.folder_trouble.clone().map_or(Why::LookToCome, Why::FolderTrouble),
    });
    whys
}

/// What stands here is known: whether it is what should.
fn as_recorded(known: &Known, run: &Run) -> Vec<Why> {
    let Some(wanted) = &known.wanted else {
        return match (&known.gone, &known.row) {
            (Some(gone), Some(_)) => {
                [vec![Why::Leaving(gone.clone())], waits_for(known, run, false)].concat()
            }
            (Some(gone), None) => vec![Why::Gone(gone.clone())],
            (None, Some(_)) => vec![Why::Queued],
            (None, None) => vec![Why::Unknown],
        };
    };
    let lacking = match &known.row {
        None => Lacking::Everything,
        Some(row) if !is_same(&row.body, &wanted.body) => Lacking::Content,
        Some(row) if is_otherwise(&row.meta, wanted) => Lacking::Meta,
        Some(_) => return [vec![in_step(known, wanted)], below(known), at_rest(run)].concat(),
    };
    let needs_content = lacking != Lacking::Meta && matches!(wanted.body, Body::File(_));
    [vec![Why::Behind(lacking, wanted.by.clone())], waits_for(known, run, needs_content)].concat()
}

/// Directories have times that nobody carries over, links have no mode.
fn is_otherwise(meta: &Meta, wanted: &Wanted) -> bool {
    match &wanted.body {
        Body::File(_) => *meta != wanted.meta,
        Body::Directory => meta.mode != wanted.meta.mode,
        Body::Symlink(_) | Body::Deleted => false,
    }
}

fn in_step(known: &Known, wanted: &Wanted) -> Why {
    match &known.copy_of {
        Some(copy) => Why::ConflictCopy(copy.clone()),
        None => Why::InStep(wanted.by.clone()),
    }
}

fn below(known: &Known) -> Vec<Why> {
    (known.below > 0).then_some(Why::Below(known.below)).into_iter().collect()
}

/// Of whom what is to be done here is, if it takes something away that stands here.
fn taken_away_by(known: &Known) -> Option<&By> {
    known.row.as_ref()?;
    match &known.wanted {
        Some(wanted) => Some(&wanted.by),
        None => known.gone.as_ref().map(|gone| &gone.by),
    }
}

/// What a change that is known waits for before it is done here.
fn waits_for(known: &Known, run: &Run, needs_content: bool) -> Vec<Why> {
    if let Some(by) = taken_away_by(known).filter(|by| known.held_of.contains(&by.author)) {
        return [vec![Why::HeldElsewhere(by.clone())], at_rest(run)].concat();
    }
    let Run::Going(inquiry) = run else { return at_rest(run) };
    let over = known.share.zip(inquiry.member_bytes).filter(|(share, most)| {
        share.more > 0 && share.used.saturating_add(share.more) > *most && inquiry.coming.is_none()
    });
    let why = if known.disk == OnDisk::Alias {
        Why::NameTaken
    } else if !known.is_member {
        Why::NoMember
    } else if let Some(what) = &inquiry.folder_trouble {
        Why::FolderTrouble(what.clone())
    } else if let Some(figures) = &inquiry.no_room {
        Why::NoRoom(figures.clone())
    } else if let (Some((share, most)), Some(wanted)) = (over, &known.wanted) {
        Why::OverQuota(wanted.by.clone(), share, most)
    } else if let Some((at, what)) = &inquiry.trouble {
        Why::Trouble(at.clone(), what.clone())
    } else if !inquiry.has_looked {
        Why::FirstLook
    } else if inquiry.is_refused {
        Why::InTheWay
    } else if needs_content {
        of_content(known, inquiry)
    } else if inquiry.is_under_way {
        Why::UnderWay
    } else {
        Why::Queued
    };
    vec![why]
}

/// Where a content is that is waited for.
fn of_content(known: &Known, inquiry: &Inquiry) -> Why {
    let coming = inquiry.coming.clone();
    let is_on_its_way = coming.as_ref().is_some_and(|coming| !coming.asked.is_empty() || coming.has_source);
    let author = known.wanted.as_ref().map(|wanted| &wanted.by.author);
    match coming {
        Some(coming) if is_on_its_way => Why::Coming(coming),
        coming if inquiry.connected.is_empty() => Why::NobodyIsHere(coming),
        None if inquiry.is_under_way => Why::UnderWay,
        None if !inquiry.is_left_alone => Why::Queued,
        coming => Why::NobodyHasIt(coming, author.is_some_and(|author| inquiry.connected.contains(author))),
    }
}

/// That nobody sees to the folder, if that is so.
fn at_rest(run: &Run) -> Vec<Why> {
    vec![match run {
        Run::NotServed => Why::NotServed,
        Run::Paused => Why::Paused,
        Run::Ended(why) => Why::Ended(why.clone()),
        Run::Silent => Why::Silent,
        Run::Going(_) => return Vec::new(),
    }]
}
