//! Removal of objects that no kept restore point needs.

use std::collections::HashSet;

use crate::{
    ArchiveError, Survey, files,
    layout::{self, Keys},
    lineage,
    storage::{Item, Storage},
    survey::Generation,
};

/// Restore points that one run removes. Fixed: more than are made between two runs, and so few
/// that a clock which is a year ahead empties no archive before somebody sees it.
const POINTS_MAX: usize = 8;

/// Returns the keys to remove, in order: a point goes before the objects that it needs, and the
/// description of a snapshot before its chunks. Points made before `before` go, but never
/// the newest one of all; moments after the oldest kept point stay restorable. Only generations
/// that `current` continues are touched: others belong to another hive.
pub(crate) fn outdated(
    survey: &Survey,
    hive: &str,
    before: i64,
    (current, copying): (&str, Option<&str>),
) -> Vec<String> {
    let lineage = lineage::of(survey, current);
    let is_own = |id: &str| lineage.contains(&id);
    let own = { survey.points.iter() }.filter(|point| is_own(&point.generation));
    let own: Vec<_> = own.collect();
    let newest = own.last().map(|point| point.id.as_str());
    let going: HashSet<&str> = { own.iter() }
        .filter(|point| point.created_at < before && Some(point.id.as_str()) != newest)
        .map(|point| point.id.as_str())
        .take(POINTS_MAX)
        .collect();
    let goes = |point: &&crate::Point| going.contains(point.id.as_str());
    let mut keys: Vec<String> = survey
        .points
        .iter()
        .filter(goes)
        .map(|point| layout::point(hive, &point.id))
        .collect();
    for (i, generation) in survey.generations.iter().enumerate() {
        if !is_own(&generation.id) {
            continue;
        }
        let kept = survey.points.iter().filter(|point| !goes(point));
        let oldest = kept
            .filter(|point| point.generation == generation.id)
            .map(|point| point.part)
            .min();
        let later = survey.generations.get(i + 1..).unwrap_or_default();
        let is_replaced = later
            .iter()
            .filter_map(|it| it.snapshots.first())
            .any(|snapshot| snapshot.completed_at < before);
        keys.extend(orphans(generation, hive, copying));
        match oldest {
            Some(part) => keys.extend(outdated_in(generation, hive, part)),
            None if generation.id != current && is_replaced => keys.extend(whole(generation, hive)),
            None => {}
        }
    }
    keys
}

/// Returns the keys of chunks of copies that were not completed: a later snapshot took their place.
/// Chunks of a generation without a snapshot stay, since theirs may have lost its description.
fn orphans(generation: &Generation, hive: &str, copying: Option<&str>) -> Vec<String> {
    let prefix = Keys::new(hive, &generation.id).snapshots();
    let copy_of = |item: &Item| {
        let (id, name) = item.key.strip_prefix(&prefix)?.split_once('/')?;
        Some((id.to_owned(), name.to_owned()))
    };
    let copies: Vec<_> = generation.items.iter().filter_map(copy_of).collect();
    let described = copies.iter().filter(|(_, name)| name == layout::SNAPSHOT);
    let described: HashSet<&str> = described.map(|(id, _)| id.as_str()).collect();
    if generation.snapshots.is_empty() {
        return Vec::new();
    }
    let is_orphan = |id: &str| !described.contains(id) && copying != Some(id);
    let orphans = copies.iter().filter(|(id, _)| is_orphan(id));
    orphans
        .map(|(id, name)| format!("{prefix}{id}/{name}"))
        .collect()
}

/// Returns the keys of a generation that no restore at or after `part` needs.
fn outdated_in(generation: &Generation, hive: &str, part: u64) -> Vec<String> {
    let keys = Keys::new(hive, &generation.id);
    let mut fits = generation.snapshots.iter().rev();
    let Some(needed) = fits.find(|it| it.exact_after <= part) else {
        return Vec::new();
    };
    let mut outdated = Vec::new();
    for snapshot in &generation.snapshots {
        if snapshot.exact_after < needed.exact_after {
            outdated.push(keys.snapshot(&snapshot.id));
            outdated.extend((0..snapshot.chunks.len()).map(|i| keys.chunk(&snapshot.id, i)));
        }
    }
    let parts = generation.parts.iter();
    let parts = parts.filter(|(numbers, _)| numbers.1 < needed.replay_from);
    outdated.extend(parts.map(|(_, item)| item.key.clone()));
    outdated
}

fn whole(generation: &Generation, hive: &str) -> Vec<String> {
    let keys = Keys::new(hive, &generation.id);
    let described = generation.snapshots.iter().map(|it| keys.snapshot(&it.id));
    let mut first: Vec<String> = described.collect();
    let known: HashSet<&str> = first.iter().map(String::as_str).collect();
    let rest: Vec<String> = generation
        .items
        .iter()
        .filter(|item| !known.contains(item.key.as_str()) && item.key != keys.generation())
        .map(|item| item.key.clone())
        .collect();
    first.extend(rest);
    first.push(keys.generation());
    first
}

/// Removes what no restore point made at or after `before`, in milliseconds since 1970, needs.
/// The generation `current` is being written, and the snapshot `copying` in it is under way. Stops
/// when it need not go on. Returns the number of removed objects.
///
/// # Errors
/// [`ArchiveError::Storage`].
pub fn prune(
    storage: &dyn Storage,
    hive: &str,
    before: i64,
    (current, copying): (&str, Option<&str>),
    goes_on: &dyn Fn() -> bool,
) -> Result<u64, ArchiveError> {
    let survey = Survey::of(storage, hive)?;
    let mut removed = 0;
    let mut keys = outdated(&survey, hive, before, (current, copying));
    let going: HashSet<&String> = keys.iter().collect();
    let kept = |point: &crate::Point| !going.contains(&layout::point(hive, &point.id));
    let of_files = match files::outdated(storage, hive, &survey, current, &kept) {
        Err(error) if error.may_pass() => return Err(error),
        // Nothing is removed while it is not known what is needed.
        outdated => outdated.unwrap_or_default(),
    };
    drop(going);
    keys.extend(of_files);
    for key in keys {
        if !goes_on() {
            break;
        }
        storage
            .remove(&key)
            .map_err(|source| ArchiveError::Storage {
                place: storage.address(&key),
                source,
            })?;
        removed += 1;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Beginning, Item, Point, PointKind, Snapshot, snapshot::Chunk, writer::Link};

    const G1: &str = "gen-00000001-a";
    const G2: &str = "gen-00000002-b";

    fn snapshot(id: &str, generation: &str, parts: (u64, u64), at: i64) -> Snapshot {
        Snapshot {
            v: 1,
            id: id.into(),
            hive: "h".into(),
            generation: generation.into(),
            replay_from: parts.0,
            exact_after: parts.1,
            page_bytes: 4_096,
            pages: 1,
            sum: String::new(),
            chunks: vec![Chunk {
                bytes: 1,
                sha256: String::new(),
            }],
            began_at: at,
            completed_at: at,
        }
    }

    fn point(id: &str, generation: &str, part: u64, at: i64) -> Point {
        Point {
            v: 1,
            id: id.into(),
            hive: "h".into(),
            generation: generation.into(),
            part,
            part_hash: String::new(),
            kind: PointKind::Automatic,
            label: String::new(),
            timeline: 1,
            seq: part,
            at,
            created_at: at,
            pages: 1,
            page_bytes: 4_096,
            sum: String::new(),
            files: None,
        }
    }

    fn generation(id: &str, snapshots: Vec<Snapshot>, parts: &[(u64, u64)]) -> Generation {
        let keys = Keys::new("h", id);
        let item = |key: String| Item { key, bytes: 1 };
        let parts: Vec<_> = parts
            .iter()
            .map(|(a, b)| ((*a, *b), item(keys.parts(*a, *b))))
            .collect();
        let mut items: Vec<_> = parts.iter().map(|(_, item)| item.clone()).collect();
        items.push(item(keys.generation()));
        items.extend(snapshots.iter().map(|it| item(keys.snapshot(&it.id))));
        items.extend(snapshots.iter().map(|it| item(keys.chunk(&it.id, 0))));
        let number = layout::generation_number(id).unwrap();
        let previous = (id == G2).then(|| Link {
            generation: G1.into(),
            part: 3,
            hash: String::new(),
        });
        Generation {
            id: id.into(),
            number,
            beginning: Some(Beginning {
                v: 1,
                id: id.into(),
                number,
                hive: "h".into(),
                instance: "i".into(),
                began_at: 0,
                reason: String::new(),
                previous,
            }),
            snapshots,
            parts,
            items,
        }
    }

    fn survey(points: Vec<Point>) -> Survey {
        Survey {
            generations: vec![
                generation(G1, vec![snapshot("s1", G1, (1, 2), 10)], &[(1, 2), (3, 3)]),
                generation(
                    G2,
                    vec![
                        snapshot("s2", G2, (1, 2), 100),
                        snapshot("s3", G2, (5, 6), 200),
                    ],
                    &[(1, 4), (5, 6), (7, 7)],
                ),
            ],
            points,
            ..Survey::default()
        }
    }

    #[test]
    fn objects_of_a_kept_point_stay() {
        let points = vec![
            point("p1", G1, 3, 20),
            point("p2", G2, 3, 120),
            point("p3", G2, 7, 220),
        ];
        let all = survey(points);
        assert_eq!(outdated(&all, "h", 20, (G2, None)), [""; 0]);
        // The first point goes, and its generation with it once the next one is older.
        assert_eq!(outdated(&all, "h", 100, (G2, None)), ["h/points/p1.json"]);
        let gone = outdated(&all, "h", 101, (G2, None));
        assert_eq!(gone[0], "h/points/p1.json");
        assert_eq!(gone[1], Keys::new("h", G1).snapshot("s1"));
        assert_eq!(*gone.last().unwrap(), Keys::new("h", G1).generation());
        assert_eq!(gone.len(), 6);
    }

    #[test]
    fn older_snapshots_and_their_log_go_and_the_newest_point_never() {
        let points = vec![point("p2", G2, 3, 120), point("p3", G2, 7, 220)];
        let gone = outdated(&survey(points), "h", 1_000, (G2, None));
        assert!(!gone.contains(&"h/points/p3.json".to_owned()));
        let keys = Keys::new("h", G2);
        for key in [keys.snapshot("s2"), keys.chunk("s2", 0), keys.parts(1, 4)] {
            assert!(gone.contains(&key), "{key} of {gone:?}");
        }
        for key in [keys.snapshot("s3"), keys.parts(5, 6), keys.parts(7, 7)] {
            assert!(!gone.contains(&key), "{key}");
        }
    }

    #[test]
    fn generation_without_points_stays_while_it_is_the_newest() {
        let gone = outdated(&survey(Vec::new()), "h", 150, (G2, None));
        assert!(gone.iter().all(|key| key.contains(G1)), "{gone:?}");
        assert_eq!(gone.len(), 5);
    }

    #[test]
    fn generation_of_another_hive_is_not_touched() {
        let points = vec![point("p1", G1, 3, 20), point("p3", G2, 7, 220)];
        let mut all = survey(points);
        // The other hive went on after this generation had begun.
        let item = Item {
            key: Keys::new("h", G1).parts(4, 4),
            bytes: 1,
        };
        all.generations[0].parts.push(((4, 4), item));
        let gone = outdated(&all, "h", 1_000, (G2, None));
        assert!(!gone.is_empty());
        for key in &gone {
            assert!(!key.contains(G1) && !key.contains("p1"), "{key}");
        }
    }

    #[test]
    fn one_run_removes_a_few_points_whatever_the_clock_says() {
        let mut points: Vec<_> = (0..100)
            .map(|n| point(&format!("p{n:03}"), G2, 7, n))
            .collect();
        points.push(point("newest", G2, 7, 100));
        let gone = outdated(&survey(points), "h", i64::MAX, (G2, None));
        let points = gone.iter().filter(|key| key.contains("/points/"));
        assert_eq!(points.count(), POINTS_MAX);
    }

    #[test]
    fn chunks_of_a_copy_that_died_are_collected() {
        let mut all = survey(vec![point("p3", G2, 7, 220)]);
        let keys = Keys::new("h", G2);
        for id in ["died", "under-way"] {
            let key = keys.chunk(id, 0);
            all.generations[1].items.push(Item { key, bytes: 1 });
        }
        let gone = outdated(&all, "h", 0, (G2, Some("under-way")));
        assert!(gone.contains(&keys.chunk("died", 0)), "{gone:?}");
        assert!(!gone.contains(&keys.chunk("under-way", 0)), "{gone:?}");
    }
}
