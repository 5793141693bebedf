//! The counters add up, and do not wrap.

use crate::chunk::savings::{Saved, Savings};
use crate::chunk::strategy::Strategy;

#[test]
fn each_strategy_has_its_counter() {
    let mut savings = Savings::default();
    savings.count(Strategy::Single, Saved { reused: 1, fetched: 10 });
    savings.count(Strategy::Fixed { size: 1 << 18 }, Saved { reused: 2, fetched: 20 });
    savings.count(Strategy::Cdc { average: 1 << 16 }, Saved { reused: 3, fetched: 30 });
    savings.count(Strategy::Cdc { average: 1 << 18 }, Saved { reused: 4, fetched: 40 });
    assert_eq!(savings.single, Saved { reused: 1, fetched: 10 });
    assert_eq!(savings.fixed, Saved { reused: 2, fetched: 20 });
    assert_eq!(savings.cdc, Saved { reused: 7, fetched: 70 });
    assert_eq!(savings.total(), Saved { reused: 10, fetched: 100 });
    let mut twice = savings;
    twice.merge(&savings);
    assert_eq!(twice.total(), Saved { reused: 20, fetched: 200 });
    assert_eq!(twice.cdc, Saved { reused: 14, fetched: 140 });
}

#[test]
fn counters_stay_at_their_end_and_parts_need_no_whole() {
    let full = Saved { reused: u64::MAX, fetched: u64::MAX };
    let mut savings = Savings::default();
    savings.count(Strategy::Single, full);
    savings.count(Strategy::Single, full);
    assert_eq!(savings.total(), full);
    assert_eq!(full.permille(), 500);
    assert_eq!(Saved::default().permille(), 0);
    assert_eq!(Saved { reused: 2, fetched: 1 }.permille(), 666);
    assert_eq!(Saved { reused: 9, fetched: 0 }.permille(), 1000);
}
