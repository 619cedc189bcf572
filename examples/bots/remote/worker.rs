//! A worker of a remote bot, by `deia-client`: turns the content of tasks into upper case, four at
//! a time. Replace `carry_out`. Ctrl-C lets it finish what it has.
//!
//! ```sh
//! DEIA_URL=http://127.0.0.1:8000 DEIA_KEY=deia_... cargo run --example remote-worker far-1
//! ```
//!
//! `Worker` sends the heartbeats, drops the future of a task that was cancelled or lost, and
//! repeats each report until the hive has answered.

use std::{env, error::Error, time::Duration};

use deia_client::{Assignment, Client, Completion, Failure, Secret, Worker};
use deia_model::FailureClass;

async fn carry_out(work: Assignment) -> Result<Completion, Failure> {
    let content = &work.task.content;
    if content.starts_with("reject") {
        let reason = "this worker does not do that";
        return Err(Failure::of(FailureClass::Permanent, reason));
    }
    if let Some(seconds) = content.strip_prefix("sleep ") {
        let seconds: u32 = seconds.parse()?;
        for second in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            work.progress(f64::from(second + 1) / f64::from(seconds));
        }
    }
    Ok(Completion::of(content.to_uppercase()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("DEIA_URL").unwrap_or_else(|_| deia_client::DEFAULT_URL.to_owned());
    let key = Secret::new(env::var("DEIA_KEY")?);
    let client = Client::builder(url).key(key).build()?;
    let bot = env::args().nth(1).ok_or("usage: remote-worker BOT")?;
    let worker = Worker::new(client, bot.parse()?)
        .max(4)
        .on_error(|error| eprintln!("{error}"));
    let interrupted = async { drop(tokio::signal::ctrl_c().await) };
    worker.run_until(interrupted, carry_out).await?;
    Ok(())
}
