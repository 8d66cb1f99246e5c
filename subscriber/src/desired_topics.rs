//! The topics that a person wants to follow: typed on one thread, subscribed on another.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Topics that are wanted, and the connection over which they are subscribed to.
#[derive(Debug)]
pub(crate) struct DesiredTopics {
    /// Who wants them; goes into every line to the broker.
    id: String,
    /// Held to look and to change, and while a new connection is told what is wanted: what is
    /// typed meanwhile waits, and so comes behind.
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
    /// Nothing more will be typed.
    is_complete: bool,
    is_over: bool,
}

impl DesiredTopics {
    /// None yet, of this subscriber.
    pub(crate) fn new(id: String) -> DesiredTopics {
        DesiredTopics { id, state: Mutex::default(), changed: Condvar::new() }
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

    /// There is a new connection: sends the lines that ask for all that is wanted, before any that
    /// is typed from now on.
    ///
    /// # Errors
    ///
    /// What `send` says.
    pub(crate) fn connected<E>(
        &self,
        stream: Arc<TcpStream>,
        send: impl FnOnce(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut state = self.lock();
        let ended = state.ended.iter().map(|topic| self.line("UNSUBSCRIBE", topic));
        let topics = state.topics.iter().map(|topic| self.line("SUBSCRIBE", topic));
        send(&ended.chain(topics).collect::<String>())?;
        state.stream = Some(stream);
        if state.is_over || (state.is_complete && state.topics.is_empty()) {
            state.end();
        }
        Ok(())
    }

    /// There is no connection any more.
    pub(crate) fn disconnected(&self) {
        self.lock().stream = None;
    }

    /// Nothing more will be typed: ends it all where no topic is wanted, as soon as the broker was
    /// told what is wanted no more.
    pub(crate) fn complete(&self) {
        let mut state = self.lock();
        state.is_complete = true;
        if state.topics.is_empty() && (state.ended.is_empty() || state.stream.is_some()) {
            state.end();
        }
        self.changed.notify_all();
    }

    /// Ends it all.
    pub(crate) fn end(&self) {
        self.lock().end();
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under this lock can leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end(&mut self) {
        self.is_over = true;
        if let Some(stream) = &self.stream {
            // The broker takes what it was sent, and closes; that wakes the thread that reads.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    fn has_something(&self) -> bool {
        !self.topics.is_empty() || !self.ended.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A connection, and its other end.
    fn pair() -> (Arc<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Arc::new(stream), listener.accept().unwrap().0)
    }

    /// What a new connection is told.
    fn told(topics: &DesiredTopics, stream: &Arc<TcpStream>) -> String {
        let mut told = String::new();
        let send = |lines: &str| {
            told = lines.to_owned();
            Ok::<_, ()>(())
        };
        topics.connected(Arc::clone(stream), send).unwrap();
        told
    }

    #[test]
    fn a_new_connection_asks_for_all_that_is_wanted() {
        let (stream, _peer) = pair();
        let topics = DesiredTopics::new("ann".to_owned());
        assert_eq!(topics.subscribe("a").0, "SUBSCRIBE a ann\n");
        topics.subscribe("b");
        topics.subscribe("a");
        assert_eq!(topics.unsubscribe("c").0, "UNSUBSCRIBE c ann\n");
        assert!(topics.wait());
        let lines = "UNSUBSCRIBE c ann\nSUBSCRIBE a ann\nSUBSCRIBE b ann\n";
        assert_eq!(told(&topics, &stream), lines);
        assert!(topics.unsubscribe("a").1.is_some());
        assert!(topics.subscribe("c").1.is_some());
        topics.disconnected();
        assert!(topics.unsubscribe("b").1.is_none());
        let lines = "UNSUBSCRIBE a ann\nUNSUBSCRIBE b ann\nSUBSCRIBE c ann\n";
        assert_eq!(told(&topics, &stream), lines);
        topics.end();
        assert!(!topics.wait());
    }

    #[test]
    fn what_is_typed_while_a_connection_is_told_comes_behind() {
        let (stream, _peer) = pair();
        let topics = DesiredTopics::new("ann".to_owned());
        topics.subscribe("a");
        let send = |lines: &str| {
            assert_eq!(lines, "SUBSCRIBE a ann\n");
            assert!(topics.state.try_lock().is_err(), "it would be sent before");
            Ok::<_, ()>(())
        };
        topics.connected(stream, send).unwrap();
    }

    #[test]
    fn after_the_end_nothing_waits_for_a_connection_that_was_on_its_way() {
        let (stream, mut peer) = pair();
        let topics = DesiredTopics::new("ann".to_owned());
        topics.subscribe("a");
        topics.end();
        told(&topics, &stream);
        assert_eq!(std::io::Read::read(&mut peer, &mut [0]).unwrap(), 0, "it was shut down");
    }

    #[test]
    fn what_is_wanted_no_more_is_told_before_the_end() {
        let (stream, mut peer) = pair();
        let topics = DesiredTopics::new("ann".to_owned());
        topics.unsubscribe("a");
        topics.complete();
        assert!(topics.wait(), "the broker was not told yet");
        assert_eq!(told(&topics, &stream), "UNSUBSCRIBE a ann\n");
        assert_eq!(std::io::Read::read(&mut peer, &mut [0]).unwrap(), 0, "it was shut down");
        assert!(!topics.wait());
    }

    #[test]
    fn where_a_topic_is_wanted_it_goes_on_after_the_last_line() {
        let topics = DesiredTopics::new("ann".to_owned());
        topics.subscribe("a");
        topics.complete();
        assert!(topics.wait());
    }
}
