//! An external system that uses a hive, by `deia-client`: it submits, polls, waits, follows
//! the events of its tasks, and registers an endpoint for webhooks.
//!
//! `DEIA_URL` is the address of the hive, `DEIA_KEY_FILE` the file with the key, `HOOK_URL`
//! the address of the receiver.

use std::{env, error::Error, fs, time::Duration};

use deia_client::{Client, ClientError, EventQuery, Followed, Secret};
use deia_model::{NewTask, NewWebhook, TaskId, TaskResult, Timestamp, WebhookWithSecret};

fn connect() -> Result<Client, Box<dyn Error>> {
    let key = fs::read_to_string(env::var("DEIA_KEY_FILE")?)?;
    let client = Client::builder(env::var("DEIA_URL")?).key(Secret::new(key.trim()));
    Ok(client.build()?)
}

async fn submit(client: &Client, order: &str) -> Result<TaskId, Box<dyn Error>> {
    let task = NewTask::new("general".parse()?, "hello");
    // The key is stored with the order: a call that is repeated, also after a crash of this
    // program, submits nothing new.
    let submitted = client.submit(&task, Some(order)).await?;
    Ok(submitted.id)
}

async fn submit_patiently(client: &Client, order: &str) -> Result<TaskId, Box<dyn Error>> {
    for seconds in [1, 2, 4, 8, 16] {
        match submit(client, order).await {
            Err(error) if is_passing(&*error) => {
                eprintln!("{error}; trying again in {seconds} s");
                tokio::time::sleep(Duration::from_secs(seconds)).await;
            }
            other => return other,
        }
    }
    submit(client, order).await
}

/// Returns whether the same request may succeed later: the hive is away, restarts, or has
/// too much to do.
fn is_passing(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<ClientError>();
    error.is_some_and(ClientError::is_passing)
}

async fn poll(client: &Client, id: TaskId) -> Result<(), ClientError> {
    let state = client.task_status(id).await?;
    println!("{id} is {}", state.status.as_str());
    Ok(())
}

async fn wait(client: &Client, id: TaskId) -> Result<TaskResult, ClientError> {
    client.wait_for_result(id, Duration::from_secs(60)).await
}

async fn follow(client: &Client, order: &str) -> Result<(), Box<dyn Error>> {
    let query = EventQuery {
        action: Some("task.completed".into()),
        ..EventQuery::default()
    };
    let mut events = client.follow_events(query, None);
    events.start().await?;
    let id = submit_patiently(client, order).await?.to_string();
    loop {
        match events.next().await? {
            Followed::Event(event) if event.target.id == id => break,
            Followed::Event(_) => {}
            Followed::Gap(gap) => eprintln!("events are missing, read the tasks again: {gap:?}"),
            Followed::Interrupted(reason) => eprintln!("{reason}"),
            Followed::Resumed => eprintln!("the stream goes on where it ended"),
        }
    }
    println!("{id} is completed");
    // With this id a later run goes on: follow_events(query, Some(id)).
    println!("the last id is {}", events.last_id().unwrap_or("none"));
    Ok(())
}

async fn register(client: &Client, url: &str) -> Result<WebhookWithSecret, ClientError> {
    let webhook = NewWebhook::new(url, &["task.completed", "task.failed"]);
    // Repeated with the same key, it answers with the same endpoint and secret.
    client
        .register_webhook(&webhook, Some("hook-of-the-shop"))
        .await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = connect()?;
    // In earnest the number of an order, which is stored before the task is submitted.
    let order = Timestamp::now();
    let id = submit_patiently(&client, &format!("order-{order}")).await?;
    poll(&client, id).await?;
    println!("{}", wait(&client, id).await?.output.unwrap_or_default());
    follow(&client, &format!("second-order-{order}")).await?;
    if let Ok(url) = env::var("HOOK_URL") {
        let registered = register(&client, &url).await?;
        // The secret belongs where only the receiver can read it.
        println!("{} has a secret", registered.webhook.id);
        let test = client.test_webhook(registered.webhook.id).await?;
        println!("the receiver accepts deliveries: {}", test.delivered);
    }
    Ok(())
}
