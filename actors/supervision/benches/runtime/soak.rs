//! 100,000 children on four arbiters for a minute, under crashes, failures, blocked arbiters,
//! suspensions and moves: what leaks, and how quickly the tree says how it is.

#![expect(
    clippy::disallowed_methods,
    reason = "arbiters are to be blocked, and other threads have no clock of tokio's"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use actix::prelude::{Actor, Handler, Message};
use deia_supervision::{
    Context, Handle, Intensity, Monitor, Placement, StartError, SupervisorSpec, Tree, child,
};

use super::{p50_and_p99, resident_bytes};

const SUPERVISORS: usize = 10;
const CHILDREN: usize = 100_000;
const DURATION: Duration = Duration::from_secs(60);
const WATCHDOG: Duration = Duration::from_secs(1);
/// Interval at which an arbiter is blocked, and the length of a block.
const BLOCK_EVERY: Duration = Duration::from_secs(5);
const BLOCK_FOR: Duration = Duration::from_secs(3);

struct Bot;

impl Actor for Bot {
    type Context = Context<Self>;
}

#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
enum Order {
    Crash,
    Fail,
    Block,
    Nothing,
}

impl Handler<Order> for Bot {
    type Result = ();
    fn handle(&mut self, order: Order, ctx: &mut Self::Context) {
        match order {
            Order::Crash => panic!("told to"),
            Order::Fail => ctx.fail("told to"),
            Order::Block => std::thread::sleep(BLOCK_FOR),
            Order::Nothing => {}
        }
    }
}

/// Threads of this process (Linux only, 0 elsewhere).
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// xorshift: which child is next.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

struct Soak {
    tree: Tree,
    bots: Vec<(String, Handle<Bot>)>,
}

impl Soak {
    async fn start() -> Self {
        let mut root = SupervisorSpec::one_for_one("root")
            .intensity(Intensity::unlimited())
            .group("bots", 4)
            .arbiter_replacements(Intensity::unlimited())
            .watchdog(WATCHDOG);
        let mut supervisors = Vec::new();
        for index in 0..SUPERVISORS {
            let spec = SupervisorSpec::dynamic(index.to_string())
                .intensity(Intensity::unlimited())
                .placement(Placement::group("bots"));
            supervisors.push(spec.handle());
            root = root.child(spec);
        }
        let tree = Tree::start(root).await.unwrap();
        let mut bots = Vec::with_capacity(CHILDREN);
        for index in 0..CHILDREN {
            let supervisor = index % SUPERVISORS;
            let (spec, handle) = child(index.to_string(), || async { Ok::<_, StartError>(Bot) });
            supervisors[supervisor].start_child(spec).await.unwrap();
            bots.push((format!("root/{supervisor}/{index}"), handle));
        }
        Self { tree, bots }
    }

    /// Disturbs children for a while; monitors of those that were told to end.
    async fn disturb(&self) -> Vec<Monitor> {
        let (begin, mut blocked) = (Instant::now(), Instant::now());
        let (mut random, mut monitors) = (Random(0x9e37_79b9_7f4a_7c15), Vec::new());
        let (mut acts, mut blocks) = (0_u64, 0_u64);
        while begin.elapsed() < DURATION {
            let (path, handle) = &self.bots[random.below(self.bots.len())];
            match random.below(10) {
                0..6 => {
                    monitors.push(handle.monitor());
                    let _ = handle.tell(Order::Crash);
                }
                6 => {
                    monitors.push(handle.monitor());
                    let _ = handle.tell(Order::Fail);
                }
                7 | 8 if self.tree.suspend_path(path).await.is_ok() => {
                    tokio::task::yield_now().await;
                    let _ = self.tree.resume_path(path).await;
                }
                9 => drop(self.tree.move_child(path, Placement::group("bots")).await),
                _ => {}
            }
            acts += 1;
            if blocked.elapsed() > BLOCK_EVERY {
                blocked = Instant::now();
                blocks += 1;
                let _ = handle.tell(Order::Block);
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        println!("{acts} acts, {blocks} arbiters blocked");
        monitors
    }
}

/// Asks for the summary from a thread of its own, every millisecond; how long that took, in us.
fn poll_summary(tree: Tree, is_over: Arc<AtomicBool>) -> std::thread::JoinHandle<Vec<f64>> {
    std::thread::spawn(move || {
        let mut times = Vec::new();
        while !is_over.load(SeqCst) {
            let begin = Instant::now();
            let summary = tree.status_summary();
            times.push(begin.elapsed().as_secs_f64() * 1e6);
            assert!(summary.children > CHILDREN);
            std::thread::sleep(Duration::from_millis(1));
        }
        times
    })
}

fn megabytes() -> u64 {
    resident_bytes() / 1_000_000
}

pub(crate) fn run() {
    let before = threads();
    actix::System::new().block_on(async {
        let soak = Soak::start().await;
        let summary = soak.tree.status_summary();
        println!("started: {} MB, {} threads", megabytes(), threads());
        println!("{summary:?}");
        let is_over = Arc::new(AtomicBool::new(false));
        let polling = poll_summary(soak.tree.clone(), Arc::clone(&is_over));
        let monitors = soak.disturb().await;
        is_over.store(true, SeqCst);
        let (p50, p99) = p50_and_p99(polling.join().unwrap());
        println!("summary: p50 {p50:.1} us, p99 {p99:.1} us");
        let begin = Instant::now();
        let mut unanswered = 0;
        for (_, handle) in &soak.bots {
            let asked = tokio::time::timeout(Duration::from_secs(30), handle.ask(Order::Nothing));
            unanswered += u32::from(!matches!(asked.await, Ok(Ok(()))));
        }
        println!(
            "all asked in {:?}, {unanswered} did not answer",
            begin.elapsed()
        );
        let (told, mut pending) = (monitors.len(), 0);
        for monitor in monitors {
            let heard = tokio::time::timeout(Duration::from_secs(1), monitor).await;
            pending += u32::from(heard.is_err());
        }
        println!("{told} monitors, {pending} pending");
        println!("{:?}", soak.tree.status_summary());
        for arbiter in soak.tree.arbiters() {
            println!("{}: {} children", arbiter.name, arbiter.children);
        }
        println!("at the end: {} MB, {} threads", megabytes(), threads());
        soak.tree.shutdown().await;
    });
    let begin = Instant::now();
    while threads() > before && begin.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(10));
    }
    println!(
        "down: {} MB, {} of {before} threads",
        megabytes(),
        threads()
    );
}
