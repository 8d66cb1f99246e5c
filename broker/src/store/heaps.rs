//! The heaps of the C library, and how much of each is in use.
//!
//! glibc has one heap that the program begins with, and maps others for its threads. It gives back
//! only what lies above all that is in use in a heap. Where the system does not show its mappings,
//! or the C library has none of these, there are no heaps.

use std::collections::BTreeMap;
use std::fs;

/// A heap of a thread begins at a multiple of this, and has at most so many bytes.
const HEAP_SIZE: usize = 64 << 20;

/// The heaps by their first address.
#[derive(Debug, Default)]
pub(super) struct Heaps(pub(super) BTreeMap<usize, Heap>);

/// Bytes of a heap.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heap {
    size: usize,
    used: usize,
}

impl Heaps {
    /// The heaps of this process, as if all of them were empty.
    pub(super) fn read() -> Heaps {
        Heaps::of(&fs::read_to_string("/proc/self/maps").unwrap_or_default())
    }

    /// The heaps among mappings, one a line: `7f3c04000000-7f3c04521000 rw-p 00000000 00:00 0`.
    pub(super) fn of(maps: &str) -> Heaps {
        let mut heaps = BTreeMap::new();
        let heap = |begin, end| (begin, Heap { size: end - begin, used: 0 });
        for line in maps.lines() {
            let mut words = line.split_ascii_whitespace();
            let range = words.next().and_then(|range| range.split_once('-'));
            let address = |digits| usize::from_str_radix(digits, 16).unwrap_or_default();
            let (begin, end) = range.map_or((0, 0), |(begin, end)| (address(begin), address(end)));
            match (words.next(), words.nth(3)) {
                (Some("rw-p"), Some("[heap]")) => heaps.extend([heap(begin, end)]),
                // What lies beside one another is one mapping.
                (Some("rw-p"), None) if begin.is_multiple_of(HEAP_SIZE) => {
                    let begins = (begin..end).step_by(HEAP_SIZE);
                    heaps.extend(begins.map(|begin| heap(begin, end.min(begin + HEAP_SIZE))));
                }
                _ => {}
            }
        }
        Heaps(heaps)
    }

    /// Counts something that is in use at an address.
    pub(super) fn count(&mut self, address: usize, size: usize) {
        let heap = self.begin(address).and_then(|begin| self.0.get_mut(&begin));
        heap.into_iter().for_each(|heap| heap.used += size);
    }

    /// Where the heap begins that an address is in.
    pub(super) fn begin(&self, address: usize) -> Option<usize> {
        let (begin, heap) = self.0.range(..=address).next_back()?;
        (address < begin + heap.size).then_some(*begin)
    }

    /// Forgets those of which three quarters are in use.
    pub(super) fn retain_sparse(&mut self) {
        self.0.retain(|_, heap| heap.used < heap.size / 4 * 3);
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
        let mut heaps = Heaps::of(maps);
        let begins: Vec<usize> = heaps.0.keys().copied().collect();
        assert_eq!(
            begins,
            [0x55d7_b86e_6000, 0x7f3c_0400_0000, 0x7f3c_0800_0000, 0x7f3c_0c00_0000]
        );
        assert_eq!(heaps.begin(0x7f3c_0400_1234), Some(0x7f3c_0400_0000));
        assert_eq!(heaps.begin(0x7f3c_0452_1000), None);
        heaps.count(0x7f3c_0400_1234, 4_100_000);
        heaps.count(0x7f3c_0bff_ffff, 60_000_000);
        heaps.retain_sparse();
        let begins: Vec<usize> = heaps.0.keys().copied().collect();
        assert_eq!(begins, [0x55d7_b86e_6000, 0x7f3c_0c00_0000]);
        assert!(!Heaps::read().0.is_empty());
    }
}
