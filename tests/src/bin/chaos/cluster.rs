//! Three servers of NATS and three brokers before them, of which each is killed, held up or cut off
//! at random. Publishers and followers use any broker, another with each connection.
//!
//! All of it runs in a network of its own. Where the system has none for it, nobody is cut off.

use crate::{Config, PAUSE, say, switch};
use common::flags::Error;
use common::random::random;
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};
use std::{env, thread};
use tests::network::{self, Link};
use tests::{Door, Folder, Follower, Load, NatsServers, Stopped, System};

/// How many servers, and how many brokers.
const COUNT: usize = 3;

const TOPICS: [&str; 2] = ["even", "odd"];

/// About how many milliseconds servers need for another leader.
const ELECTION: u64 = 6000;

pub(crate) fn run(config: &Config) -> Result<(), Error> {
    if !network::is_own()
        && config.power.is_none()
        && let Some(mut again) = network::again(env::args_os().skip(1))
    {
        return Err(Error::new(format!("cannot begin in another network: {}", again.exec())));
    }
    let servers = match &config.power {
        None => NatsServers::start(COUNT),
        Some(_) => {
            let store = Folder::kept(config.data.clone().into());
            NatsServers::start_in(store, COUNT, "", "sync_interval: always")
        }
    };
    let mut servers = servers.ok_or_else(|| Error::new("there is no nats-server".to_owned()))?;
    let mut brokers: [System; COUNT] = std::array::from_fn(|first| {
        // Each begins with another server.
        let addresses = (0..COUNT).map(|it| servers.address((first + it) % COUNT));
        let addresses = addresses.collect::<Vec<_>>().join(",");
        let mut broker = System::reserve_with(&["--nats", &addresses]);
        broker.start_broker();
        broker
    });
    for topic in TOPICS {
        let created = brokers[0].request("PUT", &format!("/topics/{topic}"), "").status;
        if created != 201 {
            return Err(Error::new(format!("a topic was not created: {created}")));
        }
    }
    let stream = servers.stream_of(TOPICS[0]);
    let addresses = brokers.each_ref().map(System::address).join(",");
    let mut load = Load::on(&addresses);
    for (publisher, topic, door) in [
        ("http", "even", Door::Http),
        ("batch", "even", Door::Batch),
        ("json", "even", Door::Json),
        ("http too", "odd", Door::Http),
        ("batch too", "odd", Door::Batch),
        ("json too", "odd", Door::Json),
    ] {
        load.publish(publisher, topic, door, PAUSE);
    }
    load.follow(&["even"], Follower::Poll);
    load.follow(&["even", "odd"], Follower::Events);
    load.follow(&["odd", "even"], Follower::Json);
    let mut made = BTreeMap::new();
    let end = Instant::now() + config.time;
    while Instant::now() < end {
        wait_up_to(3000);
        let what = match &config.power {
            Some(power) => cut_power(&mut servers, power)?,
            None => disturb(&mut servers, &stream, &mut brokers),
        };
        *made.entry(what).or_insert(0_u64) += 1;
    }
    load.end_publishing();
    let counts = load.finish();
    let made: Vec<_> = made.iter().map(|(what, count)| format!("{count} {what}")).collect();
    say(config, &made.join(", "), &counts)
}

/// Takes the disk of all servers away, and gives it back as a power cut leaves it. They stop first,
/// for the same reason as a broker that is alone.
fn cut_power(servers: &mut NatsServers, power: &str) -> Result<&'static str, Error> {
    let stopped: Vec<_> = (0..COUNT).map(|index| Stopped::new(servers.process(index))).collect();
    switch(power, "cut")?;
    (0..COUNT).for_each(|index| servers.kill(index));
    drop(stopped);
    switch(power, "mend")?;
    (0..COUNT).for_each(|index| servers.begin(index));
    Ok("power cuts")
}

/// Does one thing that happens to servers, which have this stream, and to brokers; says what.
fn disturb(servers: &mut NatsServers, stream: &str, brokers: &mut [System; COUNT]) -> &'static str {
    let any = || usize::try_from(random() % COUNT as u64).unwrap_or_default();
    let (broker, server) = (brokers.get_mut(any()).expect("there are so many"), any());
    assert!(broker.broker().is_running(), "a broker has ended by itself");
    match random() % if network::is_own() { 12 } else { 10 } {
        0..=3 => {
            broker.restart_broker();
            "kills of brokers"
        }
        4 => {
            let _stopped = Stopped::new(broker.broker());
            wait_up_to(3000);
            "stops of brokers"
        }
        5 => {
            servers.kill(server);
            wait_up_to(ELECTION);
            servers.restart(server);
            "kills of servers"
        }
        6 => {
            let leader = servers.leader_of(stream);
            servers.kill(leader);
            wait_up_to(ELECTION);
            servers.restart(leader);
            "kills of leaders"
        }
        7 => {
            let _stopped = Stopped::new(servers.process(server));
            wait_up_to(ELECTION);
            "stops of servers"
        }
        8 => {
            servers.process(server).signal("TERM");
            servers.process(server).wait();
            servers.restart(server);
            "ends of servers"
        }
        9 => {
            (0..COUNT).for_each(|index| servers.kill(index));
            (0..COUNT).for_each(|index| servers.begin(index));
            "kills of all servers"
        }
        10 => {
            cut_off(servers, server, Link::Nodes);
            "servers cut off from the others"
        }
        _ => {
            cut_off(servers, server, Link::Clients);
            "servers cut off from brokers"
        }
    }
}

fn cut_off(servers: &NatsServers, server: usize, link: Link) {
    servers.cut(server, link, true);
    wait_up_to(2 * ELECTION);
    servers.cut(server, link, false);
}

/// Waits for so many milliseconds at most.
fn wait_up_to(milliseconds: u64) {
    thread::sleep(Duration::from_millis(random() % milliseconds));
}
