//! The broker's address and token: from a flag, from the environment, or the default.

use super::Broker;
use crate::flags::{Arguments, Error};
use crate::http::parse;
use crate::units::whole_number;
use std::env;
use std::fs::File;
use std::io::Read;
use std::net::Ipv6Addr;

/// The port of a broker where nothing else is said.
const PORT: u16 = 9000;

/// The flag that says where the token is.
const TOKEN_FLAG: &str = "token-file";

/// How much of a file with a token is read.
const TOKEN_FILE_MAX: u64 = 64 << 10;

impl Broker {
    /// The flag that says where the broker is.
    pub const FLAG: &str = "broker";

    /// The broker that `--broker`, `--token-file`, `PEER_BROKER_HOST`, `PEER_BROKER_PORT` and
    /// `BROKER_TOKEN` name.
    ///
    /// # Errors
    ///
    /// An address or a token that cannot be one.
    pub fn from_arguments(arguments: &Arguments) -> Result<Broker, Error> {
        // An empty variable counts as none: that is how many tools unset one.
        let variable = |name| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let address = match arguments.value(Broker::FLAG) {
            Some(address) => {
                let wrong = || Error::value(Broker::FLAG, address, "write it as HOST:PORT");
                address_of_flag(address).ok_or_else(wrong)?
            }
            None => {
                let host = variable("PEER_BROKER_HOST");
                let port = variable("PEER_BROKER_PORT");
                address_of_environment(host.as_deref(), port.as_deref())?
            }
        };
        let token = match arguments.value(TOKEN_FLAG) {
            Some(path) => Some(token_of_file(path)?),
            None => variable("BROKER_TOKEN"),
        };
        let token = token.map(|token| check_token(token.trim())).transpose()?;
        Ok(Broker { token, ..Broker::at(address) })
    }
}

/// The token in the first line of a file.
fn token_of_file(path: &str) -> Result<String, Error> {
    let mut text = String::new();
    let read = |file: File| file.take(TOKEN_FILE_MAX).read_to_string(&mut text);
    File::open(path).and_then(read).map_err(|cause| Error::value(TOKEN_FLAG, path, cause))?;
    // In a broker's own file, rights may follow the token after a tab.
    match text.split(['\n', '\t']).next().map(str::trim) {
        Some(token) if !token.is_empty() => Ok(token.to_owned()),
        _ => Err(Error::value(TOKEN_FLAG, path, "its first line is empty")),
    }
}

/// The address in a flag's value, which may begin with `http://`.
fn address_of_flag(value: &str) -> Option<String> {
    let (host, port) = host_and_port(value)?;
    Some(format!("{host}:{}", port.unwrap_or(PORT)))
}

fn address_of_environment(host: Option<&str>, port: Option<&str>) -> Result<String, Error> {
    let wrong = |text: String| Err(Error::new(text));
    let own = port.map(|port| whole_number::<u16>(port.trim())).transpose();
    let Ok(own) = own else {
        return wrong(format!("PEER_BROKER_PORT is {:?}, not a port", port.unwrap_or_default()));
    };
    let given = host.unwrap_or("127.0.0.1").trim();
    let is_bare_ipv6 = given.parse::<Ipv6Addr>().is_ok();
    let host = if is_bare_ipv6 { format!("[{given}]") } else { given.to_owned() };
    match (host_and_port(&host), own) {
        (Some((_, Some(port))), Some(own)) if own != port => {
            wrong(format!("PEER_BROKER_HOST is {given:?}, but PEER_BROKER_PORT is {own}"))
        }
        (Some((host, port)), own) => Ok(format!("{host}:{}", port.or(own).unwrap_or(PORT))),
        (None, _) => wrong(format!("PEER_BROKER_HOST is {given:?}, not a host")),
    }
}

/// Host and port of an address, which may begin with `http://` and end with `/`.
fn host_and_port(value: &str) -> Option<(&str, Option<u16>)> {
    let value = value.strip_prefix("http://").unwrap_or(value);
    parse::authority(value.strip_suffix('/').unwrap_or(value))
}

/// A token goes into a header line and into a line of text.
fn check_token(token: &str) -> Result<String, Error> {
    // The token itself is not shown: this line may end up in a log.
    let wrong = || Error::new("the token holds a byte that is not printable ASCII");
    token.bytes().all(|byte| byte.is_ascii_graphic()).then(|| token.to_owned()).ok_or_else(wrong)
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
        for host in ["http://broker", "http://broker/", "broker:9000", "http://broker:9000"] {
            assert_eq!(address(Some(host), None).as_deref(), Ok("broker:9000"), "{host}");
            assert_eq!(address(Some(host), Some("9000")).as_deref(), Ok("broker:9000"), "{host}");
        }
        assert_eq!(address(Some("http://[::1]"), None).as_deref(), Ok("[::1]:9000"));
        for host in ["a b", "https://broker", "[::1", "::1:x", "a:b"] {
            let error = address(Some(host), None).unwrap_err();
            assert!(error.starts_with("PEER_BROKER_HOST"), "{error}");
        }
        assert!(address(Some("a:1"), Some("2")).unwrap_err().contains("but PEER_BROKER_PORT is 2"));
    }

    #[test]
    fn a_token_that_would_break_the_header_is_refused_and_not_shown() {
        assert_eq!(check_token("s3cret").unwrap(), "s3cret");
        let error = check_token("s3cret\nX: y").unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }
}
