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
    fn keep(&self) -> Keeper {
        self.outputs.keep(self.task, 1, LIMITS)
    }

    fn file(&self) -> PathBuf {
        self.outputs.file(self.task, 1)
    }
}

async fn put(keeper: &mut Keeper, piece: &[u8]) -> Result<(), Fault> {
    keeper.settle().await?;
    keeper.take(piece)?;
    keeper.settle().await
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
    let mut keeper = setup.keep();
    put(&mut keeper, b"hello ").await.unwrap();
    put(&mut keeper, b"world").await.unwrap();
    let reader = setup.outputs.running(setup.task, 6).unwrap();
    assert!(reader.goes_on() && reader.length() == 11 && reader.attempt() == 1);
    let kept = keeper.finish().await.unwrap();
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
    let mut keeper = setup.keep();
    let reader = setup.outputs.running(setup.task, 0).unwrap();
    let late = tokio::spawn(all(setup.outputs.running(setup.task, 250).unwrap()));
    let reading = tokio::spawn(all(reader));
    let mut expected = Vec::new();
    for n in 0..50_u8 {
        let piece = [n; 30];
        put(&mut keeper, &piece).await.unwrap();
        expected.extend(piece);
        tokio::task::yield_now().await;
    }
    let kept = keeper.finish().await.unwrap();
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
async fn what_is_no_text_is_kept_as_it_is() {
    let setup = setup();
    let mut keeper = setup.keep();
    put(&mut keeper, b"\xff\xfe").await.unwrap();
    let kept = keeper.finish().await.unwrap();
    assert_eq!(
        (kept.bytes.as_slice(), kept.in_file),
        (&b"\xff\xfe"[..], Some(2))
    );
    assert_eq!(std::fs::read(setup.file()).unwrap(), b"\xff\xfe");
}

#[tokio::test]
async fn more_than_a_file_may_have_is_refused_and_removed() {
    let setup = setup();
    let mut keeper = setup.keep();
    put(&mut keeper, &[b'x'; 9_999]).await.unwrap();
    let fault = put(&mut keeper, b"yz").await.unwrap_err();
    assert_eq!(fault, Fault::TooMuch { max_bytes: 10_000 });
    let reader = setup.outputs.running(setup.task, 9_990).unwrap();
    drop(keeper);
    assert_eq!(all(reader).await, b"xxxxxxxxx", "who reads it may go on");
    assert!(setup.outputs.running(setup.task, 0).is_none());
    let removed = async {
        while setup.file().exists() {
            tokio::task::yield_now().await;
        }
    };
    let within = std::time::Duration::from_secs(60);
    tokio::time::timeout(within, removed)
        .await
        .expect("the file is still there");
}

#[tokio::test]
async fn what_cannot_be_written_is_a_fault() {
    let setup = setup();
    std::fs::write(setup.dir.path().join("outputs"), "in the way").unwrap();
    let fault = put(&mut setup.keep(), &[b'x'; 101]).await.unwrap_err();
    assert!(matches!(fault, Fault::Storage(_)), "{fault:?}");
}
