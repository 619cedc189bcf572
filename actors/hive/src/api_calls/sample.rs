//! The sample of requests that are recorded.

use ring::digest::{Context, SHA256};

/// Returns whether a request is in the sample of that share. The same id always gets the
/// same answer, and a larger share contains each smaller one. The id of the hive makes it
/// hard for callers, who may choose the ids of their requests, to stay out of the sample.
pub(super) fn takes(hive_id: &str, request_id: &str, share: f64) -> bool {
    let mut hash = Context::new(&SHA256);
    for text in [hive_id, "\0", request_id] {
        hash.update(text.as_bytes());
    }
    let digest = hash.finish();
    let first = digest.as_ref().iter().take(4);
    let point = first.fold(0_u32, |point, byte| point << 8 | u32::from(*byte));
    // A point of [0, 1); a share of 1 takes all.
    f64::from(point) / (f64::from(u32::MAX) + 1.0) < share
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(hive_id: &str, share: f64) -> Vec<u32> {
        let is_taken = |i: &u32| takes(hive_id, &format!("req-{i}"), share);
        (0..10_000).filter(is_taken).collect()
    }

    #[test]
    fn sample_has_its_share_and_grows_with_it() {
        let mut before = Vec::new();
        for (share, expected) in [
            (0.0, 0..=0),
            (0.01, 60..=150),
            (0.25, 2_300..=2_700),
            (0.999, 9_950..=10_000),
            (1.0, 10_000..=10_000),
        ] {
            let taken = taken("hive-a", share);
            assert!(expected.contains(&taken.len()), "{share}: {}", taken.len());
            assert!(before.iter().all(|i| taken.contains(i)), "{share}");
            before = taken;
        }
        assert_ne!(taken("hive-a", 0.25), taken("hive-b", 0.25));
    }
}
