//! A supervisor under 1,000 children that crash as soon as they are up, each
//! coming back after 1 to 10 ms: how long it takes to answer.

use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext};
use deia_supervision::{
    Backoff, Context, Intensity, StartError, Strategy, SupervisorSpec, Tree, child,
};

use crate::Figures;

const CHILDREN: usize = 1_000;
const QUESTIONS: usize = 500;

struct Crasher;

impl Actor for Crasher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Up first: a child that fails in `started` has not started.
        ctx.run_later(Duration::ZERO, |_, ctx| ctx.fail("again"));
    }
}

pub(crate) fn measure(figures: &mut Figures) {
    actix::System::new().block_on(async {
        let spec = SupervisorSpec::dynamic("workers");
        let workers = spec.handle();
        let spec = SupervisorSpec::new("root", Strategy::OneForOne)
            .child(spec.intensity(Intensity::unlimited()));
        let tree = Tree::start(spec).await.unwrap();
        for i in 0..CHILDREN {
            let (spec, _) = child(i.to_string(), || async { Ok::<_, StartError>(Crasher) });
            let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(10));
            workers
                .start_child(spec.backoff(backoff.jitter(0.5)))
                .await
                .unwrap();
        }
        let mut answers = Vec::with_capacity(QUESTIONS);
        for _ in 0..QUESTIONS {
            let begin = Instant::now();
            let count = workers.count_children().await;
            assert_eq!(tree.status().children[0].children.len(), CHILDREN);
            answers.push(begin.elapsed().as_secs_f64() * 1e3);
            assert_eq!(count.specs, CHILDREN);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let restarts: u64 = tree.status().children[0]
            .children
            .iter()
            .map(|child| child.restarts)
            .sum();
        assert!(restarts > 10_000, "they hardly crashed: {restarts}");
        answers.sort_by(f64::total_cmp);
        let mut put = |figure, value| {
            let row = figures.entry(figure).or_default();
            row.entry("deia").or_default().push(value);
        };
        put(
            "answer_under_1000_crash_loops_p50_ms",
            answers[QUESTIONS / 2],
        );
        put(
            "answer_under_1000_crash_loops_max_ms",
            answers[QUESTIONS - 1],
        );
        tree.shutdown().await;
    });
}
