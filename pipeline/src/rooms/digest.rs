//! The digest pool: reading, hashing, verifying and sealing, in parallel and without order.
//!
//! The engine bounds what it orders, so the pool's queue is bounded too.

use super::folder_clock::FolderClock;
use crate::engine::effect::DigestOrder;
use crate::engine::event::Event;
use crate::jobs::digest_hand::DigestHand;
use crate::jobs::folder_hand::Threads;
use crossbeam_channel::Sender;
use dunlin_storage::folder::durable::SideBySide;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The pool and what its jobs work with.
pub struct Digest {
    pool: Arc<ThreadPool>,
    hand: Arc<DigestHand>,
    clock: Arc<FolderClock>,
    done: Sender<Event>,
}

/// A pool with as many threads as the machine has cores, four at most.
pub fn pool() -> std::io::Result<Arc<ThreadPool>> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(4);
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("dunlin-digest-{i}"))
        .build()
        .map_err(std::io::Error::other)?;
    Ok(Arc::new(pool))
}

/// Lets another room have a job done by the pool, and wait for it.
pub fn threads(pool: &Arc<ThreadPool>) -> Threads {
    let pool = pool.clone();
    Arc::new(move |count, job| pool.install(|| for_each(count, job)))
}

/// Lets a room wait for several syncs at a time: it waits for one of them itself, which need not wait for the pool.
pub fn side_by_side(pool: &Arc<ThreadPool>) -> SideBySide {
    let pool = pool.clone();
    Arc::new(move |count, job| {
        pool.in_place_scope(|scope| {
            (1..count).for_each(|number| scope.spawn(move |_| job(number)));
            (0..count.min(1)).for_each(job);
        });
    })
}

impl Digest {
    /// Works with this pool.
    pub fn new(
        pool: Arc<ThreadPool>,
        hand: DigestHand,
        clock: Arc<FolderClock>,
        done: Sender<Event>,
    ) -> Self {
        Self { pool, hand: Arc::new(hand), clock, done }
    }

    /// Takes an order; its answer comes by the done channel.
    pub fn order(&self, order: DigestOrder) {
        let (hand, clock, done) = (self.hand.clone(), self.clock.clone(), self.done.clone());
        self.pool.spawn(move || {
            // If the engine is gone there is nobody to tell.
            let _ = done.send(hand.obey(order, &|| clock.now(), &for_each));
        });
    }
}

/// The numbers are taken in order, however the pool divides the work: what is read and written side by side then lies
/// side by side on the disk, too.
fn for_each(count: usize, job: &(dyn Fn(usize) + Sync)) {
    let next = AtomicUsize::new(0);
    (0..count).into_par_iter().for_each(|_| job(next.fetch_add(1, Ordering::Relaxed)));
}
