//! Schemas of parameters that are strings. The types exist for their schemas only.

use std::borrow::Cow;

use deia_model::{
    ExternalAction,
    text::{SECRET_NAME, short_text, text},
};
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

/// A filter by action.
pub(crate) struct ActionOrKind;

impl ActionOrKind {
    /// Maximum length, as that of an action of another system.
    pub(crate) const MAX_LENGTH: usize = ExternalAction::MAX_LENGTH;
}

impl PartialSchema for ActionOrKind {
    fn schema() -> RefOr<Schema> {
        short_text(
            Self::MAX_LENGTH,
            "An action such as `bot.crashed`, or a kind of action such as `bot`.",
            r"^[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*$",
            "bot.crashed",
        )
    }
}

impl ToSchema for ActionOrKind {
    fn name() -> Cow<'static, str> {
        "ActionOrKind".into()
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
    /// A filter by label.
    KeyAndValue: "A key, `=`, and the value.", r"^[^=]+=[\s\S]*$", "team=core";
    /// The name of a stored secret.
    SecretName: "The name of a stored secret.", SECRET_NAME, "anthropic";
}
