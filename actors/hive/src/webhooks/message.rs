//! Ids of messages.

use deia_model::{MessageId, Position, WebhookId};
use ring::digest;

/// Returns the id of the message about an event to an endpoint: the same on every attempt,
/// before and after a crash. It reveals nothing of the position, which would tell how many
/// events of others there are.
pub(super) fn message_id(webhook: WebhookId, event: Position) -> MessageId {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(b"deia webhook message\0");
    hash.update(webhook.as_bytes());
    hash.update(&event.timeline.to_be_bytes());
    hash.update(&event.seq.to_be_bytes());
    let hash = hash.finish();
    let mut id = [0; 16];
    id.copy_from_slice(&hash.as_ref()[..16]);
    MessageId::from_bytes(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_has_one_id_for_each_endpoint_and_event() {
        let (one, other) = (WebhookId::new(), WebhookId::new());
        let at = |timeline, seq| Position { timeline, seq };
        let id = message_id(one, at(1, 7));
        assert_eq!(id, message_id(one, at(1, 7)));
        for different in [
            message_id(other, at(1, 7)),
            message_id(one, at(1, 8)),
            message_id(one, at(2, 7)),
        ] {
            assert_ne!(id, different);
        }
    }
}
