//! What the files of other members may take on this disk: what is on its way is counted for them, and what plans left out
//! is told.

use super::Engine;
use super::remote::Remote;
use crate::jobs::plan::quota::{Over, Quota, Share};
use crate::jobs::plan::{Item, Plan};
use dunlin_core::id::PeerId;
use dunlin_core::tree::node::Place;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of shares.
#[derive(Default)]
pub struct Quotas {
    /// What steps that are under way take, by place.
    under_way: BTreeMap<Place, Vec<Share>>,
    /// What the pass over the marks has left out so far.
    pass: BTreeMap<PeerId, Over>,
    /// The trouble that was told after the last one.
    told: BTreeSet<String>,
}

impl Quotas {
    /// What the next plan has to know.
    pub fn quota(&mut self, bytes_max: Option<u64>, remote: &Remote) -> Quota {
        self.under_way.retain(|place, _| remote.is_busy_at(place));
        let mut under_way = BTreeMap::<PeerId, u64>::new();
        for share in self.under_way.values().flatten() {
            let sum = under_way.entry(share.member).or_default();
            *sum = sum.saturating_add(share.bytes);
        }
        Quota { bytes_max, under_way }
    }

    /// A step is under way from now on.
    fn begin(&mut self, item: &Item) {
        if let Some(share) = item.takes {
            self.under_way.entry(item.place.clone()).or_default().push(share);
        }
    }
}

impl Engine {
    /// A piece of a plan has come.
    pub(super) fn count_plan(&mut self, plan: &mut Plan) {
        plan.items.iter().for_each(|item| self.quotas.begin(item));
        for (member, over) in std::mem::take(&mut plan.over) {
            let sum = self.quotas.pass.entry(member).or_default();
            (sum.files, sum.bytes) = (sum.files + over.files, sum.bytes.saturating_add(over.bytes));
            sum.label = over.label;
        }
        if plan.cursor.is_none() {
            self.tell_left_out();
        }
    }

    /// All marks have been gone over. While contents are on their way it is open what will be left out.
    fn tell_left_out(&mut self) {
        let pass = std::mem::take(&mut self.quotas.pass);
        if !self.quotas.under_way.is_empty() {
            return;
        }
        let bytes_max = self.config.limits.member_bytes.unwrap_or(u64::MAX);
        let before = std::mem::take(&mut self.quotas.told);
        for (member, Over { label, files, bytes }) in pass {
            let path = format!("(files of {label} {})", member.short());
            let what = format!(
                "{files} of them, {bytes} bytes, are left out: a member's files may take {bytes_max} bytes here ([quota] in config.toml)"
            );
            self.quotas.told.insert(path.clone());
            self.note_problem(path, what);
        }
        let over: Vec<&String> = before.difference(&self.quotas.told).collect();
        over.into_iter().for_each(|path| drop(self.problems.remove(path)));
    }
}
