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
    let cache = worker_async("cache", connection.handle(), |connection| async move {
        Ok::<_, StartError>(Cache {
            connection,
            hits: 0,
        })
    });
    let cache_handle = cache.handle();
    let greeter = worker_async("greeter", cache.handle(), |cache| async move {
        Ok::<_, StartError>(Greeter(cache))
    });
    let storage = SupervisorSpec::rest_for_one("storage")
        .intensity(Intensity::new(3, Duration::from_secs(10)))
        .child(connection)
        .child(cache);
    let front = SupervisorSpec::one_for_one("front").child(greeter);
    let root = SupervisorSpec::one_for_one("app")
        .child(storage)
        .child(front);
    let tree = Tree::start(root).await?;

    println!("{:?}", cache_handle.ask(Look("a")).await?);
    // The connection crashes. The cache, which depends on it, is rebuilt after it.
    println!("{:?}", cache_handle.ask(Look("poison")).await);
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
    println!("the tree ended: {}", tree.shutdown().await);
    Ok(())
}
