//! Settings that workers and supervisors have in common.

macro_rules! policy_methods {
    ($($path:tt)+) => {
        /// Sets the condition under which the child is started again. Default:
        /// [`Restart::Permanent`].
        #[must_use]
        pub fn restart(mut self, restart: Restart) -> Self {
            self.$($path)+.restart = restart;
            self
        }

        /// Sets the time that the child may take to be ready. A child that takes longer is stopped,
        /// and has failed to start: see
        /// [`ExitReason::StartFailed`](crate::ExitReason::StartFailed). `None` sets no limit.
        /// Default: 5 minutes for a worker; no limit for a supervisor, whose children have theirs.
        #[must_use]
        pub fn start_within(mut self, limit: impl Into<Option<Duration>>) -> Self {
            self.$($path)+.start_within = limit.into();
            self
        }

        /// Sets the way in which the child is stopped. Default: within 5 s for a worker,
        /// [`Shutdown::Infinity`] for a supervisor.
        #[must_use]
        pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
            self.$($path)+.shutdown = shutdown;
            self
        }

        /// Sets the delay before a restart. Default: [`Backoff::none`].
        #[must_use]
        pub fn backoff(mut self, backoff: Backoff) -> Self {
            self.$($path)+.backoff = backoff;
            self
        }

        /// Gives the child a restart budget of its own instead of a share of the supervisor's, so
        /// that it cannot use up what its siblings may need. Default: none.
        #[must_use]
        pub fn budget(mut self, budget: Intensity) -> Self {
            self.$($path)+.budget = Some(budget);
            self
        }

        /// Sets the action that is taken when the budget against which the child's restarts count
        /// is exhausted. Default: [`OnExhausted::Escalate`].
        #[must_use]
        pub fn on_exhausted(mut self, exhausted: OnExhausted) -> Self {
            self.$($path)+.exhausted = exhausted;
            self
        }

        /// Sets the arbiter on which the child runs, or for a supervisor, the one on which the
        /// workers below it run. Default: that of the parent; at the root, [`Placement::Here`].
        #[must_use]
        pub fn placement(mut self, placement: Placement) -> Self {
            self.$($path)+.placement = Some(placement);
            self
        }

        /// Sets the time for which the child may have mail and handle none of it, although its
        /// arbiter lives and it is not suspended, before it is reported as
        /// [`Stalled`](crate::EventKind::Stalled); more than zero. The
        /// [watchdog](crate::SupervisorSpec::watchdog) checks this, so the child is reported up to
        /// a quarter of the watchdog's limit later, and not at all without a watchdog. On a
        /// supervisor, this sets the limit of the workers below it. Default: that of the parent; at
        /// the root, never.
        #[must_use]
        pub fn stalled_after(mut self, limit: Duration) -> Self {
            self.$($path)+.stalled_after = Some(limit);
            self
        }

        /// Sets the action that is taken when the child is stalled, or for a supervisor, when a
        /// worker below it is. Default: that of the parent; at the root, [`OnStall::Report`].
        #[must_use]
        pub fn on_stall(mut self, on_stall: OnStall) -> Self {
            self.$($path)+.on_stall = Some(on_stall);
            self
        }

        /// Sets the importance of the child. Default: [`Criticality::Important`].
        #[must_use]
        pub fn criticality(mut self, criticality: Criticality) -> Self {
            self.$($path)+.criticality = criticality;
            self
        }

        /// Tags the child as part of a feature; a child may have several tags. All children with a
        /// tag can be suspended together: see
        /// [`Tree::suspend_feature`](crate::Tree::suspend_feature).
        #[must_use]
        pub fn feature(mut self, feature: impl Into<std::sync::Arc<str>>) -> Self {
            self.$($path)+.features.push(feature.into());
            self
        }

        /// Sets whether the end of the child may end its supervisor: see
        /// [`AutoShutdown`](crate::AutoShutdown). Default: no.
        #[must_use]
        pub fn significant(mut self, significant: bool) -> Self {
            self.$($path)+.significant = significant;
            self
        }
    };
}

/// Defines the methods that read the common settings back.
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

/// Defines the methods that set and read the settings of workers only.
macro_rules! worker_methods {
    ($($policy:ident).+; $($record:ident).+) => {
        /// Sets the number of messages that may wait for the worker; the bound holds for everything
        /// sent through its [`Handle`](crate::Handle). Default: 10,000. Ignored for supervisors.
        #[must_use]
        pub fn mailbox(self, messages: usize) -> Self {
            self.$($record).+.set_bound(messages);
            self
        }

        /// Sets the treatment of waiting messages when the supervisor has failed and is restarted.
        /// Default: [`MailOnEscalation::Keep`]. Ignored for supervisors.
        #[must_use]
        pub fn mail_on_escalation(mut self, mail: MailOnEscalation) -> Self {
            self.$($policy).+.mail_on_escalation = mail;
            self
        }

        /// Sets whether the worker takes messages while it is suspended. Default:
        /// [`MailWhileSuspended::Keep`]. Ignored for supervisors.
        #[must_use]
        pub fn mail_while_suspended(mut self, mail: MailWhileSuspended) -> Self {
            self.$($policy).+.mail_while_suspended = mail;
            self
        }

        /// Makes the worker drop poison mail: once this many runs in a row (at least 1) have
        /// crashed on the very first message they took, all of one type, the messages of that type
        /// that still wait are dropped, with an event
        /// ([`PoisonMail`](crate::EventKind::PoisonMail)); callers that wait for an answer to one
        /// get an error. Default: never. Ignored for supervisors.
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
