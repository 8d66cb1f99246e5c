//! Publishing: one at a time, many in flight, many connections, in bulk.

use super::Setting;
use crate::Result;
use crate::driver::{self, Lane};
use crate::floors;
use crate::peers::{Contender, Disk, Kind, Server};
use crate::report::{Against, Aim, Column, Line, Table, Unit, alternate, medians, p50_and_p99};
use crate::wrk;
use std::time::Duration;

/// All that answer a publish.
const ANSWERING: [Kind; 9] = [
    Kind::Json,
    Kind::Http,
    Kind::RedisStreams,
    Kind::RedisPubSub,
    Kind::JetStream,
    Kind::Mosquitto,
    Kind::Nchan,
    Kind::BareJson(1),
    Kind::BareHttp(1),
];

/// Row `one-at-a-time`.
pub(super) fn one_at_a_time(setting: &Setting<'_>) -> Table {
    let mut table = Table::new("one-at-a-time", "an acknowledged publish, one at a time");
    table.columns = vec![Column::new("p50", Unit::Seconds), Column::new("p99", Unit::Seconds)];
    let peers = vec![Kind::RedisStreams, Kind::JetStream, Kind::Mosquitto, Kind::Nchan];
    for ours in [Kind::Json, Kind::Http] {
        let aim = |against, factor| Aim { ours: vec![ours], column: 0, against, factor };
        let against = Against::Peers(peers.clone());
        table.aims.extend([aim(against, 0.92), aim(Against::Floor, 1.12)]);
    }
    let mut floor = Vec::new();
    let topics = driver::topics(1);
    let contenders = setting.of(&ANSWERING);
    let last = contenders.last().map(|contender| contender.name.clone());
    alternate(&setting.plan, &mut table, &contenders, Disk::None, |contender| {
        let server = Server::start(contender, Disk::None)?;
        let mut lane = Lane::open(contender, Disk::None, &server)?;
        lane.prepare(&topics)?;
        let mut times = driver::one_at_a_time(&mut lane, &topics, setting.plan.time)?;
        lane.check_stored(&topics, server.port, times.len() as u64)?;
        if Some(&contender.name) == last.as_ref() {
            let mut times = floors::ping_pong(setting.plan.time, Duration::ZERO)?;
            floor.push(p50_and_p99(&mut times).to_vec());
        }
        Ok(p50_and_p99(&mut times).to_vec())
    });
    table.floor("TCP ping-pong", &floor);
    table
}

/// Row `in-flight`.
pub(super) fn in_flight(setting: &Setting<'_>) -> Table {
    let mut table = Table::new("in-flight", "publishes, 256 in flight on each connection");
    table.columns = vec![
        Column::new("1 connection", Unit::PerSecond),
        Column::new("8 connections", Unit::PerSecond),
    ];
    for column in 0..2 {
        let aim = |peers, factor| Aim {
            ours: vec![Kind::Json],
            column,
            against: Against::Peers(peers),
            factor,
        };
        table.aims.extend([aim(vec![Kind::RedisStreams], 3.0), aim(vec![Kind::RedisPubSub], 1.0)]);
    }
    let kinds = [&ANSWERING[..], &[Kind::NatsCore]].concat();
    alternate(&setting.plan, &mut table, &setting.of(&kinds), Disk::None, |contender| {
        let rate = |connections| saturate(contender, connections, 256, setting.plan.time);
        Ok(vec![rate(1)?, rate(8)?])
    });
    table
}

/// Row `http-connections`.
pub(super) fn many_connections(setting: &Setting<'_>) -> Table {
    let mut table =
        Table::new("http-connections", "publishes over HTTP, one in flight on each connection");
    table.columns = vec![Column::new("64 connections", Unit::PerSecond)];
    let has_wrk = wrk::is_here();
    if has_wrk {
        table.columns.push(Column::new("64 connections of wrk", Unit::PerSecond));
    } else {
        table.left_out.push("wrk: not installed".to_owned());
    }
    for column in 0..table.columns.len() {
        table.aims.push(Aim {
            ours: vec![Kind::Http],
            column,
            against: Against::Peers(vec![Kind::Nchan]),
            factor: 1.25,
        });
    }
    let kinds = [Kind::Http, Kind::Nchan, Kind::BareHttp(1)];
    alternate(&setting.plan, &mut table, &setting.of(&kinds), Disk::None, |contender| {
        let mut rates = vec![saturate(contender, 64, 1, setting.plan.time)?];
        if has_wrk {
            rates.push(wrk::publish(contender, 64, setting.plan.time)?);
        }
        Ok(rates)
    });
    table
}

/// Row `bulk`.
pub(super) fn bulk(setting: &Setting<'_>) -> Table {
    let mut table = Table::new("bulk", "publishes in bulk");
    table.columns = vec![
        Column::new("1 connection", Unit::PerSecond),
        Column::new("2 connections", Unit::PerSecond),
    ];
    let ours = [Kind::JsonBatch(100), Kind::HttpLines(100), Kind::HttpLines(1000)];
    let aims = ours.map(|ours| Aim {
        ours: vec![ours],
        column: 0,
        against: Against::Figure(7e6),
        factor: 1.0,
    });
    table.aims = aims.to_vec();
    let floors = [Kind::BareJson(100), Kind::BareHttp(100), Kind::BareHttp(1000)];
    let kinds = [&ours[..], &floors, &[Kind::NatsCore, Kind::RedisStreams]].concat();
    let time = setting.plan.time.min(Duration::from_millis(700));
    alternate(&setting.plan, &mut table, &setting.of(&kinds), Disk::None, |contender| {
        let rate = |connections| saturate(contender, connections, 6400, time);
        Ok(vec![rate(1)?, rate(2)?])
    });
    let copies: Vec<_> = (0..setting.plan.rounds).map(|_| vec![floors::copy(time); 2]).collect();
    table.floor("copy into fresh memory", &copies);
    table
}

/// Publishes a second to a fresh server.
fn saturate(contender: &Contender, connections: usize, window: u64, time: Duration) -> Result<f64> {
    let server = Server::start(contender, Disk::None)?;
    let topics = driver::topics(1);
    let open = |_| Lane::open(contender, Disk::None, &server);
    let mut lanes: Vec<Lane> = (0..connections).map(open).collect::<Result<_>>()?;
    lanes[0].prepare(&topics)?;
    let published = driver::saturate(&mut lanes, &topics, window, time)?;
    lanes[0].check_stored(&topics, server.port, published.count)?;
    Ok(published.per_second())
}

impl Table {
    /// Adds what the machine itself does.
    pub(super) fn floor(&mut self, name: &str, rounds: &[Vec<f64>]) {
        if let Some(values) = medians(rounds) {
            self.lines.push(Line { name: name.to_owned(), kind: None, promise: None, values });
        }
    }
}
