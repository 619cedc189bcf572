//! Output that is on disk piece by piece, and goes on over a restart of the hive.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    sync::Arc,
};

use tokio::task::spawn_blocking;

use super::{OutputSpool, Spooled};

impl OutputSpool {
    /// Puts each piece on disk from now on, and goes on with the file that an earlier start of the
    /// hive left. Blocks.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(in crate::bots::output) fn resume(&mut self) -> io::Result<()> {
        self.durable = true;
        let opened = OpenOptions::new().read(true).write(true).open(self.path());
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // The file of a success is read-only.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                File::open(self.path())?
            }
            opened => opened?,
        };
        let metadata = file.metadata()?;
        self.length = metadata.len();
        self.was_ended = metadata.permissions().readonly();
        let head = u64::try_from(self.head_bytes())
            .unwrap_or(u64::MAX)
            .min(self.length);
        self.head = vec![0; usize::try_from(head).unwrap_or(0)];
        file.read_exact_at(&mut self.head, 0)?;
        self.has_file = true;
        self.running.lock().file = Some(Arc::new(file));
        self.grown();
        Ok(())
    }

    /// Ends a durable output that fits into a result: with its text, or with the file if it is no
    /// text. The file stays, as the end of the attempt is not recorded yet.
    pub(super) async fn end_as_result(&mut self) -> Spooled {
        let path = self.path();
        let read = spawn_blocking(move || std::fs::read(path)).await;
        let text = read.ok().and_then(Result::ok);
        match text.filter(|bytes| std::str::from_utf8(bytes).is_ok()) {
            Some(bytes) => {
                self.end();
                Spooled {
                    bytes,
                    in_file: None,
                }
            }
            None => {
                let length = self.has_file.then_some(self.length);
                self.end_with(length)
            }
        }
    }
}
