//! Fan-out: one publisher, many subscribers.

use super::Setting;
use super::deliver::PUSHING;
use crate::driver::{self, Lane, Listener};
use crate::peers::{Disk, Kind, Server};
use crate::report::{Against, Aim, Column, Table, Unit, alternate, p50_and_p99, thousands};
use std::time::Duration;

/// How many subscribers.
const WIDTHS: [usize; 2] = [100, 1000];

/// How far the publisher may be ahead of the slowest of them.
const AHEAD: [u64; 2] = [2_000, 400];

/// Row `fan-out`.
pub(super) fn saturated(setting: &Setting<'_>) -> Table {
    let mut table = Table::new("fan-out", "fan-out, saturated: messages delivered");
    table.headline = Some(1);
    table.columns = WIDTHS
        .map(|width| {
            Column::new(format!("{} subscribers", thousands(width as u64)), Unit::PerSecond)
        })
        .to_vec();
    let peers = PUSHING[2..].to_vec();
    for (column, ours) in [(0, Kind::Json), (0, Kind::Channel), (1, Kind::Json), (1, Kind::Channel)]
    {
        let peers = peers.clone();
        table.aims.push(Aim {
            ours: vec![ours],
            column,
            against: Against::Peers(peers),
            factor: 1.0,
        });
    }
    let topics = driver::topics(1);
    alternate(&setting.plan, &mut table, &setting.of(&PUSHING), Disk::None, |contender| {
        let mut rates = Vec::new();
        for (width, ahead) in WIDTHS.into_iter().zip(AHEAD) {
            let server = Server::start(contender, Disk::None)?;
            let mut lane = Lane::open(contender, Disk::None, &server)?;
            lane.prepare(&topics)?;
            let mut listeners =
                Listener::open_many(contender, Disk::None, &server, &topics, width)?;
            let time = setting.plan.time;
            let delivered = driver::deliver(&mut lane, &mut listeners, &topics, ahead, time)?;
            rates.push(delivered.per_second() * width as f64);
        }
        Ok(rates)
    });
    table
}

/// Row `fan-out-paced`.
pub(super) fn paced(setting: &Setting<'_>) -> Table {
    let mut table =
        Table::new("fan-out-paced", "fan-out at 20 messages a second, from publish to receipt");
    table.headline = Some(2);
    table.columns = WIDTHS
        .into_iter()
        .flat_map(|width| {
            ["p50", "p99"].map(|part| format!("{} subscribers, {part}", thousands(width as u64)))
        })
        .map(|name| Column::new(name, Unit::Seconds))
        .collect();
    for column in 0..4 {
        let ours = vec![Kind::Json, Kind::Channel];
        table.aims.push(Aim {
            ours,
            column,
            against: Against::Peers(PUSHING[2..].to_vec()),
            factor: 0.9,
        });
    }
    let topics = driver::topics(1);
    let count = u64::try_from(setting.plan.time.as_millis() / 25).expect("seconds").max(10);
    alternate(&setting.plan, &mut table, &setting.of(&PUSHING), Disk::None, |contender| {
        let mut values = Vec::new();
        for width in WIDTHS {
            let server = Server::start(contender, Disk::None)?;
            let mut lane = Lane::open(contender, Disk::None, &server)?;
            lane.prepare(&topics)?;
            let mut listeners =
                Listener::open_many(contender, Disk::None, &server, &topics, width)?;
            let pause = Duration::from_millis(50);
            let mut times =
                driver::deliver_paced(&mut lane, &mut listeners, &topics, count, pause)?;
            values.extend(p50_and_p99(&mut times));
        }
        Ok(values)
    });
    table
}
