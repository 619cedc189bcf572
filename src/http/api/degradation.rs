//! The mode of the hive: the level at which features are shed, and the features.

use deia_client::Items;
use deia_model::{DegradationStatus, FeatureStatus, ModeChange};

use crate::http::{
    body::{
        answer::{Answer, ok},
        json::Object,
        problem::refuse_secret,
    },
    context::RequestCtx,
    operation::describe,
};

describe! { status:
    responses((status = 200, description = "The mode in force, its reason, and the signals with \
        their last readings", body = DegradationStatus))
}
pub(crate) async fn status(call: RequestCtx) -> Answer {
    ok(&call.hive().degradation().status())
}

describe! { features:
    responses((status = 200, description = "Every feature with its state, the reason, and what \
        brings it back; the most important ones first", body = Items<FeatureStatus>))
}
pub(crate) async fn features(call: RequestCtx) -> Answer {
    ok(&Items {
        items: call.hive().degradation().features(),
    })
}

describe! { mode:
    request_body = ModeChange,
    responses((status = 200, description = "The mode in force now. A level that the signals \
        demand stays in force if it is higher than the one that was set", body = DegradationStatus))
}
pub(crate) async fn mode(mut call: RequestCtx) -> Answer {
    let Object(change) = call.body::<Object<ModeChange>>().await?;
    refuse_secret("/reason", change.reason.as_deref())?;
    ok(&call.hive().degradation().change(&call.who, change).await?)
}
