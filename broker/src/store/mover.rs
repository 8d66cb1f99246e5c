//! Moves entries together, so that the memory of those that were let go comes back.
//!
//! What was let go stood below what is left, and glibc gives back only what lies above all that is
//! in use in a heap. So what is left is allocated once more, low in a heap. glibc offers places in
//! no order: one that is too high is held until all is done, and another one is asked for. Other C
//! libraries have other heaps; then entries move in vain, and stay what they are.

/// A heap of glibc begins at a multiple of this.
const HEAP_SIZE: usize = 64 << 20;

/// glibc maps what is so large, in bytes, on its own: it pins nothing, and need not move.
const MAPPED_SIZE: usize = 1 << 20;

/// About how much is moved at once, in bytes: for so long nobody can read or publish.
const PIECE_SIZE: usize = 128 << 10;

/// How many pieces are moved before the memory is freed that they stood in: 16 MiB.
const PIECES_MAX: usize = 64;

/// How many places are tried for one entry.
const TRIES_MAX: usize = 64;

/// How far above what is in use a place in a heap may be, in bytes.
const HIGH_MIN: u64 = 2 << 20;

/// A turn in which entries move.
pub(crate) struct Mover {
    /// Where in a heap places begin that are too high.
    high: usize,
    /// Bytes that may be held: there is not more that is free.
    room: usize,
    /// The heap that entries move to.
    heap: Option<usize>,
    /// Places that are too high.
    held: Vec<String>,
    /// Where entries stood. None is to move to where one of these was.
    before: Vec<String>,
    pieces: usize,
    /// Bytes of the present piece so far.
    size: usize,
}

impl Mover {
    /// A turn while so many bytes are in use, and so many more are free.
    pub(crate) fn new(used: u64, free: u64) -> Mover {
        let as_size = |size| usize::try_from(size).unwrap_or(usize::MAX);
        let (high, room) = (as_size(used + used / 8 + HIGH_MIN), as_size(free));
        let (heap, held, before, pieces, size) = Default::default();
        Mover { high, room, heap, held, before, pieces, size }
    }

    /// Begins the next piece, while no lock is held.
    pub(crate) fn begin_piece(&mut self) {
        self.size = 0;
        self.pieces += 1;
        if self.pieces.is_multiple_of(PIECES_MAX) {
            self.before.clear();
        }
    }

    /// Moves an entry. Says whether there is time for another one in this piece.
    pub(crate) fn move_entry(&mut self, entry: &mut String) -> bool {
        if entry.len() >= MAPPED_SIZE {
            return true;
        }
        if let Some(moved) = self.place(entry.as_ptr().addr(), || entry.clone()) {
            self.before.push(std::mem::replace(entry, moved));
        }
        self.size < PIECE_SIZE
    }

    /// Moves the memory of a list.
    pub(crate) fn move_list<T>(&mut self, list: &mut Vec<T>) {
        let size = list.capacity() * size_of::<T>();
        if size >= MAPPED_SIZE {
            return;
        }
        // What was free a moment ago is most likely given once more.
        if self.place(list.as_ptr().addr(), || String::with_capacity(size)).is_some() {
            let moved = Vec::with_capacity(list.capacity());
            let items = std::mem::replace(list, moved);
            list.extend(items);
        }
    }

    /// Allocates until the place is better than this one: low in a heap, or at least lower in the
    /// same. Nothing where that is not found soon.
    fn place(&mut self, before: usize, allocate: impl Fn() -> String) -> Option<String> {
        for _ in 0..TRIES_MAX {
            let place = allocate();
            let (address, size) = (place.as_ptr().addr(), place.capacity());
            self.size += size.max(PIECE_SIZE / 1024);
            let is_lower = address < before && address / HEAP_SIZE == before / HEAP_SIZE;
            let heap = *self.heap.get_or_insert(address / HEAP_SIZE);
            if heap != address / HEAP_SIZE && self.high < HEAP_SIZE {
                // Nothing is free in the first one any more. A heap is given back only when no
                // later one is in use.
                self.room = 0;
                return None;
            }
            if is_lower || address % HEAP_SIZE < self.high {
                return Some(place);
            }
            self.room = self.room.checked_sub(size)?;
            self.held.push(place);
        }
        None
    }
}
