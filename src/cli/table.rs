//! Tables that fit the terminal: less important columns are left out of a narrow one,
//! and only flowing columns are wrapped.

use comfy_table::{
    Attribute, Cell as ComfyCell, CellAlignment, Color, ColumnConstraint, ContentArrangement,
    Width, presets::NOTHING,
};

use super::{format, output::Look};

/// Minimum width of a terminal that shows the wide columns. Fixed: of the command line,
/// which has no settings.
const WIDE: u16 = 120;
/// Spaces between two columns. Fixed: of the command line, which has no settings.
const GAP: u16 = 2;
/// Minimum width of a flowing column, even where the terminal is too narrow for the
/// table: long lines are easier to read than columns of letters. Fixed: of the command
/// line, which has no settings.
const LEAST_FLOW: u16 = 12;

/// The meaning of a cell's colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    /// None.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Something is under way, or not as it should be.
    Attention,
    /// Something is wrong.
    Bad,
    /// Less important.
    Faint,
}

/// A text and the meaning of its colour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Creates a cell with a tone.
    pub(super) fn new(text: impl Into<String>, tone: Tone) -> Self {
        let text = text.into();
        Self { text, tone }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text.to_string(), Tone::Plain)
    }
}

/// Returns the text, or a dash if it is absent.
pub(super) fn or_dash(value: Option<impl ToString>) -> Cell {
    match value {
        Some(value) => value.to_string().into(),
        None => Cell::new("-", Tone::Faint),
    }
}

#[derive(Clone, Copy, Debug)]
enum Weight {
    Always,
    WideOnly,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    title: &'static str,
    weight: Weight,
    flows: bool,
    right: bool,
}

impl Column {
    /// Creates a column that is always shown and never wrapped.
    pub(super) const fn new(title: &'static str) -> Self {
        Self {
            title,
            weight: Weight::Always,
            flows: false,
            right: false,
        }
    }

    /// Leaves the column out on a narrow terminal.
    pub(super) const fn wide(mut self) -> Self {
        self.weight = Weight::WideOnly;
        self
    }

    /// Wraps the column if the terminal is too narrow.
    pub(super) const fn flows(mut self) -> Self {
        self.flows = true;
        self
    }

    /// Aligns the column to the right, for numbers.
    pub(super) const fn right(mut self) -> Self {
        self.right = true;
        self
    }
}

/// A table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    with_titles: bool,
}

impl Table {
    /// Creates a table with a line of titles.
    pub(super) fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
            with_titles: true,
        }
    }

    /// Creates a table of one object, one field per line: names on the left, values on
    /// the right.
    pub(super) fn fields() -> Self {
        Self {
            with_titles: false,
            ..Self::new(&[Column::new(""), Column::new("").flows()])
        }
    }

    /// Adds a row, one cell per column.
    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Adds a field.
    pub(super) fn field(&mut self, name: &str, value: impl Into<Cell>) {
        self.row(vec![Cell::new(name, Tone::Faint), value.into()]);
    }

    /// Renders the text, with a final line feed.
    pub(super) fn render(&self, look: &Look) -> String {
        let wide = look.width.is_none_or(|width| width >= WIDE);
        let shown: Vec<usize> = (0..self.columns.len())
            .filter(|&i| wide || matches!(self.columns[i].weight, Weight::Always))
            .collect();
        let mut table = comfy_table::Table::new();
        table.load_style(NOTHING);
        match look.width {
            Some(width) => table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        if look.color {
            table.enforce_styling();
            table.style_text_only();
        } else {
            table.force_no_tty();
        }
        if self.with_titles {
            table.set_header(shown.iter().map(|&i| title(self.columns[i], look)));
        }
        for row in &self.rows {
            let cells = shown.iter().filter_map(|&i| row.get(i));
            table.add_row(cells.map(|cell| styled(cell, look)).collect::<Vec<_>>());
        }
        self.arrange(&mut table, &shown);
        let mut out = String::new();
        for line in table.lines() {
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    /// Returns the length of the longest cell of a column, including its title.
    fn content_width(&self, column: usize) -> u16 {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        let longest = cells.map(|cell| cell.text.chars().count()).max();
        let title = self.columns[column].title.len();
        u16::try_from(longest.unwrap_or(0).max(title)).unwrap_or(u16::MAX)
    }

    fn arrange(&self, table: &mut comfy_table::Table, shown: &[usize]) {
        for (at, &i) in shown.iter().enumerate() {
            let Some(column) = table.column_mut(at) else {
                continue;
            };
            let last = at + 1 == shown.len();
            column.set_padding((0, if last { 0 } else { GAP }));
            column.set_constraint(if self.columns[i].flows {
                let least = self.content_width(i).min(LEAST_FLOW) + if last { 0 } else { GAP };
                ColumnConstraint::LowerBoundary(Width::Fixed(least))
            } else {
                ColumnConstraint::ContentWidth
            });
            if self.columns[i].right {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
}

fn title(column: Column, look: &Look) -> ComfyCell {
    let cell = ComfyCell::new(column.title);
    if look.color {
        cell.add_attribute(Attribute::Bold)
    } else {
        cell
    }
}

fn styled(cell: &Cell, look: &Look) -> ComfyCell {
    let out = ComfyCell::new(format::printable(&cell.text));
    match cell.tone {
        _ if !look.color => out,
        Tone::Plain => out,
        Tone::Good => out.fg(Color::Green),
        Tone::Attention => out.fg(Color::Yellow),
        Tone::Bad => out.fg(Color::Red),
        Tone::Faint => out.add_attribute(Attribute::Dim),
    }
}

#[cfg(test)]
mod tests {
    use deia_model::Timestamp;

    use super::*;

    fn look(width: Option<u16>, color: bool) -> Look {
        Look {
            color,
            width,
            now: Timestamp::from_millis(0),
        }
    }

    fn table() -> Table {
        let mut table = Table::new(&[
            Column::new("ID"),
            Column::new("N").right(),
            Column::new("PORT").wide(),
            Column::new("TEXT").flows(),
        ]);
        let text = "word ".repeat(30);
        table.row(vec![
            "task_01h455vb4pex5vsknk084sn02q".into(),
            7.into(),
            8001.into(),
            text.into(),
        ]);
        table
    }

    #[test]
    fn fits_and_keeps_ids_whole() {
        for width in [80, 120, 160] {
            let text = table().render(&look(Some(width), false));
            assert!(text.contains("task_01h455vb4pex5vsknk084sn02q"), "{text}");
            assert_eq!(text.contains("8001"), width >= 120, "{text}");
            for line in text.lines() {
                assert!(line.chars().count() <= usize::from(width), "{text}");
                assert_eq!(line, line.trim_end());
            }
        }
        assert_eq!(table().render(&look(None, false)).lines().count(), 2);
    }

    #[test]
    fn a_terminal_that_is_too_narrow_gets_long_lines() {
        let text = table().render(&look(Some(20), false));
        let first = text.lines().nth(1).unwrap_or_default();
        assert!(
            first.contains("sn02q") && first.ends_with("word word"),
            "{text}"
        );
    }

    #[test]
    fn colour_only_when_wanted_and_control_characters_never() {
        let mut table = Table::new(&[Column::new("A")]);
        table.row(vec![Cell::new("x\u{1b}[31m", Tone::Bad)]);
        let plain = table.render(&look(None, false));
        assert_eq!(plain, "A\nx\\u001b[31m\n");
        let colored = table.render(&look(None, true));
        assert!(colored.contains("\u{1b}["), "{colored:?}");
        assert!(!colored.contains("x\u{1b}[31m"), "{colored:?}");
    }

    #[test]
    fn fields_are_a_line_each() {
        let mut table = Table::fields();
        table.field("name", "upper-1");
        table.field("status", Cell::new("healthy", Tone::Good));
        let text = table.render(&look(Some(80), false));
        assert_eq!(text, "name    upper-1\nstatus  healthy\n");
    }
}
