//! Helpers for tests of several brokers: sessions that may break, publishers that repeat, and
//! readers that continue where they were.

use common::json::{self, Value};
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tests::System;
use tests::wait::{DEADLINE, wait_until};

/// Between two attempts to reach a broker that is away.
const PAUSE: Duration = Duration::from_millis(20);

/// A connection to a broker that may end at any time.
pub(crate) struct Session {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Session {
    pub(crate) fn open(address: &str) -> io::Result<Session> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Session { reader: BufReader::new(stream.try_clone()?), stream })
    }

    pub(crate) fn say(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes())
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        match line.pop() {
            Some('\n') => Ok(line),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Says something and gives the next line.
    pub(crate) fn ask(&mut self, text: &str) -> io::Result<String> {
        self.say(text)?;
        self.line()
    }
}

/// The answer of a broker that is there to one object.
#[track_caller]
pub(crate) fn ask(broker: &System, command: &str) -> String {
    Session::open(&broker.address()).and_then(|mut session| session.ask(command)).unwrap()
}

/// Fails unless the answer is a success; gives it.
#[track_caller]
pub(crate) fn succeed(broker: &System, command: &str) -> String {
    let answer = ask(broker, command);
    assert!(answer.contains("\"status\":\"success\""), "{command}: {answer}");
    answer
}

/// The number under a key of an answer.
#[track_caller]
pub(crate) fn number(answer: &str, key: &str) -> u64 {
    let value = json::parse(answer.as_bytes()).unwrap();
    value.get(key).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {key} in {answer}"))
}

/// Waits until a broker answers a command with a success.
#[track_caller]
pub(crate) fn wait_for_success(broker: &System, command: &str) {
    wait_until(DEADLINE, command, || ask(broker, command).contains("\"status\":\"success\""));
}

/// Threads that publish and read until they are told to stop, and what came of it.
pub(crate) struct Crowd {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    publishers: Vec<(String, JoinHandle<Vec<String>>)>,
}

impl Crowd {
    pub(crate) fn new() -> Crowd {
        Crowd { stop: Arc::default(), acknowledged: Arc::default(), publishers: Vec::new() }
    }

    /// Publishes numbered messages through a broker, each until it is acknowledged, and reads each
    /// back through the same broker.
    pub(crate) fn publish(&mut self, broker: &System, topic: &str, name: &str) {
        let (address, topic, name) = (broker.address(), topic.to_owned(), name.to_owned());
        let (stop, acknowledged) = (Arc::clone(&self.stop), Arc::clone(&self.acknowledged));
        let told = topic.clone();
        let thread = thread::spawn(move || {
            let mut sent = Vec::new();
            let mut session = None;
            while !stop.load(Ordering::Relaxed) {
                let message = format!("{name}-{}", sent.len());
                let command = format!(
                    "{{\"command\":\"publish\",\"topic\":\"{topic}\",\"message\":\"{message}\",\
                     \"publisher\":\"{name}\",\"epoch\":1,\"sequence\":{}}}",
                    sent.len()
                );
                let end = Instant::now() + DEADLINE;
                while !published(&address, &mut session, &command, &topic, &message) {
                    assert!(Instant::now() < end, "{message} was never acknowledged");
                    thread::sleep(PAUSE);
                }
                sent.push(message);
                acknowledged.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(3));
            }
            sent
        });
        self.publishers.push((told, thread));
    }

    /// Waits until much more was acknowledged than now.
    #[track_caller]
    pub(crate) fn wait_for_more(&self) {
        let goal = self.acknowledged.load(Ordering::Relaxed) + 20 * self.publishers.len() as u64;
        let is_there = || self.acknowledged.load(Ordering::Relaxed) >= goal;
        wait_until(DEADLINE, "publishes to be acknowledged", is_there);
    }

    /// Kills a broker and starts it again, while publishing goes on before, between and after.
    #[track_caller]
    pub(crate) fn restart(&self, broker: &mut System) {
        broker.kill_broker();
        thread::sleep(Duration::from_millis(100));
        broker.start_broker();
        self.wait_for_more();
    }

    /// Stops the publishers, and checks that `list` gives each message of each topic once, and
    /// those of a publisher in their order. Gives the number of messages.
    #[track_caller]
    pub(crate) fn check(self, mut list: impl FnMut(&str) -> Vec<String>) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut topics: Vec<(String, Vec<Vec<String>>)> = Vec::new();
        for (topic, publisher) in self.publishers {
            let sent = publisher.join().unwrap();
            match topics.iter_mut().find(|(name, _)| *name == topic) {
                Some((_, all)) => all.push(sent),
                None => topics.push((topic, vec![sent])),
            }
        }
        let mut count = 0;
        for (topic, publishers) in topics {
            let list = list(&topic);
            for sent in &publishers {
                let name = sent.first().unwrap().split('-').next().unwrap();
                let of_name = |message: &&String| message.split('-').next() == Some(name);
                let there: Vec<_> = list.iter().filter(of_name).cloned().collect();
                assert_eq!(&there, sent, "{topic}: lost, doubled or reordered");
            }
            let sent: usize = publishers.iter().map(Vec::len).sum();
            assert_eq!(list.len(), sent, "{topic}: invented");
            count += sent;
        }
        count
    }
}

/// Tries once to publish, and then to read back what was acknowledged.
fn published(
    address: &str,
    session: &mut Option<Session>,
    command: &str,
    topic: &str,
    message: &str,
) -> bool {
    let Some(mut open) = session.take().or_else(|| Session::open(address).ok()) else {
        return false;
    };
    let Ok(answer) = open.ask(command) else { return false };
    if !answer.contains("\"status\":\"success\"") {
        // 404 is what a peer says while an index that was just started knows nothing.
        let is_away = ["\"code\":503}", "\"code\":404}"].iter().any(|it| answer.ends_with(it));
        assert!(is_away, "{command}: {answer}");
        *session = Some(open);
        return false;
    }
    let offset = number(&answer, "offset");
    let pull =
        format!("{{\"command\":\"pull\",\"topic\":\"{topic}\",\"from\":{offset},\"limit\":1}}");
    if let Ok(answer) = open.ask(&pull) {
        let is_there = answer.contains(&format!("\"messages\":[\"{message}\"]"));
        // The index may have been started again between the two.
        assert!(is_there || answer.ends_with("\"code\":404}"), "{message}: {answer}");
        *session = Some(open);
    }
    true
}

/// A thread that reads a topic from its start, whatever happens to its broker.
pub(crate) struct Reader {
    seen: Arc<std::sync::Mutex<Vec<String>>>,
    name: &'static str,
}

impl Reader {
    /// Reads in a JSON session.
    pub(crate) fn json(broker: &System, topic: &str) -> Reader {
        let (address, topic) = (broker.address(), topic.to_owned());
        Reader::start("a JSON session", move |add| {
            let mut stream = String::new();
            loop {
                let _ = read_json(&address, &topic, &mut stream, add);
                thread::sleep(PAUSE);
            }
        })
    }

    /// Reads an event stream.
    pub(crate) fn events(broker: &System, topic: &str) -> Reader {
        let (address, topic) = (broker.address(), topic.to_owned());
        Reader::start("an event stream", move |add| {
            let mut id = String::new();
            loop {
                let _ = read_events(&address, &topic, &mut id, add);
                thread::sleep(PAUSE);
            }
        })
    }

    fn start(
        name: &'static str,
        read: impl FnOnce(&mut dyn FnMut(Option<u64>, String) -> u64) + Send + 'static,
    ) -> Reader {
        let seen: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
        let into = Arc::clone(&seen);
        // It ends with the test's process.
        thread::spawn(move || {
            read(&mut |offset, message| {
                let mut seen = into.lock().unwrap();
                if let Some(offset) = offset {
                    let (place, count) = (usize::try_from(offset).unwrap(), seen.len());
                    assert_eq!(place, count, "{name} was given {message:?} out of turn");
                    seen.push(message);
                }
                seen.len() as u64
            });
        });
        Reader { seen, name }
    }

    /// Waits until exactly this was read.
    #[track_caller]
    pub(crate) fn expect(&self, list: &[String]) {
        let what = format!("{} to have read everything", self.name);
        wait_until(DEADLINE, &what, || self.seen.lock().unwrap().len() >= list.len());
        assert!(*self.seen.lock().unwrap() == list, "{} read something else", self.name);
    }
}

fn read_json(
    address: &str,
    topic: &str,
    stream: &mut String,
    add: &mut dyn FnMut(Option<u64>, String) -> u64,
) -> io::Result<()> {
    let mut session = Session::open(address)?;
    let from = add(None, String::new());
    let known = match stream.is_empty() {
        true => String::new(),
        false => format!(",\"stream\":\"{stream}\""),
    };
    session.say(&format!(
        "{{\"command\":\"subscribe\",\"topic\":\"{topic}\",\"from\":{from}{known}}}"
    ))?;
    loop {
        let line = session.line()?;
        let value = json::parse(line.as_bytes()).unwrap();
        let text = |key| value.get(key).and_then(Value::as_str);
        if text("status") == Some("error") {
            assert!(matches!(number(&line, "code"), 503 | 404), "{line}");
            return Ok(());
        }
        assert_ne!(text("event"), Some("reset"), "{line}");
        if let Some(id) = text("stream") {
            stream.clear();
            stream.push_str(id);
        }
        if text("event") == Some("message") {
            add(Some(number(&line, "offset")), text("message").unwrap().to_owned());
        }
    }
}

fn read_events(
    address: &str,
    topic: &str,
    id: &mut String,
    add: &mut dyn FnMut(Option<u64>, String) -> u64,
) -> io::Result<()> {
    let mut session = Session::open(address)?;
    let last = match id.is_empty() {
        true => String::new(),
        false => format!("Last-Event-ID: {id}\r\n"),
    };
    session.say(&format!(
        "GET /events?topic={topic}&from=0 HTTP/1.1\r\nHost: localhost\r\n{last}\r\n"
    ))?;
    let status = session.line()?;
    if !status.contains(" 200 ") {
        assert!(status.contains(" 503 ") || status.contains(" 404 "), "{status}");
        return Ok(());
    }
    loop {
        let line = session.line()?;
        assert_ne!(line, "event: reset");
        if let Some(data) = line.strip_prefix("data: ") {
            let value = json::parse(data.as_bytes()).unwrap();
            let message = value.get("message").and_then(Value::as_str).unwrap();
            add(Some(number(data, "offset")), message.to_owned());
        } else if let Some(place) = line.strip_prefix("id: ") {
            id.clear();
            id.push_str(place);
        }
    }
}
