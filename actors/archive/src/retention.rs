//! Removal of objects that no kept restore point needs.

use std::collections::HashSet;

use crate::{
    ArchiveError, Survey,
    layout::{self, Keys},
    storage::Storage,
    survey::Generation,
};

/// Returns the keys to remove, in order: a point goes before the objects that it needs, and the
/// description of a snapshot before its chunks. Points made before `before` go, but never
/// the newest one of all; moments after the oldest kept point stay restorable.
pub(crate) fn outdated(survey: &Survey, hive: &str, before: i64, current: &str) -> Vec<String> {
    let newest = survey.points.last().map(|point| point.id.as_str());
    let goes =
        |point: &&crate::Point| point.created_at < before && Some(point.id.as_str()) != newest;
    let mut keys: Vec<String> = survey
        .points
        .iter()
        .filter(goes)
        .map(|point| layout::point(hive, &point.id))
        .collect();
    for (i, generation) in survey.generations.iter().enumerate() {
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
        match oldest {
            Some(part) => keys.extend(outdated_in(generation, hive, part)),
            None if generation.id != current && is_replaced => keys.extend(whole(generation, hive)),
            None => {}
        }
    }
    keys
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
/// The generation `current` is being written. Returns the number of removed objects.
///
/// # Errors
/// [`ArchiveError::Storage`].
pub fn prune(
    storage: &dyn Storage,
    hive: &str,
    before: i64,
    current: &str,
) -> Result<u64, ArchiveError> {
    let survey = Survey::of(storage, hive)?;
    let mut removed = 0;
    for key in outdated(&survey, hive, before, current) {
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
    use crate::{Item, Point, PointKind, Snapshot, snapshot::Chunk};

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
        Generation {
            id: id.into(),
            snapshots,
            parts,
            items,
        }
    }

    fn survey(points: Vec<Point>) -> Survey {
        Survey {
            generations: vec![
                generation(
                    "g1",
                    vec![snapshot("s1", "g1", (1, 2), 10)],
                    &[(1, 2), (3, 3)],
                ),
                generation(
                    "g2",
                    vec![
                        snapshot("s2", "g2", (1, 2), 100),
                        snapshot("s3", "g2", (5, 6), 200),
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
            point("p1", "g1", 3, 20),
            point("p2", "g2", 3, 120),
            point("p3", "g2", 7, 220),
        ];
        let all = survey(points);
        assert_eq!(outdated(&all, "h", 20, "g2"), [""; 0]);
        // The first point goes, and its generation with it once the next one is older.
        assert_eq!(outdated(&all, "h", 100, "g2"), ["h/points/p1.json"]);
        let gone = outdated(&all, "h", 101, "g2");
        assert_eq!(gone[0], "h/points/p1.json");
        assert_eq!(gone[1], "h/generations/g1/snapshots/s1/snapshot.json");
        assert_eq!(gone.last().unwrap(), "h/generations/g1/generation.json");
        assert_eq!(gone.len(), 6);
    }

    #[test]
    fn older_snapshots_and_their_log_go_and_the_newest_point_never() {
        let points = vec![point("p2", "g2", 3, 120), point("p3", "g2", 7, 220)];
        let gone = outdated(&survey(points), "h", 1_000, "g2");
        assert!(!gone.contains(&"h/points/p3.json".to_owned()));
        let keys = Keys::new("h", "g2");
        for key in [keys.snapshot("s2"), keys.chunk("s2", 0), keys.parts(1, 4)] {
            assert!(gone.contains(&key), "{key} of {gone:?}");
        }
        for key in [keys.snapshot("s3"), keys.parts(5, 6), keys.parts(7, 7)] {
            assert!(!gone.contains(&key), "{key}");
        }
    }

    #[test]
    fn generation_without_points_stays_while_it_is_the_newest() {
        let gone = outdated(&survey(Vec::new()), "h", 150, "g2");
        assert!(gone.iter().all(|key| key.contains("/g1/")), "{gone:?}");
        assert_eq!(gone.len(), 5);
    }
}
