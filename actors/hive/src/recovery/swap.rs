//! A restore in place: a prepared store takes the place of the current one at the next start.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use deia_model::{ReplacedStore, RestoredHive, Timestamp};
use serde::{Deserialize, Serialize};

use super::{checked::DATABASE, names::OUTPUTS, restored::mark};

/// Directory of a prepared store, below the data directory.
const PREPARED: &str = "restore";
/// File that is written once the prepared store is whole: the mark of the restore.
const READY: &str = "ready.json";
/// File with the identity of a data directory.
const INSTANCE: &str = "deia.instance";
/// Beginning of the names of the directories with stores that were replaced.
const REPLACED: &str = "replaced-";
/// Replaced stores that are listed, the newest ones. Fixed: each is a whole store.
const REPLACED_SHOWN: usize = 100;
/// Extensions of the files of a database.
const EXTENSIONS: [&str; 3] = ["db", "db-wal", "db-shm"];

/// Returns the directory of a prepared store.
pub(super) fn prepared(data_dir: &Path) -> PathBuf {
    data_dir.join(PREPARED)
}

/// Makes an empty directory for a prepared store.
pub(super) fn prepare(data_dir: &Path) -> io::Result<PathBuf> {
    let dir = prepared(data_dir);
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(&dir)?;
    Ok(dir)
}

/// Content of the mark of a restore.
#[derive(Serialize, Deserialize)]
struct Ready {
    /// Name of the directory for the replaced store, the same at each try.
    aside: String,
    restored: RestoredHive,
}

/// Notes that the prepared store is whole: the next start takes it.
pub(super) fn set_ready(data_dir: &Path, restored: &RestoredHive) -> io::Result<()> {
    let ready = Ready {
        aside: format!("{REPLACED}{}", Timestamp::now().as_millis()),
        restored: restored.clone(),
    };
    let text = serde_json::to_string_pretty(&ready)?;
    crate::data_dir::write_secret(&prepared(data_dir).join(READY), &text)?;
    sync(data_dir)
}

/// Returns whether a prepared store waits to be taken.
pub(crate) fn waits(data_dir: &Path) -> bool {
    prepared(data_dir).join(READY).exists()
}

/// Puts a prepared store in the place of the current one, which is kept beside it. Every step
/// can be repeated: a start that was interrupted here goes on. The data directory loses its
/// identity, since its store has another history now. Returns the directory with the replaced
/// store, if there was one.
///
/// # Errors
/// The files cannot be moved.
pub(crate) fn swap_in(data_dir: &Path) -> io::Result<Option<PathBuf>> {
    let dir = prepared(data_dir);
    if !waits(data_dir) {
        return Ok(None);
    }
    let ready: Ready = serde_json::from_slice(&fs::read(dir.join(READY))?)?;
    let aside = data_dir.join(&ready.aside);
    let current = data_dir.join(DATABASE);
    swap_outputs(data_dir, &dir, &aside)?;
    if dir.join(DATABASE).exists() {
        // The database goes last: once it is there, all files here are new ones.
        if !aside.join(DATABASE).exists() {
            put_aside(&current, &aside)?;
            sync(data_dir)?;
        }
        for extension in EXTENSIONS.iter().rev() {
            let new = dir.join(DATABASE).with_extension(extension);
            if new.exists() {
                fs::rename(&new, current.with_extension(extension))?;
            }
        }
        sync(data_dir)?;
    }
    for file in [
        data_dir.join(INSTANCE),
        current.with_extension("db-commits"),
    ] {
        remove_if_there(&file)?;
    }
    mark(data_dir, &ready.restored)?;
    remove_if_there(&dir.join(READY))?;
    sync(&dir)?;
    fs::remove_dir_all(&dir)?;
    Ok(Some(aside).filter(|aside| aside.exists()))
}

/// Puts prepared outputs in the place of the current ones, which are kept aside.
fn swap_outputs(data_dir: &Path, prepared: &Path, aside: &Path) -> io::Result<()> {
    let (new, current) = (prepared.join(OUTPUTS), data_dir.join(OUTPUTS));
    if !new.exists() {
        return Ok(());
    }
    let kept = aside.join(OUTPUTS);
    if current.exists() && !kept.exists() {
        make_private(aside)?;
        fs::rename(&current, &kept)?;
        sync(aside)?;
    }
    // A start that was interrupted here has made the directory again, and it is empty.
    fs::rename(&new, &current)?;
    sync(data_dir)
}

fn make_private(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Returns the stores that restores in place have replaced, the newest first. They are kept until
/// somebody removes them: nothing else has what was lost.
pub(super) fn replaced(data_dir: &Path) -> Vec<ReplacedStore> {
    let entries = fs::read_dir(data_dir).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| store_in(&entry.path()))
        .collect();
    found.sort_by_key(|it| std::cmp::Reverse(it.replaced_at));
    found.truncate(REPLACED_SHOWN);
    found
}

fn store_in(dir: &Path) -> Option<ReplacedStore> {
    let name = dir.file_name()?.to_str()?;
    let millis = name.strip_prefix(REPLACED)?.parse().ok()?;
    Some(ReplacedStore {
        path: dir.display().to_string(),
        replaced_at: Timestamp::from_millis(millis),
        bytes: size_of(dir),
    })
}

/// Returns the bytes of the files below a directory; what cannot be read counts as nothing.
fn size_of(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() => size_of(&entry.path()),
        Ok(about) => about.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// Moves the files of a database to a directory.
fn put_aside(current: &Path, aside: &Path) -> io::Result<()> {
    let files = EXTENSIONS.iter().rev();
    let files = files.map(|extension| current.with_extension(extension));
    let found: Vec<PathBuf> = files.filter(|path| path.exists()).collect();
    if found.is_empty() {
        return Ok(());
    }
    make_private(aside)?;
    for path in found {
        fs::rename(&path, aside.join(path.file_name().unwrap_or_default()))?;
    }
    sync(aside)
}

fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
    }

    fn read(path: PathBuf) -> String {
        fs::read_to_string(path).unwrap()
    }

    fn facts() -> RestoredHive {
        RestoredHive {
            restored_at: Timestamp::from_millis(1),
            to: Timestamp::from_millis(1),
            position: "1.1".into(),
            lost_up_to: None,
            paused: true,
            notes: Vec::new(),
            report: None,
        }
    }

    #[test]
    fn prepared_store_is_taken_only_when_it_is_whole() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        write(&data.join("deia.db"), "old");
        write(&data.join("deia.db-wal"), "old log");
        write(&data.join(INSTANCE), "an instance");
        let dir = prepare(data).unwrap();
        write(&dir.join("deia.db"), "new");
        assert_eq!(swap_in(data).unwrap(), None);
        set_ready(data, &facts()).unwrap();
        let kept = swap_in(data).unwrap().unwrap();
        assert_eq!(read(data.join("deia.db")), "new");
        assert!(!data.join("deia.db-wal").exists() && !data.join(INSTANCE).exists());
        assert_eq!(read(kept.join("deia.db-wal")), "old log");
        let listed = replaced(data);
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].path, kept.display().to_string());
        assert_eq!(listed[0].bytes, "oldold log".len() as u64);
        assert_eq!(crate::recovery::restored(data), Some(facts()));
        assert!(!dir.exists());
        assert_eq!(swap_in(data).unwrap(), None);
    }

    #[test]
    fn prepared_outputs_take_the_place_of_the_current_ones() {
        for moved in 0..=3 {
            let data = tempfile::tempdir().unwrap();
            let data = data.path();
            write(&data.join("deia.db"), "old");
            fs::create_dir(data.join(OUTPUTS)).unwrap();
            write(&data.join("outputs/a"), "old");
            let dir = prepare(data).unwrap();
            write(&dir.join("deia.db"), "new");
            fs::create_dir(dir.join(OUTPUTS)).unwrap();
            write(&dir.join("outputs/a"), "new");
            set_ready(data, &facts()).unwrap();
            let ready: Ready = serde_json::from_str(&read(dir.join(READY))).unwrap();
            let aside = data.join(&ready.aside);
            let steps: [&dyn Fn(); 3] = [
                &|| fs::create_dir(&aside).unwrap(),
                // A start makes the directory again.
                &|| {
                    fs::rename(data.join(OUTPUTS), aside.join(OUTPUTS)).unwrap();
                    fs::create_dir(data.join(OUTPUTS)).unwrap();
                },
                &|| fs::rename(dir.join(OUTPUTS), data.join(OUTPUTS)).unwrap(),
            ];
            for step in &steps[..moved] {
                step();
            }
            swap_in(data).unwrap();
            assert_eq!(read(data.join("outputs/a")), "new", "{moved}");
            assert_eq!(read(aside.join("outputs/a")), "old", "{moved}");
            assert_eq!(read(data.join("deia.db")), "new", "{moved}");
        }
    }

    #[test]
    fn swap_that_was_interrupted_anywhere_goes_on() {
        for moved in 0..=7 {
            let data = tempfile::tempdir().unwrap();
            let data = data.path();
            write(&data.join("deia.db"), "old");
            write(&data.join("deia.db-wal"), "old log");
            let dir = prepare(data).unwrap();
            write(&dir.join("deia.db"), "new");
            write(&dir.join("deia.db-wal"), "new log");
            set_ready(data, &facts()).unwrap();
            let ready: Ready = serde_json::from_str(&read(dir.join(READY))).unwrap();
            let aside = data.join(&ready.aside);
            let steps: [&dyn Fn(); 7] = [
                &|| fs::create_dir(&aside).unwrap(),
                &|| fs::rename(data.join("deia.db-wal"), aside.join("deia.db-wal")).unwrap(),
                &|| fs::rename(data.join("deia.db"), aside.join("deia.db")).unwrap(),
                &|| fs::rename(dir.join("deia.db-wal"), data.join("deia.db-wal")).unwrap(),
                &|| fs::rename(dir.join("deia.db"), data.join("deia.db")).unwrap(),
                &|| mark(data, &facts()).unwrap(),
                &|| fs::remove_file(dir.join(READY)).unwrap(),
            ];
            for step in &steps[..moved] {
                step();
            }
            let kept = swap_in(data).unwrap();
            assert_eq!(kept.is_none(), moved == 7, "{moved}");
            for (file, new, old) in [
                ("deia.db", "new", "old"),
                ("deia.db-wal", "new log", "old log"),
            ] {
                assert_eq!(read(data.join(file)), new, "{moved}");
                assert_eq!(read(aside.join(file)), old, "{moved}");
            }
            assert_eq!(crate::recovery::restored(data), Some(facts()));
        }
    }
}
