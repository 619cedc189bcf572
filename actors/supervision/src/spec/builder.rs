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
        /// than zero. The [watchdog](crate::SupervisorSpec::watchdog) looks after that, so it is
        /// reported up to a quarter of the watchdog's limit later, and not at all without a
        /// watchdog. Of a supervisor: of the workers below it. Default: that of its supervisor; at
        /// the root, never.
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

        /// Whether its end may end its supervisor: see [`AutoShutdown`](crate::AutoShutdown).
        /// Default: no.
        #[must_use]
        pub fn significant(mut self, significant: bool) -> Self {
            self.$($path)+.significant = significant;
            self
        }
    };
}

/// What can be read back.
macro_rules! policy_getters {
    ($($path:tt)+) => {
        /// See [`restart`](Self::restart).
        #[must_use]
        pub fn get_restart(&self) -> Restart {
            self.$($path)+.restart
        }

        /// See [`start_within`](Self::start_within).
        #[must_use]
        pub fn get_start_within(&self) -> Option<Duration> {
            self.$($path)+.start_within
        }

        /// See [`shutdown`](Self::shutdown).
        #[must_use]
        pub fn get_shutdown(&self) -> Shutdown {
            self.$($path)+.shutdown
        }

        /// See [`backoff`](Self::backoff).
        #[must_use]
        pub fn get_backoff(&self) -> &Backoff {
            &self.$($path)+.backoff
        }

        /// See [`budget`](Self::budget).
        #[must_use]
        pub fn get_budget(&self) -> Option<&Intensity> {
            self.$($path)+.budget.as_ref()
        }

        /// See [`on_exhausted`](Self::on_exhausted).
        #[must_use]
        pub fn get_on_exhausted(&self) -> OnExhausted {
            self.$($path)+.exhausted
        }

        /// See [`stalled_after`](Self::stalled_after); `None` if it is inherited.
        #[must_use]
        pub fn get_stalled_after(&self) -> Option<Duration> {
            self.$($path)+.stalled_after
        }

        /// See [`on_stall`](Self::on_stall); `None` if it is inherited.
        #[must_use]
        pub fn get_on_stall(&self) -> Option<OnStall> {
            self.$($path)+.on_stall
        }

        /// See [`placement`](Self::placement); `None` if it is inherited.
        #[must_use]
        pub fn get_placement(&self) -> Option<&Placement> {
            self.$($path)+.placement.as_ref()
        }

        /// See [`criticality`](Self::criticality).
        #[must_use]
        pub fn get_criticality(&self) -> Criticality {
            self.$($path)+.criticality
        }

        /// See [`feature`](Self::feature).
        pub fn get_features(&self) -> impl Iterator<Item = &str> {
            self.$($path)+.features.iter().map(|feature| &**feature)
        }

        /// See [`significant`](Self::significant).
        #[must_use]
        pub fn is_significant(&self) -> bool {
            self.$($path)+.significant
        }
    };
}

/// What can be said of a worker only, and read back.
macro_rules! worker_methods {
    ($($policy:ident).+; $($record:ident).+) => {
        /// How many messages may wait for it; the bound holds for everything sent through its
        /// [`Handle`](crate::Handle). Default: 10,000. Ignored for supervisors.
        #[must_use]
        pub fn mailbox(self, messages: usize) -> Self {
            self.$($record).+.set_bound(messages);
            self
        }

        /// What becomes of waiting messages when its supervisor has failed and is restarted.
        /// Default: [`MailOnEscalation::Keep`]. Ignored for supervisors.
        #[must_use]
        pub fn mail_on_escalation(mut self, mail: MailOnEscalation) -> Self {
            self.$($policy).+.mail_on_escalation = mail;
            self
        }

        /// Whether it takes messages while it is suspended. Default: [`MailWhileSuspended::Keep`].
        /// Ignored for supervisors.
        #[must_use]
        pub fn mail_while_suspended(mut self, mail: MailWhileSuspended) -> Self {
            self.$($policy).+.mail_while_suspended = mail;
            self
        }

        /// Drops poison mail: once this many runs in a row (at least 1) have crashed on the very
        /// first message they took, all of one type, the messages of that type that still wait are
        /// dropped, with an event ([`PoisonMail`](crate::EventKind::PoisonMail)); whoever waits
        /// for an answer to one is told. Default: never. Ignored for supervisors.
        #[must_use]
        pub fn poison_after(mut self, crashes: u32) -> Self {
            self.$($policy).+.poison_after = Some(crashes.max(1));
            self
        }

        /// See [`mailbox`](Self::mailbox).
        #[must_use]
        pub fn get_mailbox(&self) -> usize {
            self.$($record).+.bound()
        }

        /// See [`mail_on_escalation`](Self::mail_on_escalation).
        #[must_use]
        pub fn get_mail_on_escalation(&self) -> MailOnEscalation {
            self.$($policy).+.mail_on_escalation
        }

        /// See [`mail_while_suspended`](Self::mail_while_suspended).
        #[must_use]
        pub fn get_mail_while_suspended(&self) -> MailWhileSuspended {
            self.$($policy).+.mail_while_suspended
        }

        /// See [`poison_after`](Self::poison_after).
        #[must_use]
        pub fn get_poison_after(&self) -> Option<u32> {
            self.$($policy).+.poison_after
        }
    };
}
