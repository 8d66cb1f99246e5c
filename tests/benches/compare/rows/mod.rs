//! The rows of the comparison.

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
pub(crate) const ROWS: [(&str, Row); 19] = [
    ("1", publish::one_at_a_time),
    ("2", publish::in_flight),
    ("2b", publish::many_connections),
    ("2c", publish::bulk),
    ("3", deliver::saturated),
    ("3b", deliver::paced),
    ("4", fan_out::saturated),
    ("4b", fan_out::paced),
    ("5", durable::cells),
    ("6", read::whole),
    ("7", idle::subscribers),
    ("8", restart::after_a_kill),
    ("9", footprint::of_each),
    ("sizes", sweeps::sizes),
    ("topics", sweeps::topics),
    ("topics-3", sweeps::topics_delivered),
    ("topics-4", sweeps::topics_fanned_out),
    ("reader", read::beside_a_reader),
    ("busy", durable::beside_busy_programs),
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
