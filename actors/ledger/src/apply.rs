//! Commands applied by their type: each is answered with its own reply.

use std::future::Future;

use deia_model::Principal;

use crate::{CommandLog, LedgerCommand, Reply, StoreError};

/// Applies commands of any type. The command is sent when the method returns, whether
/// or not the future is polled.
pub trait Apply: CommandLog {
    /// Applies a command; resolves with its reply once it is on disk.
    fn apply<C: LedgerCommand>(
        &self,
        command: C,
    ) -> impl Future<Output = Result<C::Reply, StoreError>> + Send {
        typed::<C>(self.execute(command.into()))
    }

    /// Applies a command for a caller, unless the caller's access has changed since
    /// admission: see [`Command::For`](crate::Command::For).
    fn apply_for<C: LedgerCommand>(
        &self,
        who: &Principal,
        command: C,
    ) -> impl Future<Output = Result<C::Reply, StoreError>> + Send {
        typed::<C>(self.execute(command.into().on_behalf_of(who)))
    }

    /// Applies a command about something that has already happened: on a full disk it
    /// is kept until there is space, see [`CommandLog::execute_deferred`].
    fn apply_deferred<C: LedgerCommand>(
        &self,
        command: C,
    ) -> impl Future<Output = Result<C::Reply, StoreError>> + Send {
        typed::<C>(self.execute_deferred(command.into()))
    }
}

impl<S: CommandLog + ?Sized> Apply for S {}

/// Narrows the reply of a store to that of the command.
async fn typed<C: LedgerCommand>(
    executing: impl Future<Output = Result<Reply, StoreError>> + Send,
) -> Result<C::Reply, StoreError> {
    let reply = executing.await?;
    C::reply(reply).ok_or_else(|| {
        let command = std::any::type_name::<C>();
        StoreError::Failed(format!(
            "{command} was answered with the reply to another command; it is done"
        ))
    })
}
