//! Room for outputs: the removal of old ones.

use std::{
    collections::{BTreeSet, HashSet},
    io,
};

use deia_archive::Change;

use super::{
    super::{attempts_in, tasks_in},
    AttemptOf, Books, Demand, Shelf,
    oldest::{Old, Oldest},
    remove_if_there,
};

/// Part of the limit that is made free when outputs are removed, as a divisor. Fixed: the
/// files are not looked through for each output.
const FREE_PART: u64 = 64;

impl Shelf {
    /// Removes outputs until the demand is met. Returns whether it is.
    pub(super) fn make_room(
        &self,
        books: &mut Books,
        demand: Demand,
        runs: &dyn Fn(AttemptOf) -> bool,
    ) -> bool {
        let Some(limit) = demand.limit else {
            return true;
        };
        let fits = |bytes: u64| bytes.saturating_add(demand.bytes) <= limit;
        if fits(books.bytes) {
            return true;
        }
        // Removing what is over does not help while running attempts take it all.
        if !fits(books.running) {
            return false;
        }
        let wanted = (limit - limit / FREE_PART).saturating_sub(demand.bytes);
        let (before, bytes_before) = (self.removed.get(), books.bytes);
        let mut marked = Vec::new();
        while books.bytes > wanted {
            if books.oldest.first.is_empty() && !books.oldest.is_all {
                self.remove_marked(books, std::mem::take(&mut marked));
                books.oldest = self.look_through(runs);
            }
            let Some(old) = books.oldest.first.pop_first() else {
                break;
            };
            if runs(old.of) {
                books.oldest.is_all = false;
                continue;
            }
            match self.mark(old.of) {
                Ok(None) => {}
                Ok(Some(length)) => {
                    books.bytes = books.bytes.saturating_sub(length);
                    marked.push((old.of, length));
                }
                Err(error) => cannot_be_removed(old.of, &error),
            }
        }
        self.remove_marked(books, marked);
        let removed = self.removed.get() - before;
        if removed > 0 {
            tracing::warn!(
                outputs = removed,
                bytes = bytes_before - books.bytes,
                limit,
                "outputs were removed: together they exceed tasks.max_outputs_bytes"
            );
        }
        fits(books.bytes)
    }

    /// Writes the sign that an output is removed. Returns the length of the output; `None` if it is
    /// gone.
    fn mark(&self, of: AttemptOf) -> io::Result<Option<u64>> {
        let length = match self.path(of).metadata() {
            Ok(file) => file.len(),
            // It went with its task.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        self.write_tombstone(of)?;
        Ok(Some(length))
    }

    /// Removes outputs once their signs are on disk, each with its length: after a power loss an
    /// output that is gone must not look like one that was lost.
    fn remove_marked(&self, books: &mut Books, marked: Vec<(AttemptOf, u64)>) {
        let tasks: HashSet<_> = marked.iter().map(|((task, _), _)| *task).collect();
        let unsynced = |task| self.sync_tombstones(task).err().map(|error| (task, error));
        let unsynced: Vec<_> = tasks.into_iter().filter_map(unsynced).collect();
        for (of, length) in marked {
            let failed = unsynced.iter().find(|(task, _)| *task == of.0);
            let removed = match failed {
                Some((_, error)) => Err(io::Error::new(error.kind(), error.to_string())),
                None => remove_if_there(&self.path(of)),
            };
            match removed {
                Ok(()) => {
                    self.note_changed(of, Change::Rewritten);
                    self.removed.add(1);
                    let (task, attempt) = of;
                    tracing::debug!(%task, attempt, bytes = length, "an output was removed for the limit");
                }
                Err(error) => {
                    books.bytes = books.bytes.saturating_add(length);
                    cannot_be_removed(of, &error);
                }
            }
        }
    }

    /// Looks for the outputs that are removed first.
    fn look_through(&self, runs: &dyn Fn(AttemptOf) -> bool) -> Oldest {
        let mut oldest = Oldest {
            first: BTreeSet::new(),
            is_all: true,
        };
        let tasks = tasks_in(&self.directory).unwrap_or_default();
        for task in tasks {
            for (attempt, length) in attempts_in(&self.of_task(task)).unwrap_or_default() {
                let of = (task, attempt);
                let file = self.path(of).metadata();
                if let Ok(file) = file
                    && length > 0
                    && !runs(of)
                {
                    oldest.note(Old::new(of, &file));
                }
            }
        }
        oldest
    }
}

fn cannot_be_removed((task, attempt): AttemptOf, error: &io::Error) {
    tracing::warn!(%task, attempt, %error, "an output beyond the limit cannot be removed");
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::{Arc, Mutex},
    };

    use deia_model::TaskId;

    use super::*;
    use crate::file_notes::FileNotes;

    /// A shelf with an output of 10 bytes of each of these tasks, and the syncs of directories, with
    /// the files that were there then.
    fn shelf(tasks: &[TaskId]) -> (Shelf, Arc<Mutex<Vec<Vec<String>>>>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        for task in tasks {
            let of_task = dir.path().join(task.to_string());
            fs::create_dir(&of_task).unwrap();
            fs::write(of_task.join("1"), "0123456789").unwrap();
        }
        let syncs = Arc::new(Mutex::new(Vec::new()));
        let noted = syncs.clone();
        let mut shelf = Shelf::new(dir.path().to_owned(), FileNotes::default());
        shelf.sync = Box::new(move |path| {
            let files = fs::read_dir(path)?.map(|file| file.unwrap().file_name());
            let mut files: Vec<_> = files.map(|it| it.into_string().unwrap()).collect();
            files.sort();
            noted.lock().unwrap().push(files);
            Ok(())
        });
        (shelf, syncs, dir)
    }

    fn files(dir: &tempfile::TempDir, task: TaskId) -> usize {
        fs::read_dir(dir.path().join(task.to_string()))
            .unwrap()
            .count()
    }

    #[test]
    fn sign_of_a_removed_output_is_on_disk_before_the_output_goes() {
        let tasks = [TaskId::new(), TaskId::new(), TaskId::new()];
        let (shelf, syncs, dir) = shelf(&tasks);
        shelf.count_all(Some(9), &|_| false).unwrap();
        assert_eq!((shelf.bytes(), shelf.removed()), (0, 3));
        let expected = vec!["1".to_owned(), "1.removed".to_owned()];
        assert_eq!(*syncs.lock().unwrap(), vec![expected; 3]);
        for task in tasks {
            assert_eq!(files(&dir, task), 1);
            assert!(shelf.removed_at((task, 1)).is_some());
        }
    }

    #[test]
    fn output_stays_whose_sign_is_not_on_disk() {
        let tasks = [TaskId::new()];
        let (mut shelf, _, dir) = shelf(&tasks);
        shelf.sync = Box::new(|_| Err(io::ErrorKind::StorageFull.into()));
        shelf.count_all(Some(5), &|_| false).unwrap();
        assert_eq!((shelf.bytes(), shelf.removed()), (10, 0));
        assert_eq!(files(&dir, tasks[0]), 2);
    }
}
