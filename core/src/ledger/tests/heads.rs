//! H13: more heads than one message can list of a frontier, by what is looked up for an entry, not by a clock.

use super::*;
use std::cell::Cell;

const HEADS: u64 = crate::limits::FRONTIER_HEADS_MAX as u64 + 800;

/// A ledger that counts how often it is asked.
struct Asked<'a> {
    book: &'a Book,
    times: Cell<u32>,
}

impl Asked<'_> {
    fn again(&self) {
        self.times.set(self.times.get() + 1);
    }
}

impl LedgerRead for Asked<'_> {
    fn folder(&self) -> Result<FolderId, LedgerFault> {
        self.again();
        self.book.folder()
    }

    fn known(&self, id: &EntryId) -> Result<Option<Known>, LedgerFault> {
        self.again();
        self.book.known(id)
    }

    fn id_at(&self, chain: &ChainId, seq: u64) -> Result<Option<EntryId>, LedgerFault> {
        self.again();
        self.book.id_at(chain, seq)
    }

    fn membership(&self) -> Result<Vec<MembershipEvent>, LedgerFault> {
        self.again();
        LedgerRead::membership(self.book)
    }
}

/// How often the ledger is asked before an entry is taken.
fn asked(book: &Book, entry: &Verified) -> u32 {
    let asked = Asked { book, times: Cell::new(0) };
    let admission = check(&asked, entry.clone()).unwrap();
    assert!(matches!(admission, Admission::Accept(_)), "{admission:?}");
    asked.times.get()
}

/// A member opens chain after chain, none of which has seen another. What is looked up for an entry follows from its own
/// parents, whether there are three heads or eight thousand; and each entry of an honest device takes sixteen of them in.
#[test]
fn what_an_entry_costs_follows_from_its_parents_not_from_the_heads() {
    let mut devices = company(&[Role::Writer]);
    let (mut writer, mut founder) = (devices.pop().unwrap(), devices.pop().unwrap());
    let mut costs = Vec::new();
    for number in 0..HEADS {
        writer.chain.incarnation = 1000 + number;
        let entry = writer.draft(vec![writer.file_event("x")]);
        costs.push(asked(&founder.book, &entry));
        founder.book.frontier.set(entry.entry().chain, 0, entry.id());
        let Admission::Accept(accepted) = check(&founder.book, entry).unwrap() else { panic!("not taken") };
        founder.book.entries.insert(accepted.id, (*accepted, None));
    }
    assert_eq!(costs.iter().min(), costs.iter().max(), "the first costs as much as the last");
    let mut linking = Vec::new();
    for number in 0..20 {
        let entry = founder.draft(vec![founder.file_event(&format!("n{number}"))]);
        assert_eq!(entry.entry().parents.len(), 16);
        linking.push(asked(&founder.book, &entry));
        founder.book.take(&entry);
    }
    assert!(linking.iter().all(|cost| *cost <= costs[0] + 3 * 16), "{linking:?} beside {}", costs[0]);
    assert_eq!(linking.iter().min(), linking.iter().max());
}

/// What an honest device links first is what another honest one said last, however many chains a third has opened.
#[test]
fn the_latest_of_each_author_is_linked_before_the_rest_of_any() {
    let mut devices = company(&[Role::Writer; 3]);
    let mut founder = devices.remove(0);
    let (first, second, mut flooder) = (devices.remove(0), devices.remove(0), devices.remove(0));
    let mut flood = |founder: &mut Device, count: u64| {
        for _ in 0..count {
            flooder.chain.incarnation += 1;
            let entry = flooder.draft(vec![flooder.file_event("x")]);
            founder.book.take(&entry);
        }
    };
    flood(&mut founder, 100);
    let said = [&first, &second].map(|device| device.draft(vec![device.file_event("y")]));
    said.iter().for_each(|entry| founder.book.take(entry));
    flood(&mut founder, 100);
    let entry = founder.draft(vec![founder.file_event("z")]);
    assert_eq!(entry.entry().parents.len(), 16);
    assert!(said.iter().all(|entry_of| entry.entry().parents.contains(&entry_of.id())));
}
