//! A server in the broker's frame that does little else: a thread for each connection, blocking
//! sockets, answers and events of the broker's size. It looks for the end of each request, and for
//! the topic of what it pushes. So a broker in this frame can hardly be faster.
//!
//! Nothing is parsed or stored. Where a row is about a disk, messages are written to one file, a
//! line each, by one thread for all that wait; at a start that file is read. Where a row is about a
//! leaf, each connection is passed on to another server, byte by byte.
//!
//! It runs as a process of its own, as every server here does.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::{mem, str, thread};

/// The flag that makes this program the bare server, before its port.
pub(crate) const FLAG: &str = "--bare";

/// The flags behind the port: write messages to disk; sync them before they are answered; pass
/// connections on to the server at this address.
pub(crate) const KEEP: &str = "--keep";
pub(crate) const SYNC: &str = "--sync";
const UPSTREAM: &str = "--upstream";

/// Room for what one connection is sent at once, at first and where it sends much.
const LITTLE_ROOM: usize = 4 << 10;
const ROOM: usize = 256 << 10;

const HTTP_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Sat, 28 Nov 2026 21:11:37 GMT\r\n\
    Content-Type: application/json\r\nContent-Length: 89\r\nX-Content-Type-Options: nosniff\r\n\
    Cache-Control: no-store\r\n\r\n{\"topic\":\"t0\",\"offset\":1000000,\"appended\":1,\
    \"stream\":\"5200324a7302a56f\",\"durable\":false}\n";

const ANSWER: &[u8] = b"{\"status\":\"success\",\"message\":\"Message published on topic 't0'\",\
    \"offset\":1000000,\"appended\":1,\"stream\":\"5200324a7302a56f\",\"durable\":false}\n";

/// What a publish has around its topic, and what its event has around topic and message.
const SUBSCRIBE: &[u8] = b"{\"command\":\"subscribe\"";
const PUBLISH: [&[u8]; 2] = [b"{\"command\":\"publish\",\"topic\":\"", b"\",\"message\":\""];
const EVENT: [&[u8]; 3] = [
    b"{\"event\":\"message\",\"topic\":\"",
    b"\",\"offset\":1000000,\"message\":\"",
    b"\",\"time\":1795243112334,\"publisher\":null}\n",
];

/// What all connections share.
struct Bare {
    /// The connections that follow each topic.
    followers: RwLock<HashMap<Vec<u8>, Vec<Arc<TcpStream>>>>,
    log: Option<Log>,
    upstream: Option<String>,
}

/// Serves until it is killed; `arguments` are those behind [`FLAG`].
pub(crate) fn serve(arguments: &[String]) -> io::Result<Infallible> {
    let port = arguments.first().and_then(|port| port.parse().ok()).unwrap_or_default();
    let find = |flag: &str| arguments.iter().position(|argument| argument == flag);
    let keeps = find(KEEP).is_some();
    let bare = Arc::new(Bare {
        followers: RwLock::default(),
        log: keeps.then(|| Log::open(find(SYNC).is_some())).transpose()?,
        upstream: find(UPSTREAM).and_then(|index| arguments.get(index + 1).cloned()),
    });
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    loop {
        let (stream, _) = listener.accept()?;
        let bare = Arc::clone(&bare);
        // However a connection ends, nobody has to know.
        thread::spawn(move || match &bare.upstream {
            Some(upstream) => drop(relay(&stream, upstream)),
            None => drop(bare.attend(&Arc::new(stream))),
        });
    }
}

impl Bare {
    fn attend(&self, stream: &Arc<TcpStream>) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (mut input, mut end) = (vec![0; LITTLE_ROOM], 0);
        let mut answers = Vec::new();
        let mut scratch = [const { Vec::new() }; 2];
        loop {
            let size = (&**stream).read(&mut input[end..])?;
            if size == 0 {
                return Ok(());
            }
            end += size;
            let is_full = end == input.len();
            answers.clear();
            let used = match input[0] {
                b'{' => self.lines(&input[..end], stream, &mut answers, &mut scratch)?,
                _ => requests(&input[..end], stream, &mut answers)?,
            };
            input.copy_within(used..end, 0);
            end -= used;
            if is_full && (used == 0 || input.len() < ROOM) {
                input.resize(input.len() * 2, 0);
            }
        }
    }

    /// Answers the lines that came whole, and gives their size. They go to those who follow the
    /// topic of the first: no row has publishes that are for different subscribers.
    fn lines(
        &self,
        input: &[u8],
        stream: &Arc<TcpStream>,
        answers: &mut Vec<u8>,
        [events, kept]: &mut [Vec<u8>; 2],
    ) -> io::Result<usize> {
        let size = input.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let input = &input[..size];
        // After `{"command":"publish","topic":"`, or the same of a subscription.
        let topic = input.split(|byte| *byte == b'"').nth(7).unwrap_or_default();
        if input.starts_with(SUBSCRIBE) {
            let mut followers = self.followers.write().unwrap_or_else(PoisonError::into_inner);
            followers.entry(topic.to_owned()).or_default().push(Arc::clone(stream));
            (&**stream).write_all(ANSWER)?;
            return Ok(size);
        }
        let followers = self.followers.read().unwrap_or_else(PoisonError::into_inner);
        let others = followers.get(topic).map(Vec::as_slice).unwrap_or_default();
        events.clear();
        kept.clear();
        if others.is_empty() && self.log.is_none() {
            let count = input.iter().filter(|byte| **byte == b'\n').count();
            (0..count).for_each(|_| answers.extend_from_slice(ANSWER));
        } else {
            for line in input.split_inclusive(|byte| *byte == b'\n') {
                answers.extend_from_slice(ANSWER);
                let rest = line.get(PUBLISH[0].len()..line.len() - 3).unwrap_or_default();
                let at = rest.iter().position(|byte| *byte == b'"').unwrap_or(rest.len());
                let (topic, rest) = rest.split_at(at);
                let message = rest.get(PUBLISH[1].len()..).unwrap_or_default();
                if self.log.is_some() {
                    kept.extend_from_slice(message);
                    kept.push(b'\n');
                }
                if !others.is_empty() {
                    for part in [EVENT[0], topic, EVENT[1], message, EVENT[2]] {
                        events.extend_from_slice(part);
                    }
                }
            }
        }
        if let Some(log) = &self.log {
            log.append(kept)?;
        }
        (&**stream).write_all(answers)?;
        others.iter().try_for_each(|other| (&**other).write_all(events))?;
        Ok(size)
    }
}

/// Answers the requests that came whole, and gives their size. What is read is a file.
fn requests(input: &[u8], mut stream: &TcpStream, answers: &mut Vec<u8>) -> io::Result<usize> {
    let mut used = 0;
    while let Some(size) = request_size(&input[used..]) {
        if input[used..].starts_with(b"GET /") {
            let path = input[used + 5..].split(|byte| *byte == b' ').next().unwrap_or_default();
            let mut file = File::open(str::from_utf8(path).map_err(io::Error::other)?)?;
            let size = file.metadata()?.len();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")?;
            io::copy(&mut file, &mut stream)?;
        } else {
            answers.extend_from_slice(HTTP_ANSWER);
        }
        used += size;
    }
    stream.write_all(answers)?;
    Ok(used)
}

/// The size of the first request, once it is whole.
fn request_size(input: &[u8]) -> Option<usize> {
    let head_size = input.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let head = str::from_utf8(&input[..head_size]).ok()?;
    let body_size: usize = match head.split_once("Content-Length: ") {
        Some((_, rest)) => rest.split_once('\r')?.0.parse().ok()?,
        None => 0,
    };
    Some(head_size + body_size).filter(|size| *size <= input.len())
}

/// Passes all bytes on, both ways.
fn relay(stream: &TcpStream, upstream: &str) -> io::Result<()> {
    let hub = TcpStream::connect(upstream)?;
    hub.set_nodelay(true)?;
    stream.set_nodelay(true)?;
    thread::scope(|scope| {
        scope.spawn(|| pass(stream, &hub));
        pass(&hub, stream)
    })
}

fn pass(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let mut bytes = vec![0; ROOM];
    loop {
        match from.read(&mut bytes)? {
            0 => return to.shutdown(Shutdown::Both),
            size => to.write_all(&bytes[..size])?,
        }
    }
}

/// Messages on disk. Whoever comes while others are written waits, and is then written by one
/// thread together with all that wait.
struct Log {
    syncs: bool,
    file: File,
    state: Mutex<Writes>,
    /// A write is over.
    over: Condvar,
    /// What the file held at the start: a server of messages has them in memory.
    _found: Vec<u8>,
}

#[derive(Default)]
struct Writes {
    /// What the next write writes.
    waiting: Vec<u8>,
    /// How many writes have begun, and how many are over.
    begun: u64,
    over: u64,
}

impl Log {
    fn open(syncs: bool) -> io::Result<Log> {
        let file = OpenOptions::new().create(true).append(true).open("messages")?;
        let _found = fs::read("messages")?;
        Ok(Log { syncs, file, state: Mutex::default(), over: Condvar::new(), _found })
    }

    fn append(&self, messages: &[u8]) -> io::Result<()> {
        let lock = || self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = lock();
        state.waiting.extend_from_slice(messages);
        let number = state.begun + 1;
        while state.over < number && state.over < state.begun {
            state = self.over.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.over >= number {
            return Ok(());
        }
        state.begun = number;
        let bytes = mem::take(&mut state.waiting);
        drop(state);
        (&self.file).write_all(&bytes)?;
        if self.syncs {
            self.file.sync_data()?;
        }
        lock().over = number;
        self.over.notify_all();
        Ok(())
    }
}
