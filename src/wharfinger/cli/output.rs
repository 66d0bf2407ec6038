//! Output of commands.

use std::io::{self, Write as _};

/// Writes to stdout.
pub(super) fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Rows with columns of equal width. The last column has what it has. Characters that could control
/// a terminal are replaced.
pub(super) fn aligned<const COUNT: usize>(rows: &[[String; COUNT]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: [usize; COUNT] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        let line = cells.join("  ");
        let shown = line.trim_end().chars();
        text.extend(shown.map(|one| if one.is_control() { '\u{FFFD}' } else { one }));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "b", ""], ["long", "c\u{1b}", "rest"]];
        let rows = rows.map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), "a     b\nlong  c\u{FFFD}  rest\n");
    }
}
