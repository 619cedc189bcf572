//! What can be said of a worker and of a supervisor alike.

macro_rules! policy_methods {
    ($($path:tt)+) => {
        /// When it is started again. Default: [`Restart::Permanent`].
        #[must_use]
        pub fn restart(mut self, restart: Restart) -> Self {
            self.$($path)+.restart = restart;
            self
        }

        /// How long it may take to be ready. One that takes longer is stopped, and has failed to
        /// start: see [`ExitReason::StartFailed`](crate::ExitReason::StartFailed). `None`: as long
        /// as it wants. Default: 5 minutes for a worker; no limit for a supervisor, whose children
        /// have theirs.
        #[must_use]
        pub fn start_within(mut self, limit: impl Into<Option<Duration>>) -> Self {
            self.$($path)+.start_within = limit.into();
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

        /// How long it may have mail and handle none of it, although its arbiter lives and it is
        /// not suspended, before it is reported as [`Stalled`](crate::EventKind::Stalled); more
        /// than zero. The [watchdog](SupervisorSpec::watchdog) looks after that, so it is reported
        /// up to a quarter of the watchdog's limit later, and not at all without a watchdog. Of a
        /// supervisor: of the workers below it. Default: that of its supervisor; at the root, never.
        #[must_use]
        pub fn stalled_after(mut self, limit: Duration) -> Self {
            self.$($path)+.stalled_after = Some(limit);
            self
        }

        /// What is done about it when it is stalled; of a supervisor, about the workers below it.
        /// Default: as its supervisor says; at the root, [`OnStall::Report`].
        #[must_use]
        pub fn on_stall(mut self, on_stall: OnStall) -> Self {
            self.$($path)+.on_stall = Some(on_stall);
            self
        }

        /// How much it matters. Default: [`Criticality::Important`].
        #[must_use]
        pub fn criticality(mut self, criticality: Criticality) -> Self {
            self.$($path)+.criticality = criticality;
            self
        }

        /// Tags it as part of a feature; a child may have several tags. What carries a tag can be
        /// suspended as one: see [`Tree::suspend_feature`](crate::Tree::suspend_feature).
        #[must_use]
        pub fn feature(mut self, feature: impl Into<std::sync::Arc<str>>) -> Self {
            self.$($path)+.features.push(feature.into());
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
