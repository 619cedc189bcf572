//! The files that an archive has at one moment, and the places of their bytes.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use data_encoding::HEXLOWER;

use super::part::{BaseList, Entry, Facts, ListedExtent, ListedFile, ListedObject, Put};
use crate::frame::PartHash;

/// An object that has bytes of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) generation: Arc<str>,
    pub(super) number: u64,
    pub(super) hash: PartHash,
    /// Size of its content, in bytes.
    pub(super) bytes: u64,
}

/// Some bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Index of the object.
    pub(super) object: u32,
    /// Offset in its content.
    pub(super) at: u64,
    pub(super) bytes: u64,
    pub(super) sha256: PartHash,
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct File {
    pub(super) facts: Facts,
    /// All of its bytes, in order.
    pub(super) extents: Vec<Extent>,
}

impl File {
    pub(super) fn length(&self) -> u64 {
        self.extents.iter().map(|it| it.bytes).sum()
    }

    /// Returns the extents with their offsets in the file.
    pub(super) fn placed(&self) -> impl Iterator<Item = (u64, &Extent)> {
        self.extents.iter().scan(0, |end, extent| {
            let from = *end;
            *end += extent.bytes;
            Some((from, extent))
        })
    }

    /// Returns the index of the extent that begins at an offset; that behind the last one for the
    /// length.
    fn index_at(&self, offset: u64) -> Option<usize> {
        let mut begins = self.placed().map(|(from, _)| from);
        match begins.position(|from| from == offset) {
            None if offset == self.length() => Some(self.extents.len()),
            found => found,
        }
    }

    /// Puts bytes in place of whole extents or behind the last one, and cuts the file.
    fn put(&mut self, put: &Put, object: u32, sha256: PartHash) -> Result<(), String> {
        let misfit = || "it changes bytes of a file that is not there as it says".to_owned();
        let length = self.length();
        let end = put.from.checked_add(put.bytes).ok_or_else(misfit)?;
        let first = self.index_at(put.from).ok_or_else(misfit)?;
        let last = match end >= length || end == put.length {
            true => self.extents.len(),
            false => self.index_at(end).ok_or_else(misfit)?,
        };
        let new = Extent {
            object,
            at: put.at,
            bytes: put.bytes,
            sha256,
        };
        self.extents
            .splice(first..last, (put.bytes > 0).then_some(new));
        let kept = self.index_at(put.length).ok_or_else(misfit)?;
        self.extents.truncate(kept);
        self.facts = put.facts.clone();
        Ok(())
    }
}

/// Reads a SHA-256.
pub(super) fn sha256(digits: &str) -> Option<PartHash> {
    HEXLOWER.decode(digits.as_bytes()).ok()?.try_into().ok()
}

/// Names that a file of an archive may have: plain names with `/` between them.
fn is_name(name: &str) -> bool {
    name.split('/')
        .all(|it| !it.is_empty() && it != "." && it != ".." && !it.contains(['\\', '\0']))
}

/// All files of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) objects: Vec<Object>,
    pub(super) files: BTreeMap<String, File>,
}

impl Files {
    /// Adds an object. Returns its index.
    pub(super) fn add_object(&mut self, object: Object) -> u32 {
        self.objects.push(object);
        u32::try_from(self.objects.len() - 1).unwrap_or(u32::MAX)
    }

    /// Applies a change whose bytes are in that object.
    ///
    /// # Errors
    /// The reason why it cannot be one.
    pub(super) fn apply(&mut self, entry: &Entry, object: u32) -> Result<(), String> {
        if !is_name(&entry.name) {
            return Err(format!("{:?} is no name of a file", entry.name));
        }
        let Some(put) = &entry.put else {
            self.remove(&entry.name);
            return Ok(());
        };
        let sha256 =
            sha256(&put.sha256).ok_or_else(|| "it has a checksum that is none".to_owned())?;
        match self.files.get_mut(&entry.name) {
            Some(file) => file.put(put, object, sha256),
            None => {
                let mut file = File::default();
                file.put(put, object, sha256)?;
                self.files.insert(entry.name.clone(), file);
                Ok(())
            }
        }
    }

    /// Removes a file, and all files below that name.
    fn remove(&mut self, name: &str) {
        self.files.remove(name);
        for below in self.below(name) {
            self.files.remove(&below);
        }
    }

    /// Returns the names of the files below a directory.
    pub(super) fn below(&self, name: &str) -> Vec<String> {
        let first = format!("{name}/");
        let range = (Bound::Included(first.as_str()), Bound::Unbounded);
        self.files
            .range::<str, _>(range)
            .map_while(|(it, _)| it.starts_with(&first).then(|| it.clone()))
            .collect()
    }

    /// Takes a part of a list of all files.
    ///
    /// # Errors
    /// The reason why it cannot be one.
    pub(super) fn take_list(&mut self, list: BaseList) -> Result<(), String> {
        let misfit = || "it lists a place that is none".to_owned();
        let mut indexes = Vec::with_capacity(list.objects.len());
        for object in list.objects {
            indexes.push(self.add_object(Object {
                generation: object.generation.into(),
                number: object.number,
                hash: sha256(&object.hash).ok_or_else(misfit)?,
                bytes: object.bytes,
            }));
        }
        for file in list.files {
            if !is_name(&file.name) {
                return Err(format!("{:?} is no name of a file", file.name));
            }
            let mut extents = Vec::with_capacity(file.extents.len());
            for ListedExtent(object, at, bytes, digits) in file.extents {
                extents.push(Extent {
                    object: *indexes.get(object as usize).ok_or_else(misfit)?,
                    at,
                    bytes,
                    sha256: sha256(&digits).ok_or_else(misfit)?,
                });
            }
            let facts = file.facts;
            self.files.insert(file.name, File { facts, extents });
        }
        Ok(())
    }

    /// Returns the list of some files, from the one after `after` on, of about `most` bytes, and the
    /// name of the last file in it; `None` in place of that at the end.
    pub(super) fn list(&self, after: Option<&str>, most: usize) -> (BaseList, Option<String>) {
        /// Size of the list of an extent and of an object, about. Fact: two hashes in digits.
        const EACH: usize = 128;
        let mut list = BaseList::default();
        let mut known = BTreeMap::new();
        let mut size = 0;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        for (name, file) in self.files.range::<str, _>((from, Bound::Unbounded)) {
            if size >= most {
                let last = list.files.last().map(|it: &ListedFile| it.name.clone());
                return (list, last);
            }
            let extents = file.extents.iter().map(|extent| {
                let index = *known.entry(extent.object).or_insert_with(|| {
                    list.objects.push(self.listed(extent.object));
                    u32::try_from(list.objects.len() - 1).unwrap_or(u32::MAX)
                });
                let digits = HEXLOWER.encode(&extent.sha256);
                ListedExtent(index, extent.at, extent.bytes, digits)
            });
            let extents: Vec<_> = extents.collect();
            size += name.len() + EACH + extents.len() * EACH;
            list.files.push(ListedFile {
                name: name.clone(),
                facts: file.facts.clone(),
                extents,
            });
        }
        (list, None)
    }

    fn listed(&self, index: u32) -> ListedObject {
        let object = &self.objects[index as usize];
        ListedObject {
            generation: object.generation.to_string(),
            number: object.number,
            hash: HEXLOWER.encode(&object.hash),
            bytes: object.bytes,
        }
    }

    /// Returns the number of bytes of each object that files have.
    pub(super) fn live(&self) -> Vec<u64> {
        let mut live = vec![0; self.objects.len()];
        for extent in self.files.values().flat_map(|it| &it.extents) {
            live[extent.object as usize] += extent.bytes;
        }
        live
    }

    /// Forgets the objects that no file has bytes in, and those listed twice.
    pub(super) fn compact(&mut self) {
        let mut known: BTreeMap<(Arc<str>, u64), u32> = BTreeMap::new();
        let mut kept: Vec<Object> = Vec::new();
        let objects = std::mem::take(&mut self.objects);
        for extent in self.files.values_mut().flat_map(|it| &mut it.extents) {
            let object = &objects[extent.object as usize];
            let place = (object.generation.clone(), object.number);
            extent.object = *known.entry(place).or_insert_with(|| {
                kept.push(object.clone());
                u32::try_from(kept.len() - 1).unwrap_or(u32::MAX)
            });
        }
        self.objects = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(from: u64, bytes: u64, length: u64) -> Entry {
        Entry {
            name: "a/b".into(),
            put: Some(Put {
                from,
                bytes,
                at: 0,
                sha256: HEXLOWER.encode(&[7; 32]),
                length,
                facts: Facts::default(),
            }),
        }
    }

    fn lengths(files: &Files) -> Vec<u64> {
        files.files["a/b"]
            .extents
            .iter()
            .map(|it| it.bytes)
            .collect()
    }

    #[test]
    fn changes_replace_whole_extents_append_and_cut() {
        let mut files = Files::default();
        for (entry, expected) in [
            (put(0, 10, 10), &[10][..]),
            (put(10, 5, 15), &[10, 5]),
            (put(15, 7, 22), &[10, 5, 7]),
            (put(10, 5, 22), &[10, 5, 7]),
            (put(0, 15, 22), &[15, 7]),
            (put(15, 9, 24), &[15, 9]),
            (put(24, 0, 24), &[15, 9]),
            (put(0, 4, 4), &[4]),
            (put(0, 0, 0), &[]),
        ] {
            let fits = files.apply(&entry, 0);
            // A run that ends within an extent, and a cut that does, are refused.
            fits.unwrap();
            assert_eq!(lengths(&files), expected);
        }
        files.apply(&put(0, 10, 10), 0).unwrap();
        for entry in [put(3, 4, 10), put(0, 4, 10), put(11, 1, 12), put(10, 5, 12)] {
            assert!(files.clone().apply(&entry, 0).is_err(), "{entry:?}");
        }
    }

    #[test]
    fn directory_that_is_gone_takes_its_files() {
        let mut files = Files::default();
        for name in ["o/1/1", "o/1/2", "o/10/1", "o/1"] {
            files.files.insert(name.into(), File::default());
        }
        let gone = Entry {
            name: "o/1".into(),
            put: None,
        };
        files.apply(&gone, 0).unwrap();
        assert_eq!(files.files.keys().collect::<Vec<_>>(), ["o/10/1"]);
    }

    #[test]
    fn names_do_not_leave_the_directory() {
        for name in ["../a", "/a", "a//b", "a/./b", "", "a/.."] {
            let entry = Entry {
                name: name.into(),
                put: None,
            };
            assert!(Files::default().apply(&entry, 0).is_err(), "{name}");
        }
    }

    #[test]
    fn list_in_pieces_is_the_whole() {
        let mut files = Files::default();
        for n in 0..10_u64 {
            let object = files.add_object(Object {
                generation: "g".into(),
                number: n / 2,
                hash: [1; 32],
                bytes: 9,
            });
            let mut entry = put(0, n, n);
            entry.name = format!("f/{n}");
            files.apply(&entry, object).unwrap();
        }
        files.compact();
        assert_eq!(files.objects.len(), 5);
        let mut found = Files::default();
        let (mut after, mut pieces) = (None::<String>, 0);
        loop {
            let (list, last) = files.list(after.as_deref(), 300);
            found.take_list(list).unwrap();
            pieces += 1;
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        found.compact();
        assert!(pieces > 2);
        assert_eq!(found, files);
    }
}
