//! Notes of the changes of the trail's files, for the archive.

use std::path::Path;

use deia_archive::Change;
use deia_trail::{OnChange, details};

use super::work::Work;

/// Directory of the details in a trail: files that grow, apart from their heads.
const DETAILS: &str = "private/details";

/// Returns the function that a trail calls when its files change.
pub(super) fn on_change(work: &Work) -> OnChange {
    let (notes, config) = (work.notes.clone(), work.settings.get());
    OnChange::new(move |path: &Path| {
        let change = match path.starts_with(config.audit_dir().join(DETAILS)) {
            true => Change::Grown,
            false => Change::Rewritten,
        };
        notes.changed_at(&config.data_dir, path, change);
    })
}

/// Returns the function that a reader of a trail calls when it erases something.
pub(super) fn on_erase(work: &Work) -> OnChange {
    let (notes, config) = (work.notes.clone(), work.settings.get());
    OnChange::new(move |path: &Path| {
        notes.changed_at(&config.data_dir, path, Change::Rewritten);
    })
}

/// Notes that a trail was opened or pruned up to an entry: the details there may be cut, and any
/// other file may have come or gone.
pub(super) fn note_opened(work: &Work, entry: u64) {
    let config = work.settings.get();
    let segment = format!("{DETAILS}/{:06}", entry / details::SEGMENT);
    let path = config.audit_dir().join(segment);
    work.notes
        .changed_at(&config.data_dir, &path, Change::Rewritten);
    work.notes.look_at_all();
}
