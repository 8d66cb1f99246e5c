//! Connections for commands to another broker.

use super::connection::{BrokerConnection, Target};
use crate::refusal::Result;
use common::json::Value;
use common::lock::Mutex;
use std::sync::{Arc, Condvar, PoisonError};
use std::time::Instant;

/// Connections to one broker on which commands are sent, in use or kept for the next. Enough to
/// keep it busy: what waits for one of its syncs shares it.
const CONNECTIONS_MAX: usize = 64;

/// Another broker, and connections to it.
pub(super) struct ConnectionPool {
    pub(super) target: Arc<Target>,
    state: Mutex<State>,
    /// Told when a permit is given back.
    freed: Condvar,
}

/// Held to take or to give back; never across I/O.
///
/// Invariant: only a thread with a permit opens a connection, if none is idle. So there are never
/// more connections than permits.
#[derive(Default)]
struct State {
    /// Nobody uses these now.
    idle: Vec<BrokerConnection>,
    /// How many permits are out.
    permits: usize,
}

/// The right to use a connection; it ends when it is dropped.
struct Permit<'a>(&'a ConnectionPool);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.state.lock().permits -= 1;
        self.0.freed.notify_one();
    }
}

impl ConnectionPool {
    /// No connections yet.
    pub(super) fn new(target: Target) -> ConnectionPool {
        ConnectionPool { target: Arc::new(target), state: Mutex::default(), freed: Condvar::new() }
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
        let _permit = self.permit(deadline)?;
        let mut connection = match self.take_idle() {
            Some(connection) => connection,
            None => self.target.connect(deadline)?,
        };
        let asked = connection.exchange(commands, count, deadline, take);
        let mut state = self.state.lock();
        match asked {
            Ok(()) => state.idle.push(connection),
            // What befell this one has most likely befallen the others.
            Err(_) => state.idle.clear(),
        }
        drop(state);
        asked
    }

    /// Sends one command. `take` sees its answer where that is a success.
    pub(super) fn command(
        &self,
        command: &[u8],
        deadline: Instant,
        mut take: impl FnMut(&Value<'_>),
    ) -> Result<()> {
        let mut done = Ok(());
        self.ask(command, 1, deadline, |answer| done = answer.map(&mut take))?;
        done
    }

    /// Waits until another command may be under way.
    fn permit(&self, deadline: Instant) -> Result<Permit<'_>> {
        let time = deadline.saturating_duration_since(Instant::now());
        let is_full = |state: &mut State| state.permits >= CONNECTIONS_MAX;
        let waited = self.freed.wait_timeout_while(self.state.lock(), time, is_full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if state.permits >= CONNECTIONS_MAX {
            return Err(self.target.timed_out());
        }
        state.permits += 1;
        Ok(Permit(self))
    }

    /// A connection that was used before and can be used again.
    fn take_idle(&self) -> Option<BrokerConnection> {
        loop {
            let connection = self.state.lock().idle.pop()?;
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
        assert_eq!(pool.state.lock().permits, 0);
        assert!(pool.permit(Instant::now()).is_ok());
    }
}
