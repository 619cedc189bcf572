//! The beginning of a writer: it goes on with what the archive has.

use super::FilesWriter;
use crate::{
    ArchiveError, Needs,
    files::{
        keys::Listing,
        replay::{Replayed, Source},
        state::{File, Files},
    },
    frame::NO_PART,
};

impl FilesWriter {
    /// Continues the file parts of a generation, or begins them with the files that the generation
    /// before has.
    ///
    /// # Errors
    /// [`ArchiveError::Storage`]: repeat the call.
    pub fn open(needs: Needs, generation: &str) -> Result<Self, ArchiveError> {
        let storage = needs.storage.clone();
        let listing = Listing::of(&*storage, &needs.hive)?;
        let source = Source {
            storage: &*storage,
            hive: &needs.hive,
            listing: &listing,
        };
        let newest = listing.of_generation(generation).keys().next_back();
        let newest = newest.copied().unwrap_or(0);
        let mut writer = Self::new(needs.clone(), generation, newest);
        let continued = match newest {
            0 => writer.inherited(&source)?,
            _ => lenient(source.replay(generation, None))?,
        };
        match continued {
            // Lost parts: everything is shipped again, behind a new base.
            None => {}
            Some(found) if newest > 0 => {
                writer.number = found.number;
                writer.hash = found.hash;
                writer.parts_since = found.parts_since;
                writer.bytes_since = found.bytes_since;
                writer.base_at = found.base_at;
                writer.files = found.files;
                writer.forget_lost(&listing);
                return Ok(writer);
            }
            Some(found) => writer.files = found.files,
        }
        writer.forget_lost(&listing);
        writer.begin_listing();
        writer.settle()?;
        Ok(writer)
    }

    fn new(needs: Needs, generation: &str, number: u64) -> Self {
        Self {
            needs,
            generation: generation.to_owned(),
            files: Files::default(),
            number,
            hash: NO_PART,
            parts_since: 0,
            bytes_since: 0,
            base_at: 0,
            entries: Vec::new(),
            content: Vec::new(),
            object: None,
            pending: None,
            listing: None,
            work: None,
            has_begun_base: false,
            again: Vec::new(),
            left: Vec::new(),
            trusts_stamps: true,
        }
    }

    /// Returns the files of the generation that this one continues.
    fn inherited(&mut self, source: &Source<'_>) -> Result<Option<Replayed>, ArchiveError> {
        let survey = crate::Survey::of(source.storage, source.hive)?;
        let lineage = crate::lineage::of(&survey, &self.generation);
        let Some(before) = lineage.get(1) else {
            return Ok(None);
        };
        let beginnings = survey.generations.iter();
        let beginning = beginnings
            .filter(|it| it.id == *before)
            .find_map(|it| it.beginning.as_ref());
        self.trusts_stamps = beginning.is_some_and(|it| it.instance == self.needs.instance);
        lenient(source.replay(before, None))
    }

    /// Forgets files whose bytes are not in the archive any more: they are shipped again.
    fn forget_lost(&mut self, listing: &Listing) {
        let objects = &self.files.objects;
        let has: Vec<bool> = { objects.iter() }
            .map(|it| listing.has(&it.generation, it.number))
            .collect();
        let is_whole =
            |file: &File| { file.extents.iter() }.all(|extent| has[extent.object as usize]);
        self.files.files.retain(|_, file| is_whole(file));
    }
}

/// Returns what was found; what is lost of it is as good as nothing.
fn lenient<T>(found: Result<Option<T>, ArchiveError>) -> Result<Option<T>, ArchiveError> {
    match found {
        Err(error) if error.may_pass() => Err(error),
        found => Ok(found.ok().flatten()),
    }
}
