//! The log: a line for everything that clients do, where `--log` asks for it.
//!
//! ```text
//! 2026-11-21 05:20:07.341Z 127.0.0.1:50712 published "Sports" messages=1 offset=7 ok
//! 2026-11-21 05:20:09.118Z 127.0.0.1:50714 created "Sports" refused=409 "Topic already exists"
//! ```
//!
//! When (UTC), who, what, to which topic or peer, and how it ended. What comes from outside stands
//! in quotes, as a JSON string in ASCII: no name can forge a line or move a cursor. Who is the
//! address of the connection whose thread does it; `-` where the broker itself does.
//!
//! # Guarantee
//!
//! Nobody waits for the disk: lines go to a thread of their own, through a queue. Where the queue
//! is full, lines are left out, and the next line that is written says how many. Without `--log`
//! nothing is made or kept.

use crate::refusal::Refusal;
use crate::store::admission::Receipt;
use crate::store::batch::Batch;
use common::{clock, json};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

/// Lines that may wait to be written.
const WAITING_MAX: usize = 8192;

thread_local! {
    /// For whom this thread works.
    static CLIENT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Says for whom this thread works from now on.
pub(crate) fn work_for(stream: &TcpStream) {
    let address = stream.peer_addr().map_or_else(|_| "-".to_owned(), |it| it.to_string());
    CLIENT.with_borrow_mut(|client| *client = address);
}

/// The log; it is off unless it was opened.
#[derive(Default)]
pub(crate) struct Log {
    lines: Option<SyncSender<Vec<u8>>>,
    /// Lines that were left out since one was last written.
    left_out: AtomicU64,
}

impl Log {
    /// A log that goes to the end of a file, or to standard output where that is `-`.
    ///
    /// # Errors
    ///
    /// Where the file cannot be opened, or there is no thread for it.
    pub(crate) fn open(path: &Path) -> io::Result<Log> {
        let file: Box<dyn Write + Send> = if path == Path::new("-") {
            Box::new(io::stdout())
        } else {
            Box::new(File::options().create(true).append(true).open(path)?)
        };
        let (lines, waiting) = mpsc::sync_channel(WAITING_MAX);
        thread::Builder::new().spawn(move || write(&waiting, BufWriter::new(file)))?;
        Ok(Log { lines: Some(lines), left_out: AtomicU64::new(0) })
    }

    /// Whether anything is noted.
    pub(crate) fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// Notes that somebody did something to a topic or a peer.
    pub(crate) fn note(&self, action: &str, subject: &str, outcome: &Result<(), Refusal>) {
        self.line(action, subject, |line| write_outcome(line, outcome.as_ref().err()));
    }

    /// Notes that the home of a topic is or was at a peer.
    pub(crate) fn note_at(
        &self,
        action: &str,
        topic: &str,
        peer: &str,
        outcome: &Result<(), Refusal>,
    ) {
        self.line(action, topic, |line| {
            line.extend_from_slice(b" at=");
            json::write_string_ascii(line, peer);
            write_outcome(line, outcome.as_ref().err());
        });
    }

    /// Notes what became of the publishes of a batch, in one line for those of a topic that follow
    /// one another and were taken. `home` says where a topic's publishes were forwarded to.
    pub(crate) fn publishes(
        &self,
        batch: &Batch,
        answers: &[Result<Receipt, Refusal>],
        home: impl Fn(&str) -> Option<String>,
    ) {
        if !self.is_on() {
            return;
        }
        let publishes: Vec<_> = batch.publishes.iter().zip(answers).collect();
        for group in publishes.chunk_by(|(one, taken), (other, also)| {
            one.topic == other.topic && taken.is_ok() && also.is_ok()
        }) {
            let Some((publish, first)) = group.first() else { continue };
            let home = home(&publish.topic);
            let action = if home.is_some() { "forwarded" } else { "published" };
            self.line(action, &publish.topic, |line| {
                if let Some(home) = home {
                    line.extend_from_slice(b" to=");
                    json::write_string_ascii(line, &home);
                }
                match first {
                    Ok(Receipt { offset, .. }) => {
                        let taken = group.iter().filter_map(|(_, answer)| answer.as_ref().ok());
                        let count: u64 = taken.map(|receipt| receipt.appended).sum();
                        let _ = write!(line, " messages={count} offset={offset}");
                        write_outcome(line, None);
                    }
                    Err(refusal) => {
                        let _ = write!(line, " messages={}", publish.count);
                        write_outcome(line, Some(refusal));
                    }
                }
            });
        }
    }

    fn line(&self, action: &str, subject: &str, more: impl FnOnce(&mut Vec<u8>)) {
        let Some(lines) = &self.lines else { return };
        let mut line = Vec::with_capacity(128);
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            begin(&mut line);
            // Writing to a vector cannot fail.
            let _ =
                writeln!(line, "left out {left_out} lines: the log could not be written so fast");
        }
        begin(&mut line);
        line.extend_from_slice(action.as_bytes());
        line.push(b' ');
        json::write_string_ascii(&mut line, subject);
        more(&mut line);
        line.push(b'\n');
        if lines.try_send(line).is_err() {
            self.left_out.fetch_add(left_out + 1, Ordering::Relaxed);
        }
    }
}

/// Writes when, and for whom.
fn begin(line: &mut Vec<u8>) {
    let now = clock::unix_milliseconds();
    let date = clock::plain_date(now);
    CLIENT.with_borrow(|client| {
        let client = if client.is_empty() { "-" } else { client };
        let _ = write!(line, "{date}.{:03}Z {client} ", now % 1000);
    });
}

fn write_outcome(line: &mut Vec<u8>, refusal: Option<&Refusal>) {
    match refusal {
        None => line.extend_from_slice(b" ok"),
        Some(refusal) => {
            let _ = write!(line, " refused={} ", refusal.status());
            json::write_string_ascii(line, &refusal.to_string());
        }
    }
}

/// The life of the thread that writes: all that waits, and then it is flushed.
fn write(waiting: &Receiver<Vec<u8>>, mut file: impl Write) {
    let mut is_failing = false;
    while let Ok(line) = waiting.recv() {
        let mut written = file.write_all(&line);
        while let Ok(line) = waiting.try_recv() {
            written = written.and_then(|()| file.write_all(&line));
        }
        let failed = written.and_then(|()| file.flush()).err();
        if let Some(error) = &failed
            && !is_failing
        {
            let _ = writeln!(io::stderr(), "broker: the log cannot be written: {error}");
        }
        is_failing = failed.is_some();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log whose lines nobody writes.
    fn log(waiting_max: usize) -> (Log, Receiver<Vec<u8>>) {
        let (lines, waiting) = mpsc::sync_channel(waiting_max);
        (Log { lines: Some(lines), left_out: AtomicU64::new(0) }, waiting)
    }

    /// The next line without its time.
    fn next(waiting: &Receiver<Vec<u8>>) -> String {
        let text = String::from_utf8(waiting.try_recv().unwrap()).unwrap();
        let without_time = text.lines().map(|line| line.splitn(3, ' ').last().unwrap());
        without_time.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_comes_from_outside_cannot_forge_a_line() {
        let (log, waiting) = log(1);
        log.note("created", "a\" ok\n\u{1b}[2J\u{e9}", &Err(Refusal::TopicExists));
        assert_eq!(
            next(&waiting),
            r#"- created "a\" ok\n\u001b[2J\u00e9" refused=409 "Topic already exists""#
        );
    }

    #[test]
    fn lines_that_find_no_room_are_counted() {
        let (log, waiting) = log(1);
        for topic in ["a", "b", "c"] {
            log.note("created", topic, &Ok(()));
        }
        assert_eq!(next(&waiting), "- created \"a\" ok");
        log.note("created", "d", &Ok(()));
        assert_eq!(
            next(&waiting),
            "- left out 2 lines: the log could not be written so fast\n- created \"d\" ok"
        );
        assert!(waiting.try_recv().is_err());
    }

    #[test]
    fn publishes_are_counted_by_topic_and_refusals_stand_alone() {
        let (log, waiting) = log(10);
        let mut batch = Batch::default();
        for topic in ["a", "a", "b", "b"] {
            batch.publish(topic, None, ["one", "two"].into_iter(), 10).unwrap();
        }
        let mut admission =
            crate::store::admission::Admission::new(crate::store::memory::Memory::new(1 << 20));
        let mut answers = admission.accept(&batch, None);
        answers[3] = Err(Refusal::OldEpoch { present: 2 });
        log.publishes(&batch, &answers, |topic| (topic == "b").then(|| "hub:1".to_owned()));
        assert_eq!(next(&waiting), "- published \"a\" messages=4 offset=0 ok");
        assert_eq!(next(&waiting), "- forwarded \"b\" to=\"hub:1\" messages=2 offset=0 ok");
        assert!(
            next(&waiting).starts_with("- forwarded \"b\" to=\"hub:1\" messages=2 refused=403")
        );
    }
}
