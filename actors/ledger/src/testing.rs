//! Helpers for the tests of this crate and of crates that build on it: waiting for
//! conditions, and the rules of a small store. Behind the feature `testing`.

#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    future::Future,
    panic::Location,
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use deia_model::{RetryOverride, RetryPolicy};

use crate::{PerSubmitter, Retention, SubmitterLimits, TaskPolicy, TypePolicy};

/// Maximum time that a test waits for anything. Machines are shared: it is generous.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The answer of one look: the value, or not yet.
pub trait Look {
    /// The value looked for.
    type Found;

    /// Returns the value; `None`: not yet.
    fn found(self) -> Option<Self::Found>;
}

impl Look for bool {
    type Found = ();

    fn found(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Look for Option<T> {
    type Found = T;

    fn found(self) -> Option<T> {
        self
    }
}

/// Waits until `look` finds a value, and returns it.
///
/// # Panics
/// With `what`, after [`PATIENCE`] on the real clock.
#[track_caller]
pub fn until<'a, L: Look>(
    what: &'a str,
    mut look: impl AsyncFnMut() -> L + 'a,
) -> impl Future<Output = L::Found> + 'a {
    let place = Location::caller();
    async move {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look().await.found() {
                return found;
            }
            assert!(Instant::now() < deadline, "{place}: never: {what}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Like [`until`], on a thread that may block.
///
/// # Panics
/// Like [`until`].
#[track_caller]
pub fn block_until<L: Look>(what: &str, mut look: impl FnMut() -> L) -> L::Found {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().found() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// Returns the policy of stores under test.
pub fn policy() -> TaskPolicy {
    let roomy = SubmitterLimits {
        max_waiting: 5_000,
        max_waiting_bytes: ByteSize::mib(64),
        max_types: 20,
    };
    TaskPolicy {
        default_max_attempts: 2,
        default_timeout_seconds: 60,
        poison_after: 2,
        poison_after_hive_deaths: 3,
        bot_fault_delay: Duration::from_millis(50),
        retry: RetryPolicy {
            min: Duration::ZERO,
            max: Duration::ZERO,
            factor: 1.0,
            jitter: 0.0,
        },
        idempotency_retention: Duration::from_secs(3_600),
        by_type: [(
            "brief".parse().unwrap(),
            TypePolicy {
                max_attempts: Some(7),
                timeout_seconds: Some(9),
                expires_after: Some(Duration::from_millis(20)),
                retry: RetryOverride::default(),
            },
        )]
        .into(),
        max_waiting: 2_000,
        per_submitter: PerSubmitter {
            external: SubmitterLimits {
                max_waiting: 4,
                max_waiting_bytes: ByteSize::b(1_000),
                max_types: 3,
            },
            operator: roomy,
            admin: roomy,
        },
        max_idempotency_answers: 3,
        max_idempotency_bytes: 1_000,
        max_types: 20,
        max_types_external: 20,
        max_dependents: 5,
        claim_max_bytes: 1 << 20,
        retention: Retention {
            completed: Duration::from_millis(1),
            failed: Duration::from_millis(1),
            cancelled: Duration::from_millis(1),
        },
    }
}
