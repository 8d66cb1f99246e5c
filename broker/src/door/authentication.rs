//! Authenticates a JSON or text connection: its first command must be the token.
//!
//! # Not here
//!
//! HTTP, where each request carries the token (`http/head.rs`). Both count wrong tokens.

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

/// How often a connection may still send a wrong token.
pub(super) struct Attempts {
    left: u32,
}

impl Attempts {
    pub(super) const ALL: Attempts = Attempts { left: ATTEMPTS_MAX };

    /// Whether the connection failed too often and has to be closed.
    pub(super) fn are_used_up(&self) -> bool {
        self.left == 0
    }

    /// Counts one, and lets the client wait for what became of it.
    pub(super) fn count(&mut self) {
        self.left = self.left.saturating_sub(1);
        thread::sleep(PAUSE * (ATTEMPTS_MAX - self.left));
    }
}

/// Whether a connection has authenticated.
pub(super) struct Authentication {
    grant: Option<Grant>,
    client: Client,
    attempts: Attempts,
}

impl Authentication {
    /// The state of a connection that has sent nothing yet.
    pub(super) fn new(access: &Access, stream: &TcpStream) -> Authentication {
        let mut client = Client::of(stream);
        // Without a token nothing is guessed.
        let grant = access.admit(None, &mut client).ok().flatten();
        Authentication { grant, client, attempts: Attempts::ALL }
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
        !self.is_done() && self.attempts.are_used_up()
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
        let refusal = match access.admit(token, &mut self.client) {
            Ok(Some(grant)) => {
                self.grant = Some(grant);
                return Ok(());
            }
            Ok(None) if token.is_some() => Refusal::WrongToken { how },
            Ok(None) => Refusal::Token { how, is_guess: false },
            Err(refusal) => refusal,
        };
        self.attempts.count();
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
