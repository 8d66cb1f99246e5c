//! Drives all servers with the same loop.
//!
//! One thread serves all publishing connections and one all subscribed ones. So the benchmark
//! itself costs the same, and little, for every server.

mod deliver;

pub(crate) use deliver::{Listener, deliver, deliver_paced};

use crate::Result;
use crate::payload::Payload;
use crate::peers::{Adapter, Contender, Disk, Server};
use crate::wire::Wire;
use std::thread;
use std::time::{Duration, Instant};

/// Room for what one connection is answered at once.
const ROOM: usize = 256 << 10;

/// A connection that publishes.
pub(crate) struct Lane {
    wire: Wire,
    adapter: Box<dyn Adapter>,
    payload: Payload,
    /// Messages without an answer yet.
    in_flight: u64,
    /// Whether the server keeps messages, and can be asked for them.
    stores: bool,
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
        let stores = contender.kind.promise(disk).stored;
        Ok(Lane { wire, adapter, payload: Payload::new(100), in_flight: 0, stores })
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
        let mut topic = "";
        for _ in 0..count {
            topic = topics.next();
            self.adapter.publish(topic, self.payload.bytes(), out);
            self.payload.advance();
        }
        self.adapter.flush(topic, out);
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
        match self.stored(topics, port)? {
            Some(stored) if stored != sent => Err(format!("{stored} of {sent} stored").into()),
            _ => Ok(()),
        }
    }

    /// How many messages the server holds, if it can tell.
    pub(crate) fn stored(&mut self, topics: &[String], port: u16) -> Result<Option<u64>> {
        if !self.stores {
            return Ok(None);
        }
        let mut stored = Some(0);
        for topic in topics {
            let of_topic = self.adapter.stored(topic, port)?;
            stored = stored.zip(of_topic).map(|(sum, of_topic)| sum + of_topic);
        }
        Ok(stored)
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
