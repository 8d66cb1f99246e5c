//! End to end: one publisher, one subscriber.

use super::Setting;
use crate::driver::{self, Lane, Listener};
use crate::floors;
use crate::peers::{Disk, Kind, Server};
use crate::report::{Against, Aim, Column, Table, Unit, alternate, p50_and_p99};
use std::time::Duration;

/// All that push messages.
pub(super) const PUSHING: [Kind; 9] = [
    Kind::Json,
    Kind::Channel,
    Kind::RedisStreams,
    Kind::RedisPubSub,
    Kind::NatsCore,
    Kind::JetStream,
    Kind::Mosquitto,
    Kind::Nchan,
    Kind::BareJson(1),
];

/// How far a publisher may be ahead of its subscriber.
const AHEAD: u64 = 50_000;

/// Row `end-to-end`.
pub(super) fn saturated(setting: &Setting<'_>) -> Table {
    let mut table =
        Table::new("end-to-end", "end to end, one publisher, one subscriber, all in order");
    table.columns = vec![Column::new("delivered", Unit::PerSecond)];
    for ours in [Kind::Json, Kind::Channel] {
        let aim = |peers, factor| Aim {
            ours: vec![ours],
            column: 0,
            against: Against::Peers(peers),
            factor,
        };
        table.aims.extend([aim(vec![Kind::NatsCore], 1.0), aim(vec![Kind::RedisStreams], 3.0)]);
    }
    let topics = driver::topics(1);
    alternate(&setting.plan, &mut table, &setting.of(&PUSHING), Disk::None, |contender| {
        let server = Server::start(contender, Disk::None)?;
        let mut lane = Lane::open(contender, Disk::None, &server)?;
        lane.prepare(&topics)?;
        let mut listeners = Listener::open_many(contender, Disk::None, &server, &topics, 1)?;
        let time = setting.plan.time;
        let delivered = driver::deliver(&mut lane, &mut listeners, &topics, AHEAD, time)?;
        Ok(vec![delivered.per_second()])
    });
    table
}

/// Row `end-to-end-paced`.
pub(super) fn paced(setting: &Setting<'_>) -> Table {
    let mut table = Table::new(
        "end-to-end-paced",
        "end to end at 1,000 messages a second, from publish to receipt",
    );
    table.columns = vec![Column::new("p50", Unit::Seconds), Column::new("p99", Unit::Seconds)];
    let peers = PUSHING[2..].to_vec();
    for (column, ours) in [(0, Kind::Json), (0, Kind::Channel), (1, Kind::Json), (1, Kind::Channel)]
    {
        let peers = peers.clone();
        table.aims.push(Aim {
            ours: vec![ours],
            column,
            against: Against::Peers(peers),
            factor: 0.9,
        });
    }
    let pause = Duration::from_millis(1);
    let mut floor = Vec::new();
    let topics = driver::topics(1);
    let count = u64::try_from(setting.plan.time.as_millis()).expect("seconds");
    let contenders = setting.of(&PUSHING);
    let last = contenders.last().map(|contender| contender.name.clone());
    alternate(&setting.plan, &mut table, &contenders, Disk::None, |contender| {
        let server = Server::start(contender, Disk::None)?;
        let mut lane = Lane::open(contender, Disk::None, &server)?;
        lane.prepare(&topics)?;
        let mut listeners = Listener::open_many(contender, Disk::None, &server, &topics, 1)?;
        let mut times = driver::deliver_paced(&mut lane, &mut listeners, &topics, count, pause)?;
        if Some(&contender.name) == last.as_ref() {
            let mut times = floors::ping_pong(setting.plan.time, pause)?;
            floor.push(p50_and_p99(&mut times).to_vec());
        }
        Ok(p50_and_p99(&mut times).to_vec())
    });
    table.floor("TCP ping-pong, two hops as well", &floor);
    table
}
