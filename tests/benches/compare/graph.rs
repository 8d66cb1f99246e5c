//! The tables as one drawing: a panel for each column, a bar for each contender.

use crate::report::{Column, Line, Table};
use std::fmt::Write as _;

const WIDTH: usize = 860;
const LABEL_WIDTH: usize = 250;
const BAR_HEIGHT: usize = 16;
const STEP: usize = 21;

/// The longest bar; figures stand behind it.
const BAR_WIDTH: usize = WIDTH - LABEL_WIDTH - 100;

/// Draws all tables.
pub(crate) fn svg(tables: &[Table]) -> String {
    let mut body = String::new();
    let mut top = 10;
    for table in tables {
        for (index, column) in table.columns.iter().enumerate() {
            top = panel(&mut body, table, column, index, top + 20);
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <style>\n\
         svg {{ background: #fff }} text {{ fill: #222 }} .title {{ font-weight: 600 }}\n\
         .ours {{ fill: #2563eb }} .peer {{ fill: #9ca3af }} .floor {{ fill: #e5b95c }}\n\
         @media (prefers-color-scheme: dark) {{\n\
         svg {{ background: #111 }} text {{ fill: #ddd }} .peer {{ fill: #6b7280 }} }}\n\
         </style>\n{body}</svg>\n",
        height = top + 10,
    )
}

/// Draws one column, the best first. Gives where it ends.
fn panel(body: &mut String, table: &Table, column: &Column, index: usize, top: usize) -> usize {
    let value = |line: &Line| line.values.get(index).copied().unwrap_or(0.0);
    let mut lines: Vec<&Line> = table.lines.iter().filter(|line| value(line) > 0.0).collect();
    lines.sort_unstable_by(|one, other| value(one).total_cmp(&value(other)));
    let better = if column.unit.more_is_better() {
        lines.reverse();
        "more is better"
    } else {
        "less is better"
    };
    let largest = lines.iter().map(|line| value(line)).fold(0.0, f64::max);
    let Table { id, title, .. } = table;
    let _ = writeln!(
        body,
        "<text class=\"title\" x=\"10\" y=\"{top}\">{id}: {title} ({}; {better})</text>",
        column.name
    );
    let mut y = top + 10;
    for line in lines {
        let class = match line.kind {
            Some(kind) if kind.is_ours() => "ours",
            Some(_) => "peer",
            None => "floor",
        };
        let width = value(line) / largest * BAR_WIDTH as f64;
        let text_y = y + 12;
        let label_x = LABEL_WIDTH - 8;
        let figure_x = LABEL_WIDTH as f64 + width + 6.0;
        let (name, figure) = (&line.name, column.unit.show(value(line)));
        let _ = writeln!(
            body,
            "<text x=\"{label_x}\" y=\"{text_y}\" text-anchor=\"end\">{name}</text>\
             <rect class=\"{class}\" x=\"{LABEL_WIDTH}\" y=\"{y}\" width=\"{width:.1}\" \
             height=\"{BAR_HEIGHT}\" rx=\"2\"/>\
             <text x=\"{figure_x:.1}\" y=\"{text_y}\">{figure}</text>"
        );
        y += STEP;
    }
    y + 10
}
