//! Helpers for the tests of push.

use crate::log::Log;
use crate::push::lasting::LastingSubscriptions;
use crate::push::{Beginning, Format, Push, Session};
use crate::store::{Cursor, Topics};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// The index of a session's first subscription.
pub(super) const FIRST: usize = 0;

/// These topics, with so many threads to catch up.
pub(super) fn push_of(topics: Topics, threads_max: usize) -> Push {
    Push::new(topics, LastingSubscriptions::default(), threads_max, Arc::new(Log::default()))
}

/// A connection: its stream here, and its client.
pub(super) fn connected() -> (Arc<TcpStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Arc::new(listener.accept().unwrap().0), client)
}

/// A session that has subscribed to all of the topic `t`, and its client, who reads only if the
/// test does.
pub(super) fn subscribe(push: &Push) -> (Arc<Session>, TcpStream) {
    let (stream, client) = connected();
    let session = Session::new(stream, Arc::default());
    let begin = Cursor { next: 0, ..push.topics.end("t") };
    let places = [Beginning::asked("t", begin)];
    session.subscribe(&push.listeners, places, Format::Channel, None, None);
    session.with(|it| it.note(FIRST, u64::MAX));
    (session, client)
}
