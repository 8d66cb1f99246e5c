//! Connects to a host: tries its addresses one after another.

use crate::connection::Connection;
use crate::http::parse;
use crate::trouble::Trouble;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a program waits for a host to answer a connection attempt.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const REFUSED: &str = "the host does not take connections";
const NO_ADDRESS: &str = "the host has no address";

/// Connects to the first of the host's addresses that takes the connection.
///
/// # Errors
///
/// When none does within `timeout`, which they share.
pub fn connect(address: &str, timeout: Duration) -> Result<Connection, Trouble> {
    let Some((_, Some(_))) = parse::authority(address) else {
        return Err(Trouble::Address);
    };
    let addresses: Vec<_> =
        address.to_socket_addrs().map_err(|cause| Trouble::System(NO_ADDRESS, cause))?.collect();
    let deadline = Instant::now() + timeout;
    let mut error = Trouble::System(NO_ADDRESS, io::ErrorKind::NotFound.into());
    for (index, address) in addresses.iter().enumerate() {
        // An address that does not answer must not use up the time of those after it.
        let waiting = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / waiting;
        match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
            Ok(stream) if is_connected_to_itself(&stream) => {
                error = Trouble::System(REFUSED, io::ErrorKind::ConnectionRefused.into());
            }
            Ok(stream) => {
                // Messages are written whole; waiting for more would only delay them.
                stream.set_nodelay(true).map_err(|cause| Trouble::System(REFUSED, cause))?;
                return Ok(Connection::new(Arc::new(stream)));
            }
            Err(cause) => error = Trouble::System(REFUSED, cause),
        }
    }
    Err(error)
}

/// Whether the client is connected to itself: nobody listens on the port, and the system happened
/// to choose it as the client's own, as TCP allows. A client that retries for long enough meets
/// this on a loopback address, and would keep the server from its port.
fn is_connected_to_itself(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(own), Ok(peer)) if own == peer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const TIMEOUT: Duration = Duration::from_secs(60);

    #[test]
    fn an_address_without_host_or_port_is_refused_before_anything_is_tried() {
        for address in ["", "localhost", "localhost:", ":9000", "::1:9000", "http://a:1", "a:65536"]
        {
            assert!(matches!(connect(address, TIMEOUT), Err(Trouble::Address)), "{address}");
        }
    }

    #[test]
    fn a_name_is_resolved_and_each_of_its_addresses_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        connect(&format!("localhost:{port}"), TIMEOUT).unwrap();
    }

    #[test]
    fn a_port_where_nobody_listens_is_named_by_its_cause() {
        let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let Err(Trouble::System(REFUSED, cause)) = connect(&unused, TIMEOUT) else { panic!() };
        assert_eq!(cause.kind(), io::ErrorKind::ConnectionRefused);
    }

    /// Without the check, one of these attempts most likely succeeds: the system chooses the
    /// client's port among some 28,000, and sooner or later it is the one that is asked for.
    #[test]
    fn whoever_asks_for_long_enough_does_not_connect_to_itself() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        for _ in 0..50_000 {
            assert!(connect(&closed, TIMEOUT).is_err());
        }
    }
}
