//! What the tests of push have in common.

use crate::broker::Broker;
use crate::push::format::Format;
use crate::push::session::{Session, Subscription};
use crate::store::stream::Cursor;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// A session that has subscribed to all of the topic `t`, and its client, who reads only if the
/// test does.
pub(super) fn subscribe(broker: &Broker) -> (Arc<Session>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let session = Session::new(Arc::new(listener.accept().unwrap().0));
    let begin = Cursor { next: 0, ..broker.topics.end("t") };
    let subscription = Subscription::new(begin, Format::Channel, None);
    assert!(session.subscribe(&"t".into(), subscription, &mut Vec::new()));
    (session, client)
}
