//! Admission under overload, as far as handlers take part in it.

use deia_hive::metrics::Exposition;
use deia_model::Priority;

use super::RequestCtx;
use crate::http::body::problem::Problem;

impl RequestCtx {
    /// Refuses a submission under overload, by the priority of its least urgent task.
    pub(crate) async fn admits_priorities(
        &mut self,
        priorities: impl Iterator<Item = Priority>,
    ) -> Result<(), Problem> {
        let least = priorities.max().unwrap_or_default();
        let admission = self.state.admission.load_full();
        let admitted = admission.overload.admit_submission(least, self.contender);
        if admitted.is_err() {
            self.permit = None;
            admission.overload.hold_back().await;
        }
        admitted
    }

    /// Writes the metrics of admission under overload.
    pub(crate) fn write_admission(&self, out: &mut Exposition) {
        self.state.admission.load().overload.write(out);
    }
}
