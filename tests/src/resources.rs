//! What a process uses of the machine, as Linux counts it.

use std::fs;

/// What a process uses at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Memory that it has touched and not given back, in bytes.
    pub memory: u64,
    /// Threads.
    pub threads: usize,
    /// Open files and sockets.
    pub descriptors: usize,
    /// Time on a processor since it began, in hundredths of a second.
    pub processor_time: u64,
}

impl Resources {
    /// What the process `id` uses now.
    ///
    /// # Panics
    ///
    /// When there is no such process, or no `/proc` to ask.
    #[must_use]
    #[track_caller]
    pub fn of(id: u32) -> Resources {
        let read = |file: &str| {
            let path = format!("/proc/{id}/{file}");
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("no {path}: {error}"))
        };
        let status = read("status");
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse::<u64>().ok()).unwrap_or_else(|| panic!("no {name}"))
        };
        let stat = read("stat");
        // Behind the name in brackets, which may hold anything.
        let words = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let times = words.skip(11).take(2).filter_map(|word| word.parse::<u64>().ok());
        Resources {
            memory: number("VmRSS:") * 1024,
            threads: usize::try_from(number("Threads:")).expect("fits in memory"),
            descriptors: fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count),
            processor_time: times.sum(),
        }
    }
}
