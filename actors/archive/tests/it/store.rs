//! A small store whose log is shipped by hand.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use deia_archive::{
    ArchiveError, Commit, Directory, EventRef, GenerationWriter, LogEnd, LogFile, Moment, Needs,
    Resumed, Storage, Survey, Target, plan, restore, resume,
};
use rusqlite::Connection;

pub(crate) const HIVE: &str = "hive-test";

/// A store, its archive and the writer of that.
pub(crate) struct Store {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) db: Connection,
    database: File,
    log: LogFile,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) writer: Option<GenerationWriter>,
    /// Commits that are not shipped.
    pub(crate) commits: Vec<Commit>,
    pub(crate) seq: u64,
    /// Time of the next commit, if it is not that of its number.
    pub(crate) clock: Option<i64>,
    piece: usize,
    /// The history of the next commits.
    pub(crate) timeline: u64,
}

impl Store {
    pub(crate) fn new(piece: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let db = connect(&path);
        db.execute_batch(
            "CREATE TABLE a (id INTEGER PRIMARY KEY, x BLOB); CREATE INDEX b ON a (x);",
        )
        .unwrap();
        Self {
            database: File::open(&path).unwrap(),
            log: LogFile::open(&path.with_extension("db-wal")).unwrap(),
            storage: Arc::new(Directory::new(dir.path().join("archive"))),
            dir,
            db,
            writer: None,
            commits: Vec::new(),
            seq: 0,
            clock: None,
            piece,
            timeline: 1,
        }
    }

    pub(crate) fn needs(&self) -> Needs {
        Needs {
            storage: self.storage.clone(),
            hive: HIVE.into(),
            instance: "here".into(),
            level: 1,
            piece_max_bytes: self.piece,
        }
    }

    /// Returns the end of the log.
    pub(crate) fn end(&self) -> Option<LogEnd> {
        let frames: i64 = self
            .db
            .query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1))
            .unwrap();
        let frames = u32::try_from(frames).unwrap();
        (frames > 0).then(|| LogEnd {
            salts: self.log.header().unwrap().map_or([0, 0], |it| it.salts),
            frames,
        })
    }

    /// Commits a change, and returns the state after it.
    pub(crate) fn commit(&mut self, sql: &str) -> u64 {
        self.seq += 1;
        // Each commit of a hive changes something: it records an event.
        let event = format!("PRAGMA user_version = {}", self.seq);
        self.db
            .execute_batch(&format!("BEGIN; {sql}; {event}; COMMIT"))
            .unwrap();
        self.commits.push(Commit {
            frame: self.end().unwrap().frames,
            seq: self.seq,
            at: self
                .clock
                .unwrap_or(i64::try_from(self.seq).unwrap() * 1_000),
        });
        state(&self.db)
    }

    pub(crate) fn begin(&mut self) {
        let needs = self.needs();
        needs.storage.prepare().unwrap();
        self.writer = Some(GenerationWriter::begin(needs, &self.database, "a test").unwrap());
    }

    /// Opens the archive again, as after a start.
    pub(crate) fn resume(&mut self) -> Result<(), String> {
        match self.try_resume().unwrap() {
            Resumed::Continues(writer) => self.writer = Some(*writer),
            Resumed::Begins { reason, .. } => return Err(reason),
        }
        Ok(())
    }

    pub(crate) fn try_resume(&self) -> Result<Resumed, ArchiveError> {
        self.resume_opened_at(None)
    }

    /// Opens the archive again, as a store that had this newest event when it was opened.
    pub(crate) fn resume_opened_at(&self, seq: Option<u64>) -> Result<Resumed, ArchiveError> {
        let (log, end) = (Some(&self.log), self.end());
        resume(self.needs(), &self.database, log, end, seq)
    }

    pub(crate) fn try_ship(&mut self) -> Result<(), ArchiveError> {
        let Some(end) = self.end() else { return Ok(()) };
        let timeline = self.timeline;
        let (commits, writer) = (&mut self.commits, self.writer.as_mut().unwrap());
        loop {
            let upto = |end: LogEnd| {
                let count = commits
                    .iter()
                    .take_while(|it| it.frame <= end.frames)
                    .count();
                (commits.drain(..count).collect(), timeline)
            };
            if writer.ship(&self.log, end, upto)? {
                return Ok(());
            }
        }
    }

    pub(crate) fn ship(&mut self) {
        self.try_ship().unwrap();
    }

    /// Copies one chunk of a snapshot under way.
    pub(crate) fn copy(&mut self) {
        let end = self.end();
        let writer = self.writer.as_mut().unwrap();
        writer.copy(&self.database, || Ok(end)).unwrap();
    }

    /// Copies until a snapshot is complete.
    pub(crate) fn finish_copy(&mut self) {
        while self.writer.as_ref().unwrap().has_more_to_copy() {
            self.copy();
        }
        self.ship();
        assert!(!self.writer.as_ref().unwrap().is_copying());
    }

    /// Commits a change, and copies until a snapshot is complete.
    pub(crate) fn finish_copy_of(&mut self, sql: &str) {
        self.commit(sql);
        self.finish_copy();
    }

    /// Makes all commits of the log known that the writer has not shipped.
    pub(crate) fn commits_of_all(&mut self) {
        self.commits = vec![Commit {
            frame: self.end().unwrap().frames,
            seq: self.seq,
            at: i64::try_from(self.seq).unwrap() * 1_000,
        }];
    }

    /// Puts all parts into bundles.
    pub(crate) fn try_bundle(&mut self) -> Result<(), ArchiveError> {
        let writer = self.writer.as_mut().unwrap();
        while writer.bundle(u64::MAX)? {}
        Ok(())
    }

    /// Folds the log back, all of which must be shipped.
    pub(crate) fn fold(&self, how: &str) {
        let sql = format!("PRAGMA wal_checkpoint({how})");
        let busy: i64 = self.db.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(busy, 0);
    }

    pub(crate) fn survey(&self) -> Survey {
        Survey::of(&*self.storage, HIVE).unwrap()
    }

    /// Restores a moment. Returns its sequence number, and the state of the database.
    pub(crate) fn restore(&self, target: &Target) -> Result<(u64, u64), ArchiveError> {
        let survey = self.survey();
        let plan = plan(&*self.storage, HIVE, &survey, target)?;
        let path = self.dir.path().join("restored.db");
        for extension in ["db", "db-wal", "db-shm"] {
            let _ = std::fs::remove_file(path.with_extension(extension));
        }
        let restored = restore(&*self.storage, &survey, &plan, &path)?;
        let db = Connection::open(&path).unwrap();
        let check: String = db
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
        Ok((restored.commit.seq, state(&db)))
    }

    pub(crate) fn archive(&self) -> PathBuf {
        self.dir.path().join("archive")
    }
}

/// Returns the target of a time.
pub(crate) fn at_time(millis: i64) -> Target {
    Target::Moment(Moment::At(millis))
}

/// Returns the target of an event.
pub(crate) fn event(event: impl Into<EventRef>) -> Target {
    Target::Moment(Moment::Event(event.into()))
}

/// Returns the target of the commit before an event.
pub(crate) fn before_event(event: impl Into<EventRef>) -> Target {
    Target::Moment(Moment::BeforeEvent(event.into()))
}

fn connect(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.execute_batch(
        "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
         PRAGMA synchronous = OFF; PRAGMA cache_size = 10;",
    )
    .unwrap();
    db
}

/// Returns a hash of all rows.
pub(crate) fn state(db: &Connection) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    let mut rows = db.prepare("SELECT id, x FROM a ORDER BY id").unwrap();
    let mut rows = rows.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (id, x): (i64, Vec<u8>) = (row.get(0).unwrap(), row.get(1).unwrap());
        (id, x).hash(&mut hasher);
    }
    hasher.finish()
}

/// Returns a statement that changes the database, by a number.
pub(crate) fn change(n: u64) -> String {
    match n % 7 {
        0 => "INSERT INTO a (x) VALUES (randomblob(20)); DELETE FROM a WHERE id % 3 = 0; PRAGMA incremental_vacuum(20)".into(),
        1 => format!(
            "UPDATE a SET x = randomblob(300) WHERE id % 11 = {}",
            n % 11
        ),
        // Does not fit into the cache: frames are written before the commit.
        2 => "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120)
              INSERT INTO a (x) SELECT randomblob(900) FROM n"
            .into(),
        _ => format!(
            "INSERT INTO a (x) VALUES (randomblob({}))",
            10 + n * 37 % 5_000
        ),
    }
}
