//! Publishes that are on disk, synced, before they are answered.

use super::Setting;
use crate::driver::{self, Lane};
use crate::floors;
use crate::peers::{Disk, Kind, Server};
use crate::report::{Against, Aim, Column, Table, Unit, alternate};

/// Connections, and publishes in flight on each.
const CELLS: [(usize, u64); 6] = [(1, 1), (8, 1), (64, 1), (1, 64), (8, 64), (64, 64)];

/// Row 5.
pub(super) fn cells(setting: &Setting<'_>) -> Table {
    let mut table = Table::new("5", "publishes synced before they are answered");
    let name = |(connections, window)| format!("{connections} × {window} in flight");
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
    alternate(&setting.plan, &mut table, &setting.of(&kinds), Disk::Synced, |contender| {
        let mut rates = Vec::new();
        for (connections, window) in CELLS {
            let server = Server::start(contender, Disk::Synced)?;
            let open = |_| Lane::open(contender, Disk::Synced, &server);
            let mut lanes: Vec<Lane> = (0..connections).map(open).collect::<crate::Result<_>>()?;
            lanes[0].prepare(&topics)?;
            let published = driver::saturate_apart(lanes, &topics, window, time)?;
            let mut lane = Lane::open(contender, Disk::Synced, &server)?;
            lane.check_stored(&topics, server.port, published.count)?;
            rates.push(published.per_second());
        }
        Ok(rates)
    });
    let floor = |(connections, window): (usize, u64)| {
        let at_once = connections * usize::try_from(window).expect("small");
        floors::write_and_sync(at_once, time).unwrap_or(f64::NAN)
    };
    let floors: Vec<_> = (0..setting.plan.rounds).map(|_| CELLS.map(floor).to_vec()).collect();
    table.floor("write + fdatasync, all in flight at once", &floors);
    table
}
