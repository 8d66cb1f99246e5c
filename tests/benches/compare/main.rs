//! Compares the broker with other servers, in one run on one machine.
//!
//! ```text
//! cargo bench -p tests --bench compare                  all rows
//! cargo bench -p tests --bench compare -- bulk restart  these rows
//! cargo bench -p tests --bench compare -- --quick bulk  shorter, and less precise
//! cargo bench -p tests --bench compare -- --only=Redis  only servers with this in their name
//! ```
//!
//! `OTHER_BROKER=PATH` names an older build of the broker, which then takes part in every round.
//!
//! Each installed server is started on loopback, in a temporary folder. One loop (`driver.rs`)
//! drives all of them through an adapter for each protocol (`peers/`). Rounds alternate, so that
//! other work of the machine affects all servers alike. Figures are medians.
//!
//! A full run writes `results.md` and `results.svg` beside this program. Any other run writes them
//! to `compare` in Cargo's target folder. The program fails if the broker lost messages or
//! delivered them out of order. A missed aim, or a loss of another server, is only reported.

#![forbid(unsafe_code)]
#![expect(
    clippy::indexing_slicing,
    reason = "a benchmark that meets what it does not expect ends there"
)]

mod bare;
mod driver;
mod floors;
mod graph;
mod payload;
mod peers;
mod report;
mod rows;
mod wire;
mod wrk;

use report::{NEAR_FLOOR, Plan, Table};
use rows::{ROWS, Setting};
use std::process::Command;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, error, fs, result};
use tests::program;
use tests::resources::raise_open_files_max;

/// What a measurement comes to.
type Result<T> = result::Result<T, Box<dyn error::Error + Send + Sync>>;

const PLAN: Plan = Plan { rounds: 3, time: Duration::from_secs(1), divisor: 1 };
const QUICK: Plan = Plan { rounds: 3, time: Duration::from_millis(400), divisor: 10 };

fn main() -> ExitCode {
    raise_open_files_max();
    // Cargo adds a flag of its own.
    let arguments: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    if let Some((flag, rest)) = arguments.split_first()
        && flag == bare::FLAG
    {
        let Err(error) = bare::serve(rest);
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let (flags, wanted): (Vec<_>, Vec<_>) =
        arguments.iter().map(String::as_str).partition(|word| word.starts_with("--"));
    let names = ROWS.map(|(name, _)| name);
    let only = flags.iter().find_map(|flag| flag.strip_prefix("--only=")).unwrap_or_default();
    let is_known = |flag: &&str| *flag == "--quick" || flag.starts_with("--only=");
    if !flags.iter().all(is_known) || wanted.iter().any(|wanted| !names.contains(wanted)) {
        eprintln!(
            "usage: cargo bench -p tests --bench compare -- [--quick] [--only=NAME] [row]..."
        );
        eprintln!("rows: {}", names.join(" "));
        return ExitCode::from(2);
    }
    let plan = if flags.contains(&"--quick") { QUICK } else { PLAN };
    let (mut contenders, missing) = peers::all();
    for word in missing {
        println!("{word}");
    }
    contenders.retain(|contender| contender.name.contains(only));
    let setting = Setting { plan, contenders: &contenders };
    let mut tables: Vec<Table> = Vec::new();
    for (name, measure) in ROWS {
        if wanted.is_empty() || wanted.contains(&name) {
            let begun = Instant::now();
            let table = measure(&setting);
            println!("{}\n(measured in {:.0} s)", table.markdown(), begun.elapsed().as_secs_f64());
            tables.push(table);
        }
    }
    let is_full = wanted.is_empty() && only.is_empty() && plan == PLAN;
    keep(&tables, &plan, is_full);
    let mut failures = tables.iter().flat_map(|table| &table.failures);
    if failures.all(|failure| !failure.is_ours) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes what was found: a full run beside this program, any other among what Cargo builds.
fn keep(tables: &[Table], plan: &Plan, is_full: bool) {
    let folder = match is_full {
        true => program::workspace().join("tests/benches"),
        false => program::target().join("compare"),
    };
    let surroundings = surroundings();
    let mut text = format!(
        "# The broker beside its peers\n\nMeasured with `cargo bench -p tests`: {surroundings}.\n\n\
         Everything ran on this one machine, over loopback, with messages of 100 bytes; figures \
         are medians of {} rounds that alternated. \"Answers\" says whether a publish is \
         acknowledged, \"stores\" whether it can be read later, \"syncs\" whether it was on disk \
         before it was acknowledged. \"Of the best peer\" divides by the best figure of the \
         column that is not the broker's, whatever that peer promises.\n\n\
         The second table of each row holds the broker's figures against the same of an older \
         build (before), of a bare server with the same threads and sockets that parses and \
         stores nothing (floor; elsewhere, what the machine does without a server), and of the \
         best peer. In brackets is the broker's figure, divided by that one. A figure is met if \
         no peer is ahead, or if it is within {NEAR_FLOOR} of its floor. If it is missed, a \
         profile shows \
         where the time goes.\n",
        plan.rounds,
    );
    for table in tables {
        text.push_str(&table.markdown());
    }
    let results = [
        ("results.md", format!("{}\n", text.trim_end())),
        ("results.svg", graph::svg(tables, &surroundings)),
    ];
    for (name, text) in results {
        let path = folder.join(name);
        match fs::create_dir_all(&folder).and_then(|()| fs::write(&path, text)) {
            Ok(()) => println!("written: {}", path.display()),
            Err(error) => println!("not written: {}: {error}", path.display()),
        }
    }
}

/// The machine and the day.
fn surroundings() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("an unknown processor", |model| model.trim_matches([' ', '\t', ':']));
    let count = processor.lines().filter(|line| line.starts_with("processor")).count();
    let output = |name: &str, argument: &str| {
        let output = Command::new(name).arg(argument).output();
        output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().into())
    };
    let (kernel, day) = (output("uname", "-sr"), output("date", "+%Y-%m-%d"));
    format!("{count} × {model}, {kernel}, {day}")
}
