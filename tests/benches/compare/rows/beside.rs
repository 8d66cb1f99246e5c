//! What the broker does beside something that should cost nothing: subscribers of patterns, bounds
//! and the cleaning of the journal, and a leaf. Each is compared with itself in the same run, and
//! with the bare server, which has no patterns and no bounds: to it, they are a topic that nobody
//! publishes to, and nothing.

use super::Setting;
use crate::Result;
use crate::driver::{self, Lane, Listener};
use crate::peers::{Contender, Disk, Kind, Server};
use crate::report::{Against, Aim, Column, Table, Unit, alternate};
use crate::wire::Wire;
use std::time::Duration;
use tests::Folder;

/// Topics besides the measured one, and subscribers of patterns.
const TOPICS: u64 = 10_000;
const SUBSCRIBERS: usize = 100;

/// How far a publisher may be ahead of its subscriber, and what a bounded topic keeps.
const AHEAD: u64 = 50_000;
const KEPT: &str = r#"{"keep_messages":100000}"#;

/// The broker and its floor.
const KINDS: [Kind; 2] = [Kind::Json, Kind::BareJson(1)];

/// The same without a broker that was before: it may have neither patterns nor bounds.
fn now<'a>(setting: &'a Setting<'_>) -> Vec<&'a Contender> {
    let mut contenders = setting.of(&KINDS);
    contenders.retain(|contender| contender.is_ours() || contender.kind.is_floor());
    contenders
}

/// A table in which each of these columns is to come to most of another one.
fn table(id: &'static str, title: &str, columns: &[&str], aims: &[(usize, usize)]) -> Table {
    let mut table = Table::new(id, title);
    table.headline = None;
    table.columns = columns.iter().map(|name| Column::new(*name, Unit::PerSecond)).collect();
    let aim = |&(column, other)| {
        let (ours, against) = (vec![Kind::Json], Against::Own(other));
        Aim { ours, column, against, factor: 0.9 }
    };
    table.aims = aims.iter().map(aim).collect();
    table
}

/// Row `patterns`.
pub(super) fn patterns(setting: &Setting<'_>) -> Table {
    let title = format!("publishes to one of {TOPICS} topics, beside {SUBSCRIBERS} patterns");
    let columns = ["no pattern", "none matches", "each matches all other topics"];
    let mut table = table("patterns", &title, &columns, &[(1, 0), (2, 0)]);
    let others: Vec<String> = (0..TOPICS).map(|number| format!("other/{number}")).collect();
    let topics = driver::topics(1);
    alternate(&setting.plan, &mut table, &now(setting), Disk::None, |contender| {
        let server = Server::start(contender, Disk::None)?;
        let mut lane = Lane::open(contender, Disk::None, &server)?;
        driver::publish_exactly(&mut lane, &others, TOPICS)?;
        let mut rate = || -> Result<f64> {
            let lanes = std::slice::from_mut(&mut lane);
            Ok(driver::saturate(lanes, &topics, 256, setting.plan.time)?.per_second())
        };
        let alone = rate()?;
        let silent = follow(&server, "nothing/*", 0)?;
        let beside_silent = rate()?;
        drop(silent);
        let matching = if contender.is_ours() { TOPICS } else { 0 };
        let _matching = follow(&server, "other/*", matching)?;
        Ok(vec![alone, beside_silent, rate()?])
    });
    table
}

/// Subscribers of a pattern that so many topics match.
fn follow(server: &Server, pattern: &str, count: u64) -> Result<Vec<Wire>> {
    let open = |_| {
        let mut wire = Wire::connect(server.port, 1 << 16)?;
        let command = format!("{{\"command\":\"subscribe\",\"pattern\":\"{pattern}\"}}\n");
        wire.output.extend_from_slice(command.as_bytes());
        wire.send()?;
        // The answer, and where it begins in each topic.
        let mut missing = count + 1;
        while missing > 0 {
            wire.fill()?;
            let lines = wire.input().iter().filter(|byte| **byte == b'\n').count();
            missing = missing.saturating_sub(lines as u64);
            wire.consume(wire.input().len());
        }
        Ok(wire)
    };
    (0..SUBSCRIBERS).map(open).collect()
}

/// Row `bounds`.
pub(super) fn bounds(setting: &Setting<'_>) -> Table {
    let title = "end to end, with a bound of 100,000 messages; on disk, the journal cleans itself";
    let columns =
        ["in memory, no bound", "in memory, bound", "on disk, no bound", "on disk, bound"];
    let mut table = table("bounds", title, &columns, &[(1, 0), (3, 2)]);
    alternate(&setting.plan, &mut table, &now(setting), Disk::Lazy, |contender| {
        // A journal is cleaned when it has closed some segments.
        let time = setting.plan.time;
        let cells = [(Disk::None, "{}", time), (Disk::None, KEPT, time)];
        let on_disk = [(Disk::Lazy, "{}", time * 3), (Disk::Lazy, KEPT, time * 3)];
        let measure = |(disk, bounds, time): (Disk, &str, Duration)| {
            let server = Server::start(contender, disk)?;
            let size = bounds.len();
            let request = format!(
                "PUT /topics/t0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n{bounds}"
            );
            Wire::connect(server.port, 4096)?.ask(request.as_bytes(), "}\n")?;
            deliver(contender, &server, &server, time)
        };
        cells.into_iter().chain(on_disk).map(measure).collect()
    });
    table
}

/// Row `leaf`.
pub(super) fn leaf(setting: &Setting<'_>) -> Table {
    let columns = ["one broker", "subscriber at a leaf", "publisher at a leaf"];
    let mut table = table("leaf", "end to end, one publisher, one subscriber", &columns, &[]);
    alternate(&setting.plan, &mut table, &setting.of(&KINDS), Disk::None, |contender| {
        let measure = |place: usize| {
            let hub = Server::start(contender, Disk::None)?;
            let upstream = ["--upstream", &format!("127.0.0.1:{}", hub.port)];
            let folder = Folder::temporary("leaf");
            let leaf = Server::start_with(contender, Disk::None, folder, &upstream)?;
            let (to, from) = match place {
                0 => (&hub, &hub),
                1 => (&hub, &leaf),
                _ => (&leaf, &hub),
            };
            deliver(contender, to, from, setting.plan.time)
        };
        (0..columns.len()).map(measure).collect()
    });
    table
}

/// Messages delivered a second, published to one broker and read from another.
fn deliver(contender: &Contender, to: &Server, from: &Server, time: Duration) -> Result<f64> {
    let topics = driver::topics(1);
    let mut lane = Lane::open(contender, Disk::None, to)?;
    let mut listeners = Listener::open_many(contender, Disk::None, from, &topics, 1)?;
    Ok(driver::deliver(&mut lane, &mut listeners, &topics, AHEAD, time)?.per_second())
}
