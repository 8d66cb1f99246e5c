//! The log: a line for each action of a client, if `--log` is given. Reads are frequent, so they
//! are logged only with `--log-reads`.
//!
//! ```text
//! 2026-11-21 05:20:07.341Z 127.0.0.1:50712 published "Sports" messages=1 offset=7 ok
//! 2026-11-21 05:20:09.118Z 127.0.0.1:50714 created "Sports" refused=409 "Topic already exists"
//! ```
//!
//! A line has the time (UTC), the client, the action, its topic or peer, and the result. Text from
//! outside is quoted as a JSON string in ASCII, so no name can forge a line or move a cursor. The
//! client is the address of the connection whose thread acts; `-` is the broker itself.
//!
//! # Guarantee
//!
//! Nobody waits for the disk: a queue leads to a thread that writes. If the queue is full, lines
//! are dropped, and the next line says how many. Without `--log` there is no queue and no thread.
//! If the file is moved away, a new one is begun.

use crate::notify;
use crate::refusal::Refusal;
use crate::store::{Batch, Outcome};
use common::clock;
use common::json::{Charset, Json};
use std::cell::RefCell;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, BufWriter, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

/// How often it is looked whether the file was moved away, while there is nothing to write.
const FOLLOW_TIME: Duration = Duration::from_secs(1);

/// Who may read the file: its owner and its group.
const MODE: u32 = 0o640;

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
    /// Whether reads are noted.
    reads: bool,
}

impl Log {
    /// A log that goes to the end of a file, or to standard output where that is `-`.
    ///
    /// # Errors
    ///
    /// Where the file cannot be opened, or there is no thread for it.
    pub(crate) fn open(path: &Path, reads: bool) -> io::Result<Log> {
        let output = Output::open(path)?;
        let (lines, waiting) = mpsc::sync_channel(WAITING_MAX);
        thread::Builder::new().spawn(move || write(&waiting, output))?;
        Ok(Log { lines: Some(lines), left_out: AtomicU64::new(0), reads })
    }

    /// Whether anything is noted.
    pub(crate) fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// Notes that somebody did something to a topic or a peer, or was refused it.
    pub(crate) fn note(&self, action: &str, subject: &str, refusal: Option<&Refusal>) {
        self.line(action, subject, "", refusal);
    }

    /// Notes that messages were read.
    pub(crate) fn read(&self, topic: &str, offset: u64, count: u64) {
        if self.reads {
            self.line("read", topic, &format!(" messages={count} offset={offset}"), None);
        }
    }

    /// Notes that the home of a topic is or was at a peer.
    pub(crate) fn note_at(&self, action: &str, topic: &str, peer: &str, why: Option<&Refusal>) {
        self.line(action, topic, &quoted(" at=", peer), why);
    }

    /// Notes what became of the publishes of a batch, in one line for those of a topic that follow
    /// one another and were taken. `home` says where a topic's publishes were forwarded to.
    pub(crate) fn publishes(
        &self,
        batch: &Batch,
        answers: &[Outcome],
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
            let home = home(&publish.topic).map(|home| quoted(" to=", &home));
            let action = if home.is_some() { "forwarded" } else { "published" };
            let taken = group.iter().filter_map(|(_, answer)| answer.as_ref().ok());
            let count = match first {
                Ok(_) => taken.map(|receipt| receipt.appended).sum(),
                Err(_) => publish.count as u64,
            };
            let offset = first.as_ref().ok().and_then(|receipt| receipt.offset);
            let offset = offset.map(|offset| format!(" offset={offset}")).unwrap_or_default();
            let fields = format!("{} messages={count}{offset}", home.unwrap_or_default());
            self.line(action, &publish.topic, &fields, first.as_ref().err());
        }
    }

    fn line(&self, action: &str, subject: &str, fields: &str, refusal: Option<&Refusal>) {
        let Some(lines) = &self.lines else { return };
        let mut line = Vec::with_capacity(128);
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        // Writing to a vector cannot fail.
        if left_out > 0 {
            begin(&mut line);
            let _ =
                writeln!(line, "left out {left_out} lines: the log could not be written so fast");
        }
        begin(&mut line);
        let _ = write!(line, "{action}{}{fields}", quoted(" ", subject));
        let _ = match refusal {
            None => writeln!(line, " ok"),
            Some(it) => {
                writeln!(line, " refused={}{}", it.status(), quoted(" ", &it.to_string()))
            }
        };
        if lines.try_send(line).is_err() {
            self.left_out.fetch_add(left_out + 1, Ordering::Relaxed);
        }
    }
}

/// Text from outside, as a JSON string in ASCII.
fn quoted(before: &str, text: &str) -> String {
    let mut out = before.as_bytes().to_vec();
    text.write(&mut out, Charset::Ascii);
    String::from_utf8(out).unwrap_or_default()
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

/// Where lines go.
struct Output {
    file: BufWriter<Box<dyn Write + Send>>,
    path: PathBuf,
    /// Device and number of the file; none of what cannot be moved away.
    identity: Option<(u64, u64)>,
}

impl Output {
    fn open(path: &Path) -> io::Result<Output> {
        let (file, identity): (Box<dyn Write + Send>, _) = if path == Path::new("-") {
            (Box::new(io::stdout()), None)
        } else {
            let is_pipe = fs::metadata(path).is_ok_and(|it| it.file_type().is_fifo());
            // A pipe is opened for reading too, or this would wait for a reader.
            let mut options = File::options();
            let file = options.create(true).append(true).read(is_pipe).mode(MODE).open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_file() && metadata.mode() & !MODE & 0o7777 != 0 {
                // What an older version made is readable by everybody. Where the owner is another,
                // it is his.
                let mode = metadata.mode() & MODE;
                let _ = file.set_permissions(Permissions::from_mode(mode));
            }
            (Box::new(file), metadata.is_file().then(|| identity_of(&metadata)))
        };
        Ok(Output { file: BufWriter::new(file), path: path.to_owned(), identity })
    }

    /// Begins a new file where this one was moved away.
    fn follow(&mut self) -> io::Result<()> {
        let present = fs::metadata(&self.path).ok().map(|metadata| identity_of(&metadata));
        if self.identity.is_some() && self.identity != present {
            *self = Output::open(&self.path)?;
        }
        Ok(())
    }
}

fn identity_of(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// The life of the thread that writes: all that waits, and then it is flushed.
fn write(waiting: &Receiver<Vec<u8>>, mut output: Output) {
    let mut is_failing = false;
    loop {
        let first = match waiting.recv_timeout(FOLLOW_TIME) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut written = output.follow().and_then(|()| output.file.write_all(&first));
        while let Ok(line) = waiting.try_recv() {
            written = written.and_then(|()| output.file.write_all(&line));
        }
        let failed = written.and_then(|()| output.file.flush()).err();
        if let Some(error) = &failed
            && !is_failing
        {
            notify::warn(format_args!("the log cannot be written: {error}"));
        }
        is_failing = failed.is_some();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Memory, Topics};

    /// A log whose lines nobody writes.
    fn log(waiting_max: usize) -> (Log, Receiver<Vec<u8>>) {
        let (lines, waiting) = mpsc::sync_channel(waiting_max);
        (Log { lines: Some(lines), left_out: AtomicU64::new(0), reads: false }, waiting)
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
        log.note("created", "a\" ok\n\u{1b}[2J\u{e9}", Some(&Refusal::TopicExists));
        assert_eq!(
            next(&waiting),
            r#"- created "a\" ok\n\u001b[2J\u00e9" refused=409 "Topic already exists""#
        );
    }

    #[test]
    fn lines_that_find_no_room_are_counted() {
        let (log, waiting) = log(1);
        for topic in ["a", "b", "c"] {
            log.note("created", topic, None);
        }
        assert_eq!(next(&waiting), "- created \"a\" ok");
        log.note("created", "d", None);
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
        let mut answers = Topics::new(Memory::new(1 << 20)).append(&mut batch);
        answers[3] = Err(Refusal::OldEpoch { present: 2 });
        log.publishes(&batch, &answers, |topic| (topic == "b").then(|| "hub:1".to_owned()));
        assert_eq!(next(&waiting), "- published \"a\" messages=4 offset=0 ok");
        assert_eq!(next(&waiting), "- forwarded \"b\" to=\"hub:1\" messages=2 offset=0 ok");
        assert!(
            next(&waiting).starts_with("- forwarded \"b\" to=\"hub:1\" messages=2 refused=403")
        );
    }
}
