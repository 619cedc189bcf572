//! The history of checkpoints: one in ten minutes at most, so that a log that was rolled back, or
//! written anew, contradicts it.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use deia_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{checkpoint::SignedCheckpoint, files};

/// Minimum time between two checkpoints of the history, in milliseconds. Fixed: bounds
/// the size of the history.
const EVERY_MS: u64 = 600_000;
/// Bytes at the end of a history in which its newest line is looked for. Fixed: bounds
/// one step, so that others get their turn; the whole has no limit here.
const TAIL: u64 = 256 << 10;

/// A line of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Time at which the checkpoint was signed, by the clock of the hive.
    pub at: Timestamp,
    /// The checkpoint as a signed note.
    pub checkpoint: String,
}

/// Reads the lines of a history. A line that was torn by a crash is the last and has no
/// newline; it is left out. `Err` stands for a line that is damaged.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<Result<Line, String>>> {
    let bytes = files::read(path)?.unwrap_or_default();
    let whole = match bytes.iter().rposition(|b| *b == b'\n') {
        Some(end) => &bytes[..end],
        None => return Ok(Vec::new()),
    };
    let lines = whole.split(|b| *b == b'\n');
    Ok(lines
        .map(|line| serde_json::from_slice(line).map_err(|error| error.to_string()))
        .collect())
}

/// Returns the newest line that is whole. A crash may have torn the last one.
pub(crate) fn newest(path: &Path) -> io::Result<Option<Line>> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL);
    let mut bytes = vec![0; usize::try_from(length - from).unwrap_or(0)];
    file.read_exact_at(&mut bytes, from)?;
    let lines = bytes.rsplit(|b| *b == b'\n');
    Ok(lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .next())
}

/// Appends to a history.
#[derive(Debug, Default)]
pub(crate) struct HistoryWriter {
    /// Time of the last line; `None` after an open, so that each start has one.
    last: Option<Timestamp>,
}

impl HistoryWriter {
    /// Appends the checkpoint, if one is due; on disk when this returns.
    pub(crate) fn note(
        &mut self,
        path: &Path,
        signed: &SignedCheckpoint,
        now: Timestamp,
    ) -> io::Result<()> {
        let is_rotation = signed.note.signatures.len() > 1;
        let is_due = self
            .last
            .is_none_or(|last| now.millis_since(last) >= EVERY_MS || now < last);
        if !is_due && !is_rotation {
            return Ok(());
        }
        let line = Line {
            at: now,
            checkpoint: signed.note.to_text(),
        };
        let is_new = !path.exists();
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .mode(0o600)
            .open(path)?;
        if self.last.is_none() {
            cut_torn_line(&file)?;
        }
        file.write_all(&text)?;
        file.sync_data()?;
        if let (true, Some(dir)) = (is_new, path.parent()) {
            std::fs::File::open(dir)?.sync_all()?;
        }
        self.last = Some(now);
        Ok(())
    }
}

/// Cuts off a line that a crash has left without its end.
fn cut_torn_line(file: &std::fs::File) -> io::Result<()> {
    let mut end = file.metadata()?.len();
    let mut last = [0];
    while end > 0 {
        file.read_exact_at(&mut last, end - 1)?;
        if last[0] == b'\n' {
            break;
        }
        end -= 1;
    }
    file.set_len(end)
}
