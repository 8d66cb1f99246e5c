//! Checks the head of a request before it is routed: its method, its host and its token.

use super::METHODS;
use crate::access::{Access, Client, Grant};
use crate::refusal::{Refusal, Result};
use common::http::parse::Request;
use common::http::percent;
use std::borrow::Cow;

/// What a client without the token is told, whatever it sent instead.
const HOW: &str = "send 'Authorization: Bearer <token>'";

/// What everybody may ask for: the page, which asks for the token itself, and what a supervisor
/// looks at.
const OPEN_PATHS: [&str; 3] = ["/", "/livez", "/readyz"];

/// Checks whether the request is for this broker at all. If not, the connection has no more use.
///
/// # Errors
///
/// A method that no path has, or another broker's name.
pub(super) fn check_address(request: &Request<'_>, access: &Access) -> Result<()> {
    if !METHODS.contains(&request.method) {
        return Err(Refusal::UnknownMethod);
    }
    access.check_host(request.authority)
}

/// Checks the token, and gives what it is good for. Browsers ask what a path takes without one, so
/// `OPTIONS` needs none.
///
/// # Errors
///
/// A token that is missing or wrong, or comes after too many wrong ones.
pub(super) fn check_token(
    request: &Request<'_>,
    access: &Access,
    client: &mut Client,
) -> Result<Grant> {
    let is_open = request.method == "OPTIONS" || OPEN_PATHS.contains(&request.path);
    let header = request.fields.get("Authorization").and_then(bearer).map(Cow::Borrowed);
    let token = header.or_else(|| token_in_query(request));
    match access.admit(token.as_deref(), client) {
        Ok(Some(grant)) => Ok(grant),
        _ if is_open => Ok(Grant::EVERYTHING),
        Err(refusal) => Err(refusal),
        Ok(None) => Err(Refusal::Token { how: HOW, is_guess: token.is_some() }),
    }
}

/// The token in the query of an event stream: a browser's `EventSource` can send no header.
fn token_in_query<'a>(request: &Request<'a>) -> Option<Cow<'a, str>> {
    let pairs = (request.path == "/events").then(|| percent::pairs(request.query))?;
    pairs.filter_map(Result::ok).find(|(name, _)| name == "token").map(|(_, token)| token)
}

/// The token in the value of `Authorization` (RFC 6750 §2.1; the scheme in any case, RFC 9110
/// §11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_found() {
        for value in ["Bearer a", "bearer a", "BEARER  a"] {
            assert_eq!(bearer(value), Some("a"));
        }
        for value in ["", "Bearer", "Basic a", "Bearera", "a", "Bearer\ta"] {
            assert_eq!(bearer(value), None, "{value}");
        }
    }
}
