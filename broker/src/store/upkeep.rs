//! The upkeep of topics: messages that are too old are let go, and memory comes back.

use crate::store::{Mover, TopicState, Topics, memory};
use common::clock;
use std::thread;
use std::time::{Duration, Instant};

/// How often messages are let go that have grown too old.
const AGE_TIME: Duration = Duration::from_millis(500);

/// How much memory is given back, in bytes, before it is worth a look whether it came back.
const RETURNED_MIN: u64 = 1 << 20;

/// How much more than a fifth the process may have than what is on its account, in bytes.
const MORE_MAX: u64 = 8 << 20;

/// How often entries are moved after that: while they move, more is let go.
const PASSES_MAX: u32 = 4;

impl Topics {
    /// Lets go of messages that have grown too old, and sees to it that memory comes back, for as
    /// long as the process lives.
    pub(crate) fn keep_ages(&self) -> ! {
        let (mut returned, mut passes, mut before) = (0, 0, 0);
        loop {
            thread::sleep(AGE_TIME);
            self.let_old_go(clock::unix_milliseconds());
            let memory = self.account().1;
            // While much comes and goes, what comes takes the place of what went.
            let is_calm = memory.returned - before < RETURNED_MIN.max(memory.used / 16);
            before = memory.returned;
            if memory.returned - returned > memory.used.max(RETURNED_MIN) {
                (returned, passes) = (memory.returned, PASSES_MAX);
            }
            let wanted = memory.used + memory.used / 5 + MORE_MAX;
            let resident = memory::resident().filter(|resident| *resident > wanted);
            if let Some(resident) = resident.filter(|_| passes > 0 && is_calm) {
                passes -= 1;
                self.move_entries(Mover::new(memory.used, resident - memory.used));
            }
        }
    }

    /// Moves all entries together.
    fn move_entries(&self, mut mover: Mover) {
        for (topic, _) in self.names(false).into_iter().chain(self.names(true)) {
            let mut from = Some(0);
            while let Some(place) = from {
                let begun = Instant::now();
                mover.begin_piece();
                let moved = |state: &mut TopicState, list: &mut Vec<String>| {
                    state.move_entries(list, place, &mut mover)
                };
                from = self.tidy(&topic, moved).flatten();
                thread::sleep(begun.elapsed());
            }
        }
    }

    fn let_old_go(&self, now: u64) {
        let beyond: Vec<String> = self.know(|known| {
            let is_beyond =
                |state: &TopicState| state.is_beyond(&state.limits(&known.limits), Some(now));
            let beyond = known.topics.iter().filter(|(_, state)| is_beyond(state));
            beyond.map(|(topic, _)| topic.clone()).collect()
        });
        self.keep_all_bounds(&beyond);
    }
}
