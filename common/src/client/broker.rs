//! A broker's address, how long to retry, and how its user is told.

use super::{Error, Refusal};
use crate::http::client::Client;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A broker, and how to use it. Nothing is sent before a publish or a subscribe.
///
/// ```
/// use common::client::Broker;
/// use std::time::Duration;
///
/// let broker = Broker::at("broker.example:9000")
///     .patience(Duration::from_secs(30))
///     .on_notice(|notice| eprintln!("{notice}"));
/// assert_eq!(broker.address(), "broker.example:9000");
/// ```
#[derive(Clone)]
pub struct Broker {
    pub(super) address: String,
    pub(super) token: Option<String>,
    pub(super) patience: Option<Duration>,
    pub(super) listener: Option<Arc<Listener>>,
}

pub(super) type Listener = dyn Fn(&str) + Send + Sync;

impl Broker {
    /// The broker at `HOST:PORT`; the host may be a name. Without further settings, no token is
    /// sent, and attempts never end.
    pub fn at(address: impl Into<String>) -> Broker {
        Broker { address: address.into(), token: None, patience: None, listener: None }
    }

    /// Sends this token to the broker.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Broker {
        self.token = Some(token.into());
        self
    }

    /// Gives up when attempts have failed for this long. Without this, never.
    #[must_use]
    pub fn patience(mut self, patience: impl Into<Option<Duration>>) -> Broker {
        self.patience = patience.into();
        self
    }

    /// Calls `listener` with lines for the user, on the thread that publishes or reads: attempts
    /// have failed for a second, or for thirty more; they succeed again; the broker has lost
    /// messages.
    #[must_use]
    pub fn on_notice(mut self, listener: impl Fn(&str) + Send + Sync + 'static) -> Broker {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// The same settings for a broker at another address.
    pub fn moved_to(self, address: String) -> Broker {
        Broker { address, ..self }
    }

    /// `HOST:PORT`, as given to [`at`](Broker::at).
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The token, for callers with a connection of their own.
    pub fn shown_token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// An HTTP client for this broker.
    pub fn http(&self) -> Client {
        Client::new(&self.address, self.token.as_deref())
    }

    /// Tells the user that the broker has lost messages of this topic.
    pub fn notify_loss(&self, topic: &str) {
        let address = &self.address;
        self.notify(format_args!(
            "the broker at {address} has lost messages of {topic:?}; going on"
        ));
    }

    /// A refusal with advice for the user: the broker's words about tokens are for programs.
    pub fn explained(&self, refusal: Refusal) -> Refusal {
        match refusal.code {
            401 => Refusal { reason: self.token_advice().to_owned(), ..refusal },
            _ => refusal,
        }
    }

    /// The advice when the broker asks for a token.
    pub fn token_advice(&self) -> &'static str {
        match self.token {
            None => "it asks for a token: set BROKER_TOKEN or --token-file",
            Some(_) => "it does not accept the token of BROKER_TOKEN or --token-file",
        }
    }

    /// The error for this refusal.
    pub fn refused(&self, topic: &str, refusal: Refusal) -> Error {
        let (address, topic) = (self.address.clone(), topic.to_owned());
        let Refusal { code, reason, .. } = self.explained(refusal);
        Error::Refused { address, topic, code, reason }
    }

    pub(super) fn notify(&self, line: fmt::Arguments<'_>) {
        if let Some(listener) = &self.listener {
            listener(&line.to_string());
        }
    }
}

impl fmt::Debug for Broker {
    /// Does not show the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("address", &self.address)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
