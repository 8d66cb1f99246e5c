//! Restarts: how soon a server that was killed answers again.

use super::Setting;
use crate::driver::{self, Lane};
use crate::peers::{Disk, Kind, Server};
use crate::report::{Against, Aim, Column, Plan, Table, Unit, alternate, thousands};
use std::time::Instant;
use tests::resources::Resources;

/// Messages stored before the kill.
const COUNT: u64 = 5_000_000;

/// Row 8.
pub(super) fn after_a_kill(setting: &Setting<'_>) -> Table {
    let count = COUNT / setting.plan.divisor;
    let mut table = Table::new(
        "8",
        &format!("restart with {} messages stored, after a kill", thousands(count)),
    );
    table.columns = vec![
        Column::new("until the first answer", Unit::Seconds),
        Column::new("on disk, each", Unit::Bytes),
        Column::new("in memory, each", Unit::Bytes),
    ];
    let ours = vec![Kind::HttpLines(1000)];
    table.aims = vec![
        Aim {
            ours: ours.clone(),
            column: 0,
            against: Against::Peers(vec![Kind::RedisStreams]),
            factor: 0.2,
        },
        Aim { ours, column: 0, against: Against::Peers(vec![Kind::JetStream]), factor: 1.3 },
    ];
    let kinds = [Kind::HttpLines(1000), Kind::RedisStreams, Kind::JetStream];
    let topics = driver::topics(1);
    let plan = Plan { rounds: setting.plan.rounds.min(3), ..setting.plan };
    alternate(&plan, &mut table, &setting.of(&kinds), Disk::Lazy, |contender| {
        let mut server = Server::start(contender, Disk::Lazy)?;
        let mut lane = Lane::open(contender, Disk::Lazy, &server)?;
        lane.prepare(&topics)?;
        driver::publish_exactly(&mut lane, &topics, count)?;
        server.process.kill();
        let folder = server.folder.clone();
        drop(server);
        let begun = Instant::now();
        let server = Server::start_in(contender, Disk::Lazy, folder)?;
        let mut lane = driver::patiently(|| {
            let mut lane = Lane::open(contender, Disk::Lazy, &server)?;
            lane.check_stored(&topics, server.port, count)?;
            Ok(lane)
        })?;
        let elapsed = begun.elapsed().as_secs_f64();
        lane.check_stored(&topics, server.port, count)?;
        let memory = Resources::of(server.process.id()).memory;
        let each = |bytes: u64| bytes as f64 / count as f64;
        Ok(vec![elapsed, each(server.disk_usage()), each(memory)])
    });
    table
}
