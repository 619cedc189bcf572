//! The mode and the features as tables.

use deia_model::{
    DegradationStatus, FeatureState, FeatureStatus, Level, Mode, SignalState, SignalStatus,
};

use crate::cli::{
    format,
    output::Look,
    table::{Cell, Column, Table, Tone, or_dash},
};

pub(super) fn status(status: &DegradationStatus, look: &Look) -> String {
    let mut table = Table::fields();
    table.field(
        "mode",
        Cell::new(status.mode.as_str(), tone(status.mode, status.level)),
    );
    let level = format!("{} ({})", status.level, status.effect);
    table.field("level", level);
    table.field("since", format::when(status.since, look.now));
    table.field("why", status.why.as_str());
    table.field("signals", signals_level(status));
    if let Some(operator) = &status.operator {
        let set = format!(
            "level {} set by {} until {}: {}",
            operator.level,
            operator.by,
            format::when(operator.until, look.now),
            operator.reason
        );
        table.field("operator", set);
    }
    let shed: Vec<_> = status.shed.iter().map(|feature| feature.as_str()).collect();
    let shed = match shed.as_slice() {
        [] => "no features".to_owned(),
        shed => shed.join(", "),
    };
    table.field("shed", shed);
    format!("{}\n{}", table.render(look), signals(&status.signals, look))
}

fn signals_level(status: &DegradationStatus) -> String {
    match status.enabled {
        true => format!("they demand level {}", status.signals_level),
        false => "they are only shown (degradation.enabled is false)".to_owned(),
    }
}

/// Returns the mode with its level, for the views of the whole hive.
pub(in crate::cli) fn mode(mode: Mode, level: Level) -> Cell {
    match mode {
        Mode::Full => Cell::new(mode.as_str(), Tone::Good),
        _ => {
            let text = format!("{}, level {level}: {}", mode.as_str(), level.effect());
            Cell::new(text, tone(mode, level))
        }
    }
}

fn tone(mode: Mode, level: Level) -> Tone {
    match (mode, level) {
        (Mode::Full, _) => Tone::Good,
        (_, Level::READ_ONLY) => Tone::Bad,
        _ => Tone::Attention,
    }
}

fn signals(signals: &[SignalStatus], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("SIGNAL"),
        Column::new("STATE"),
        Column::new("SINCE"),
        Column::new("READING").flows(),
    ]);
    for signal in signals {
        let tone = match signal.state {
            SignalState::Over => Tone::Bad,
            SignalState::Between if signal.tripped => Tone::Attention,
            SignalState::Unknown => Tone::Faint,
            SignalState::Between | SignalState::Clear => Tone::Plain,
        };
        table.row(vec![
            signal.signal.as_str().into(),
            Cell::new(signal.state.as_str(), tone),
            format::when(signal.since, look.now).into(),
            signal.reading.as_str().into(),
        ]);
    }
    table.render(look)
}

pub(super) fn features(features: &[FeatureStatus], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("FEATURE"),
        Column::new("STATE"),
        Column::new("SHED AT").right(),
        Column::new("SINCE"),
        Column::new("WHY").flows(),
        Column::new("COMES BACK WITH").flows(),
    ]);
    for feature in features {
        let tone = match feature.state {
            FeatureState::On => Tone::Good,
            FeatureState::Off => Tone::Attention,
            FeatureState::Absent => Tone::Faint,
        };
        let since = feature.since.map(|at| format::when(at, look.now));
        table.row(vec![
            feature.feature.as_str().into(),
            Cell::new(feature.state.as_str(), tone),
            or_dash(feature.shed_at),
            or_dash(since),
            feature.why.as_str().into(),
            or_dash(feature.returns.as_deref()),
        ]);
    }
    table.render(look)
}
