//! The tree rule: events become versions, places and marks; a slot becomes a picture.

use super::{chain, founded, name, root};
use divan::Bencher;
use divan::counter::ItemsCount;
use dunlin_core::content::{Body, Content, Meta};
use dunlin_core::id::{ChainId, ContentHash, Dot, PeerId};
use dunlin_core::ledger::event::Event;
use dunlin_core::tree::apply::{EventContext, apply};
use dunlin_core::tree::memory::MemoryTree;
use dunlin_core::tree::view::slot;

const FILES: usize = 1000;

/// A thousand new files in one directory.
#[divan::bench]
fn create(bencher: Bencher) {
    bencher.counter(ItemsCount::new(FILES)).with_inputs(empty).bench_local_values(|mut tree| {
        fill(&mut tree, FILES);
        tree
    });
}

/// Each of a thousand files is edited once.
#[divan::bench]
fn write(bencher: Bencher) {
    bencher.counter(ItemsCount::new(FILES)).with_inputs(full).bench_local_values(|mut tree| {
        for i in 0..FILES {
            let node = dot(1, i);
            let event =
                Event::Written { node, base: vec![node], body: body(i + FILES), meta: Meta::default() };
            step(&mut tree, &event, dot(2, i), 2);
        }
        tree
    });
}

/// Each of a thousand files is moved once.
#[divan::bench]
fn relocate(bencher: Bencher) {
    bencher.counter(ItemsCount::new(FILES)).with_inputs(full).bench_local_values(|mut tree| {
        for i in 0..FILES {
            let node = dot(1, i);
            let event = Event::Moved { node, base: vec![node], parent: root(), name: name(i + FILES) };
            step(&mut tree, &event, dot(2, i), 2);
        }
        tree
    });
}

/// The picture of a place where so many devices edited one file at the same time.
#[divan::bench(args = [1, 2, 16])]
fn picture(bencher: Bencher, writers: u8) {
    let mut tree = full();
    let node = dot(1, 0);
    for writer in 0..writers {
        let chain = ChainId { author: PeerId([writer; 32]), incarnation: 1 };
        let event =
            Event::Written { node, base: vec![node], body: body(usize::from(writer)), meta: Meta::default() };
        step(&mut tree, &event, Dot { chain, seq: 0, index: 0 }, 2);
    }
    let label = |_: &PeerId| "device".to_owned();
    bencher.bench_local(|| slot(&tree, &[root()], &name(0), &label).expect("memory"));
}

fn empty() -> MemoryTree {
    let mut tree = MemoryTree::default();
    step(&mut tree, &founded(), root(), 0);
    tree
}

fn full() -> MemoryTree {
    let mut tree = empty();
    fill(&mut tree, FILES);
    tree.take_dirty();
    tree
}

fn fill(tree: &mut MemoryTree, count: usize) {
    for i in 0..count {
        let event = Event::Created { parent: root(), name: name(i), body: body(i), meta: Meta::default() };
        step(tree, &event, dot(1, i), 1);
    }
}

fn step(tree: &mut MemoryTree, event: &Event, dot: Dot, lamport: u64) {
    let context = EventContext { lamport, wall_ms: 0, in_past: &|_| true, void: false };
    apply(tree, event, dot, &context).expect("memory");
}

fn dot(seq: u64, index: usize) -> Dot {
    Dot { chain: chain(), seq, index: index as u16 }
}

fn body(number: usize) -> Body {
    Body::File(Content { size: 1000, hash: ContentHash::of(&number.to_le_bytes()), manifest: None })
}
