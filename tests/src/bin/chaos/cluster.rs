//! Three servers of NATS and three brokers before them, of which each is killed, held up or cut off
//! at random. Publishers and followers use any broker, another with each connection.

use crate::{Config, PAUSE, clean, say};
use common::flags::Error;
use common::random::random;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};
use tests::{Door, Follower, Load, NatsServers, Stopped, System};

/// How many servers, and how many brokers.
const COUNT: usize = 3;

const TOPICS: [&str; 2] = ["even", "odd"];

/// About how many milliseconds servers need for another leader.
const ELECTION: u64 = 6000;

pub(crate) fn run(config: &Config) -> Result<(), Error> {
    let servers = NatsServers::start_partible();
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
        *made.entry(disturb(&mut servers, &stream, &mut brokers)).or_insert(0_u64) += 1;
    }
    load.end_publishing();
    let counts = load.finish();
    let made: Vec<_> = made.iter().map(|(what, count)| format!("{count} {what}")).collect();
    say(config, &made.join(", "), &counts);
    clean(&counts)
}

/// Does one thing that happens to servers, which have this stream, and to brokers; says what.
fn disturb(servers: &mut NatsServers, stream: &str, brokers: &mut [System; COUNT]) -> &'static str {
    let any = || usize::try_from(random() % COUNT as u64).unwrap_or_default();
    let (broker, server) = (brokers.get_mut(any()).expect("there are so many"), any());
    assert!(broker.broker().is_running(), "a broker has ended by itself");
    match random() % 12 {
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
            servers.part(server, true);
            wait_up_to(2 * ELECTION);
            servers.part(server, false);
            "servers cut off"
        }
        _ => {
            servers.hush(server, true);
            wait_up_to(2 * ELECTION);
            servers.hush(server, false);
            "servers cut off in silence"
        }
    }
}

/// Waits for so many milliseconds at most.
fn wait_up_to(milliseconds: u64) {
    thread::sleep(Duration::from_millis(random() % milliseconds));
}
