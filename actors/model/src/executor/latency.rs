//! The time that a simulated task takes.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::text::Latency;

/// Time that a simulated task takes, in milliseconds: constant, or evenly distributed
/// over a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum LatencyMs {
    /// A constant time.
    #[schema(value_type = Latency)]
    Fixed(u64),
    /// Evenly distributed over a range.
    Range(LatencyRange),
}

/// Range of the time that a simulated task takes, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LatencyRange {
    /// Minimum; not above `max`.
    #[schema(maximum = 86_400_000)]
    pub min: u64,
    /// Maximum.
    #[schema(maximum = 86_400_000)]
    pub max: u64,
}

/// Written by hand because the errors of an untagged enum do not say what was wrong, and
/// where.
impl<'de> Deserialize<'de> for LatencyMs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NumberOrRange)
    }
}

struct NumberOrRange;

impl<'de> Visitor<'de> for NumberOrRange {
    type Value = LatencyMs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, or an object with min and max")
    }

    fn visit_u64<E>(self, ms: u64) -> Result<LatencyMs, E> {
        Ok(LatencyMs::Fixed(ms))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LatencyMs, A::Error> {
        LatencyRange::deserialize(MapAccessDeserializer::new(map)).map(LatencyMs::Range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_latency_is_told_with_what_it_is() {
        for (text, expected) in [
            ("5", Ok(LatencyMs::Fixed(5))),
            (
                r#"{"min":1,"max":2}"#,
                Ok(LatencyMs::Range(LatencyRange { min: 1, max: 2 })),
            ),
            ("5.0", Err("invalid type: floating point `5.0`")),
            ("-5", Err("invalid type: integer `-5`")),
            ("null", Err("invalid type: null")),
            ("[1,2]", Err("invalid type: sequence")),
            (
                r#"{"min":1.5,"max":2}"#,
                Err("invalid type: floating point `1.5`, expected u64"),
            ),
            (r#"{"min":1}"#, Err("missing field `max`")),
            (r#"{"min":1,"max":2,"mean":1}"#, Err("unknown field `mean`")),
        ] {
            let read = serde_json::from_str::<LatencyMs>(text);
            let told = read.map_err(|error| error.to_string());
            match (&told, &expected) {
                (Err(told), Err(start)) => assert!(told.starts_with(start), "{text}: {told}"),
                _ => assert_eq!(told, expected.map_err(String::from), "{text}"),
            }
            // As it is stored.
            if let Ok(latency) = told {
                assert_eq!(serde_json::to_string(&latency).unwrap(), text);
            }
        }
    }
}
