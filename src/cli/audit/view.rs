//! Records, checkpoints and statistics as tables.

use deia_model::{
    AuditCheckpoint, AuditCount, AuditCounts, AuditRecord, AuditStatistics, EventLevel, EventResult,
};

use crate::cli::{
    format,
    output::Look,
    table::{Cell, Column, Table, Tone, or_dash},
    task,
};

pub(super) fn records(records: &[AuditRecord], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("TIME"),
        Column::new("LEVEL"),
        Column::new("ACTION"),
        Column::new("ACTOR").flows(),
        Column::new("TARGET").flows(),
        Column::new("RESULT"),
        Column::new("ENTRY").right().wide(),
        Column::new("DETAILS").flows().wide(),
    ]);
    for record in records {
        table.row(vec![
            record.at.into(),
            Cell::new(record.level.as_str(), of_level(record.level)),
            format::one_line(&record.action).into(),
            format::one_line(&record.actor).into(),
            format::one_line(&record.target.id).into(),
            Cell::new(record.result.as_str(), of_result(record.result)),
            record.index.into(),
            details(record),
        ]);
    }
    table.render(look)
}

/// Returns a record that is shown as it comes: the columns of [`records`], with fixed widths.
pub(super) fn line(record: &AuditRecord) -> String {
    let line = format!(
        "{}  {:<8}  {:<16}  {:<8}  {:<31}  {:<7}  {}",
        record.at,
        record.level.as_str(),
        format::one_line(&record.action),
        format::one_line(&record.actor),
        format::one_line(&record.target.id),
        record.result.as_str(),
        told(record)
    );
    format::printable(line.trim_end())
}

fn details(record: &AuditRecord) -> Cell {
    let tone = match record.erased {
        true => Tone::Faint,
        false => Tone::Plain,
    };
    Cell::new(told(record), tone)
}

fn told(record: &AuditRecord) -> String {
    match record.erased {
        true => "erased".to_owned(),
        false => format::beginning(&task::more(&record.details)),
    }
}

fn of_level(level: EventLevel) -> Tone {
    match level {
        EventLevel::Info => Tone::Plain,
        EventLevel::Warning => Tone::Attention,
        EventLevel::Critical => Tone::Bad,
    }
}

fn of_result(result: EventResult) -> Tone {
    match result {
        EventResult::Success => Tone::Plain,
        EventResult::Partial => Tone::Attention,
        EventResult::Failure => Tone::Bad,
    }
}

pub(super) fn checkpoint(checkpoint: &AuditCheckpoint, look: &Look) -> String {
    let mut table = Table::fields();
    table.field("origin", checkpoint.origin.as_str());
    table.field("entries", checkpoint.size);
    table.field("root", checkpoint.root.as_str());
    let sealed = checkpoint.sealed_at;
    table.field(
        "signed",
        or_dash(sealed.map(|at| format::when_exactly(at, look.now))),
    );
    table.field("events that wait", checkpoint.lag_events);
    table.field("behind by", format::millis(checkpoint.lag_ms));
    if let Some(reason) = &checkpoint.failing {
        table.field("failing", Cell::new(format::short(reason), Tone::Bad));
    }
    for key in &checkpoint.keys {
        table.field("verifier key", key.as_str());
    }
    table.render(look)
}

/// Returns the numbers: as many actions, actors and last spans as `top` says.
pub(super) fn statistics(statistics: &AuditStatistics, top: usize, look: &Look) -> String {
    let mut table = Table::fields();
    table.field("from", statistics.after);
    table.field("to", statistics.before);
    table.field("entries", statistics.entries);
    let behind = statistics.size.saturating_sub(statistics.indexed_upto);
    if behind > 0 {
        table.field(
            "not counted yet",
            Cell::new(behind.to_string(), Tone::Attention),
        );
    }
    [
        table.render(look),
        counts("ACTION", &statistics.by_action, top, look),
        counts("ACTOR", &statistics.by_actor, top, look),
        rows("LEVEL", &statistics.by_level, None, look),
        rows("RESULT", &statistics.by_result, None, look),
        spans(statistics, top, look),
    ]
    .join("\n")
}

fn counts(title: &'static str, counts: &AuditCounts, top: usize, look: &Look) -> String {
    let shown = &counts.top[..counts.top.len().min(top)];
    let rest = counts.top[shown.len()..].iter().map(|count| count.entries);
    let others = counts.others + rest.sum::<u64>();
    rows(title, shown, (others > 0).then_some(others), look)
}

fn rows(title: &'static str, counts: &[AuditCount], others: Option<u64>, look: &Look) -> String {
    let mut table = Table::new(&[Column::new(title).flows(), Column::new("ENTRIES").right()]);
    for count in counts {
        table.row(vec![
            format::one_line(&count.name).into(),
            count.entries.into(),
        ]);
    }
    if let Some(others) = others {
        table.row(vec![Cell::new("(others)", Tone::Faint), others.into()]);
    }
    table.render(look)
}

fn spans(statistics: &AuditStatistics, top: usize, look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("FROM"),
        Column::new("ENTRIES").right(),
        Column::new("WARNING").right(),
        Column::new("CRITICAL").right(),
    ]);
    let hidden = statistics.by_time.len().saturating_sub(top);
    for span in &statistics.by_time[hidden..] {
        table.row(vec![
            span.at.into(),
            span.entries.into(),
            span.warning.into(),
            span.critical.into(),
        ]);
    }
    table.render(look)
}

#[cfg(test)]
pub(super) mod tests;
