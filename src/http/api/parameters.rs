//! Schemas of parameters that are strings. The types exist for their schemas only.

use std::borrow::Cow;

use deia_model::text::{SECRET_NAME, text};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema, schema::AnyOfBuilder},
};

/// The value of `If-Match`.
pub(crate) struct ETagOrAny;

impl PartialSchema for ETagOrAny {
    fn schema() -> RefOr<Schema> {
        AnyOfBuilder::new()
            .description(Some("An ETag of this resource, or `*`."))
            .item(text("An ETag.", r#"^"[1-9][0-9]{0,18}"$"#, "\"3\""))
            .item(Any::schema())
            .into()
    }
}

impl ToSchema for ETagOrAny {
    fn name() -> Cow<'static, str> {
        "ETagOrAny".into()
    }
}

macro_rules! parameters {
    ($($(#[$doc:meta])* $name:ident: $description:literal, $pattern:expr, $example:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                text($description, $pattern, $example)
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )*};
}

parameters! {
    /// The value of `Idempotency-Key`.
    IdempotencyKey: "1 to 255 visible ASCII characters.", "^[!-~]{1,255}$", "order-4711";
    /// The value of `If-None-Match`.
    Any: "`*`.", r"^\*$", "*";
    /// A filter by metadata.
    KeyAndText: "A key, `:`, and the value as text. A `:` in the key is written `\\:`, a `\\` as `\\\\`.", r"^(?:[^\\:]|\\[\s\S])*:[\s\S]*$", "customer:4711";
    /// The name of a stored secret.
    SecretName: "The name of a stored secret.", SECRET_NAME, "anthropic";
}
