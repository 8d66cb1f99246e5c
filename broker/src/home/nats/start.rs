//! Whether a cluster can be the home of topics: found out before a broker serves.

use super::NatsHome;
use super::api::about;
use super::connection::{Credentials, Servers, Unusable};
use super::failure::{Failure, Reason};
use super::names::Names;
use super::publish::HEADERS_SIZE_MAX;
use super::requests::Requests;
use super::storing::BATCHES_MAX;
use super::streams::streams;
use super::tables::Table;
use crate::home::permits::Permits;
use crate::refusal::Refusal;
use crate::store::Limits;
use common::random::random;
use std::time::{Duration, Instant};

/// How long the start may take for each question.
const PATIENCE: Duration = Duration::from_secs(4);

/// Before the servers are counted again.
const PAUSE: Duration = Duration::from_millis(200);

/// How many servers of a cluster store a topic, unless something else is said.
const REPLICAS: u64 = 3;

/// What a message and its headers may have where no server has said it yet; NATS's own default.
const PAYLOAD_SIZE_MAX: usize = 1 << 20;

/// Which cluster, and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `HOST:PORT` of each server.
    pub servers: Vec<String>,
    /// How many servers store each topic, where that was said.
    pub replicas: Option<u64>,
    /// How the names of streams and subjects begin.
    pub prefix: String,
    /// Whether the servers sync before they acknowledge.
    pub is_synced: bool,
    /// The bounds of topics that are created here.
    pub(crate) limits: Limits,
}

/// Why the cluster cannot be the home of topics: one line for the user.
type Unfit = String;

impl NatsHome {
    /// The cluster that the settings name. Where no server is there, it is as if they were about to
    /// come.
    pub(crate) fn new(settings: Settings) -> Result<NatsHome, Unfit> {
        let Settings { servers, replicas, prefix, is_synced, limits } = settings;
        let address = servers.join(",");
        let requests = Requests::new(Servers::new(servers, Credentials::given()));
        let info = match requests.servers.open() {
            Ok(link) => Some(link.info),
            Err(Unusable { is_lasting: false, .. }) => None,
            Err(Unusable { reason, .. }) => return Err(reason),
        };
        let is_clustered = info.as_ref().is_none_or(|info| info.is_clustered);
        if replicas.is_some_and(|replicas| replicas > 1) && !is_clustered {
            return Err(format!(
                "{address} is a single server, which cannot store each topic several times: \
                 start it in a cluster, or the broker with --nats-replicas 1"
            ));
        }
        let payload_max = info.as_ref().map_or(PAYLOAD_SIZE_MAX, |info| info.payload_max);
        let home = NatsHome {
            id: format!("{:016x}", random()),
            address,
            requests,
            names: Names { prefix },
            replicas: replicas.unwrap_or(if is_clustered { REPLICAS } else { 1 }),
            is_durable: is_synced,
            message_size_max: payload_max.saturating_sub(HEADERS_SIZE_MAX),
            limits,
            streams: Default::default(),
            creating: Default::default(),
            sequences: Default::default(),
            records: Default::default(),
            removals: Default::default(),
            tables: Default::default(),
            listed: Default::default(),
            batches: Permits::new(BATCHES_MAX),
            follower: Default::default(),
        };
        if info.is_some() {
            home.check()?;
        }
        Ok(home)
    }

    /// The longest message that the servers take.
    pub(crate) fn message_size_max(&self) -> usize {
        self.message_size_max
    }

    /// Where messages are kept, for people.
    pub(crate) fn description(&self) -> String {
        let (address, replicas) = (&self.address, self.replicas);
        let plural = if replicas == 1 { "copy" } else { "copies" };
        let sync = if self.is_durable { "synced" } else { "synced by and by" };
        format!("in NATS at {address}: {replicas} {plural} of each message, {sync}")
    }

    /// Whether JetStream works for this account, no foreign stream is in the way, and there are as
    /// many servers as are to store each message.
    fn check(&self) -> Result<(), Unfit> {
        let deadline = Instant::now() + PATIENCE;
        match self.attempt(deadline).ask(&["INFO"], b"", |_| Some(())) {
            Ok(()) => {}
            Err(failure) if failure.reason() == Reason::Nobody => {
                return Err(format!("{}: JetStream is off for this account", self.address));
            }
            // A cluster that is starting has no leader yet.
            Err(failure) if failure.is_passing() => return Ok(()),
            Err(failure) => return Err(self.unfit(failure)),
        }
        let everything = about("subject", &self.names.everything());
        let attempt = self.attempt(deadline + PATIENCE);
        let foreign = attempt.ask(&["STREAM.NAMES"], &everything, |answer| {
            let tables = [self.names.records(), self.names.places()];
            let is_own =
                |name: &str| self.names.list(name).is_some() || tables.iter().any(|it| it == name);
            Some(streams(answer).find(|name| !is_own(name)).map(str::to_owned))
        });
        if let Ok(Some(name)) = foreign {
            return Err(format!(
                "{}: the stream {name:?}, which is not this broker's, holds subjects below {}: \
                 choose other names with --nats-prefix",
                self.address,
                self.names.everything()
            ));
        }
        // A server may be about to come.
        let attempt = self.attempt(Instant::now() + PATIENCE);
        while self.replicas > 1
            && let Err(failure) = attempt.create_table(Table::Kept)
            && failure.reason() == Reason::TooFew
        {
            attempt.pause(PAUSE, failure).map_err(|failure| self.unfit(failure))?;
        }
        Ok(())
    }

    fn unfit(&self, failure: Failure) -> Unfit {
        format!("{}: {}", self.address, Refusal::from(failure))
    }
}
