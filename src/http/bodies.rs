//! How many bytes of request bodies are in hand, all callers together.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{catalogue::Code, problem::Problem};

/// The bytes in hand, and how many they may be.
pub(super) struct BodyBudget {
    bytes: AtomicUsize,
    max_bytes: usize,
}

/// One request's share of it, as long as this lives.
pub(super) struct Held {
    all: Arc<BodyBudget>,
    bytes: usize,
}

impl BodyBudget {
    pub(super) fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicUsize::new(0),
            max_bytes,
        })
    }

    /// A share that is empty so far.
    pub(super) fn share(self: &Arc<Self>) -> Held {
        Held {
            all: Arc::clone(self),
            bytes: 0,
        }
    }
}

impl Held {
    /// Makes the share at least that large.
    ///
    /// # Errors
    /// [`Code::Overloaded`] when that would be too much for all together. The
    /// share stays as it was.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Problem> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let before = self.all.bytes.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > self.all.max_bytes {
            self.all.bytes.fetch_sub(more, Ordering::Relaxed);
            return Err(Problem::new(
                Code::Overloaded,
                "the requests in hand are too large together",
            ));
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.all.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_together_and_given_back() {
        let all = BodyBudget::new(100);
        let (mut one, mut other) = (all.share(), all.share());
        one.grow_to(60).unwrap();
        one.grow_to(50).unwrap();
        other.grow_to(40).unwrap();
        assert_eq!(other.grow_to(41).unwrap_err().code(), Code::Overloaded);
        drop(one);
        other.grow_to(100).unwrap();
        drop(other);
        assert_eq!(all.bytes.load(Ordering::Relaxed), 0);
    }
}
