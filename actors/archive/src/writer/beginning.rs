//! The description of a generation, and its link to the one before.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Needs, now};
use crate::{
    ArchiveError, document,
    layout::{self, Keys},
    storage::Storage,
    survey::{Survey, newest_part},
};

/// The end of the generation before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// Id of that generation.
    pub(crate) generation: String,
    /// Number of the last part; 0 if there was none.
    pub(crate) part: u64,
    /// Hash of that part, in hexadecimal digits; empty if it cannot be read.
    pub(crate) hash: String,
}

/// The description of a generation, written when it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beginning {
    pub(crate) v: u32,
    /// Id of the generation.
    pub id: String,
    /// Number among the generations of the hive, from 1.
    pub number: u64,
    pub(crate) hive: String,
    pub(crate) instance: String,
    /// Time at which it began, in milliseconds since 1970.
    pub began_at: i64,
    /// The reason why the log does not continue the generation before.
    pub reason: String,
    /// The generation before; `None` if the archive had none.
    pub(crate) previous: Option<Link>,
}

impl Beginning {
    /// Returns the description of a generation that follows the newest one of the archive.
    ///
    /// # Errors
    /// [`ArchiveError::Storage`].
    pub(super) fn after_the_newest(needs: &Needs, reason: &str) -> Result<Self, ArchiveError> {
        let survey = Survey::of(&*needs.storage, &needs.hive)?;
        let newest = survey.generations.last();
        let link = |newest: &crate::survey::Generation| {
            let last = match newest_part(&*needs.storage, newest) {
                Err(error) if error.may_pass() => return Err(error),
                // A damaged part is found by those who read it.
                last => last.ok().flatten(),
            };
            Ok(Link {
                generation: newest.id.clone(),
                part: newest.parts.last().map_or(0, |(numbers, _)| numbers.1),
                hash: last.map_or_else(String::new, |(_, hash)| HEXLOWER.encode(&hash)),
            })
        };
        let number = newest.map_or(0, |it| it.number) + 1;
        let unique = Uuid::now_v7().simple().to_string();
        Ok(Self {
            v: document::VERSION,
            id: layout::generation_id(number, &unique),
            number,
            hive: needs.hive.clone(),
            instance: needs.instance.clone(),
            began_at: now(),
            reason: reason.to_owned(),
            previous: newest.map(link).transpose()?,
        })
    }

    pub(crate) fn read(storage: &dyn Storage, keys: &Keys) -> Result<Self, ArchiveError> {
        let key = keys.generation();
        let beginning: Self = document::read(storage, &key)?;
        let is_it = beginning.id == keys.generation
            && beginning.hive == keys.hive
            && Some(beginning.number) == layout::generation_number(&beginning.id);
        match is_it {
            true => Ok(beginning),
            false => Err(ArchiveError::damaged(
                storage.address(&key),
                format!("it is generation {} of {}", beginning.id, beginning.hive),
            )),
        }
    }
}
