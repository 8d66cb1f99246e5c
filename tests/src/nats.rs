//! NATS servers with JetStream, on free ports.

use crate::folder::Folder;
use crate::network::{self, Link};
use crate::process::Process;
use crate::wait::{DEADLINE, wait_for, wait_until};
use crate::{port, raw, tools};
use common::json::{self, Value};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

/// Servers that work together, or a single one.
#[derive(Debug)]
pub struct NatsServers {
    servers: Vec<Server>,
    /// What they store, and their settings.
    store: Folder,
    settings: Folder,
}

#[derive(Debug)]
struct Server {
    process: Option<Process>,
    host: String,
    port: u16,
    monitor: u16,
}

impl NatsServers {
    /// So many servers; nothing where the program is missing. In a [network of one's own](network)
    /// each is on a node of its own, and may be cut off.
    #[must_use]
    pub fn start(count: usize) -> Option<NatsServers> {
        NatsServers::start_with(count, "", "")
    }

    /// The same with more settings, and more of JetStream.
    ///
    /// # Panics
    ///
    /// When they do not come up.
    #[must_use]
    pub fn start_with(count: usize, settings: &str, jetstream: &str) -> Option<NatsServers> {
        NatsServers::start_in(Folder::temporary("nats"), count, settings, jetstream)
    }

    /// The same, with what they store in this folder.
    ///
    /// # Panics
    ///
    /// When they do not come up.
    #[must_use]
    pub fn start_in(
        store: Folder,
        count: usize,
        settings: &str,
        jetstream: &str,
    ) -> Option<NatsServers> {
        tools::nats_server()?;
        let kept = Folder::temporary("settings");
        let host = |link: Link, index| {
            if network::is_own() { link.host(index) } else { "127.0.0.1".to_owned() }
        };
        if network::is_own() {
            network::make(count);
        }
        let routes =
            (0..count).map(|index| format!("{}:{}", host(Link::Nodes, index), port::free()));
        let routes: Vec<String> = routes.collect();
        let servers = routes.iter().enumerate().map(|(index, route)| {
            let (host, port, monitor) = (host(Link::Clients, index), port::free(), port::free());
            let others = routes.iter().filter(|other| *other != route);
            let others: Vec<_> = others.map(|other| format!("\"nats://{other}\"")).collect();
            let cluster = format!(
                "cluster {{ name: c, listen: {route}, routes: [{}] }}\n",
                others.join(", ")
            );
            let text = format!(
                "server_name: n{index}\nlisten: {host}:{port}\nhttp: {host}:{monitor}\n\
                 jetstream {{ store_dir: \"{}\", max_mem: 1G, max_file: 4G, {jetstream} }}\n\
                 {}{settings}\n",
                store.path().join(format!("n{index}")).display(),
                if count > 1 { &cluster } else { "" },
            );
            kept.write(&format!("n{index}.conf"), text);
            Server { process: None, host, port, monitor }
        });
        let servers = servers.collect();
        let mut servers = NatsServers { servers, store, settings: kept };
        (0..count).for_each(|index| servers.begin(index));
        (0..count).for_each(|index| servers.wait_until_healthy(index));
        Some(servers)
    }

    /// `HOST:PORT` of each, with commas between them.
    #[must_use]
    pub fn addresses(&self) -> String {
        let addresses = (0..self.servers.len()).map(|index| self.address(index));
        addresses.collect::<Vec<_>>().join(",")
    }

    /// `HOST:PORT` of one.
    #[must_use]
    pub fn address(&self, index: usize) -> String {
        let Server { host, port, .. } = self.server(index);
        format!("{host}:{port}")
    }

    /// Loses all that one says to the other servers, or to its clients, and what these say to it,
    /// or does so no longer. In a network of one's own only.
    pub fn cut(&self, index: usize, link: Link, is_cut: bool) {
        network::cut(index, link, is_cut);
    }

    /// Gives one that does not run a disk of this size, or makes it as large: see `mount`. What it
    /// had stored before its first disk is gone. In a network of one's own only.
    ///
    /// # Panics
    ///
    /// When there is no such disk.
    pub fn resize_disk(&self, index: usize, size: &str) {
        let disk = self.store.path().join(format!("n{index}"));
        let mounted = |how: &str| {
            let mut command = Command::new("mount");
            command.args(["-t", "tmpfs", "-o", how, "tmpfs"]).arg(&disk);
            command.output().is_ok_and(|output| output.status.success())
        };
        let size = format!("size={size}");
        assert!(mounted(&format!("remount,{size}")) || mounted(&size), "no disk of {size}");
    }

    /// Changes the settings that the next start of one reads.
    pub fn set(&self, index: usize, change: impl FnOnce(&str) -> String) {
        let name = format!("n{index}.conf");
        let settings = String::from_utf8_lossy(&self.settings.read(&name)).into_owned();
        self.settings.write(&name, change(&settings));
    }

    fn server(&self, index: usize) -> &Server {
        self.servers.get(index).expect("there is such a server")
    }

    fn server_mut(&mut self, index: usize) -> &mut Server {
        self.servers.get_mut(index).expect("there is such a server")
    }

    /// The process of one that runs.
    ///
    /// # Panics
    ///
    /// When it does not run.
    #[must_use]
    #[track_caller]
    pub fn process(&mut self, index: usize) -> &mut Process {
        self.server_mut(index).process.as_mut().expect("the server runs")
    }

    /// Kills one, as `kill -9` does.
    ///
    /// # Panics
    ///
    /// When it does not run.
    #[track_caller]
    pub fn kill(&mut self, index: usize) {
        self.server_mut(index).process.take().expect("the server runs").kill();
    }

    /// Starts one again, and waits until it has what the others have.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[track_caller]
    pub fn restart(&mut self, index: usize) {
        self.begin(index);
        self.wait_until_healthy(index);
    }

    /// Starts one again.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[track_caller]
    pub fn begin(&mut self, index: usize) {
        let mut command = tools::nats_server().expect("it was there before");
        command.arg("-c").arg(self.settings.path().join(format!("n{index}.conf")));
        if network::is_own() {
            command = network::on(index, &command);
        }
        let name = format!("nats-server {index}");
        // The settings are shared; what each prints is its own.
        let process = Process::start(&name, command, &Folder::temporary("n"));
        self.server_mut(index).process = Some(process);
    }

    #[track_caller]
    fn wait_until_healthy(&mut self, index: usize) {
        let Server { host, monitor, .. } = self.server(index);
        let monitor = format!("{host}:{monitor}");
        wait_until(DEADLINE, "a NATS server", || {
            assert!(self.process(index).is_running(), "nats-server has ended");
            let request = raw::request("GET", "/healthz", "");
            let Ok(mut stream) = TcpStream::connect(&monitor) else { return false };
            let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
            let mut answer = [0; 64];
            let _ = stream.write_all(&request);
            let size = stream.read(&mut answer).unwrap_or(0);
            answer.get(..size).is_some_and(|answer| answer.starts_with(b"HTTP/1.1 200"))
        });
    }

    /// The stream of a topic.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    #[track_caller]
    pub fn stream_of(&self, topic: &str) -> String {
        let answer = self.ask("STREAM.NAMES", &format!("{{\"subject\":\"ps.t.{topic}\"}}"));
        let answer = json::parse(answer.as_bytes()).expect("JSON");
        let names = answer.get("streams").and_then(Value::as_array).expect("streams");
        names.first().and_then(Value::as_str).expect("a stream").to_owned()
    }

    /// The server that leads a stream.
    ///
    /// # Panics
    ///
    /// When none does for long.
    #[must_use]
    #[track_caller]
    pub fn leader_of(&self, stream: &str) -> usize {
        wait_for(DEADLINE, "a leader", || {
            let answer = self.ask(&format!("STREAM.INFO.{stream}"), "");
            let answer = json::parse(answer.as_bytes()).ok()?;
            let leader = answer.get("cluster")?.get("leader")?.as_str()?.strip_prefix('n')?;
            leader.parse().ok()
        })
    }

    /// Changes the settings of a stream, which are JSON, as somebody may do behind the brokers'
    /// backs.
    ///
    /// # Panics
    ///
    /// When the servers refuse.
    #[track_caller]
    pub fn update(&self, stream: &str, change: impl FnOnce(&str) -> String) {
        let info = self.ask(&format!("STREAM.INFO.{stream}"), "");
        let (_, config) = info.split_once("\"config\":").expect("a stream has settings");
        let (config, _) = config.split_once(",\"created\"").expect("and a time");
        let answer = self.ask(&format!("STREAM.UPDATE.{stream}"), &change(config));
        assert!(!answer.contains("\"error\""), "{answer}");
    }

    /// What the API answers.
    #[track_caller]
    pub fn ask(&self, question: &str, body: &str) -> String {
        self.request(&format!("$JS.API.{question}"), "", body)
    }

    /// The answer to a request that is sent to the first server that runs, past all brokers.
    /// `headers` are lines with their ends.
    ///
    /// # Panics
    ///
    /// When no server runs.
    #[track_caller]
    pub fn request(&self, subject: &str, headers: &str, body: &str) -> String {
        let running = self.servers.iter().position(|server| server.process.is_some());
        let address = self.address(running.expect("a server runs"));
        // One that was just begun does not listen yet.
        let connect = || TcpStream::connect(&address).ok();
        let stream = wait_for(DEADLINE, "a NATS server that takes connections", connect);
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("not zero");
        let mut reader = BufReader::new(&stream);
        let mut line = String::new();
        let (publish, head) = match headers {
            "" => ("PUB", String::new()),
            headers => ("HPUB", format!("NATS/1.0\r\n{headers}\r\n")),
        };
        let sizes = match head.len() {
            0 => body.len().to_string(),
            size => format!("{size} {}", size + body.len()),
        };
        let said = format!(
            "CONNECT {{\"headers\":true,\"no_responders\":true,\"verbose\":false}}\r\n\
             SUB _INBOX.t 1\r\n{publish} {subject} _INBOX.t {sizes}\r\n{head}{body}\r\n"
        );
        (&stream).write_all(said.as_bytes()).expect("it reads");
        while !line.starts_with("MSG ") && !line.starts_with("HMSG ") {
            line.clear();
            // Silence is an answer, too.
            if reader.read_line(&mut line).unwrap_or(0) == 0 || line.starts_with("-ERR") {
                return line;
            }
        }
        let size = line.trim_end().rsplit(' ').next().and_then(|size| size.parse().ok());
        let mut answer = vec![0; size.expect("a size")];
        reader.read_exact(&mut answer).expect("the message");
        String::from_utf8_lossy(&answer).into_owned()
    }
}
