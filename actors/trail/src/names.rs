//! Pseudonyms: what entries contain in place of the names of persons.

use std::{
    collections::HashMap,
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::files::{self, Dirty};

/// Beginning of each pseudonym.
pub const PREFIX: &str = "user_";

/// A line of the file of names.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    id: String,
    name: String,
}

/// The pseudonyms of names, and the names of pseudonyms.
#[derive(Clone, Debug, Default)]
pub struct Pseudonyms {
    by_name: HashMap<String, String>,
    by_id: HashMap<String, String>,
}

impl Pseudonyms {
    /// Reads the file of names; lines that are no names are passed over.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = files::read(path)?.unwrap_or_default();
        let mut all = Self::default();
        for line in bytes.split(|b| *b == b'\n') {
            if let Ok(Line { id, name }) = serde_json::from_slice(line) {
                all.insert(id, name);
            }
        }
        Ok(all)
    }

    fn insert(&mut self, id: String, name: String) {
        self.by_name
            .entry(name.clone())
            .or_insert_with(|| id.clone());
        self.by_id.insert(id, name);
    }

    /// Returns the pseudonym of a name, if it has one.
    pub fn id(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).map(String::as_str)
    }

    /// Returns the name behind a pseudonym, if it is known.
    pub fn name(&self, id: &str) -> Option<&str> {
        self.by_id.get(id).map(String::as_str)
    }
}

/// Gives names their pseudonyms.
#[derive(Debug)]
pub(crate) struct NamesWriter {
    path: PathBuf,
    all: Pseudonyms,
    random: SystemRandom,
    /// Lines that are not written yet.
    gathered: Vec<u8>,
}

impl NamesWriter {
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        Ok(Self {
            all: Pseudonyms::read(&path)?,
            path,
            random: SystemRandom::new(),
            gathered: Vec::new(),
        })
    }

    /// Makes sure that a name has a pseudonym.
    pub(crate) fn admit(&mut self, name: &str) -> io::Result<()> {
        if self.all.by_name.contains_key(name) {
            return Ok(());
        }
        let mut bytes = [0; 16];
        self.random
            .fill(&mut bytes)
            .map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let text = data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase();
        let id = format!("{PREFIX}{text}");
        let line = Line {
            id: id.clone(),
            name: name.to_owned(),
        };
        // A torn line of an earlier run must not run into this one.
        if self.gathered.is_empty() {
            self.gathered.push(b'\n');
        }
        serde_json::to_writer(&mut self.gathered, &line)?;
        self.gathered.push(b'\n');
        self.all.insert(id, name.to_owned());
        Ok(())
    }

    pub(crate) fn all(&self) -> &Pseudonyms {
        &self.all
    }

    /// Writes the new names.
    pub(crate) fn write(&mut self, dirty: &mut Dirty) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        dirty.make_dir_of(&self.path)?;
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.path)?;
        file.write_all(&self.gathered)?;
        self.gathered.clear();
        dirty.changed(self.path.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_keeps_its_pseudonym() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("private/names");
        let mut dirty = Dirty::new(dir.path().to_owned(), crate::OnChange::default());
        let mut names = NamesWriter::open(path.clone()).unwrap();
        names.admit("ada").unwrap();
        names.admit("bob").unwrap();
        let of_ada = names.all().id("ada").unwrap().to_owned();
        names.write(&mut dirty).unwrap();
        // Torn by a crash.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"id\":\"user_x\",\"na").unwrap();

        let mut names = NamesWriter::open(path.clone()).unwrap();
        for name in ["ada", "eve"] {
            names.admit(name).unwrap();
        }
        names.write(&mut dirty).unwrap();
        let all = Pseudonyms::read(&path).unwrap();
        assert_eq!(all.id("ada"), Some(of_ada.as_str()));
        assert_eq!(all.name(&of_ada), Some("ada"));
        assert!(of_ada.starts_with(PREFIX) && of_ada.len() == 31);
        assert!(all.id("eve").is_some() && all.id("bob") != all.id("eve"));
        assert_eq!(all.id("mallory"), None);
    }
}
