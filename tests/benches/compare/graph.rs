//! Draws the tables for people who have never seen them: a panel for each row, with one of its
//! columns, and a bar for each kind of contender.
//!
//! Only the best way of the broker, and the best version of each kind of peer, is drawn. The text
//! at the end of a bar compares that contender with the broker. Texts have room for DejaVu, the
//! widest of the usual fonts.

use crate::peers::Promise;
use crate::report::{Line, Table, Unit};
use std::fmt::Write as _;

const WIDTH: usize = 1000;
const MARGIN: usize = 24;
const GUTTER: usize = 32;

/// Panels stand in two columns.
const PANEL_WIDTH: usize = (WIDTH - 2 * MARGIN - GUTTER) / 2;

/// Names stand before bars, figures behind them, comparisons at the end.
const NAME_WIDTH: usize = 186;
const BAR_WIDTH: usize = PANEL_WIDTH - NAME_WIDTH - 166;

/// Where panels begin, below title and legend.
const TOP: usize = 138;
/// A title, and two lines below it.
const HEAD_HEIGHT: usize = 60;
const STEP: usize = 20;
const BAR_HEIGHT: usize = 14;
const PANEL_GAP: usize = 22;

const STYLE: &str = "\
    .page { fill: #ffffff } text { fill: #1f2328 } .muted { fill: #59636e } \
    .title { font-size: 20px; font-weight: 600 } .head { font-size: 13px; font-weight: 600 } \
    .ours { fill: #1f6feb } text.ours { fill: #0a57c2 } \
    .peer { fill: #8c959f } .less { fill: #ffffff; stroke: #8c959f; stroke-dasharray: 3 2 } \
    .floor { fill: #d4a72c } .rule { stroke: #d1d9e0 }\n\
    @media (prefers-color-scheme: dark) { \
    .page { fill: #0d1117 } text { fill: #e6edf3 } .muted { fill: #9198a1 } \
    .ours { fill: #4493f8 } text.ours { fill: #79b8ff } \
    .peer { fill: #656c76 } .less { fill: #0d1117; stroke: #9198a1 } \
    .floor { fill: #bb8009 } .rule { stroke: #3d444d } }";

/// Draws the tables that have a place in the drawing; `surroundings` says where and when they
/// were measured.
pub(crate) fn svg(tables: &[Table], surroundings: &str) -> String {
    let mut body = String::new();
    let mut bottoms = [TOP; 2];
    for table in tables.iter().filter(|table| table.headline.is_some()) {
        // The shorter column has the next one.
        let column = usize::from(bottoms[1] < bottoms[0]);
        let left = MARGIN + column * (PANEL_WIDTH + GUTTER);
        bottoms[column] = panel(&mut body, table, left, bottoms[column]) + PANEL_GAP;
    }
    let height = bottoms[0].max(bottoms[1]) + MARGIN - PANEL_GAP;
    let top = TOP - 26;
    let right = WIDTH - MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"The broker beside its peers\" \
         font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif\" \
         font-size=\"12\">\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"38\">The broker beside its peers</text>\n\
         <text class=\"muted\" x=\"{MARGIN}\" y=\"58\">{}. Each is \
         compared with the broker. All figures: results.md</text>\n{}\
         <line class=\"rule\" x1=\"{MARGIN}\" y1=\"{top}\" x2=\"{right}\" y2=\"{top}\"/>\n\
         {body}</svg>\n",
        escape(surroundings),
        legend(),
    )
}

/// What the colours mean, in two lines.
fn legend() -> String {
    let meanings = [
        ("ours", "this broker, used in its best way"),
        ("peer", "a peer that promises the same"),
        ("less", "a peer that promises less: no answer, or nothing kept"),
        ("floor", "the machine alone"),
    ];
    let mut text = String::new();
    for (index, (class, meaning)) in meanings.into_iter().enumerate() {
        let left = MARGIN + index / 2 * (PANEL_WIDTH + GUTTER);
        let top = 70 + index % 2 * 20;
        let _ = writeln!(
            text,
            "<rect class=\"{class}\" x=\"{left}.5\" y=\"{top}.5\" width=\"16\" height=\"9\" \
             rx=\"2\"/><text class=\"muted\" x=\"{}\" y=\"{}\">{meaning}</text>",
            left + 23,
            top + 9,
        );
    }
    text
}

/// Draws one table, the best first. Gives where it ends.
fn panel(body: &mut String, table: &Table, left: usize, top: usize) -> usize {
    let index = table.headline.unwrap_or(0);
    let Some(column) = table.columns.get(index) else { return top };
    let lines = best_lines(table, index);
    let value = |line: &Line| line.values.get(index).copied().unwrap_or(0.0);
    let largest = lines.iter().map(|line| value(line)).fold(0.0, f64::max);
    let ours = lines.iter().copied().find(|line| is_ours(line));
    let better = if column.unit.more_is_better() { "longer" } else { "shorter" };
    let (title, rest) = table.title.split_once(", ").unwrap_or((&table.title, ""));
    let subject = [rest, &column.name.replace("p50", "median")].join("; ");
    let _ = writeln!(
        body,
        "<text class=\"head\" x=\"{left}\" y=\"{}\">{}</text>\
         <text class=\"muted\" x=\"{left}\" y=\"{}\">{}</text>\
         <text class=\"muted\" x=\"{left}\" y=\"{}\">row {}; {better} is better</text>",
        top + 12,
        escape(&capital(title)),
        top + 29,
        escape(subject.trim_start_matches("; ")),
        top + 45,
        table.id,
    );
    let mut y = top + HEAD_HEIGHT;
    for line in lines {
        let class = match (line.kind, ours) {
            (None, _) => "floor",
            _ if is_ours(line) => "ours",
            (_, Some(ours)) if !covers(line.promise, ours.promise) => "less",
            _ => "peer",
        };
        let (bar, text) = (left + NAME_WIDTH, y + 11);
        let width = (value(line) / largest * BAR_WIDTH as f64).max(1.0);
        let figure = bar as f64 + width + 7.0;
        let emphasis = if is_ours(line) { " class=\"ours\"" } else { "" };
        let comparison = match ours {
            Some(ours) if !is_ours(line) => compare(column.unit, value(line) / value(ours)),
            _ => String::new(),
        };
        let _ = writeln!(
            body,
            "<text{emphasis} x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{bar}\" y=\"{y}\" width=\"{width:.1}\" \
             height=\"{BAR_HEIGHT}\" rx=\"2\"/>\
             <text{emphasis} x=\"{figure:.1}\" y=\"{text}\">{}</text>\
             <text class=\"muted\" x=\"{}\" y=\"{text}\" text-anchor=\"end\">{comparison}</text>",
            bar - 8,
            escape(short_name(line)),
            column.unit.show(value(line)),
            left + PANEL_WIDTH,
        );
        y += STEP;
    }
    y
}

/// The best line of the broker, of each kind of peer, and each of the machine itself, best first.
fn best_lines(table: &Table, column: usize) -> Vec<&Line> {
    let more = table.columns.get(column).is_some_and(|column| column.unit.more_is_better());
    let value = |line: &Line| line.values.get(column).copied().unwrap_or(f64::NAN);
    let is_drawn = |line: &&Line| value(line) > 0.0 && (is_ours(line) || !is_a_broker(line));
    let mut lines: Vec<&Line> = table.lines.iter().filter(is_drawn).collect();
    lines.sort_by(|one, other| value(one).total_cmp(&value(other)));
    if more {
        lines.reverse();
    }
    let mut best: Vec<&Line> = Vec::new();
    for line in lines {
        let is_same = |other: &&Line| {
            is_ours(line) && is_ours(other) || line.kind.is_some() && line.kind == other.kind
        };
        if !best.iter().any(is_same) {
            best.push(line);
        }
    }
    best
}

fn is_ours(line: &Line) -> bool {
    line.counterparts().is_some()
}

/// Whether it is this or another build of the broker.
fn is_a_broker(line: &Line) -> bool {
    line.kind.is_some_and(|kind| kind.is_ours())
}

/// Whether a promise holds all that another holds.
fn covers(one: Option<Promise>, other: Option<Promise>) -> bool {
    one.zip(other).is_none_or(|(one, other)| {
        one.acknowledged >= other.acknowledged
            && one.stored >= other.stored
            && one.synced >= other.synced
    })
}

/// A name without the version.
fn short_name(line: &Line) -> &str {
    let is_version = |word: &str| word.starts_with(|char: char| char.is_ascii_digit());
    match line.name.rsplit_once(' ') {
        Some((name, word)) if is_version(word) && !is_ours(line) => name,
        _ => &line.name,
    }
}

/// How a figure compares with the broker's, `ratio` times which it is.
fn compare(unit: Unit, ratio: f64) -> String {
    let (larger, smaller) = match unit {
        Unit::PerSecond | Unit::BytesPerSecond => ("faster", "slower"),
        Unit::Seconds => ("slower", "faster"),
        Unit::Bytes => ("larger", "smaller"),
    };
    let (factor, word) = if ratio > 1.0 { (ratio, larger) } else { (1.0 / ratio, smaller) };
    match factor {
        ..1.05 => "the same".to_owned(),
        1.05..9.95 => format!("{factor:.1} × {word}"),
        _ => format!("{factor:.0} × {word}"),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
