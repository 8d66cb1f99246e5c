//! Publishes that are on disk, synced, before they are answered.

use super::Setting;
use crate::driver::{self, Lane};
use crate::floors;
use crate::peers::{Disk, Kind, Server};
use crate::report::{Against, Aim, Column, Table, Unit, alternate, medians};
use tests::raw::metric;

/// Connections, and publishes in flight on each.
const CELLS: [(usize, u64); 6] = [(1, 1), (8, 1), (64, 1), (1, 64), (8, 64), (64, 64)];

/// The broker's count of writes to its journal, each of which it syncs.
const SYNCS: &str = "broker_journal_commit_duration_seconds_count";

/// Row 5.
pub(super) fn cells(setting: &Setting<'_>) -> Table {
    let mut table = Table::new("5", "publishes synced before they are answered");
    // Many clients, each of which waits for its own answer.
    table.headline = Some(2);
    let name = |(connections, window)| match connections {
        1 => format!("1 connection, {window} in flight"),
        _ => format!("{connections} connections, {window} in flight on each"),
    };
    table.columns = CELLS.map(|cell| Column::new(name(cell), Unit::PerSecond)).to_vec();
    for column in 0..CELLS.len() {
        for peers in [vec![Kind::RedisStreams], vec![Kind::JetStream]] {
            table.aims.push(Aim {
                ours: vec![Kind::Json],
                column,
                against: Against::Peers(peers),
                factor: 1.3,
            });
        }
    }
    let kinds = [Kind::Json, Kind::RedisStreams, Kind::JetStream];
    let topics = driver::topics(1);
    let time = setting.plan.time;
    // Of the broker, which says how often it has synced: of each round, in each cell.
    let mut publishes_of_a_sync = Vec::new();
    alternate(&setting.plan, &mut table, &setting.of(&kinds), Disk::Synced, |contender| {
        let mut rates = Vec::new();
        let mut per_sync = Vec::new();
        for (connections, window) in CELLS {
            let server = Server::start(contender, Disk::Synced)?;
            let open = |_| Lane::open(contender, Disk::Synced, &server);
            let mut lanes: Vec<Lane> = (0..connections).map(open).collect::<crate::Result<_>>()?;
            lanes[0].prepare(&topics)?;
            let published = driver::saturate_apart(lanes, &topics, window, time)?;
            let mut lane = Lane::open(contender, Disk::Synced, &server)?;
            lane.check_stored(&topics, server.port, published.count)?;
            rates.push(published.per_second());
            if contender.kind.is_ours() {
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
