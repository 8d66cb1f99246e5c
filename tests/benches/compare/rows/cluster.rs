//! The broker before a server of NATS that keeps its topics, beside a client that uses the same
//! streams without it, and beside a leaf.

use super::{Setting, read};
use crate::Result;
use crate::driver::{self, Lane, Listener};
use crate::peers::{Contender, Disk, Kind, Server};
use crate::report::{Against, Aim, Column, Table, Unit, alternate, p50_and_p99};
use std::time::{Duration, Instant};
use tests::Folder;
use tests::resources::Resources;

/// The first release that stores batches, which the broker needs.
const MINOR_MIN: u32 = 12;

/// Messages that are stored together where many are published at once.
const BULK: usize = 1000;

/// Subscribers of one topic, and how far its publisher may be ahead of the slowest of them.
const SUBSCRIBERS: usize = 1000;
const AHEAD: u64 = 400;

/// A topic that is read from its beginning: how many messages of which size, and its readers.
const LONG: (u64, usize) = (32_000, 64 << 10);
const READERS: usize = 100;

/// How much of topics a broker may keep in memory, and how much it may have besides.
const MEMORY_MAX: &str = "64m";
const MEMORY_AIM: f64 = (128 << 20) as f64;

/// The server that keeps topics; a table without one says so.
fn server<'a>(setting: &Setting<'a>, table: &mut Table) -> Option<&'a Contender> {
    let found = setting.contenders.iter().find(|it| it.kind == Kind::NatsStream && is_new(it));
    if found.is_none() {
        table.left_out.push(format!("nats-server 2.{MINOR_MIN} or newer: not installed"));
    }
    found
}

/// Whether this release of NATS can keep topics.
fn is_new(contender: &Contender) -> bool {
    let version = contender.name.rsplit(' ').next().unwrap_or_default();
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    matches!((numbers.next(), numbers.next()), (Some(2), Some(MINOR_MIN..)) | (Some(3..), _))
}

/// Starts a broker whose topics another server keeps.
fn before(contender: &Contender, flag: &str, home: &Server, more: &[&str]) -> Result<Server> {
    let address = format!("127.0.0.1:{}", home.port);
    let arguments = [&[flag, &address][..], more].concat();
    Ok(Server::start_with(contender, Disk::None, Folder::temporary("before"), &arguments)?)
}

/// Row `nats`.
pub(super) fn before_nats(setting: &Setting<'_>) -> Table {
    let title = "one server of NATS keeps the topics, on disk: through the broker, and without";
    let mut table = Table::new("nats", title);
    table.headline = None;
    table.columns = vec![
        Column::new("one at a time, p50", Unit::Seconds),
        Column::new("256 in flight", Unit::PerSecond),
        Column::new("1,000 at once", Unit::PerSecond),
        Column::new("from publish to receipt, p50", Unit::Seconds),
        Column::new("read whole", Unit::PerSecond),
    ];
    let aim = |(column, factor)| {
        let against = Against::Peers(vec![Kind::NatsStream]);
        Aim { ours: vec![Kind::Json], column, against, factor }
    };
    table.aims = [(1, 0.8), (2, 0.8), (3, 1.4), (4, 0.7)].map(aim).to_vec();
    let Some(nats) = server(setting, &mut table) else { return table };
    let contenders = [setting.of(&[Kind::Json]), vec![nats]].concat();
    alternate(&setting.plan, &mut table, &contenders, Disk::Lazy, |contender| {
        let home = Server::start(nats, Disk::Lazy)?;
        if contender.kind == Kind::NatsStream {
            return measure(
                setting,
                [contender.kind, Kind::NatsBatches(BULK)],
                contender,
                [&home; 2],
            );
        }
        let brokers =
            [before(contender, "--nats", &home, &[])?, before(contender, "--nats", &home, &[])?];
        let kinds = [contender.kind, Kind::HttpLines(BULK)];
        measure(setting, kinds, contender, brokers.each_ref())
    });
    let time = |kind| table.lines.iter().find(|line| line.kind == Some(kind))?.values.first();
    if let (Some(through), Some(without)) = (time(Kind::Json), time(Kind::NatsStream)) {
        let more = (through - without) * 1e6;
        table.notes.push(format!(
            "one at a time, p50: {more:.0} µs more through the broker (at most 100 is the aim)"
        ));
    }
    table.notes.push("what NATS does without the broker is the bound: no other floor".to_owned());
    table
}

/// The figures of one of them: of single messages, and of many at once, which another server that
/// has not seen them yet gives back.
fn measure(
    setting: &Setting<'_>,
    kinds: [Kind; 2],
    contender: &Contender,
    [server, other]: [&Server; 2],
) -> Result<Vec<f64>> {
    let topics = driver::topics(3);
    let (topic, followed, long) = (&topics[..1], &topics[1..2], &topics[2..]);
    let time = setting.plan.time;
    let [single, bulk] = kinds.map(|kind| Contender { kind, ..contender.clone() });
    let mut lane = Lane::open(&single, Disk::Lazy, server)?;
    lane.prepare(&topics)?;
    let mut alone = driver::one_at_a_time(&mut lane, topic, time)?;
    let many = driver::saturate(std::slice::from_mut(&mut lane), topic, 256, time)?;
    lane.check_stored(topic, server.port, alone.len() as u64 + many.count)?;
    let mut listeners = Listener::open_many(&single, Disk::Lazy, server, followed, 1)?;
    let count = u64::try_from(time.as_millis()).expect("seconds");
    let pause = Duration::from_millis(1);
    // A subscriber expects the messages of a connection from its first one on.
    let mut lane = Lane::open(&single, Disk::Lazy, server)?;
    let mut times = driver::deliver_paced(&mut lane, &mut listeners, followed, count, pause)?;
    let mut lane = Lane::open(&bulk, Disk::Lazy, server)?;
    let window = 2 * BULK as u64;
    let stored = driver::saturate(std::slice::from_mut(&mut lane), long, window, time)?;
    lane.check_stored(long, server.port, stored.count)?;
    let read = read::read(&bulk, other, long, stored.count)?;
    Ok(vec![
        p50_and_p99(&mut alone)[0],
        many.per_second(),
        stored.per_second(),
        p50_and_p99(&mut times)[0],
        stored.count as f64 / read.as_secs_f64(),
    ])
}

/// Row `nats-fan-out`.
pub(super) fn fan_out(setting: &Setting<'_>) -> Table {
    let title = "1,000 subscribers of a broker, one publisher at another: messages delivered";
    let mut table = Table::new("nats-fan-out", title);
    table.headline = None;
    let columns = ["at a leaf of a hub", "before one server of NATS"];
    table.columns = columns.map(|name| Column::new(name, Unit::PerSecond)).to_vec();
    let (ours, against) = (vec![Kind::Json], Against::Own(0));
    table.aims = vec![Aim { ours, column: 1, against, factor: 0.8 }];
    let Some(nats) = server(setting, &mut table) else { return table };
    alternate(&setting.plan, &mut table, &setting.of(&[Kind::Json]), Disk::None, |contender| {
        let topics = driver::topics(1);
        let deliver = |to: &Server, from: &Server| {
            let mut lane = Lane::open(contender, Disk::None, to)?;
            let mut listeners =
                Listener::open_many(contender, Disk::None, from, &topics, SUBSCRIBERS)?;
            let time = setting.plan.time;
            let delivered = driver::deliver(&mut lane, &mut listeners, &topics, AHEAD, time)?;
            Ok(delivered.per_second() * SUBSCRIBERS as f64)
        };
        let of_leaf = || {
            let hub = Server::start(contender, Disk::None)?;
            deliver(&hub, &before(contender, "--upstream", &hub, &[])?)
        };
        let of_cluster = || {
            let home = Server::start(nats, Disk::Lazy)?;
            let publisher = before(contender, "--nats", &home, &[])?;
            deliver(&publisher, &before(contender, "--nats", &home, &[])?)
        };
        [of_leaf(), of_cluster()].into_iter().collect()
    });
    table
}

/// Row `nats-memory`. It takes most of its time to fill the topic, and memory hardly differs: so
/// one round.
pub(super) fn memory(setting: &Setting<'_>) -> Table {
    let count = LONG.0 / setting.plan.divisor;
    let size = count as f64 * LONG.1 as f64;
    let title = format!(
        "memory of a broker with --max-memory {MEMORY_MAX}, while {READERS} read a topic of {} from \
         its beginning",
        Unit::Bytes.show(size)
    );
    let mut table = Table::new("nats-memory", &title);
    table.headline = None;
    let columns = ["a leaf of a hub", "before one server of NATS"];
    table.columns = columns.map(|name| Column::new(name, Unit::Bytes)).to_vec();
    let aim = |column| {
        let (ours, against) = (vec![Kind::Json], Against::Figure(MEMORY_AIM));
        Aim { ours, column, against, factor: 1.0 }
    };
    table.aims = vec![aim(0), aim(1)];
    let Some(nats) = server(setting, &mut table) else { return table };
    let plan = crate::report::Plan { rounds: 1, ..setting.plan };
    alternate(&plan, &mut table, &setting.of(&[Kind::Json]), Disk::None, |contender| {
        let topics = driver::topics(1);
        let measure = |filler: &Contender, home: &Server, flag| {
            let mut lane = Lane::open(filler, Disk::Lazy, home)?;
            lane.resize(LONG.1);
            lane.prepare(&topics)?;
            driver::publish_exactly(&mut lane, &topics, count)?;
            let broker = before(contender, flag, home, &["--max-memory", MEMORY_MAX])?;
            let readers = Contender { kind: Kind::HttpLines(BULK), ..contender.clone() };
            most_memory(&readers, &broker, &topics, count, plan.time * 5)
        };
        let of_leaf = || {
            let hub = Server::start(contender, Disk::None)?;
            let filler = Contender { kind: Kind::HttpLines(BULK / 10), ..contender.clone() };
            measure(&filler, &hub, "--upstream")
        };
        let of_cluster = || measure(nats, &Server::start(nats, Disk::Lazy)?, "--nats");
        [of_leaf(), of_cluster()].into_iter().collect()
    });
    table
}

/// The most memory that a broker has while many read a topic from its beginning, at different
/// speeds.
fn most_memory(
    contender: &Contender,
    broker: &Server,
    topics: &[String],
    count: u64,
    time: Duration,
) -> Result<f64> {
    let mut readers = Listener::open_many(contender, Disk::None, broker, topics, READERS)?;
    let begun = Instant::now();
    let (mut most, mut round) = (0, 0);
    while begun.elapsed() < time {
        round += 1;
        for (index, reader) in readers.iter_mut().enumerate() {
            if round % (index % 8 + 1) == 0 && reader.count() < count {
                reader.receive(|_| {})?;
            }
        }
        most = most.max(Resources::of(broker.process.id()).memory);
    }
    Ok(most as f64)
}
