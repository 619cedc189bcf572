//! The ends of programs and their groups: by themselves, by a stop, by a drop.

use super::*;

#[tokio::test]
async fn group_ends_with_its_leader() {
    let seconds = unique_sleep();
    let setup = Setup::shell(&format!("sleep {seconds} & echo started"));
    let outcome = setup.run("").await;
    assert_eq!(outcome.output.as_deref(), Some("started\n"), "{outcome:?}");
    until("nothing is left", async || sleeping(&seconds) == 0).await;
}

/// Ways to leave the process group. `@` stands for the number of seconds.
const ESCAPES: [(&str, &str); 5] = [
    ("own session", "setsid sleep @ >/dev/null 2>&1 &"),
    ("own session, orphaned", "setsid -f sleep @"),
    (
        "empty environment",
        "env -i setsid sleep @ >/dev/null 2>&1 &",
    ),
    (
        "forked twice, empty environment",
        "(env -i setsid sh -c 'sleep @ & exit' >/dev/null 2>&1 &)",
    ),
    (
        "deaf to signals",
        "setsid sh -c 'trap \"\" TERM HUP INT; sleep @; true' >/dev/null 2>&1 &",
    ),
];

#[tokio::test]
async fn no_process_outlives_its_attempt_however_it_escapes() {
    for (name, escape) in ESCAPES {
        for (end, code) in [("exit 0", 0), ("exit 3", 3)] {
            let seconds = unique_sleep();
            let escape = escape.replace('@', &seconds);
            // The script ends only when the other process has escaped.
            let setup = Setup::shell(&format!(
                "{escape}\nuntil pgrep -f '^sleep {seconds}' >/dev/null; do sleep 0.01; done; {end}"
            ));
            let outcome = setup.run("").await;
            assert_eq!(outcome.exit_code, Some(code), "{name}: {outcome:?}");
            assert_eq!(sleeping(&seconds), 0, "{name}");
            let log = setup.log();
            assert!(
                log.contains(" that left the process group"),
                "{name}: {log}"
            );
        }
    }
}

#[tokio::test]
async fn stop_of_an_attempt_ends_what_escaped() {
    for (name, escape) in ESCAPES {
        for cause in [
            StopCause::Cancelled("cancelled by ada".into()),
            StopCause::BotStopping,
            StopCause::TimedOut { after_seconds: 1 },
        ] {
            let seconds = unique_sleep();
            let escape = escape.replace('@', &seconds);
            let setup = Setup::shell(&format!("{escape}\nexec sleep {seconds}"));
            let ready = || sleeping(&seconds) == 2;
            let outcome = setup.run_and_stop(ready, cause.clone()).await;
            assert_ne!(outcome.end, AttemptEnd::Succeeded, "{name}");
            assert_eq!(sleeping(&seconds), 0, "{name} {cause:?}");
        }
    }
}

#[tokio::test]
async fn dropped_attempt_ends_escaped_processes() {
    for (name, escape) in ESCAPES {
        let seconds = unique_sleep();
        let escape = escape.replace('@', &seconds);
        let setup = Setup::shell(&format!("{escape}\nexec sleep {seconds}"));
        tokio::select! {
            _ = setup.run("") => unreachable!("it ended by itself"),
            () = until("all sleep", async || sleeping(&seconds) == 2) => {}
        }
        until(name, async || sleeping(&seconds) == 0).await;
    }
}

#[tokio::test]
async fn attempt_whose_runner_is_killed_is_lost_and_ended() {
    let seconds = unique_sleep();
    let setup = Setup::shell(&format!(
        "setsid -f sleep {seconds}; kill -9 $PPID; exec sleep {seconds}"
    ));
    let run = setup.run_and_stop(
        || sleeping(&seconds) == 2,
        StopCause::Cancelled("cancelled by ada".into()),
    );
    let outcome = timeout(PATIENCE, run).await.unwrap();
    assert_eq!(outcome.end, AttemptEnd::Cancelled, "{outcome:?}");
    assert_eq!(sleeping(&seconds), 0);
}

#[tokio::test]
async fn program_leads_a_session_without_a_terminal() {
    let setup =
        Setup::shell("ps -o sid=,pgid=,tty= -p $$ && echo $$ && (exec </dev/tty) 2>/dev/null");
    let outcome = setup.run("").await;
    assert_eq!(
        outcome.end,
        AttemptEnd::Failed,
        "it has no terminal: {outcome:?}"
    );
    let output = outcome.output.unwrap();
    let words: Vec<_> = output.split_whitespace().collect();
    let [sid, pgid, tty, pid] = words[..] else {
        panic!("{output}")
    };
    assert_eq!((sid, pgid, tty), (pid, pid, "?"));
}

#[tokio::test]
async fn stop_ends_the_group_and_processes_that_left_it() {
    let seconds = unique_sleep();
    let setup = Setup::shell(&format!(
        "setsid -f sleep {seconds}; sleep {seconds} & sleep {seconds}"
    ));
    let ready = || sleeping(&seconds) == 3;
    let outcome = setup
        .run_and_stop(ready, StopCause::Cancelled("cancelled by ada".into()))
        .await;
    assert_eq!(outcome.end, AttemptEnd::Cancelled);
    assert_eq!(sleeping(&seconds), 0);
    assert!(setup.cx.pids.first(16).is_empty());
}

#[tokio::test]
async fn a_program_deaf_to_term_is_killed_after_the_grace() {
    let seconds = unique_sleep();
    let script = format!("trap '' TERM; sleep {seconds} & while :; do wait; done");
    let mut setup = Setup::shell(&script);
    setup.cx.term_grace = Duration::from_millis(200);
    let cause = StopCause::TimedOut { after_seconds: 7 };
    let began = Instant::now();
    let outcome = setup.run_and_stop(|| sleeping(&seconds) == 1, cause).await;
    assert_eq!(outcome.end, AttemptEnd::Failed);
    assert_eq!(outcome.error.as_deref(), Some("timed out after 7 s"));
    assert!(began.elapsed() >= setup.cx.term_grace);
    assert_eq!(sleeping(&seconds), 0);
}

#[tokio::test]
async fn program_may_clean_up_during_the_grace_even_when_its_parent_does_not() {
    for script in [
        "trap 'sleep 0.1; touch cleaned; exit 0' TERM; sleep @ & wait",
        "(trap 'sleep 0.1; touch cleaned; exit 0' TERM; sleep @ & wait) & wait",
    ] {
        let seconds = unique_sleep();
        let setup = Setup::shell(&script.replace('@', &seconds));
        let ready = || sleeping(&seconds) == 1;
        let outcome = setup.run_and_stop(ready, StopCause::BotStopping).await;
        assert_eq!(outcome.end, AttemptEnd::GivenBack, "{script}");
        assert!(setup.cx.work_dir.join("cleaned").exists(), "{script}");
        assert_eq!(sleeping(&seconds), 0, "{script}");
    }
}

#[tokio::test]
async fn stopped_process_receives_term() {
    let setup = Setup::shell("trap 'touch heard; exit 0' TERM; kill -STOP $$");
    let halted = || {
        let pids = setup.cx.pids.first(1);
        let stat = |pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        pids.first().is_some_and(|pid| stat(pid).contains(") T "))
    };
    let outcome = setup
        .run_and_stop(halted, StopCause::Cancelled("cancelled by ada".into()))
        .await;
    assert_eq!(outcome.end, AttemptEnd::Cancelled);
    assert!(setup.cx.work_dir.join("heard").exists());
}

#[tokio::test]
async fn end_of_the_program_takes_precedence_over_a_later_stop() {
    let setup = Setup::shell("until [ -e go ]; do sleep 0.01; done; echo mine; exit 4");
    let (send, stop) = watch::channel(None);
    let claimed = claimed("");
    let mut running = std::pin::pin!(run(&setup.cx, &claimed, Progress::told(), stop));
    tokio::select! {
        biased;
        () = until("it runs", async || !setup.cx.pids.first(1).is_empty()) => {}
        _ = &mut running => panic!("it ended unseen"),
    }
    // The future is not polled meanwhile: the program has ended unseen.
    let pid = setup.cx.pids.first(1)[0];
    let stat = format!("/proc/{pid}/stat");
    std::fs::write(setup.cx.work_dir.join("go"), "").unwrap();
    until("it has ended", async || {
        std::fs::read_to_string(&stat).unwrap().contains(") Z ")
    })
    .await;
    send.send_replace(Some(StopCause::Cancelled("cancelled by ada".into())));
    let outcome = running.await;
    assert_eq!(
        (outcome.end, outcome.exit_code),
        (AttemptEnd::Failed, Some(4))
    );
    assert_eq!(outcome.output.as_deref(), Some("mine\n"));
}

#[tokio::test]
async fn nothing_is_started_after_a_stop() {
    let setup = Setup::shell("touch started");
    let (_keep, stop) = watch::channel(Some(StopCause::BotStopping));
    let outcome = run(&setup.cx, &claimed(""), Progress::told(), stop).await;
    assert_eq!(outcome.end, AttemptEnd::GivenBack);
    assert!(!setup.cx.work_dir.exists());
}

#[tokio::test]
async fn dropping_the_attempt_kills_all_of_it_and_leaves_no_zombie() {
    let seconds = unique_sleep();
    let script = format!(
        "trap '' TERM; setsid -f sleep {seconds}; sleep {seconds} & while :; do wait; done"
    );
    let setup = Setup::shell(&script);
    let (_keep, stop) = watch::channel(None);
    let claimed = claimed("");
    let mut running = Box::pin(run(&setup.cx, &claimed, Progress::told(), stop));
    tokio::select! {
        () = until("it sleeps", async || sleeping(&seconds) == 2) => {}
        outcome = &mut running => panic!("{outcome:?}"),
    }
    let pid = setup.cx.pids.first(1)[0];
    drop(running);
    assert!(setup.cx.pids.first(1).is_empty());
    until("nothing is left", async || sleeping(&seconds) == 0).await;
    let process = std::path::PathBuf::from(format!("/proc/{pid}"));
    until("it is reaped", async || !process.exists()).await;
}

#[tokio::test]
async fn stop_or_drop_at_any_moment_leaves_no_process() {
    let seconds = unique_sleep();
    let setup = Setup::shell(&format!("setsid sleep {seconds} & sleep {seconds}"));
    for after_us in (0..4_000).step_by(100) {
        let (send, stop) = watch::channel(None);
        let claimed = claimed("x");
        // Sleeps: picks a moment of the stop; nothing has to have happened by then.
        let after = tokio::time::sleep(Duration::from_micros(after_us));
        let mut running = Box::pin(run(&setup.cx, &claimed, Progress::told(), stop));
        tokio::select! {
            () = after => {}
            outcome = &mut running => panic!("{outcome:?}"),
        }
        if after_us % 200 == 0 {
            drop(running);
        } else {
            send.send_replace(Some(StopCause::Cancelled("cancelled by ada".into())));
            assert_eq!(running.await.end, AttemptEnd::Cancelled);
        }
    }
    until("nothing is left", async || sleeping(&seconds) == 0).await;
    assert!(setup.cx.pids.first(1).is_empty());
}
