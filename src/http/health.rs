//! Probes: the only routes that need no key. They tell nothing but yes or no.

use deia_hive::Hive;

use super::{
    catalogue::Code,
    dto::Probe,
    problem::Problem,
    route::{Answer, ok},
};

#[utoipa::path(
    get, path = "/livez", tag = "health", operation_id = "livez", security(),
    responses((status = 200, description = "The process answers", body = Probe))
)]
/// Tells whether the process answers.
pub(super) async fn live(_: Hive) -> Answer {
    ok(&Probe { status: "alive" })
}

#[utoipa::path(
    get, path = "/readyz", tag = "health", operation_id = "readyz", security(),
    responses((status = 200, description = "The hive takes work; also while it restarts in place, not while it stops", body = Probe))
)]
/// Tells whether the hive takes work.
pub(super) async fn ready(hive: Hive) -> Answer {
    if !hive.is_ready() {
        return Err(Problem::new(
            Code::Unavailable,
            "the hive is starting or stopping",
        ));
    }
    ok(&Probe { status: "ready" })
}

#[utoipa::path(
    get, path = "/health", tag = "health", operation_id = "health", security(),
    responses((status = 200, description = "Everything that must work does", body = Probe))
)]
/// Tells whether everything that must work does.
pub(super) async fn healthy(hive: Hive) -> Answer {
    if !hive.health().await?.healthy {
        return Err(Problem::new(
            Code::Unhealthy,
            "something that must work does not",
        ));
    }
    ok(&Probe { status: "healthy" })
}
