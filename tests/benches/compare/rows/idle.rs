//! Many subscribers that have nothing to read.

use super::Setting;
use crate::driver::{self, Lane, Listener};
use crate::peers::{Disk, Kind, Server};
use crate::report::{Against, Aim, Column, Table, Unit, alternate, percentile};
use std::fs;
use std::time::Duration;
use tests::resources::Resources;

/// Subscribers, where the limit of open files allows so many.
const COUNT: usize = 10_000;

/// Messages that all of them get, one after another.
const MESSAGES: u64 = 3;

/// Rows 7 and 7b.
pub(super) fn subscribers(setting: &Setting<'_>) -> Table {
    let wanted = COUNT / usize::try_from(setting.plan.divisor).expect("small");
    let count = wanted.min(open_files_max().saturating_sub(200));
    let mut table = Table::new("7", &format!("{count} idle subscribers"));
    table.columns = vec![
        Column::new("memory of each", Unit::Bytes),
        Column::new("without the kernel's", Unit::Bytes),
        Column::new("one message to all", Unit::Seconds),
        Column::new("publish elsewhere, p50", Unit::Seconds),
    ];
    let kinds = [Kind::Json, Kind::RedisPubSub, Kind::NatsCore, Kind::Mosquitto];
    let aim = |column, peers, factor| Aim {
        ours: vec![Kind::Json],
        column,
        against: Against::Peers(peers),
        factor,
    };
    table.aims = vec![
        aim(0, vec![Kind::NatsCore], 1.0),
        aim(2, kinds[1..].to_vec(), 0.9),
        aim(3, kinds[1..].to_vec(), 1.0),
    ];
    let topics = driver::topics(2);
    let (topic, elsewhere) = topics.split_at(1);
    alternate(&setting.plan, &mut table, &setting.of(&kinds), Disk::None, |contender| {
        let server = Server::start(contender, Disk::None)?;
        let mut lane = Lane::open(contender, Disk::None, &server)?;
        let process = || Resources::of(server.process.id()).memory;
        let before = (process(), kernel_memory());
        let mut listeners = Listener::open_many(contender, Disk::None, &server, &topic[0], count)?;
        let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / count as f64;
        let (process, kernel) = (each(process(), before.0), each(kernel_memory(), before.1));
        let pause = Duration::from_millis(300);
        let times = driver::deliver_paced(&mut lane, &mut listeners, topic, MESSAGES, pause)?;
        // All have a message before the first has the next.
        let mut last: Vec<Duration> =
            times.chunks(count).filter_map(|times| times.iter().max().copied()).collect();
        let mut lane = Lane::open(contender, Disk::None, &server)?;
        let mut elsewhere = driver::one_at_a_time(
            &mut lane,
            elsewhere,
            setting.plan.time.min(Duration::from_secs(1)),
        )?;
        Ok(vec![
            process + kernel,
            process,
            percentile(&mut last, 500),
            percentile(&mut elsewhere, 500),
        ])
    });
    table
}

/// How many files a process may have open.
fn open_files_max() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    soft.unwrap_or(1024)
}

/// Bytes that the kernel holds for itself: sockets, threads, page tables. Both ends of each
/// connection are on this machine, and so are in it.
fn kernel_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    (of("Slab:") + of("KernelStack:") + of("PageTables:")) * 1024
}
