//! Where the broker is, and the token that it asks for: from a flag, from the environment, or what
//! it is where nothing else is said.

use crate::flags::{Arguments, Error, Flag};
use crate::http::parse;
use std::{env, fmt};

/// The port of a broker where nothing else is said.
const PORT: u16 = 9000;

/// The flag that says where the broker is.
pub const FLAG: Flag = Flag {
    name: "broker",
    value: "<host:port>",
    repeats: false,
    help: "Talk to this broker. Default: PEER_BROKER_HOST and PEER_BROKER_PORT, else \
           127.0.0.1:9000.",
};

/// The variables that [`Location::from`] reads, for help.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    ("PEER_BROKER_HOST, PEER_BROKER_PORT", "Where the broker is, unless --broker says so."),
    ("BROKER_TOKEN", "The token that the broker asks for, if it does."),
];

/// A broker that was named.
#[derive(Clone, PartialEq, Eq)]
pub struct Location {
    /// `HOST:PORT`.
    pub address: String,
    /// What `BROKER_TOKEN` holds: printable ASCII.
    pub token: Option<String>,
}

impl Location {
    /// The broker that [`FLAG`] and the environment name.
    ///
    /// # Errors
    ///
    /// An address or a token that cannot be one.
    pub fn from(arguments: &Arguments) -> Result<Location, Error> {
        // An empty variable counts as none: that is how many tools unset one.
        let variable = |name| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let address = match arguments.value(FLAG.name) {
            Some(address) => {
                let wrong = || Error::value(FLAG.name, address, "write it as HOST:PORT");
                address_of_flag(address).ok_or_else(wrong)?
            }
            None => {
                let host = variable("PEER_BROKER_HOST");
                let port = variable("PEER_BROKER_PORT");
                address_of_environment(host.as_deref(), port.as_deref())?
            }
        };
        let token = variable("BROKER_TOKEN").map(|token| check_token(token.trim()));
        Ok(Location { address, token: token.transpose()? })
    }
}

impl fmt::Debug for Location {
    /// Does not show the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Location").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The address in a flag's value. What a browser shows is understood too.
fn address_of_flag(value: &str) -> Option<String> {
    let value = value.strip_prefix("http://").unwrap_or(value);
    let (host, port) = parse::authority(value.strip_suffix('/').unwrap_or(value))?;
    Some(format!("{host}:{}", port.unwrap_or(PORT)))
}

fn address_of_environment(host: Option<&str>, port: Option<&str>) -> Result<String, Error> {
    let host = host.unwrap_or("127.0.0.1").trim();
    let port = match port {
        Some(port) => port
            .trim()
            .parse()
            .map_err(|_| Error::Combination(format!("PEER_BROKER_PORT is {port:?}, not a port")))?,
        None => PORT,
    };
    let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
    let host = if is_bare_ipv6 { format!("[{host}]") } else { host.to_owned() };
    match parse::authority(&host) {
        Some((_, None)) => Ok(format!("{host}:{port}")),
        _ => Err(Error::Combination(format!("PEER_BROKER_HOST is {host:?}, not a host"))),
    }
}

/// A token goes into a header line and into a line of text.
fn check_token(token: &str) -> Result<String, Error> {
    if token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(token.to_owned())
    } else {
        // The token itself is not shown: this line may end up in a log.
        let reason = "BROKER_TOKEN holds a byte that is not printable ASCII";
        Err(Error::Combination(reason.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_names_host_and_port_or_leaves_the_port_out() {
        for (value, address) in [
            ("example.net:80", "example.net:80"),
            ("example.net", "example.net:9000"),
            ("[::1]:80", "[::1]:80"),
            ("[::1]", "[::1]:9000"),
            ("http://127.0.0.1:9000", "127.0.0.1:9000"),
            ("http://127.0.0.1:9000/", "127.0.0.1:9000"),
        ] {
            assert_eq!(address_of_flag(value).as_deref(), Some(address), "{value}");
        }
        for value in ["", ":80", "a b:80", "a:port", "a:70000", "https://a", "a/b", "::1"] {
            assert_eq!(address_of_flag(value), None, "{value}");
        }
    }

    #[test]
    fn the_environment_fills_in_what_it_leaves_out() {
        let address = |host, port| address_of_environment(host, port).map_err(|e| e.to_string());
        assert_eq!(address(None, None).as_deref(), Ok("127.0.0.1:9000"));
        assert_eq!(address(Some("broker"), None).as_deref(), Ok("broker:9000"));
        assert_eq!(address(None, Some("80")).as_deref(), Ok("127.0.0.1:80"));
        assert_eq!(address(Some("::1"), Some("80")).as_deref(), Ok("[::1]:80"));
        assert_eq!(address(Some("[::1]"), Some("80")).as_deref(), Ok("[::1]:80"));
        assert_eq!(address(None, Some("x")).unwrap_err(), "PEER_BROKER_PORT is \"x\", not a port");
        assert!(address(Some("a b"), None).unwrap_err().starts_with("PEER_BROKER_HOST"));
    }

    #[test]
    fn a_token_that_would_break_the_header_is_refused_and_not_shown() {
        assert_eq!(check_token("s3cret").as_deref(), Ok("s3cret"));
        let error = check_token("s3cret\nX: y").unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }
}
