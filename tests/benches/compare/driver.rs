//! The one loop that drives all servers.
//!
//! One thread walks over all publishing connections and one over all subscribed ones, so that the
//! benchmark costs every server the same, and little.

use crate::Result;
use crate::payload::{Check, Payload};
use crate::peers::{Adapter, Contender, Disk, Server};
use crate::wire::Wire;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Room for what one connection is answered at once.
const ROOM: usize = 256 << 10;

/// The same where there are many.
const ROOM_OF_MANY: usize = 64 << 10;

/// A connection that publishes.
pub(crate) struct Lane {
    wire: Wire,
    adapter: Box<dyn Adapter>,
    payload: Payload,
    /// Messages without an answer yet.
    in_flight: u64,
}

/// What was published, and how long it took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published {
    pub(crate) count: u64,
    pub(crate) elapsed: Duration,
}

impl Published {
    pub(crate) fn per_second(self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }
}

impl Lane {
    /// Connects to a server.
    pub(crate) fn open(contender: &Contender, disk: Disk, server: &Server) -> Result<Lane> {
        let mut wire = Wire::connect(server.port, ROOM)?;
        let mut adapter = contender.adapter(disk);
        adapter.greet(&mut wire)?;
        Ok(Lane { wire, adapter, payload: Payload::new(100), in_flight: 0 })
    }

    /// Makes the topics.
    pub(crate) fn prepare(&mut self, topics: &[String]) -> Result<()> {
        topics.iter().try_for_each(|topic| self.adapter.prepare(topic, &mut self.wire))?;
        Ok(())
    }

    /// Publishes messages of another size from now on.
    pub(crate) fn resize(&mut self, size: usize) {
        self.payload = Payload::new(size);
    }

    /// Sends so many messages, in turn to each topic.
    pub(crate) fn send(&mut self, topics: &mut Topics<'_>, count: u64) -> Result<()> {
        let out = &mut self.wire.output;
        for _ in 0..count {
            self.adapter.publish(topics.next(), self.payload.bytes(), out);
            self.payload.advance();
        }
        self.adapter.flush(topics.next(), out);
        self.in_flight += count;
        self.wire.send()?;
        Ok(())
    }

    /// Waits for more answers.
    fn receive(&mut self) -> Result<()> {
        loop {
            let taken = self.adapter.answered(self.wire.input())?;
            self.wire.consume(taken.size);
            self.in_flight -= taken.count;
            if taken.count > 0 {
                return Ok(());
            }
            self.wire.fill().map_err(|error| format!("waiting for an answer: {error}"))?;
        }
    }

    /// Waits for all answers.
    pub(crate) fn drain(&mut self) -> Result<()> {
        while self.in_flight > 0 {
            self.receive()?;
        }
        Ok(())
    }

    /// Fails unless the server holds as many messages as it should, if it can tell.
    pub(crate) fn check_stored(&mut self, topics: &[String], port: u16, sent: u64) -> Result<()> {
        let mut stored = Some(0);
        for topic in topics {
            let of_topic = self.adapter.stored(topic, port)?;
            stored = stored.zip(of_topic).map(|(sum, of_topic)| sum + of_topic);
        }
        match stored {
            Some(stored) if stored != sent => Err(format!("{stored} of {sent} stored").into()),
            _ => Ok(()),
        }
    }
}

/// Topics, taken in turn.
pub(crate) struct Topics<'a> {
    topics: &'a [String],
    next: usize,
}

impl<'a> Topics<'a> {
    pub(crate) fn new(topics: &'a [String]) -> Topics<'a> {
        Topics { topics, next: 0 }
    }

    fn next(&mut self) -> &'a str {
        let topic = &self.topics[self.next];
        self.next = if self.next + 1 == self.topics.len() { 0 } else { self.next + 1 };
        topic
    }
}

/// The names of so many topics.
pub(crate) fn topics(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("t{index}")).collect()
}

/// Publishes on all lanes for a while, each with up to `window` messages in flight.
///
/// A lane is filled up again when half of its window was answered: so both sides work at the same
/// time, in bursts, whatever the server.
pub(crate) fn saturate(
    lanes: &mut [Lane],
    topics: &[String],
    window: u64,
    time: Duration,
) -> Result<Published> {
    let mut topics = Topics::new(topics);
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < time {
        for lane in &mut *lanes {
            while lane.in_flight > window / 2 {
                lane.receive()?;
            }
            // Whatever is answered in whole bursts is sent in whole bursts.
            let burst = if lane.in_flight == 0 { window } else { window - window / 2 };
            let burst = burst.min(window - lane.in_flight);
            lane.send(&mut topics, burst)?;
            count += burst;
        }
    }
    lanes.iter_mut().try_for_each(Lane::drain)?;
    Ok(Published { count, elapsed: begun.elapsed() })
}

/// Publishes one message at a time for a while, and gives how long each took to be answered.
pub(crate) fn one_at_a_time(
    lane: &mut Lane,
    topics: &[String],
    time: Duration,
) -> Result<Vec<Duration>> {
    let mut topics = Topics::new(topics);
    let mut times = Vec::with_capacity(1 << 16);
    let begun = Instant::now();
    while begun.elapsed() < time {
        let sent = Instant::now();
        lane.send(&mut topics, 1)?;
        lane.drain()?;
        times.push(sent.elapsed());
    }
    Ok(times)
}

/// Publishes on as many connections, each with a thread of its own, `window` in flight on each.
/// For servers that wait for a disk, which one thread could not keep busy.
pub(crate) fn saturate_apart(
    lanes: Vec<Lane>,
    topics: &[String],
    window: u64,
    time: Duration,
) -> Result<Published> {
    let begun = Instant::now();
    let work = |mut lane: Lane| {
        let lanes = std::slice::from_mut(&mut lane);
        saturate(lanes, topics, window, time).map(|published| published.count)
    };
    let count = thread::scope(|scope| {
        let start = |lane| scope.spawn(move || work(lane));
        let threads: Vec<_> = lanes.into_iter().map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("no lane panics")).sum::<Result<_>>()
    })?;
    Ok(Published { count, elapsed: begun.elapsed() })
}

/// A connection that subscribes.
pub(crate) struct Listener {
    wire: Wire,
    adapter: Box<dyn Adapter>,
    check: Check,
}

impl Listener {
    /// Subscribes to a topic.
    pub(crate) fn open(
        contender: &Contender,
        disk: Disk,
        server: &Server,
        topic: &str,
        room: usize,
    ) -> Result<Listener> {
        let mut wire = Wire::connect(server.port, room)?;
        let mut adapter = contender.adapter(disk);
        adapter.greet(&mut wire)?;
        adapter.subscribe(topic, &mut wire)?;
        Ok(Listener { wire, adapter, check: Check::default() })
    }

    /// So many subscribers.
    pub(crate) fn open_many(
        contender: &Contender,
        disk: Disk,
        server: &Server,
        topic: &str,
        count: usize,
    ) -> Result<Vec<Listener>> {
        let room = match count {
            1..10 => ROOM,
            10..2000 => ROOM_OF_MANY,
            _ => 1 << 10,
        };
        (0..count).map(|_| Listener::open(contender, disk, server, topic, room)).collect()
    }

    /// Waits for more messages; `each` is given their numbers.
    pub(crate) fn receive(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        self.wire.fill()?;
        let mut reply = std::mem::take(&mut self.wire.output);
        let check = &mut self.check;
        let mut see = |message: &[u8]| {
            each(check.count);
            check.see(message);
        };
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

/// Publishes exactly so many messages, and waits until they are answered.
pub(crate) fn publish_exactly(lane: &mut Lane, topics: &[String], count: u64) -> Result<()> {
    const BURST: u64 = 1000;
    let mut topics = Topics::new(topics);
    let mut left = count;
    while left > 0 {
        let burst = left.min(BURST);
        lane.send(&mut topics, burst)?;
        left -= burst;
        while lane.in_flight > BURST {
            lane.receive()?;
        }
    }
    lane.drain()
}

/// Tries for a minute: a server that accepts connections may not answer yet.
pub(crate) fn patiently<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match attempt() {
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
            result => return result,
        }
    }
}
