//! INV-21: what is merged has what each side did, and nothing else. Counted from the rule alone: no diff, no line
//! numbers, only how often each line is there. Shares no code with the product's merge.

use super::{Failure, World, twin};
use crate::disk::Bytes;
use dunlin_core::content::{Body, Content};
use dunlin_core::id::{ChainId, EntryId, NodeId, VersionId};
use dunlin_core::ledger::entry::SignedEntry;
use dunlin_core::ledger::event::Event as Fact;
use dunlin_core::tree::node::{TreeRead, Version};
use dunlin_pipeline::jobs::texts::read_content;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A merge that was signed, with the bytes of all that it was made from.
struct Told {
    bases: Vec<Vec<u8>>,
    sides: Vec<Vec<u8>>,
    merged: Vec<u8>,
}

impl World {
    /// After a device has signed merges.
    pub(super) fn check_merged(&mut self, device: usize, entries: &[EntryId]) -> Result<(), Failure> {
        // Our own look at the disk is no call of dunlin's.
        let fuses = std::mem::take(&mut self.devices[device].disk.state().fuses);
        let told = self.told_merges(device, entries);
        self.devices[device].disk.state().fuses = fuses;
        for told in told.map_err(|what| Failure { device: Some(device), what })? {
            let hash = |bytes: &Vec<u8>| *blake3::hash(bytes).as_bytes();
            let sides: Vec<[u8; 32]> = told.sides.iter().map(hash).collect();
            self.say(device, &format!("merges {} texts", sides.len()));
            let merged = Bytes { hash: hash(&told.merged), bytes: Arc::new(told.merged.clone()) };
            self.oracle.merge(device, &sides, merged);
            told.bases
                .iter()
                .try_for_each(|base| check_lines(base, &told.sides, &told.merged))
                .map_err(|what| Failure { device: Some(device), what })?;
        }
        Ok(())
    }

    /// The place in its own chain that it signs next.
    pub(super) fn next_of_own(&self, device: usize) -> Option<(ChainId, u64)> {
        let tx = self.devices[device].store.read().ok()?;
        let view = View(&*tx);
        let chain = view.chain().ok()?;
        Some((chain, view.head(&chain).ok()?.map_or(0, |head| head.seq + 1)))
    }

    /// A process that was killed may have signed merges and told nobody.
    pub(super) fn hear_of_merges(&mut self, device: usize) -> Result<(), Failure> {
        let Some((chain, from)) = self.devices[device].merged_from.take() else { return Ok(()) };
        let entries: Vec<EntryId> = {
            let Ok(tx) = self.devices[device].store.read() else { return Ok(()) };
            let view = View(&*tx);
            (from..).map_while(|seq| view.id_at_seq(&chain, seq).ok().flatten()).collect()
        };
        self.check_merged(device, &entries)
    }

    fn told_merges(&self, device: usize, entries: &[EntryId]) -> Result<Vec<Told>, String> {
        let device = &self.devices[device];
        let Some(life) = &device.life else { return Ok(Vec::new()) };
        let tx = device.store.read().map_err(|e| e.to_string())?;
        let view = View(&*tx);
        let read = |content: &Content| -> Result<Vec<u8>, String> {
            // Whose bytes the merge has read may have been moved or overwritten since then, and be on no disk any
            // more: nobody can ask that they stay where the index says. What counts is what stood there when it
            // was saved; no other bytes have that hash.
            if let Some(bytes) = self.oracle.text(&content.hash.0) {
                return Ok(bytes);
            }
            let bytes = read_content(&life.ledger.folder, &view, content).map_err(|e| e.to_string())?;
            bytes.ok_or("INV-21: merged from bytes that nobody has saved and that are not here".to_owned())
        };
        let mut told = Vec::new();
        for id in entries {
            let row =
                view.entry(id).map_err(|e| e.to_string())?.ok_or("a signed entry is not in the store")?;
            let signed = SignedEntry { bytes: row.bytes, signature: row.signature };
            for fact in signed.decode().map_err(|e| e.to_string())?.events {
                let Fact::Merged { node, base, body, .. } = fact else { continue };
                let Body::File(merged) = body else { return Err("INV-21: no text was merged".to_owned()) };
                let heads = versions(&view, &node, &base)?;
                let bases = latest_common(&view, &node, &heads)?;
                let texts = |versions: &[Version<_>]| contents(versions).iter().map(read).collect();
                let (bases, sides): (Result<Vec<_>, _>, Result<Vec<_>, _>) = (texts(&bases), texts(&heads));
                told.push(Told { bases: bases?, sides: sides?, merged: read(&merged)? });
            }
        }
        Ok(told)
    }
}

type State = dunlin_core::content::State;

fn versions(view: &View<'_>, node: &NodeId, ids: &[VersionId]) -> Result<Vec<Version<State>>, String> {
    let mut found = Vec::new();
    for id in ids {
        // They are superseded by the merge itself.
        let version = view.old_content(node, id).map_err(|e| e.to_string())?;
        found.push(version.ok_or("INV-21: a merge does not supersede what it was made from")?);
    }
    Ok(found)
}

/// The common ancestors that are in the past of no other one.
fn latest_common(
    view: &View<'_>,
    node: &NodeId,
    heads: &[Version<State>],
) -> Result<Vec<Version<State>>, String> {
    let known = view.node(node).map_err(|e| e.to_string())?.ok_or("INV-21: a merge of no node")?;
    let alive = heads.iter().filter(|head| head.value.body != Body::Deleted);
    let pasts: Result<Vec<_>, _> = alive.map(|head| twin::ancestors(view, &known, head)).collect();
    let pasts: Vec<BTreeSet<VersionId>> = pasts?.into_iter().map(|past| past.into_keys().collect()).collect();
    let first = pasts.first().cloned().unwrap_or_default();
    let common: Vec<VersionId> =
        first.into_iter().filter(|id| pasts.iter().all(|past| past.contains(id))).collect();
    let common = versions(view, node, &common)?;
    let mut latest = Vec::new();
    for one in &common {
        let mut is_covered = false;
        for other in common.iter().filter(|other| other.id != one.id) {
            is_covered |= twin::ancestors(view, &known, other)?.contains_key(&one.id);
        }
        if !is_covered {
            latest.push(one.clone());
        }
    }
    if latest.is_empty() { Err("INV-21: merged without a common base".to_owned()) } else { Ok(latest) }
}

fn contents(versions: &[Version<State>]) -> Vec<Content> {
    let mut found: BTreeMap<_, Content> = BTreeMap::new();
    for version in versions {
        if let Body::File(content) = version.value.body {
            found.insert(content.hash, content);
        }
    }
    found.into_values().collect()
}

/// Each line is there as often as in the base, and by as much more or less as the sides say. What several sides
/// did alike counts once or more.
fn check_lines(base: &[u8], sides: &[Vec<u8>], merged: &[u8]) -> Result<(), String> {
    let base = counts(base);
    let sides: Vec<_> = sides.iter().map(|side| counts(side)).collect();
    let merged = counts(merged);
    let lines: BTreeSet<_> =
        sides.iter().flat_map(BTreeMap::keys).chain(base.keys()).chain(merged.keys()).collect();
    for line in lines {
        let of = |counts: &BTreeMap<&[u8], i64>| counts.get(*line).copied().unwrap_or_default();
        let changes: Vec<i64> = sides.iter().map(|side| of(side) - of(&base)).collect();
        let (more, less) = (|c: &&i64| **c > 0, |c: &&i64| **c < 0);
        let most: i64 = changes.iter().filter(more).max().copied().unwrap_or_default();
        let least: i64 = changes.iter().filter(less).min().copied().unwrap_or_default();
        let all_more: i64 = changes.iter().filter(more).sum();
        let all_less: i64 = changes.iter().filter(less).sum();
        let got = of(&merged) - of(&base);
        if !(most + all_less..=all_more + least).contains(&got) {
            let line = String::from_utf8_lossy(line);
            return Err(format!("INV-21: {line:?}: the sides say {changes:?}, the merge {got}"));
        }
    }
    Ok(())
}

/// How often each line is there; empty ones and their ends aside.
fn counts(text: &[u8]) -> BTreeMap<&[u8], i64> {
    let mut counts = BTreeMap::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        *counts.entry(line).or_default() += 1;
    }
    counts
}
