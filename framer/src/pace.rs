//! Limits on the time for which the other side may keep a connection waiting.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

/// A budget of waiting that is used up by waiting and refilled by bytes. A client that
/// stalls exceeds it after `grace`; a client that trickles exceeds it after a while.
pub(crate) struct Pace {
    grace: Duration,
    bytes_per_second: u64,
    left: Duration,
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(crate) fn new(grace: Duration, bytes_per_second: u64) -> Self {
        Self {
            grace,
            bytes_per_second: bytes_per_second.max(1),
            left: grace,
            waiting_since: None,
            timer: None,
        }
    }

    /// Counts the time spent waiting for the other side. Ready once the budget is used up.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = match self.waiting_since {
            Some(since) => since + self.left,
            None => {
                let now = Instant::now();
                self.waiting_since = Some(now);
                now + self.left
            }
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx)
    }

    /// Refills the budget for `bytes` that the other side has taken or sent.
    pub(crate) fn moved(&mut self, bytes: usize) {
        let Some(since) = self.waiting_since.take() else {
            return;
        };
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let earned = bytes.saturating_mul(1_000) / self.bytes_per_second;
        let left = self.left.saturating_sub(since.elapsed());
        self.left = (left + Duration::from_millis(earned)).min(self.grace);
    }

    /// Restores the whole budget, because an independent transfer begins.
    pub(crate) fn reset(&mut self) {
        self.waiting_since = None;
        self.left = self.grace;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns true if the budget is used up within that time.
    async fn is_over(pace: &mut Pace, within: Duration) -> bool {
        let over = std::future::poll_fn(|cx| pace.poll_over(cx));
        tokio::time::timeout(within, over).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn who_stalls_and_who_trickles_is_over_it_and_who_is_slow_is_not() {
        let second = Duration::from_secs(1);
        for (bytes_a_second, seconds) in [(0, Some(9)), (50, Some(18)), (100, None), (5_000, None)]
        {
            let mut pace = Pace::new(10 * second, 100);
            let mut over = None;
            for passed in 0..200 {
                if is_over(&mut pace, second).await {
                    over = Some(passed);
                    break;
                }
                if bytes_a_second > 0 {
                    pace.moved(bytes_a_second);
                }
            }
            assert_eq!(over, seconds, "{bytes_a_second} bytes a second");
        }
    }
}
