//! Restarts: the time until a killed server answers again.

use super::Setting;
use crate::driver::{self, Lane};
use crate::peers::{Disk, Kind, Server};
use crate::report::{Against, Aim, Column, Plan, Table, Unit, alternate, medians, thousands};
use std::thread;
use std::time::{Duration, Instant};
use tests::resources::Resources;

/// Messages stored before the kill.
const COUNT: u64 = 5_000_000;

/// Messages that are published just before each kill.
const MORE: u64 = 1_000;

/// What is synced lazily may be written lazily, too: nothing is to be lost here but time.
const SETTLE: Duration = Duration::from_millis(2500);

/// Row `restart`.
pub(super) fn after_a_kill(setting: &Setting<'_>) -> Table {
    let count = COUNT / setting.plan.divisor;
    let mut table = Table::new(
        "restart",
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
    let kinds = [Kind::HttpLines(1000), Kind::RedisStreams, Kind::JetStream, Kind::BareJson(1)];
    let topics = driver::topics(1);
    // To fill a server takes longer than anything else here, so each is filled once.
    let plan = Plan { rounds: 1, ..setting.plan };
    alternate(&plan, &mut table, &setting.of(&kinds), Disk::Lazy, |contender| {
        let mut server = Server::start(contender, Disk::Lazy)?;
        // It accepts connections before its new directory is synced, and publishes only then.
        let mut lane = driver::patiently(|| {
            let mut lane = Lane::open(contender, Disk::Lazy, &server)?;
            lane.prepare(&topics)?;
            driver::publish_exactly(&mut lane, &topics, MORE)?;
            Ok(lane)
        })?;
        driver::publish_exactly(&mut lane, &topics, count)?;
        let mut rounds = Vec::new();
        let mut stored = MORE + count;
        for _ in 0..setting.plan.rounds {
            // Killed soon after work: whoever is idle has tidied up.
            driver::publish_exactly(&mut lane, &topics, MORE)?;
            stored += MORE;
            thread::sleep(SETTLE);
            server.process.kill();
            let folder = server.folder.clone();
            let begun = Instant::now();
            server = Server::start_in(contender, Disk::Lazy, folder)?;
            lane = driver::patiently(|| {
                let mut lane = Lane::open(contender, Disk::Lazy, &server)?;
                lane.check_stored(&topics, server.port, stored)?;
                Ok(lane)
            })?;
            let elapsed = begun.elapsed().as_secs_f64();
            let memory = Resources::of(server.process.id()).memory;
            let each = |bytes: u64| bytes as f64 / stored as f64;
            rounds.push(vec![elapsed, each(server.disk_usage()), each(memory)]);
        }
        medians(&rounds).ok_or_else(|| "there is a round at least".into())
    });
    table
}
