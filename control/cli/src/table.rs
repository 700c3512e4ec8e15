//! Text in columns, without lines round it: easy on the eye, on `grep` and on `awk`.

/// Which side of its column a cell keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table under construction.
#[derive(Debug)]
pub(crate) struct Table {
    aligns: Vec<Align>,
    rows: Vec<Row>,
}

#[derive(Debug)]
enum Row {
    Cells(Vec<String>),
    /// A line of its own, which no column widens for.
    Line(String),
}

/// Blanks between columns.
const GAP: &str = "  ";

impl Table {
    /// A table with these headings; one that begins with `>` heads numbers, kept to the right.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let align = |heading: &&str| match heading.starts_with('>') {
            true => Align::Right,
            false => Align::Left,
        };
        let bare = |heading: &&str| heading.trim_start_matches('>').to_owned();
        Table {
            aligns: headings.iter().map(align).collect(),
            rows: vec![Row::Cells(headings.iter().map(bare).collect())],
        }
    }

    /// Adds a row of cells.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.aligns.len());
        self.rows.push(Row::Cells(cells.into()));
    }

    /// Adds a line that stands outside the columns.
    pub(crate) fn line(&mut self, line: String) {
        self.rows.push(Row::Line(line));
    }

    /// The table as text.
    pub(crate) fn render(&self) -> String {
        let mut widths = vec![0; self.aligns.len()];
        for row in &self.rows {
            if let Row::Cells(cells) = row {
                for (width, cell) in widths.iter_mut().zip(cells) {
                    *width = (*width).max(cell.chars().count());
                }
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let line = match row {
                Row::Line(line) => line.clone(),
                Row::Cells(cells) => {
                    let padded = cells.iter().zip(&widths).zip(&self.aligns);
                    let padded = padded.map(|((cell, width), align)| match align {
                        Align::Left => format!("{cell:<width$}"),
                        Align::Right => format!("{cell:>width$}"),
                    });
                    padded.collect::<Vec<_>>().join(GAP)
                }
            };
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}
