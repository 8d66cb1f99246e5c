//! Many subscribers that have nothing to read.

use super::Setting;
use crate::Result;
use crate::driver::{self, Lane, Listener};
use crate::peers::{Disk, Kind, Server};
use crate::report::{Against, Aim, Column, Table, Unit, alternate, percentile, thousands};
use std::time::Duration;
use tests::resources::{Resources, kernel_memory, open_files_max};

/// Subscribers, where the limit of open files allows so many.
const COUNT: usize = 10_000;

/// How many of them there are when publishing elsewhere is measured before the end.
const FEW: usize = COUNT / 10;

/// Messages that all of them get, one after another.
const MESSAGES: u64 = 3;

/// Row `idle`.
pub(super) fn subscribers(setting: &Setting<'_>) -> Table {
    let divisor = usize::try_from(setting.plan.divisor).expect("small");
    let count = (COUNT / divisor).min(open_files_max().saturating_sub(200));
    let few = (FEW / divisor).min(count);
    let mut table = Table::new("idle", &format!("{} idle subscribers", thousands(count as u64)));
    table.headline = Some(2);
    table.columns = vec![
        Column::new("memory of each", Unit::Bytes),
        Column::new("without the kernel's", Unit::Bytes),
        Column::new("one message to all", Unit::Seconds),
        Column::new("publish elsewhere, p50", Unit::Seconds),
        Column::new(format!("beside {}, p50", thousands(few as u64)), Unit::Seconds),
        Column::new("beside none, p50", Unit::Seconds),
    ];
    let kinds = [Kind::Json, Kind::RedisPubSub, Kind::NatsCore, Kind::Mosquitto, Kind::BareJson(1)];
    let aim = |column, peers, factor| Aim {
        ours: vec![Kind::Json],
        column,
        against: Against::Peers(peers),
        factor,
    };
    table.aims = vec![
        aim(0, vec![Kind::NatsCore], 1.0),
        aim(2, kinds[1..4].to_vec(), 0.9),
        aim(3, kinds[1..4].to_vec(), 1.0),
        // As with none idle, give or take what differs from one run to the next.
        Aim { ours: vec![Kind::Json], column: 3, against: Against::Own(5), factor: 1.1 },
    ];
    let topics = driver::topics(2);
    let (topic, elsewhere) = topics.split_at(1);
    let time = setting.plan.time.min(Duration::from_millis(500));
    alternate(&setting.plan, &mut table, &setting.of(&kinds), Disk::None, |contender| {
        let server = Server::start(contender, Disk::None)?;
        let mut lane = Lane::open(contender, Disk::None, &server)?;
        let mut other = Lane::open(contender, Disk::None, &server)?;
        let mut publish_elsewhere = || -> Result<f64> {
            Ok(percentile(&mut driver::one_at_a_time(&mut other, elsewhere, time)?, 500))
        };
        let beside_none = publish_elsewhere()?;
        let memory = || [Resources::of(server.process.id()).memory, kernel_memory()];
        let mut grown = [0; 2];
        // What is published in between grows memory as well, and is not counted.
        let mut open = |count| -> Result<Vec<Listener>> {
            let before = memory();
            let opened = Listener::open_many(contender, Disk::None, &server, topic, count)?;
            for ((grown, before), after) in grown.iter_mut().zip(before).zip(memory()) {
                *grown += after.saturating_sub(before);
            }
            Ok(opened)
        };
        let mut listeners = open(few)?;
        let beside_few = publish_elsewhere()?;
        listeners.extend(open(count - few)?);
        let [process, kernel] = grown.map(|bytes| bytes as f64 / count as f64);
        let pause = Duration::from_millis(300);
        let times = driver::deliver_paced(&mut lane, &mut listeners, topic, MESSAGES, pause)?;
        // All have a message before the first has the next.
        let mut last: Vec<Duration> =
            times.chunks(count).filter_map(|times| times.iter().max().copied()).collect();
        let to_all = percentile(&mut last, 500);
        let beside_all = publish_elsewhere()?;
        Ok(vec![process + kernel, process, to_all, beside_all, beside_few, beside_none])
    });
    table
}
