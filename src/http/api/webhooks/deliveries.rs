//! Deliveries to endpoints.

use actix_web::http::StatusCode;
use deia_model::{Delivery, DeliveryDetail, DeliveryState, MessageId, Page, WebhookId};

use super::id;
use crate::http::{
    body::{
        answer::{Answer, json, ok},
        problem::Problem,
    },
    context::RequestCtx,
    operation::describe,
};

describe! { list:
    params(
        ("id" = WebhookId, Path, description = "The endpoint"),
        ("state" = Option<DeliveryState>, Query, description = "Only those in this state: `waiting`, `delivered`, `failed`"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "At most this many, 1 to 1,000; 100 when absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "All deliveries that wait for a retry, and the last others, `webhooks.history` of them", body = Page<Delivery>))
}
pub(crate) async fn list(call: RequestCtx) -> Answer {
    let state = call.query::<DeliveryState>("state")?;
    let page = call.page()?;
    let (hive, who) = (call.hive(), &call.who);
    ok(&hive
        .webhooks()
        .deliveries(who, id(&call)?, state, page)
        .await?)
}

describe! { get:
    params(
        ("id" = WebhookId, Path, description = "The endpoint"),
        ("message" = MessageId, Path, description = "The `webhook-id` of the delivery"),
    ),
    responses((status = 200, description = "The delivery with its attempts", body = DeliveryDetail))
}
pub(crate) async fn get(call: RequestCtx) -> Answer {
    let (hive, who) = (call.hive(), &call.who);
    let delivery = hive.webhooks().delivery(who, id(&call)?, message(&call)?);
    ok(&delivery.await?)
}

describe! { retry:
    params(
        ("id" = WebhookId, Path, description = "The endpoint"),
        ("message" = MessageId, Path, description = "The `webhook-id` of the delivery"),
    ),
    responses((status = 202, description = "It is attempted again, also if it was delivered or had no attempts left; the attempt follows", body = DeliveryDetail))
}
pub(crate) async fn retry(mut call: RequestCtx) -> Answer {
    call.no_body().await?;
    let (hive, who) = (call.hive(), &call.who);
    let delivery = hive.webhooks().retry(who, id(&call)?, message(&call)?);
    json(StatusCode::ACCEPTED, &delivery.await?)
}

fn message(call: &RequestCtx) -> Result<MessageId, Problem> {
    call.id_in("message", "delivery")
}
