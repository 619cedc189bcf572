//! Catching panics, and recording their locations.

use std::{
    any::Any,
    backtrace::{Backtrace, BacktraceStatus},
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    panic::{self, AssertUnwindSafe, Location},
    pin::Pin,
    sync::{Arc, Once},
    task::{Context, Poll},
};

/// Panic that was caught.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Panic {
    /// Text that was passed to `panic!`, or a fixed text if it was not a string.
    pub message: String,
    /// Location of the panic, which is known once [`install_panic_hook`] was called.
    pub location: Option<PanicLocation>,
    /// Rust type name of the message that was being handled.
    pub message_type: Option<&'static str>,
    /// Backtrace, captured if the hook is installed and `RUST_BACKTRACE` asks for it. It is
    /// resolved only when it is displayed.
    pub backtrace: Option<Arc<Backtrace>>,
}

/// Location of a panic. Displays as `file:line:column`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PanicLocation {
    /// Path of the source file, as it was passed to the compiler.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl fmt::Display for PanicLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl From<&Location<'_>> for PanicLocation {
    fn from(location: &Location<'_>) -> Self {
        Self {
            file: location.file().into(),
            line: location.line(),
            column: location.column(),
        }
    }
}

struct Origin {
    location: Option<PanicLocation>,
    backtrace: Option<Arc<Backtrace>>,
}

thread_local! {
    static SUPERVISED: Cell<bool> = const { Cell::new(false) };
    static ORIGIN: RefCell<Option<Origin>> = const { RefCell::new(None) };
}

/// Installs a process-wide panic hook that remembers location and backtrace of panics inside
/// supervised children, and keeps them off stderr: they are reported as
/// [`ExitReason::Panicked`](crate::ExitReason::Panicked) instead, and logged through `tracing`,
/// which shows nothing before a subscriber is installed. All other panics go to the hook that was
/// there before.
///
/// The hook is opt-in, because it is global, and a library must not take it. Calling it again has
/// no effect.
pub fn install_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !SUPERVISED.try_with(Cell::get).unwrap_or(false) {
                previous(info);
                return;
            }
            let backtrace = Backtrace::capture();
            let captured = backtrace.status() == BacktraceStatus::Captured;
            let origin = Origin {
                location: info.location().map(PanicLocation::from),
                backtrace: captured.then(|| Arc::new(backtrace)),
            };
            let _ = ORIGIN.try_with(|cell| cell.replace(Some(origin)));
        }));
    });
}

/// Runs `f`, turning a panic into a [`Panic`].
#[inline]
pub(crate) fn guard<R>(f: impl FnOnce() -> R) -> Result<R, Panic> {
    let outer = SUPERVISED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    SUPERVISED.set(outer);
    result.map_err(describe)
}

/// Drops `value`; a panic in its destructor goes no further.
pub(crate) fn drop_quietly<T>(value: T) -> Result<(), Panic> {
    guard(|| drop(value))
}

/// Drops each item, whatever the destructors of the others do, and returns the first panic, if any.
pub(crate) fn drop_each_quietly<T>(items: impl IntoIterator<Item = T>) -> Result<(), Panic> {
    let mut result = Ok(());
    for item in items {
        result = result.and(drop_quietly(item));
    }
    result
}

#[cold]
fn describe(payload: Box<dyn Any + Send>) -> Panic {
    let message = match payload.downcast_ref::<&'static str>() {
        Some(text) => (*text).to_owned(),
        None => payload
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_else(|| "a panic without a text".to_owned()),
    };
    // A payload may panic when it is dropped, and what that throws may do so again.
    let outer = SUPERVISED.replace(true);
    let origin = ORIGIN.take();
    if let Err(second) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    SUPERVISED.set(outer);
    let (location, backtrace) = match origin {
        Some(origin) => (origin.location, origin.backtrace),
        None => (None, None),
    };
    Panic {
        message,
        location,
        message_type: None,
        backtrace,
    }
}

/// A future whose every poll, and whose end, is guarded.
pub(crate) struct Guarded<T>(Option<Pin<Box<dyn Future<Output = T>>>>);

impl<T> Guarded<T> {
    pub(crate) fn new(future: Pin<Box<dyn Future<Output = T>>>) -> Self {
        Self(Some(future))
    }
}

impl<T> Future for Guarded<T> {
    type Output = Result<T, Panic>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = self.0.as_mut() else {
            return Poll::Pending;
        };
        match guard(|| future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(drop_quietly(self.0.take()).map(|()| value)),
            Err(panic) => {
                let _ = drop_quietly(self.0.take());
                Poll::Ready(Err(panic))
            }
        }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        let _ = drop_quietly(self.0.take());
    }
}
