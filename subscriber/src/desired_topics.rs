//! The topics that a person wants to follow: typed on one thread, subscribed on another.

use common::lock::Mutex;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, PoisonError};

/// Topics that are wanted, and the connection over which they are subscribed to.
#[derive(Debug)]
pub(crate) struct DesiredTopics {
    /// Who wants them; goes into every line to the broker.
    id: String,
    /// Nothing that is done under this lock can leave it half done. Also held while a new
    /// connection is told about all topics. Lines that are typed in the meantime wait, and so come
    /// after that.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Each topic that was typed, and whether it is wanted. The broker is told on every connection
    /// about those that are not wanted any more: it remembers the topics of an id, and may not have
    /// received the line the first time.
    topics: Vec<(String, bool)>,
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

    /// Notes whether a topic is wanted. Gives the line for the broker, and the connection to send
    /// it on; without a connection, the next one begins with it.
    pub(crate) fn set(&self, topic: &str, is_wanted: bool) -> (String, Option<Arc<TcpStream>>) {
        let mut state = self.state.lock();
        match state.topics.iter_mut().find(|(known, _)| known == topic) {
            Some((_, known)) => *known = is_wanted,
            None => state.topics.push((topic.to_owned(), is_wanted)),
        }
        self.changed.notify_all();
        (self.line(topic, is_wanted), state.stream.clone())
    }

    fn line(&self, topic: &str, is_wanted: bool) -> String {
        let verb = if is_wanted { "SUBSCRIBE" } else { "UNSUBSCRIBE" };
        format!("{verb} {topic} {}\n", self.id)
    }

    /// The lines for all topics. The first SUBSCRIBE brings back all topics that the broker
    /// remembers for the id, so the others are ended before it.
    fn lines(&self, state: &State) -> String {
        let mut topics: Vec<_> = state.topics.iter().collect();
        topics.sort_by_key(|(_, is_wanted)| *is_wanted);
        topics.iter().map(|(topic, is_wanted)| self.line(topic, *is_wanted)).collect()
    }

    /// Waits until there is something to ask for. False when it is all over instead.
    pub(crate) fn wait(&self) -> bool {
        let idle = |state: &mut State| state.topics.is_empty() && !state.is_over;
        let state = self.changed.wait_while(self.state.lock(), idle);
        !state.unwrap_or_else(PoisonError::into_inner).is_over
    }

    /// There is a new connection: sends the lines that ask for all that is wanted, before any that
    /// is typed from now on.
    ///
    /// # Errors
    ///
    /// Those of `send`.
    pub(crate) fn connected<E>(
        &self,
        stream: Arc<TcpStream>,
        send: impl FnOnce(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut state = self.state.lock();
        send(&self.lines(&state))?;
        state.stream = Some(stream);
        state.end_if_over();
        Ok(())
    }

    /// There is no connection any more.
    pub(crate) fn disconnected(&self) {
        self.state.lock().stream = None;
    }

    /// Nothing more will be typed. This ends the program: at once where that is asked for; else, if
    /// no topic is wanted, as soon as the broker was told so.
    pub(crate) fn complete(&self, ends_at_once: bool) {
        let mut state = self.state.lock();
        (state.is_complete, state.is_over) = (true, ends_at_once);
        state.end_if_over();
        self.changed.notify_all();
    }
}

impl State {
    /// Ends the program if there is nothing more to do.
    fn end_if_over(&mut self) {
        let is_told = self.topics.is_empty() || self.stream.is_some();
        let wants_none = self.topics.iter().all(|(_, is_wanted)| !is_wanted);
        self.is_over |= self.is_complete && is_told && wants_none;
        if let Some(stream) = self.stream.as_ref().filter(|_| self.is_over) {
            // The broker handles the lines, and closes; that wakes the thread that reads.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    impl DesiredTopics {
        /// What a new connection would be told now.
        pub(crate) fn all_lines(&self) -> String {
            self.lines(&self.state.lock())
        }
    }

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
        assert_eq!(topics.set("a", true).0, "SUBSCRIBE a ann\n");
        topics.set("b", true);
        topics.set("a", true);
        assert_eq!(topics.set("c", false).0, "UNSUBSCRIBE c ann\n");
        assert!(topics.wait());
        let lines = "UNSUBSCRIBE c ann\nSUBSCRIBE a ann\nSUBSCRIBE b ann\n";
        assert_eq!(told(&topics, &stream), lines);
        assert!(topics.set("a", false).1.is_some());
        assert!(topics.set("c", true).1.is_some());
        topics.disconnected();
        assert!(topics.set("b", false).1.is_none());
        let lines = "UNSUBSCRIBE a ann\nUNSUBSCRIBE b ann\nSUBSCRIBE c ann\n";
        assert_eq!(told(&topics, &stream), lines);
        topics.complete(true);
        assert!(!topics.wait());
    }

    #[test]
    fn what_is_typed_while_a_connection_is_told_comes_behind() {
        let (stream, _peer) = pair();
        let topics = DesiredTopics::new("ann".to_owned());
        topics.set("a", true);
        thread::scope(|scope| {
            let mut typed = None;
            let send = |lines: &str| {
                assert_eq!(lines, "SUBSCRIBE a ann\n");
                typed = Some(scope.spawn(|| topics.set("b", true)));
                thread::sleep(Duration::from_millis(20));
                Ok::<_, ()>(())
            };
            topics.connected(stream, send).unwrap();
            let (_, stream) = typed.unwrap().join().unwrap();
            assert!(stream.is_some(), "it would be sent before");
        });
    }

    #[test]
    fn after_the_end_nothing_waits_for_a_connection_that_was_on_its_way() {
        let (stream, mut peer) = pair();
        let topics = DesiredTopics::new("ann".to_owned());
        topics.set("a", true);
        topics.complete(true);
        told(&topics, &stream);
        assert_eq!(std::io::Read::read(&mut peer, &mut [0]).unwrap(), 0, "it was shut down");
    }

    #[test]
    fn what_is_wanted_no_more_is_told_before_the_end() {
        let (stream, mut peer) = pair();
        let topics = DesiredTopics::new("ann".to_owned());
        topics.set("a", false);
        topics.complete(false);
        assert!(topics.wait(), "the broker was not told yet");
        assert_eq!(told(&topics, &stream), "UNSUBSCRIBE a ann\n");
        assert_eq!(std::io::Read::read(&mut peer, &mut [0]).unwrap(), 0, "it was shut down");
        assert!(!topics.wait());
    }

    #[test]
    fn where_a_topic_is_wanted_it_goes_on_after_the_last_line() {
        let topics = DesiredTopics::new("ann".to_owned());
        topics.set("a", true);
        topics.complete(false);
        assert!(topics.wait());
    }
}
