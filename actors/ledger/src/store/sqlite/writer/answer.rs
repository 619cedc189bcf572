//! The answer to a command, and the error that its caller gets if the writer is gone.

use tokio::sync::oneshot;

use crate::{Reply, StoreError};

/// The answer owed to the caller of a command. Dropped before the writer began the
/// command, it reports that the store is closed; dropped later, that the outcome is
/// unknown.
pub(in crate::store::sqlite) struct Answer {
    caller: Option<oneshot::Sender<Result<Reply, StoreError>>>,
    begun: bool,
}

impl Answer {
    pub(in crate::store::sqlite) fn to(caller: oneshot::Sender<Result<Reply, StoreError>>) -> Self {
        Self {
            caller: Some(caller),
            begun: false,
        }
    }

    /// Notes that the command may be applied from now on.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    /// Sends the answer. The caller may have gone away.
    pub(super) fn send(mut self, answer: Result<Reply, StoreError>) {
        if let Some(caller) = self.caller.take() {
            let _ = caller.send(answer);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(caller) = self.caller.take().filter(|_| !self.begun) {
            let _ = caller.send(Err(StoreError::Closed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answer_that_is_dropped_tells_whether_the_command_was_begun() {
        let (caller, answered) = oneshot::channel();
        drop(Answer::to(caller));
        assert!(matches!(answered.await, Ok(Err(StoreError::Closed))));
        let (caller, answered) = oneshot::channel();
        let mut begun = Answer::to(caller);
        begun.begin();
        drop(begun);
        assert!(answered.await.is_err());
    }
}
