//! The threads of a tree.

use std::sync::{Mutex, PoisonError};

use actix_rt::{Arbiter, ArbiterHandle};

/// The pool for [`Placement::RoundRobin`](crate::Placement::RoundRobin), made when first used.
pub(crate) struct Pool {
    size: usize,
    members: Mutex<(Vec<ArbiterHandle>, usize)>,
}

impl Pool {
    pub(crate) fn new(size: Option<usize>) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            size: size.unwrap_or_else(cores),
            members: Mutex::default(),
        }
    }

    /// The arbiter whose turn it is.
    pub(crate) fn next(&self) -> ArbiterHandle {
        let mut guard = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let (members, turn) = &mut *guard;
        let index = *turn % self.size;
        *turn += 1;
        if index >= members.len() {
            members.push(Arbiter::new().handle());
        }
        members[index.min(members.len() - 1)].clone()
    }

    pub(crate) fn stop(&self) {
        let mut guard = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        for arbiter in guard.0.drain(..) {
            arbiter.stop();
        }
    }
}
