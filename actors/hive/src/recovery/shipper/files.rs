//! Shipping of files, before the commits that name them.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use deia_archive::{ArchiveError, Change, FilesWriter, Stamp};
use deia_model::RecoveryMode;

use super::Shipper;
use crate::{
    config::Config,
    recovery::{
        keys,
        names::{AUDIT, FORMER, OUTPUTS, SETTINGS, head_bytes},
    },
};

/// Time for which commits wait for files in mode async, and while files of earlier runs are shipped.
/// Fixed: short beside the time in which the log grows to its maximum.
const FILES_WITHIN: Duration = Duration::from_secs(2);
/// Directories whose files are shipped.
const DIRECTORIES: [&str; 3] = [AUDIT, FORMER, OUTPUTS];
/// Ending of the names of files that are not complete. Fact: those of whole files never have it.
const DRAFT: &str = ".new";
/// Name of the newest checkpoint of the trail: it is shipped after what it covers.
const CHECKPOINT: &str = "audit/checkpoint";
/// Name of the history of checkpoints.
const HISTORY: &str = "audit/checkpoints";

/// Files to ship, and their writer.
#[derive(Default)]
pub(super) struct Files {
    writer: Option<FilesWriter>,
    /// Files to compare with the archive.
    queue: BTreeMap<String, Change>,
    /// True if the trail changed since its newest checkpoint was shipped.
    has_news_of_trail: bool,
    /// True once the archive has had all files.
    has_caught_up: bool,
    /// True if the changes until the last turn are in the archive.
    is_complete: bool,
}

/// The end of the trail before the changes were taken that are shipped: everything that it covers is
/// among them.
struct TrailEnd {
    checkpoint: Option<(Vec<u8>, Stamp)>,
    history: u64,
}

impl TrailEnd {
    fn read(data_dir: &Path) -> Self {
        let path = data_dir.join(CHECKPOINT);
        let stamp = fs::metadata(&path).map(|it| Stamp::of(&it));
        let history = fs::metadata(data_dir.join(HISTORY));
        Self {
            checkpoint: fs::read(&path).ok().zip(stamp.ok()),
            history: history.map_or(0, |it| it.len()),
        }
    }
}

impl Files {
    /// Returns whether there is something to ship that did not fit into the last turn.
    pub(super) fn has_more(&self) -> bool {
        !self.queue.is_empty() || self.writer.as_ref().is_some_and(FilesWriter::is_busy)
    }

    /// Takes a file to compare.
    fn add(&mut self, name: String, change: Change) {
        let kept = self.queue.entry(name).or_insert(change);
        *kept = change.max(*kept);
    }
}

impl Shipper {
    /// Ships the changes of files until now, before the commits until now. The log does not wait for
    /// files for long, except in mode sync.
    ///
    /// # Errors
    /// [`ArchiveError::Storage`]: repeat the call.
    pub(super) fn ship_files(&mut self) -> Result<(), ArchiveError> {
        let Some(generation) = self.writer.as_ref().map(|it| it.generation().to_owned()) else {
            return Ok(());
        };
        let config = self.handle.0.settings.get();
        let notes = self.handle.0.notes.clone();
        if self.files.writer.is_none() {
            let writer = FilesWriter::open(self.needs(), &generation)?;
            self.files.writer = Some(writer);
            notes.look_at_all();
        }
        if notes.is_empty() && !self.files.has_more() && self.files.is_complete {
            return self.ship_base();
        }
        if let Some(writer) = &mut self.files.writer {
            writer.ready()?;
        }
        let end = TrailEnd::read(&config.data_dir);
        let noted = notes.take();
        for (name, change) in noted.files {
            self.files.add(name, change);
        }
        if noted.all {
            self.look_at_all(&config);
        }
        let is_of_trail = |name: &String| name.starts_with(AUDIT);
        self.files.has_news_of_trail |= self.files.queue.keys().any(is_of_trail);
        let is_strict = config.recovery.mode == RecoveryMode::Sync && self.files.has_caught_up;
        let until = (!is_strict).then(|| Instant::now() + FILES_WITHIN);
        let is_done = self.ship_queue(&config, &end, until)?;
        let Some(writer) = &mut self.files.writer else {
            return Ok(());
        };
        if is_done && std::mem::take(&mut self.files.has_news_of_trail) {
            match &end.checkpoint {
                Some((bytes, stamp)) if !writer.has(CHECKPOINT, *stamp) => {
                    writer.replace(CHECKPOINT, bytes, *stamp, "");
                }
                _ => {}
            }
        }
        while !writer.step(true)? && is_done {}
        let again = writer.take_again();
        self.files.is_complete = is_done && again.is_empty();
        if self.files.is_complete {
            writer.looked_at_all();
            self.files.has_caught_up = true;
        }
        let at = writer.at(self.files.is_complete);
        for name in again {
            self.files.add(name, Change::Rewritten);
        }
        if let Some(log) = &mut self.writer {
            log.note_files(at);
        }
        let waiting = self.files.queue.len() as u64;
        self.handle.shared().lock().files_waiting = waiting;
        self.ship_base()
    }

    /// Compares the files of the queue with the archive, and ships full objects. Returns whether all
    /// were compared in time.
    fn ship_queue(
        &mut self,
        config: &Config,
        end: &TrailEnd,
        until: Option<Instant>,
    ) -> Result<bool, ArchiveError> {
        let Files { writer, queue, .. } = &mut self.files;
        let Some(writer) = writer else {
            return Ok(false);
        };
        loop {
            while !writer.step(false)? {
                if until.is_some_and(|until| Instant::now() >= until) {
                    return Ok(false);
                }
            }
            let Some((name, change)) = queue.pop_first() else {
                return Ok(true);
            };
            let compared = match name.as_str() {
                CHECKPOINT => Ok(()),
                _ if name.starts_with(SETTINGS) || name.starts_with(keys::KEYS) => {
                    let file = self.handle.0.settings_file();
                    ship_own(writer, config, file.as_deref(), change == Change::Moved)
                }
                _ => {
                    let path = config.data_dir.join(&name);
                    let limit = if name == HISTORY {
                        end.history
                    } else {
                        u64::MAX
                    };
                    writer.change(&name, &path, change, (head_bytes(&name), limit))
                }
            };
            if let Err(error) = compared {
                tracing::warn!(file = name, %error, "a file cannot be read for the archive");
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(false);
            }
        }
    }

    /// Compares the sizes and times of all files with the archive.
    fn look_at_all(&mut self, config: &Config) {
        let Some(writer) = &self.files.writer else {
            return;
        };
        let mut changed = Vec::new();
        for directory in DIRECTORIES {
            let path = config.data_dir.join(directory);
            let looked = look_below(&path, directory, &mut |name, stamp| {
                if !writer.has(&name, stamp) {
                    changed.push(name);
                }
            });
            if let Err(error) = looked {
                tracing::warn!(directory, %error, "a directory cannot be read for the archive");
            }
            let gone = writer.below(directory).into_iter();
            let gone = gone.filter(|name| config.data_dir.join(name).symlink_metadata().is_err());
            changed.extend(gone);
        }
        for name in changed {
            self.files.add(name, Change::Rewritten);
        }
        self.look_at_own();
    }

    /// Lets the settings file and the key files be compared.
    pub(super) fn look_at_own(&mut self) {
        self.files.add(SETTINGS.to_owned(), Change::Rewritten);
    }

    /// Begins a list of all files that is due, or writes it.
    fn ship_base(&mut self) -> Result<(), ArchiveError> {
        let Files {
            writer,
            queue,
            is_complete,
            ..
        } = &mut self.files;
        let Some(writer) = writer.as_mut().filter(|_| *is_complete) else {
            return Ok(());
        };
        if writer.has_begun_base() {
            if !writer.is_busy() {
                writer.write_base();
            }
            writer.ready()?;
            if let Some(log) = &mut self.writer {
                log.note_files(writer.at(true));
            }
        } else if writer.is_base_due() {
            for name in writer.begin_base() {
                queue.entry(name).or_insert(Change::Moved);
            }
        }
        Ok(())
    }
}

impl super::Handle {
    /// Returns the path of the settings file, if there is one.
    fn settings_file(&self) -> Option<PathBuf> {
        let path = self.settings_source.path()?;
        path.is_file().then_some(path)
    }
}

/// Ships the settings file and the key files. Those that are not to be in the archive any more are
/// noted as gone.
fn ship_own(
    writer: &mut FilesWriter,
    config: &Config,
    settings: Option<&Path>,
    is_moved: bool,
) -> io::Result<()> {
    let mut own = Vec::new();
    if let Some(path) = settings {
        let file = path.file_name().and_then(|it| it.to_str());
        let name = format!("{SETTINGS}/{}", file.unwrap_or("deia.yaml"));
        let stamp = Stamp::of(&fs::metadata(path)?);
        if is_moved || !writer.has(&name, stamp) {
            writer.replace(&name, &fs::read(path)?, stamp, "");
        }
        own.push(name);
    }
    let known = |name: &str| writer.tag(name).filter(|_| !is_moved).map(str::to_owned);
    let (sealed, names) = keys::seal(config, known)?;
    for key in sealed {
        writer.replace(&key.name, &key.bytes, key.stamp, &key.tag);
    }
    own.extend(names);
    for directory in [SETTINGS, keys::KEYS] {
        for name in writer.below(directory) {
            if !own.contains(&name) {
                writer.gone(&name);
            }
        }
    }
    Ok(())
}

/// Hands over the names and stamps of the files below a directory.
fn look_below(dir: &Path, name: &str, found: &mut dyn FnMut(String, Stamp)) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        // Foreign files may have any names.
        let Ok(file) = entry.file_name().into_string() else {
            continue;
        };
        let name = format!("{name}/{file}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            look_below(&entry.path(), &name, found)?;
        } else if kind.is_file() && !file.ends_with(DRAFT) {
            // A file that is removed meanwhile is noted by those who remove it.
            if let Ok(metadata) = entry.metadata() {
                found(name, Stamp::of(&metadata));
            }
        }
    }
    Ok(())
}
