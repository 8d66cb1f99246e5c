//! Moves entries together, so that the memory of those that were let go comes back.
//!
//! What was let go stood below what is left, and glibc gives back only what lies above all that is
//! in use in a heap. So what is left in sparse heaps is allocated once more: in the heap of the
//! thread that moves, low if it fits there, else also in others that are full enough. glibc offers
//! places in no order: a bad one is held until all is done, and another one is asked for. Where
//! there are no such heaps, nothing moves.

use crate::store::{Heaps, reallocate};
use std::{mem, ptr};

/// About how much is moved at once, in bytes: for so long nobody can read or publish.
const PIECE_SIZE: usize = 128 << 10;

/// What it counts for, in bytes, to look at an entry, and to try a place.
const LOOK_SIZE: usize = 16;
const TRY_SIZE: usize = 128;

/// How many pieces are moved before the memory is freed that they stood in: 16 MiB.
const PIECES_MAX: usize = 64;

/// How many places are tried for one entry.
const TRIES_MAX: usize = 64;

/// How far above what is in use a place in the own heap may be, in bytes.
const HIGH_MIN: usize = 2 << 20;

/// A turn in which entries are counted, and then move.
pub(crate) struct Mover {
    /// While entries are counted, all heaps; after that the sparse ones, which are to be emptied.
    heaps: Heaps,
    /// Where the heap begins of the thread that moves.
    own: usize,
    /// The address in the own heap from which on places are too high, once entries move.
    high: Option<usize>,
    /// Bytes that may be held: there is not more that is free.
    room: usize,
    /// Places that are no better.
    held: Vec<String>,
    /// Where entries stood. None is to move to where one of these was.
    before: Vec<String>,
    pieces: usize,
    /// Bytes of the present piece so far.
    size: usize,
}

impl Mover {
    /// A turn of the thread that has allocated `anchor`, before anything else of the kind.
    pub(crate) fn new(anchor: &u8) -> Option<Mover> {
        let heaps = Heaps::read();
        let own = heaps.begin(ptr::from_ref(anchor).addr())?;
        Some(Mover::among(heaps, own))
    }

    /// A turn among these heaps.
    fn among(heaps: Heaps, own: usize) -> Mover {
        Mover { heaps, own, high: None, room: 0, held: vec![], before: vec![], pieces: 0, size: 0 }
    }

    /// How many heaps there are.
    pub(crate) fn heaps(&self) -> usize {
        self.heaps.0.len()
    }

    /// Has entries move from now on, while so many bytes are in use, and so many more are free.
    pub(crate) fn begin(&mut self, used: u64, free: u64) {
        let as_size = |size| usize::try_from(size).unwrap_or(usize::MAX);
        self.heaps.retain_sparse();
        self.high = Some(self.own + as_size(used + used / 8) + HIGH_MIN);
        self.room = as_size(free);
    }

    /// Begins the next piece, while no lock is held.
    pub(crate) fn begin_piece(&mut self) {
        self.size = 0;
        self.pieces += 1;
        if self.pieces.is_multiple_of(PIECES_MAX) {
            self.before.clear();
        }
    }

    /// Counts or moves an entry. Says whether there is time for another one in this piece.
    pub(crate) fn visit_entry(&mut self, entry: &mut String) -> bool {
        if self.is_to_move(entry.as_ptr().addr(), entry.capacity())
            && let Some(moved) = self.place(|| entry.clone())
        {
            self.before.push(mem::replace(entry, moved));
        }
        self.size < PIECE_SIZE
    }

    /// Counts or moves the memory of a list.
    pub(crate) fn visit_list<T>(&mut self, list: &mut Vec<T>) {
        let size = list.capacity() * size_of::<T>();
        // What was free a moment ago is most likely given once more.
        if self.is_to_move(list.as_ptr().addr(), size)
            && self.place(|| String::with_capacity(size)).is_some()
        {
            reallocate(list);
        }
    }

    /// Counts what has so many bytes at an address, or says whether it is to move.
    fn is_to_move(&mut self, address: usize, size: usize) -> bool {
        self.size += LOOK_SIZE;
        self.heaps.count(address, size + size_of::<usize>());
        self.high.is_some_and(|high| self.is_bad(address, high))
    }

    /// Whether an address is in a heap that is to be emptied, or too high in the own one.
    fn is_bad(&self, address: usize, high: usize) -> bool {
        self.heaps.begin(address).is_some_and(|heap| heap != self.own || address >= high)
    }

    /// Allocates until the place is good. Nothing where that is not found soon.
    fn place(&mut self, allocate: impl Fn() -> String) -> Option<String> {
        for _ in 0..TRIES_MAX {
            let place = allocate();
            self.size += place.capacity().max(TRY_SIZE);
            if !self.is_bad(place.as_ptr().addr(), self.high?) {
                return Some(place);
            }
            self.room = self.room.checked_sub(place.capacity())?;
            self.held.push(place);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;
    use crate::store::topic_state::tests::list_of;

    #[test]
    fn entries_that_move_are_the_same_as_before() {
        let names: Vec<String> = (0..50_000).map(|number| number.to_string()).collect();
        let (mut state, mut list) = list_of(names.iter().map(|name| (name.as_str(), 1)));
        state.replay_trim(&mut list, 700, None, 0, &mut Memory::new(u64::MAX));
        let expected = list.clone();
        let before: Vec<usize> = list.iter().map(|entry| entry.as_ptr().addr()).collect();
        // All that lies between them is taken for a sparse heap, and it is another thread's.
        let (low, high) = (before.iter().min().unwrap(), before.iter().max().unwrap() + 1);
        let heaps = Heaps::of(&format!("{low:x}-{high:x} rw-p 00000000 00:00 0 [heap]"));
        let mut mover = Mover::among(heaps, 0);
        for _ in 0..2 {
            let mut from = Some(0);
            while let Some(place) = from {
                mover.begin_piece();
                from = state.visit_entries(&mut list, place, &mut mover);
            }
            mover.begin(0, 100_000_000);
        }
        assert_eq!(list, expected);
        assert!(list.iter().map(|entry| entry.as_ptr().addr()).ne(before));
    }
}
