//! Delivers messages to subscribers, and counts them.

use super::{Lane, Published, Topics};
use crate::Result;
use crate::payload::Check;
use crate::peers::{Adapter, Contender, Disk, Server};
use crate::wire::Wire;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Room for what one connection is sent at once.
const ROOM: usize = 256 << 10;

/// The same where there are many.
const ROOM_OF_MANY: usize = 64 << 10;

/// A connection that subscribes.
pub(crate) struct Listener {
    wire: Wire,
    adapter: Box<dyn Adapter>,
    check: Check,
}

impl Listener {
    /// Subscribes to topics.
    pub(crate) fn open(
        contender: &Contender,
        disk: Disk,
        server: &Server,
        topics: &[String],
        room: usize,
    ) -> Result<Listener> {
        let mut wire = Wire::connect(server.port, room)?;
        let mut adapter = contender.adapter(disk);
        adapter.greet(&mut wire)?;
        adapter.subscribe(topics, &mut wire)?;
        Ok(Listener { wire, adapter, check: Check::new(topics.len()) })
    }

    /// So many subscribers.
    pub(crate) fn open_many(
        contender: &Contender,
        disk: Disk,
        server: &Server,
        topics: &[String],
        count: usize,
    ) -> Result<Vec<Listener>> {
        let room = match count {
            1..10 => ROOM,
            10..2000 => ROOM_OF_MANY,
            _ => 1 << 10,
        };
        (0..count).map(|_| Listener::open(contender, disk, server, topics, room)).collect()
    }

    /// Waits for more messages; `each` is given their numbers.
    pub(crate) fn receive(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        self.wire.fill()?;
        let mut reply = std::mem::take(&mut self.wire.output);
        let check = &mut self.check;
        let mut see = |message: &[u8]| each(check.see(message));
        let used = self.adapter.received(self.wire.input(), &mut see, &mut reply);
        self.wire.consume(used);
        self.wire.output = reply;
        if !self.wire.output.is_empty() {
            self.wire.send()?;
        }
        match self.check.wrong {
            Some(number) => Err(format!("message {number} is missing or out of order").into()),
            None => Ok(()),
        }
    }

    /// How many messages came.
    pub(crate) fn count(&self) -> u64 {
        self.check.count
    }
}

/// How far the two sides of a delivery are.
struct Progress {
    /// How many messages there will be; not known at first.
    total: AtomicU64,
    /// How many were sent, or are about to be.
    sent: AtomicU64,
    /// How many every subscriber has.
    received: AtomicU64,
}

/// Publishes to subscribers for a while, never more than `ahead` messages before the slowest of
/// them, and waits until every one has all, in order.
pub(crate) fn deliver(
    lane: &mut Lane,
    listeners: &mut [Listener],
    topics: &[String],
    ahead: u64,
    time: Duration,
) -> Result<Published> {
    let window = (ahead / 2).min(256);
    let progress = Progress::new(u64::MAX);
    let begun = Instant::now();
    thread::scope(|scope| {
        let publisher = scope.spawn(|| -> Result<u64> {
            let mut topics = Topics::new(topics);
            let mut count = 0_u64;
            while begun.elapsed() < time {
                while lane.in_flight > window / 2 {
                    lane.receive()?;
                }
                let burst = window - window / 2;
                while count + burst > ahead + progress.received.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_micros(20));
                }
                count += burst;
                progress.sent.store(count, Ordering::SeqCst);
                lane.send(&mut topics, burst)?;
            }
            // Subscribers wait for as long as they lack some: so the last message is sent when
            // they can know that it is the last.
            progress.total.store(count + 1, Ordering::SeqCst);
            progress.sent.store(count + 1, Ordering::SeqCst);
            lane.send(&mut topics, 1)?;
            lane.drain()?;
            Ok(count + 1)
        });
        let received = receive_all(listeners, &progress, |_| {});
        if received.is_err() {
            progress.received.store(u64::MAX / 2, Ordering::Relaxed);
        }
        let published = publisher.join().expect("a publisher does not panic");
        received?;
        published
    })
    .map(|count| Published { count, elapsed: begun.elapsed() })
}

impl Progress {
    fn new(total: u64) -> Progress {
        let zero = || AtomicU64::new(0);
        Progress { total: AtomicU64::new(total), sent: zero(), received: zero() }
    }
}

/// Walks over all subscribers until each has all. Never waits for one that has all there is while
/// another lacks some: the publisher waits for that one.
fn receive_all(
    listeners: &mut [Listener],
    progress: &Progress,
    mut each: impl FnMut(u64),
) -> Result<()> {
    let mut received = 0;
    while received < progress.total.load(Ordering::SeqCst) {
        let sent = progress.sent.load(Ordering::SeqCst);
        let expected = sent.max(received + 1);
        received = u64::MAX;
        for listener in &mut *listeners {
            if listener.count() < expected {
                let count = listener.count();
                let told = |error| format!("a subscriber that has {count} messages: {error}");
                listener.receive(&mut each).map_err(told)?;
            }
            received = received.min(listener.count());
        }
        progress.received.store(received, Ordering::Relaxed);
    }
    Ok(())
}

/// Publishes `count` messages, one every `pause`, and gives how long each took to each subscriber.
pub(crate) fn deliver_paced(
    lane: &mut Lane,
    listeners: &mut [Listener],
    topics: &[String],
    count: u64,
    pause: Duration,
) -> Result<Vec<Duration>> {
    let progress = Progress::new(count);
    let sent: Vec<AtomicU64> = (0..count).map(|_| AtomicU64::new(0)).collect();
    let begun = Instant::now();
    let nanoseconds = || u64::try_from(begun.elapsed().as_nanos()).expect("a run is short");
    let mut times = Vec::new();
    thread::scope(|scope| {
        let publisher = scope.spawn(|| -> Result<()> {
            let mut topics = Topics::new(topics);
            let mut due = Duration::ZERO;
            for (number, sent) in (1..).zip(&sent) {
                due += pause;
                thread::sleep(due.saturating_sub(begun.elapsed()));
                progress.sent.store(number, Ordering::SeqCst);
                sent.store(nanoseconds(), Ordering::SeqCst);
                lane.send(&mut topics, 1)?;
                lane.drain()?;
            }
            Ok(())
        });
        let received = receive_all(listeners, &progress, |number| {
            let sent = sent.get(usize::try_from(number).expect("few"));
            let sent = sent.map_or(0, |sent| sent.load(Ordering::SeqCst));
            times.push(Duration::from_nanos(nanoseconds().saturating_sub(sent)));
        });
        publisher.join().expect("a publisher does not panic")?;
        received
    })?;
    Ok(times)
}
