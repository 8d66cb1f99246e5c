//! Conversations: compares the answers of two brokers, byte for byte.
//!
//! Both brokers get the same conversations, made from a seed, over all doors and in several
//! set-ups. Stream ids, times and ports are replaced; every line that still differs is listed. The
//! status is 0 if nothing differs, else 1.
//!
//! # Not here
//!
//! What the right answer is: the tests know that. This program finds accidental changes.

#![forbid(unsafe_code)]

mod alike;
mod channels;
mod dice;
mod differences;
mod http;
mod malformed;
mod play;
mod script;
mod setup;
mod topics;

use common::flags::{Arguments, Error, Program};
use dice::Dice;
use differences::Differences;
use script::Script;
use setup::{Kind, Setup};
use std::path::{self, PathBuf};
use std::process::ExitCode;

const PROGRAM: Program = Program {
    name: "conversations",
    help: "\
Have the same conversations with two brokers, and list every answer that
differs.

Usage:

  conversations [--count <number>] [--seed <number>] BEFORE AFTER

Options:

  --count=<number>
        Have so many conversations with each broker. Default: 6000.

  --seed=<number>
        Make them from this number. Default: 1.

  --show=<number>
        Print what was sent and answered in this conversation.
",
};

fn main() -> ExitCode {
    PROGRAM.main(Config::from, run)
}

struct Config {
    brokers: [PathBuf; 2],
    count: u64,
    seed: u64,
    shown: Option<u64>,
}

impl Config {
    fn from(arguments: &Arguments) -> Result<Config, Error> {
        let [before, after] = arguments.ordinary() else {
            let usage = "give two brokers: conversations BEFORE AFTER";
            return Err(Error::new(usage));
        };
        // Brokers run in folders of their own.
        let absolute = |path: &String| {
            path::absolute(path).map_err(|error| Error::new(format!("{path}: {error}")))
        };
        Ok(Config {
            brokers: [absolute(before)?, absolute(after)?],
            count: arguments.number("count")?.unwrap_or(6000),
            seed: arguments.number("seed")?.unwrap_or(1),
            shown: arguments.number("show")?,
        })
    }
}

fn run(config: Config) -> Result<(), Error> {
    let mut differences = Differences::default();
    let mut first = 0;
    for kind in Kind::ALL {
        let count = config.count * kind.share() / 100;
        let scripts: Vec<Script> = (first..first + count)
            .map(|index| kind.script(index, &mut Dice::new(config.seed, index)))
            .collect();
        first += count;
        let [before, after] = config.brokers.each_ref().map(|broker| {
            let mut setup = Setup::start(kind, broker);
            scripts.iter().map(|script| setup.play(script)).collect::<Vec<_>>()
        });
        for ((script, before), after) in scripts.iter().zip(&before).zip(&after) {
            if config.shown == Some(script.index) {
                println!("{script}\n--- before\n{before}\n--- after\n{after}");
            }
            differences.compare(kind.name(), script, before, after);
        }
        let in_vain = before.iter().filter(|text| text.contains(play::IN_VAIN)).count();
        println!("{count} conversations: {}; {in_vain} with waits in vain", kind.name());
    }
    println!("{differences}");
    match differences.conversations() {
        0 => Ok(()),
        count => Err(Error::new(format!("{count} conversations differ"))),
    }
}
