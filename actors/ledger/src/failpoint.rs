//! Named points at which a test can end the process or fail a step. Compiled
//! to nothing without the feature `testing`.

/// Passes a named point. With the feature `testing` and
/// `DEIA_FAILPOINT=<name>[:<n>]` in the environment, the n-th pass (the first
/// by default) ends the process the way `kill -9` does.
#[cfg(any(test, feature = "testing"))]
pub fn hit(name: &str) {
    if fails(name) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
    }
}

/// Returns whether a named step is to fail: on the n-th pass, armed as for [`hit`].
#[cfg(any(test, feature = "testing"))]
pub fn fails(name: &str) -> bool {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    };
    static ARMED: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let spec = std::env::var("DEIA_FAILPOINT").ok()?;
        let (name, n) = spec.split_once(':').unwrap_or((&spec, "1"));
        Some((name.to_owned(), AtomicU64::new(n.parse().unwrap_or(1))))
    });
    ARMED
        .as_ref()
        .is_some_and(|(armed, left)| armed == name && left.fetch_sub(1, Ordering::SeqCst) == 1)
}

/// Passes a named point: nothing without the feature `testing`.
#[cfg(not(any(test, feature = "testing")))]
#[inline]
pub fn hit(_name: &str) {}

/// Fails no step without the feature `testing`.
#[cfg(not(any(test, feature = "testing")))]
#[inline]
pub fn fails(_name: &str) -> bool {
    false
}
