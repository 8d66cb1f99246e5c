//! Messages on their way into a stream: one, or several that are stored together.

use super::failure::Failure;
use super::{Attempt, wire};
use common::random::random;
use std::fmt::Write as _;
use std::time::Duration;

/// The most messages that the servers store together.
pub(super) const BATCH_COUNT_MAX: usize = 1000;

/// How long a publish may be without an answer: then nobody knows whether it was stored.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// How many batches a broker has open: servers take 50 of a stream, of all brokers, and may leave
/// one more without an answer.
pub(super) const BATCHES_MAX: usize = 16;

/// The header of a message that is stored only if the last one of its subject, or of another, is
/// this one.
pub(super) fn expecting(last: u64, subject: Option<&str>) -> String {
    const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
    let mut header = format!("{EXPECTED}: {last}\r\n");
    if let Some(subject) = subject {
        // A string takes all that is written to it.
        let _ = write!(header, "{EXPECTED}-Subject: {subject}\r\n");
    }
    header
}

impl Attempt<'_> {
    /// Stores messages: all of them, if `first` fits, which is a header of the first. `parts` gives
    /// the subject and the payload of each, and writes its other headers. Gives the sequence of the
    /// last.
    pub(super) fn store<'m, M>(
        &self,
        messages: &'m [M],
        first: &str,
        parts: impl Fn(usize, &'m M, &mut String) -> (&'m str, &'m [u8]),
    ) -> Result<u64, Failure> {
        let open = match messages.len() {
            0 | 1 => None,
            _ => Some(self.batches.take(self.deadline).ok_or("too many batches are open")?),
        };
        let live = self.requests.live(self.deadline)?;
        let answer = live.request(self.within(ANSWER_TIMEOUT), |reply, out| {
            let batch = open.is_some().then(|| format!("{:016x}", random()));
            let mut headers = String::new();
            for (index, message) in messages.iter().enumerate() {
                headers.clear();
                headers.push_str(if index == 0 { first } else { "" });
                let (subject, payload) = parts(index, message, &mut headers);
                let place = index + 1;
                let is_last = place == messages.len();
                if let Some(batch) = &batch {
                    // A string takes all that is written to it.
                    let _ = write!(
                        headers,
                        "Nats-Batch-Id: {batch}\r\nNats-Batch-Sequence: {place}\r\n"
                    );
                    headers.push_str(if is_last { "Nats-Batch-Commit: 1\r\n" } else { "" });
                }
                wire::publish(out, subject, is_last.then_some(reply), &headers, payload);
            }
        });
        live.outcome(answer, |answer| answer.get_u64("seq"))
    }

    /// Stores messages, each for itself, in this order as far as all of them are stored.
    pub(super) fn store_each<'m, M>(
        &self,
        messages: &'m [M],
        parts: impl Fn(usize, &'m M, &mut String) -> (&'m str, &'m [u8]),
    ) -> Vec<Result<u64, Failure>> {
        let Ok(live) = self.requests.live(self.deadline) else { return Vec::new() };
        let until = self.within(ANSWER_TIMEOUT);
        let answers = live.request_each(messages.len(), until, |inbox, first, out| {
            let (mut headers, mut reply) = (String::new(), String::new());
            for (index, message) in messages.iter().enumerate() {
                headers.clear();
                reply.clear();
                let (subject, payload) = parts(index, message, &mut headers);
                // A string takes all that is written to it.
                let _ = write!(reply, "{inbox}.{}", first + index as u64);
                wire::publish(out, subject, Some(&reply), &headers, payload);
            }
        });
        let stored = |answer| live.outcome(answer, |answer| answer.get_u64("seq"));
        answers.into_iter().map(stored).collect()
    }
}
