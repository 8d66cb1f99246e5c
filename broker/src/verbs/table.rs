//! A table: aligned with a head on a terminal, else separated by tabs.

use std::iter;

/// Writes rows of cells, none of which holds a tab or a line break. For people, each column is as
/// wide as its widest cell.
pub(super) fn write(head: Vec<String>, rows: &[Vec<String>], for_people: bool) -> String {
    if !for_people {
        return rows.iter().map(|row| row.join("\t") + "\n").collect();
    }
    let lines = || iter::once(&head).chain(rows);
    let width = |column: usize| {
        let cells = lines().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths);
        let padded: Vec<_> = cells.map(|(cell, &width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_columns_and_programs_get_tabs() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let rows = [row(["a longer name", "1"]), row(["b", "1234567890"])];
        let written = |for_people| write(row(["TOPIC", "MESSAGES"]), &rows, for_people);
        let lines = ["TOPIC          MESSAGES", "a longer name  1", "b              1234567890"];
        assert_eq!(written(true).lines().collect::<Vec<_>>(), lines);
        assert_eq!(written(false), "a longer name\t1\nb\t1234567890\n");
    }
}
