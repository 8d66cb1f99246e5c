//! How a session shows the token: first, before anything else is done for it.
//!
//! For the doors whose connection is a session; HTTP shows the token with every request.

use crate::access::Access;
use crate::refusal::Refusal;

/// How often a session may fail to show the token before it is closed. Enough for a person at a
/// keyboard, and a guess costs whoever guesses a connection for every few.
const ATTEMPTS_MAX: u32 = 8;

/// Whether a session was let in.
pub(super) struct Entrance {
    open: bool,
    attempts_left: u32,
}

impl Entrance {
    /// The entrance of a session that has shown nothing yet.
    pub(super) fn new(access: &Access) -> Entrance {
        Entrance { open: access.is_open(), attempts_left: ATTEMPTS_MAX }
    }

    /// Whether the session was let in.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether the session failed too often, and has to be closed.
    pub(super) fn is_shut(&self) -> bool {
        !self.open && self.attempts_left == 0
    }

    /// Lets the session in if `token` is right; `how` says how to show it, if it is not. A
    /// session that was let in stays in.
    ///
    /// # Errors
    ///
    /// [`Refusal::Token`].
    pub(super) fn show(
        &mut self,
        access: &Access,
        token: Option<&str>,
        how: &'static str,
    ) -> Result<(), Refusal> {
        if access.admits(token) {
            self.open = true;
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
    fn a_session_has_a_few_attempts() {
        let token = Some(Token::new("secret").unwrap());
        let access = Access { token, ..Access::default() };
        let mut entrance = Entrance::new(&access);
        assert!(!entrance.is_open());
        for _ in 1..ATTEMPTS_MAX {
            assert!(entrance.show(&access, Some("guess"), "").is_err());
        }
        assert!(!entrance.is_shut());
        assert!(entrance.show(&access, Some("secret"), "").is_ok());
        assert!(entrance.is_open());
        let mut other = Entrance::new(&access);
        for _ in 0..ATTEMPTS_MAX {
            assert!(other.show(&access, None, "").is_err());
        }
        assert!(other.is_shut());
    }

    #[test]
    fn where_no_token_is_asked_for_any_is_right() {
        let access = Access::default();
        let mut entrance = Entrance::new(&access);
        assert!(entrance.is_open());
        assert!(entrance.show(&access, Some("any"), "").is_ok());
    }
}
