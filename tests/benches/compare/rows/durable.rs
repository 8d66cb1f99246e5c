//! Publishes that are synced to disk before they are answered.

use super::Setting;
use crate::Result;
use crate::driver::{self, Lane, Published};
use crate::floors;
use crate::peers::{Contender, Disk, Kind, Server};
use crate::report::{Against, Aim, Column, Table, Unit, alternate, medians};
use std::hint;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tests::raw::metric;

/// Connections, and publishes in flight on each.
const CELLS: [(usize, u64); 6] = [(1, 1), (8, 1), (64, 1), (1, 64), (8, 64), (64, 64)];

/// The broker's count of writes to its journal, each of which it syncs.
const SYNCS: &str = "broker_journal_commit_duration_seconds_count";

/// All that can.
const SYNCING: [Kind; 4] = [Kind::Json, Kind::BareJson(1), Kind::RedisStreams, Kind::JetStream];

/// A table with a column for each of these cells.
fn table(id: &'static str, title: &str, cells: &[(usize, u64)], factor: f64) -> Table {
    let mut table = Table::new(id, title);
    table.columns = cells.iter().map(|cell| Column::new(name(*cell), Unit::PerSecond)).collect();
    for column in 0..cells.len() {
        for peers in [vec![Kind::RedisStreams], vec![Kind::JetStream]] {
            let (ours, against) = (vec![Kind::Json], Against::Peers(peers));
            table.aims.push(Aim { ours, column, against, factor });
        }
    }
    table
}

fn name((connections, window): (usize, u64)) -> String {
    match connections {
        1 => format!("1 connection, {window} in flight"),
        _ => format!("{connections} connections, {window} in flight on each"),
    }
}

/// What a fresh server does in a cell. It still runs.
fn publish(
    contender: &Contender,
    (connections, window): (usize, u64),
    time: Duration,
) -> Result<(Published, Server)> {
    let topics = driver::topics(1);
    let server = Server::start(contender, Disk::Synced)?;
    let open = |_| Lane::open(contender, Disk::Synced, &server);
    let mut lanes: Vec<Lane> = (0..connections).map(open).collect::<Result<_>>()?;
    lanes[0].prepare(&topics)?;
    let published = driver::saturate_apart(lanes, &topics, window, time)?;
    let mut lane = Lane::open(contender, Disk::Synced, &server)?;
    lane.check_stored(&topics, server.port, published.count)?;
    Ok((published, server))
}

/// Row `busy`: what a server does for its clients while others compute on the same machine.
pub(super) fn beside_busy_programs(setting: &Setting<'_>) -> Table {
    let cells = [(1, 1), (8, 1), (8, 64)];
    let busy = thread::available_parallelism().map_or(1, NonZero::get);
    let title = format!("publishes synced before they are answered, beside {busy} busy threads");
    let mut table = table("busy", &title, &cells, 1.0);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..busy {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            });
        }
        alternate(&setting.plan, &mut table, &setting.of(&SYNCING), Disk::Synced, |contender| {
            let rate = |cell| Ok(publish(contender, cell, setting.plan.time)?.0.per_second());
            cells.into_iter().map(rate).collect()
        });
        is_over.store(true, Ordering::Relaxed);
    });
    table
}

/// Row `durable`.
pub(super) fn cells(setting: &Setting<'_>) -> Table {
    let mut table = table("durable", "publishes synced before they are answered", &CELLS, 1.3);
    // Many clients, each of which waits for its own answer.
    table.headline = Some(2);
    let time = setting.plan.time;
    // Of the broker, which says how often it has synced: of each round, in each cell.
    let mut publishes_of_a_sync = Vec::new();
    alternate(&setting.plan, &mut table, &setting.of(&SYNCING), Disk::Synced, |contender| {
        let mut rates = Vec::new();
        let mut per_sync = Vec::new();
        for cell in CELLS {
            let (published, server) = publish(contender, cell, time)?;
            rates.push(published.per_second());
            if contender.is_ours() {
                let address = format!("127.0.0.1:{}", server.port);
                per_sync.push(published.count as f64 / metric(&address, SYNCS));
            }
        }
        publishes_of_a_sync.extend(Some(per_sync).filter(|cells| !cells.is_empty()));
        Ok(rates)
    });
    let floor = |(connections, window): (usize, u64)| {
        let at_once = connections * usize::try_from(window).expect("small");
        floors::write_and_sync(at_once, time).unwrap_or(f64::NAN)
    };
    let floors: Vec<_> = (0..setting.plan.rounds).map(|_| CELLS.map(floor).to_vec()).collect();
    if let Some(cells) = medians(&publishes_of_a_sync) {
        let cells: Vec<_> = CELLS
            .iter()
            .zip(cells)
            .map(|(cell, count)| format!("{count:.1} at {}", name(*cell)))
            .collect();
        table.notes.push(format!("publishes that the broker syncs at once: {}", cells.join(", ")));
    }
    table.floor("write and fdatasync", &floors);
    table
}
