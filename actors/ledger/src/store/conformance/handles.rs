//! Handles of the store under test, and races between them.

use std::{future::Future, sync::Arc};

use crate::{Ledger, Rejection, StoreError};

/// Two handles of one empty store. A backend that several processes may share gives two
/// connections; one that is owned by a single process gives the same handle twice.
pub(crate) struct Handles {
    /// A handle.
    pub a: Ledger,
    /// The other.
    pub b: Ledger,
}

impl Handles {
    /// Uses one store for both.
    pub(crate) fn same(ledger: Ledger) -> Self {
        Self {
            a: ledger.clone(),
            b: ledger,
        }
    }
}

impl From<Handles> for Ledger {
    fn from(handles: Handles) -> Self {
        handles.a
    }
}

/// Runs one case on a store that it has alone.
///
/// # Panics
/// If the store does not conform.
pub(crate) async fn check<Given, Case, Done>(handles: Handles, case: Case)
where
    Given: From<Handles>,
    Case: FnOnce(Given) -> Done,
    Done: Future<Output = ()>,
{
    let Handles { a, b } = handles;
    let shared = Arc::ptr_eq(&a, &b);
    // Serving ends with the store; nobody waits for it here.
    let _serving = a.serve().unwrap();
    let _serving_too = (!shared).then(|| b.serve().unwrap());
    let (one, other) = (a.clone(), b.clone());
    case(Handles { a, b }.into()).await;
    one.close().await;
    if !shared {
        other.close().await;
    }
}

/// Number of times that two commands are sent at once: each goes first in half of them.
pub(super) const ROUNDS: usize = 20;

/// Runs both at the same time; which begins first alternates with the round.
pub(super) async fn race<A, B>(
    round: usize,
    one: impl Future<Output = A>,
    other: impl Future<Output = B>,
) -> (A, B) {
    if round.is_multiple_of(2) {
        tokio::join!(one, other)
    } else {
        let (b, a) = tokio::join!(other, one);
        (a, b)
    }
}

/// Returns the rejection of the command that was refused.
///
/// # Panics
/// If not exactly one of both was refused.
pub(super) fn one_refused<T: std::fmt::Debug>(
    both: (Result<T, StoreError>, Result<T, StoreError>),
) -> Rejection {
    match both {
        (Ok(_), Err(StoreError::Refused(rejection)))
        | (Err(StoreError::Refused(rejection)), Ok(_)) => rejection,
        other => panic!("not exactly one was refused: {other:?}"),
    }
}
