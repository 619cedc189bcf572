//! Deserialization of values that must be objects. (Derived `Deserialize` also accepts
//! a list of the fields, in order.)

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

struct FromMap<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FromMap<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// Reads a `T` from an object only.
///
/// # Errors
/// The input is not an object, or not a `T`.
pub fn from_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_map(FromMap(PhantomData))
}

struct OrNull<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OrNull<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or null")
    }

    fn visit_none<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Option<T>, D::Error> {
        from_object(from).map(Some)
    }
}

/// Reads a `T` from an object, or `None` from `null`.
///
/// # Errors
/// The input is neither, or not a `T`.
pub fn from_object_or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    from.deserialize_option(OrNull(PhantomData))
}

#[cfg(test)]
mod tests {
    use crate::{NewTask, SimulatedExecutor};

    #[test]
    fn lists_are_refused_in_place_of_objects() {
        for (body, fits) in [
            (r#"{"type":"a","content":"","retry":{"min_ms":1}}"#, true),
            (r#"{"type":"a","content":"","retry":null}"#, true),
            (r#"{"type":"a","content":"","retry":[1,2]}"#, false),
            (r#"{"type":"a","content":"","retry":7}"#, false),
        ] {
            let read = serde_json::from_str::<NewTask>(body);
            assert_eq!(read.is_ok(), fits, "{body}");
        }
        for (body, fits) in [
            (r#"{"latency_ms":{"min":1,"max":2}}"#, true),
            (r#"{"latency_ms":5}"#, true),
            (r#"{"latency_ms":[1,2]}"#, false),
            (r#"{"latency_ms":{"min":1,"max":2,"mean":1}}"#, false),
        ] {
            let read = serde_json::from_str::<SimulatedExecutor>(body);
            assert_eq!(read.is_ok(), fits, "{body}");
        }
    }
}
