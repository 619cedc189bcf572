//! A delivery as verifiers see it.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// Headers that every delivery has.
pub(super) const SIGNED: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/// The signed parts of a delivery, as they came over the wire, and their signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    pub(crate) body: String,
}

impl Delivered {
    pub(crate) fn headers(&self) -> HeaderMap {
        let values = [&self.id, &self.timestamp, &self.signature];
        let pairs = SIGNED.into_iter().zip(values);
        pairs
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Returns the deliveries that differ from this one in a part that is signed.
    pub(crate) fn altered(&self) -> Vec<Self> {
        let seconds: i64 = self.timestamp.parse().unwrap();
        let of = |change: &dyn Fn(&mut Self)| {
            let mut altered = self.clone();
            change(&mut altered);
            assert_ne!(altered, *self);
            altered
        };
        vec![
            of(&|it| it.id.push('0')),
            of(&|it| it.timestamp = (seconds + 1).to_string()),
            of(&|it| it.timestamp = (seconds - 1).to_string()),
            of(&|it| it.body = it.body.replacen("task", "tusk", 1)),
            of(&|it| it.body.push(' ')),
            of(&|it| it.signature = it.signature.to_lowercase()),
            of(&|it| it.signature = "v1,".into()),
            of(&|it| it.signature = "nonsense".into()),
        ]
    }
}
