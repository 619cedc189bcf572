//! Probes. They need no key, and answer only yes or no.
//!
//! The state of bots is no part of them: restarting a process, or sending it no more
//! requests, for one bad bot would help nobody. `GET /api/v1/system/health` reports it.

use deia_client::Probe;
use deia_hive::Hive;

use crate::http::{
    body::{
        answer::{Answer, ok},
        catalogue::Code,
        problem::Problem,
    },
    operation::describe,
};

describe! { live:
    responses((status = 200, description = "The process and the writer of its store make progress. When this fails for long, restart the process", body = Probe))
}
pub(crate) async fn live(hive: Hive) -> Answer {
    match hive.operations().makes_progress().await {
        true => ok(&Probe {
            status: "alive".into(),
        }),
        false => Err(Problem::new(
            Code::Unhealthy,
            "the writer of the store makes no progress",
        )),
    }
}

describe! { ready:
    responses((status = 200, description = "The hive accepts work and can commit it; also while it restarts in place, not while it stops. When this fails, send requests elsewhere", body = Probe))
}
pub(crate) async fn ready(hive: Hive) -> Answer {
    if !hive.is_ready() {
        return Err(Problem::new(
            Code::Unavailable,
            "the hive is starting or stopping",
        ));
    }
    match hive.operations().can_commit().await {
        true => ok(&Probe {
            status: "ready".into(),
        }),
        false => Err(Problem::new(
            Code::Unavailable,
            "the store cannot commit; see GET /api/v1/system/health",
        )),
    }
}

describe! { healthy:
    responses((status = 200, description = "The same as /readyz", body = Probe))
}
pub(crate) async fn healthy(hive: Hive) -> Answer {
    ready(hive).await
}
