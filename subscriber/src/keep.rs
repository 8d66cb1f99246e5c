//! `subscriber` without arguments: keeps a file equal to a topic.
//!
//! The first request is the bare `GET /messages?topic=T`, which every broker knows. If its answer
//! has an offset, the file is *followed* from there: one request after another, each answered when
//! there is something new. If not, the whole list is fetched a few times a second and *compared*.
//!
//! # Guarantee
//!
//! The file grows only by whole lines, in the topic's order. It is begun again only if the broker
//! has shown that it is not the beginning of the topic's list, never because an answer was missing
//! or cut off.

use crate::PROGRAM;
use crate::error;
use crate::list::{Answer, Comparison, List, PATIENCE, WAIT, WholeLines, position};
use crate::received::{Beginning, Received};
use common::bytes;
use common::client::{self, Broker, Outage, Refusal, Start, Subscriber, Trouble};
use common::flags::Error;
use common::retry;
use common::stream::StreamId;
use std::io::{self, ErrorKind, IsTerminal};
use std::mem;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// How often in a row a list has to differ from the file before the file is begun again. A list
/// without a length may have been cut short unnoticed; hardly twice at once.
const DIFFERENCES_MAX: u32 = 2;

/// Between two requests to a broker that does not wait for messages itself.
const POLL_PAUSE: Duration = Duration::from_millis(250);

/// Keeps the file equal to the topic. Returns only when it cannot.
pub(crate) fn keep(broker: Broker, topic: String, path: &Path) -> Result<(), Error> {
    let mut keeper = Keeper::new(broker, topic, Received::open(path)?);
    retry::repeat(&mut keeper, Keeper::failed, |keeper| {
        loop {
            let pause = keeper.round()?;
            keeper.outage.succeeded();
            thread::sleep(pause);
        }
    })
}

/// How a round failed. In passing, [`Trouble::Sink`] says that the disk is full.
type Failure = retry::Failure<Error>;

/// A file on its way to equal a topic.
#[derive(Debug)]
struct Keeper {
    outage: Outage,
    topic: String,
    list: List,
    received: Received,
    /// Whether the broker's last answer carried an offset.
    knows_offsets: bool,
    /// The list that the file was proved to be the beginning of.
    stream: Option<StreamId>,
    /// How often in a row the list differed from the file.
    differences: u32,
    has_said_how_far: bool,
}

impl Keeper {
    fn new(broker: Broker, topic: String, received: Received) -> Keeper {
        Keeper {
            list: List::new(&broker, &topic),
            outage: Outage::new(broker),
            topic,
            received,
            knows_offsets: false,
            stream: None,
            differences: 0,
            has_said_how_far: false,
        }
    }

    /// One request and its answer. Gives the pause until the next one.
    fn round(&mut self) -> Result<Duration, Failure> {
        if self.received.reopen_if_changed()? {
            self.stream = None;
        }
        let result = if self.knows_offsets { self.follow() } else { self.compare() };
        if result.is_err() {
            self.differences = 0;
        }
        result
    }

    /// Asks for the messages after those of the file.
    fn follow(&mut self) -> Result<Duration, Failure> {
        // The digest proves that the file is the beginning of the list. On a connection that has
        // given part of the list already, the stream alone says that it is still the same.
        let is_proved = self.stream.is_some() && self.list.client.is_connected();
        let digest = self.received.digest().filter(|_| !is_proved);
        // A list that was repaired or promoted has another id, and the messages of the file.
        let stream = self.stream.or(self.received.stream()).filter(|_| digest.is_none());
        let position = position(self.received.next(), stream, digest);
        let asked = Instant::now();
        match self.list.ask(&position, WAIT)? {
            Ok(Some(answer)) => {
                let before = self.received.size();
                self.append(&answer)?;
                // Only a broker that does not wait answers with nothing at once.
                if self.received.size() == before && asked.elapsed() < POLL_PAUSE {
                    return Ok(POLL_PAUSE);
                }
            }
            Ok(None) => {
                // Another broker has taken the place of the one that knew offsets.
                self.list.client.hang_up();
                self.knows_offsets = false;
            }
            Err(Refusal { code: 410, first: Some(first), .. }) if first > self.received.next() => {
                self.begin_at(first)?;
            }
            // The list is another one: another stream, another digest, or shorter. With an empty
            // file nothing was asked that could be wrong.
            Err(Refusal { code: 410 | 412 | 416, .. })
                if !self.received.is_blank() || self.stream.is_some() =>
            {
                self.set_aside("it is not what the topic holds now")?;
            }
            Err(refusal) => return Err(self.refused(refusal)),
        }
        Ok(Duration::ZERO)
    }

    /// The broker may change its mind.
    fn refused(&self, refusal: Refusal) -> Failure {
        Trouble::from(self.outage.broker().explained(refusal)).into()
    }

    /// Asks for the whole list, as every broker understands it.
    fn compare(&mut self) -> Result<Duration, Failure> {
        match self.list.ask("", Duration::ZERO)? {
            Ok(Some(answer)) => {
                self.knows_offsets = true;
                if self.received.is_blank() && answer.first == 0 {
                    self.append(&answer)?;
                } else {
                    // Messages that are in the file already need not be sent.
                    self.list.client.hang_up();
                }
                Ok(Duration::ZERO)
            }
            Ok(None) => {
                let pause = self.append_new_part()?;
                // It may serve one connection at a time, and others wait for it.
                self.list.client.hang_up();
                Ok(pause)
            }
            Err(refusal) => Err(self.refused(refusal)),
        }
    }

    /// Appends the answer, which begins where the file ends.
    fn append(&mut self, answer: &Answer) -> Result<(), Failure> {
        self.stream = answer.stream;
        let received = &mut self.received;
        let mut is_too_much = false;
        let result = self.list.read(|batch| {
            let count = bytes::count(batch, |byte| byte == b'\n') as u64;
            is_too_much = received.next() + count > answer.next;
            if is_too_much { Err(ErrorKind::InvalidData.into()) } else { received.append(batch) }
        });
        if is_too_much || (result.is_ok() && self.received.next() < answer.next) {
            let trouble = "the messages do not fit the offset that came with them";
            return Err(Trouble::Invalid(trouble).into());
        }
        result.map_err(|error| self.failure(error))?;
        self.say_how_far();
        Ok(())
    }

    /// Tells a person at a terminal once how far the file is.
    fn say_how_far(&mut self) {
        if !mem::replace(&mut self.has_said_how_far, true) && io::stderr().is_terminal() {
            let (path, count) = (self.received.path().display(), self.received.lines());
            let s = if count == 1 { "" } else { "s" };
            let topic = &self.topic;
            PROGRAM.say(format_args!("{path} has {count} message{s} of {topic:?} and grows"));
        }
    }

    /// The answer is the whole list: appends the part that is not in the file.
    fn append_new_part(&mut self) -> Result<Duration, Failure> {
        let mut comparison =
            Comparison::new(self.received.size(), self.received.digest().unwrap_or_default());
        let mut lines = WholeLines::default();
        let mut last_line_is_open = false;
        let received = &mut self.received;
        let mut take =
            |piece: &[u8]| lines.take(comparison.new_part(piece), |batch| received.append(batch));
        let result = self.list.client.body(PATIENCE, |piece| {
            last_line_is_open = !piece.ends_with(b"\n");
            take(piece)
        });
        // Some brokers put line ends between messages, and none behind the last.
        let result = match result {
            Ok(()) if last_line_is_open => take(b"\n").map_err(Trouble::Sink),
            result => result,
        };
        result.map_err(|error| self.failure(error))?;

        if comparison.continues() {
            self.differences = 0;
            return Ok(POLL_PAUSE);
        }
        self.differences += 1;
        if self.differences < DIFFERENCES_MAX {
            return Ok(POLL_PAUSE);
        }
        self.set_aside("it is not what the topic holds now")?;
        Ok(Duration::ZERO)
    }

    /// An answer could not be read or written. A full disk is waited for, and the file stays
    /// unchanged until there is room.
    fn failure(&self, trouble: Trouble) -> Failure {
        match trouble {
            Trouble::Sink(cause)
                if !matches!(cause.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
            {
                Failure::Final(error::unwritable(Some(self.received.path()), cause))
            }
            trouble => trouble.into(),
        }
    }

    /// The topic no longer has the next message of the file. It begins at `first` now, and so does
    /// a new file.
    fn begin_at(&mut self, first: u64) -> Result<(), Failure> {
        let next = self.received.next();
        self.set_aside(&format!(
            "the topic no longer has the messages from offset {next} to {}",
            first - 1
        ))?;
        // The answers of HTTP do not say the digest. Without it the file is known by its list.
        let mut subscriber = Subscriber::new(self.outage.broker().clone());
        let result = subscriber.subscribe(&self.topic, Start::Offset(first));
        let digest = subscriber.digest(&self.topic);
        let stream = subscriber.cursor(&self.topic).map(|cursor| cursor.stream);
        match result {
            // The topic has removed more in the meantime.
            Err(client::Error::Refused { code: 410, reason, .. }) => {
                Err(Trouble::Answer(reason).into())
            }
            Err(error) => Err(Failure::Final(error.into())),
            Ok(()) => Ok(self.received.begin_at(&Beginning { offset: first, stream, digest })?),
        }
    }

    fn failed(&mut self, trouble: Trouble) -> Result<(), Error> {
        let Trouble::Sink(cause) = trouble else { return Ok(self.outage.failed(trouble)?) };
        let path = self.received.path();
        match self.outage.wait(format_args!("{}", disk_full(path, &cause))) {
            true => Ok(()),
            false => Err(error::unwritable(Some(path), cause)),
        }
    }

    /// Sets the file aside, for a reason that the user hears.
    fn set_aside(&mut self, reason: &str) -> Result<(), Error> {
        self.stream = None;
        self.differences = 0;
        if let Some(old) = self.received.set_aside()? {
            let path = self.received.path().display();
            let old = old.display();
            PROGRAM.say(format_args!("{reason}: {path} is kept as {old}, and begins again"));
        }
        Ok(())
    }
}

/// What the user hears of a full disk.
fn disk_full(path: &Path, cause: &io::Error) -> String {
    format!("the disk is full: {} cannot be written ({cause}); trying again", path.display())
}
