//! The real reaper: this test binary is started again as the reaper, and as a server that is killed.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::{ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use nix::{
    sys::signal::{Signal as NixSignal, kill},
    unistd::Pid as NixPid,
};

use super::*;
use crate::{
    bots::command,
    reaper,
    testing::{PATIENCE, block_until},
};

const REAPER_OF: &str = "DEIA_TEST_REAPER_OF";
const REAPER_OF_RUN: &str = "DEIA_TEST_REAPER_OF_RUN";
const RUNNER: &str = "DEIA_TEST_RUNNER";
const SERVER_OF: &str = "DEIA_TEST_SERVER_OF";

/// This test binary as reaper.
pub(crate) fn reaper_program(instance: &str) -> ReaperProgram {
    let run = new_run();
    ReaperProgram {
        path: std::env::current_exe().unwrap(),
        args: entry("reaper_entry").map(OsString::from).into(),
        env: vec![
            (REAPER_OF.into(), instance.into()),
            (REAPER_OF_RUN.into(), run.clone().into()),
        ],
        run,
        instance: instance.to_owned(),
        runner: RunnerProgram {
            path: std::env::current_exe().unwrap(),
            args: entry("runner_entry").map(OsString::from).into(),
            env: vec![(RUNNER.into(), "1".into())],
            max_idle: 4,
        },
    }
}

fn entry(name: &str) -> [String; 3] {
    let module = module_path!().split_once("::").unwrap().1;
    let test = format!("{module}::{name}");
    ["--exact".into(), test, "--nocapture".into()]
}

/// Returns a hive id unique to this test.
pub(crate) fn unique_hive_id() -> String {
    format!("test-{}", uuid::Uuid::now_v7())
}

/// Returns a number of seconds for which no other test sleeps.
pub(crate) fn unique_sleep() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let (pid, now) = (std::process::id(), uuid::Uuid::now_v7().as_u128() >> 80);
    format!("86400.{pid:07}{now:015}{next:05}")
}

/// Returns the number of processes that are exactly `sleep <seconds>` and have not ended.
pub(crate) fn sleeping(seconds: &str) -> usize {
    let expected = format!("sleep\0{seconds}\0");
    let sleeps = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == expected.as_bytes())
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(sleeps)
        .count()
}

fn exists(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// Returns whether the process has ended; its new parent may reap it late.
fn has_ended(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

fn kill_process_by_id(pid: u32) {
    kill(
        NixPid::from_raw(i32::try_from(pid).unwrap()),
        NixSignal::SIGKILL,
    )
    .unwrap();
}

/// Not a test: the main function of the reaper.
#[test]
fn reaper_entry() {
    if let Ok(hive_id) = std::env::var(REAPER_OF) {
        reaper::run(&hive_id, &std::env::var(REAPER_OF_RUN).unwrap()).unwrap();
    }
}

/// Not a test: the main function of a runner.
#[test]
fn runner_entry() {
    if std::env::var_os(RUNNER).is_some() {
        crate::runner::run().unwrap();
    }
}

/// Not a test: a server that runs one shell command, reports its reaper, and never ends.
#[test]
fn server_entry() {
    let Ok(hive_id) = std::env::var(SERVER_OF) else {
        return;
    };
    let script = std::env::var("DEIA_TEST_SCRIPT").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let setup = command::tests::Setup::of_hive(&hive_id, &["sh", "-c", &script]);
        let handle = setup.cx.reaper.clone();
        let pids = setup.cx.pids.clone();
        let tell = async {
            let (mut told, mut running) = (None, false);
            loop {
                if handle.reaper_pid() != told {
                    told = handle.reaper_pid();
                    println!("\nreaper {}", told.unwrap_or(0));
                }
                if !running && !pids.first(1).is_empty() {
                    running = true;
                    println!("\nrunning 1");
                }
                // Sleeps: this process is killed, and waits for nothing.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            outcome = setup.run("") => panic!("the program ended: {outcome:?}"),
            () = tell => {}
        }
    });
}

/// A server in a separate process.
struct Server {
    process: Child,
    says: BufReader<ChildStdout>,
    hive_id: String,
}

impl Server {
    fn start(script: &str) -> Self {
        let hive_id = unique_hive_id();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(entry("server_entry"))
            .env(SERVER_OF, &hive_id)
            .env("DEIA_TEST_SCRIPT", script)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(process.stdout.take().unwrap());
        Self {
            process,
            says,
            hive_id,
        }
    }

    /// Returns the next reaper that the server reports, other than none.
    fn reaper(&mut self) -> u32 {
        self.says("reaper ")
    }

    /// Waits until the reaper knows of the program.
    fn running(&mut self) {
        self.says("running ");
    }

    /// Returns the next number after this word, other than 0.
    fn says(&mut self, word: &str) -> u32 {
        loop {
            let mut line = String::new();
            let read = self.says.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "the server ended");
            match line.trim().strip_prefix(word).map(str::parse) {
                Some(Ok(0)) | None => {}
                Some(number) => return number.unwrap(),
            }
        }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = reaper::sweep(&self.hive_id);
    }
}

/// `@` in a script stands for the number of seconds to sleep.
const SCRIPTS: [(&str, &str, usize); 7] = [
    ("plain", "exec sleep @", 1),
    ("forks", "sleep @ & sleep @ & (sleep @ & wait) & wait", 3),
    ("empty environment", "exec env -i sleep @", 1),
    ("own session", "setsid sleep @ & wait", 1),
    (
        "own session, orphaned",
        "setsid -f sleep @; exec sleep @",
        2,
    ),
    (
        "own session, empty environment",
        "env -i setsid sleep @ & wait",
        1,
    ),
    ("deaf to TERM", "trap '' TERM HUP INT; sleep @ & wait", 1),
];

#[test]
fn no_program_survives_the_kill_of_the_server() {
    for (name, script, count) in SCRIPTS {
        let seconds = unique_sleep();
        let mut server = Server::start(&script.replace('@', &seconds));
        let reaper = server.reaper();
        server.running();
        block_until(&format!("all of {name} sleep"), || {
            sleeping(&seconds) == count
        });
        server.kill();
        block_until(&format!("nothing is left of {name}"), || {
            sleeping(&seconds) == 0
        });
        block_until("the reaper has ended", || has_ended(reaper));
    }
}

#[test]
fn dead_reaper_is_replaced_by_one_that_knows_the_living_groups() {
    let seconds = unique_sleep();
    // Without an environment tag, the program is found by its group only.
    let mut server = Server::start(&format!("exec env -i sleep {seconds}"));
    let first = server.reaper();
    server.running();
    block_until("it sleeps", || sleeping(&seconds) == 1);
    kill_process_by_id(first);
    let second = server.reaper();
    assert_ne!(first, second);
    assert_eq!(sleeping(&seconds), 1, "the death of a reaper harms nothing");
    server.kill();
    block_until("nothing is left", || sleeping(&seconds) == 0);
}

#[test]
fn a_reaper_that_does_not_read_is_replaced_without_harm() {
    let hive_id = unique_hive_id();
    let handle = ReaperHandle::start(reaper_program(&hive_id)).unwrap();
    let first = handle.reaper_pid().unwrap();
    kill(
        NixPid::from_raw(i32::try_from(first).unwrap()),
        NixSignal::SIGSTOP,
    )
    .unwrap();
    // More than the pipe holds. No process has this number.
    let nobody = 1 << 30;
    block_until("the reaper is replaced", || {
        for _ in 0..10_000 {
            handle.watch(nobody);
            handle.forget(nobody);
        }
        handle.reaper_pid().is_some_and(|pid| pid != first)
    });
    block_until("the first one is gone", || !exists(first));
}

#[test]
fn the_reaper_ends_with_the_last_handle() {
    let handle = ReaperHandle::start(reaper_program(&unique_hive_id())).unwrap();
    let reaper = handle.reaper_pid().unwrap();
    let clone = handle.clone();
    drop(handle);
    assert!(exists(reaper));
    drop(clone);
    block_until("the reaper is reaped", || !exists(reaper));
}

#[test]
fn a_reaper_that_cannot_be_started_is_an_error() {
    let program = || reaper_program(&unique_hive_id());
    let mut without_reaper = program();
    without_reaper.path = "/nonexistent/reaper".into();
    let mut without_runner = program();
    without_runner.runner.path = "/nonexistent/runner".into();
    // Starts, but is not a runner.
    let mut with_another = program();
    with_another.runner.path = "/bin/true".into();
    for program in [without_reaper, without_runner, with_another] {
        assert!(ReaperHandle::start(program).is_err());
    }
}

#[test]
fn sweep_ends_programs_of_an_earlier_run_only() {
    let (ours, theirs) = (unique_sleep(), unique_sleep());
    let (hive_id, other) = (unique_hive_id(), unique_hive_id());
    let start = |seconds: &str, hive_id: &str| {
        Command::new("sh")
            .args([
                "-c",
                &format!("setsid -f sleep {seconds}; exec sleep {seconds}"),
            ])
            .env(reaper::INSTANCE_VARIABLE, hive_id)
            .process_group(0)
            .spawn()
            .unwrap()
    };
    let mut mine = start(&ours, &hive_id);
    let mut not_mine = start(&theirs, &other);
    block_until("all sleep", || {
        sleeping(&ours) == 2 && sleeping(&theirs) == 2
    });

    let swept = reaper::sweep(&hive_id).unwrap();
    assert_eq!((swept.ended, swept.left), (2, 0));
    assert_eq!((sleeping(&ours), sleeping(&theirs)), (0, 2));
    assert_eq!(reaper::sweep(&hive_id).unwrap(), reaper::Swept::default());

    assert_eq!(reaper::sweep(&other).unwrap().ended, 2);
    mine.wait().unwrap();
    not_mine.wait().unwrap();
}

#[test]
fn pipe_that_nobody_reads_is_not_waited_for_without_end() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let text = "+12345\n".repeat(1 << 18);
    let soon = Duration::from_millis(10);
    assert_eq!(write_all(&writer, &text, soon), Err(Errno::TIMEDOUT));
    assert_eq!(
        write_all(&writer, &text, Duration::ZERO),
        Err(Errno::TIMEDOUT)
    );
    let reading = std::thread::spawn(move || {
        let mut all = String::new();
        io::Read::read_to_string(&mut std::fs::File::from(reader), &mut all).unwrap();
        all
    });
    write_all(&writer, &text, PATIENCE).unwrap();
    drop(writer);
    assert!(reading.join().unwrap().ends_with(&text));
}

/// Makes a shell play a runner that reads a start and then runs this script.
fn start_with_runner(then: &str) -> io::Result<i32> {
    let ready = r"printf 'R\001\000\000\000\000\000\000\000\000\000\000\000' >&0";
    let taken = "dd of=/dev/null bs=65536 count=1 2>/dev/null";
    let mut program = reaper_program(&unique_hive_id());
    program.runner.path = "/bin/sh".into();
    program.runner.args = ["-c".into(), format!("{ready}; {taken}; {then}").into()].into();
    let handle = ReaperHandle::start(program).unwrap();
    let start = crate::runner::Start::new(
        Path::new("/bin/true"),
        &["true".to_owned()],
        &[],
        Path::new("/"),
    );
    let pipe = || rustix::pipe::pipe().unwrap().1;
    let started = handle.start_program(&start.unwrap(), &[pipe(), pipe(), pipe()], &EnvTags::new());
    started.map(|(_, pid)| pid)
}

#[test]
fn runner_lost_with_its_program_is_distinguished_from_one_that_cannot_start() {
    let lost = start_with_runner("exit 0").unwrap_err();
    assert_eq!(lost.kind(), io::ErrorKind::ConnectionAborted);
}

#[test]
fn runner_that_is_stopped_before_it_answers_is_continued() {
    let answer = r"printf 'S\052\000\000\000\000\000\000\000\000\000\000\000' >&0";
    let started = start_with_runner(&format!("kill -STOP $$; {answer}"));
    assert_eq!(started.unwrap(), 42);
}
