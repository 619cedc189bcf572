//! Events are logged, whether or not anybody subscribes.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use deia_supervision::{Intensity, OnExhausted, Strategy, SupervisorSpec};
use tracing::{Level, Metadata, Subscriber, field::Visit, span};

use crate::common::{Crash, Fail, Log, idle, patient, probe, run, start};

/// Line of the log: its level and its fields.
#[derive(Clone, Debug)]
struct Line(Level, BTreeMap<&'static str, String>);

impl Line {
    fn get(&self, field: &str) -> &str {
        self.1.get(field).map_or("", String::as_str)
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        self.1.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.1.insert(field.name(), value.to_owned());
    }
}

#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<Line>>>);

impl Subscriber for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("deia_supervision")
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(*event.metadata().level(), BTreeMap::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl Capture {
    /// The only line about `path` that begins so.
    fn only(&self, path: &str, message: &str) -> Line {
        let lines = self.0.lock().unwrap();
        let mut found = lines
            .iter()
            .filter(|line| line.get("path") == path && line.get("message").starts_with(message));
        match (found.next(), found.next()) {
            (Some(line), None) => line.clone(),
            _ => panic!("{path}, {message}: {lines:#?}"),
        }
    }
}

#[test]
fn crashes_restarts_escalations_and_quarantines_are_logged_with_their_causes() {
    let capture = Capture::default();
    let second = Duration::from_secs(1);
    // With only one subscriber alive, tracing asks the thread that reaches a log statement first,
    // which may be that of another test, and then skips the statement on every thread.
    let _other = tracing::Dispatch::new(Capture::default());
    tracing::subscriber::with_default(capture.clone(), || {
        run(async {
            let log = Log::default();
            let (a, a_handle, _) = probe("a", &log);
            let (b, b_handle, _) = probe("b", &log);
            let b = b
                .budget(Intensity::new(0, second))
                .on_exhausted(OnExhausted::Quarantine);
            let inner = SupervisorSpec::one_for_one("inner").child(a).child(b);
            let tree = start(patient("root", Strategy::OneForOne).child(inner)).await;
            a_handle.tell(Crash).unwrap();
            b_handle.tell(Fail).unwrap();
            idle().await;
            a_handle.tell(Crash).unwrap();
            idle().await;
            tree.shutdown().await;
        });
    });
    let lines = capture.0.lock().unwrap().clone();
    let crashes = lines.iter().filter(|line| {
        line.get("path") == "root/inner/a" && line.get("message") == "child crashed"
    });
    for (index, line) in crashes.enumerate() {
        assert_eq!(line.0, Level::WARN, "it is retried");
        assert_eq!(line.get("incarnation"), (index + 1).to_string());
        assert_eq!(line.get("cause"), "panicked");
        assert_eq!(line.get("error"), "a was told to crash");
        assert!(line.get("location").contains("common.rs:"), "{line:?}");
        assert!(line.get("message_type").ends_with("::Crash"), "{line:?}");
    }
    let restarted = capture.only("root/inner/a", "child restarted");
    assert_eq!(
        (restarted.0, restarted.get("incarnation")),
        (Level::INFO, "2")
    );
    let quarantined = capture.only("root/inner/b", "child quarantined");
    assert_eq!(quarantined.0, Level::ERROR);
    assert_eq!(quarantined.get("cause"), "failed");
    assert_eq!(quarantined.get("incarnation"), "1");
    let escalated = capture.only("root/inner", "supervisor gave up");
    assert_eq!(escalated.0, Level::ERROR);
    assert_eq!(escalated.get("incarnation"), "1");
    assert_eq!(escalated.get("cause"), "gave_up");
    assert!(
        escalated.get("error").contains("root/inner/a"),
        "{escalated:?}"
    );
    assert!(
        escalated.get("location").contains("common.rs:"),
        "{escalated:?}"
    );
    assert!(escalated.get("message_type").ends_with("::Crash"));
}
