//! Aligned columns for people.

/// Rows under a heading.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    /// Columns without a heading.
    pub(super) fn bare() -> Self {
        Self { rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| clean(&cell)).collect());
    }

    /// The text, without a line end behind the last row.
    pub(super) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| chars(cell)).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let lines: Vec<String> = self.rows.iter().map(|row| render_row(row, &widths)).collect();
        lines.join("\n")
    }
}

fn render_row(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        line.push_str(cell);
        line.extend(std::iter::repeat_n(' ', width - chars(cell) + 2));
    }
    line.trim_end().to_owned()
}

fn chars(cell: &str) -> usize {
    cell.chars().count()
}

/// Texts of a plugin's author reach a terminal here: without control characters they can't move its cursor.
pub(super) fn clean(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["NAME", "VERSION", "SIZE"]);
        table.row(["größe", "1.0.0", "3 KiB"].map(str::to_owned));
        table.row(["x", "10.0.0-rc.1", ""].map(str::to_owned));
        assert_eq!(table.render(), "NAME   VERSION      SIZE\ngröße  1.0.0        3 KiB\nx      10.0.0-rc.1");
    }

    #[test]
    fn a_cell_stays_in_its_line() {
        let mut table = Table::bare();
        table.row(["a\u{1b}[2J\nb".to_owned()]);
        assert_eq!(table.render(), "a [2J b");
        assert_eq!(Table::bare().render(), "");
    }
}
