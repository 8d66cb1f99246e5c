//! Every size, count and timeout, with its reason.
//!
//! Each loop and each buffer that a peer can feed is bounded by one of these.

use std::time::Duration;

/// A topic's name, in bytes: the length of a file name on the usual file systems.
pub const TOPIC_NAME_SIZE_MAX: usize = 255;

/// A publisher's or subscriber's name, in bytes.
pub const PEER_NAME_SIZE_MAX: usize = 255;

/// One message, in bytes, unless `--max-message` says otherwise.
pub const MESSAGE_SIZE_MAX: usize = 1 << 20;

/// An HTTP body or one JSON object, in bytes: eight of the largest messages.
pub const BODY_SIZE_MAX: usize = 8 << 20;

/// How deep JSON may nest. Deep enough for people, shallow enough for a small stack.
pub const JSON_DEPTH_MAX: usize = 64;

/// A request line, in bytes. RFC 9112 §3 asks for 8,000 at least.
pub const REQUEST_LINE_SIZE_MAX: usize = 16 << 10;

/// All header lines of a message together, in bytes. One line may be all of them: a browser sends
/// the cookies of all that it knows on this machine, whatever their ports.
pub const HEADERS_SIZE_MAX: usize = 32 << 10;

/// Header lines in a message.
pub const HEADERS_MAX: usize = 100;

/// Empty lines that may precede a request line (RFC 9112 §2.2 asks for one).
pub const EMPTY_LINES_MAX: usize = 8;

/// A method's name, in bytes: the longest registered one has 17.
pub const METHOD_SIZE_MAX: usize = 32;

/// Chunk extensions of one body, all together, in bytes (RFC 9112 §7.1.1 asks for a limit).
pub const CHUNK_EXTENSIONS_SIZE_MAX: usize = 1 << 10;

/// Trailer lines of one body, all together, in bytes.
pub const TRAILERS_SIZE_MAX: usize = 4 << 10;

/// From the first byte of a request to the end of its head.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// From the end of a head on, for a body that makes no progress.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// For an answer that is not a stream and of which the client takes nothing.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The least rate of bodies, of JSON objects and text lines that were begun, and of answers, in
/// bytes a second: what takes longer than its time-out may go on at this rate.
pub const RATE_MIN: usize = 2 << 10;

/// How much longer this many bytes may take than a few.
pub fn allowance(size: usize) -> Duration {
    Duration::from_millis((size as u64).saturating_mul(1000) / RATE_MIN as u64)
}

/// Between an answer and the next request on the same connection.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// For how long a wait goes on whose client has ended its input. It may have closed its sending
/// half only (`printf … | ncat`), or be gone.
pub const INPUT_END_GRACE: Duration = Duration::from_secs(3);

/// How often a wait looks whether its client is still there.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The longest `wait` of a reader, in seconds.
pub const WAIT_SECONDS_MAX: u64 = 60;

/// What is read and thrown away after a last answer, so that the kernel does not reset the
/// connection and erase it (RFC 9112 §9.6): bytes, and time. As much as a whole body, because
/// most clients send all of one before they look for an answer.
pub const LINGER_SIZE_MAX: usize = BODY_SIZE_MAX;

/// See [`LINGER_SIZE_MAX`].
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// Topics in one broker.
pub const TOPICS_MAX: usize = 100_000;

/// Peers that one index knows.
pub const PEERS_MAX: usize = 10_000;

/// Those of them that no connection stands behind, since a client registered them: half are kept
/// for peers that are there.
pub const LASTING_PEERS_MAX: usize = PEERS_MAX / 2;

/// Those of them that clients of one address registered.
pub const ADDRESS_PEERS_MAX: usize = LASTING_PEERS_MAX / 2;

/// Topics of an index whose homes no connection stands behind.
pub const LASTING_PEERS_TOPICS_MAX: usize = TOPICS_MAX / 2;

/// Topics of one event stream that are named one by one: as many as a request line holds, about.
pub const EVENT_TOPICS_MAX: usize = 200;

/// The id of an event, in bytes: what proxies and programs take as a header line beside others.
pub const EVENT_ID_SIZE_MAX: usize = 6 << 10;

/// A place in a topic as an event's id gives it, in bytes: an offset, `@` and a stream id.
pub const EVENT_PLACE_SIZE_MAX: usize = 20 + 1 + 16;

/// Names of lasting subscriptions.
pub const SUBSCRIBERS_MAX: usize = 100_000;

/// Lasting subscriptions that one connection may begin: a tenth, so that no client takes them all.
pub const CONNECTION_SUBSCRIBERS_MAX: usize = SUBSCRIBERS_MAX / 10;

/// Subscriptions of all connections together, to topics that need not be there: some 400 MB.
pub const SUBSCRIPTIONS_MAX: usize = 2_000_000;

/// Those of one connection: to all topics that there may be, and no more than are still free.
pub const CONNECTION_SUBSCRIPTIONS_MAX: usize = TOPICS_MAX;

/// Patterns of one connection. Each is looked at when a topic comes into being.
pub const PATTERNS_MAX: usize = 100;

/// Patterns of all connections together: whoever creates a topic looks at each.
pub const ALL_PATTERNS_MAX: usize = CONNECTIONS_MAX;

/// Messages in one answer to `pull`, in bytes; the answer says where to go on.
pub const PULL_SIZE: usize = 8 << 20;

/// One answer of the JSON door, in bytes: a piece of [`PULL_SIZE`] and the largest message after
/// it, of which `\u` escapes make six bytes each.
pub const ANSWER_SIZE_MAX: usize = 6 * (PULL_SIZE + BODY_SIZE_MAX);

/// Bytes of a text line beside its message: more than verb, topic and id need.
pub const TEXT_LINE_OVERHEAD: usize = 1 << 10;

/// Connections at once, where the open-file and thread limits leave room for so many.
pub const CONNECTIONS_MAX: usize = 10_000;

/// What a reader copies out of the store in one piece, in bytes: large enough to fill a socket
/// buffer, small enough that publishers do not notice the lock.
pub const PIECE_SIZE: usize = 256 << 10;

/// What is encoded for a client in one piece, in bytes: a client that does not read keeps a few of
/// these, however many of them fit into the buffers of the system.
pub const ENCODED_SIZE: usize = 128 << 10;

const _: () = assert!(MESSAGE_SIZE_MAX < BODY_SIZE_MAX);
const _: () = assert!(REQUEST_LINE_SIZE_MAX >= 8_000);
const _: () = assert!("Last-Event-ID: \r\n".len() + EVENT_ID_SIZE_MAX <= HEADERS_SIZE_MAX);
