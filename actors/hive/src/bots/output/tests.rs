use super::*;

const LIMITS: OutputLimits = OutputLimits {
    memory: 100,
    file: 10_000,
};

struct Setup {
    dir: tempfile::TempDir,
    outputs: Outputs,
    task: TaskId,
}

fn setup() -> Setup {
    let dir = tempfile::tempdir().unwrap();
    Setup {
        outputs: Outputs::of(dir.path()),
        dir,
        task: TaskId::new(),
    }
}

impl Setup {
    fn keep(&self) -> OutputSpool {
        self.outputs.keep(self.task, 1, LIMITS)
    }

    fn file(&self) -> PathBuf {
        self.outputs.file(self.task, 1)
    }
}

async fn put(spool: &mut OutputSpool, piece: &[u8]) -> Result<(), SpoolError> {
    spool.settle().await?;
    spool.take(piece)?;
    spool.settle().await
}

async fn all(mut output: TaskOutput) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(piece) = output.next().await.unwrap() {
        bytes.extend(piece);
    }
    bytes
}

#[tokio::test]
async fn a_small_output_stays_in_memory() {
    let setup = setup();
    let mut spool = setup.keep();
    put(&mut spool, b"hello ").await.unwrap();
    put(&mut spool, b"world").await.unwrap();
    let reader = setup.outputs.running(setup.task, 6).unwrap();
    assert!(reader.goes_on() && reader.length() == 11 && reader.attempt() == 1);
    let kept = spool.finish(false).await.unwrap();
    assert_eq!(
        (kept.bytes.as_slice(), kept.in_file),
        (&b"hello world"[..], None)
    );
    assert_eq!(all(reader).await, b"world");
    assert!(setup.outputs.running(setup.task, 0).is_none());
    assert!(!setup.dir.path().join("outputs").exists());
}

#[tokio::test]
async fn a_large_output_goes_to_a_file_and_readers_miss_nothing() {
    let setup = setup();
    let mut spool = setup.keep();
    let reader = setup.outputs.running(setup.task, 0).unwrap();
    let late = tokio::spawn(all(setup.outputs.running(setup.task, 250).unwrap()));
    let reading = tokio::spawn(all(reader));
    let mut expected = Vec::new();
    for n in 0..50_u8 {
        let piece = [n; 30];
        put(&mut spool, &piece).await.unwrap();
        expected.extend(piece);
        tokio::task::yield_now().await;
    }
    let kept = spool.finish(false).await.unwrap();
    assert_eq!(kept.bytes, expected[..100]);
    assert_eq!(kept.in_file, Some(1_500));
    assert_eq!(reading.await.unwrap(), expected);
    assert_eq!(late.await.unwrap(), expected[250..]);
    let file = TaskOutput::file(1, &setup.file(), 1_400).unwrap();
    assert_eq!(all(file).await, expected[1_400..]);
    assert_eq!(setup.outputs.with_files().unwrap(), [setup.task]);
    for _ in 0..2 {
        setup.outputs.remove(setup.task).unwrap();
        assert_eq!(setup.outputs.with_files().unwrap(), []);
    }
}

#[tokio::test]
async fn output_that_is_not_text_is_stored_unchanged() {
    let setup = setup();
    let mut spool = setup.keep();
    put(&mut spool, b"\xff\xfe").await.unwrap();
    let kept = spool.finish(false).await.unwrap();
    assert_eq!(
        (kept.bytes.as_slice(), kept.in_file),
        (&b"\xff\xfe"[..], Some(2))
    );
    assert_eq!(std::fs::read(setup.file()).unwrap(), b"\xff\xfe");
}

#[tokio::test]
async fn output_over_the_limit_is_a_fault_and_its_beginning_is_stored() {
    let setup = setup();
    let mut spool = setup.keep();
    put(&mut spool, &[b'x'; 9_999]).await.unwrap();
    let fault = put(&mut spool, b"yz").await.unwrap_err();
    assert_eq!(fault, SpoolError::TooMuch { max_bytes: 10_000 });
    let reader = setup.outputs.running(setup.task, 9_990).unwrap();
    let kept = spool.finish(true).await.unwrap();
    assert_eq!(kept.in_file, Some(10_000));
    assert_eq!(all(reader).await, b"xxxxxxxxxy", "who reads it may go on");
    assert!(setup.outputs.running(setup.task, 0).is_none());
    assert!(std::fs::read(setup.file()).unwrap().ends_with(b"xxy"));
}

#[tokio::test]
async fn output_of_an_unsuccessful_attempt_is_in_a_file_even_when_empty() {
    for printed in [&b"partial"[..], b""] {
        let setup = setup();
        let mut spool = setup.keep();
        put(&mut spool, printed).await.unwrap();
        let kept = spool.finish(true).await.unwrap();
        assert_eq!((kept.bytes.as_slice(), kept.in_file), (printed, None));
        assert_eq!(std::fs::read(setup.file()).unwrap(), printed);
    }
}

#[tokio::test]
async fn output_of_a_dropped_attempt_is_left_in_its_file() {
    for printed in [7, 500] {
        let setup = setup();
        let mut spool = setup.keep();
        put(&mut spool, &vec![b'x'; printed]).await.unwrap();
        drop(spool);
        let written = async {
            while std::fs::read(setup.file()).map_or(0, |bytes| bytes.len()) != printed {
                tokio::task::yield_now().await;
            }
        };
        let within = std::time::Duration::from_secs(60);
        tokio::time::timeout(within, written).await.unwrap();
    }
}

#[tokio::test]
async fn old_outputs_are_removed_by_number_and_no_later_one() {
    let setup = setup();
    for attempt in [1, 2, 3, 10] {
        let mut spool = setup.outputs.keep(setup.task, attempt, LIMITS);
        put(&mut spool, b"x").await.unwrap();
        spool.finish(true).await.unwrap();
    }
    setup.outputs.remove_up_to(setup.task, 2).unwrap();
    let mut left = setup.outputs.attempts(setup.task).unwrap();
    left.sort_unstable();
    assert_eq!(left, [(3, 1), (10, 1)]);
    setup.outputs.remove_up_to(TaskId::new(), 2).unwrap();
}

#[tokio::test]
async fn output_that_cannot_be_written_is_a_fault() {
    let setup = setup();
    std::fs::write(setup.dir.path().join("outputs"), "in the way").unwrap();
    let fault = put(&mut setup.keep(), &[b'x'; 101]).await.unwrap_err();
    assert!(matches!(fault, SpoolError::Storage(_)), "{fault:?}");
}
