//! Who may use the broker: rules about names and secrets. Nothing here reads or writes sockets.
//!
//! - Host: a broker that is bound to loopback answers only to loopback names. A web page can make
//!   its own name point at this machine (DNS rebinding), but its requests still carry that name in
//!   `Host`.
//! - Origin: a page may use the broker that served it, and any broker that allows its origin with
//!   `--allow-origin`.
//! - Token: it decides what a client may do (`tokens.rs`, `grant.rs`).
//!
//! # Not here
//!
//! How each door gets the token, and which paths need none (`door/`).

use crate::refusal::{Refusal, Result};
use common::http::parse;
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
use std::sync::Arc;

mod grant;
mod guesses;
mod tokens;

pub(crate) use grant::{Grant, Right};
pub(crate) use guesses::Client;
pub use tokens::Token;
pub(crate) use tokens::Tokens;

/// The origin that stands for all.
const ANY: &str = "*";

/// The rules of one broker.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access {
    /// Whether only loopback names, and `hosts`, are this broker's.
    pub(crate) loopback_only: bool,
    /// Names that a `Host` may have as well.
    pub(crate) hosts: Vec<String>,
    pub(crate) origins: Origins,
    /// The tokens that open the broker; it is open to everybody where there are none.
    pub(crate) tokens: Option<Arc<Tokens>>,
}

impl Access {
    /// Checks the name by which a request calls the broker. Old clients do not say one, and are
    /// no browsers.
    ///
    /// # Errors
    ///
    /// [`Refusal::Misdirected`].
    pub(crate) fn check_host(&self, authority: Option<&str>) -> Result<()> {
        match authority.and_then(parse::authority) {
            Some((host, _)) if self.loopback_only && !self.is_own_host(host) => {
                Err(Refusal::Misdirected)
            }
            _ => Ok(()),
        }
    }

    fn is_own_host(&self, host: &str) -> bool {
        // A dot at its end says that a name is complete.
        let host = host.strip_suffix('.').unwrap_or(host);
        is_loopback(host) || self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
    }

    /// Checks the origin of the page that sends a request to `authority`. Where it is one that
    /// was allowed, gives what `Access-Control-Allow-Origin` has to say.
    ///
    /// # Errors
    ///
    /// [`Refusal::Origin`].
    pub(crate) fn check_origin(
        &self,
        origin: Option<&str>,
        authority: Option<&str>,
    ) -> Result<Option<&str>> {
        match origin {
            None => Ok(None),
            Some(origin) if is_own(origin, authority) => Ok(None),
            Some(origin) => self.origins.find(origin).map(Some).ok_or(Refusal::Origin),
        }
    }

    /// What `token` is good for, if anything; where none is asked for, everybody may do everything.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyGuesses`].
    pub(crate) fn admit(&self, token: Option<&str>, client: &mut Client) -> Result<Option<Grant>> {
        match (&self.tokens, token) {
            (None, _) => Ok(Some(Grant::EVERYTHING)),
            (Some(_), None) => Ok(None),
            (Some(tokens), Some(token)) => tokens.find(token, client),
        }
    }

    /// Ends a connection when its token is no longer good for what it was granted.
    pub(crate) fn end_with(&self, grant: &Grant, stream: &Arc<TcpStream>) {
        if let Some(tokens) = &self.tokens {
            tokens.end_with(grant, stream);
        }
    }
}

/// Whether a host, as it stands in an authority, can only mean this machine (RFC 6761 §6.3).
fn is_loopback(host: &str) -> bool {
    const LOCALHOST: &str = "localhost";
    let before = host.len().saturating_sub(LOCALHOST.len());
    if host.get(before..).is_some_and(|end| end.eq_ignore_ascii_case(LOCALHOST)) {
        return host.get(..before).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'));
    }
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => {
            let address = host.split('%').next().unwrap_or_default();
            address.parse::<Ipv6Addr>().is_ok_and(|it| it.to_canonical().is_loopback())
        }
        None => ipv4(host).is_some_and(|address| address.is_loopback()),
    }
}

/// An address in any notation that systems have taken since `inet_aton`: one to four numbers,
/// decimal, octal or hexadecimal, of which the last fills all bytes that are left.
fn ipv4(host: &str) -> Option<Ipv4Addr> {
    let number = |part: &str| match part.strip_prefix("0x").or(part.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if part.len() > 1 && part.starts_with('0') => u32::from_str_radix(part, 8).ok(),
        None => part.parse().ok(),
    };
    let numbers = host.split('.').map(number).collect::<Option<Vec<u32>>>()?;
    let (last, first) = numbers.split_last()?;
    let bytes = first.iter().map(|&byte| u8::try_from(byte).ok()).collect::<Option<Vec<u8>>>()?;
    let mut address = last.to_be_bytes();
    let (front, rest) = address.split_at_mut_checked(bytes.len())?;
    if front.iter().any(|&byte| byte != 0) || rest.is_empty() {
        return None;
    }
    front.copy_from_slice(&bytes);
    Some(address.into())
}

/// Whether a page of this origin came from the broker itself, perhaps through a proxy that adds
/// TLS.
fn is_own(origin: &str, authority: Option<&str>) -> bool {
    let (name, default_port) = match origin.split_once("://") {
        Some(("http", rest)) => (rest, 80),
        Some(("https", rest)) => (rest, 443),
        _ => return false,
    };
    let split = |text: &str| {
        let (host, port) = parse::authority(text)?;
        Some((host.to_ascii_lowercase(), port.unwrap_or(default_port)))
    };
    let own = authority.and_then(split);
    own.is_some() && split(name) == own
}

/// The origins that `--allow-origin` names.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    names: Vec<String>,
}

impl Origins {
    /// Adds an origin: `*`, or `scheme://host[:port]` as browsers write it.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn add(&mut self, name: &str) -> Result<(), &'static str> {
        let is_origin = name.split_once("://").is_some_and(|(scheme, rest)| {
            let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
            scheme.bytes().all(is_scheme) && !scheme.is_empty() && parse::authority(rest).is_some()
        });
        if name != ANY && !is_origin {
            return Err("an origin is * or scheme://host[:port], without a path");
        }
        self.names.push(name.to_ascii_lowercase());
        Ok(())
    }

    /// Whether answers depend on who asks.
    pub(crate) fn vary(&self) -> bool {
        !self.names.is_empty() && !self.allow_any()
    }

    fn allow_any(&self) -> bool {
        self.names.iter().any(|name| name == ANY)
    }

    /// The name that allows this origin; never text that a client sent.
    fn find(&self, origin: &str) -> Option<&str> {
        if self.allow_any() {
            return Some(ANY);
        }
        self.names.iter().map(String::as_str).find(|name| *name == origin)
    }
}

#[cfg(test)]
mod tests;
