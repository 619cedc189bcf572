//! Webhooks: deliveries a second beside a bare loop of the same HTTP client, a hanging endpoint
//! among others, memory and latency, and the cost to the life of tasks.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::{
    ROUNDS, median, micros,
    raw::{Connection, percentile, request},
    rounded,
    server::{Server, data_dir},
};

/// Settings that let webhooks reach the sink.
const LOOPBACK: [&str; 4] = [
    "webhooks.allow_http=true",
    "webhooks.allow_networks=[127.0.0.0/8]",
    "webhooks.max=20000",
    "webhooks.max_per_owner=20000",
];
/// Events that one endpoint gets.
const EVENTS: usize = 20_000;
/// Endpoints of which one hangs.
const ENDPOINTS: usize = 100;
/// Events that each of them gets.
const EVENTS_EACH: usize = 500;
/// Endpoints that have nothing to do.
const IDLE: usize = 10_000;
/// Tasks whose lives are measured.
const TASKS: usize = 50_000;

/// Measures all figures of webhooks.
pub(crate) async fn measure() -> Result<Value> {
    let sink = Sink::start()?;
    let (mut ours, mut bare) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        bare.push(bare_loop(&sink).await?);
        ours.push(one_endpoint(&sink).await?);
    }
    let ratios: Vec<f64> = ours
        .iter()
        .zip(&bare)
        .map(|(ours, bare)| ours / bare)
        .collect();
    let mut hanging = vec![];
    for _ in 0..ROUNDS {
        let without = many_endpoints(&sink, false).await?;
        hanging.push(many_endpoints(&sink, true).await? / without);
    }
    let (p50, p99) = latency(&sink).await?;
    let bytes = idle_memory().await?;
    let mut costs = HashMap::new();
    for _ in 0..ROUNDS {
        let free = lifecycle(&[]).await?;
        let nothing = vec![endpoint("/", &["bot.crashed"], &sink, json!({})); 1_000];
        let all = [endpoint("/", &["task"], &sink, json!({}))];
        let matched = [endpoint(
            "/",
            &["task"],
            &sink,
            json!({"rate_per_second": 1}),
        )];
        for (name, endpoints) in [
            ("1000_that_match_nothing", &nothing[..]),
            ("one_that_gets_all", &all),
            ("one_that_matches_all_at_one_a_second", &matched),
        ] {
            let ratio = lifecycle(endpoints).await? / free;
            costs.entry(name).or_insert_with(Vec::new).push(ratio);
        }
    }
    let costs: HashMap<_, _> = costs
        .into_iter()
        .map(|(name, ratios)| (name, rounded(median(ratios))))
        .collect();
    Ok(json!({
        "deliveries_per_second": rounded(median(ours)),
        "bare_per_second": rounded(median(bare)),
        "of_bare": rounded(median(ratios)),
        "others_beside_a_hanging_one": rounded(median(hanging)),
        "event_to_delivery_us_p50": p50,
        "event_to_delivery_us_p99": p99,
        "bytes_per_idle_endpoint": bytes,
        "lifecycle_beside": costs,
    }))
}

fn endpoint(path: &str, events: &[&str], sink: &Sink, more: Value) -> Value {
    let mut body = json!({"url": format!("http://{}{path}", sink.addr), "events": events});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body
}

async fn register(deia: &Server, endpoints: &[Value]) -> Result<()> {
    let shares = endpoints.chunks(endpoints.len().div_ceil(32).max(1));
    let send = |share: Vec<Value>| async move {
        let mut connection = Connection::open(deia.addr).await?;
        for body in share {
            let path = "/api/v1/webhooks/register";
            let request = request("POST", path, &deia.key, &body.to_string());
            ensure!(connection.send(&request).await?.0 == 201, "not registered");
        }
        Ok(())
    };
    let all = shares.map(|share| send(share.to_vec()));
    futures_util::future::try_join_all(all).await?;
    Ok(())
}

async fn deia(name: &str) -> Result<Server> {
    Ok(Server::deia_with(&data_dir(name)?, &LOOPBACK).await?.0)
}

/// Posts a body of the size of a payload over four connections.
async fn bare_loop(sink: &Sink) -> Result<f64> {
    // A client needs a provider of TLS, also for plain HTTP. Another call has set it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://{}/", sink.addr);
    let begun = Instant::now();
    let one = || async {
        let mut sent = 0_u32;
        while begun.elapsed() < Duration::from_secs(2) {
            let answer = client.post(&url).body("x".repeat(500)).send().await?;
            ensure!(answer.status() == 204, "{}", answer.status());
            sent += 1;
        }
        Ok(sent)
    };
    let sent = futures_util::future::try_join_all((0..4).map(|_| one())).await?;
    Ok(f64::from(sent.iter().sum::<u32>()) / begun.elapsed().as_secs_f64())
}

/// Measures the deliveries of recorded events to one endpoint.
async fn one_endpoint(sink: &Sink) -> Result<f64> {
    let deia = deia("webhook").await?;
    register(
        &deia,
        &[endpoint("/", &["task.submitted"], sink, json!({}))],
    )
    .await?;
    let before = sink.count();
    deia.submit("nobody", EVENTS).await?;
    let begun = Instant::now();
    let first = sink.count() - before;
    sink.reaches(before + EVENTS as u64).await?;
    #[allow(clippy::cast_precision_loss, reason = "a count to a rate")]
    Ok((EVENTS as u64 - first) as f64 / begun.elapsed().as_secs_f64())
}

/// Measures the deliveries to all endpoints but one, which hangs or is not there.
async fn many_endpoints(sink: &Sink, one_hangs: bool) -> Result<f64> {
    let deia = deia("webhooks").await?;
    let good = endpoint("/", &["task.submitted"], sink, json!({}));
    let mut all = vec![good; ENDPOINTS - 1];
    if one_hangs {
        all.push(endpoint("/hang", &["task.submitted"], sink, json!({})));
    }
    register(&deia, &all).await?;
    let wanted = ((ENDPOINTS - 1) * EVENTS_EACH) as u64;
    let before = sink.count();
    let begun = Instant::now();
    let task = json!({"type": "nobody", "content": "hello"});
    let body = json!({"tasks": vec![task; EVENTS_EACH]});
    deia.call("POST", "/api/v1/tasks/batch", &body).await?;
    sink.reaches(before + wanted).await?;
    #[allow(clippy::cast_precision_loss, reason = "a count to a rate")]
    Ok(wanted as f64 / begun.elapsed().as_secs_f64())
}

/// Measures the time from the answer to a submission to the delivery of its event, at 50 a
/// second.
async fn latency(sink: &Sink) -> Result<(f64, f64)> {
    let deia = deia("webhook-latency").await?;
    register(
        &deia,
        &[endpoint("/time", &["task.submitted"], sink, json!({}))],
    )
    .await?;
    let body = json!({"type": "nobody", "content": "hello"}).to_string();
    let submit = request("POST", "/api/v1/tasks/submit", &deia.key, &body);
    let mut connection = Connection::open(deia.addr).await?;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let mut answered = HashMap::new();
    let before = sink.count();
    for _ in 0..500 {
        tick.tick().await;
        let task: Value = serde_json::from_slice(connection.send(&submit).await?.1)?;
        answered.insert(task["id"].to_string(), Instant::now());
    }
    sink.reaches(before + 500).await?;
    let arrived = sink.arrived.lock().unwrap_or_else(PoisonError::into_inner);
    let mut times: Vec<Duration> = arrived
        .iter()
        .filter_map(|(id, at)| Some(at.saturating_duration_since(*answered.get(id)?)))
        .collect();
    Ok((
        micros(percentile(&mut times, 0.5)),
        micros(percentile(&mut times, 0.99)),
    ))
}

/// Measures the memory of an endpoint that has nothing to do.
async fn idle_memory() -> Result<f64> {
    let deia = deia("webhook-memory").await?;
    let before = deia.memory_bytes();
    let body = json!({"url": "https://hooks.example.com/deia", "events": ["bot.crashed"]});
    register(&deia, &vec![body; IDLE]).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let grown = deia.memory_bytes().saturating_sub(before);
    #[allow(clippy::cast_precision_loss, reason = "a count to a mean")]
    Ok(rounded(grown as f64 / IDLE as f64))
}

/// Measures the lives of tasks beside these endpoints.
async fn lifecycle(endpoints: &[Value]) -> Result<f64> {
    let deia = deia("webhook-lifecycle").await?;
    for name in ["noop-1", "noop-2"] {
        deia.launch(name, json!({"kind": "simulated"}), 256, &["noop"])
            .await?;
    }
    register(&deia, endpoints).await?;
    let begun = Instant::now();
    deia.submit("noop", TASKS).await?;
    deia.drained().await?;
    #[allow(clippy::cast_precision_loss, reason = "a count to a rate")]
    Ok(TASKS as f64 / begun.elapsed().as_secs_f64())
}

/// Times at which deliveries to `/time` arrived, by the task.
type Arrived = Arc<Mutex<Vec<(String, Instant)>>>;

/// A receiver on a thread of its own that answers 204, and on `/hang` never.
struct Sink {
    addr: SocketAddr,
    accepted: Arc<AtomicU64>,
    arrived: Arrived,
}

impl Sink {
    fn start() -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let (accepted, arrived) = (Arc::<AtomicU64>::default(), Arrived::default());
        let (count, times) = (accepted.clone(), arrived.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::spawn(move || {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener)?;
                loop {
                    let (stream, _) = listener.accept().await?;
                    tokio::spawn(serve(stream, count.clone(), times.clone()));
                }
                #[allow(unreachable_code, reason = "names the type of the error")]
                Ok::<(), std::io::Error>(())
            })
        });
        Ok(Self {
            addr,
            accepted,
            arrived,
        })
    }

    fn count(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    async fn reaches(&self, count: u64) -> Result<()> {
        let begun = Instant::now();
        while self.count() < count {
            ensure!(
                begun.elapsed() < Duration::from_secs(120),
                "{} of {count} deliveries arrived",
                self.count()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}

async fn serve(stream: TcpStream, accepted: Arc<AtomicU64>, arrived: Arrived) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(16 << 10, stream);
    let mut line = String::new();
    loop {
        let (mut length, mut path) = (0, String::new());
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let text = line.trim_end();
            if text.is_empty() {
                break;
            }
            if path.is_empty() {
                path = text.split(' ').nth(1).unwrap_or_default().to_owned();
            }
            if let Some((name, value)) = text.split_once(": ")
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.parse()?;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        if path == "/hang" {
            std::future::pending::<()>().await;
        }
        if path == "/time" {
            let body: Value = serde_json::from_slice(&body)?;
            let id = body["data"]["task_id"].to_string();
            let mut arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
            arrived.push((id, Instant::now()));
        }
        accepted.fetch_add(1, Ordering::Relaxed);
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
    }
}
