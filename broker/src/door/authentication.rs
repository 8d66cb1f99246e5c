//! Authenticates connections. The first command of a JSON or text connection must be the token;
//! over HTTP each request carries it (`http/head.rs`). A connection may fail a few times.

use crate::access::{Access, Client, Grant};
use crate::refusal::Result;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// How often a connection may fail before it is closed. It is enough for a person at a keyboard; an
/// attacker needs many connections.
const ATTEMPTS_MAX: u32 = 8;

/// How much longer each further wrong token is waited for: three seconds and a half for all.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether a connection has authenticated.
pub(super) struct Authentication {
    /// What the connection may do, once it has authenticated.
    pub(super) grant: Option<Grant>,
    pub(super) client: Client,
    /// How often it has failed.
    failures: u32,
}

impl Authentication {
    /// The state of a connection that has sent nothing yet.
    pub(super) fn new(access: &Access, stream: &TcpStream) -> Authentication {
        let mut client = Client::of(stream);
        // Without a token nothing is guessed.
        let grant = access.admit(None, &mut client).ok().flatten();
        Authentication { grant, client, failures: 0 }
    }

    /// Whether the connection may give commands.
    pub(super) fn is_done(&self) -> bool {
        self.grant.is_some()
    }

    /// Whether it failed too often and has to be closed.
    pub(super) fn has_failed(&self) -> bool {
        !self.is_done() && self.failures >= ATTEMPTS_MAX
    }

    /// What a token is good for.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyGuesses`].
    pub(super) fn admit(&mut self, access: &Access, token: Option<&str>) -> Result<Option<Grant>> {
        access.admit(token, &mut self.client)
    }

    /// Counts a failure, and lets the client wait for what became of it.
    pub(super) fn count_failure(&mut self) {
        self.failures = ATTEMPTS_MAX.min(self.failures + 1);
        thread::sleep(PAUSE * self.failures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Token, Tokens};
    use std::net::TcpListener;
    use std::sync::Arc;

    fn stream() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        TcpStream::connect(listener.local_addr().unwrap()).unwrap()
    }

    #[test]
    fn a_connection_has_a_few_attempts() {
        let tokens = Some(Arc::new(Tokens::one(Token::new("secret").unwrap())));
        let access = Access { tokens, ..Access::default() };
        let mut authentication = Authentication::new(&access, &stream());
        assert!(!authentication.is_done());
        for _ in 1..ATTEMPTS_MAX {
            assert!(authentication.admit(&access, Some("guess")).unwrap().is_none());
            authentication.count_failure();
        }
        assert!(!authentication.has_failed());
        assert!(authentication.admit(&access, Some("secret")).unwrap().is_some());
        authentication.count_failure();
        assert!(authentication.has_failed());
        authentication.grant = Some(Grant::EVERYTHING);
        assert!(authentication.is_done() && !authentication.has_failed());
    }

    #[test]
    fn where_no_token_is_asked_for_any_is_right() {
        let access = Access::default();
        let mut authentication = Authentication::new(&access, &stream());
        assert!(authentication.is_done());
        assert!(authentication.admit(&access, Some("any")).unwrap().is_some());
    }
}
