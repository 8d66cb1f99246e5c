//! How costs grow: with the size of messages, and with the number of topics.

use super::Setting;
use crate::driver::{self, Lane};
use crate::peers::{Disk, Kind, Server};
use crate::report::{Column, Table, Unit, alternate};

/// Bytes of a message.
const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];

/// Topics that are published to in turn.
const TOPICS: [usize; 4] = [1, 10, 100, 1_000];

const KINDS: [Kind; 4] = [Kind::Json, Kind::RedisStreams, Kind::RedisPubSub, Kind::NatsCore];

/// The most that is on its way at once, in bytes.
const IN_FLIGHT_SIZE: usize = 2 << 20;

/// Messages of all sizes.
pub(super) fn sizes(setting: &Setting<'_>) -> Table {
    let mut table = Table::new("sizes", "publishes on one connection, by the size of a message");
    table.columns =
        SIZES.map(|size| Column::new(format!("{size} B"), Unit::BytesPerSecond)).to_vec();
    let topics = driver::topics(1);
    alternate(&setting.plan, &mut table, &setting.of(&KINDS), Disk::None, |contender| {
        let measure = |size: usize| {
            let server = Server::start(contender, Disk::None)?;
            let mut lane = Lane::open(contender, Disk::None, &server)?;
            lane.resize(size);
            let window = u64::try_from((IN_FLIGHT_SIZE / size).clamp(4, 256)).expect("small");
            let lanes = std::slice::from_mut(&mut lane);
            let published = driver::saturate(lanes, &topics, window, setting.plan.time / 3)?;
            lane.check_stored(&topics, server.port, published.count)?;
            Ok(published.per_second() * size as f64)
        };
        SIZES.into_iter().map(measure).collect()
    });
    table
}

/// Row 2 with more topics.
pub(super) fn topics(setting: &Setting<'_>) -> Table {
    let mut table = Table::new("topics", "publishes, 256 in flight, by the number of topics");
    table.columns =
        TOPICS.map(|count| Column::new(format!("topics: {count}"), Unit::PerSecond)).to_vec();
    alternate(&setting.plan, &mut table, &setting.of(&KINDS), Disk::None, |contender| {
        let measure = |count: usize| {
            let server = Server::start(contender, Disk::None)?;
            let mut lane = Lane::open(contender, Disk::None, &server)?;
            let topics = driver::topics(count);
            let lanes = std::slice::from_mut(&mut lane);
            let published = driver::saturate(lanes, &topics, 256, setting.plan.time / 3)?;
            lane.check_stored(&topics, server.port, published.count)?;
            Ok(published.per_second())
        };
        TOPICS.into_iter().map(measure).collect()
    });
    table
}
