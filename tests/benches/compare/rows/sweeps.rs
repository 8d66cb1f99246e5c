//! The same rows with messages of several sizes, and with several numbers of topics.

use super::Setting;
use crate::Result;
use crate::driver::{self, Lane, Listener};
use crate::peers::{Contender, Disk, Kind, Server};
use crate::report::{Column, Table, Unit, alternate};

/// Bytes of a message.
const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];

/// Topics that are published to in turn.
const TOPICS: [usize; 4] = [1, 10, 100, 1_000];

/// Subscribers where there are many.
const WIDTH: usize = 100;

const KINDS: [Kind; 5] =
    [Kind::Json, Kind::BareJson(1), Kind::RedisStreams, Kind::RedisPubSub, Kind::NatsCore];

/// The most that is on its way at once, in bytes.
const IN_FLIGHT_SIZE: usize = 2 << 20;

/// Messages of all sizes.
pub(super) fn sizes(setting: &Setting<'_>) -> Table {
    let mut table = Table::new("sizes", "publishes on one connection, by the size of a message");
    table.headline = None;
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

/// Row `in-flight` with more topics.
pub(super) fn topics(setting: &Setting<'_>) -> Table {
    by_topics(setting, "topics", "publishes, 256 in flight", &KINDS, |contender, topics| {
        let server = Server::start(contender, Disk::None)?;
        let mut lane = Lane::open(contender, Disk::None, &server)?;
        let lanes = std::slice::from_mut(&mut lane);
        let published = driver::saturate(lanes, topics, 256, setting.plan.time / 3)?;
        lane.check_stored(topics, server.port, published.count)?;
        Ok(published.per_second())
    })
}

/// Row `end-to-end` with more topics, all of which the subscriber follows.
pub(super) fn topics_delivered(setting: &Setting<'_>) -> Table {
    let title = "end to end, one subscriber of all topics";
    by_topics(setting, "topics-end-to-end", title, &KINDS, |contender, topics| {
        deliver(setting, contender, topics, 1, 50_000)
    })
}

/// Row `fan-out` with more topics, all of which every subscriber follows.
pub(super) fn topics_fanned_out(setting: &Setting<'_>) -> Table {
    let title = format!("fan-out to {WIDTH} subscribers of all topics: messages delivered");
    // To wait for a message, a client of Redis Streams names all topics each time.
    let kinds = [Kind::Json, Kind::BareJson(1), Kind::RedisPubSub, Kind::NatsCore];
    by_topics(setting, "topics-fan-out", &title, &kinds, |contender, topics| {
        deliver(setting, contender, topics, WIDTH, 2_000)
    })
}

/// Messages delivered a second to so many subscribers.
fn deliver(
    setting: &Setting<'_>,
    contender: &Contender,
    topics: &[String],
    width: usize,
    ahead: u64,
) -> Result<f64> {
    let server = Server::start(contender, Disk::None)?;
    let mut lane = Lane::open(contender, Disk::None, &server)?;
    let mut listeners = Listener::open_many(contender, Disk::None, &server, topics, width)?;
    let time = setting.plan.time / 3;
    let delivered = driver::deliver(&mut lane, &mut listeners, topics, ahead, time)?;
    Ok(delivered.per_second() * width as f64)
}

/// A column for each number of topics.
fn by_topics(
    setting: &Setting<'_>,
    id: &'static str,
    title: &str,
    kinds: &[Kind],
    measure: impl Fn(&Contender, &[String]) -> Result<f64>,
) -> Table {
    let mut table = Table::new(id, &format!("{title}, by the number of topics"));
    table.headline = None;
    table.columns =
        TOPICS.map(|count| Column::new(format!("topics: {count}"), Unit::PerSecond)).to_vec();
    alternate(&setting.plan, &mut table, &setting.of(kinds), Disk::None, |contender| {
        TOPICS.into_iter().map(|count| measure(contender, &driver::topics(count))).collect()
    });
    table
}
