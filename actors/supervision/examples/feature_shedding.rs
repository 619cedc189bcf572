//! A feature is switched off as one, and stays off whatever happens, until it is switched on.

use std::time::Duration;

use deia_supervision::prelude::*;

struct Part(&'static str);

impl Actor for Part {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        println!("+ {}", self.0);
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        println!("- {}", self.0);
    }
}

fn part(name: &'static str) -> WorkerSpec<Part> {
    worker(name, move || Part(name))
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let reports = SupervisorSpec::dynamic("reports").feature("reports");
    let adding = reports.handle();
    let root = SupervisorSpec::one_for_one("app")
        .intensity(Intensity::new(3, Duration::from_secs(10)))
        .child(part("store").criticality(Criticality::Critical))
        .child(reports)
        .child(part("mailer").feature("reports"))
        .child(part("search").criticality(Criticality::Optional));
    let tree = Tree::start(root).await?;
    adding.start_child(part("daily")).await?;

    // The last one started goes first. `daily` keeps its place below `reports`.
    let off = tree
        .suspend_feature("reports", "operator", "the disk is full")
        .await;
    println!("suspended: {off:?}");
    let status = tree.status_of("app/mailer").ok_or("it is there")?;
    println!("{}: {:?}", status.state, status.suspended);
    // Callers that ask for more get an error at once.
    println!("{:?}", adding.start_child(part("weekly")).await);

    // Under load, what matters least goes first; what is critical never goes.
    let level = Criticality::Optional;
    let shed = tree.shed(level, "controller", "busy for a minute").await;
    println!("shed: {shed:?}");
    // `suspended: 3` are `reports`, `mailer` and `search`; `down: 1` is `daily`, which is not
    // suspended itself, but below a supervisor that is.
    println!("{:?}", tree.status_summary());

    let back = tree.unshed().await;
    println!("back: {back:?}");
    let on = tree.resume_feature("reports").await;
    println!("resumed: {on:?}");
    tree.shutdown().await;
    Ok(())
}
