//! The broker before a server of NATS that keeps its topics, beside a client that talks to such a
//! server itself.

use super::Setting;
use crate::Result;
use crate::driver::{self, Lane, Listener};
use crate::peers::{Contender, Disk, Kind, Server};
use crate::report::{Against, Aim, Column, Table, Unit, alternate, p50_and_p99};
use std::time::Duration;
use tests::Folder;

/// The first release that stores batches, which the broker needs.
const MINOR_MIN: u32 = 12;

/// Row `nats`.
pub(super) fn before_nats(setting: &Setting<'_>) -> Table {
    let title = "one server of NATS keeps the topics, on disk: through the broker, and without";
    let mut table = Table::new("nats", title);
    table.headline = None;
    table.columns = vec![
        Column::new("one at a time, p50", Unit::Seconds),
        Column::new("256 in flight", Unit::PerSecond),
        Column::new("from publish to receipt, p50", Unit::Seconds),
    ];
    let aim = |column, factor| {
        let against = Against::Peers(vec![Kind::JetStream]);
        Aim { ours: vec![Kind::Json], column, against, factor }
    };
    table.aims = vec![aim(1, 0.8), aim(2, 1.4)];
    let mut contenders = setting.of(&[Kind::Json, Kind::JetStream]);
    contenders.retain(|contender| contender.kind == Kind::Json || stores_batches(contender));
    let Some(nats) = contenders.iter().copied().find(|it| it.kind == Kind::JetStream) else {
        table.left_out.push(format!("nats-server 2.{MINOR_MIN} or newer: not installed"));
        return table;
    };
    alternate(&setting.plan, &mut table, &contenders, Disk::Lazy, |contender| {
        let servers = Server::start(nats, Disk::Lazy)?;
        if contender.kind == Kind::JetStream {
            return measure(setting, contender, &servers);
        }
        let address = format!("127.0.0.1:{}", servers.port);
        let arguments = ["--nats", &address];
        let folder = Folder::temporary("before-nats");
        let broker = Server::start_with(contender, Disk::None, folder, &arguments)?;
        measure(setting, contender, &broker)
    });
    let times: Vec<f64> = table.lines.iter().filter_map(|it| it.values.first().copied()).collect();
    if let [through, without] = *times {
        let more = (through - without) * 1e6;
        table.notes.push(format!(
            "one at a time, p50: {more:.0} µs more through the broker (at most 100 is the aim)"
        ));
    }
    table
}

/// The figures of one of them.
fn measure(setting: &Setting<'_>, contender: &Contender, server: &Server) -> Result<Vec<f64>> {
    let topics = driver::topics(2);
    let (topic, followed) = topics.split_at(1);
    let time = setting.plan.time;
    let mut lane = Lane::open(contender, Disk::Lazy, server)?;
    lane.prepare(&topics)?;
    let mut alone = driver::one_at_a_time(&mut lane, topic, time)?;
    let many = driver::saturate(std::slice::from_mut(&mut lane), topic, 256, time)?;
    lane.check_stored(topic, server.port, alone.len() as u64 + many.count)?;
    let mut listeners = Listener::open_many(contender, Disk::Lazy, server, followed, 1)?;
    let count = u64::try_from(time.as_millis()).expect("seconds");
    let pause = Duration::from_millis(1);
    // A subscriber expects the messages of a connection from its first one on.
    let mut lane = Lane::open(contender, Disk::Lazy, server)?;
    let mut times = driver::deliver_paced(&mut lane, &mut listeners, followed, count, pause)?;
    Ok(vec![p50_and_p99(&mut alone)[0], many.per_second(), p50_and_p99(&mut times)[0]])
}

/// Whether this release of NATS can keep topics.
fn stores_batches(contender: &Contender) -> bool {
    let version = contender.name.rsplit(' ').next().unwrap_or_default();
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    matches!((numbers.next(), numbers.next()), (Some(2), Some(MINOR_MIN..)) | (Some(3..), _))
}
