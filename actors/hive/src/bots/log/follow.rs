//! Following a bot's log: its present lines, and then new ones, at the reader's pace.

use std::{io, path::PathBuf};

use super::positions::Whole;

/// Maximum size of one read, in bytes. No line written by deia is longer. Fixed: a
/// buffer, whose size changes nothing that can be seen.
const CHUNK_BYTES: u64 = 64 << 10;
/// Size of the part of the log searched for the first lines, in bytes. Fixed: bounds one
/// read; a log has more lines in it than anybody asks for.
const MAX_TAIL_BYTES: u64 = 1 << 20;

/// Position at which to begin in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStart {
    /// This many lines before the end.
    Lines(usize),
    /// At this position: the `position` of the last line seen.
    Position(u64),
}

/// A piece of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPiece {
    /// A line.
    Line {
        /// Position after the line.
        position: u64,
        /// The line, without its end.
        text: String,
    },
    /// Lines that were removed already: the log was rotated faster than it was read, or the reader
    /// came too late.
    Gap {
        /// Position at which the log continues.
        position: u64,
        /// Number of missing bytes; 0 if unknown.
        missed_bytes: u64,
    },
}

/// A reader of a bot's log, in bounded memory.
#[derive(Clone, Debug)]
pub struct LogFollower {
    path: PathBuf,
    start: Option<LogStart>,
    position: u64,
}

impl LogFollower {
    pub(crate) fn new(path: PathBuf, start: LogStart) -> Self {
        Self {
            path,
            start: Some(start),
            position: 0,
        }
    }

    /// Returns the next pieces, at most 64 KiB; none if there is nothing new yet.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn next(&mut self) -> io::Result<Vec<LogPiece>> {
        let mut this = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            let pieces = this.read()?;
            Ok::<_, io::Error>((this, pieces))
        });
        let (this, pieces) = read.await.map_err(io::Error::other)??;
        *self = this;
        Ok(pieces)
    }

    fn read(&mut self) -> io::Result<Vec<LogPiece>> {
        let mut log = Whole::open(&self.path)?;
        let mut pieces = Vec::new();
        match self.start.take() {
            Some(LogStart::Lines(lines)) => self.position = before_end(&mut log, lines)?,
            Some(LogStart::Position(position)) => {
                self.position = line_from(&mut log, position)?;
            }
            None => {}
        }
        if !(log.begins()..=log.ends()).contains(&self.position) {
            let position = log.begins();
            pieces.push(LogPiece::Gap {
                position,
                missed_bytes: position.saturating_sub(self.position),
            });
            self.position = position;
        }
        let bytes = log.read(self.position, CHUNK_BYTES)?;
        let full = bytes.len() as u64 == CHUNK_BYTES;
        let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => &bytes[..=last],
            // Not a line written by deia: better cut than never shown.
            None if full => &bytes,
            // The line is being written.
            None => &[],
        };
        for line in whole.split_inclusive(|byte| *byte == b'\n') {
            self.position += line.len() as u64;
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            pieces.push(LogPiece::Line {
                position: self.position,
                text: String::from_utf8_lossy(text).into_owned(),
            });
        }
        Ok(pieces)
    }
}

/// Returns the position of that many lines before the end.
fn before_end(log: &mut Whole, lines: usize) -> io::Result<u64> {
    let from = log.begins().max(log.ends().saturating_sub(MAX_TAIL_BYTES));
    let mut bytes = log.read(from, log.ends() - from)?;
    // A line that is being written is returned later, and whole.
    let end = bytes.iter().rposition(|byte| *byte == b'\n');
    bytes.truncate(end.map_or(0, |last| last + 1));
    let starts: Vec<usize> = line_starts(&bytes, from == log.begins()).collect();
    let first = starts.len().saturating_sub(lines);
    let at = starts.get(first).copied().unwrap_or(bytes.len());
    Ok(from + at as u64)
}

/// Returns the positions of whole lines in these bytes.
fn line_starts(bytes: &[u8], first_is_whole: bool) -> impl Iterator<Item = usize> {
    let after_ends = bytes
        .iter()
        .enumerate()
        .filter(|(at, byte)| **byte == b'\n' && at + 1 < bytes.len())
        .map(|(at, _)| at + 1);
    let first = (first_is_whole && !bytes.is_empty()).then_some(0);
    first.into_iter().chain(after_ends)
}

/// Returns the position itself if a line begins there, else the position of the next line.
fn line_from(log: &mut Whole, position: u64) -> io::Result<u64> {
    if position <= log.begins() || position >= log.ends() {
        return Ok(position);
    }
    let bytes = log.read(position - 1, CHUNK_BYTES)?;
    let end = bytes.iter().position(|byte| *byte == b'\n');
    Ok(end.map_or(position, |at| position + at as u64))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::{BotLog, Stream},
        *,
    };

    fn log(dir: &tempfile::TempDir) -> (BotLog, PathBuf) {
        let path = dir.path().join("b.log");
        (BotLog::open(&path, 4_096), path)
    }

    fn say(log: &BotLog, from: usize, to: usize) {
        for n in from..to {
            log.line(None, Stream::Stderr, &format!("line {n}"));
            if n % 10 == 0 {
                assert!(log.flush(Duration::from_secs(60)));
            }
        }
        assert!(log.flush(Duration::from_secs(60)));
    }

    /// Returns the numbers of the next lines, -1 for a gap, and the last position.
    fn numbers(follower: &mut LogFollower) -> (Vec<i64>, u64) {
        let (mut found, mut last) = (Vec::new(), 0);
        loop {
            let pieces = follower.read().unwrap();
            if pieces.is_empty() {
                return (found, last);
            }
            for piece in pieces {
                match piece {
                    LogPiece::Line { position, text } => {
                        assert!(position > last, "{position} {last}");
                        last = position;
                        found.push(text.rsplit(' ').next().unwrap().parse().unwrap());
                    }
                    LogPiece::Gap { position, .. } => {
                        last = position;
                        found.push(-1);
                    }
                }
            }
        }
    }

    #[test]
    fn follower_sees_every_line_once_through_rotations() {
        let dir = tempfile::tempdir().unwrap();
        let (log, path) = log(&dir);
        let mut follower = LogFollower::new(path.clone(), LogStart::Lines(10));
        assert_eq!(numbers(&mut follower).0, Vec::<i64>::new());
        let mut seen = Vec::new();
        for n in (0..1_000).step_by(25) {
            say(&log, n, n + 25);
            let (found, position) = numbers(&mut follower);
            seen.extend(found);
            // Another reader continues from this position.
            follower = LogFollower::new(path.clone(), LogStart::Position(position));
        }
        assert_eq!(seen, (0..1_000).collect::<Vec<i64>>());
        assert!(std::fs::metadata(super::super::older(&path)).is_ok());
        // A restarted server continues the positions.
        let (log, _) = self::log(&dir);
        say(&log, 1_000, 1_050);
        assert_eq!(
            numbers(&mut follower).0,
            (1_000..1_050).collect::<Vec<i64>>()
        );
    }

    #[test]
    fn slow_follower_is_told_of_a_gap() {
        let dir = tempfile::tempdir().unwrap();
        let (log, path) = log(&dir);
        say(&log, 0, 10);
        let mut follower = LogFollower::new(path.clone(), LogStart::Lines(5));
        assert_eq!(numbers(&mut follower).0, [5, 6, 7, 8, 9]);
        say(&log, 10, 1_000);
        let (found, _) = numbers(&mut follower);
        assert_eq!((found[0], found.last()), (-1, Some(&999)));
        assert!(found[1..].is_sorted() && found[1] > 10);
        let mut beyond = LogFollower::new(path, LogStart::Position(1 << 40));
        assert_eq!(numbers(&mut beyond).0, found);
    }

    #[test]
    fn follower_begins_at_the_start_of_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let (log, path) = log(&dir);
        say(&log, 0, 3);
        let first = |start| {
            let mut follower = LogFollower::new(path.clone(), start);
            numbers(&mut follower).0
        };
        let length = std::fs::metadata(&path).unwrap().len() / 3;
        for (start, expected) in [
            (LogStart::Lines(0), vec![]),
            (LogStart::Lines(1), vec![2]),
            (LogStart::Lines(9), vec![0, 1, 2]),
            (LogStart::Position(0), vec![0, 1, 2]),
            (LogStart::Position(1), vec![1, 2]),
            (LogStart::Position(length), vec![1, 2]),
            (LogStart::Position(length + 1), vec![2]),
            (LogStart::Position(3 * length - 1), vec![]),
            (LogStart::Position(3 * length), vec![]),
        ] {
            assert_eq!(first(start), expected, "{start:?}");
        }
        // Half a line is not shown before its other half is written.
        let mut follower = LogFollower::new(path.clone(), LogStart::Lines(0));
        let write = |text: &str| {
            use std::io::Write as _;
            let mut file = std::fs::OpenOptions::new()
                .append(true)
                .open(&path)
                .unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        write("half 4");
        assert_eq!(numbers(&mut follower).0, Vec::<i64>::new());
        write("2\n");
        assert_eq!(numbers(&mut follower).0, [42]);
    }
}
