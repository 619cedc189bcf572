//! Checks of the files that were opened.

use super::Writer;
use crate::anchor::{Adrift, Anchor};

impl Writer {
    /// Checks that the file and its log are still at their paths: commits to files that
    /// were removed are lost, and no caller may be told otherwise.
    pub(super) fn hold(&mut self) -> Result<(), Adrift> {
        let database = self.shared.anchor.get();
        let held = database
            .into_iter()
            .chain(&self.log)
            .try_for_each(Anchor::holds);
        if self.log.is_none() {
            self.log = Anchor::at(&self.log_path).ok();
        }
        match &held {
            Err(adrift) if !std::mem::replace(&mut self.is_adrift, true) => {
                tracing::error!(%adrift, "the store refuses writes");
            }
            Ok(()) if std::mem::take(&mut self.is_adrift) => {
                tracing::info!(
                    "the file of the store is back in its place; writes are accepted again"
                );
            }
            _ => {}
        }
        held
    }
}
