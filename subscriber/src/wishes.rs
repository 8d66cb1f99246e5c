//! What somebody wants to be subscribed to: typed on one thread, carried out on another.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Topics that are wanted, and the connection that they are asked for on.
#[derive(Debug)]
pub(crate) struct Wishes {
    /// Who wants them; goes into every line to the broker.
    id: String,
    /// Held to look and to change, never across I/O.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    topics: Vec<String>,
    /// What is wanted no more. The broker is told on every connection: it remembers what an id is
    /// subscribed to, and may not have heard it the first time.
    ended: Vec<String>,
    /// The present connection, for those who write to it.
    stream: Option<Arc<TcpStream>>,
    is_over: bool,
}

impl Wishes {
    /// None yet, of this subscriber.
    pub(crate) fn new(id: String) -> Wishes {
        Wishes { id, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Wants a topic. Gives the line that asks for it, and the connection to send it on; without
    /// one, the next connection begins with it.
    pub(crate) fn subscribe(&self, topic: &str) -> (String, Option<Arc<TcpStream>>) {
        let mut state = self.lock();
        state.ended.retain(|known| known != topic);
        if !state.topics.iter().any(|known| known == topic) {
            state.topics.push(topic.to_owned());
        }
        self.changed.notify_all();
        (self.line("SUBSCRIBE", topic), state.stream.clone())
    }

    /// Wants a topic no more.
    pub(crate) fn unsubscribe(&self, topic: &str) -> (String, Option<Arc<TcpStream>>) {
        let mut state = self.lock();
        state.topics.retain(|known| known != topic);
        if !state.ended.iter().any(|known| known == topic) {
            state.ended.push(topic.to_owned());
        }
        self.changed.notify_all();
        (self.line("UNSUBSCRIBE", topic), state.stream.clone())
    }

    fn line(&self, verb: &str, topic: &str) -> String {
        format!("{verb} {topic} {}\n", self.id)
    }

    /// Waits until there is something to ask for. False when it is all over instead.
    pub(crate) fn wait(&self) -> bool {
        let idle = |state: &mut State| !state.has_something() && !state.is_over;
        let state = self.changed.wait_while(self.lock(), idle);
        !state.unwrap_or_else(PoisonError::into_inner).is_over
    }

    /// There is a new connection. Gives the lines that ask for all that is wanted.
    pub(crate) fn connected(&self, stream: &Arc<TcpStream>) -> String {
        let mut state = self.lock();
        state.stream = Some(Arc::clone(stream));
        let ended = state.ended.iter().map(|topic| self.line("UNSUBSCRIBE", topic));
        let topics = state.topics.iter().map(|topic| self.line("SUBSCRIBE", topic));
        ended.chain(topics).collect()
    }

    /// There is no connection any more.
    pub(crate) fn disconnected(&self) {
        self.lock().stream = None;
    }

    /// Whether there is anything to ask for.
    pub(crate) fn are_there(&self) -> bool {
        self.lock().has_something()
    }

    /// Ends it all.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        if let Some(stream) = &state.stream {
            // The broker takes what it was sent, and closes; that wakes the thread that reads.
            let _ = stream.shutdown(Shutdown::Write);
        }
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under this lock can leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_something(&self) -> bool {
        !self.topics.is_empty() || !self.ended.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_connection_asks_for_all_that_is_wanted() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = Arc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let wishes = Wishes::new("ann".to_owned());
        assert!(!wishes.are_there());
        assert_eq!(wishes.subscribe("a").0, "SUBSCRIBE a ann\n");
        wishes.subscribe("b");
        wishes.subscribe("a");
        assert_eq!(wishes.unsubscribe("c").0, "UNSUBSCRIBE c ann\n");
        assert!(wishes.wait());
        let lines = "UNSUBSCRIBE c ann\nSUBSCRIBE a ann\nSUBSCRIBE b ann\n";
        assert_eq!(wishes.connected(&stream), lines);
        assert!(wishes.unsubscribe("a").1.is_some());
        assert!(wishes.subscribe("c").1.is_some());
        wishes.disconnected();
        assert!(wishes.unsubscribe("b").1.is_none());
        let lines = "UNSUBSCRIBE a ann\nUNSUBSCRIBE b ann\nSUBSCRIBE c ann\n";
        assert_eq!(wishes.connected(&stream), lines);
        wishes.end();
        assert!(!wishes.wait());
    }
}
