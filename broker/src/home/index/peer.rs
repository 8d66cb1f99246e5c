//! A peer, as the index knows it.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a peer may take to name its topics. Until it has, one that is not known may be its.
const TELL_TIME: Duration = Duration::from_secs(10);

/// Where a peer is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Address {
    /// `HOST:PORT`, an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { host, port } = self;
        match host.contains(':') && !host.starts_with('[') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}

/// What is known of a peer.
pub(super) struct Peer {
    pub(super) registered: Instant,
    pub(super) standing: Standing,
    /// Whether it has said how many peers there were before.
    pub(super) has_counted: bool,
    /// Whether it has named all topics that live there.
    pub(super) has_told: bool,
}

/// Why it counts as a peer.
pub(super) enum Standing {
    /// Registered until it is unregistered, by a client of this address.
    Lasting(IpAddr),
    /// Registered for as long as its connection lasts. This is its key, new each time.
    Present(String),
    /// Its connection has ended at this time.
    Away(Instant),
}

impl Peer {
    pub(super) fn is_present(&self) -> bool {
        matches!(self.standing, Standing::Present(_))
    }

    /// Whether this is the key of its registration.
    pub(super) fn has(&self, key: &str) -> bool {
        matches!(&self.standing, Standing::Present(own) if own == key)
    }

    pub(super) fn is_here(&self) -> bool {
        !matches!(self.standing, Standing::Away(_))
    }

    /// Whether it is naming its topics right now.
    pub(super) fn is_telling(&self) -> bool {
        self.is_present() && !self.has_told && self.registered.elapsed() < TELL_TIME
    }
}
