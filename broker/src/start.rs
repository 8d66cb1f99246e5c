//! Starts a broker from a command line.

use crate::access::{Access, Tokens};
use crate::broker::Broker;
use crate::config::{Config, Role};
use crate::home::{Address, Followers, Homes, Identity, Index, NatsHome};
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
use crate::store::{Memory, Restoring, StreamId, Topics, Upkeep, memory};
use common::flags::{self, Error};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

/// Binds the address, restores what was kept, says so on standard output, and serves until the
/// process ends.
pub(crate) fn serve(config: Config) -> Result<(), Error> {
    let tokens = match (&config.token_file, &config.token) {
        (Some(path), _) => {
            let unusable = |cause| {
                Error::new(format!("cannot use the tokens in {}", path.display())).because(cause)
            };
            let tokens = Arc::new(Tokens::read(path).map_err(unusable)?);
            let watched = Arc::clone(&tokens);
            spawn(move || watched.watch())?;
            Some(tokens)
        }
        (None, token) => token.clone().map(|token| Arc::new(Tokens::one(token))),
    };
    let (connections, bound) = connection_limit::capacity(config.connections_max);
    if connections == 0 {
        return Err(Error::new(format!("no room for a single connection: raise {bound}")));
    }
    // Bound before the journal is read, so that a taken port is found first, and so that clients
    // hear that the broker is starting.
    let listener = listen::bind(&config.host, config.port)?;
    let address = listener.local_addr().map_err(|cause| {
        Error::new(format!("cannot listen on {}:{}", config.host, config.port)).because(cause)
    })?;
    let nats = match &config.role {
        Role::Nats(settings) => {
            let unfit = |reason| Error::new(format!("--nats: {reason}"));
            Some(NatsHome::new(settings.clone()).map_err(unfit)?)
        }
        _ => None,
    };
    let message_size_max = nats.as_ref().map_or(usize::MAX, NatsHome::message_size_max);
    let memory = Memory::new(config.memory_max);
    let (upkeep, restoring) = Upkeep::begin(memory).map_err(no_thread)?;
    let (topics, lasting, mut kept, waiting) = match &config.data {
        None => {
            drop(restoring);
            let kept = "in memory: a restart forgets all messages".to_owned();
            (Topics::new(memory), LastingSubscriptions::default(), kept, Vec::new())
        }
        Some(directory) => restore(directory, config.journal, restoring, &listener)?,
    };
    let loopback_only = address.ip().is_loopback();
    let reach = match (loopback_only, &tokens) {
        (true, None) => "for programs on this machine only",
        (true, Some(_)) => "for programs on this machine only that send the token",
        (false, None) => "for everybody who can reach this machine, without a token",
        (false, Some(_)) => "for everybody who can reach this machine and sends the token",
    };
    if let Some(nats) = &nats {
        kept = format!("{}; mirrors {kept}", nats.description());
    }
    topics.know(|known| known.limits = config.limits);
    let log = Arc::new(match &config.log {
        Some(path) => Log::open(path, config.log_reads).map_err(|cause| {
            Error::new(format!("cannot write the log {}", path.display())).because(cause)
        })?,
        None => Log::default(),
    });
    let catch_up_threads = connection_limit::catch_up_threads(connections);
    let push = Arc::new(Push::new(topics, lasting, catch_up_threads, Arc::clone(&log)));
    let id = StreamId::random().to_string();
    let token = config.token.map(|token| token.text().to_owned());
    let own = Identity { token, id: id.clone(), push: Arc::clone(&push), data: config.data };
    let broker = Arc::new(Broker {
        homes: homes(config.role, nats, own, address)?,
        push: Arc::clone(&push),
        followers: Followers::default(),
        index: Arc::new(Index::new()),
        id,
        message_size_max: message_size_max.min(config.message_size_max),
        access: Access { loopback_only, hosts: config.hosts, origins: config.origins, tokens },
        timeouts: config.timeouts,
        log,
        input_budget: InputBudget::new(config.memory_max),
        tcp_table: TcpTable::default(),
        metrics: Metrics::new(),
    });
    let looked_after = Arc::clone(&push);
    upkeep.keep(move |anchor| looked_after.topics.look_after(anchor));
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
    role: Role,
    nats: Option<NatsHome>,
    own: Identity,
    listens_at: SocketAddr,
) -> Result<Homes, Error> {
    let is_alone = matches!(role, Role::Alone);
    // A leaf would hide topics of its own. A broker on its own would go on with copies of another's
    // topics under their stream ids, and nobody could tell the two apart.
    let stranger = own.push.topics.names(is_alone).into_iter().next();
    let homes = match (role, nats, stranger) {
        (Role::Peer { advertise: None, .. }, ..) if listens_at.ip().is_unspecified() => {
            let text = "this peer listens on all addresses: name the one that other peers use with \
                        --advertise <host:port>";
            return Err(Error::new(text));
        }
        (Role::Peer { index, advertise }, ..) => {
            let (host, port) =
                advertise.unwrap_or_else(|| (listens_at.ip().to_string(), listens_at.port()));
            Homes::peers(index, Address { host, port }, &own)
        }
        (_, _, Some((topic, _))) if is_alone => {
            return Err(Error::new(format!(
                "the data directory has copies of another broker's topics, such as {topic:?}: use \
                 --upstream or --index as before, choose another --data, or, where the other \
                 broker is lost, make them this one's own with broker promote"
            )));
        }
        (_, _, Some((topic, _))) => {
            return Err(Error::new(format!(
                "the data directory has topics of its own, such as {topic:?}, and a leaf may have \
                 none: choose another --data"
            )));
        }
        (_, Some(nats), _) => Homes::nats(nats, &own),
        (Role::Leaf(hub), ..) => Homes::hub(hub, &own),
        _ => Ok(Homes::alone(own.push)),
    };
    homes.map_err(no_thread)
}

fn no_thread(cause: io::Error) -> Error {
    Error::new("the system gives no thread").because(cause)
}

/// Runs something in a thread of its own for as long as it likes.
fn spawn(run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    thread::Builder::new().spawn(run).map(drop).map_err(no_thread)
}

/// The topics and lasting subscriptions that a directory holds, a word about them, and the clients
/// that wait to be served.
fn restore(
    directory: &Path,
    settings: Settings,
    mut restoring: Restoring,
    listener: &TcpListener,
) -> Result<(Topics, LastingSubscriptions, String, Vec<TcpStream>), Error> {
    // Whether it is in use is found out before the first record is read.
    let is_in_use = |error: &journal::Error| matches!(error, journal::Error::InUse(_));
    let progress = Progress::default();
    let (free, mut needed) = (memory::free().unwrap_or(u64::MAX), None);
    let (opened, waiting) = loading::during(listener, &progress, || {
        listen::patiently(&directory.display().to_string(), is_in_use, || {
            Journal::open(directory, settings, &progress, |record| {
                // What is left is read for nothing: a start that fails is no start that is killed.
                if needed.is_none() {
                    let used = restoring.add(&record);
                    needed = (used > free).then(|| progress.in_all(used));
                }
            })
        })
    });
    if let Some(needed) = needed {
        return Err(Error::new(format!(
            "{} needs about {} MB of memory, and {} MB are free here: start the broker where there \
             is more, or raise the limit of its container or service",
            directory.display(),
            needed / 1_000_000,
            free / 1_000_000
        )));
    }
    let (journal, notices) = opened?;
    let unrestored = |cause| Error::new("the topics cannot be restored").because(cause);
    let mut replayed = restoring.finish().map_err(unrestored)?;
    notices.into_iter().for_each(notify::warn);
    let is_synced = settings.sync == Sync::Always;
    let kept = format!(
        "on disk in {} ({}): {} messages found",
        directory.display(),
        if is_synced { "synced before they are acknowledged" } else { "synced by the system" },
        replayed.messages()
    );
    let lasting = LastingSubscriptions::restored(std::mem::take(&mut replayed.positions));
    replayed.admission.memory.used += lasting.size();
    Ok((Topics::restored(replayed, journal, is_synced), lasting, kept, waiting))
}
