//! A tree of three levels: what a leaf does stays local until its supervisor has had enough.
//!
//! ```text
//! app               one_for_one
//! ├─ storage        rest_for_one      what comes after depends on what comes before
//! │  ├─ connection
//! │  └─ cache
//! └─ front          one_for_one
//!    └─ greeter
//! ```

use std::time::Duration;

use deia_supervision::prelude::*;

/// Stands for something that holds a connection.
struct Connection;

impl Actor for Connection {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "String")]
struct Get(&'static str);

impl Handler<Get> for Connection {
    type Result = String;

    fn handle(&mut self, Get(key): Get, _: &mut Context<Self>) -> String {
        assert!(key != "poison", "the connection broke");
        format!("value of {key}")
    }
}

/// Asks the connection, and remembers. Its address of the connection is good across restarts.
struct Cache {
    connection: Handle<Connection>,
    hits: usize,
}

impl Actor for Cache {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "Result<String, AskError>")]
struct Look(&'static str);

impl Handler<Look> for Cache {
    type Result = ResponseActFuture<Self, Result<String, AskError>>;

    fn handle(&mut self, Look(key): Look, _: &mut Context<Self>) -> Self::Result {
        let answer = self.connection.ask(Get(key));
        respond_with(answer, |value, cache: &mut Self, _| {
            cache.hits += 1;
            value
        })
    }
}

struct Greeter(Handle<Cache>);

impl Actor for Greeter {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        println!("the greeter is up, in front of {}", self.0.path());
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    deia_supervision::install_panic_hook();

    let connection = worker("connection", || Connection).backoff(Backoff::new(
        Duration::from_millis(10),
        Duration::from_secs(1),
    ));
    let connection_handle = connection.handle();
    let cache = worker("cache", move || Cache {
        connection: connection_handle.clone(),
        hits: 0,
    });
    let cache_handle = cache.handle();
    let front_cache = cache.handle();
    let greeter = worker("greeter", move || Greeter(front_cache.clone()));
    let storage = SupervisorSpec::rest_for_one("storage")
        .intensity(Intensity::new(3, Duration::from_secs(10)))
        .child(connection)
        .child(cache);
    let front = SupervisorSpec::one_for_one("front").child(greeter);
    let root = SupervisorSpec::one_for_one("app")
        .child(storage)
        .child(front);
    let tree = Tree::start(root).await?;

    // The outer result says whether the cache answered, the inner one whether the connection did.
    println!("{:?}", cache_handle.ask(Look("a")).await?);

    // A handle can be looked up by path and type of actor. `send` waits for room in the mailbox.
    let path = "app/storage/connection";
    let found = tree.handle::<Connection>(path).ok_or("it is there")?;
    found.send(Get("a")).await?;

    // The connection crashes, and the cache answers with that: `Ok(Err(Crashed))`. The cache, which
    // depends on it, is rebuilt after it.
    let ended = tree.monitor(path).ok_or("it is there")?;
    println!("{:?}", cache_handle.ask(Look("poison")).await);
    if let Some(reason) = ended.await {
        println!("the connection ended: {reason}");
    }
    println!("{:?}", cache_handle.ask(Look("b")).await?);

    for path in [
        "app/storage/connection",
        "app/storage/cache",
        "app/front/greeter",
    ] {
        let status = tree.status_of(path).ok_or("it is there")?;
        println!("{path}: run {}, {}", status.incarnation, status.state);
        if let Some(exit) = status.last_exit {
            println!("  ended last: {}", exit.reason);
        }
    }
    let front = tree.status_of("app/front").ok_or("it is there")?;
    println!("{}", serde_json::to_string_pretty(&front)?);
    println!("the tree ended: {}", tree.shutdown().await);
    Ok(())
}
