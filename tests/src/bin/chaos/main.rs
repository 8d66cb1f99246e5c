//! Chaos: a broker, eleven publishers and nine subscribers are killed at random under load. Beside
//! it, another broker loses history again and again, and its readers and a leaf go on with what is
//! left.
//!
//! With `--nats`, three servers of NATS and three brokers before them are disturbed instead.
//!
//! At the end every topic is read and compared with what publishers were told and readers saw. The
//! status is 0 if nothing was lost, doubled, moved or invented, else 1.

#![forbid(unsafe_code)]

mod cluster;
mod history;
mod publishers;

use common::flags::{Arguments, Error, Program};
use common::random::random;
use publishers::{FilePublisher, ProgramPublisher};
use std::fmt;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};
use tests::raw::Raw;
use tests::{Counts, Door, Fate, Follower, Load, Proxy, Stopped, Subscriber, System};

const PROGRAM: Program = Program {
    name: "chaos",
    help: "\
Kill a broker and those who work with it at random, and count what became of
every message.

Usage:

  chaos [--seconds <seconds>] [--nats] [--markdown]

Options:

  --seconds=<seconds>
        Go on for so long. Default: 30.

  --nats
        Disturb three servers of NATS, which are the home of all topics, and
        three brokers before them.

  --data=<directory>
        Keep the broker's journal here, or what servers of NATS store while
        their power is cut. Default: a temporary directory.

  --under=<command>
        Start the broker under this command, which must become the broker.

  --power=<command>
        Instead of killing at random, cut the power: stop the broker, or all
        servers of NATS, run this command with the word cut, kill them, run it
        with the word mend, start again.

  --calm
        Kill nothing: somebody else disturbs the broker.

  --loss
        Succeed only if acknowledged messages were lost: shows that a loss is
        found.

  --markdown
        Print everything in one line, for the cell of a table.
",
};

/// Between two publishes of one publisher.
const PAUSE: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    PROGRAM.main(Config::from, run)
}

struct Config {
    time: Duration,
    is_nats: bool,
    data: String,
    under: Vec<String>,
    power: Option<String>,
    is_calm: bool,
    is_loss_wanted: bool,
    is_markdown: bool,
}

impl Config {
    fn from(arguments: &Arguments) -> Result<Config, Error> {
        Ok(Config {
            time: Duration::from_secs(arguments.number("seconds")?.unwrap_or(30)),
            is_nats: arguments.has("nats"),
            data: arguments.value("data").unwrap_or("data").to_owned(),
            under: arguments
                .value("under")
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            power: arguments.value("power").map(str::to_owned),
            is_calm: arguments.has("calm"),
            is_loss_wanted: arguments.has("loss"),
            is_markdown: arguments.has("markdown"),
        })
    }
}

/// How often each disturbance was made.
#[derive(Debug, Default)]
struct Disturbances {
    kills: u64,
    kills_of_starts: u64,
    stops: u64,
    power_cuts: u64,
    kills_of_publishers: u64,
    kills_of_subscribers: u64,
}

impl fmt::Display for Disturbances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.kills, "kills of the broker"),
            (self.kills_of_starts, "kills of its start"),
            (self.stops, "stops"),
            (self.power_cuts, "power cuts"),
            (self.kills_of_publishers, "kills of publishers"),
            (self.kills_of_subscribers, "kills of subscribers"),
        ];
        let made: Vec<_> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        f.write_str(if made.is_empty() { "no kills" } else { "" })?;
        f.write_str(&made.join(", "))
    }
}

fn run(config: Config) -> Result<(), Error> {
    if config.is_nats {
        return cluster::run(&config);
    }
    let under: Vec<_> = config.under.iter().map(String::as_str).collect();
    let mut system = System::reserve_with(&["--data", &config.data]).under(&under);
    system.start_broker();
    let proxy = Proxy::start(system.port(), |_| Fate::Cut {
        answered: usize::try_from(random() % 4000).unwrap_or_default(),
    });
    let mut load = start_load(&system, &format!("127.0.0.1:{}", proxy.port()));
    let mut programs = [ProgramPublisher::new("even"), ProgramPublisher::new("odd")];
    let mut file = FilePublisher::new("even");
    let mut subscriber = system.subscribe("even");
    let mut made = Disturbances::default();

    let end = Instant::now() + config.time;
    let is_plain = config.power.is_none() && !config.is_calm && config.under.is_empty();
    let history = is_plain.then(|| thread::spawn(move || history::run(end)));
    while Instant::now() < end {
        for publisher in &mut programs {
            publisher.go_on(&system, &load);
        }
        thread::sleep(Duration::from_millis(20 + random() % 200));
        file.go_on(&system, &load);
        // A file takes some milliseconds: what happens is to happen while it is under way.
        thread::sleep(Duration::from_micros(random() % 8000));
        if let Some(power) = &config.power {
            cut_power(&mut system, power, &mut made)?;
        } else if !config.is_calm {
            if random().is_multiple_of(4) && file.kill() {
                made.kills_of_publishers += 1;
            } else {
                disturb(&mut system, &mut subscriber, &mut programs, &mut made);
            }
        }
    }
    load.end_publishing();
    for publisher in &mut programs {
        publisher.end(&load);
    }
    file.end(&system, &load);
    let (refusals, ended_subscriptions) = (load.refusals(), load.ended_subscriptions());
    let counts = if config.is_loss_wanted { load.count() } else { load.finish() };
    if !config.is_loss_wanted {
        subscriber.expect(&system.messages("even"));
    }
    if let Some(history) = history {
        let rounds =
            history.join().map_err(|_| Error::new("a reader of lost history".to_owned()))?;
        println!(
            "{} older copies put back, {} repairs: {} readers skipped",
            rounds.copies, rounds.repairs, rounds.skipped
        );
        if rounds.skipped > 0 {
            return Err(Error::new("readers skipped messages in silence".to_owned()));
        }
    }
    report(&config, &counts, &made, refusals, ended_subscriptions)
}

/// Lets a topic keep few messages, so that whoever is slow, or away, finds some of them gone.
fn keep_few(system: &System, topic: &str) {
    let mut raw = Raw::connect(&system.address());
    raw.request("PUT", &format!("/topics/{topic}"), r#"{"keep_messages":200}"#);
    assert!(raw.answer().status < 300, "the topic was created");
}

/// Eight publishers that repeat what was not answered, two of them over a network that loses
/// things, and eight followers, two of them with lasting subscriptions that
/// are acknowledged, ended and begun again. The other three publishers and the last subscriber are
/// programs.
fn start_load(system: &System, lossy: &str) -> Load {
    let mut load = Load::on(&system.address());
    keep_few(system, "short");
    load.publish("short http", "short", Door::Http, PAUSE);
    load.publish("short batch", "short", Door::Batch, PAUSE);
    load.follow(&["short"], Follower::Poll);
    load.follow(&["short", "even"], Follower::Events);
    load.follow(&["short"], Follower::Json);
    load.publish("http", "even", Door::Http, PAUSE);
    load.publish("batch", "odd", Door::Batch, PAUSE);
    load.publish("json", "even", Door::Json, PAUSE);
    load.publish("json too", "odd", Door::Json, PAUSE);
    load.publish_through(lossy, "lossy http", "odd", Door::Http, PAUSE);
    load.publish_through(lossy, "lossy json", "even", Door::Json, PAUSE);
    load.follow(&["odd"], Follower::Poll);
    load.follow(&["even", "odd"], Follower::Events);
    load.follow(&["even", "odd"], Follower::Json);
    load.follow(&["odd"], Follower::Lasting("anna"));
    load.follow(&["even"], Follower::Lasting("bert"));
    load
}

/// Does one thing that happens to programs.
fn disturb(
    system: &mut System,
    subscriber: &mut Subscriber,
    programs: &mut [ProgramPublisher],
    made: &mut Disturbances,
) {
    assert!(system.broker().is_running(), "the broker has ended by itself");
    match random() % 10 {
        0..=4 => {
            system.restart_broker();
            made.kills += 1;
        }
        5..=6 => {
            system.kill_broker();
            system.begin_broker();
            thread::sleep(Duration::from_millis(random() % 30));
            system.restart_broker();
            made.kills += 1;
            made.kills_of_starts += 1;
        }
        7 => {
            let _stopped = Stopped::new(system.broker());
            thread::sleep(Duration::from_millis(random() % 500));
            made.stops += 1;
        }
        8 => {
            assert!(subscriber.process().is_running(), "the subscriber has ended by itself");
            subscriber.kill();
            system.restart(subscriber);
            made.kills_of_subscribers += 1;
        }
        _ => {
            for publisher in programs {
                made.kills_of_publishers += u64::from(publisher.kill());
            }
        }
    }
}

/// Takes the disk away in the middle of everything, and gives it back as a power cut leaves it.
fn cut_power(system: &mut System, power: &str, made: &mut Disturbances) -> Result<(), Error> {
    // A sync that is under way when a file system is shut down may be called a success although
    // it was none, which no power cut can do. So the broker stops first: it answers nobody after
    // the cut.
    let _stopped = Stopped::new(system.broker());
    switch(power, "cut")?;
    system.kill_broker();
    switch(power, "mend")?;
    system.start_broker();
    made.power_cuts += 1;
    Ok(())
}

/// Runs what cuts the power, or mends what was cut.
fn switch(power: &str, word: &str) -> Result<(), Error> {
    match Command::new("sh").args(["-c", &format!("{power} {word}")]).status() {
        Ok(status) if status.success() => Ok(()),
        other => Err(Error::new(format!("{power} {word}: {other:?}"))),
    }
}

/// Says what happened, and whether it may happen.
fn report(
    config: &Config,
    counts: &Counts,
    made: &Disturbances,
    refusals: u64,
    ended: u64,
) -> Result<(), Error> {
    let refused = if refusals > 0 { format!(", {refusals} refusals") } else { String::new() };
    let made = format!("{made}{refused}, {ended} lasting subscriptions ended and begun again");
    say(config, &made, counts)
}

/// Says it, and whether that was wanted.
fn say(config: &Config, made: &str, counts: &Counts) -> Result<(), Error> {
    let between = if config.is_markdown { "; " } else { "\n" };
    println!("{} s: {made}{between}{counts}", config.time.as_secs());
    match config.is_loss_wanted {
        true if counts.lost == 0 => Err("nothing was lost, though it had to be"),
        false if !counts.is_clean() => Err("the counts are not all 0"),
        _ => Ok(()),
    }
    .map_err(|why| Error::new(why.to_owned()))
}
