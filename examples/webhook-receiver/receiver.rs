//! Receives webhooks of deia: verifies each delivery, answers 204 and prints a line.
use std::{collections::HashSet, env, error::Error, sync::Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;
use standardwebhooks::Webhook;

/// Ids of deliveries that were handled; in earnest they belong in a database.
type Seen = Mutex<HashSet<String>>;

/// Returns the id and the event of a delivery that the hive has signed.
fn verified(
    webhook: &Webhook,
    from: &HttpRequest,
    body: &[u8],
) -> Result<(String, Value), Box<dyn Error>> {
    let mut headers = http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let value = from.headers().get(name).ok_or(name)?;
        headers.insert(name, value.to_str()?.parse()?);
    }
    webhook.verify(body, &headers)?; // these bytes, not JSON made from them
    let id = headers["webhook-id"].to_str()?.to_owned();
    Ok((id, serde_json::from_slice(body)?))
}

async fn receive(
    webhook: web::Data<Webhook>,
    seen: web::Data<Seen>,
    from: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let Ok((id, event)) = verified(&webhook, &from, &body) else {
        return HttpResponse::Unauthorized().finish();
    };
    // A retry has the id of the first attempt.
    if seen.lock().is_ok_and(|mut seen| seen.insert(id.clone())) {
        let task = event["data"]["task_id"].as_str().unwrap_or("-");
        println!("{} {task} {id}", event["type"].as_str().unwrap_or("-"));
    }
    HttpResponse::NoContent().finish()
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let webhook = web::Data::new(Webhook::new(&env::var("WEBHOOK_SECRET")?)?);
    let seen = web::Data::new(Seen::default());
    let app = move || {
        App::new()
            .app_data(webhook.clone())
            .app_data(seen.clone())
            .default_service(web::post().to(receive))
    };
    let port = env::var("PORT").map_or(Ok(9000), |port| port.parse())?;
    let server = HttpServer::new(app).bind(("127.0.0.1", port))?;
    println!("listening on http://{}", server.addrs()[0]);
    Ok(server.run().await?)
}
