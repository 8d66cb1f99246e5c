//! The upkeep of topics: messages that are too old are let go, and memory comes back.
//!
//! One thread restores the topics at a start, and looks after them from then on. What it allocates
//! stands in a heap that it has to itself for the most part: the messages that were restored, and
//! those that were moved. What lives longer and came to stand among messages, in the heaps of
//! those who publish, is allocated once more as well: names, tables, and what is known of the
//! journal.

use crate::store::journal::{Frame, Record};
use crate::store::{Admission, Memory, Mover, Replayed, TopicState, Topics, memory};
use common::clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::time::{Duration, Instant};
use std::{io, mem, thread};

/// Bytes of records that are handed on at once, and how many times as much may wait to be applied.
const HANDED_SIZE: usize = 32 << 10;
const HANDED_MAX: usize = 8;

/// How often messages are let go that have grown too old, and how seldom at most.
const AGE_TIME: Duration = Duration::from_millis(200);
const AGE_TIME_MAX: Duration = Duration::from_secs(2);

/// For that all topics are looked at, and what is published meanwhile waits: it is done in less
/// than one part of so many of the time.
const AGE_REST: u32 = 100;

/// Bytes of messages that are let go before it is worth a look whether their memory came back.
const RETURNED_MIN: u64 = 1 << 20;

/// Bytes that the process may have beside what is on its account and a fifth of that.
const MORE_MAX: u64 = 8 << 20;

/// How often entries are moved after that: while they move, more is let go.
const PASSES_MAX: u32 = 10;

/// How much of the account beside entries may be put in other memory at once, in bytes: for some
/// milliseconds nobody can read or publish.
const REALLOCATED_MAX: u64 = 8 << 20;

/// The thread, before it has topics to look after.
pub(crate) struct Upkeep(Sender<Keep>);

/// What the thread does in the end, for as long as the process lives. It is given the first thing
/// that the thread allocated.
type Keep = Box<dyn FnOnce(&u8) + Send>;

/// Records on their way to the thread, which makes topics of them.
pub(crate) struct Restoring {
    /// Records that are not handed on yet.
    frame: Frame,
    records: SyncSender<Frame>,
    restored: Receiver<Replayed>,
    /// Bytes of memory that what was restored so far takes.
    used: Arc<AtomicU64>,
}

impl Upkeep {
    /// Starts the thread, which then restores.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(crate) fn begin(memory: Memory) -> io::Result<(Upkeep, Restoring)> {
        let (records, frames) = mpsc::sync_channel::<Frame>(HANDED_MAX);
        let (done, restored) = mpsc::channel();
        let (upkeep, keep) = mpsc::channel::<Keep>();
        let used = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&used);
        thread::Builder::new().spawn(move || {
            let anchor = Box::new(0);
            let mut replayed = Replayed::new(memory);
            for frame in frames {
                frame.whole_records().for_each(|record| replayed.apply(record));
                counted.store(replayed.admission.memory.used, Ordering::Relaxed);
            }
            let _ = done.send(replayed);
            if let Ok(keep) = keep.recv() {
                keep(&anchor);
            }
        })?;
        Ok((Upkeep(upkeep), Restoring { frame: Frame::default(), records, restored, used }))
    }

    /// Has the thread do this from now on. It is given the first thing that the thread allocated.
    pub(crate) fn keep(self, keep: impl FnOnce(&u8) + Send + 'static) {
        let _ = self.0.send(Box::new(keep));
    }
}

impl Restoring {
    /// Has a record applied, if not at once. Gives the bytes of memory that what was restored so
    /// far takes.
    pub(crate) fn add(&mut self, record: &Record<'_>) -> u64 {
        self.frame.add(record);
        // One that is as large as several takes the places of several.
        for _ in 0..(self.frame.size() / HANDED_SIZE).min(HANDED_MAX) {
            let _ = self.records.send(mem::take(&mut self.frame));
        }
        self.used.load(Ordering::Relaxed)
    }

    /// What all of the records have made.
    ///
    /// # Errors
    ///
    /// The thread has ended by a defect.
    pub(crate) fn finish(self) -> io::Result<Replayed> {
        let _ = self.records.send(self.frame);
        drop(self.records);
        self.restored.recv().map(Replayed::reallocated).map_err(io::Error::other)
    }
}

impl Topics {
    /// Lets go of messages that have grown too old, and sees to it that memory comes back, for as
    /// long as the process lives.
    pub(crate) fn look_after(&self, anchor: &u8) -> ! {
        // From so many on, glibc has threads share them: then the copies of names and tables would
        // stand above messages of others.
        let heaps_max = 8 * thread::available_parallelism().map_or(1, usize::from);
        let (mut returned, mut passes, mut before) = (0, 0, 0);
        let mut pause = AGE_TIME;
        loop {
            thread::sleep(pause);
            let begun = Instant::now();
            let beyond = self.beyond(clock::unix_milliseconds());
            pause = (begun.elapsed() * AGE_REST).clamp(AGE_TIME, AGE_TIME_MAX);
            self.keep_all_bounds(&beyond);
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
                if let Some(mut mover) = Mover::new(anchor) {
                    let heaps = mover.heaps();
                    self.visit_entries(&mut mover);
                    mover.begin(memory.used, resident - memory.used);
                    self.visit_entries(&mut mover);
                    if heaps < heaps_max {
                        self.reallocate();
                    }
                }
            }
        }
    }

    /// Shows all entries to a mover, in pieces.
    fn visit_entries(&self, mover: &mut Mover) {
        for (topic, _) in self.names(false).into_iter().chain(self.names(true)) {
            let mut from = Some(0);
            while let Some(place) = from {
                let begun = Instant::now();
                mover.begin_piece();
                let moved = |state: &mut TopicState, list: &mut Vec<String>| {
                    state.visit_entries(list, place, mover)
                };
                from = self.tidy(&topic, moved).flatten();
                thread::sleep(begun.elapsed());
            }
        }
    }

    /// Puts names, tables and what is known of the journal in other memory, if it is not much: one
    /// small piece holds all the memory that is free below it in its heap.
    fn reallocate(&self) {
        let size = self.know(|Admission { topics, memory, .. }| {
            let entries = topics.values().map(|it| it.memory_before(&it.accepted_end));
            memory.used.saturating_sub(entries.sum())
        });
        if size <= REALLOCATED_MAX {
            self.with(|locked| locked.reallocate());
            self.commits.iter().for_each(|commits| commits.reallocate(self));
        }
    }

    /// The topics that have messages which are too old.
    fn beyond(&self, now: u64) -> Vec<String> {
        self.know(|Admission { topics, limits, .. }| {
            let is_beyond = |state: &TopicState| state.is_beyond(&state.limits(limits), Some(now));
            let beyond = topics.iter().filter(|(_, state)| is_beyond(state));
            beyond.map(|(topic, _)| topic.clone()).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StreamId;
    use crate::store::journal::Event;

    #[test]
    fn a_large_record_waits_to_be_applied_alone() {
        let (records, _frames) = mpsc::sync_channel(HANDED_MAX);
        let (_done, restored) = mpsc::channel();
        let (frame, used) = Default::default();
        let mut restoring = Restoring { frame, records, restored, used };
        let lines = &*"text\n".repeat(HANDED_SIZE * HANDED_MAX);
        let event = Event::Append { first: 0, count: 1, time: 1, publisher: None, lines };
        restoring.add(&Record::new("t", StreamId::NONE, event));
        assert!(restoring.records.try_send(Frame::default()).is_err(), "there is room for more");
    }
}
