//! Tests of the system from outside: real processes and real sockets. They share nothing with the
//! product but its reader of JSON. Each file begins with what it tests.
//!
//! - Publishing and reading: `four_nodes`, `publish`, `messages`, `ndjson`, `push`, `events` (with
//!   `event_stream`), `patterns` and `pattern_streams` (with `pattern_follower`), `channels`,
//!   `lasting`, `subscribers`, `qos`, `retention`, `archive`, `lines`, `client`, `examples`,
//!   `libraries`
//! - HTTP and JSON at their edges: `http_cases`, `json_documents`, `bodies`, `limits`, `strangers`
//! - Many, slow and hostile clients: `load`, `stalled`, `leaving`, `hostile`, `shortage`,
//!   `memory_returned`
//! - Faults: `faults_kill`, `faults_retry`, `faults_start`, `faults_errors`, `faults_segments`,
//!   `restarts`, `chain`, `copies`
//! - Several brokers: `hub`, `peers`, `index`, `mirrored_retention`, `windows`, `nats` (with
//!   `brokers`)
//! - Programs and operation: `programs`, `dialogue`, `verbs`, `page`, `page_messages`,
//!   `page_topics`, `access`, `rights`, `log`, `metrics`, `supervised`, `deploy`, `manuals`
//! - The code itself: `structure`, `tidy`

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
mod nats;
mod ndjson;
mod page;
mod page_messages;
mod page_topics;
mod pattern_follower;
mod pattern_streams;
mod patterns;
mod peers;
mod programs;
mod publish;
mod push;
mod qos;
mod restarts;
mod retention;
mod rights;
mod shortage;
mod stalled;
mod strangers;
mod structure;
mod subscribers;
mod supervised;
mod tidy;
mod verbs;
mod windows;
