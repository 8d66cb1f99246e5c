//! The heaps of the C library, and how much of each is in use.
//!
//! glibc has one heap that the program begins with, and maps others for its threads: one after
//! another for each arena. It gives back only what lies above all that is in use in an arena. Where
//! the system does not show its mappings, or the C library has none of these, there are no heaps.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// A heap of a thread begins at a multiple of this, and has at most so many bytes.
const HEAP_SIZE: usize = 64 << 20;

/// The heaps, and their arenas: each is known by where its first heap begins.
#[derive(Debug, Default)]
pub(super) struct Heaps {
    /// Where each heap ends, and its arena, by its first address.
    heaps: BTreeMap<usize, (usize, usize)>,
    /// Bytes of all heaps of each arena, and how many of them are in use.
    arenas: HashMap<usize, (usize, usize)>,
}

impl Heaps {
    /// The heaps of this process, as if all of them were empty.
    pub(super) fn read() -> Heaps {
        let memory = File::open("/proc/self/mem");
        let word = |address: usize| {
            let mut word = [0; size_of::<usize>()];
            memory.as_ref().ok()?.read_exact_at(&mut word, address as u64).ok()?;
            Some(usize::from_ne_bytes(word))
        };
        Heaps::of(&fs::read_to_string("/proc/self/maps").unwrap_or_default(), word)
    }

    /// The heaps among mappings, one a line: `7f3c04000000-7f3c04521000 rw-p 00000000 00:00 0`.
    /// `word` reads memory.
    pub(super) fn of(maps: &str, word: impl Fn(usize) -> Option<usize>) -> Heaps {
        let Heaps { mut heaps, mut arenas } = Heaps::default();
        let mut add = |begin: usize, end: usize| {
            // First a heap says where its arena is described, which is in the first one.
            let arena = word(begin).map_or(begin, |at| at / HEAP_SIZE * HEAP_SIZE);
            heaps.insert(begin, (end, arena));
            arenas.entry(arena).or_insert((0, 0)).0 += end - begin;
        };
        for line in maps.lines() {
            let mut words = line.split_ascii_whitespace();
            let range = words.next().and_then(|range| range.split_once('-'));
            let address = |digits| usize::from_str_radix(digits, 16).unwrap_or_default();
            let (begin, end) = range.map_or((0, 0), |(begin, end)| (address(begin), address(end)));
            match (words.next(), words.nth(3)) {
                (Some("rw-p"), Some("[heap]")) => add(begin, end),
                // What lies beside one another is one mapping.
                (Some("rw-p"), None) if begin.is_multiple_of(HEAP_SIZE) => {
                    let begins = (begin..end).step_by(HEAP_SIZE);
                    begins.for_each(|begin| add(begin, end.min(begin + HEAP_SIZE)));
                }
                _ => {}
            }
        }
        Heaps { heaps, arenas }
    }

    /// Counts something that is in use at an address.
    pub(super) fn count(&mut self, address: usize, size: usize) {
        let arena = self.find(address).and_then(|(arena, _)| self.arenas.get_mut(&arena));
        arena.into_iter().for_each(|(_, used)| *used += size);
    }

    /// The arena that an address is in, and the place there: in the first heap, or behind it.
    pub(super) fn find(&self, address: usize) -> Option<(usize, usize)> {
        let (_, (end, arena)) = self.heaps.range(..=address).next_back()?;
        (address < *end).then_some((*arena, address.wrapping_sub(*arena).min(HEAP_SIZE)))
    }

    /// Forgets arenas of which three quarters are in use, but for this one.
    pub(super) fn retain_sparse(&mut self, own: usize) {
        self.arenas.retain(|arena, (size, used)| *arena == own || *used < *size / 4 * 3);
        self.heaps.retain(|_, (_, arena)| self.arenas.contains_key(arena));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heaps_are_found_among_all_mappings() {
        let maps = "\
            55d7b86e6000-55d7bb8c6000 rw-p 00000000 00:00 0                          [heap]\n\
            7f3c04000000-7f3c04521000 rw-p 00000000 00:00 0 \n\
            7f3c04521000-7f3c08000000 ---p 00000000 00:00 0 \n\
            7f3c08000000-7f3c0c100000 rw-p 00000000 00:00 0 \n\
            7f3c10000000-7f3c10001000 r-xp 00000000 fe:00 7 /usr/lib/libc.so.6\n\
            7f3c12345000-7f3c12355000 rw-p 00000000 00:00 0 \n";
        // The third heap is of the arena of the second.
        let word = |at| (at == 0x7f3c_0800_0000).then_some(0x7f3c_0400_0030);
        let mut heaps = Heaps::of(maps, word);
        let begins: Vec<usize> = heaps.heaps.keys().copied().collect();
        let expected = [0x55d7_b86e_6000, 0x7f3c_0400_0000, 0x7f3c_0800_0000, 0x7f3c_0c00_0000];
        assert_eq!(begins, expected);
        assert_eq!(heaps.find(0x7f3c_0400_1234), Some((0x7f3c_0400_0000, 0x1234)));
        assert_eq!(heaps.find(0x7f3c_0800_1234), Some((0x7f3c_0400_0000, HEAP_SIZE)));
        assert_eq!(heaps.find(0x7f3c_0452_1000), None);
        // All of the second heap, and not enough of its arena.
        heaps.count(0x7f3c_0400_1234, 5_378_048);
        heaps.count(0x7f3c_0c00_1234, 1_000_000);
        heaps.retain_sparse(0x55d7_b86e_6000);
        let begins: Vec<usize> = heaps.heaps.keys().copied().collect();
        assert_eq!(begins, expected[..3]);
        assert!(!Heaps::read().heaps.is_empty());
    }
}
