//! Connections for commands to another broker.

use super::connection::{BrokerConnection, Target};
use crate::home::permits::Permits;
use crate::refusal::Result;
use common::json::Value;
use common::lock::Mutex;
use std::sync::Arc;
use std::time::Instant;

/// Connections to one broker on which commands are sent, in use or kept for the next. Enough to
/// keep it busy: what waits for one of its syncs shares it.
const CONNECTIONS_MAX: usize = 64;

/// Another broker, and connections to it.
///
/// Invariant: only a thread with a permit opens a connection, if none is idle. So there are never
/// more connections than permits.
pub(super) struct ConnectionPool {
    pub(super) target: Arc<Target>,
    permits: Permits,
    /// Nobody uses these now. Held to take or to give back; never across I/O.
    idle: Mutex<Vec<BrokerConnection>>,
}

impl ConnectionPool {
    /// No connections yet.
    pub(super) fn new(target: Target) -> ConnectionPool {
        let permits = Permits::new(CONNECTIONS_MAX);
        ConnectionPool { target: Arc::new(target), permits, idle: Mutex::default() }
    }

    /// Sends commands and takes as many answers. Whether an unanswered command was carried out
    /// is not known.
    pub(super) fn ask(
        &self,
        commands: &[u8],
        count: usize,
        deadline: Instant,
        take: impl FnMut(Result<&Value<'_>>),
    ) -> Result<()> {
        // Ends after the connection was kept or closed.
        let _permit = self.permits.take(deadline).ok_or_else(|| self.target.timed_out())?;
        let mut connection = match self.take_idle() {
            Some(connection) => connection,
            None => self.target.connect(deadline)?,
        };
        let asked = connection.exchange(commands, count, deadline, take);
        match asked {
            Ok(()) => self.idle.lock().push(connection),
            // What befell this one has most likely befallen the others.
            Err(_) => self.idle.lock().clear(),
        }
        asked
    }

    /// Sends one command. `read` takes what is wanted from its answer, where that is a success.
    pub(super) fn command<T>(
        &self,
        command: &[u8],
        deadline: Instant,
        read: impl Fn(&Value<'_>) -> T,
    ) -> Result<T> {
        let mut answered = Err(self.target.timed_out());
        self.ask(command, 1, deadline, |answer| answered = answer.map(&read))?;
        answered
    }

    /// A connection that was used before and can be used again.
    fn take_idle(&self) -> Option<BrokerConnection> {
        loop {
            let connection = self.idle.lock().pop()?;
            if connection.is_quiet() {
                return Some(connection);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn commands_to_one_broker_have_so_many_connections_and_the_rest_wait() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let pool =
            ConnectionPool::new(Target { address, token: None, shows_token: Arc::default() });
        let deadline = Instant::now() + Duration::from_secs(1);
        thread::scope(|scope| {
            for _ in 0..CONNECTIONS_MAX + 8 {
                scope.spawn(|| {
                    let refusal = pool.command(b"{}", deadline, |_| {}).unwrap_err();
                    assert_eq!(refusal.status(), 503);
                });
            }
        });
        silent.set_nonblocking(true).unwrap();
        let accepted = std::iter::from_fn(|| silent.accept().ok()).count();
        assert!(accepted <= CONNECTIONS_MAX, "{accepted} connections");
        assert!(pool.permits.take(Instant::now()).is_some());
    }
}
