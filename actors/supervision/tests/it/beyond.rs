//! What OTP does not have.

use deia_supervision::{Intensity, Strategy, SupervisorSpec, Tree};

use crate::common::{Crash, Log, Ping, probe, run};

#[test]
fn address_survives_restart() {
    run(async {
        let (spec, handle, script) = probe("a", &Log::default());
        let tree = Tree::start(
            SupervisorSpec::new("root", Strategy::OneForOne)
                .intensity(Intensity::unlimited())
                .child(spec),
        )
        .await
        .unwrap();
        assert_eq!(handle.ask(Ping).await.unwrap(), 1);
        assert!(handle.ask(Crash).await.is_err());
        assert_eq!(handle.ask(Ping).await.unwrap(), 2);
        assert_eq!(script.built(), 2);
        tree.shutdown().await;
    });
}
