//! How a JSON or text connection authenticates: with the token, before anything else is done for
//! it.
//!
//! # Not here
//!
//! HTTP, where every request carries the token (`http/head.rs`).

use crate::access::Access;
use crate::refusal::Refusal;

/// How often a connection may fail before it is closed. Enough for a person at a keyboard; whoever
/// guesses needs a new connection for every few guesses.
const ATTEMPTS_MAX: u32 = 8;

/// Whether a connection has authenticated.
pub(super) struct Authentication {
    done: bool,
    attempts_left: u32,
}

impl Authentication {
    /// The state of a connection that has sent nothing yet.
    pub(super) fn new(access: &Access) -> Authentication {
        Authentication { done: access.is_open(), attempts_left: ATTEMPTS_MAX }
    }

    /// Whether the connection may give commands.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether it failed too often and has to be closed.
    pub(super) fn has_failed(&self) -> bool {
        !self.done && self.attempts_left == 0
    }

    /// Checks a token; `how` says how to send it, if it is not right. What was once right stays
    /// so for the connection.
    ///
    /// # Errors
    ///
    /// [`Refusal::Token`].
    pub(super) fn check(
        &mut self,
        access: &Access,
        token: Option<&str>,
        how: &'static str,
    ) -> Result<(), Refusal> {
        if access.admits(token) {
            self.done = true;
            return Ok(());
        }
        self.attempts_left = self.attempts_left.saturating_sub(1);
        Err(Refusal::Token { how })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Token;

    #[test]
    fn a_connection_has_a_few_attempts() {
        let token = Some(Token::new("secret").unwrap());
        let access = Access { token, ..Access::default() };
        let mut authentication = Authentication::new(&access);
        assert!(!authentication.is_done());
        for _ in 1..ATTEMPTS_MAX {
            assert!(authentication.check(&access, Some("guess"), "").is_err());
        }
        assert!(!authentication.has_failed());
        assert!(authentication.check(&access, Some("secret"), "").is_ok());
        assert!(authentication.is_done());
        let mut other = Authentication::new(&access);
        for _ in 0..ATTEMPTS_MAX {
            assert!(other.check(&access, None, "").is_err());
        }
        assert!(other.has_failed());
    }

    #[test]
    fn where_no_token_is_asked_for_any_is_right() {
        let access = Access::default();
        let mut authentication = Authentication::new(&access);
        assert!(authentication.is_done());
        assert!(authentication.check(&access, Some("any"), "").is_ok());
    }
}
