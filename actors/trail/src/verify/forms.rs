//! Forms of a tile or a bundle that a growing trail leaves behind: each must be the beginning
//! of what the tree has in its place.

use super::{
    files::{EntryKind, Files},
    report::{Fault, FaultKind},
    tiles::{self, Damage},
};
use crate::{
    bundle::Bundle,
    hash::{Hash, leaf},
    reader::hashes,
    tile::{TileId, TileKind},
};

/// Result of the comparison.
#[derive(Debug, Default)]
pub(super) struct Compared {
    pub(super) faults: Vec<Fault>,
    pub(super) notes: Vec<String>,
}

/// Compares all forms of a tile of the tree with its hashes, which are proven.
pub(super) fn check(files: &Files, id: TileId, row: &[Hash]) -> Compared {
    let mut compared = Compared::default();
    let mut widths = Vec::new();
    let mut strange = Vec::new();
    let listed = files.list(&id.partials_dir(), |name, kind| {
        let width = name.parse::<u8>().ok().filter(|width| *width > 0);
        match width.filter(|width| width.to_string() == name && kind == EntryKind::File) {
            Some(width) => widths.push(width),
            // A directory has few names that are widths, and any number of others.
            None if strange.len() < usize::from(u8::MAX) => strange.push(name.to_owned()),
            None => {}
        }
    });
    if listed.is_err() {
        // A trail that grows removes the forms of a tile that became full.
        return compared;
    }
    for name in strange {
        let dir = id.partials_dir();
        compared
            .notes
            .push(format!("{dir}/{name} is no part of a trail"));
    }
    widths.sort_unstable();
    let wider = widths
        .iter()
        .filter(|width| usize::from(**width) > id.width());
    let wider =
        wider.count() + usize::from(id.is_partial() && files.exists(&id.grown().to_string()));
    if wider > 0 {
        compared.notes.push(format!(
            "{wider} wider forms of {id} are beyond the checkpoint and were not checked"
        ));
    }
    let mut bytes = Vec::new();
    for width in widths {
        if usize::from(width) >= id.width() {
            continue;
        }
        let form = TileId::partial(id.kind(), id.index(), width);
        let reason = match tiles::read(files, form, &mut bytes) {
            Ok(()) if is_beginning(form, &bytes, row) => continue,
            Ok(()) => "it is not the beginning of the hash in the tree".into(),
            Err(Damage::Unreadable(super::files::Unreadable::Missing)) => continue,
            Err(damage) => damage.to_string(),
        };
        let kind = match id.kind() {
            TileKind::Hashes(_) => FaultKind::Tile,
            TileKind::Entries => FaultKind::Bundle,
        };
        compared
            .faults
            .push(Fault::new(kind, form.to_string(), reason));
    }
    compared
}

fn is_beginning(form: TileId, bytes: &[u8], row: &[Hash]) -> bool {
    let found: Vec<Hash> = match form.kind() {
        TileKind::Hashes(_) => hashes(bytes),
        TileKind::Entries => match Bundle::parse(bytes.to_vec()) {
            Some(bundle) => bundle.iter().map(leaf).collect(),
            None => return false,
        },
    };
    found.len() == form.width() && row.starts_with(&found)
}
