//! The report of a restore in words.

use deia_model::{ComparedWith, RestoreReport};

/// Tasks that are listed in words. Fixed: a line of a terminal; the JSON has more.
const TASKS_SHOWN: usize = 5;
/// Pieces of access that are listed in words. Fixed: each wants to be looked at, and a screen has no
/// space for more; the JSON has more.
const ACCESS_SHOWN: usize = 20;

/// Returns the lines of a report: its subject, and its words.
pub(super) fn rows(report: &RestoreReport) -> Vec<(&'static str, String)> {
    let (lost, repeats) = (&report.lost, &report.repeats);
    if report.compared_with == ComparedWith::Nothing {
        return vec![(
            "lost",
            "nothing later was there to compare with: not known".to_owned(),
        )];
    }
    let least = match lost.is_complete {
        true => "",
        false => "at least ",
    };
    let mut rows = vec![(
        "lost",
        match lost.events {
            0 => "nothing".to_owned(),
            events => format!(
                "{events} events of {} s, up to {}; {least}{} submitted tasks, {least}{} ended ones; {} new keys",
                lost.seconds,
                lost.up_to.as_deref().unwrap_or("-"),
                lost.tasks_submitted,
                lost.tasks_ended,
                lost.keys,
            ),
        },
    )];
    let tasks: Vec<_> = repeats.tasks.iter().take(TASKS_SHOWN).collect();
    let tasks: Vec<_> = tasks.into_iter().map(ToString::to_string).collect();
    let more = match repeats.tasks_total > tasks.len() as u64 {
        true => ", ...",
        false => "",
    };
    let list = match tasks.is_empty() {
        true => String::new(),
        false => format!(" ({}{more})", tasks.join(", ")),
    };
    rows.push((
        "may repeat",
        format!(
            "{least}{} tasks that had begun run again{list}; {} webhook deliveries",
            repeats.tasks_total, repeats.deliveries
        ),
    ));
    for it in report.valid_again.iter().take(ACCESS_SHOWN) {
        let of = match &it.user {
            Some(user) if *user != it.id => format!(" of {user}"),
            _ => String::new(),
        };
        let text = format!("{} {}{of}: {}", it.kind.as_str(), it.id, it.change);
        rows.push(("valid again", text));
    }
    let shown = report.valid_again.len().min(ACCESS_SHOWN) as u64;
    if report.valid_again_total > shown {
        let text = format!("and {} more", report.valid_again_total - shown);
        rows.push(("valid again", text));
    }
    rows
}

/// Returns a report as lines of text.
pub(crate) fn report_lines(report: &RestoreReport) -> String {
    let lines = rows(report).into_iter();
    lines
        .map(|(subject, text)| format!("{subject}: {text}\n"))
        .collect()
}
