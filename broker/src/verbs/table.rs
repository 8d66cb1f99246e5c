//! A table: aligned with a head on a terminal, else separated by tabs.

use std::io::{self, Write};

/// Rows of cells. No cell holds a tab or a line break.
pub(super) struct Table<const N: usize> {
    head: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(head: &[&'static str; N]) -> Table<N> {
        Table { head: *head, rows: Vec::new() }
    }

    pub(super) fn add(&mut self, row: [String; N]) {
        self.rows.push(row);
    }

    /// Writes all rows; with `for_people`, each column is as wide as its widest cell.
    pub(super) fn write(&self, out: &mut impl Write, for_people: bool) -> io::Result<()> {
        let mut text = String::new();
        if for_people {
            let head = self.head.map(str::to_owned);
            let lines = || std::iter::once(&head).chain(&self.rows);
            let mut widths = [0; N];
            for line in lines() {
                for (width, cell) in widths.iter_mut().zip(line) {
                    *width = cell.chars().count().max(*width);
                }
            }
            for line in lines() {
                let cells = line.iter().zip(widths);
                let padded: Vec<_> = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
                text.push_str(padded.join("  ").trim_end());
                text.push('\n');
            }
        } else {
            for row in &self.rows {
                text.push_str(&row.join("\t"));
                text.push('\n');
            }
        }
        out.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(for_people: bool) -> String {
        let mut table = Table::new(&["TOPIC", "MESSAGES"]);
        table.add(["a longer name".to_owned(), "1".to_owned()]);
        table.add(["b".to_owned(), "1234567890".to_owned()]);
        let mut out = Vec::new();
        table.write(&mut out, for_people).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn people_get_columns_and_programs_get_tabs() {
        let lines = ["TOPIC          MESSAGES", "a longer name  1", "b              1234567890"];
        assert_eq!(written(true).lines().collect::<Vec<_>>(), lines);
        assert_eq!(written(false), "a longer name\t1\nb\t1234567890\n");
    }
}
