//! Reading a long topic: its speed, and its effect on publishers.

use super::Setting;
use crate::Result;
use crate::driver::{self, Lane, Listener};
use crate::floors;
use crate::payload::Payload;
use crate::peers::{Contender, Disk, Kind, Server};
use crate::report::{Against, Aim, Column, Table, Unit, alternate, thousands};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Messages in the topic.
const COUNT: u64 = 1_000_000;

/// Bytes of a message.
const SIZE: usize = 100;

/// The file that nginx serves, by the name of the topic that it stands for.
const TOPIC: &str = "t0";

/// Room for what is read at once: it fits into a processor's own memory.
const ROOM: usize = 256 << 10;

/// Who is read from beside the broker and Redis.
const OTHERS: [Kind; 4] = [Kind::JetStream, Kind::JetStreamPull, Kind::File, Kind::BareHttp(1)];

/// The broker as it is read from.
const OURS: Kind = Kind::HttpLines(1000);

/// Row `read-whole`.
pub(super) fn whole(setting: &Setting<'_>) -> Table {
    let count = COUNT / setting.plan.divisor;
    let mut table =
        Table::new("read-whole", &format!("a topic of {} messages read whole", thousands(count)));
    table.columns = vec![Column::new("bytes of messages", Unit::BytesPerSecond)];
    let redis = [Kind::RedisStreams, Kind::RedisRange];
    let aim = |against, factor| Aim { ours: vec![OURS], column: 0, against, factor };
    table.aims =
        vec![aim(Against::Peers(redis.to_vec()), 5.0), aim(Against::Line("file, nginx"), 0.4)];
    let kinds = [&[OURS][..], &redis, &OTHERS].concat();
    let topics = vec![TOPIC.to_owned()];
    alternate(&setting.plan, &mut table, &setting.of(&kinds), Disk::None, |contender| {
        let server = fill(contender, &topics, count)?;
        // The first time brings the memory of both sides up to what is needed.
        read(contender, &server, &topics, count)?;
        let elapsed = read(contender, &server, &topics, count)?;
        Ok(vec![bytes_per_second(count, elapsed)])
    });
    let size = usize::try_from(count).expect("fits in memory") * SIZE;
    let copy = |_| floors::loopback(size, ROOM).map(|rate| vec![rate]);
    let copies: Vec<_> = (0..setting.plan.rounds).flat_map(copy).collect();
    table.floor("copy over loopback", &copies);
    table
}

/// What publishers notice of somebody who reads all of a long topic, again and again.
pub(super) fn beside_a_reader(setting: &Setting<'_>) -> Table {
    let count = COUNT / setting.plan.divisor;
    let all = thousands(count);
    let name = format!("publishes, 256 in flight, beside one who reads {all} messages");
    let mut table = Table::new("reader", &name);
    table.headline = None;
    table.columns = vec![
        Column::new("beside the reader", Unit::PerSecond),
        Column::new("alone", Unit::PerSecond),
        Column::new("read meanwhile", Unit::BytesPerSecond),
    ];
    let kinds = [Kind::Json, Kind::RedisStreams, Kind::JetStream, Kind::BareJson(1)];
    let topics = driver::topics(2);
    let (long, elsewhere) = topics.split_at(1);
    alternate(&setting.plan, &mut table, &setting.of(&kinds), Disk::None, |contender| {
        let kind = match contender.kind {
            Kind::Json => OURS,
            Kind::BareJson(_) => Kind::BareHttp(1),
            kind => kind,
        };
        let reader = Contender { kind, ..contender.clone() };
        let server = fill(&reader, long, count)?;
        let mut lane = Lane::open(contender, Disk::None, &server)?;
        lane.prepare(elsewhere)?;
        let lanes = std::slice::from_mut(&mut lane);
        let alone = driver::saturate(lanes, elsewhere, 256, setting.plan.time)?;
        let stop = AtomicBool::new(false);
        let begun = Instant::now();
        let (beside, reads) = thread::scope(|scope| {
            let reads = scope.spawn(|| -> Result<(u64, Duration)> {
                let mut reads = 0;
                while !stop.load(Ordering::Relaxed) {
                    read(&reader, &server, long, count)?;
                    reads += 1;
                }
                Ok((reads, begun.elapsed()))
            });
            let beside = driver::saturate(lanes, elsewhere, 256, setting.plan.time);
            stop.store(true, Ordering::Relaxed);
            (beside, reads.join().expect("a reader does not panic"))
        });
        let (beside, (reads, elapsed)) = (beside?, reads?);
        lane.check_stored(elsewhere, server.port, alone.count + beside.count)?;
        let read = bytes_per_second(reads * count, elapsed);
        Ok(vec![beside.per_second(), alone.per_second(), read])
    });
    table
}

/// Starts a server that holds so many messages.
fn fill(contender: &Contender, topics: &[String], count: u64) -> Result<Server> {
    let server = Server::start(contender, Disk::None)?;
    if matches!(contender.kind, Kind::File | Kind::BareHttp(_)) {
        let mut payload = Payload::new(SIZE);
        let mut text = Vec::new();
        for _ in 0..count {
            text.extend_from_slice(payload.bytes());
            text.push(b'\n');
            payload.advance();
        }
        server.folder.write(TOPIC, text);
    } else {
        let mut lane = Lane::open(contender, Disk::None, &server)?;
        lane.prepare(topics)?;
        driver::publish_exactly(&mut lane, topics, count)?;
        lane.check_stored(topics, server.port, count)?;
    }
    Ok(server)
}

/// Reads all messages, which have to be as many as there are, in order.
pub(super) fn read(
    contender: &Contender,
    server: &Server,
    topics: &[String],
    count: u64,
) -> Result<Duration> {
    let begun = Instant::now();
    let mut listener = Listener::open(contender, Disk::None, server, topics, ROOM)?;
    while listener.count() < count {
        let had = listener.count();
        let told = |error| format!("a reader that has {had} of {count} messages: {error}");
        listener.receive(|_| {}).map_err(told)?;
    }
    let elapsed = begun.elapsed();
    match listener.count() {
        read if read == count => Ok(elapsed),
        read => Err(format!("{read} messages read of {count}").into()),
    }
}

fn bytes_per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 * SIZE as f64 / elapsed.as_secs_f64()
}
