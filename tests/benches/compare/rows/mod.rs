//! The rows of the comparison.

mod beside;
mod cluster;
mod deliver;
mod durable;
mod fan_out;
mod footprint;
mod idle;
mod publish;
mod read;
mod restart;
mod sweeps;

use crate::peers::{Contender, Kind};
use crate::report::{Plan, Table};

/// What a row is measured with.
pub(crate) struct Setting<'a> {
    pub(crate) plan: Plan,
    pub(crate) contenders: &'a [Contender],
}

impl Setting<'_> {
    /// The contenders of these kinds that are here.
    fn of(&self, kinds: &[Kind]) -> Vec<&Contender> {
        self.contenders.iter().filter(|contender| kinds.contains(&contender.kind)).collect()
    }
}

/// Measures a row.
type Row = fn(&Setting<'_>) -> Table;

/// All rows: what each is called, and how it is measured.
pub(crate) const ROWS: [(&str, Row); 25] = [
    ("one-at-a-time", publish::one_at_a_time),
    ("in-flight", publish::in_flight),
    ("http-connections", publish::many_connections),
    ("bulk", publish::bulk),
    ("end-to-end", deliver::saturated),
    ("end-to-end-paced", deliver::paced),
    ("fan-out", fan_out::saturated),
    ("fan-out-paced", fan_out::paced),
    ("durable", durable::cells),
    ("read-whole", read::whole),
    ("idle", idle::subscribers),
    ("restart", restart::after_a_kill),
    ("footprint", footprint::of_each),
    ("sizes", sweeps::sizes),
    ("topics", sweeps::topics),
    ("topics-end-to-end", sweeps::topics_delivered),
    ("topics-fan-out", sweeps::topics_fanned_out),
    ("reader", read::beside_a_reader),
    ("busy", durable::beside_busy_programs),
    ("patterns", beside::patterns),
    ("bounds", beside::bounds),
    ("leaf", beside::leaf),
    ("nats", cluster::before_nats),
    ("nats-fan-out", cluster::fan_out),
    ("nats-memory", cluster::memory),
];

impl Table {
    fn new(id: &'static str, title: &str) -> Table {
        Table {
            id,
            title: title.to_owned(),
            columns: Vec::new(),
            headline: Some(0),
            lines: Vec::new(),
            aims: Vec::new(),
            failures: Vec::new(),
            left_out: Vec::new(),
            notes: Vec::new(),
        }
    }
}
