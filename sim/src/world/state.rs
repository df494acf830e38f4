//! What a node has come to: a hash of all that can matter for what happens on it next, as long as it does not lose
//! power.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use super::World;
use crate::turnstile::unordered;

impl World {
    pub(crate) fn hash_state(&self, state: &mut impl Hasher) {
        let World {
            roots: _,
            boot,
            crashes,
            quirks: _,
            now,
            wall_clock,
            // Empty between two moments, or about one moment.
            outbox: _,
            changed: _,
            notes: _,
            touched: _,
            is_touched: _,
            short_write: _,
            sync_lost: _,
            fs,
            metadata,
            tasks,
            shims,
            pods,
            runtime,
            mounts,
            bundles,
            processes,
            nri,
            events,
            event_queues,
            // What calls of the scenario got.
            streamed: _,
            oom_events,
            placed: _,
            // Nobody looks at them.
            metrics: _,
            // Of the scenario.
            plans: _,
            ids,
            next_pid,
            next_id,
        } = self;
        (boot, crashes, now, wall_clock, metadata, tasks, shims, pods).hash(state);
        (runtime, mounts, bundles, processes, nri, events, event_queues).hash(state);
        (oom_events, ids, next_pid, next_id).hash(state);
        fs.hash_state(state);
    }

    /// What a loss of power would leave, which names come next, and what streams have brought.
    pub(crate) fn hash_disk(&self, state: &mut impl Hasher) {
        self.fs.hash_disk(state);
        let streams = self.streamed.iter().map(|stream| {
            let mut of_stream = FxHasher::default();
            stream.hash(&mut of_stream);
            of_stream.finish()
        });
        unordered(streams).hash(state);
    }
}
