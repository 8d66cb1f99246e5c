//! `publisher --every 1s`: publishes the same messages again and again.

use crate::error;
use common::client::{Broker, Publisher};
use common::flags::Error;
use std::thread;
use std::time::{Duration, Instant};

/// Publishes all messages to each topic at once, and again after each period; returns only when
/// that fails. Without messages it publishes `message 1`, `message 2` and so on, one at a time.
pub(crate) fn repeat(
    broker: Broker,
    topics: &[String],
    messages: &[String],
    period: Duration,
) -> Result<(), Error> {
    let mut publisher = Publisher::new(broker);
    let mut due = Instant::now();
    for round in 1_u64.. {
        let numbered = [format!("message {round}")];
        let messages = if messages.is_empty() { &numbered } else { messages };
        let mut sent = topics.iter().flat_map(|topic| messages.iter().map(move |it| (topic, it)));
        let sent = sent.try_for_each(|(topic, message)| publisher.send(topic, message));
        let published = sent.and_then(|()| publisher.flush());
        published.map_err(|cause| error::of_client(&cause, None, publisher.acknowledged()))?;
        due = next(due, period, Instant::now());
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// When the next round is due: in step with the first, so that the time of the rounds does not add
/// up. Rounds that were missed, since the broker was away, are left out.
fn next(due: Instant, period: Duration, now: Instant) -> Instant {
    match due.checked_add(period) {
        Some(next) if next >= now => next,
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_stay_in_step_and_none_is_made_up_for() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let period = Duration::from_secs(10);
        assert_eq!(next(start, period, after(3)), after(10));
        assert_eq!(next(start, period, after(25)), after(25));
    }
}
