//! Request ids in answers and logs.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::telemetry::redact::redact;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Returns the caller's request id if it is usable (1 to 128 of `A-Z a-z 0-9 . _ : -`),
/// else a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let usable = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=128).contains(&bytes.len())
            && bytes
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(b))
            && value.to_str().is_ok_and(|id| redact(id) == id)
    };
    headers
        .get(REQUEST_ID)
        .filter(usable)
        .cloned()
        .unwrap_or_else(new_request_id)
}

/// Returns 128 bits that look random. Two keyed hashes of a counter cost no system call;
/// the counter itself would tell every caller the number of requests of others.
fn new_request_id() -> HeaderValue {
    static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let [high, low] = KEYS.each_ref().map(|key| key.hash_one(count));
    HeaderValue::try_from(format!("req-{high:016x}{low:016x}"))
        .unwrap_or(HeaderValue::from_static("req"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_request_id_can_be_written_anywhere(bytes: Vec<u8>) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                headers.insert(REQUEST_ID, value);
            }
            let id = request_id(&headers);
            let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._:-".contains(b);
            prop_assert!((1..=128).contains(&id.len()) && id.as_bytes().iter().all(plain));
        }
    }

    #[test]
    fn a_usable_request_id_is_kept() {
        let long = "x".repeat(129);
        for (given, kept) in [
            ("abc-1.2:3_4", true),
            ("", false),
            ("a b", false),
            ("<script>", false),
            (long.as_str(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(given).unwrap());
            assert_eq!(request_id(&headers) == given, kept, "{given}");
        }
        let none = HeaderMap::new();
        assert_ne!(request_id(&none), request_id(&none));
    }
}
