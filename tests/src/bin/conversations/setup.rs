//! The set-ups of brokers for the conversations.

use crate::dice::Dice;
use crate::script::Script;
use crate::{alike, channels, http, malformed, play, topics};
use std::path::Path;
use std::process::Command;
use tests::wait::{DEADLINE, wait_for};
use tests::{Folder, Process};

/// A broker, and those that work with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In memory, without a token.
    Plain,
    /// With a journal.
    Journal,
    /// With a token that each door asks for.
    Token,
    /// A leaf: its topics are a hub's.
    Leaf,
    /// A peer: an index tells where topics are.
    Peer,
}

impl Kind {
    pub(crate) const ALL: [Kind; 5] =
        [Kind::Plain, Kind::Journal, Kind::Token, Kind::Leaf, Kind::Peer];

    /// How many of a hundred conversations are had in it.
    pub(crate) fn share(self) -> u64 {
        match self {
            Kind::Plain => 64,
            Kind::Journal => 10,
            Kind::Token => 6,
            Kind::Leaf | Kind::Peer => 10,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Plain => "a broker in memory",
            Kind::Journal => "a broker with a journal",
            Kind::Token => "a broker with a token",
            Kind::Leaf => "a leaf of a hub",
            Kind::Peer => "a peer with an index",
        }
    }

    /// A conversation for this set-up.
    pub(crate) fn script(self, index: u64, dice: &mut Dice) -> Script {
        let mut script = Script::new(index);
        match dice.below(20) {
            0..=2 => http::publishes(&mut script, dice),
            3..=4 => http::reads(&mut script, dice),
            5 => http::topics(&mut script, dice),
            6 => http::events(&mut script, dice),
            7 => http::waits(&mut script, dice),
            8..=9 => http::pipelined(&mut script, dice),
            10 => http::bodies(&mut script, dice),
            11..=12 => malformed::http(&mut script, dice),
            13..=14 => topics::commands(&mut script, dice),
            15 => topics::lasting(&mut script, dice),
            16 => channels::json(&mut script, dice),
            17 => channels::text(&mut script, dice),
            18 => malformed::sessions(&mut script, dice),
            _ => channels::across(&mut script, dice),
        }
        script
    }
}

/// A set-up that runs.
pub(crate) struct Setup {
    processes: Vec<Process>,
    ports: Vec<u16>,
}

const TOKEN: &str = "open-sesame";

impl Setup {
    /// Starts the brokers of a set-up.
    pub(crate) fn start(kind: Kind, broker: &Path) -> Setup {
        let mut setup = Setup { processes: Vec::new(), ports: Vec::new() };
        match kind {
            Kind::Plain => setup.start_broker(broker, &[]),
            Kind::Journal => setup.start_broker(broker, &["--data", "data"]),
            Kind::Token => setup.start_broker(broker, &["--token-file", "token.txt"]),
            Kind::Leaf | Kind::Peer => {
                setup.start_broker(broker, &[]);
                let first = format!("127.0.0.1:{}", setup.ports.first().copied().unwrap_or(0));
                let flag = if kind == Kind::Leaf { "--upstream" } else { "--index" };
                setup.start_broker(broker, &[flag, &first]);
                setup.await_other();
            }
        }
        setup
    }

    fn start_broker(&mut self, broker: &Path, arguments: &[&str]) {
        let folder = Folder::temporary("conversations");
        folder.write("token.txt", TOKEN);
        let mut command = Command::new(broker);
        for variable in ["PORT", "BROKER_TOKEN", "PEER_BROKER_HOST", "PEER_BROKER_PORT"] {
            command.env_remove(variable);
        }
        command.args(["--port", "0"]).args(arguments);
        let mut process = Process::start("broker", command, &folder);
        let line = process.first_line();
        let port = line
            .split(':')
            .nth(2)
            .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        self.ports.push(port.and_then(|port| port.parse().ok()).expect("the line names a port"));
        self.processes.push(process);
    }

    /// Waits until the broker that was started last works with the first.
    fn await_other(&mut self) {
        let mut script = Script::new(0);
        script.say(0, r#"{"command":"create_topic","topic":"ready"}"#);
        wait_for(DEADLINE, "the broker's way to the other", || {
            let answer = self.play(&script);
            (answer.contains("created") || answer.contains("exists")).then_some(())
        });
    }

    /// Has a conversation with the broker that was started last.
    pub(crate) fn play(&mut self, script: &Script) -> String {
        let port = self.ports.last().expect("a broker was started");
        let received = play::play(script, &format!("127.0.0.1:{port}"));
        alike::lines(&received, script.index, &self.ports).join("\n")
    }
}
