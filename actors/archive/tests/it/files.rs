//! Files beside the store: shipped, restored, pruned, and damaged.

mod damage;
mod model;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use deia_archive::{ArchiveError, Change, FilesPlan, FilesWriter, PointKind, Stamp, Target, plan};

use crate::store::{HIVE, Store, change};

/// Content, permissions and time of each file.
type State = BTreeMap<String, (Vec<u8>, u32, i64)>;

/// A store, and a directory of files that are shipped with it.
struct Shelf {
    store: Store,
    writer: Option<FilesWriter>,
    points: u64,
}

impl Shelf {
    /// Begins an archive with a complete snapshot.
    fn new(piece: usize) -> Self {
        let mut shelf = Self {
            store: Store::new(piece),
            writer: None,
            points: 0,
        };
        fs::create_dir(shelf.dir()).unwrap();
        shelf.begin();
        shelf
    }

    fn dir(&self) -> PathBuf {
        self.store.dir.path().join("o")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.store.dir.path().join(name)
    }

    /// Begins a generation.
    fn begin(&mut self) {
        self.store.fold("TRUNCATE");
        self.store.commits.clear();
        self.store.begin();
        self.open();
        self.store.commit(&change(3));
        self.store.finish_copy();
    }

    /// Opens the file parts again, as after a start, and looks at all files.
    fn open(&mut self) {
        let generation = self.store.writer.as_ref().unwrap().generation().to_owned();
        self.writer = Some(FilesWriter::open(self.store.needs(), &generation).unwrap());
        let all = names(&self.dir(), "o");
        for name in &all {
            let stamp = Stamp::of(&self.path(name).metadata().unwrap());
            if !self.writer.as_ref().unwrap().has(name, stamp) {
                self.changed(name, Change::Rewritten);
            }
        }
        for name in self.writer.as_ref().unwrap().below("o") {
            if !all.contains(&name) {
                self.changed(&name, Change::Rewritten);
            }
        }
        self.ship_files();
    }

    fn changed(&mut self, name: &str, change: Change) {
        let path = self.path(name);
        let head = u64::from(name.ends_with("headed")) * 4;
        let writer = self.writer.as_mut().unwrap();
        writer.ready().unwrap();
        writer
            .change(name, &path, change, (head, u64::MAX))
            .unwrap();
        while !writer.step(false).unwrap() {}
    }

    /// Ships what was changed, and lets the log name it from now on.
    fn ship_files(&mut self) {
        let writer = self.writer.as_mut().unwrap();
        while !writer.step(true).unwrap() {}
        assert!(writer.take_again().is_empty());
        let at = writer.at(true);
        self.store.writer.as_mut().unwrap().note_files(at);
    }

    fn base(&mut self) {
        for name in self.writer.as_mut().unwrap().begin_base() {
            self.changed(&name, Change::Moved);
        }
        self.ship_files();
        self.writer.as_mut().unwrap().write_base();
        self.ship_files();
    }

    /// Commits, ships the log, and makes a restore point. Returns its id.
    fn point(&mut self) -> String {
        self.store.commit(&change(3));
        self.store.ship();
        self.points += 1;
        let id = format!("point_{:04}", self.points);
        let writer = self.store.writer.as_ref().unwrap();
        writer.mark(&id, PointKind::Automatic, "").unwrap();
        id
    }

    fn state(&self) -> State {
        state(self.store.dir.path())
    }

    fn restore(&self, target: &Target) -> Result<State, ArchiveError> {
        let storage = &*self.store.storage;
        let plan = plan(storage, HIVE, &self.store.survey(), target)?;
        let files = FilesPlan::at(storage, HIVE, &plan.generation, &plan.files.unwrap())?;
        let to = tempfile::tempdir().unwrap();
        let restored = files.restore(storage, "o", &to.path().join("o"))?;
        let state = state(to.path());
        assert_eq!(restored.files, state.len() as u64);
        Ok(state)
    }

    fn of_point(&self, id: &str) -> Result<State, ArchiveError> {
        self.restore(&Target::Point(id.into()))
    }
}

fn names(dir: &Path, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = format!("{name}/{}", entry.file_name().to_str().unwrap());
        match entry.path().is_dir() {
            true => found.extend(names(&entry.path(), &name)),
            false => found.push(name),
        }
    }
    found
}

fn state(root: &Path) -> State {
    let all = names(&root.join("o"), "o").into_iter();
    let facts = all.map(|name| {
        let path = root.join(&name);
        let metadata = path.metadata().unwrap();
        let mode = metadata.permissions().mode() & 0o777;
        let modified = Stamp::of(&metadata).modified;
        (name, (fs::read(&path).unwrap(), mode & 0o600, modified))
    });
    facts.collect()
}

#[test]
fn files_of_each_point_are_restored_as_they_were() {
    let mut shelf = Shelf::new(32_768);
    let mut truth = BTreeMap::new();
    let large: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    type Step<'a> = (&'a str, Change, &'a dyn Fn(&Path));
    let steps: [Step<'_>; 7] = [
        ("o/a", Change::Rewritten, &|path| {
            fs::write(path, "one").unwrap();
        }),
        ("o/large", Change::Grown, &|path| {
            fs::write(path, &large).unwrap();
        }),
        ("o/large", Change::Rewritten, &|path| {
            let mut other = large.clone();
            other[70_000] ^= 1;
            fs::write(path, other).unwrap();
        }),
        ("o/a", Change::Rewritten, &|path| {
            fs::write(path, "").unwrap();
        }),
        ("o/large", Change::Rewritten, &|path| {
            fs::write(path, &large[..40_001]).unwrap();
        }),
        ("o/a", Change::Grown, &|path| {
            fs::write(path, "ended").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o400)).unwrap();
        }),
        ("o/large", Change::Rewritten, &|path| {
            fs::remove_file(path).unwrap();
        }),
    ];
    for (name, change, step) in steps {
        step(&shelf.path(name));
        shelf.changed(name, change);
        shelf.ship_files();
        truth.insert(shelf.point(), shelf.state());
    }
    assert!(truth.values().last().unwrap().len() == 1);
    for (id, state) in &truth {
        assert_eq!(shelf.of_point(id).unwrap(), *state, "{id}");
    }
    assert_eq!(shelf.restore(&Target::Newest).unwrap(), shelf.state());
}

#[test]
fn only_the_difference_is_shipped() {
    let mut shelf = Shelf::new(65_536);
    let bytes = |shelf: &Shelf| {
        let items = shelf.store.storage.list("hive-test/files/").unwrap();
        items.iter().map(|it| it.bytes).sum::<u64>()
    };
    let mut noise = Vec::new();
    for n in 0_u64..40_000 {
        noise.extend(n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    }
    fs::write(shelf.path("o/a"), &noise).unwrap();
    shelf.changed("o/a", Change::Rewritten);
    shelf.ship_files();
    let whole = bytes(&shelf);
    // Nothing changed: neither a start nor a new generation uploads anything of it.
    shelf.open();
    assert_eq!(bytes(&shelf), whole);
    shelf.begin();
    assert!(bytes(&shelf) - whole < 4_000, "{}", bytes(&shelf) - whole);
    let before = bytes(&shelf);
    noise.extend([1; 100]);
    noise[200_000] ^= 1;
    fs::write(shelf.path("o/a"), &noise).unwrap();
    shelf.changed("o/a", Change::Rewritten);
    shelf.ship_files();
    assert!(
        bytes(&shelf) - before < 70_000,
        "{}",
        bytes(&shelf) - before
    );
    let id = shelf.point();
    assert_eq!(shelf.of_point(&id).unwrap(), shelf.state());
}

#[test]
fn head_of_a_file_is_replaced_alone() {
    let mut shelf = Shelf::new(32_768);
    let path = shelf.path("o/headed");
    let mut content = b"head".to_vec();
    for n in 0..20_u8 {
        content.extend([n; 5_000]);
        content[0] = n;
        fs::write(&path, &content).unwrap();
        shelf.changed("o/headed", Change::Grown);
        shelf.ship_files();
        let id = shelf.point();
        assert_eq!(shelf.of_point(&id).unwrap()["o/headed"].0, content);
    }
    shelf.base();
    content[0] = 99;
    fs::write(&path, &content).unwrap();
    shelf.changed("o/headed", Change::Grown);
    shelf.ship_files();
    let id = shelf.point();
    assert_eq!(shelf.of_point(&id).unwrap()["o/headed"].0, content);
}

#[test]
fn file_that_shrinks_or_goes_while_it_is_shipped_is_looked_at_again() {
    let mut shelf = Shelf::new(32_768);
    let path = shelf.path("o/a");
    fs::write(&path, vec![7; 200_000]).unwrap();
    let writer = shelf.writer.as_mut().unwrap();
    writer
        .change("o/a", &path, Change::Grown, (0, u64::MAX))
        .unwrap();
    assert!(!writer.step(false).unwrap());
    let shrunk = fs::File::options().write(true).open(&path).unwrap();
    shrunk.set_len(50_000).unwrap();
    while !writer.step(true).unwrap() {}
    assert_eq!(writer.take_again(), ["o/a"]);
    shelf.changed("o/a", Change::Rewritten);
    shelf.ship_files();
    let id = shelf.point();
    assert_eq!(shelf.of_point(&id).unwrap(), shelf.state());
    fs::remove_file(&path).unwrap();
    shelf.changed("o/a", Change::Grown);
    shelf.ship_files();
    let id = shelf.point();
    assert_eq!(shelf.of_point(&id).unwrap(), State::new());
}

#[test]
fn lost_objects_are_shipped_again_by_the_next_start() {
    let mut shelf = Shelf::new(32_768);
    for name in ["o/a", "o/b"] {
        fs::write(shelf.path(name), name.repeat(20_000)).unwrap();
        shelf.changed(name, Change::Grown);
        shelf.ship_files();
    }
    shelf.point();
    shelf.begin();
    let parts = shelf.store.storage.list("hive-test/files/").unwrap();
    let lost = parts.iter().find(|it| it.key.ends_with(".part")).unwrap();
    shelf.store.storage.remove(&lost.key).unwrap();
    let id = shelf.point();
    assert!(matches!(
        shelf.of_point(&id),
        Err(ArchiveError::Missing { .. })
    ));
    shelf.open();
    let id = shelf.point();
    assert_eq!(shelf.of_point(&id).unwrap(), shelf.state());
}

#[test]
fn another_writer_of_the_files_is_refused() {
    let mut shelf = Shelf::new(32_768);
    let generation = shelf.store.writer.as_ref().unwrap().generation().to_owned();
    let mut other = FilesWriter::open(shelf.store.needs(), &generation).unwrap();
    fs::write(shelf.path("o/a"), "a").unwrap();
    shelf.changed("o/a", Change::Grown);
    shelf.ship_files();
    fs::write(shelf.path("o/b"), "b").unwrap();
    let path = shelf.path("o/b");
    other
        .change("o/b", &path, Change::Grown, (0, u64::MAX))
        .unwrap();
    let refused = other.step(true).unwrap_err();
    assert!(matches!(refused, ArchiveError::Fenced { .. }), "{refused}");
}
