use std::time::Duration;

use super::*;

const DEADLINE: Duration = Duration::from_secs(60);

fn log(dir: &tempfile::TempDir, max_bytes: u64) -> (BotLog, PathBuf) {
    let path = dir.path().join("logs/bot-1.log");
    (BotLog::open(&path, max_bytes), path)
}

fn all(path: &Path) -> Vec<String> {
    tail(path, usize::MAX, usize::MAX).unwrap()
}

#[test]
fn line_has_time_attempt_and_stream() {
    let dir = tempfile::tempdir().unwrap();
    let (log, path) = log(&dir, 1 << 20);
    let task = TaskId::new();
    let attempt = LoggedAttempt { task, attempt: 2 };
    log.line(Some(attempt), Stream::Stderr, "a\tb\u{1b}[31m\r");
    log.line(None, Stream::Deia, "started");
    assert!(log.flush(DEADLINE));
    let lines = all(&path);
    let (at, rest) = lines[0].split_once(' ').unwrap();
    assert!(at.parse::<jiff::Timestamp>().is_ok(), "{at}");
    assert_eq!(rest, format!("{task}#2 stderr a\tb\\u{{1b}}[31m\\u{{d}}"));
    assert!(lines[1].ends_with(" - deia started"), "{}", lines[1]);
    assert_eq!((lines.len(), log.write_errors()), (2, 0));
}

#[test]
fn log_is_rotated_between_lines_and_one_older_log_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (log, path) = log(&dir, 1_000);
    for n in 0..200 {
        log.line(None, Stream::Stderr, &format!("line {n}"));
        // In batches of several sizes.
        if n % 7 == 0 {
            assert!(log.flush(DEADLINE));
        }
    }
    assert!(log.flush(DEADLINE));
    for path in [&path, &older(&path)] {
        let length = std::fs::metadata(path).unwrap().len();
        assert!((1..=1_000).contains(&length), "{length}");
    }
    let lines = all(&path);
    assert!(lines.len() > 20, "{}", lines.len());
    for (line, n) in lines.iter().rev().zip((0..200).rev()) {
        assert!(line.ends_with(&format!(" - stderr line {n}")), "{line}");
    }
    assert_eq!(
        std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
        3,
        "both and the note of where they begin"
    );
}

#[test]
fn line_larger_than_the_log_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (log, path) = log(&dir, 100);
    for text in ["first", &"x".repeat(500), "last"] {
        log.line(None, Stream::Stderr, text);
    }
    assert!(log.flush(DEADLINE));
    let lines = all(&path);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].len() > 500 && lines[1].ends_with("last"));
}

#[test]
fn overflow_drops_lines_and_logs_their_number() {
    let dir = tempfile::tempdir().unwrap();
    let (log, path) = log(&dir, 8 << 20);
    // As if the writer were busy and slow.
    log.0.lock().scheduled = true;
    let text = "x".repeat(1_000);
    for _ in 0..1_000 {
        log.line(None, Stream::Stderr, &text);
    }
    assert!(log.0.lock().text.len() <= MAX_PENDING_BYTES);
    log.0.write_out();
    let lines = all(&path);
    let (last, kept) = lines.split_last().unwrap();
    assert!((200..300).contains(&kept.len()), "{}", kept.len());
    let said = format!(
        " - deia {} lines dropped: the log could not keep up",
        1_000 - kept.len()
    );
    assert!(last.ends_with(&said), "{last}");
    log.line(None, Stream::Stderr, "after");
    assert!(log.flush(DEADLINE));
    assert!(all(&path).last().unwrap().ends_with("after"));
}

#[test]
fn full_disk_counts_write_errors_and_fails_nothing() {
    let log = BotLog::open("/dev/full", 1 << 20);
    for n in 1..=3 {
        log.line(None, Stream::Stderr, "lost");
        assert!(log.flush(DEADLINE));
        assert_eq!(log.write_errors(), n);
    }
}

#[test]
fn tail_returns_the_lines_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    assert_eq!(tail(&path, 10, 1_000).unwrap(), Vec::<String>::new());
    std::fs::write(older(&path), "1\n22\n333\n").unwrap();
    std::fs::write(&path, "4444\n55555\n").unwrap();
    for (lines, max_bytes, expected) in [
        (0, 1_000, vec![]),
        (1, 1_000, vec!["55555"]),
        (2, 1_000, vec!["4444", "55555"]),
        (3, 1_000, vec!["333", "4444", "55555"]),
        (9, 1_000, vec!["1", "22", "333", "4444", "55555"]),
        (9, 11, vec!["4444", "55555"]),
        (9, 10, vec!["55555"]),
        (9, 6, vec!["55555"]),
        (9, 5, vec![]),
        (9, 15, vec!["333", "4444", "55555"]),
        (9, 14, vec!["4444", "55555"]),
        (9, 0, vec![]),
    ] {
        let found = tail(&path, lines, max_bytes).unwrap();
        assert_eq!(found, expected, "{lines} lines, {max_bytes} bytes");
    }
}

#[test]
fn tail_reads_a_log_rotated_meanwhile_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    std::fs::write(&path, "1\n2\n").unwrap();
    std::fs::hard_link(&path, older(&path)).unwrap();
    assert_eq!(tail(&path, 10, 1_000).unwrap(), ["1", "2"]);
}
