//! A bucket as a storage.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use deia_archive::{ARCHIVE_MARK, ARCHIVE_MARK_TEXT, Item, Storage, archive_is_gone, check_key};
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, path::Path};
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
};

use crate::{
    Needs,
    failure::of_store,
    location::Bucket,
    provider,
    transport::{BODY_MAX, Connector, PIECE},
};

/// Time for which the mark of the archive is taken to be there. Fixed: before each part, the writer
/// looks for its generation as well.
const MARK_TRUSTED: Duration = Duration::from_secs(10);
/// Threads that look up names. Fixed: one name is looked up, by few threads.
const LOOKUPS_MAX: usize = 4;

/// A bucket or container, or the part of one below a prefix.
///
/// The calls wait on a runtime of their own, with one thread: those of the hive are not for
/// threads that block, and a restore without a hive has none. Nothing is asked before the first
/// call, and the environment is read again after a failure to make the client.
pub(crate) struct ObjectStorage {
    bucket: Bucket,
    needs: Needs,
    /// Present until the end: a runtime must not be dropped by a thread that drives another.
    runtime: Option<Runtime>,
    client: Mutex<Option<Arc<dyn ObjectStore>>>,
    /// Time at which the mark was seen.
    marked: Mutex<Option<Instant>>,
    /// True once the store was seen to refuse a second creation.
    is_fencing: AtomicBool,
    interrupted: watch::Sender<bool>,
}

impl ObjectStorage {
    /// Takes a bucket, which must exist.
    ///
    /// # Errors
    /// There is no thread for its requests.
    pub(crate) fn new(bucket: Bucket, needs: Needs) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(LOOKUPS_MAX)
            .thread_name("deia-objects")
            .enable_all()
            .build()?;
        Ok(Self {
            bucket,
            needs,
            runtime: Some(runtime),
            client: Mutex::default(),
            marked: Mutex::default(),
            is_fencing: AtomicBool::new(false),
            interrupted: watch::Sender::new(false),
        })
    }

    fn client(&self) -> io::Result<Arc<dyn ObjectStore>> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let connector = Connector {
            tls: (self.needs.tls)().map_err(io::Error::other)?,
            limit: self.needs.request_timeout,
        };
        let made = provider::client(&self.bucket, connector).map_err(|error| of_store(&error))?;
        *client = Some(made.clone());
        Ok(made)
    }

    /// Waits for an operation, or an interruption.
    fn run<T>(
        &self,
        operation: impl AsyncFnOnce(Arc<dyn ObjectStore>) -> object_store::Result<T>,
    ) -> io::Result<T> {
        let client = self.client()?;
        let ended = || io::Error::new(io::ErrorKind::Interrupted, "the hive is stopping");
        let runtime = self.runtime.as_ref().ok_or_else(ended)?;
        let mut interrupted = self.interrupted.subscribe();
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = interrupted.wait_for(|it| *it) => Err(ended()),
                done = operation(client) => done.map_err(|error| of_store(&error)),
            }
        })
    }

    fn path(&self, key: &str) -> io::Result<Path> {
        check_key(key)?;
        self.place(key)
    }

    fn place(&self, key: &str) -> io::Result<Path> {
        let path = Path::parse(self.bucket.object(key));
        path.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
    }

    fn write(&self, path: Path, bytes: &[u8], mode: PutMode) -> io::Result<()> {
        let whole = Bytes::copy_from_slice(bytes);
        let pieces = (0..whole.len()).step_by(PIECE);
        let pieces = pieces.map(|at| whole.slice(at..whole.len().min(at + PIECE)));
        let payload = PutPayload::from_iter(pieces);
        let written =
            self.run(async |client| client.put_opts(&path, payload, mode.into()).await.map(drop));
        if written
            .as_ref()
            .is_err_and(|it| it.kind() == io::ErrorKind::NotFound)
        {
            self.note_mark(None);
        }
        written
    }

    fn note_mark(&self, seen: Option<Instant>) {
        *self.marked.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    /// Checks that the place is an archive, as every writer must.
    fn is_archive(&self) -> io::Result<()> {
        let seen = *self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_none_or(|seen| seen.elapsed() > MARK_TRUSTED) {
            let (path, now) = (self.place(ARCHIVE_MARK)?, Instant::now());
            let found = self.run(async |client| client.head(&path).await);
            found.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => archive_is_gone(&self.address("")),
                _ => error,
            })?;
            self.note_mark(Some(now));
        }
        self.is_fencing()
    }

    /// Checks that the store refuses to create what exists: a second mark, which is like the first.
    /// Once for each storage that is opened, since the endpoint may be another one than before.
    fn is_fencing(&self) -> io::Result<()> {
        if self.is_fencing.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.create_mark() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(unfenced("it replaced an object that existed")),
        }
    }

    fn create_mark(&self) -> io::Result<()> {
        let path = self.place(ARCHIVE_MARK)?;
        let created = self.write(path, ARCHIVE_MARK_TEXT.as_bytes(), PutMode::Create);
        created.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                self.is_fencing.store(true, Ordering::Release);
                error
            }
            io::ErrorKind::Unsupported => unfenced(&error.to_string()),
            _ => error,
        })
    }
}

fn unfenced(reason: &str) -> io::Error {
    let reason = format!(
        "this store cannot keep an archive, because it does not support conditional writes (If-None-Match: *), which keep two hives from writing one archive: {reason}"
    );
    io::Error::new(io::ErrorKind::Unsupported, reason)
}

impl Storage for ObjectStorage {
    fn prepare(&self) -> io::Result<()> {
        match self.create_mark() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => created?,
        }
        self.is_fencing()?;
        self.note_mark(Some(Instant::now()));
        Ok(())
    }

    fn put(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(key)?;
        self.is_archive()?;
        self.write(path, bytes, PutMode::Overwrite)
    }

    fn create(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(key)?;
        self.is_archive()?;
        match self.write(path.clone(), bytes, PutMode::Create) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // S3 also answers 409 while another request for the same key is under way.
                let found = self.run(async |client| client.head(&path).await);
                match found {
                    Err(found) if found.kind() == io::ErrorKind::NotFound => Err(io::Error::other(
                        format!("another request for it is under way: {error}"),
                    )),
                    Err(found) => Err(found),
                    Ok(_) => Err(error),
                }
            }
            written => written,
        }
    }

    fn get(&self, key: &str) -> io::Result<Vec<u8>> {
        let path = self.path(key)?;
        self.run(async |client| {
            let found = client.get(&path).await?;
            let size = found.meta.size;
            if size > BODY_MAX {
                return Err(object_store::Error::NotSupported {
                    source: format!("it has {size} bytes, more than any object of an archive")
                        .into(),
                });
            }
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
            let mut chunks = found.into_stream();
            while let Some(chunk) = chunks.next().await {
                bytes.extend_from_slice(&chunk?);
            }
            Ok(bytes)
        })
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Item>> {
        let below = prefix.trim_end_matches('/');
        let path = match below {
            "" => self.place("")?,
            below => self.path(below)?,
        };
        let found: Vec<_> =
            self.run(async |client| client.list(Some(&path)).try_collect().await)?;
        let items = found.into_iter().filter_map(|object| {
            let key = self.bucket.key(object.location.as_ref())?;
            // The mark, and what consoles leave in place of directories, are no objects of it.
            let is_item = check_key(key).is_ok() && key != ARCHIVE_MARK && key != below;
            is_item.then(|| Item {
                key: key.to_owned(),
                bytes: object.size,
            })
        });
        let mut items: Vec<_> = items.collect();
        items.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(items)
    }

    fn remove(&self, key: &str) -> io::Result<()> {
        let path = self.path(key)?;
        match self.run(async |client| client.delete(&path).await) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn interrupt(&self) {
        self.interrupted.send_replace(true);
    }

    fn address(&self, key: &str) -> String {
        self.bucket.address(key)
    }
}

impl Drop for ObjectStorage {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
