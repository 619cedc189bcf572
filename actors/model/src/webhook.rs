//! Webhooks: endpoints outside of the hive that get its events.

/// Shows no value that is secret.
macro_rules! secretive_debug {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(not shown)"))
            }
        }
    )*};
}

mod delivery;
mod endpoint;
mod filter;
mod schema;
mod settings;
mod violations;

pub use self::{
    delivery::{
        Delivery, DeliveryAttempt, DeliveryDetail, DeliveryState, EventType, Replay, ReplayState,
        TestDelivery,
    },
    endpoint::{DisableReason, Disabled, MissedRange, Webhook, WebhookStatus, WebhookWithSecret},
    filter::EndpointFilter,
    settings::{NewWebhook, SignatureScheme, WebhookChange, WebhookSpec, lower_case},
};
pub(crate) use self::{
    schema::{MAX_URL, WEBHOOK_URL},
    violations::{MAX_HEADER_NAME, MAX_HEADER_VALUE, MAX_HEADERS, header_fault},
};
