//! The decision whether the log of a store continues an archive, and a writer that does.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use super::{Ahead, GenerationWriter, LogEnd, Needs, apply, broken, bundling, size_of, unreadable};
use crate::{
    ArchiveError,
    layout::Keys,
    log::{LogCursor, LogFile, LogHeader},
    marks::PageMarks,
    part::{PartHash, PartHeader},
    storage::Storage,
    survey::{Generation, Survey, newest_part},
};

/// Reason why the first generation of an archive begins.
pub const NEW_ARCHIVE: &str = "the archive is new";

/// Reason for a log that SQLite does not read.
const NO_HEADER: &str = "the log has lost its header";

/// Bytes of the log or of the database that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// Answer to the question whether the newest generation goes on.
pub enum Resumed {
    /// The log continues the archive.
    Continues(Box<GenerationWriter>),
    /// A new generation must begin.
    Begins {
        /// The reason.
        reason: String,
        /// The end of the archive, if it has commits that the store has lost.
        ahead: Option<Box<Ahead>>,
    },
}

/// Basis of the database that the last part of an archive describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basis {
    /// The file, and the frames of the current log that the archive has.
    FileAndLog,
    /// The file: the log was restarted after the archive had all of it.
    File,
    /// None: the archive has frames that the log has not.
    Ahead,
}

/// Decides which content of the store must be that of the archive.
fn basis(last: &PartHeader, log: Option<&LogHeader>, committed: Option<LogEnd>) -> Basis {
    let is_same = log.is_some_and(|log| log.salts == last.salts);
    let frames = committed
        .filter(|end| end.salts == last.salts)
        .map_or(0, |end| end.frames);
    match is_same {
        true if frames >= last.start + last.frames => Basis::FileAndLog,
        true => Basis::Ahead,
        false => Basis::File,
    }
}

/// Returns the reason why a store that differs from the end of its archive is an older state: it
/// had no event, when it was opened, that the archive does not have.
fn older(opened_at: Option<u64>, last: &PartHeader) -> Option<String> {
    let (seq, archived) = (opened_at?, last.last.seq);
    (seq <= archived).then(|| {
        format!("the disk had events up to {seq}, the archive has them up to {archived}, and the database differs")
    })
}

fn begins(reason: impl Into<String>) -> Resumed {
    Resumed::Begins {
        reason: reason.into(),
        ahead: None,
    }
}

/// Returns the answer for an archive that has frames which the log has lost.
fn is_ahead(
    storage: &dyn Storage,
    newest: &Generation,
    reason: &str,
) -> Result<Resumed, ArchiveError> {
    Ok(Resumed::Begins {
        reason: format!("{reason}: the archive has commits that the disk has lost"),
        ahead: Ahead::of(storage, newest)?.map(Box::new),
    })
}

/// Finds out whether the store continues the newest generation of its archive, by comparing a
/// checksum over all pages. The store must not fold back its log meanwhile. `opened_at` is the
/// newest event that the store had when it was opened: one that has lost its log, and no event that
/// the archive does not have, is an older state.
///
/// # Errors
/// [`ArchiveError::Storage`]: repeat the call.
pub fn resume(
    needs: Needs,
    database: &File,
    log: Option<&LogFile>,
    committed: Option<LogEnd>,
    opened_at: Option<u64>,
) -> Result<Resumed, ArchiveError> {
    match look(needs, database, log, (committed, opened_at)) {
        Err(error) if error.may_pass() => Err(error),
        Err(error) => Ok(begins(error.to_string())),
        resumed => resumed,
    }
}

fn look(
    needs: Needs,
    database: &File,
    log: Option<&LogFile>,
    (committed, opened_at): (Option<LogEnd>, Option<u64>),
) -> Result<Resumed, ArchiveError> {
    let survey = Survey::of(&*needs.storage, &needs.hive)?;
    let Some(newest) = survey.generations.last() else {
        return Ok(begins(NEW_ARCHIVE));
    };
    let keys = Keys::new(&needs.hive, &newest.id);
    let beginning = super::Beginning::read(&*needs.storage, &keys)?;
    if beginning.instance != needs.instance {
        return Ok(begins("another data directory wrote the archive"));
    }
    if newest.snapshots.is_empty() {
        return Ok(begins("its newest generation has no snapshot"));
    }
    let Some((last, hash)) = newest_part(&*needs.storage, newest)? else {
        return Ok(begins("its newest generation has no log"));
    };
    let header = match log {
        Some(log) => log.header().map_err(unreadable)?,
        None => None,
    };
    let basis = basis(&last, header.as_ref(), committed);
    let storage = needs.storage.clone();
    if basis == Basis::Ahead {
        let frames = last.start + last.frames;
        let reason = format!("the archive has {frames} frames of the log, and the disk fewer");
        return is_ahead(&*storage, newest, &reason);
    }
    let frames = match (basis, log, header) {
        (Basis::FileAndLog, Some(log), Some(header)) => {
            Some((log, header, last.start + last.frames))
        }
        _ => None,
    };
    // SQLite reads nothing of a log from the first frame on that is not sound.
    if let Some((log, header, count)) = frames
        && let Err(reason) = compare_log(log, header, count, &last).map_err(unreadable)?
    {
        return is_ahead(&*storage, newest, &reason);
    }
    let has_lost_header = match (log, header) {
        (Some(log), None) => !log.is_empty().map_err(unreadable)?,
        _ => false,
    };
    let marks = match marks_of(database, &last, frames) {
        Err(_) if has_lost_header => return is_ahead(&*storage, newest, NO_HEADER),
        Err(error) => match older(opened_at, &last) {
            Some(reason) => return is_ahead(&*storage, newest, &reason),
            None => return Err(error),
        },
        Ok(marks) => marks,
    };
    let of_snapshot = newest.snapshots.last();
    let of_snapshot = of_snapshot.filter(|it| it.exact_after == last.number);
    let expected = of_snapshot.map_or_else(|| last.page_sum(), |it| it.page_sum());
    if expected != Some(marks.sum()) && has_lost_header {
        return is_ahead(&*storage, newest, NO_HEADER);
    }
    if let Some(reason) = older(opened_at, &last).filter(|_| expected != Some(marks.sum())) {
        return is_ahead(&*storage, newest, &reason);
    }
    if expected != Some(marks.sum()) {
        return Ok(begins(format!(
            "the store has {}, which is not what the archive ends with",
            marks.sum()
        )));
    }
    Ok(Resumed::Continues(Box::new(writer(
        needs, keys, marks, header, last, hash, &survey,
    ))))
}

fn writer(
    needs: Needs,
    keys: Keys,
    marks: PageMarks,
    header: Option<LogHeader>,
    last: PartHeader,
    hash: PartHash,
    survey: &Survey,
) -> GenerationWriter {
    let end = last.end();
    let header = header.filter(|it| it.salts == last.salts);
    let (loose, leftover) = bundling::loose(survey, &keys.generation);
    let newest = survey.generations.last();
    let snapshot = newest.and_then(|it| it.snapshots.last());
    let log_bytes = newest.map_or(0, |it| {
        let after = snapshot.map_or(0, |it| it.exact_after);
        let later = it.parts.iter().filter(|(numbers, _)| numbers.1 > after);
        later.map(|(_, item)| item.bytes).sum()
    });
    GenerationWriter {
        loose,
        leftover,
        snapshot_at: snapshot.map_or(0, |it| it.completed_at),
        log_bytes,
        needs,
        keys,
        log_part: last.log_part,
        cursor: Some(LogCursor {
            header: header.unwrap_or(end.header),
            ..end
        }),
        page_bytes: last.page_bytes,
        marks,
        files: last.files.clone(),
        last: Some((last, hash)),
        pending: None,
        copying: None,
    }
}

/// Reads the marks of all pages, and applies the first frames of the log.
fn marks_of(
    database: &File,
    last: &PartHeader,
    log: Option<(&LogFile, LogHeader, u32)>,
) -> Result<PageMarks, ArchiveError> {
    let (page_bytes, pages) = size_of(database).map_err(unreadable)?;
    if page_bytes != last.page_bytes {
        return Err(broken("the size of a page changed"));
    }
    let mut marks = PageMarks::new(page_bytes, pages);
    let step = (READ_BYTES / page_bytes as usize).max(1);
    let mut bytes = vec![0; step * page_bytes as usize];
    for first in (0..pages as usize).step_by(step) {
        let count = step.min(pages as usize - first);
        let bytes = &mut bytes[..count * page_bytes as usize];
        let start = first as u64 * u64::from(page_bytes);
        database.read_exact_at(bytes, start).map_err(unreadable)?;
        for (i, content) in bytes.chunks_exact(page_bytes as usize).enumerate() {
            let page = u32::try_from(first + i + 1).unwrap_or(u32::MAX);
            marks.copied(page, content);
        }
    }
    let Some((log, header, frames)) = log else {
        // The file may be longer than the database.
        marks
            .committed(last.pages)
            .map_err(|page| broken(format!("the store has no page {page}")))?;
        return Ok(marks);
    };
    let mut cursor = LogCursor::begin(header);
    while cursor.frames < frames {
        let count = (frames - cursor.frames).min(u32::try_from(step).unwrap_or(1));
        let bytes = log.read(&cursor, count).map_err(unreadable)?;
        cursor
            .pass(&bytes)
            .map_err(|frame| broken(format!("frame {frame} of the log is not sound")))?;
        apply(&mut marks, &bytes, page_bytes)?;
    }
    Ok(marks)
}

/// Compares the first frames of the log with those that the archive has. Returns the difference
/// if there is one.
fn compare_log(
    log: &LogFile,
    header: LogHeader,
    frames: u32,
    last: &PartHeader,
) -> io::Result<Result<(), String>> {
    let step = u32::try_from(READ_BYTES / header.frame_bytes()).unwrap_or(1);
    let mut cursor = LogCursor::begin(header);
    while cursor.frames < frames {
        let count = (frames - cursor.frames).min(step.max(1));
        let bytes = log.read(&cursor, count)?;
        if let Err(frame) = cursor.pass(&bytes) {
            return Ok(Err(format!("frame {frame} of the log is not sound")));
        }
    }
    Ok(match cursor.checksum == last.checksum {
        true => Ok(()),
        false => Err("the log has other frames than the archive".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::Commit;

    #[test]
    fn log_that_the_archive_has_more_of_has_lost_commits() {
        let header = |salts| LogHeader {
            big_endian: false,
            page_bytes: 4_096,
            salts,
            checksum: [0, 0],
        };
        let last = PartHeader {
            v: 1,
            hive: "h".into(),
            generation: "g".into(),
            number: 3,
            previous: String::new(),
            big_endian: false,
            page_bytes: 4_096,
            salts: [1, 1],
            log_part: 1,
            start: 6,
            start_checksum: [0, 0],
            frames: 4,
            checksum: [0, 0],
            ends_commit: true,
            pages: 1,
            sum: String::new(),
            timeline: 1,
            last: Commit {
                frame: 10,
                seq: 1,
                at: 1,
            },
            ends_known: true,
            earliest_at: 1,
            has_snapshot: true,
            written_at: 0,
            body_bytes: 0,
            files: None,
        };
        let end = |salts, frames| Some(LogEnd { salts, frames });
        for (log, committed, expected) in [
            (Some([1, 1]), end([1, 1], 10), Basis::FileAndLog),
            (Some([1, 1]), end([1, 1], 12), Basis::FileAndLog),
            (Some([1, 1]), end([1, 1], 9), Basis::Ahead),
            (Some([1, 1]), None, Basis::Ahead),
            (Some([2, 7]), end([2, 7], 1), Basis::File),
            (None, None, Basis::File),
        ] {
            let log = log.map(header);
            let found = basis(&last, log.as_ref(), committed);
            assert_eq!(found, expected, "{log:?} {committed:?}");
        }
    }
}
