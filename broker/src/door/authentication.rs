//! Authenticates connections. The first command of a JSON or text connection must be the token;
//! over HTTP each request carries it (`http/head.rs`). A connection may fail a few times.

use crate::access::{Access, Client, Grant};
use crate::refusal::{Refusal, Result};
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
    grant: Option<Grant>,
    client: Client,
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

    /// What the connection may do, once it has authenticated.
    pub(super) fn grant(&self) -> Option<&Grant> {
        self.grant.as_ref()
    }

    /// Whether it failed too often and has to be closed.
    pub(super) fn has_failed(&self) -> bool {
        !self.is_done() && self.failures >= ATTEMPTS_MAX
    }

    /// What a token is good for that comes with one request.
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

    /// Checks a token; `how` says how to send it, if it is not right. What was once right stays
    /// so for the connection.
    ///
    /// # Errors
    ///
    /// [`Refusal::Token`], [`Refusal::WrongToken`], [`Refusal::TooManyGuesses`].
    pub(super) fn check(
        &mut self,
        access: &Access,
        token: Option<&str>,
        how: &'static str,
    ) -> Result<()> {
        let refusal = match self.admit(access, token) {
            Ok(Some(grant)) => {
                self.grant = Some(grant);
                return Ok(());
            }
            Ok(None) if token.is_some() => Refusal::WrongToken { how },
            Ok(None) => Refusal::Token { how, is_guess: false },
            Err(refusal) => refusal,
        };
        self.count_failure();
        Err(refusal)
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
            assert!(authentication.check(&access, Some("guess"), "").is_err());
        }
        assert!(!authentication.has_failed());
        assert!(authentication.check(&access, Some("secret"), "").is_ok());
        assert!(authentication.is_done());
        let mut other = Authentication::new(&access, &stream());
        for _ in 0..ATTEMPTS_MAX {
            assert!(other.check(&access, None, "").is_err());
        }
        assert!(other.has_failed());
    }

    #[test]
    fn where_no_token_is_asked_for_any_is_right() {
        let access = Access::default();
        let mut authentication = Authentication::new(&access, &stream());
        assert!(authentication.is_done());
        assert!(authentication.check(&access, Some("any"), "").is_ok());
    }
}
