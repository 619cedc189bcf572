//! What can be said of a worker and of a supervisor alike.

macro_rules! policy_methods {
    ($($path:tt)+) => {
        /// When it is started again. Default: [`Restart::Permanent`].
        #[must_use]
        pub fn restart(mut self, restart: Restart) -> Self {
            self.$($path)+.restart = restart;
            self
        }

        /// How it is stopped. Default: within 5 s for a worker, [`Shutdown::Infinity`] for a
        /// supervisor.
        #[must_use]
        pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
            self.$($path)+.shutdown = shutdown;
            self
        }

        /// How long a restart waits. Default: [`Backoff::none`].
        #[must_use]
        pub fn backoff(mut self, backoff: Backoff) -> Self {
            self.$($path)+.backoff = backoff;
            self
        }

        /// A restart budget of its own, instead of its share of the supervisor's: it then cannot
        /// use up what its siblings may need. Default: none.
        #[must_use]
        pub fn budget(mut self, budget: Intensity) -> Self {
            self.$($path)+.budget = Some(budget);
            self
        }

        /// What happens when the budget its restarts count against is exhausted. Default:
        /// [`OnExhausted::Escalate`].
        #[must_use]
        pub fn on_exhausted(mut self, exhausted: OnExhausted) -> Self {
            self.$($path)+.exhausted = exhausted;
            self
        }

        /// On which arbiter it runs; of a supervisor, on which the workers below it do. Default:
        /// that of its supervisor; at the root, [`Placement::Here`].
        #[must_use]
        pub fn placement(mut self, placement: Placement) -> Self {
            self.$($path)+.placement = Some(placement);
            self
        }

        /// How much it matters. Default: [`Criticality::Important`].
        #[must_use]
        pub fn criticality(mut self, criticality: Criticality) -> Self {
            self.$($path)+.criticality = criticality;
            self
        }

        /// Whether its end may end its supervisor: see [`AutoShutdown`]. Default: no.
        #[must_use]
        pub fn significant(mut self, significant: bool) -> Self {
            self.$($path)+.significant = significant;
            self
        }
    };
}
