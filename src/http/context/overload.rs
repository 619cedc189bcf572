//! Admission under overload, as far as handlers take part in it.

use deia_hive::metrics::Exposition;
use deia_model::Priority;

use super::RequestCtx;
use crate::http::body::problem::Problem;

impl RequestCtx {
    /// Refuses a submission under overload, by the priority of its least urgent task.
    pub(crate) fn admits_priorities(
        &self,
        priorities: impl Iterator<Item = Priority>,
    ) -> Result<(), Problem> {
        let least = priorities.max().unwrap_or_default();
        let admission = self.state.admission.load();
        admission.overload.admit_submission(least, self.contender)
    }

    /// Writes the metrics of admission under overload.
    pub(crate) fn write_admission(&self, out: &mut Exposition) {
        self.state.admission.load().overload.write(out);
    }
}
