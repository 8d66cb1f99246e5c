//! The system from outside: real processes, real sockets, nothing shared with the product but
//! its reader of JSON.
//!
//! - [`access`]: who may come in
//! - [`archive`]: `received.txt`, though the topic lets go
//! - [`brokers`]: what the tests of several brokers have in common
//! - [`chain`]: from a file to `received.txt`, whoever is killed on the way
//! - [`channels`]: clients of the dialect of channels, written in another language
//! - [`client`]: the client library, across restarts and networks that lose things
//! - [`copies`]: readers and mirrors that know more than what was put back
//! - [`deploy`]: what is written about running the broker
//! - [`dialogue`]: lines that people type, and those that a broker answers with
//! - [`events`]: event streams; [`event_stream`]: reads one
//! - [`examples`]: clients in other languages
//! - [`faults_kill`], [`faults_retry`], [`faults_start`], [`faults_errors`]: what the broker keeps,
//!   whatever happens to it
//! - [`four_nodes`]: a broker, a publisher and two subscribers, whatever happens to them
//! - [`hostile`]: clients and homes that mean harm
//! - [`http_cases`]: HTTP at its edges, byte by byte
//! - [`hub`]: a hub, its leaves, and theirs
//! - [`index`]: what an index believes, and whom
//! - [`json_documents`]: JSON as a live broker reads it, and as Python does
//! - [`lasting`]: subscriptions that outlive their connection, and topics that let go
//! - [`leaving`]: clients that leave while they wait
//! - [`limits`]: every limit, at it and one past it
//! - [`lines`]: files and pipes, published line by line
//! - [`load`]: many clients, slow ones, and such as break off
//! - [`log`]: who did what
//! - [`manuals`]: man pages and completion
//! - [`messages`]: the list of a topic, whole, in pieces and as it grows
//! - [`metrics`]: what is counted
//! - [`mirrored_retention`]: mirrors let go what their homes let go
//! - [`page`], [`page_topics`]: what people see in a browser
//! - [`peers`]: peers with an index
//! - [`programs`]: how the programs begin, end, and say what is wrong
//! - [`publish`]: what is stored, what is refused, and what is not stored twice
//! - [`push`]: messages that are pushed, through every door
//! - [`qos`]: at most once, at least once, exactly once: publishing and subscribing
//! - [`restarts`]: readers of every kind, while brokers and topics come and go
//! - [`shortage`]: too few descriptors, too few threads
//! - [`supervised`]: what the service manager is told, and what a broker waits for at boot
//! - [`tidy`]: the rules that every file keeps
//! - [`verbs`]: what is asked of a broker that runs, from the command line

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that panics fails, and its helpers are tests too")]

mod access;
mod archive;
mod bodies;
mod brokers;
mod chain;
mod channels;
mod client;
mod copies;
mod deploy;
mod dialogue;
mod event_stream;
mod events;
mod examples;
mod faults_errors;
mod faults_kill;
mod faults_retry;
mod faults_segments;
mod faults_start;
mod four_nodes;
mod hostile;
mod http_cases;
mod hub;
mod index;
mod json_documents;
mod lasting;
mod leaving;
mod libraries;
mod limits;
mod lines;
mod load;
mod log;
mod manuals;
mod memory_returned;
mod messages;
mod metrics;
mod mirrored_retention;
mod ndjson;
mod page;
mod page_topics;
mod peers;
mod programs;
mod publish;
mod push;
mod qos;
mod restarts;
mod retention;
mod rights;
mod shortage;
mod strangers;
mod structure;
mod supervised;
mod tidy;
mod verbs;
