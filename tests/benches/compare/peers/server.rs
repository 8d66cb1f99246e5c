//! Starts servers on loopback, each in a temporary folder.

use super::{Contender, Disk, Kind};
use crate::bare;
use crate::report::{Line, Unit, medians};
use crate::wire::Wire;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, error, fmt, fs, mem, thread};
use tests::raw::metric;
use tests::resources::Resources;
use tests::{Folder, Process, program};

/// A running server; it ends with this value.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) port: u16,
    pub(crate) folder: Folder,
    contender: Contender,
}

/// What the broker is called, before the way it is used.
const BROKER: &str = "broker, ";

/// What another build of it is called, which stands for what was before.
const OTHER: &str = "broker before, ";

/// What the bare server is called.
const BARE: &str = "bare server, ";

impl Contender {
    /// Whether it is the broker that the others are compared with.
    pub(crate) fn is_ours(&self) -> bool {
        self.name.starts_with(BROKER)
    }
}

impl Line {
    /// The names of what the broker is held against, where this is its line: another build of it,
    /// and a bare server that is used in the same way.
    pub(crate) fn counterparts(&self) -> Option<[String; 2]> {
        let way = self.name.strip_prefix(BROKER)?;
        Some([OTHER, BARE].map(|name| format!("{name}{way}")))
    }
}

/// The processor time of each broker that ended, in seconds for each message that was published to
/// it. On a machine that others use, it tells more than what was published in a second.
static PROCESSOR_TIMES: Mutex<Vec<(String, f64)>> = Mutex::new(Vec::new());

/// A sentence for each contender: its processor time for each message, the median of so many
/// rounds. What was counted so far is gone then.
pub(crate) fn processor_times(rounds: usize) -> Vec<String> {
    let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (name, time) in mem::take(&mut *times_of_all()) {
        times.entry(name).or_default().push(time);
    }
    let sentence = |(name, times): (String, Vec<f64>)| {
        // In each round, a broker for each column.
        let rounds: Vec<_> =
            times.chunks(times.len().div_ceil(rounds)).map(<[_]>::to_vec).collect();
        let medians = medians(&rounds).unwrap_or_default();
        let shown: Vec<_> = medians.iter().map(|time| Unit::Seconds.show(*time)).collect();
        format!("processor time of a message, {name}: {}", shown.join(", "))
    };
    times.into_iter().map(sentence).collect()
}

fn times_of_all() -> MutexGuard<'static, Vec<(String, f64)>> {
    PROCESSOR_TIMES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.contender.kind.is_ours() && !thread::panicking() && self.process.is_running() {
            let time = Resources::of(self.process.id()).processor_time as f64 / 100.0;
            let address = format!("127.0.0.1:{}", self.port);
            let published = metric(&address, "broker_messages_published_total");
            if published > 0.0 {
                times_of_all().push((self.contender.name.clone(), time / published));
            }
        }
    }
}

/// A server that does not run: it is too old for what it was told, or not wholly installed.
#[derive(Debug)]
pub(crate) struct NotStarted(String);

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "did not start: {}", self.0)
    }
}

impl error::Error for NotStarted {}

impl Server {
    /// Starts what a contender needs, and waits until it accepts connections.
    pub(crate) fn start(contender: &Contender, disk: Disk) -> Result<Server, NotStarted> {
        Server::start_in(contender, disk, Folder::temporary("server"))
    }

    /// The same in a folder where one may have run before.
    pub(crate) fn start_in(
        contender: &Contender,
        disk: Disk,
        folder: Folder,
    ) -> Result<Server, NotStarted> {
        Server::start_with(contender, disk, folder, &[])
    }

    /// The same with more arguments.
    pub(crate) fn start_with(
        contender: &Contender,
        disk: Disk,
        folder: Folder,
        arguments: &[&str],
    ) -> Result<Server, NotStarted> {
        let port = free_port();
        let mut command = command(contender, disk, port, &folder);
        command.args(arguments);
        let process = Process::start(&contender.name, command, &folder);
        let contender = contender.clone();
        let mut server = Server { process, port, folder, contender };
        let deadline = Instant::now() + Duration::from_secs(60);
        while Wire::connect(port, 1).is_err() {
            if !server.process.is_running() || Instant::now() > deadline {
                return Err(NotStarted(server.process.errors().trim().to_owned()));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(server)
    }

    /// Bytes of all files in its folder.
    pub(crate) fn disk_usage(&self) -> u64 {
        size_of(self.folder.path())
    }
}

fn size_of(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else {
        return fs::metadata(path).map_or(0, |metadata| metadata.len());
    };
    entries.flatten().map(|entry| size_of(&entry.path())).sum()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

fn command(contender: &Contender, disk: Disk, port: u16, folder: &Folder) -> Command {
    let port_text = port.to_string();
    let mut command = match contender.kind {
        kind if kind.is_ours() => program::command_of(&contender.program),
        _ => Command::new(&contender.program),
    };
    match contender.kind {
        Kind::RedisStreams | Kind::RedisRange | Kind::RedisPubSub => {
            let (append_only, sync) = match disk {
                Disk::None => ("no", "no"),
                Disk::Lazy => ("yes", "everysec"),
                Disk::Synced => ("yes", "always"),
            };
            command.args(["--port", &port_text, "--bind", "127.0.0.1", "--save", ""]);
            command.args(["--appendonly", append_only, "--appendfsync", sync]);
            // A rewrite in the middle of a round would be measured with it.
            command.args(["--auto-aof-rewrite-percentage", "0", "--maxclients", "20000"]);
            // It would cut subscribers off that are behind.
            command.args(["--client-output-buffer-limit", "pubsub 0 0 0"]);
        }
        Kind::NatsCore
        | Kind::JetStream
        | Kind::JetStreamPull
        | Kind::NatsStream
        | Kind::NatsBatches(_) => {
            let sync = if disk == Disk::Synced { "sync_interval: always" } else { "" };
            let stream = match contender.kind {
                Kind::NatsCore => String::new(),
                _ => format!(
                    "jetstream {{ store_dir: \"store\", max_mem: 8GB, max_file: 32GB\n{sync} }}\n"
                ),
            };
            let text = format!(
                "listen: \"127.0.0.1:{port}\"\nmax_pending: 1GB\nmax_connections: 20000\nwrite_deadline: \"60s\"\n{stream}"
            );
            folder.write("nats.conf", text);
            command.args(["-c", "nats.conf"]);
        }
        Kind::Mosquitto => {
            let text = format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n\
                 max_inflight_messages 0\nmax_queued_messages 0\nset_tcp_nodelay true\n\
                 log_type error\n"
            );
            folder.write("mosquitto.conf", text);
            command.args(["-c", "mosquitto.conf"]);
        }
        Kind::Nchan | Kind::File => {
            folder.write("nginx.conf", nginx(port, folder.path()));
            command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "error.log"]);
        }
        Kind::BareJson(_) | Kind::BareHttp(_) => {
            command.args([bare::FLAG, &port_text]);
            command.args(match disk {
                Disk::None => &[][..],
                Disk::Lazy => &[bare::KEEP],
                Disk::Synced => &[bare::KEEP, bare::SYNC],
            });
        }
        Kind::Json | Kind::Channel | Kind::JsonBatch(_) | Kind::Http | Kind::HttpLines(_) => {
            command.args(["--port", &port_text, "--max-connections", "12000"]);
            match disk {
                Disk::None => {}
                Disk::Lazy => {
                    command.args(["--data", "data", "--sync", "os"]);
                }
                Disk::Synced => {
                    command.args(["--data", "data"]);
                }
            }
        }
    }
    command
}

fn nginx(port: u16, folder: &Path) -> String {
    let folder = folder.display();
    let nchan = Path::new(NCHAN).exists();
    let (load, locations) = match nchan {
        true => (
            format!("load_module {NCHAN};"),
            "location ~ ^/pub/(.+)$ { nchan_publisher; nchan_channel_id $1;\n\
             nchan_message_buffer_length 10000000; nchan_message_timeout 1h; }\n\
             location ~ ^/sub/(.+)$ { nchan_subscriber http-raw-stream; nchan_channel_id $1;\n\
             nchan_subscriber_first_message newest;\n\
             nchan_subscriber_http_raw_stream_separator \"\\n\"; }",
        ),
        false => (String::new(), ""),
    };
    let memory = if nchan { "nchan_shared_memory_size 2G;" } else { "" };
    format!(
        "{load}\ndaemon off; master_process off; worker_processes 1; pid nginx.pid;\n\
         worker_rlimit_nofile 65536; error_log error.log error;\n\
         events {{ worker_connections 20000; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; sendfile on; {memory}\n\
         client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
         uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
         server {{ listen 127.0.0.1:{port}; root {folder}; tcp_nodelay on;\n{locations} }} }}\n"
    )
}

/// Names another build of the broker that is to be measured beside this one.
const OTHER_BROKER: &str = "OTHER_BROKER";

/// Where Debian puts the module.
const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// All contenders that are here, and what is said of those that are not.
pub(crate) fn all() -> (Vec<Contender>, Vec<String>) {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    // Another build of the broker takes part in every round, to see what a change costs.
    let other = env::var_os(OTHER_BROKER).map(PathBuf::from);
    for (name, kind) in [
        ("JSON", Kind::Json),
        ("JSON, channel", Kind::Channel),
        ("JSON, batches of 100", Kind::JsonBatch(100)),
        ("HTTP", Kind::Http),
        ("HTTP, 100 lines", Kind::HttpLines(100)),
        ("HTTP, 1,000 lines", Kind::HttpLines(1000)),
    ] {
        let program = program::path("broker");
        found.push(Contender { name: format!("{BROKER}{name}"), kind, program });
        if let Some(program) = other.clone() {
            found.push(Contender { name: format!("{OTHER}{name}"), kind, program });
        }
    }
    let program = env::current_exe().expect("the system knows what it runs");
    for (name, kind) in [
        ("JSON", Kind::BareJson(1)),
        ("JSON, batches of 100", Kind::BareJson(100)),
        ("HTTP", Kind::BareHttp(1)),
        ("HTTP, 100 lines", Kind::BareHttp(100)),
        ("HTTP, 1,000 lines", Kind::BareHttp(1000)),
    ] {
        found.push(Contender { name: format!("{BARE}{name}"), kind, program: program.clone() });
    }
    let mut peer = |name: &str, program: &str, kinds: &[(&str, Kind)]| {
        let programs = programs(program);
        if programs.is_empty() {
            missing.push(format!("{name}: no {program} here, left out"));
        }
        for (version, program) in programs {
            for (suffix, kind) in kinds {
                let name = format!("{name}{suffix} {version}");
                found.push(Contender { name, kind: *kind, program: program.clone() });
            }
        }
    };
    let redis = [
        (" Streams", Kind::RedisStreams),
        (" Streams, XRANGE", Kind::RedisRange),
        (" pub/sub", Kind::RedisPubSub),
    ];
    peer("Redis", "redis-server", &redis);
    let nats = [
        (" core", Kind::NatsCore),
        (" JetStream", Kind::JetStream),
        (" JetStream, pull", Kind::JetStreamPull),
        (" without the broker", Kind::NatsStream),
    ];
    peer("NATS", "nats-server", &nats);
    peer("mosquitto", "mosquitto", &[(" QoS 1", Kind::Mosquitto)]);
    peer("file", "nginx", &[(", nginx", Kind::File)]);
    if Path::new(NCHAN).exists() {
        peer("nchan", "nginx", &[(", nginx", Kind::Nchan)]);
    } else {
        missing.push(format!("nchan: no {NCHAN} here, left out"));
    }
    (found, missing)
}

/// The programs of this name, each version once, with its version.
fn programs(name: &str) -> Vec<(String, PathBuf)> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    // System programs are not on everybody's path; those of PyPI have a folder of their own.
    folders.extend(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let question = "import sysconfig; print(sysconfig.get_path('scripts'))";
    if let Ok(output) = Command::new("python3").args(["-c", question]).output() {
        folders.push(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    for folder in folders {
        let program = folder.join(name);
        // A script that starts the program elsewhere would be killed in its stead.
        let is_program = fs::read(&program).is_ok_and(|bytes| bytes.starts_with(b"\x7FELF"));
        if is_program
            && let Some(version) = version(&program)
            && found.iter().all(|(other, _)| *other != version)
        {
            found.push((version, program));
        }
    }
    found
}

/// What a program says of its version: the first word with two dots.
fn version(program: &Path) -> Option<String> {
    ["--version", "-v", "-h"].iter().find_map(|flag| {
        let output = Command::new(program).arg(flag).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut words = text.split([' ', '=', '/', '\n']);
        let word = words.find(|word| word.matches('.').count() == 2)?;
        Some(word.trim_start_matches('v').to_owned())
    })
}
