//! What mirrors do not hold: pieces of topics, fetched from their homes for whoever reads there.
//!
//! A mirror is the newest part of its home's list, as much as there is memory for. What lies before
//! that is fetched when somebody reads it, once for all who stand at the same place, and kept for a
//! while: readers from the beginning follow one another.
//!
//! # Guarantee
//!
//! Nothing is fetched while a lock is held. So many pieces are fetched at once, and so much memory
//! is kept for them, at most.
//!
//! # Not here
//!
//! How a home is asked (`home/`).

use crate::refusal::{Refusal, Result};
use crate::store::{Begin, Cursor, Extract, Place, StreamId, memory};
use common::limits::PIECE_SIZE;
use common::lock::Mutex;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Condvar, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How many pieces are fetched at once.
const FETCHES_MAX: usize = 8;

/// How long a piece is waited for that others fetch.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// How much memory pieces that were fetched may take, and which share of that for messages.
const KEPT_SIZE_MAX: u64 = 16 << 20;
const KEPT_SHARE: u64 = 8;

/// How many of them are kept at least, about.
const KEPT_COUNT: u64 = 16;

/// Whoever can be asked for what is not here.
pub(crate) trait Source: Send + Sync {
    /// Whether the home of a topic is in reach, as far as is known.
    ///
    /// # Errors
    ///
    /// Why it is not.
    fn reach(&self, topic: &str) -> Result<()>;

    /// What is wanted of a topic.
    ///
    /// # Errors
    ///
    /// [`Refusal::Trimmed`], [`Refusal::OtherStream`], [`Refusal::PastEnd`], or why the home
    /// cannot be asked.
    fn read(&self, wanted: Wanted<'_>) -> Result<Piece>;
}

/// What is to be read of a topic's list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) topic: &'a str,
    /// The list; [`StreamId::NONE`] where any will do.
    pub(crate) stream: StreamId,
    pub(crate) begin: Begin,
    /// About so many bytes of entries: at least one, unless that is the end. With 0 the digest
    /// there is wanted, and no entries.
    pub(crate) size_max: usize,
}

/// Entries of a topic that follow one another.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Where the first one stands.
    pub(crate) first: u64,
    pub(crate) entries: Vec<String>,
    /// The digest of the messages before, where it was asked for and is known.
    pub(crate) digest: Option<u32>,
}

impl Piece {
    /// No entries.
    pub(crate) fn empty(first: u64) -> Piece {
        Piece { first, entries: Vec::new(), digest: None }
    }

    /// Copies entries from a place on: as [`Push::copy`].
    pub(super) fn copy(&self, from: Place, extract: Extract, out: &mut Vec<u8>) -> Place {
        extract.copy(self.from(from.cursor.next).unwrap_or_default(), from, out)
    }

    /// Whether the message at an offset is in it.
    pub(super) fn has(&self, offset: u64) -> bool {
        self.from(offset).is_some()
    }

    /// The entries from an offset on, if that one is among them.
    fn from(&self, offset: u64) -> Option<&[String]> {
        let skip = usize::try_from(offset.checked_sub(self.first)?).ok()?;
        self.entries.get(skip..).filter(|entries| !entries.is_empty())
    }
}

/// Pieces that were fetched or are being fetched.
pub(crate) struct Pieces {
    /// Nothing where this broker is the home of all topics.
    source: OnceLock<Box<dyn Source>>,
    state: Mutex<State>,
    /// Told when a piece was fetched, or could not be.
    changed: Condvar,
    /// How much memory they may take.
    size_max: u64,
}

/// Held to look or to note, never across I/O.
#[derive(Default)]
struct State {
    /// The one that was used last comes last. A stream's id is no other topic's.
    kept: VecDeque<Kept>,
    /// Memory that they take.
    size: u64,
    /// Where somebody fetches from.
    fetching: Vec<Cursor>,
    /// Topics of which a piece could not be had that somebody waits for.
    failed: HashSet<Arc<str>>,
}

struct Kept {
    stream: StreamId,
    piece: Arc<Piece>,
    size: u64,
}

impl Pieces {
    /// None yet, on a broker with so much memory for messages.
    pub(super) fn new(memory_max: u64) -> Pieces {
        Pieces {
            source: OnceLock::new(),
            state: Mutex::default(),
            changed: Condvar::new(),
            size_max: KEPT_SIZE_MAX.min(memory_max / KEPT_SHARE),
        }
    }

    /// Says who can be asked for what is not here.
    pub(crate) fn set_source(&self, source: Box<dyn Source>) {
        // There is one home, or one index, in the life of a broker.
        let _ = self.source.set(source);
    }

    /// Who can be asked.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotHere`] where nobody can.
    pub(super) fn source(&self) -> Result<&dyn Source> {
        self.source.get().map(|source| &**source).ok_or(Refusal::NotHere)
    }

    /// A piece with the message at a cursor, if one is kept.
    pub(super) fn find(&self, cursor: Cursor) -> Option<Arc<Piece>> {
        self.state.lock().find(cursor)
    }

    /// A piece with the message at a cursor, fetched if need be.
    ///
    /// # Errors
    ///
    /// As [`Source::read`].
    pub(super) fn fetch(&self, topic: &str, cursor: Cursor) -> Result<Arc<Piece>> {
        let deadline = Instant::now() + WAIT_MAX;
        let mut state = self.state.lock();
        loop {
            if let Some(piece) = state.find(cursor) {
                return Ok(piece);
            }
            if state.fetching.len() < FETCHES_MAX && !state.fetching.contains(&cursor) {
                break;
            }
            let time = deadline.saturating_duration_since(Instant::now());
            if time.is_zero() {
                return Err(Refusal::NotHere);
            }
            let waited = self.changed.wait_timeout(state, time);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.fetching.push(cursor);
        drop(state);
        let (stream, begin) = (cursor.stream, Begin::Offset(cursor.next));
        let wanted = Wanted { topic, stream, begin, size_max: self.piece_size() };
        let read = self.source().and_then(|source| source.read(wanted));
        let mut state = self.state.lock();
        state.fetching.retain(|fetching| *fetching != cursor);
        self.changed.notify_all();
        // An answer that does not help would be asked for again and again.
        let helps = |read: &Piece| read.has(cursor.next);
        let piece = Arc::new(Some(read?).filter(helps).ok_or(Refusal::OtherStream)?);
        state.keep(cursor.stream, &piece, self.size_max);
        Ok(piece)
    }

    /// How large a piece is, in bytes of text: some are kept however little memory there is.
    fn piece_size(&self) -> usize {
        usize::try_from(self.size_max / KEPT_COUNT)
            .unwrap_or(usize::MAX)
            .clamp(1 << 12, PIECE_SIZE / 2)
    }

    /// Notes that somebody waits for a piece of a topic that could not be had.
    pub(super) fn note_failed(&self, topic: Arc<str>) {
        self.state.lock().failed.insert(topic);
    }

    /// The topics that somebody waits for because a piece could not be had: it is time to try
    /// again.
    pub(crate) fn take_failed(&self) -> HashSet<Arc<str>> {
        std::mem::take(&mut self.state.lock().failed)
    }
}

impl State {
    fn find(&mut self, cursor: Cursor) -> Option<Arc<Piece>> {
        let has = |kept: &Kept| kept.stream == cursor.stream && kept.piece.has(cursor.next);
        let index = self.kept.iter().position(has)?;
        let found = self.kept.remove(index)?;
        let piece = Arc::clone(&found.piece);
        self.kept.push_back(found);
        Some(piece)
    }

    /// Keeps a piece, and no more of the others than there may be.
    fn keep(&mut self, stream: StreamId, piece: &Arc<Piece>, size_max: u64) {
        let size = piece.entries.iter().map(|entry| memory::entry_size(entry)).sum();
        self.kept.push_back(Kept { stream, piece: Arc::clone(piece), size });
        self.size += size;
        while self.size > size_max
            && let Some(oldest) = self.kept.pop_front()
        {
            self.size -= oldest.size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::entry;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier};
    use std::thread;

    /// A home of endless lists of messages that are their offsets, ten to a piece.
    #[derive(Default)]
    struct Endless {
        reads: Arc<AtomicUsize>,
        /// Whether it can be asked.
        is_away: bool,
    }

    impl Source for Endless {
        fn reach(&self, _: &str) -> Result<()> {
            Ok(())
        }

        fn read(&self, Wanted { begin, .. }: Wanted<'_>) -> Result<Piece> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            // So that others come meanwhile.
            thread::sleep(Duration::from_millis(50));
            let Begin::Offset(first) = begin else { return Err(Refusal::NotHere) };
            let entry = |offset: u64| entry::compose(&offset.to_string(), &entry::stamp(7, None));
            match self.is_away {
                true => Err(Refusal::OtherStream),
                false => {
                    let entries = (first..first + 10).map(entry).collect();
                    Ok(Piece { entries, ..Piece::empty(first) })
                }
            }
        }
    }

    /// Pieces of such a home, with so much room, and how often it was asked.
    fn pieces(memory_max: u64, is_away: bool) -> (Pieces, Arc<AtomicUsize>) {
        let (pieces, reads) = (Pieces::new(memory_max), Arc::<AtomicUsize>::default());
        pieces.set_source(Box::new(Endless { reads: Arc::clone(&reads), is_away }));
        (pieces, reads)
    }

    fn fetch(pieces: &Pieces, stream: StreamId, next: u64) -> Result<String> {
        let cursor = Cursor { stream, next };
        let piece = pieces.fetch("t", cursor)?;
        let mut out = Vec::new();
        piece.copy(Place::before(cursor), Extract::messages(next + 1, 100), &mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_piece_is_fetched_once_for_all_who_stand_at_its_beginning_or_in_it() {
        let (pieces, reads) = pieces(1 << 20, false);
        let (stream, barrier) = (StreamId::random(), Barrier::new(20));
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    barrier.wait();
                    assert_eq!(fetch(&pieces, stream, 0).unwrap(), "0\n");
                });
            }
        });
        assert_eq!(fetch(&pieces, stream, 9).unwrap(), "9\n");
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        assert_eq!(fetch(&pieces, stream, 10).unwrap(), "10\n");
        assert_eq!(fetch(&pieces, StreamId::random(), 0).unwrap(), "0\n", "of another list");
        assert_eq!(reads.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for_and_what_was_used_last_stays() {
        // Room for three pieces.
        let (pieces, reads) = pieces(3 * 10 * KEPT_SHARE * memory::entry_size("100\n7"), false);
        let stream = StreamId::random();
        for (next, count) in [(0, 1), (10, 2), (20, 3), (5, 3), (30, 4), (0, 4), (10, 5)] {
            fetch(&pieces, stream, next).unwrap();
            assert_eq!(reads.load(Ordering::Relaxed), count, "{next}");
        }
    }

    #[test]
    fn whoever_waits_for_a_piece_that_cannot_be_had_is_told() {
        let (pieces, _) = pieces(1 << 20, true);
        let stream = StreamId::random();
        thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| assert!(fetch(&pieces, stream, 3).is_err()));
            }
        });
        pieces.note_failed("t".into());
        assert_eq!(pieces.take_failed().len(), 1);
        assert!(pieces.take_failed().is_empty());
    }
}
