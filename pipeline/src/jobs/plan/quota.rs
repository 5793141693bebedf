//! What a plan leaves alone because whoever wrote it has used up its share of this disk: files are left out that would
//! make it more. What stands here stays, and what takes no more room than that is put.

use super::{JobError, Planner};
use dunlin_core::canary::{self, Bug};
use dunlin_core::content::Body;
use dunlin_core::id::{PeerId, VersionId};
use dunlin_core::ledger::membership::Membership;
use dunlin_core::tree::view::{Role, Shown, is_same};
use dunlin_storage::disk::{DiskRow, ShownAs};
use dunlin_storage::store::tables::StoreError;
use dunlin_storage::store::used::charge;
use dunlin_storage::store::view::View;
use std::collections::BTreeMap;

/// How much of this disk others may take.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Quota {
    /// Bytes of each other member; `None`: no bound.
    pub bytes_max: Option<u64>,
    /// Of each, the bytes that are on their way to the disk.
    pub under_way: BTreeMap<PeerId, u64>,
}

/// How many bytes more of this disk a file takes, and for whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// The member, by the key that it has now.
    pub member: PeerId,
    /// The bytes.
    pub bytes: u64,
}

/// Files of one member that are left out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Over {
    /// Its label.
    pub label: String,
    /// How many.
    pub files: u64,
    /// Bytes on disk that they would take.
    pub bytes: u64,
}

/// The shares of a plan.
pub(super) struct Shares<'a> {
    quota: &'a Quota,
    own: PeerId,
    /// Bytes of each member that is spoken of: on disk, under way, planned.
    taken: BTreeMap<PeerId, u64>,
    /// What is left out, by member.
    pub over: BTreeMap<PeerId, Over>,
}

/// Whether there is room for a file.
pub(super) enum Fit {
    /// There is; what it takes, if that has a bound.
    Fits(Option<Share>),
    /// There is none.
    LeftOut,
}

impl<'a> Shares<'a> {
    pub fn new(quota: &'a Quota, own: PeerId) -> Self {
        Self { quota, own, taken: BTreeMap::new(), over: BTreeMap::new() }
    }
}

impl Planner<'_, '_> {
    /// Whether there is room for a file, `over` what stands there.
    pub(super) fn fit(&mut self, one: &Shown, over: Option<&DiskRow>) -> Result<Fit, JobError> {
        let Some(bytes_max) = self.shares.quota.bytes_max else { return Ok(Fit::Fits(None)) };
        let Some((member, bytes)) = self.charge(&one.state.body, &one.versions) else {
            return Ok(Fit::Fits(None));
        };
        let freed = self.replaced(one, over)?.filter(|(before, _)| *before == member);
        let freed = freed.map_or(0, |(_, bytes)| bytes);
        let more = bytes.saturating_sub(freed);
        let taken = self.taken(&member)?;
        if more == 0 || taken.saturating_add(more) <= bytes_max || canary::is(Bug::QuotaIgnored) {
            self.shares.taken.insert(member, taken.saturating_add(more));
            return Ok(Fit::Fits((more > 0).then_some(Share { member, bytes: more })));
        }
        // What is under way is counted twice if it has come to the disk in the meantime: another plan sees.
        if self.shares.quota.under_way.contains_key(&member) {
            return Ok(Fit::LeftOut);
        }
        self.left.is_touched = true;
        let label = self.membership.label_of(&member);
        let label = label.map_or_else(String::new, str::to_owned);
        let left = self.shares.over.entry(member).or_insert_with(|| Over { label, ..Over::default() });
        left.files += 1;
        left.bytes = left.bytes.saturating_add(bytes);
        Ok(Fit::LeftOut)
    }

    /// What goes when a file is put: what stands at its place or, for a conflict copy, what its main file holds as long as that
    /// is the same, since the copy comes before the main file's next content.
    fn replaced(&self, one: &Shown, over: Option<&DiskRow>) -> Result<Option<(PeerId, u64)>, JobError> {
        if let Some(row) = over {
            return Ok(self.charge(&row.body, &row.versions));
        }
        let view = self.edit.view();
        let spot = match one.role {
            Role::Copy(_) => view.located(&one.node, ShownAs::Main)?,
            _ => None,
        };
        let main = spot.map(|spot| view.disk_row(&spot)).transpose()?.flatten();
        let same = main.filter(|row| is_same(&row.body, &one.state.body));
        Ok(same.and_then(|row| self.charge(&row.body, &row.versions)))
    }

    /// Which other member a file counts for, by the key that it has now, and its bytes.
    fn charge(&self, body: &Body, versions: &[VersionId]) -> Option<(PeerId, u64)> {
        let (author, bytes) = charge(body, versions)?;
        let member = self.membership.current(&author);
        (member != self.shares.own).then_some((member, bytes))
    }

    /// What a member's files take, under all keys that it ever had.
    fn taken(&self, member: &PeerId) -> Result<u64, JobError> {
        if let Some(taken) = self.shares.taken.get(member) {
            return Ok(*taken);
        }
        let under_way = self.shares.quota.under_way.get(member).copied().unwrap_or(0);
        Ok(used_by_member(&self.edit.view(), &self.membership, member)?.saturating_add(under_way))
    }
}

/// What a member's files take on this disk, under all keys that it ever had.
pub fn used_by_member(view: &View<'_>, membership: &Membership, member: &PeerId) -> Result<u64, StoreError> {
    let former = membership.rotations_to(member);
    let mut used = 0u64;
    for key in former.iter().map(|(key, _)| key).chain([member]) {
        used = used.saturating_add(view.used_by(key)?);
    }
    Ok(used)
}
