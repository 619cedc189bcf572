//! Decisions of a start about the versions that an earlier run has left. Pure.

use deia_ledger::{SettingsRecord, SettledVersion, StoredSettings};
use deia_model::{SettingsOutcome, Timestamp};

use super::{
    content::Content,
    probation::{self, Open},
};

/// The versions at a start, before its settings apply.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// The version to start with: its number and content.
    pub(super) basis: Option<(StoredSettings, Content)>,
    /// The version that is put back if that one is taken back.
    pub(super) confirmed: Option<(u64, Content)>,
    /// Versions that stay on probation.
    pub(super) open: Vec<Open>,
    /// New states of versions.
    pub(super) settle: Vec<SettledVersion>,
    /// Versions that were taken back or never applied, each with the reason.
    pub(super) reverted: Vec<(u64, String)>,
    /// Hash of the content of the settings file that is not to be used.
    pub(super) rejected: Option<String>,
    /// Reason of the last time that settings were taken back.
    pub(super) taken_back: Option<String>,
    /// The version on probation under which a run ended that did not end in order.
    pub(super) ended_under: Option<String>,
}

/// Decides about the versions: those that nobody confirmed in time, those with which the tree
/// gave up or two runs did not end in order, and those that were never applied are taken back.
pub(super) fn plan(record: &SettingsRecord, gave_up: Option<Timestamp>, now: Timestamp) -> Plan {
    let mut plan = Plan {
        rejected: record.rejected.clone(),
        taken_back: record.taken_back.clone(),
        ..Plan::default()
    };
    let mut open = Vec::new();
    for stored in &record.open {
        let number = stored.version.version;
        match Open::of(&stored.version, Content::read(&stored.content)) {
            Some(on_probation) => open.push((stored.clone(), on_probation)),
            None => {
                let reason = "the hive ended before it was applied".to_owned();
                plan.settle.push(SettledVersion {
                    reason: Some(reason.clone()),
                    ..SettledVersion::to(number, SettingsOutcome::Failed)
                });
                plan.reverted.push((number, reason));
            }
        }
    }
    let states: Vec<Open> = open.iter().map(|(_, open)| open.clone()).collect();
    let stays = take_back(&mut plan, record, &states, gave_up, now);
    let passed = probation::passed(&states[..stays], now);
    for it in &states[..passed] {
        let settled = SettledVersion::to(it.version, SettingsOutcome::Confirmed);
        plan.settle.push(settled);
    }
    let confirmed = record.confirmed.clone();
    let confirmed = confirmed.map(|stored| {
        let content = Content::read(&stored.content);
        (stored, content)
    });
    let of_open = |(stored, open): &(StoredSettings, Open)| (stored.clone(), open.content.clone());
    let confirmed = open[..passed].last().map(of_open).or(confirmed);
    plan.basis = open[..stays].last().map(of_open).or(confirmed.clone());
    plan.confirmed = confirmed.map(|(stored, content)| (stored.version.version, content));
    plan.open = states[passed..stays].to_vec();
    let basis_hash = plan.basis.as_ref().map(|(_, content)| &content.file_hash);
    let last = states.last().map(|it| &it.content.file_hash);
    if let Some(Some(hash)) = last.filter(|hash| stays < states.len() && basis_hash != Some(hash)) {
        plan.rejected = Some(hash.clone());
    }
    plan
}

/// Returns how many of the versions on probation are not taken back, and notes the others.
fn take_back(
    plan: &mut Plan,
    record: &SettingsRecord,
    open: &[Open],
    gave_up: Option<Timestamp>,
    now: Timestamp,
) -> usize {
    let late = probation::unconfirmed(open, now).map(|at| (at, "nobody confirmed it in time"));
    let tripped = gave_up.and_then(|at| probation::tripped(open, at));
    let tripped = tripped.map(|at| (at, "the supervision tree gave up"));
    let ended = ended_twice(plan, record, open, now);
    let ended = ended.map(|at| (at, "the process was ended twice within its probation"));
    let all = late.into_iter().chain(tripped).chain(ended);
    let first = all.min_by_key(|(at, _)| *at);
    let Some((first, reason)) = first else {
        return open.len();
    };
    for it in &open[first..] {
        plan.settle.push(SettledVersion {
            reason: Some(reason.to_owned()),
            ..SettledVersion::to(it.version, SettingsOutcome::Reverted)
        });
        plan.reverted.push((it.version, reason.to_owned()));
    }
    plan.taken_back = Some(format!("version {}: {reason}", open[first].version));
    first
}

/// Returns the first version within whose probation a second run did not end in order, as one that
/// was killed for its memory does not. The first such end is noted: it may be that of the machine.
fn ended_twice(
    plan: &mut Plan,
    record: &SettingsRecord,
    open: &[Open],
    now: Timestamp,
) -> Option<usize> {
    let is_on = |it: &&Open| it.at < it.until && now <= it.until;
    let noted = record.ended_under.as_ref();
    let before = open
        .iter()
        .position(|it| Some(&it.version.to_string()) == noted);
    plan.ended_under = before.and(noted.cloned());
    // The report of a tree that gave up says more.
    let now_ended = record.is_running && open.iter().any(|it| is_on(&it));
    match before.filter(|at| is_on(&&open[*at])) {
        Some(at) if now_ended => {
            plan.ended_under = None;
            Some(at)
        }
        Some(_) => None,
        None if now_ended => {
            let first = open.iter().find(is_on);
            plan.ended_under = first.map(|it| it.version.to_string());
            None
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use deia_model::{SettingsOrigin, SettingsVersion};
    use serde_json::json;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn stored(version: u64, outcome: SettingsOutcome, confirm: Option<i64>) -> StoredSettings {
        let content = Content {
            file_hash: Some(format!("hash {version}")),
            values: json!({"n": version}),
            ..Content::default()
        };
        StoredSettings {
            version: SettingsVersion {
                version,
                at: at(10),
                actor: "ada".to_owned(),
                origin: SettingsOrigin::Reload,
                restores: None,
                changes: Vec::new(),
                outcome,
                reason: None,
                probation_until: Some(at(70)),
                confirm_by: confirm.map(at),
                confirmed_by: None,
            },
            content: content.stored(),
        }
    }

    fn record(open: Vec<StoredSettings>) -> SettingsRecord {
        SettingsRecord {
            newest: 9,
            confirmed: Some(stored(1, SettingsOutcome::Confirmed, None)),
            open,
            ..SettingsRecord::default()
        }
    }

    #[test]
    fn start_uses_the_newest_version_that_is_not_taken_back() {
        use SettingsOutcome::{Confirmed, Failed, Pending, Probation, Reverted};
        let probation = |version| stored(version, Probation, None);
        let waits = |version| stored(version, Probation, Some(100));
        // (open versions, the tree gave up at, now) -> (basis, confirmed, states, rejected)
        for (open, gave_up, now, basis, confirmed, settled, rejected) in [
            (vec![], None, 20, 1, 1, vec![], None),
            (vec![probation(2)], None, 20, 2, 1, vec![], None),
            (
                vec![probation(2)],
                None,
                80,
                2,
                2,
                vec![(2, Confirmed)],
                None,
            ),
            (
                vec![stored(2, Pending, None)],
                None,
                20,
                1,
                1,
                vec![(2, Failed)],
                None,
            ),
            (vec![waits(2)], None, 99, 2, 1, vec![], None),
            (
                vec![waits(2)],
                None,
                100,
                1,
                1,
                vec![(2, Reverted)],
                Some("hash 2"),
            ),
            (vec![probation(2)], Some(5), 20, 2, 1, vec![], None),
            (
                vec![probation(2)],
                Some(15),
                20,
                1,
                1,
                vec![(2, Reverted)],
                Some("hash 2"),
            ),
            (
                vec![probation(2), waits(3)],
                None,
                200,
                2,
                2,
                vec![(3, Reverted), (2, Confirmed)],
                Some("hash 3"),
            ),
        ] {
            let plan = plan(&record(open), gave_up.map(at), at(now));
            let number = plan.basis.as_ref().map(|(it, _)| it.version.version);
            assert_eq!(number, Some(basis), "{plan:?}");
            assert_eq!(
                plan.confirmed.as_ref().map(|it| it.0),
                Some(confirmed),
                "{plan:?}"
            );
            let states: Vec<_> = plan
                .settle
                .iter()
                .map(|it| (it.version, it.outcome))
                .collect();
            assert_eq!(states, settled, "{plan:?}");
            assert_eq!(plan.rejected.as_deref(), rejected, "{plan:?}");
        }
    }

    #[test]
    fn second_run_that_does_not_end_in_order_takes_back_what_it_ended_under() {
        let probation = |version| stored(version, SettingsOutcome::Probation, None);
        // (noted, now) -> (basis, noted then)
        for (noted, now, basis, then) in [
            (None, 20, 3, Some("2")),
            (Some("2"), 20, 1, None),
            (Some("3"), 20, 2, None),
            // An earlier version was noted, which is settled.
            (Some("1"), 20, 3, Some("2")),
            // The probation is over.
            (Some("2"), 90, 3, Some("2")),
        ] {
            let mut record = record(vec![probation(2), probation(3)]);
            record.ended_under = noted.map(str::to_owned);
            record.is_running = true;
            let told = plan(&record, None, at(now));
            let number = told.basis.as_ref().map(|(it, _)| it.version.version);
            assert_eq!(number, Some(basis), "{told:?}");
            assert_eq!(told.ended_under.as_deref(), then, "{told:?}");
            record.is_running = false;
            let told = plan(&record, None, at(now));
            assert!(told.reverted.is_empty(), "{told:?}");
        }
    }

    #[test]
    fn new_hive_has_nothing_to_start_with() {
        let plan = plan(&SettingsRecord::default(), None, at(1));
        assert!(plan.basis.is_none() && plan.settle.is_empty() && plan.open.is_empty());
    }
}
