//! The memory that messages really take, and its limit.

use crate::control_group;
use crate::refusal::{Refusal, Result};
use std::{fs, hint, mem};

/// Bytes that a list keeps for each entry beside the text: the `String` itself, and its share of
/// the room to grow (see [`reserve`]).
const SLOT_SIZE: u64 = (size_of::<String>() + size_of::<String>() / 8) as u64;

/// Bytes that a topic costs beside its entries: its name three times, its state, its entries in two
/// maps and a set.
const TOPIC_SIZE: u64 = 512;

/// Bytes that a numbered publisher costs in a topic.
const PUBLISHER_SIZE: u64 = 192;

/// Bytes that a lasting subscription costs, also in what is known of the journal: as measured with
/// 50,000 names of one topic (480), and with as many topics of ten names (1,050).
const SUBSCRIPTION_SIZE: u64 = 640;

/// What glibc adds to the heap of a thread at once for entries. By itself it adds single pages: a
/// system call for 25 messages of 100 bytes. A larger piece that is given back at once leaves its
/// room to those that follow. Measured: a sixth of the system calls where messages come in bulk,
/// and 26 % less processor time where they have 1,000 bytes.
const ROOM_SIZE: usize = 64 << 10;

/// Bytes that are left of [`ROOM_SIZE`].
#[derive(Debug, Default)]
pub(super) struct Room(usize);

impl Room {
    /// Sees to it that there is room for an entry.
    pub(super) fn take(&mut self, size: usize) {
        if self.0 < size {
            drop(hint::black_box(Vec::<u8>::with_capacity(ROOM_SIZE)));
            self.0 = ROOM_SIZE;
        }
        self.0 = self.0.saturating_sub(size);
    }
}

/// Puts a list in other memory of the same size: in the heap of this thread.
pub(super) fn reallocate<T>(list: &mut Vec<T>) {
    let moved = Vec::with_capacity(list.capacity());
    let items = mem::replace(list, moved);
    list.extend(items);
}

/// The account of a broker's memory for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Bytes in use.
    pub(crate) used: u64,
    /// Bytes that may be in use.
    pub(crate) max: u64,
    /// The least that was refused since there was room for it.
    refused: Option<u64>,
    /// Bytes that were given back so far.
    pub(crate) returned: u64,
}

impl Memory {
    /// An empty account of `max` bytes.
    pub(crate) fn new(max: u64) -> Memory {
        Memory { used: 0, max, refused: None, returned: 0 }
    }

    /// Whether there is room for `more` bytes.
    ///
    /// # Errors
    ///
    /// [`Refusal::Full`] where there is not.
    pub(crate) fn check(&mut self, more: u64) -> Result<()> {
        if self.has_room(more) {
            return Ok(());
        }
        // What can never fit says nothing of other publishes.
        self.refused =
            [self.refused, Some(more)].into_iter().flatten().filter(|it| *it <= self.max).min();
        Err(Refusal::Full { bytes_max: self.max })
    }

    /// The same for somebody who has other means where there is not.
    pub(crate) fn has_room(&self, more: u64) -> bool {
        self.used.checked_add(more).is_some_and(|used| used <= self.max)
    }

    /// Whether there is no room for something that was refused.
    pub(crate) fn is_full(&mut self) -> bool {
        self.refused = self.refused.filter(|least| !self.has_room(*least));
        self.refused.is_some()
    }

    /// Gives bytes back that were taken.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
        self.returned += bytes;
    }
}

/// Bytes that an entry costs in its list.
pub(crate) fn entry_size(entry: &str) -> u64 {
    allocation_size(entry.len()) + SLOT_SIZE
}

/// Bytes that a topic costs while it is empty.
pub(crate) fn topic_size(name: &str) -> u64 {
    3 * allocation_size(name.len()) + TOPIC_SIZE
}

/// Bytes that a numbered publisher costs in a topic, beside its runs.
pub(crate) fn publisher_size(name: &str) -> u64 {
    allocation_size(name.len()) + PUBLISHER_SIZE
}

/// Bytes that a lasting subscription costs.
pub(crate) fn subscription_size(name: &str, topic: &str) -> u64 {
    allocation_size(name.len()) + 2 * allocation_size(topic.len()) + SUBSCRIPTION_SIZE
}

/// What the allocator hands out for `size` bytes: a header more, in steps of 16, at least 32.
fn allocation_size(size: usize) -> u64 {
    ((size as u64 + 8).next_multiple_of(16)).max(32)
}

/// Makes room for `more` entries at the end of `list`. A long list grows by an eighth, not to
/// twice its size: half of a large store would be empty slots otherwise.
pub(crate) fn reserve(list: &mut Vec<String>, more: usize) {
    if list.capacity() - list.len() < more {
        list.reserve_exact(more.max(list.len() / 8).max(4));
    }
}

/// The limit where no flag names one: half of what there is.
pub(crate) fn default_max() -> u64 {
    // Where it cannot be read, the smallest machine that people still use for this.
    free().unwrap_or(1 << 30) / 2
}

/// The smallest of the machine's free memory, what the process's control groups may use, and what
/// the process may map beside its program, its stacks, and the 64 MiB of addresses that the
/// allocator reserves for a second thread.
pub(crate) fn free() -> Option<u64> {
    let free = read("/proc/meminfo", "MemAvailable:");
    let group = control_group::least("memory", "memory.max", "memory.limit_in_bytes");
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max address space"));
    let limit = limit.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let limit = limit.map(|limit| limit.saturating_sub(128 << 20));
    free.into_iter().chain(group).chain(limit).min()
}

/// Bytes of memory that the process has; `None` where nothing says so.
pub(crate) fn resident() -> Option<u64> {
    read("/proc/self/status", "VmRSS:")
}

fn read(path: &str, name: &str) -> Option<u64> {
    bytes(&fs::read_to_string(path).ok()?, name)
}

/// Reads a line such as `MemAvailable:   12345 kB`.
fn bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_100_bytes_costs_at_most_170() {
        let entry = crate::store::entry::compose(
            &"x".repeat(100),
            &crate::store::entry::stamp(1 << 40, None),
        );
        assert_eq!(entry_size(&entry), 128 + 27);
    }

    #[test]
    fn free_memory_is_read_as_the_kernel_writes_it() {
        let meminfo = "MemTotal:  24 kB\nMemAvailable:    2048 kB\nBuffers: 1 kB\n";
        assert_eq!(bytes(meminfo, "MemAvailable:"), Some(2048 * 1024));
        assert_eq!(bytes("nothing", "MemAvailable:"), None);
        assert!(resident() > Some(100_000));
    }

    #[test]
    fn a_list_grows_without_leaving_half_of_it_empty() {
        let mut list = vec![String::new(); 80_000];
        list.shrink_to_fit();
        reserve(&mut list, 1);
        assert_eq!(list.capacity(), 90_000);
        reserve(&mut list, 10_000);
        assert_eq!(list.capacity(), 90_000);
    }
}
