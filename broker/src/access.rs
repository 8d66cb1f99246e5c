//! Who may come in: rules that look at names and secrets, never at sockets.
//!
//! - Host: a broker that is bound to loopback answers to loopback names only. A web page whose
//!   name was made to point at this machine (DNS rebinding) still says its own name in `Host`.
//! - Origin: a page may use the broker that it came from, and any broker that names the page's
//!   origin with `--allow-origin`.
//! - Token: whoever knows it may do everything, everybody else nothing.
//!
//! # Guarantee
//!
//! The token is compared in a time that does not depend on its bytes, and is never shown.
//!
//! # Not here
//!
//! How each door is told the token, and which paths are open without one (`door/`).

use crate::refusal::Refusal;
use common::http::parse;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::{error, fmt};

/// The longest token, in bytes: it has to fit into one header line.
const TOKEN_SIZE_MAX: usize = 4096;

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
    pub(crate) token: Option<Token>,
}

impl Access {
    /// Checks the name by which a request calls the broker. Old clients do not say one, and are
    /// no browsers.
    ///
    /// # Errors
    ///
    /// [`Refusal::Misdirected`].
    pub(crate) fn check_host(&self, authority: Option<&str>) -> Result<(), Refusal> {
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
    ) -> Result<Option<&str>, Refusal> {
        match origin {
            None => Ok(None),
            Some(origin) if is_own(origin, authority) => Ok(None),
            Some(origin) => self.origins.find(origin).map(Some).ok_or(Refusal::Origin),
        }
    }

    /// Whether `token` opens the broker; where it asks for none, anything does.
    pub(crate) fn admits(&self, token: Option<&str>) -> bool {
        match (&self.token, token) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(token), Some(given)) => token.equals(given),
        }
    }

    /// Whether everybody is admitted.
    pub(crate) fn is_open(&self) -> bool {
        self.token.is_none()
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

/// A secret that opens the broker.
#[derive(Clone)]
pub struct Token(String);

/// Why there is no token where one was announced.
#[derive(Debug)]
pub enum TokenError {
    /// The file cannot be read.
    File(io::Error),
    /// There is nothing, or only white space.
    Empty,
    /// It is too long to be sent.
    TooLong,
    /// It has white space inside, or bytes that are not printable ASCII, and so cannot be sent.
    Bytes,
}

impl Token {
    /// The token that `text` holds, white space around it aside.
    ///
    /// # Errors
    ///
    /// Why it cannot be one.
    pub fn new(text: &str) -> Result<Token, TokenError> {
        let text = text.trim();
        if text.is_empty() {
            Err(TokenError::Empty)
        } else if text.len() > TOKEN_SIZE_MAX {
            Err(TokenError::TooLong)
        } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Err(TokenError::Bytes)
        } else {
            Ok(Token(text.to_owned()))
        }
    }

    /// The token that a file holds.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn read(path: &Path) -> Result<Token, TokenError> {
        let file = File::open(path).map_err(TokenError::File)?;
        let mut bytes = Vec::new();
        // What is longer by one is too long: no need to read a device to its end.
        let size_max = TOKEN_SIZE_MAX as u64 + 1;
        file.take(size_max).read_to_end(&mut bytes).map_err(TokenError::File)?;
        if bytes.len() > TOKEN_SIZE_MAX {
            return Err(TokenError::TooLong);
        }
        Token::new(&String::from_utf8_lossy(&bytes))
    }

    /// The secret itself, for a broker that asks for it.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// Compares every byte, whatever the first ones are: the time tells the length of what was
    /// given, which whoever gave it knows.
    fn equals(&self, given: &str) -> bool {
        let mut own = self.0.bytes().cycle();
        let mut difference = u8::from(self.0.len() != given.len());
        for byte in given.bytes() {
            difference |= black_box(byte ^ own.next().unwrap_or_default());
        }
        black_box(difference) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(not shown)")
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenError::File(_) => f.write_str("the file cannot be read"),
            TokenError::Empty => f.write_str("there is no token in it"),
            TokenError::TooLong => {
                write!(f, "the token is longer than {TOKEN_SIZE_MAX} bytes")
            }
            TokenError::Bytes => f.write_str("the token is not printable ASCII without spaces"),
        }
    }
}

impl error::Error for TokenError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            TokenError::File(cause) => Some(cause),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
