//! Brokers that work together: each topic has one home, which orders its messages.
//!
//! - The **home** of a topic is the one broker that appends to it and gives offsets.
//! - A **mirror** is another broker's copy of a topic: a first part of the home's list, which is
//!   followed with a cursor like any subscriber's. Reads are served from it.
//! - A **hub** is a broker that others name as their `--upstream`; they are its **leaves**. It is
//!   the home of all their topics. A leaf may have leaves of its own.
//! - **Peers** share an `--index`. The home of a topic is the peer on which it was created, and
//!   the index knows which one that is.
//!
//! A broker on its own is the home of all its topics. Everybody else forwards publishes to the
//! home, whose answer is given back.
//!
//! # Guarantee
//!
//! A message acknowledged through a broker is visible to the next read through that broker. A
//! mirror never holds what its home does not, and offsets and stream ids are the home's. Whoever
//! asks is answered within five seconds, however many homes are out of reach.
//!
//! # Not here
//!
//! More than one home for a topic: while it is out of reach, publishes are refused.
//!
//! # Modules in reading order
//!
//! - `remote`: what a home elsewhere can be asked, and what comes from it; `broker`: a broker in
//!   this role
//! - `mirrors`: one home elsewhere, and mirrors of its topics; `following`: how far each of them
//!   is; `follow`: keeps them up to date; `replaced`: what becomes of those whose home has another
//!   list
//! - `followers`: the connections of those who mirror what lives here
//! - `index`: tells who is the home of what; `peers`: asks it; `locations`: what it answered
//! - `permits`: bounds how many ask at once
//! - `nats`: a cluster in the role of a home

mod broker;
mod follow;
mod followers;
mod following;
mod index;
mod locations;
mod mirrors;
mod nats;
mod peers;
mod permits;
mod remote;
mod replaced;

pub(crate) use followers::Followers;
pub(crate) use index::{Address, Index, Presence};
pub(crate) use nats::NatsHome;
pub use nats::Settings as NatsSettings;

use crate::push::{Piece, Push, SharedPositions, Source, Wanted};
use crate::refusal::{Refusal, Result};
use crate::store::{Batch, Receipts, Summary, TopicChange};
use broker::BrokerHome;
use common::pattern::Pattern;
use mirrors::Mirrors;
use peers::Peers;
use remote::{Event, Forwarded, List, MirrorEnd, News, RemoteHome, Start};
use std::io;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long homes and the index may take, all together, before a client is answered without them.
const HOME_TIMEOUT: Duration = Duration::from_secs(4);

/// How often others are asked for topics that came into being.
const LOOK_OUT_TIME: Duration = Duration::from_secs(1);

/// How a broker finds the homes of topics, and works with them.
#[derive(Clone)]
pub(crate) struct Homes {
    push: Arc<Push>,
    others: Others,
}

/// The other brokers.
#[derive(Clone)]
enum Others {
    /// There are none: this broker is the home of all topics.
    None,
    /// Another broker is, or a cluster.
    Hub(Arc<Mirrors>),
    /// An index tells.
    Peers(Arc<Peers>),
}

/// What a broker is to others.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) token: Option<String>,
    /// Tells it from all others, so that a ring is found.
    pub(crate) id: String,
    /// Its topics.
    pub(crate) push: Arc<Push>,
    /// Where mirrors are kept, if anywhere.
    pub(crate) data: Option<PathBuf>,
}

impl Homes {
    /// All topics live here.
    pub(crate) fn alone(push: Arc<Push>) -> Homes {
        Homes { push, others: Others::None }
    }

    /// All topics live at the hub at `HOST:PORT`, which is followed from now on.
    ///
    /// # Errors
    ///
    /// Where the system has no thread for it. The same holds for the other two.
    pub(crate) fn hub(address: String, own: &Identity) -> io::Result<Homes> {
        Homes::at(Arc::new(BrokerHome::new(address, own, Arc::new(true.into()))), own)
    }

    /// All topics live in a cluster of NATS, in the same way.
    pub(crate) fn nats(home: NatsHome, own: &Identity) -> io::Result<Homes> {
        let home = Arc::new(home);
        own.push.lasting.share(Arc::clone(&home) as Arc<dyn SharedPositions>);
        Homes::at(home, own)
    }

    /// All topics live at one home.
    fn at(home: Arc<dyn RemoteHome>, own: &Identity) -> io::Result<Homes> {
        let mirrors = Mirrors::new(home, None, own)?;
        // What was mirrored before is followed again, whoever asks for it.
        for (topic, _) in own.push.topics.names(true) {
            // There are no more of them than there may be topics.
            let _ = mirrors.ask_for(&topic);
        }
        Homes::elsewhere(Others::Hub(mirrors), own)
    }

    /// Topics live at peers; the index at `HOST:PORT` tells at which. This one is reached at
    /// `address`.
    pub(crate) fn peers(index: String, address: Address, own: &Identity) -> io::Result<Homes> {
        let peers = Arc::new(Peers::new(index, address, own.clone()));
        let registered = Arc::clone(&peers);
        thread::Builder::new().spawn(move || registered.run())?;
        Homes::elsewhere(Others::Peers(peers), own)
    }

    fn elsewhere(others: Others, own: &Identity) -> io::Result<Homes> {
        let homes = Homes { push: Arc::clone(&own.push), others };
        let looked_at = homes.clone();
        thread::Builder::new().spawn(move || looked_at.look_out())?;
        own.push.pieces.set_source(Box::new(homes.clone()));
        Ok(homes)
    }

    /// The home of all topics, if that is elsewhere.
    fn home_of_all(&self) -> Option<&Mirrors> {
        match &self.others {
            Others::Hub(mirrors) => Some(mirrors),
            Others::None | Others::Peers(_) => None,
        }
    }

    /// The mirrors of the home of a topic, where that is not this broker.
    fn mirrors(&self, topic: &str, deadline: Instant) -> Result<Option<Arc<Mirrors>>> {
        match &self.others {
            Others::None => Ok(None),
            Others::Hub(mirrors) => Ok(Some(Arc::clone(mirrors))),
            Others::Peers(peers) => peers.home(topic, deadline),
        }
    }

    /// Appends a batch at the homes of its topics.
    pub(crate) fn publish(&self, batch: &mut Batch) -> Receipts {
        let deadline = deadline();
        match &self.others {
            Others::None => self.push.topics.append(batch),
            Others::Hub(mirrors) => mirrors.publish(batch, deadline),
            Others::Peers(peers) => {
                let mut answers = Vec::with_capacity(batch.publishes.len());
                let mut done = Batch::default();
                while let Some(mut run) = batch.take_run() {
                    answers.append(&mut peers.publish(&mut run, deadline));
                    done.publishes.append(&mut run.publishes);
                }
                *batch = done;
                answers
            }
        }
    }

    /// Changes a topic at its home.
    pub(crate) fn change(&self, topic: &str, change: &TopicChange) -> Result<()> {
        let deadline = deadline();
        match (&self.others, change) {
            (Others::Peers(peers), TopicChange::Create) => peers.create(topic, deadline),
            (Others::Peers(peers), TopicChange::Delete) => peers.delete(topic, deadline),
            _ => match self.mirrors(topic, deadline)? {
                None => self.push.topics.change_topic(topic, *change),
                Some(mirrors) => mirrors.change(topic, *change, deadline),
            },
        }
    }

    /// Sees to it that a topic can be read here: that its mirror is followed, and up to date where
    /// its home is in reach.
    ///
    /// # Errors
    ///
    /// No such topic, or neither mirror nor home.
    pub(crate) fn prepare(&self, topic: &str) -> Result<()> {
        let deadline = deadline();
        match self.mirrors(topic, deadline) {
            Ok(None) => Ok(()),
            Ok(Some(mirrors)) => mirrors.serve(topic, deadline),
            // Nobody knows where its home is now.
            Err(Refusal::Unreachable { .. } | Refusal::Away(_))
                if self.push.topics.is_mirror(topic) =>
            {
                Ok(())
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Sees to it that all topics can be read here whose names match.
    ///
    /// # Errors
    ///
    /// As [`Homes::prepare`]; also where nobody can be asked which topics there are.
    pub(crate) fn prepare_all(&self, pattern: &Pattern) -> Result<()> {
        let deadline = deadline();
        let topics = self.ask_for_all(pattern, deadline)?;
        topics.iter().try_for_each(|(topic, mirrors)| mirrors.serve(topic, deadline))
    }

    /// The names of all topics that match, wherever their home is.
    ///
    /// # Errors
    ///
    /// Nobody can be asked.
    pub(crate) fn names(&self, pattern: &Pattern) -> Result<Vec<String>> {
        let Some(hub) = self.home_of_all() else {
            let topics = self.push.chosen(|topic| pattern.matches(topic));
            return Ok(topics.into_iter().map(|(topic, _)| topic).collect());
        };
        hub.home.names(pattern, deadline())
    }

    /// Up to `count` topics in the order of their names, after `behind`: all of the home where that
    /// tells it, else those that are here.
    pub(crate) fn list(&self, behind: &str, count: usize) -> Vec<(String, Summary)> {
        let topics = &self.push.topics;
        let listed = self.home_of_all().and_then(|hub| hub.home.list(deadline()));
        let Some(Ok(listed)) = listed else { return topics.list(behind, count) };
        let behind = (Bound::Excluded(behind), Bound::Unbounded);
        let shown = listed.range::<str, _>(behind).take(count).map(|(topic, summary)| {
            let own = topics.summary(topic).ok().filter(|own| own.stream == summary.stream);
            (topic.clone(), own.unwrap_or(*summary))
        });
        shown.collect()
    }

    /// Whether publishes are taken.
    ///
    /// # Errors
    ///
    /// As [`Topics::check_ready`]; also where the home of all topics is out of reach.
    pub(crate) fn check_ready(&self) -> Result<()> {
        self.push.topics.check_ready()?;
        self.home_of_all().map_or(Ok(()), |hub| hub.reach(Instant::now()))
    }

    /// Where all topics are at home elsewhere: whether that is in reach, and how many servers store
    /// each message there, where that is known.
    pub(crate) fn reached(&self) -> Option<(bool, Option<u64>)> {
        self.home_of_all().map(|hub| (hub.reach(Instant::now()).is_ok(), hub.home.replicas()))
    }

    /// The broker that a publish goes to, where that is not this one.
    pub(crate) fn forwards_to(&self, topic: &str) -> Option<String> {
        match &self.others {
            Others::None => None,
            Others::Hub(mirrors) => Some(mirrors.home.address().to_owned()),
            Others::Peers(peers) => peers.known_home(topic),
        }
    }

    /// Asks the hub, and its own, and so on, whether one of them is in `seen`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Ring`].
    pub(crate) fn check_path(&self, seen: &[String], time: Duration) -> Result<()> {
        self.home_of_all().map_or(Ok(()), |hub| hub.home.check_path(seen, time))
    }

    /// Follows all topics that match and whose home is elsewhere.
    fn ask_for_all(
        &self,
        pattern: &Pattern,
        deadline: Instant,
    ) -> Result<Vec<(String, Arc<Mirrors>)>> {
        let topics = match &self.others {
            Others::None => Vec::new(),
            Others::Hub(mirrors) => {
                let names = mirrors.home.names(pattern, deadline)?;
                names.into_iter().map(|name| (name, Arc::clone(mirrors))).collect()
            }
            Others::Peers(peers) => peers.matching(pattern, deadline)?,
        };
        topics.iter().try_for_each(|(topic, mirrors)| mirrors.ask_for(topic))?;
        Ok(topics)
    }

    /// Looks for topics that come into being elsewhere and that somebody here follows by pattern,
    /// and has the home let go what is beyond their bounds, for ever. Topics are followed from
    /// their first message, whenever they are found.
    fn look_out(&self) -> ! {
        loop {
            thread::sleep(LOOK_OUT_TIME);
            if let Some(hub) = self.home_of_all() {
                hub.home.keep_bounds(&self.push.topics);
            }
            for pattern in self.push.patterns.standing() {
                // Whoever cannot be asked now is asked again.
                let _ = self.ask_for_all(&pattern, deadline());
            }
        }
    }
}

impl Source for Homes {
    fn reach(&self, topic: &str) -> Result<()> {
        let deadline = deadline();
        self.mirrors(topic, deadline)?.map_or(Ok(()), |mirrors| mirrors.reach(deadline))
    }

    fn read(&self, wanted: Wanted<'_>) -> Result<Piece> {
        let deadline = deadline();
        let mirrors = self.mirrors(wanted.topic, deadline)?.ok_or(Refusal::NotHere)?;
        mirrors.read(wanted, deadline)
    }
}

/// A client that asks now is answered by then, even if homes are out of reach.
fn deadline() -> Instant {
    Instant::now() + HOME_TIMEOUT
}
