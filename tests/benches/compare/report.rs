//! The tables: figures, and whether each aim was met.

use crate::peers::{Contender, Disk, Kind, NotStarted, Promise, processor_times};
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::time::Duration;

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Things a second: more is better.
    PerSecond,
    /// Bytes a second: more is better.
    BytesPerSecond,
    /// Seconds: less is better.
    Seconds,
    /// Bytes: less is better.
    Bytes,
}

impl Unit {
    pub(crate) fn more_is_better(self) -> bool {
        matches!(self, Unit::PerSecond | Unit::BytesPerSecond)
    }

    /// A figure with three digits that count.
    pub(crate) fn show(self, value: f64) -> String {
        if value.is_nan() {
            return "–".to_owned();
        }
        let scales: &[(f64, &str)] = match self {
            Unit::PerSecond => &[(1e6, " M/s"), (1e3, " k/s"), (1.0, "/s")],
            Unit::BytesPerSecond => &[(1e9, " GB/s"), (1e6, " MB/s"), (1e3, " kB/s")],
            Unit::Seconds => &[(1.0, " s"), (1e-3, " ms"), (1e-6, " µs")],
            Unit::Bytes => &[(1e9, " GB"), (1e6, " MB"), (1e3, " KB"), (1.0, " B")],
        };
        let last = scales.last().copied().unwrap_or((1.0, ""));
        let (scale, name) =
            scales.iter().copied().find(|(scale, _)| value >= *scale).unwrap_or(last);
        let scaled = value / scale;
        let decimals = if scaled < 10.0 { 2 } else { usize::from(scaled < 100.0) };
        format!("{scaled:.decimals$}{name}")
    }
}

/// One column of a table.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) unit: Unit,
}

impl Column {
    pub(crate) fn new(name: impl Into<String>, unit: Unit) -> Column {
        Column { name: name.into(), unit }
    }
}

/// One contender's figures.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// What kind of contender it is; nothing for the machine itself.
    pub(crate) kind: Option<Kind>,
    pub(crate) promise: Option<Promise>,
    /// The median of all rounds, in each column.
    pub(crate) values: Vec<f64>,
}

/// What the broker is to reach in a column.
#[derive(Debug, Clone)]
pub(crate) struct Aim {
    pub(crate) ours: Vec<Kind>,
    pub(crate) column: usize,
    pub(crate) against: Against,
    /// How many times that: at least where more is better, else at most.
    pub(crate) factor: f64,
}

/// What the broker is held against.
#[derive(Debug, Clone)]
pub(crate) enum Against {
    /// The best of these peers.
    Peers(Vec<Kind>),
    /// What the machine itself does.
    Floor,
    /// The line whose name begins so.
    Line(&'static str),
    /// Its own figure in this column.
    Own(usize),
    /// A figure that was fixed beforehand.
    Figure(f64),
}

/// A measurement that did not come to its end, or lost messages.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// Whether it is the broker's: a peer's own is told, and no reason to fail.
    pub(crate) is_ours: bool,
    what: String,
}

/// One row of the benchmark.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) id: &'static str,
    pub(crate) title: String,
    pub(crate) columns: Vec<Column>,
    /// The column that stands for the row in the drawing, where it has a place there.
    pub(crate) headline: Option<usize>,
    pub(crate) lines: Vec<Line>,
    pub(crate) aims: Vec<Aim>,
    /// What went wrong.
    pub(crate) failures: Vec<Failure>,
    /// Contenders that cannot do what the row asks for.
    pub(crate) left_out: Vec<String>,
    /// What else is to be said.
    pub(crate) notes: Vec<String>,
}

impl Table {
    /// The table as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text =
            format!("\n### {}: {}\n\n|  | answers | stores | syncs |", self.id, self.title);
        for column in &self.columns {
            let _ = write!(text, " {} | of the best peer |", column.name);
        }
        text.push_str("\n|---|---|---|---|");
        text.push_str(&"---:|---:|".repeat(self.columns.len()));
        for line in &self.lines {
            let tick = |is: Option<bool>| is.map_or("", |is| if is { "yes" } else { "no" });
            let promise = line.promise;
            let _ = write!(
                text,
                "\n| {} | {} | {} | {} |",
                line.name,
                tick(promise.map(|promise| promise.acknowledged)),
                tick(promise.map(|promise| promise.stored)),
                tick(promise.map(|promise| promise.synced)),
            );
            for (index, (column, value)) in self.columns.iter().zip(&line.values).enumerate() {
                let best = self.best(index, is_peer);
                let ratio = best.filter(|_| !value.is_nan());
                let ratio = ratio.map_or(String::new(), |(best, _)| format!("{:.2}", value / best));
                let _ = write!(text, " {} | {ratio} |", column.unit.show(*value));
            }
        }
        text.push_str("\n\n");
        text.push_str(&self.comparison());
        for (met, sentence) in self.verdicts() {
            let _ = writeln!(text, "- {}: {sentence}", if met { "met" } else { "missed" });
        }
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        for word in &self.left_out {
            let _ = writeln!(text, "- left out: {word}");
        }
        for failure in &self.failures {
            let _ = writeln!(text, "- failed: {}", failure.what);
        }
        text
    }

    /// Each figure of the broker beside the one before, its floor and the best peer's. It is met
    /// where no peer is ahead, or where it is near its floor.
    fn comparison(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let Some([before, floor]) = line.counterparts() else { continue };
            for (index, (column, value)) in self.columns.iter().zip(&line.values).enumerate() {
                let before = self.line(index, &before);
                // The same use of a bare server, else any, else what the machine itself does.
                let floor = self.line(index, &floor).or_else(|| self.line(index, "bare server"));
                let floor = floor.or_else(|| self.best(index, |line| line.kind.is_none()));
                let peer = self.best(index, is_peer);
                let reaches = |other: Option<(f64, &str)>, factor: f64| {
                    other.is_some_and(|(other, _)| match column.unit.more_is_better() {
                        true => value * factor >= other,
                        false => *value <= other * factor,
                    })
                };
                let verdict = match reaches(peer, 1.0) || reaches(floor, NEAR_FLOOR) {
                    true => "met".to_owned(),
                    false if peer.or(floor).is_none() => "–".to_owned(),
                    false => format!("missed: [profile](profiles.md#{})", self.id),
                };
                let show = |other: Option<(f64, &str)>| match other {
                    Some((other, _)) => {
                        format!("{} ({:.2})", column.unit.show(other), value / other)
                    }
                    None => "–".to_owned(),
                };
                let _ = writeln!(
                    text,
                    "| {}: {} | {} | {} | {} | {} | {verdict} |",
                    line.name,
                    column.name,
                    show(before),
                    column.unit.show(*value),
                    show(floor),
                    show(peer),
                );
            }
        }
        if !text.is_empty() {
            let head = "| figure | before | now | floor | best peer | verdict |";
            text = format!("{head}\n|---|---:|---:|---:|---:|---|\n{text}\n");
        }
        text
    }

    /// The best figure of some lines in a column, and whose it is.
    fn best(&self, column: usize, of: impl Fn(&Line) -> bool) -> Option<(f64, &str)> {
        let more = self.columns.get(column)?.unit.more_is_better();
        let lines = self.lines.iter().filter(|line| of(line));
        let figures = lines.filter_map(|line| Some((*line.values.get(column)?, &*line.name)));
        let figures = figures.filter(|(figure, _)| !figure.is_nan());
        figures.reduce(|one, other| if (one.0 > other.0) == more { one } else { other })
    }

    /// The figure of the line whose name begins so.
    fn line(&self, column: usize, name: &str) -> Option<(f64, &str)> {
        let named = |line: &&Line| line.name.starts_with(name);
        let line = self.lines.iter().filter(named).min_by_key(|line| line.name.len())?;
        let figure = *line.values.get(column)?;
        (!figure.is_nan()).then_some((figure, &line.name))
    }

    /// Whether each aim was met, and by how much.
    pub(crate) fn verdicts(&self) -> Vec<(bool, String)> {
        let verdict = |aim: &Aim| {
            let is_of =
                |line: &Line, kinds: &[Kind]| line.kind.is_some_and(|it| kinds.contains(&it));
            let is_ours = |line: &Line| is_of(line, &aim.ours) && line.counterparts().is_some();
            let (ours, name) = self.best(aim.column, is_ours)?;
            let (theirs, other) = match &aim.against {
                Against::Peers(kinds) => self.best(aim.column, |line| is_of(line, kinds))?,
                Against::Line(name) => self.line(aim.column, name)?,
                Against::Floor => self.best(aim.column, |line| line.kind.is_none())?,
                Against::Own(column) => {
                    (self.best(*column, is_ours)?.0, &*self.columns.get(*column)?.name)
                }
                Against::Figure(figure) => (*figure, "the figure aimed at"),
            };
            let column = self.columns.get(aim.column)?;
            let (ratio, factor) = (ours / theirs, aim.factor);
            let more = column.unit.more_is_better();
            let (met, bound) =
                if more { (ratio >= factor, "at least") } else { (ratio <= factor, "at most") };
            let sentence = format!(
                "{}: {name} is {ratio:.2} of {other} ({bound} {factor} is the aim)",
                column.name
            );
            Some((met, sentence))
        };
        self.aims.iter().filter_map(verdict).collect()
    }
}

/// How many times its floor a figure is near it.
pub(crate) const NEAR_FLOOR: f64 = 1.15;

fn is_peer(line: &Line) -> bool {
    line.kind.is_some_and(|kind| !kind.is_ours())
}

/// The rounds of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// How long one measurement goes on.
    pub(crate) time: Duration,
    /// What large amounts are divided by.
    pub(crate) divisor: u64,
}

/// Measures all contenders in turn, again and again, and takes medians.
pub(crate) fn alternate(
    plan: &Plan,
    table: &mut Table,
    contenders: &[&Contender],
    disk: Disk,
    mut measure: impl FnMut(&Contender) -> crate::Result<Vec<f64>>,
) {
    let mut rounds: Vec<Vec<Vec<f64>>> = vec![Vec::new(); contenders.len()];
    for _ in 0..plan.rounds {
        for (contender, rounds) in contenders.iter().zip(&mut rounds) {
            if io::stderr().is_terminal() {
                eprint!("\r\x1b[K  {}: {}\r", table.id, contender.name);
            }
            match measure(contender) {
                Ok(values) => rounds.push(values),
                Err(error) if error.is::<NotStarted>() => {
                    let word = format!("{}: {error}", contender.name);
                    table.left_out.retain(|other| *other != word);
                    table.left_out.push(word);
                }
                Err(error) => {
                    let what = format!("{}: {error}", contender.name);
                    table.failures.push(Failure { is_ours: contender.is_ours(), what });
                }
            }
        }
    }
    if contenders.iter().any(|contender| contender.kind.is_ours() && !contender.is_ours()) {
        table.notes.extend(processor_times(plan.rounds));
    }
    for (contender, rounds) in contenders.iter().zip(rounds) {
        if let Some(values) = medians(&rounds) {
            let kind = Some(contender.kind).filter(|kind| !kind.is_floor());
            let promise = kind.map(|kind| kind.promise(disk));
            table.lines.push(Line { name: contender.name.clone(), kind, promise, values });
        }
    }
}

/// The median of each column.
pub(crate) fn medians(rounds: &[Vec<f64>]) -> Option<Vec<f64>> {
    let columns = rounds.first()?.len();
    let of = |column: usize| {
        let mut values: Vec<f64> = rounds.iter().map(|round| round[column]).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Some((0..columns).map(of).collect())
}

/// A count as people write it.
pub(crate) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let first = (digits.len() - 1) % 3 + 1;
    let mut text = digits[..first].to_owned();
    for index in (first..digits.len()).step_by(3) {
        let _ = write!(text, ",{}", &digits[index..index + 3]);
    }
    text
}

/// The time that so many of a thousand did not pass.
pub(crate) fn percentile(times: &mut [Duration], per_thousand: usize) -> f64 {
    times.sort_unstable();
    let index = (times.len() * per_thousand / 1000).min(times.len().saturating_sub(1));
    times.get(index).map_or(f64::NAN, Duration::as_secs_f64)
}

/// The median time, and the one that 99 of 100 did not pass.
pub(crate) fn p50_and_p99(times: &mut [Duration]) -> [f64; 2] {
    [percentile(times, 500), percentile(times, 990)]
}
