//! Resources of a process and of the kernel, as Linux counts them.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

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
        let folder = PathBuf::from(format!("/proc/{id}"));
        let status = read(&folder.join("status"));
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse::<u64>().ok()).unwrap_or_else(|| panic!("no {name}"))
        };
        Resources {
            memory: number("VmRSS:") * 1024,
            threads: usize::try_from(number("Threads:")).expect("fits in memory"),
            descriptors: fs::read_dir(folder.join("fd")).map_or(0, Iterator::count),
            processor_time: processor_time(&read(&folder.join("stat"))),
        }
    }
}

/// What a process, or one of its threads, has done since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Time on a processor, in hundredths of a second.
    pub processor_time: u64,
    /// Bytes that it read and wrote, through files and sockets.
    pub moved: u64,
    /// Bytes that it gave the system to write to a disk.
    pub written: u64,
}

impl Work {
    /// What was done by the process or thread whose folder in `/proc` this is.
    ///
    /// # Panics
    ///
    /// When it is gone, or there is no `/proc` to ask.
    #[must_use]
    #[track_caller]
    pub fn of(folder: &Path) -> Work {
        let text = read(&folder.join("io"));
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.and_then(|value| value.parse::<u64>().ok()).unwrap_or_else(|| panic!("no {name}"))
        };
        Work {
            processor_time: processor_time(&read(&folder.join("stat"))),
            moved: number("rchar") + number("wchar"),
            written: number("write_bytes"),
        }
    }
}

/// The folder in `/proc` of a thread, by its process and the beginning of its name.
#[must_use]
pub fn thread(process: u32, name: &str) -> Option<PathBuf> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).ok()?.flatten();
    threads.map(|entry| entry.path()).find(|folder| {
        fs::read_to_string(folder.join("comm")).is_ok_and(|its_name| its_name.starts_with(name))
    })
}

#[track_caller]
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("no {}: {error}", path.display()))
}

/// Of the text of `/proc/…/stat`: what follows the name in brackets, which may hold anything.
fn processor_time(stat: &str) -> u64 {
    let words = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    words.skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum()
}

/// How many files this process may have open.
#[must_use]
pub fn open_files_max() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    soft.unwrap_or(1024)
}

/// Lets this process, and those that it starts, have as many files open as it may allow itself.
///
/// The standard library has no call for that, a shell has: where there is something to gain, this
/// process becomes a shell that becomes the same program once more. So it is called before
/// anything else is done.
pub fn raise_open_files_max() {
    const RAISED: &str = "OPEN_FILES_RAISED";
    if env::var_os(RAISED).is_some() {
        return;
    }
    if let Ok(program) = env::current_exe() {
        let raise = "ulimit -n \"$(ulimit -H -n)\"; exec \"$0\" \"$@\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", raise]).arg(program).args(env::args_os().skip(1)).env(RAISED, "1");
        // It only returns where there is no shell: then the limit stays as it is.
        let _ = shell.exec();
    }
}

/// Bytes that the kernel holds for itself: sockets, threads, page tables. Both ends of a
/// connection within this machine are in it.
#[must_use]
pub fn kernel_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    (of("Slab:") + of("KernelStack:") + of("PageTables:")) * 1024
}
