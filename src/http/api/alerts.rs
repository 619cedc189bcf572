//! Alerts.

use deia_model::{Alert, AlertId, Page};

use crate::http::{
    body::answer::{Answer, ok},
    context::RequestCtx,
    operation::describe,
};

describe! { list:
    params(
        ("open" = Option<bool>, Query, description = "`true`: only alerts whose condition holds, or was gone for less than `alerts.resolve_after`"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "At most this many, 1 to 1,000; 100 when absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "Alerts, newest first. Resolved ones are kept for `alerts.retention`", body = Page<Alert>))
}
pub(crate) async fn list(call: RequestCtx) -> Answer {
    let only_open = call.query::<bool>("open")?.unwrap_or(false);
    ok(&call.hive().alerts().list(only_open, call.page()?).await?)
}

describe! { acknowledge:
    params(("id" = String, Path, description = "The id of the alert")),
    responses((status = 200, description = "The alert, with the first user who acknowledged it; \
        a repeated request changes nothing", body = Alert))
}
pub(crate) async fn acknowledge(mut call: RequestCtx) -> Answer {
    call.no_body().await?;
    let id: AlertId = call.id("alert")?;
    ok(&call.hive().alerts().acknowledge(&call.who, id).await?)
}
