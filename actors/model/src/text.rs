//! Schemas of text forms: one pattern for each, which accepts exactly the input of its
//! parser.

use std::borrow::Cow;

use serde_json::json;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr, Schema,
        schema::{
            AdditionalProperties, AnyOfBuilder, KnownFormat, ObjectBuilder, OneOfBuilder,
            SchemaFormat, Type,
        },
    },
};

use super::{
    AddressRange, BotMessageId, BotName, Dependency, ExternalAction, KeyId, LeaseToken, MessageId,
    ReplayId, SecretRef, SessionId, TaskId, TaskType, WebSessionId, WebhookId, new_task::MAX_TAG,
    secret,
};
use crate::Permission;

/// The pattern after the prefix of an id: 26 characters carry 130 bits, so the first
/// has only three of its five.
macro_rules! id_pattern {
    ($prefix:literal) => {
        concat!("^", $prefix, "_[0-7][0-9a-hjkmnp-tv-z]{25}$")
    };
}

/// A text without NUL, which no argument and no variable of a program may contain.
pub(super) const NO_NUL: &str = r"^[^\u0000]*$";

/// The name of an environment variable of a program; names that begin with `DEIA_` are
/// reserved.
pub(super) const VARIABLE: &str = r"^(?!DEIA_)[^=\u0000]+$";

/// The schema of the secrets of a bot. No value has this type.
pub struct SecretRefs;

/// The schema of a constant latency. No value has this type.
pub struct Latency;

/// The schema of the name of a user; see [`super::User::name_fault`]. No value has this
/// type.
pub struct UserName;

/// The schema of a tag of a task. No value has this type.
pub struct Tag;

/// The schema of the target of an external event; see [`crate::external_violations`]. No
/// value has this type.
pub struct ExternalTarget;

/// The name of a bot.
pub const BOT_NAME: &str = "^[a-z0-9][a-z0-9-]{0,62}$";

/// The name of a stored secret, as bots refer to it.
pub const SECRET_NAME: &str = r"^[a-z0-9][a-z0-9._-]{0,63}$";

/// The target of an external event; see [`crate::external_violations`].
pub const EXTERNAL_TARGET: &str =
    r"^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]{1,256}$";

/// Returns the schema of a text.
pub fn text(description: &str, pattern: &str, example: &str) -> RefOr<Schema> {
    builder(description, pattern, example).into()
}

/// Returns the schema of a text of at most `max` characters.
pub fn short_text(max: usize, description: &str, pattern: &str, example: &str) -> RefOr<Schema> {
    builder(description, pattern, example)
        .max_length(Some(max))
        .into()
}

fn builder(description: &str, pattern: &str, example: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .pattern(Some(pattern))
        .examples([json!(example)])
}

macro_rules! written_as_text {
    ($($name:ident: $description:literal, $pattern:expr, $example:literal;)*) => {$(
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

written_as_text! {
    TaskId: "The id of a task.", id_pattern!("task"), "task_01h455vb4pex5vsknk084sn02q";
    KeyId: "The id of a key; not secret.", id_pattern!("key"), "key_01h455vb4pex5vsknk084sn02q";
    WebSessionId: "The id of a web session; not secret.", id_pattern!("web_session"), "web_session_01h455vb4pex5vsknk084sn02q";
    WebhookId: "The id of a webhook endpoint.", id_pattern!("webhook"), "webhook_01h455vb4pex5vsknk084sn02q";
    MessageId: "The id of a message to an endpoint, the same on every attempt.", id_pattern!("msg"), "msg_01h455vb4pex5vsknk084sn02q";
    BotMessageId: "The id of a message to a bot.", id_pattern!("message"), "message_01h455vb4pex5vsknk084sn02q";
    SessionId: "The id of a session.", id_pattern!("session"), "session_01h455vb4pex5vsknk084sn02q";
    ReplayId: "The id of a replay.", id_pattern!("replay"), "replay_01h455vb4pex5vsknk084sn02q";
    LeaseToken: "The lease on one attempt.", id_pattern!("lease"), "lease_01h455vb4pex5vsknk084sn02q";
    BotName: "The name of a bot.", BOT_NAME, "upper-1";
    TaskType: "The type of a task.", "^[a-z0-9_.-]{1,63}$", "general";
    ExternalTarget: "The target of an event that another system recorded, in the words of that system, on one line.", EXTERNAL_TARGET, "release 7";
    UserName: "The name of a user; not `deia`.", r"^(?!deia$|\.{1,2}$)[A-Za-z0-9._@-]{1,128}$", "ada";
    Dependency: "The id of a task, or `@<n>` for the n-th task of the same batch, counted from 0.", "^(?:@[0-9]{1,9}|task_[0-7][0-9a-hjkmnp-tv-z]{25})$", "@0";
}

impl PartialSchema for ExternalAction {
    fn schema() -> RefOr<Schema> {
        short_text(
            Self::MAX_LENGTH,
            "The action of an event that another system recorded.",
            r"^ext(?:\.[a-z][a-z0-9_]{0,39}){1,4}$",
            "ext.deploy.approved",
        )
    }
}

impl ToSchema for ExternalAction {
    fn name() -> Cow<'static, str> {
        "ExternalAction".into()
    }
}

impl PartialSchema for Permission {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("A permission."))
            .enum_values(Some(Self::ALL.iter().map(|one| one.as_str())))
            .into()
    }
}

impl ToSchema for Permission {
    fn name() -> Cow<'static, str> {
        "Permission".into()
    }
}

impl PartialSchema for AddressRange {
    fn schema() -> RefOr<Schema> {
        let address = |format| {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(format)))
        };
        let range = text(
            "All addresses that begin as this one does, without bits beyond the prefix (CIDR).",
            "^[0-9A-Fa-f.:]{2,45}/(?:0|[1-9][0-9]{0,2})$",
            "192.0.2.0/24",
        );
        AnyOfBuilder::new()
            .description(Some("An address, or a range of addresses."))
            .item(address(KnownFormat::Ipv4))
            .item(address(KnownFormat::Ipv6))
            .item(range)
            .into()
    }
}

impl ToSchema for AddressRange {
    fn name() -> Cow<'static, str> {
        "AddressRange".into()
    }
}

/// Written by hand because derived `ToSchema` leaves the variants of an enum open, and
/// a reference has exactly one member.
impl PartialSchema for SecretRef {
    fn schema() -> RefOr<Schema> {
        const ABSOLUTE: &str = r"^(?![^\u0000]*/\.{1,2}(?:/|$))/[^\u0000]*$";
        let variants = [
            (
                "file",
                "The content of a file, without the end of its last line. An absolute path, in a place that `bots.secret_files` allows.",
                ABSOLUTE,
                "/etc/deia/anthropic",
            ),
            (
                "env",
                "A variable in the environment of the server, one that `bots.secret_env` allows.",
                NO_NUL,
                "ANTHROPIC_API_KEY",
            ),
            (
                "store",
                "A secret that was put into the secret store of the hive, by its name.",
                SECRET_NAME,
                "anthropic",
            ),
        ];
        let variant = |(name, description, pattern, example)| {
            ObjectBuilder::new()
                .description(Some(description))
                .property(name, text(description, pattern, example))
                .required(name)
                .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
        };
        let all = OneOfBuilder::new().description(Some(
            "A reference to a secret of a bot. The value is looked up at the start of each attempt and is nowhere in the specification.",
        ));
        let all = variants
            .map(variant)
            .into_iter()
            .fold(all, OneOfBuilder::item);
        all.into()
    }
}

impl ToSchema for SecretRef {
    fn name() -> Cow<'static, str> {
        "SecretRef".into()
    }
}

impl PartialSchema for SecretRefs {
    fn schema() -> RefOr<Schema> {
        let name = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(VARIABLE))
            .max_length(Some(secret::MAX_NAME));
        ObjectBuilder::new()
            .description(Some(
                "Secrets of a program: the environment variable of each, and the place of its value.",
            ))
            .property_names(Some(name))
            .additional_properties(Some(Ref::from_schema_name("SecretRef")))
            .max_properties(Some(secret::MAX_OF_BOT))
            .examples([json!({"API_KEY": {"store": "anthropic"}})])
            .into()
    }
}

impl ToSchema for SecretRefs {
    fn name() -> Cow<'static, str> {
        "SecretRefs".into()
    }

    fn schemas(all: &mut Vec<(String, RefOr<Schema>)>) {
        all.push((SecretRef::name().into_owned(), SecretRef::schema()));
    }
}

impl PartialSchema for Tag {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("A label for filtering: 1 to 128 characters."))
            .min_length(Some(1))
            .max_length(Some(MAX_TAG))
            .examples([json!("nightly")])
            .into()
    }
}

impl ToSchema for Tag {
    fn name() -> Cow<'static, str> {
        "Tag".into()
    }
}

impl PartialSchema for Latency {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .description(Some("A latency, in milliseconds."))
            .minimum(Some(0))
            .maximum(Some(86_400_000))
            .into()
    }
}

impl ToSchema for Latency {
    fn name() -> Cow<'static, str> {
        "Latency".into()
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use serde_json::Value;

    use super::*;
    use crate::{SecretName, User, external_violations};

    fn reads<T: FromStr>(text: &str) -> bool {
        text.parse::<T>().is_ok()
    }

    fn fits(schema: RefOr<Schema>, text: &str) -> bool {
        let schema = serde_json::to_value(schema).unwrap();
        fits_json(&schema, text)
    }

    fn fits_json(schema: &Value, text: &str) -> bool {
        let options = jsonschema::options().should_validate_formats(true);
        options.build(schema).unwrap().is_valid(&text.into())
    }

    #[test]
    fn patterns_accept_what_parsers_accept() {
        let id = "task_01h455vb4pex5vsknk084sn02q";
        let texts = [
            "",
            "a",
            "A",
            "a-",
            "-a",
            "a_b",
            "a.b",
            ".",
            "..",
            "...",
            "a b",
            "a\n",
            "\n",
            "ä",
            "deia",
            "deia2",
            "a@b",
            "a/b",
            "a\0",
            "@",
            "@0",
            "@12",
            "@x",
            "@-1",
            id,
            "task_81h455vb4pex5vsknk084sn02q",
            "task_01h455vb4pex5vsknk084sn02u",
            "key_01h455vb4pex5vsknk084sn02q",
            "task_01h455vb4pex5vsknk084sn02",
            "TASK_01h455vb4pex5vsknk084sn02q",
            "task:read",
            "task:",
            "bot:kill",
            "192.0.2.7",
            "192.0.2.256",
            "192.0.2.0/24",
            "192.0.2.0/024",
            "192.0.2.0/",
            "::1",
            "2001:db8::/32",
            "::/0",
            "1.2.3",
            "fe80::1%eth0",
        ];
        let external = [
            "ext.deploy",
            "ext.a.b.c.d",
            "ext.a.b.c.d.e",
            "ext.",
            "ext.1",
            "ext.a\n",
            "ext.a-b",
            "a\u{202e}b",
            "a\u{85}",
        ];
        let segment = format!(".{}", "a".repeat(40));
        let long: Vec<String> = [63, 64, 65, 128, 129, 256, 257]
            .map(|n| "a".repeat(n))
            .into();
        let dotted: Vec<String> = [1, 3, 4]
            .map(|n| format!("ext{}", segment.repeat(n)))
            .into();
        let all = texts.into_iter().chain(external);
        let all = all.chain(long.iter().chain(&dotted).map(String::as_str));
        for text in all {
            for (name, schema, read) in [
                (
                    "UserName",
                    UserName::schema(),
                    User::name_fault(text).is_none(),
                ),
                ("TaskId", TaskId::schema(), reads::<TaskId>(text)),
                ("KeyId", KeyId::schema(), reads::<KeyId>(text)),
                (
                    "WebSessionId",
                    WebSessionId::schema(),
                    reads::<WebSessionId>(text),
                ),
                ("BotName", BotName::schema(), reads::<BotName>(text)),
                (
                    "ExternalAction",
                    ExternalAction::schema(),
                    reads::<ExternalAction>(text),
                ),
                (
                    "ExternalTarget",
                    ExternalTarget::schema(),
                    external_violations(text, &Value::Null).is_empty(),
                ),
                ("TaskType", TaskType::schema(), reads::<TaskType>(text)),
                (
                    "Dependency",
                    Dependency::schema(),
                    reads::<Dependency>(text),
                ),
                (
                    "Permission",
                    Permission::schema(),
                    reads::<Permission>(text),
                ),
                (
                    "AddressRange",
                    AddressRange::schema(),
                    reads::<AddressRange>(text),
                ),
            ] {
                assert_eq!(fits(schema, text), read, "{name}: {text:?}");
            }
            let stored = json!({"type": "string", "pattern": SECRET_NAME});
            assert_eq!(
                fits_json(&stored, text),
                SecretName::of_bots(text).is_ok(),
                "{text:?}"
            );
        }
    }
}
