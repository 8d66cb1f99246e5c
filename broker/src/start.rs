//! Starts a broker from a command line.

use crate::access::{Access, Tokens};
use crate::broker::Broker;
use crate::config::{Config, Role, TokenSource};
use crate::error::Error;
use crate::home::index::Address;
use crate::home::{Homes, Identity, Index, NatsHome, NatsSettings};
use crate::listen;
use crate::loading;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::notify;
use crate::push::{LastingSubscriptions, Push};
use crate::server;
use crate::server::connection_limit::{self, ConnectionLimit};
use crate::server::input_budget::InputBudget;
use crate::server::tcp_table::TcpTable;
use crate::store::journal::{self, Journal, Progress, Settings, Sync};
use crate::store::memory::{self, Memory};
use crate::store::replay::Replayed;
use crate::store::stream::StreamId;
use crate::store::topics::Topics;
use common::flags;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

/// Binds the address, restores what was kept, says so on standard output, and serves until the
/// process ends.
pub(crate) fn serve(config: Config) -> Result<(), Error> {
    let tokens = match &config.token {
        None => None,
        Some(TokenSource::Given(token)) => Some(Arc::new(Tokens::one(token.clone()))),
        Some(TokenSource::File(path)) => {
            let unusable = |cause| Error::Token { path: path.clone(), cause };
            Some(Arc::new(Tokens::read(path).map_err(unusable)?))
        }
    };
    let Config { host, port, .. } = &config;
    let bind = |cause| Error::Bind { address: format!("{host}:{port}"), cause };
    let (connections, bound) = connection_limit::capacity(config.connections_max);
    if connections == 0 {
        return Err(Error::NoRoom { bound });
    }
    // Bound before the journal is read, so that a taken port is found first, and so that clients
    // hear that the broker is starting.
    let listener = listen::bind(host, *port)?;
    let address = listener.local_addr().map_err(bind)?;
    let nats = match &config.role {
        Role::Nats { servers, replicas, prefix, is_synced } => {
            let (servers, prefix) = (servers.clone(), prefix.clone());
            let (replicas, is_synced) = (*replicas, *is_synced);
            let settings = NatsSettings { servers, replicas, prefix, is_synced };
            Some(NatsHome::new(settings).map_err(Error::Nats)?)
        }
        _ => None,
    };
    let message_size_max = nats.as_ref().map_or(usize::MAX, NatsHome::message_size_max);
    let message_size_max = message_size_max.min(config.message_size_max);
    let memory = Memory::new(config.memory_max);
    let (topics, lasting, kept, waiting) = match &config.data {
        None => {
            let kept = "in memory: a restart forgets all messages".to_owned();
            (Topics::new(memory), LastingSubscriptions::default(), kept, Vec::new())
        }
        Some(directory) => {
            restore(directory, config.sync_always, config.segment_size, memory, &listener)?
        }
    };
    let loopback_only = address.ip().is_loopback();
    let reach = match (loopback_only, &tokens) {
        (true, None) => "for programs on this machine only",
        (true, Some(_)) => "for programs on this machine only that send the token",
        (false, None) => "for everybody who can reach this machine, without a token",
        (false, Some(_)) => "for everybody who can reach this machine and sends the token",
    };
    let kept = match &nats {
        Some(nats) => format!("{}; mirrors {kept}", nats.description()),
        None => kept,
    };
    topics.set_limits(config.limits);
    let (hosts, origins) = (config.hosts.clone(), config.origins.clone());
    if let Some(tokens) =
        tokens.clone().filter(|_| matches!(config.token, Some(TokenSource::File(_))))
    {
        spawn(move || tokens.watch())?;
    }
    let access = Access { loopback_only, hosts, origins, tokens };
    let log = match &config.log {
        Some(path) => Log::open(path, config.log_reads)
            .map_err(|cause| Error::Log { path: path.clone(), cause })?,
        None => Log::default(),
    };
    let log = Arc::new(log);
    let catch_up_threads = connection_limit::catch_up_threads(connections);
    let push = Arc::new(Push::new(topics, lasting, catch_up_threads, Arc::clone(&log)));
    let id = StreamId::random().to_string();
    let broker = Arc::new(Broker {
        homes: homes(&config, nats, &push, address, &id)?,
        push,
        index: Arc::new(Index::new()),
        id,
        message_size_max,
        access,
        timeouts: config.timeouts,
        log,
        input_budget: InputBudget::new(config.memory_max),
        tcp_table: TcpTable::default(),
        metrics: Metrics::new(),
    });
    let push = Arc::clone(&broker.push);
    spawn(move || push.topics.keep_ages())?;
    let push = Arc::clone(&broker.push);
    spawn(move || push.keep_acknowledged(config.forget_after))?;
    flags::print(format_args!(
        "Broker running on http://{address} {reach}, {kept}\n\
         Room for {connections} connections ({bound}) and {} MiB of messages",
        config.memory_max >> 20
    ));
    notify::ready(&format!("serves on {address}, {kept}"));
    server::serve(&listener, waiting, &broker, &Arc::new(ConnectionLimit::new(connections)))
}

/// Who orders which topic, as the broker's role says.
fn homes(
    config: &Config,
    nats: Option<NatsHome>,
    push: &Arc<Push>,
    own: SocketAddr,
    id: &str,
) -> Result<Homes, Error> {
    let token = config.peer_token.as_ref().map(|token| token.text().to_owned());
    let identity = Identity { token, id: id.to_owned() };
    let first = |mirrors| push.topics.names(mirrors).into_iter().next();
    let (push, data) = (Arc::clone(push), config.data.clone());
    if let Some(nats) = nats {
        return match first(false) {
            Some((topic, _)) => Err(Error::OwnTopics { topic }),
            None => Homes::nats(nats, data, push).map_err(Error::Thread),
        };
    }
    match &config.role {
        Role::Alone | Role::Nats { .. } => match first(true) {
            Some((topic, _)) => Err(Error::Mirrors { topic }),
            None => Ok(Homes::alone(push)),
        },
        Role::Leaf(hub) => match first(false) {
            Some((topic, _)) => Err(Error::OwnTopics { topic }),
            None => Homes::hub(hub.clone(), identity, data, push).map_err(Error::Thread),
        },
        Role::Peer { advertise: None, .. } if own.ip().is_unspecified() => Err(Error::Advertise),
        Role::Peer { index, advertise } => {
            let (host, port) =
                advertise.clone().unwrap_or_else(|| (own.ip().to_string(), own.port()));
            let own = Address { host, port };
            Homes::peers(index.clone(), own, identity, data, push).map_err(Error::Thread)
        }
    }
}

/// Runs something in a thread of its own for as long as it likes.
fn spawn(run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    thread::Builder::new().spawn(run).map(drop).map_err(Error::Thread)
}

/// The topics and lasting subscriptions that a directory holds, a word about them, and the clients
/// that wait to be served.
fn restore(
    directory: &Path,
    sync_always: bool,
    segment_size: u64,
    memory: Memory,
    listener: &TcpListener,
) -> Result<(Topics, LastingSubscriptions, String, Vec<TcpStream>), Error> {
    let sync = if sync_always { Sync::Always } else { Sync::Os };
    let mut replayed = Replayed::new(memory);
    // Whether it is in use is found out before the first record is read.
    let is_in_use = |error: &journal::Error| matches!(error, journal::Error::InUse { .. });
    let settings = Settings { sync, segment_size };
    let progress = Progress::default();
    let (free, mut needed) = (memory::free().unwrap_or(u64::MAX), None);
    let (opened, waiting) = loading::during(listener, &progress, || {
        listen::patiently(&directory.display().to_string(), is_in_use, || {
            Journal::open(directory, settings, &progress, |record| {
                // What is left is read for nothing: a start that fails is no start that is killed.
                if needed.is_none() {
                    replayed.apply(record);
                    let used = replayed.admission.memory.used;
                    needed = (used > free).then(|| progress.in_all(used));
                }
            })
        })
    });
    if let Some(needed) = needed {
        return Err(Error::Memory { directory: directory.to_owned(), needed, free });
    }
    let (journal, notices) = opened?;
    for notice in notices {
        listen::warn(&notice);
    }
    let kept = format!(
        "on disk in {} ({}): {} messages found",
        directory.display(),
        if sync_always { "synced before they are acknowledged" } else { "synced by the system" },
        replayed.messages()
    );
    let lasting = LastingSubscriptions::restored(std::mem::take(&mut replayed.positions));
    replayed.admission.memory.used += lasting.size();
    Ok((Topics::restored(replayed, journal, sync_always), lasting, kept, waiting))
}
