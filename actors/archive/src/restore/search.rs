//! The search of a generation for the commit of a moment.

use super::target::Moment;
use crate::{
    ArchiveError, FilesAt, document,
    part::{self, Commit, PartHeader},
    storage::Storage,
    survey::{Generation, headers},
};

/// A commit that was found, and its place.
pub(super) struct Found {
    pub(super) part: u64,
    pub(super) frame: Option<u32>,
    pub(super) commit: Commit,
    pub(super) is_known: bool,
    pub(super) timeline: u64,
    pub(super) files: Option<FilesAt>,
}

/// Result of a search.
pub(super) enum Searched {
    Found(Found),
    /// The generation has no such commit.
    Nothing,
    /// The event of that number is of this history, and another one was asked for.
    OtherHistory(u64),
}

impl From<Option<Found>> for Searched {
    fn from(found: Option<Found>) -> Self {
        found.map_or(Self::Nothing, Self::Found)
    }
}

/// Searches a generation for the commit of a moment, from the end of part `exact` on. An event
/// without a history is one of `timeline`.
pub(super) fn search(
    storage: &dyn Storage,
    generation: &Generation,
    exact: u64,
    moment: Moment,
    timeline: u64,
) -> Result<Searched, ArchiveError> {
    let (event, is_before) = match moment {
        Moment::At(at) => return Ok(at_time(storage, generation, exact, at)?.into()),
        Moment::Event(event) => (event, false),
        Moment::BeforeEvent(event) => (event, true),
    };
    let wanted = event.timeline.unwrap_or(timeline);
    Ok(
        match by_event(storage, generation, exact, event.seq, is_before)? {
            Some((_, recorded_in)) if recorded_in != wanted => Searched::OtherHistory(recorded_in),
            found => found.map(|(found, _)| found).into(),
        },
    )
}

/// Searches the newest commit that is not later than `at`. A clock that was set makes later
/// commits earlier ones: their order is that of the log.
fn at_time(
    storage: &dyn Storage,
    generation: &Generation,
    exact: u64,
    at: i64,
) -> Result<Option<Found>, ArchiveError> {
    let objects = generation.parts.iter().rev();
    for object in objects.filter(|(numbers, _)| numbers.1 >= exact) {
        let all = headers(storage, &generation.id, object)?;
        let after = all.iter().rev().map(|(header, _)| header);
        for header in after.filter(|header| header.number >= exact) {
            if header.last.at <= at && header.ends_commit && header.ends_known {
                return Ok(Some(whole(header)));
            }
            if header.number == exact || header.earliest_at > at {
                continue;
            }
            let part = open(storage, &object.1.key, header.number)?;
            let commits = part.map_or_else(Vec::new, |part| part.commits);
            if let Some(commit) = commits.iter().rev().find(|it| it.at <= at) {
                return Ok(Some(partly(header, *commit)));
            }
        }
    }
    Ok(None)
}

/// Searches the commit that recorded an event, or the last one before that. Returns the history of
/// the event as well.
fn by_event(
    storage: &dyn Storage,
    generation: &Generation,
    exact: u64,
    seq: u64,
    is_before: bool,
) -> Result<Option<(Found, u64)>, ArchiveError> {
    let mut found = None;
    let objects = generation.parts.iter();
    for object in objects.filter(|(numbers, _)| numbers.1 >= exact) {
        let all = headers(storage, &generation.id, object)?;
        for (header, _) in all.iter().filter(|(header, _)| header.number >= exact) {
            if header.number == exact {
                let last = header.last.seq;
                if last > seq || is_before && last == seq {
                    return Ok(None);
                }
                found = Some(whole(header));
                if !is_before && last == seq {
                    return Ok(found.map(|it| (it, header.timeline)));
                }
            } else if header.last.seq >= seq {
                let part = open(storage, &object.1.key, header.number)?;
                let commits = part.map_or_else(Vec::new, |part| part.commits);
                let commit = match is_before {
                    true => commits.iter().rev().find(|it| it.seq < seq),
                    false => commits.iter().find(|it| it.seq >= seq),
                };
                let commit = commit.map(|it| partly(header, *it)).or(found);
                return Ok(commit.map(|it| (it, header.timeline)));
            } else if header.ends_commit && header.ends_known {
                found = Some(whole(header));
            } else if found.as_ref().is_some_and(|it| it.commit != header.last) {
                // Another transaction begins in the part, after this commit.
                found = Some(partly(header, header.last));
            }
        }
    }
    // The event is newer than the archive.
    Ok(None)
}

/// Searches the newest commit of a generation, from the end of part `exact` on.
pub(super) fn newest(
    storage: &dyn Storage,
    generation: &Generation,
    exact: u64,
) -> Result<Option<Found>, ArchiveError> {
    for object in generation.parts.iter().rev() {
        let all = headers(storage, &generation.id, object)?;
        for (header, _) in all.iter().rev() {
            let found = match header.ends_commit {
                true => Some(whole(header)),
                false => open(storage, &object.1.key, header.number)?
                    .and_then(|part| part.commits.last().copied())
                    .map(|commit| partly(header, commit)),
            };
            if let Some(found) = found {
                return Ok((header.number >= exact).then_some(found));
            }
        }
    }
    Ok(None)
}

fn whole(header: &PartHeader) -> Found {
    Found {
        part: header.number,
        frame: None,
        commit: header.last,
        is_known: header.ends_known,
        timeline: header.timeline,
        files: header.files.clone(),
    }
}

fn partly(header: &PartHeader, commit: Commit) -> Found {
    Found {
        frame: Some(commit.frame),
        commit,
        is_known: true,
        ..whole(header)
    }
}

/// Reads a part of an object.
fn open(storage: &dyn Storage, key: &str, number: u64) -> Result<Option<part::Part>, ArchiveError> {
    let bytes = document::get(storage, key)?;
    let place = storage.address(key);
    let sealed = part::split(&bytes, &place)?;
    let sealed = sealed.into_iter().find(|it| it.header.number == number);
    sealed.map(part::Sealed::open).transpose()
}
