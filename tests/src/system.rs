//! A broker, and the publishers and subscribers that work with it.
//!
//! Where `TESTS_NATS` names a NATS server, that is the home of the topics of every broker without
//! another role: so the same tests can be run with a cluster. Only brokers of which a test wants
//! what no cluster does, to forget or to be full, are left [alone](System::alone).

use crate::folder::Folder;
use crate::process::Process;
use crate::raw::{Answer, Raw, shorten};
use crate::wait::{DEADLINE, holds_within};
use crate::{port, program};
use common::http::percent;
use common::json::{self, Json};
use std::ops::Div;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, process};

/// A broker on a port of its own, and the address that its nodes are told.
#[derive(Debug)]
pub struct System {
    broker: Option<Process>,
    folder: Folder,
    arguments: Vec<String>,
    /// The arguments that give it a home in NATS.
    home: Vec<String>,
    port: u16,
    /// What the broker is started under: a program and its arguments, such as `strace`.
    under: Vec<String>,
    /// The host and port that nodes are told; where nothing else was said, the broker's own.
    told: Option<(String, u16)>,
}

impl System {
    /// Starts a broker on a free port.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn start() -> System {
        System::start_with(&[])
    }

    /// Starts a broker with more arguments on a free port. It runs in a folder of its own, so
    /// `--data data` is a place for its journal.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn start_with(arguments: &[&str]) -> System {
        let mut system = System::on(0, arguments);
        system.start_broker();
        system
    }

    /// A port on which no broker runs yet. It stays free between two runs of a broker, which
    /// the port of [`System::start`] does not: tests that restart a broker begin here.
    #[must_use]
    pub fn reserve() -> System {
        System::reserve_with(&[])
    }

    /// A port as [`System::reserve`] finds it, for a broker with more arguments.
    #[must_use]
    pub fn reserve_with(arguments: &[&str]) -> System {
        System::on(port::free(), arguments)
    }

    /// Starts every later broker under another program, which must become the broker, as a shell
    /// does with `exec`.
    #[must_use]
    pub fn under(mut self, program: &[&str]) -> System {
        self.under = program.iter().map(|&part| part.to_owned()).collect();
        self
    }

    fn on(port: u16, arguments: &[&str]) -> System {
        let mut home = Vec::new();
        let roles = ["--nats", "--upstream", "--index"];
        if let Some(address) = System::nats()
            && !arguments.iter().any(|argument| roles.contains(argument))
        {
            // Each has topics of its own there.
            static LAST: AtomicUsize = AtomicUsize::new(0);
            let number = LAST.fetch_add(1, Ordering::Relaxed);
            let prefix = format!("p{}-{number}", process::id());
            home.extend(["--nats".to_owned(), address, "--nats-prefix".to_owned(), prefix]);
        }
        System {
            broker: None,
            folder: Folder::temporary("broker"),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            home,
            port,
            under: Vec::new(),
            told: None,
        }
    }

    /// Whether tests are run with a cluster, and where it is.
    #[must_use]
    pub fn nats() -> Option<String> {
        env::var("TESTS_NATS").ok()
    }

    /// How much of a load there is: a tenth with a cluster, which has a second server at work for
    /// each message.
    #[must_use]
    pub fn scaled<T: Div<Output = T> + From<u8>>(count: T) -> T {
        if System::nats().is_some() { count / T::from(10) } else { count }
    }

    /// Makes the broker the home of its topics, also where tests are run with a cluster: what is
    /// tested is what a broker does that forgets with its memory, or has no room for more.
    #[must_use]
    pub fn alone(mut self) -> System {
        self.home.clear();
        self
    }

    /// Puts the broker's own folder, and so its output, where it can be looked at later.
    #[must_use]
    pub fn in_folder(mut self, folder: Folder) -> System {
        self.folder = folder;
        self
    }

    /// Starts the broker, and waits until it says that it is running.
    ///
    /// # Panics
    ///
    /// When it runs already, or does not come up.
    #[track_caller]
    pub fn start_broker(&mut self) {
        self.begin_broker();
        let line = self.broker().first_line();
        self.port = port_in(&line);
    }

    /// Starts the broker, and does not wait for it.
    ///
    /// # Panics
    ///
    /// When it runs already, or cannot be started.
    #[track_caller]
    pub fn begin_broker(&mut self) {
        assert!(self.broker.is_none(), "the broker runs already");
        let mut command = program::command_under(&self.under, "broker");
        command.arg("--port").arg(self.port.to_string()).args(&self.arguments).args(&self.home);
        self.broker = Some(Process::start("broker", command, &self.folder));
    }

    /// Kills the broker, as `kill -9` does. Its port stays the same.
    ///
    /// # Panics
    ///
    /// When it does not run.
    #[track_caller]
    pub fn kill_broker(&mut self) {
        self.broker.take().expect("the broker runs").kill();
    }

    /// Kills the broker and starts it again on the same port.
    ///
    /// # Panics
    ///
    /// When it did not run, or does not come up again.
    #[track_caller]
    pub fn restart_broker(&mut self) {
        self.kill_broker();
        self.start_broker();
    }

    /// The broker's own folder.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The broker's process.
    ///
    /// # Panics
    ///
    /// When it does not run.
    #[track_caller]
    pub fn broker(&mut self) -> &mut Process {
        self.broker.as_mut().expect("the broker runs")
    }

    /// The broker's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The broker's address, `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Tells nodes another way to the broker from now on: a name, or a proxy.
    pub fn tell(&mut self, host: &str, port: u16) {
        self.told = Some((host.to_owned(), port));
    }

    /// Tells a command where the broker is, as every node is told.
    pub fn introduce(&self, command: &mut Command) {
        let (host, port) = match &self.told {
            Some((host, port)) => (host.as_str(), *port),
            None => ("127.0.0.1", self.port),
        };
        command.env("PEER_BROKER_HOST", host).env("PEER_BROKER_PORT", port.to_string());
    }

    /// Starts a program of this workspace that is told where the broker is, in a folder of its
    /// own.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn run(&self, name: &str, arguments: &[&str]) -> Process {
        Process::start(name, self.command(name, arguments), &Folder::temporary(name))
    }

    /// Starts a program as [`System::run`] does, with an input to write to.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn run_with_input(&self, name: &str, arguments: &[&str]) -> Process {
        Process::start_with_input(name, self.command(name, arguments), &Folder::temporary(name))
    }

    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = program::command(name);
        command.args(arguments);
        self.introduce(&mut command);
        command
    }

    /// Starts the publisher without arguments and waits until it has published its five.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn publish_the_five(&self) {
        self.run("publisher", &[]).succeed();
    }

    /// Starts a subscriber whose `topic.txt` holds `topic`.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn subscribe(&self, topic: impl AsRef<[u8]>) -> Subscriber {
        self.subscribe_in(Folder::temporary("subscriber"), topic)
    }

    /// Starts a subscriber as [`System::subscribe`] does, in a folder that may hold files.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn subscribe_in(&self, folder: Folder, topic: impl AsRef<[u8]>) -> Subscriber {
        folder.write("topic.txt", topic);
        let process = Process::start("subscriber", self.command("subscriber", &[]), &folder);
        Subscriber { process, folder }
    }

    /// Starts a subscriber that was killed again, in the folder that it left.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn restart(&self, subscriber: &mut Subscriber) {
        let command = self.command("subscriber", &[]);
        subscriber.process = Process::start("subscriber", command, &subscriber.folder);
    }

    /// Sends one request on a connection of its own.
    ///
    /// # Panics
    ///
    /// When it is not answered.
    #[must_use]
    #[track_caller]
    pub fn request(&self, method: &str, target: &str, body: impl AsRef<[u8]>) -> Answer {
        let mut raw = Raw::connect(&self.address());
        raw.request(method, target, body);
        if method == "HEAD" { raw.answer_to_head() } else { raw.answer() }
    }

    /// Asks for `target`.
    ///
    /// # Panics
    ///
    /// When it is not answered.
    #[must_use]
    #[track_caller]
    pub fn get(&self, target: &str) -> Answer {
        self.request("GET", target, "")
    }

    /// Publishes one message.
    ///
    /// # Panics
    ///
    /// When it is refused.
    #[track_caller]
    pub fn publish(&self, topic: &str, message: &str) {
        let answer = self.request("POST", "/publish", publish_body(topic, message));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Publishes many messages together; so many as a cluster takes at once, where there is one.
    ///
    /// # Panics
    ///
    /// When they are refused.
    #[track_caller]
    pub fn publish_batch(&self, topic: &str, messages: impl Iterator<Item = impl AsRef<str>>) {
        let count_max = if self.home.is_empty() { usize::MAX } else { 1000 };
        let mut messages = messages.peekable();
        loop {
            let mut body = b"{\"topic\":".to_vec();
            topic.write(&mut body, json::Charset::Utf8);
            body.extend_from_slice(b",\"messages\":[");
            for (number, message) in messages.by_ref().take(count_max).enumerate() {
                if number > 0 {
                    body.push(b',');
                }
                message.as_ref().write(&mut body, json::Charset::Utf8);
            }
            body.extend_from_slice(b"]}");
            let answer = self.request("POST", "/publish", body);
            assert_eq!(answer.status, 200, "{answer:?}");
            if messages.peek().is_none() {
                return;
            }
        }
    }

    /// All messages of a topic.
    ///
    /// # Panics
    ///
    /// When they cannot be had.
    #[must_use]
    #[track_caller]
    pub fn messages(&self, topic: &str) -> Vec<String> {
        let answer = self.get(&format!("/messages?topic={}", percent::encode(topic)));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text().lines().map(str::to_owned).collect()
    }
}

/// A subscriber that keeps `received.txt`.
#[derive(Debug)]
pub struct Subscriber {
    process: Process,
    folder: Folder,
}

impl Subscriber {
    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The folder with `topic.txt` and `received.txt`.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// What `received.txt` holds.
    ///
    /// # Panics
    ///
    /// When it is not UTF-8, which no reader may ever see.
    #[must_use]
    pub fn received(&self) -> String {
        String::from_utf8(self.folder.read("received.txt")).expect("whole lines only")
    }

    /// Waits until `received.txt` holds exactly these messages, one per line.
    ///
    /// # Panics
    ///
    /// When it does not within [`DEADLINE`].
    #[track_caller]
    pub fn expect(&self, messages: &[impl AsRef<str>]) {
        let expected: String =
            messages.iter().flat_map(|message| [message.as_ref(), "\n"]).collect();
        let is_equal = holds_within(DEADLINE, || self.received() == expected);
        let (wanted, held) = (shorten(&expected), shorten(&self.received()));
        assert!(is_equal, "received.txt was to hold {wanted}, it holds {held}");
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

/// The body that publishes one message.
#[must_use]
pub fn publish_body(topic: &str, message: &str) -> Vec<u8> {
    let mut body = b"{\"topic\":".to_vec();
    topic.write(&mut body, json::Charset::Utf8);
    body.extend_from_slice(b",\"message\":");
    message.write(&mut body, json::Charset::Utf8);
    body.push(b'}');
    body
}

/// The port in the line that a broker prints when it is running.
#[track_caller]
fn port_in(line: &str) -> u16 {
    line.strip_prefix("Broker running on http://")
        .and_then(|rest| rest.split([' ', '/']).next())
        .and_then(|address| address.rsplit(':').next())
        .and_then(|port| port.parse().ok())
        .unwrap_or_else(|| panic!("no address in the broker's first line: {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_every_form_of_the_first_line() {
        for line in [
            "Broker running on http://127.0.0.1:9000",
            "Broker running on http://127.0.0.1:9000 (this machine only; in memory)",
            "Broker running on http://[::1]:9000 - this machine only",
        ] {
            assert_eq!(port_in(line), 9000);
        }
    }
}
