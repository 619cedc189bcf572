//! A pool of workers that are added at run time, on the tree's pool of arbiters. One that fails
//! again and again is quarantined, and spares the others.

use std::time::Duration;

use deia_supervision::prelude::*;

struct Worker;

impl Actor for Worker {
    type Context = Context<Self>;
}

#[derive(Clone, Message)]
#[rtype(result = "u64")]
struct Square(u64);

impl Handler<Square> for Worker {
    type Result = u64;

    fn handle(&mut self, Square(number): Square, _: &mut Context<Self>) -> u64 {
        assert!(number != 13, "13 is too much");
        number * number
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    deia_supervision::install_panic_hook();

    let pool = SupervisorSpec::dynamic("pool")
        .max_children(8)
        .placement(Placement::Pool);
    let workers = pool.handle();
    let tree = Tree::start(SupervisorSpec::one_for_one("app").child(pool)).await?;

    let mut handles = Vec::new();
    for index in 0..4 {
        let spec = worker(format!("worker-{index}"), || Worker)
            .mailbox(100)
            .budget(Intensity::new(2, Duration::from_secs(60)))
            .on_exhausted(OnExhausted::Quarantine);
        handles.push(spec.handle());
        workers.start_child(spec).await?;
    }

    // `send` and `ask` wait; `tell` gives back what does not fit.
    for number in 0..8 {
        let handle = &handles[number as usize % handles.len()];
        println!(
            "{} says {}",
            handle.name(),
            handle.ask(Square(number)).await?
        );
    }

    // Three crashes are one too many for this one.
    for _ in 0..3 {
        println!("{:?}", handles[1].ask(Square(13)).await);
    }
    let limit = Duration::from_millis(100);
    println!("{:?}", handles[1].ask_within(Square(3), limit).await);
    println!("{:?}", handles[2].ask(Square(3)).await?);
    println!("{:?}", tree.status_summary());

    // Somebody has looked into it.
    workers.restart_child("worker-1").await?;
    println!("{:?}", handles[1].ask(Square(5)).await?);

    tree.shutdown_within(Duration::from_secs(10)).await;
    Ok(())
}
