//! Proofs for third parties.

use data_encoding::{BASE64, HEXLOWER};
use deia_model::{AuditConsistency, AuditName, AuditProof};
use deia_trail::{
    details::Details,
    entry::Entry,
    hash::Hash,
    names::Pseudonyms,
    note::VerifierKey,
    proof::{consistency, inclusion},
    tile::{TileId, TileKind},
};

use crate::audit::{
    index::{BUNDLE, Found, bundle_of, entry_in},
    query::{AuditReadError, AuditReads},
};

impl AuditReads {
    /// Returns everything that shows a third party that the entry is in the trail, up to its
    /// newest checkpoint.
    ///
    /// # Errors
    /// There is no such entry, or none any more, or the trail cannot be read.
    pub(crate) fn proof(&self, index: u64) -> Result<AuditProof, AuditReadError> {
        let trail = self.trail();
        let signed = trail.checkpoint()?;
        let signed = signed.ok_or(AuditReadError::NoEntry(index))?;
        let size = signed.checkpoint.head.size;
        if index >= size {
            return Err(AuditReadError::NoEntry(index));
        }
        let damaged = || {
            let id = TileId::full(TileKind::Entries, index / BUNDLE);
            AuditReadError::Damaged(id.to_string())
        };
        let bundle = match bundle_of(trail, index / BUNDLE, size)? {
            Found::Bundle(bundle) => bundle,
            Found::Pruned { .. } => return Err(AuditReadError::Pruned(index)),
            Found::Damaged => return Err(damaged()),
        };
        let entry = entry_in(&bundle, index).ok_or_else(damaged)?;
        let text = String::from_utf8(entry.to_vec()).map_err(|_| damaged())?;
        let parsed = Entry::parse(entry).map_err(|_| damaged())?;
        let (mut details, mut salt, mut erased) = (None, None, false);
        match trail.details(index)? {
            Some(Details::Kept { salt: used, json }) => {
                details = Some(String::from_utf8(json).map_err(|_| damaged())?);
                salt = Some(HEXLOWER.encode(&used));
            }
            Some(Details::Erased) => erased = true,
            None => {}
        }
        let hashes = inclusion(&trail.tree(size), index, size)?;
        let names = self.names()?;
        let checkpoint = signed.note.to_text();
        Ok(AuditProof {
            index,
            entry: text,
            details,
            salt,
            erased,
            proof: tlog_proof(index, &hashes, &checkpoint),
            checkpoint,
            keys: trail.keys()?.iter().map(VerifierKey::to_string).collect(),
            names: names_of(&parsed, &names),
        })
    }

    /// Returns the proof that the trail of `from` entries is the beginning of that of `to`
    /// entries; without `to`, of that of the newest checkpoint.
    ///
    /// # Errors
    /// These are not sizes of the trail, or it cannot be read.
    pub(crate) fn consistency(
        &self,
        from: u64,
        to: Option<u64>,
    ) -> Result<AuditConsistency, AuditReadError> {
        let trail = self.trail();
        let signed = trail.checkpoint()?;
        let size = signed.map_or(0, |signed| signed.checkpoint.head.size);
        let to = to.unwrap_or(size);
        if from > to || to > size {
            return Err(AuditReadError::Sizes { from, to, size });
        }
        // Subtrees of the later size are those of the trail as it is now.
        let hashes = consistency(&trail.tree(size), from, to)?;
        Ok(AuditConsistency {
            from,
            to,
            hashes: hashes.iter().map(|hash| BASE64.encode(hash)).collect(),
        })
    }
}

/// Returns a proof as <https://c2sp.org/tlog-proof> defines it.
fn tlog_proof(index: u64, hashes: &[Hash], checkpoint: &str) -> String {
    let mut text = format!("c2sp.org/tlog-proof@v1\nindex {index}\n");
    for hash in hashes {
        text.push_str(&BASE64.encode(hash));
        text.push('\n');
    }
    text.push('\n');
    text.push_str(checkpoint);
    text
}

fn names_of(entry: &Entry, names: &Pseudonyms) -> Vec<AuditName> {
    let mut ids = vec![&entry.actor, &entry.target.id];
    ids.extend(&entry.owner);
    ids.sort_unstable();
    ids.dedup();
    let name = |id: &String| {
        names.name(id).map(|name| AuditName {
            id: id.clone(),
            name: name.to_owned(),
        })
    };
    ids.into_iter().filter_map(name).collect()
}
