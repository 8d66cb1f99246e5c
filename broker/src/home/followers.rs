//! The brokers that follow this one, each on one connection.
//!
//! A broker that has lost its connection makes another, while this side may not have heard of the
//! loss. So the old one is closed when the new one says whose it is.

use common::lock::Mutex;
use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Weak};

/// The connection of each broker, by its id.
#[derive(Default)]
pub(crate) struct Followers(Mutex<HashMap<String, Weak<TcpStream>>>);

impl Followers {
    /// Notes that a broker follows on this connection. The one that it had before is closed.
    pub(crate) fn replace(&self, id: &str, stream: &Arc<TcpStream>) {
        // A map of pointers is whole after any panic.
        let mut connections = self.0.lock();
        connections.retain(|_, stream| stream.strong_count() > 0);
        let before = connections.insert(id.to_owned(), Arc::downgrade(stream));
        drop(connections);
        if let Some(before) = before.and_then(|before| before.upgrade()) {
            // It may have ended already.
            let _ = before.shutdown(Shutdown::Both);
        }
    }
}
