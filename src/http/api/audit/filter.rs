//! Filters of the audit trail, in the query of a request.
//!
//! The structures describe parameters in the document and are never made; the functions read
//! them.

#![allow(dead_code, reason = "the structures carry descriptions only")]

use std::str::FromStr;

use deia_model::{AuditFilter, AuditOrder, EventLevel, EventResult};
use utoipa::IntoParams;

use crate::http::{
    api::{filter::point_in_time, parameters},
    body::problem::Problem,
    context::RequestCtx,
};

/// Longest name or id in a filter, in characters. Fact: the API, whose schema states it.
const MAX_NAME: usize = 512;
/// Longest text to search for, in characters. Fact: the API, whose schema states it.
const MAX_TEXT: usize = 256;

/// The parameter of the actor.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ActorParameter {
    /// Only by this actor: its name, or the pseudonym that entries have of it
    #[param(min_length = 1, max_length = 512, example = "ada")]
    actor: Option<String>,
}

/// The parameter of the target.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TargetParameter {
    /// Only about this target: its id or name, or its pseudonym
    #[param(min_length = 1, max_length = 512, example = "upper-1")]
    target: Option<String>,
}

/// The parameters of the level.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LevelParameters {
    /// Only of this level
    #[param(inline)]
    level: Option<EventLevel>,
    /// Only of this level or a higher one
    #[param(inline)]
    min_level: Option<EventLevel>,
}

/// The parameters that every filter has.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CommonParameters {
    /// Only of this action, such as `bot.crashed`, or of this kind, such as `bot`
    #[param(value_type = Option<parameters::ActionOrKind>)]
    action: Option<String>,
    /// Only about targets of this type, such as `key`
    #[param(min_length = 1, max_length = 512, example = "key")]
    target_type: Option<String>,
    /// Only with this result
    #[param(inline)]
    result: Option<EventResult>,
    /// Only recorded then or later
    #[param(format = DateTime)]
    after: Option<String>,
    /// Only recorded before
    #[param(format = DateTime)]
    before: Option<String>,
    /// Only with this text in the action, the actor, the target or the details, in upper or lower case
    #[param(min_length = 1, max_length = 256, example = "release")]
    text: Option<String>,
    /// Only entries from this index on
    #[param(example = 1024)]
    from_entry: Option<u64>,
    /// Only entries before this index
    to_entry: Option<u64>,
    /// Only events with this sequence number or a higher one
    min_seq: Option<u64>,
    /// Only events with this sequence number or a lower one
    max_seq: Option<u64>,
}

/// The parameters of a page.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParameters {
    /// The order of the records: `newest` first when absent
    #[param(inline)]
    order: Option<AuditOrder>,
    /// At most this many, 1 to 1,000; 100 when absent
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next_cursor` of the page before; filter and order stay the same
    cursor: Option<String>,
}

/// Returns the filter in the query. The guard has refused parameters that the route does not
/// take.
pub(super) fn from_query(call: &RequestCtx) -> Result<AuditFilter, Problem> {
    let action = call.query::<ActionOrKind>("action")?;
    Ok(AuditFilter {
        actor: name(call, "actor")?,
        target: name(call, "target")?,
        target_type: name(call, "target_type")?,
        action: action.map(|action| action.0),
        level: call.query("level")?,
        min_level: call.query("min_level")?,
        result: call.query("result")?,
        after: point_in_time(call, "after")?,
        before: point_in_time(call, "before")?,
        text: text(call, "text", MAX_TEXT)?,
        from_entry: call.query("from_entry")?,
        to_entry: call.query("to_entry")?,
        min_seq: call.query("min_seq")?,
        max_seq: call.query("max_seq")?,
    })
}

/// Returns the order of a page.
pub(super) fn order(call: &RequestCtx) -> Result<AuditOrder, Problem> {
    Ok(call.query("order")?.unwrap_or_default())
}

/// Returns the name or id in the path.
pub(super) fn name_in_path(call: &RequestCtx) -> Result<String, Problem> {
    let name = call.path_param("id");
    within("id", &name, MAX_NAME)?;
    Ok(name.into_owned())
}

fn name(call: &RequestCtx, parameter: &str) -> Result<Option<String>, Problem> {
    text(call, parameter, MAX_NAME)
}

fn text(call: &RequestCtx, parameter: &str, max: usize) -> Result<Option<String>, Problem> {
    let text = call.query::<String>(parameter)?;
    if let Some(text) = &text {
        within(parameter, text, max)?;
    }
    Ok(text)
}

fn within(parameter: &str, text: &str, max: usize) -> Result<(), Problem> {
    let length = text.chars().count();
    match (1..=max).contains(&length) {
        true => Ok(()),
        false => Err(Problem::parameter(
            parameter,
            format!("is {length} characters long; allowed are 1 to {max}"),
        )),
    }
}

/// An action, or a kind of actions. There need be none of that name: a newer version may have
/// recorded it.
#[derive(Debug)]
struct ActionOrKind(String);

impl FromStr for ActionOrKind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let letter = |c: char| c.is_ascii_lowercase();
        let rest = |c: char| letter(c) || c.is_ascii_digit() || c == '_';
        let is_segment = |segment: &str| segment.starts_with(letter) && segment.chars().all(rest);
        match text.len() <= parameters::ActionOrKind::MAX_LENGTH && text.split('.').all(is_segment)
        {
            true => Ok(Self(text.to_owned())),
            false => Err("expected an action such as bot.crashed, or a kind such as bot"),
        }
    }
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema as _;

    use super::*;

    #[test]
    fn pattern_of_actions_accepts_what_the_parser_accepts() {
        let schema = serde_json::to_value(parameters::ActionOrKind::schema()).unwrap();
        let schema = jsonschema::validator_for(&schema).unwrap();
        let (long, longer) = ("a".repeat(128), "a".repeat(129));
        for (text, expected) in [
            ("bot", true),
            ("bot.crashed", true),
            ("ext.deploy.a_1", true),
            (&long, true),
            (&longer, false),
            ("", false),
            ("bot.", false),
            (".bot", false),
            ("bot..crashed", false),
            ("Bot", false),
            ("1bot", false),
            ("_bot", false),
            ("bot crashed", false),
            ("bot.*", false),
            ("bot\n", false),
            ("böt", false),
        ] {
            assert_eq!(text.parse::<ActionOrKind>().is_ok(), expected, "{text:?}");
            assert_eq!(schema.is_valid(&text.into()), expected, "{text:?}");
        }
    }
}
