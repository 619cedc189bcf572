//! The session with the program, from its start to its end.

use std::{convert::Infallible, io, process, rc::Rc, time::Duration};

use tokio::{
    io::AsyncWriteExt as _,
    process::ChildStdin,
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{
    InputLine, WorkerContext,
    desk::{Desk, End, Wish},
    protocol::Order,
    reader::Reader,
    start::start,
};
use crate::bots::{
    executor::{BotDown, Readiness},
    log::Stream,
    meters::Overrun,
    program::{
        exit::{EOF_WITHIN, ExitWatch, exited, group_gone, how, strays, watch_exit},
        launch::{Pipes, Program},
        stderr::Errors,
    },
};

/// The session of one incarnation. Dropping it kills the program, with all that it has started.
pub(super) struct Session {
    pub(super) cx: Rc<WorkerContext>,
    pub(super) desk: Rc<Desk>,
    pub(super) inputs: mpsc::Receiver<InputLine>,
}

/// The end of a session.
#[derive(Debug, PartialEq, Eq)]
enum SessionEnd {
    /// The program ended by itself, or had to be ended for this reason.
    Down(String),
    /// The program was killed because it did not give up an attempt, which is charged for it.
    Refused,
    /// The program was killed because it was over a limit of the bot.
    OverLimit(Overrun),
    /// The bot stops.
    Stopped,
}

/// The program's streams.
struct Streams {
    reader: Reader,
    writer: Writer,
    errors: Errors,
}

impl Session {
    /// Runs the program until it is down. Does not return when the bot stops.
    pub(super) async fn run(mut self) -> BotDown {
        let reason = match self.hold().await {
            SessionEnd::Down(reason) => {
                self.desk.set_offer(0, Readiness::Starting);
                self.cx.log.line(None, Stream::Deia, &reason);
                reason
            }
            SessionEnd::OverLimit(overrun) => {
                self.desk.set_offer(0, Readiness::Starting);
                let reason = format!("the worker was ended: {}", overrun.words);
                self.cx.log.line(None, Stream::Deia, &reason);
                self.desk.answer_sole(End::OverLimit(overrun));
                reason
            }
            SessionEnd::Refused => {
                self.desk.until_finished().await;
                self.desk.answer_all_killed(true);
                // The attempt that did not end takes the bot down before this does.
                sleep(EOF_WITHIN).await;
                "the worker did not give up a task within bots.term_grace".to_owned()
            }
            SessionEnd::Stopped => {
                self.desk.answer_all_killed(false);
                self.desk.is_over();
                return std::future::pending().await;
            }
        };
        // Answers that came in time count.
        self.desk.until_finished().await;
        self.desk.is_over();
        BotDown {
            reason: reason.into(),
            result: None,
        }
    }

    async fn hold(&mut self) -> SessionEnd {
        let started = tokio::select! {
            started = start(&self.cx) => started,
            () = self.desk.stop_wished() => return SessionEnd::Stopped,
        };
        let (program, pipes) = match started {
            Ok(started) => started,
            Err(not_started) => return SessionEnd::Down(not_started.reason),
        };
        let inputs = &mut self.inputs;
        match Streams::new(&self.cx, &self.desk, pipes) {
            Ok(streams) => attend(&self.cx, &self.desk, program, streams, inputs).await,
            Err(error) => SessionEnd::Down(format!("the program cannot be watched: {error}")),
        }
    }
}

impl Streams {
    fn new(cx: &Rc<WorkerContext>, desk: &Rc<Desk>, pipes: Pipes) -> io::Result<Self> {
        let stdin = pipes.stdin.ok_or(io::ErrorKind::NotConnected)?;
        Ok(Self {
            reader: Reader::new(Rc::clone(cx), Rc::clone(desk), pipes.stdout)?,
            writer: Writer::new(stdin, cx.settings.write_timeout)?,
            errors: Errors::new(pipes.stderr, cx.log.clone(), None, None)?,
        })
    }
}

/// Waits for the end of a running program, or ends it.
async fn attend(
    cx: &WorkerContext,
    desk: &Desk,
    program: Program,
    mut streams: Streams,
    inputs: &mut mpsc::Receiver<InputLine>,
) -> SessionEnd {
    let exit = match watch_exit(&program) {
        Ok(exit) => exit,
        Err(error) => return SessionEnd::Down(format!("the program cannot be watched: {error}")),
    };
    let group = program.group();
    let mut metered = cx.meters.begin_shared(group, desk.work(), cx.limits);
    let begun = tokio::select! {
        biased;
        () = exited(&exit) => None,
        wish = desk.wished() => Some(match wish {
            Wish::Kill => SessionEnd::Refused,
            Wish::Stop => SessionEnd::Stopped,
        }),
        overrun = metered.until_over() => Some(SessionEnd::OverLimit(overrun)),
        reason = streams.pump(desk, inputs) => Some(SessionEnd::Down(reason)),
        reason = watch(cx, desk) => Some(SessionEnd::Down(reason)),
    };
    match &begun {
        None => {}
        Some(SessionEnd::Stopped) => {
            stop(cx, desk, &program, &exit, &mut streams, inputs).await;
        }
        Some(SessionEnd::Refused | SessionEnd::OverLimit(_) | SessionEnd::Down(_)) => {
            program.kill();
        }
    }
    exited(&exit).await;
    let ended = program.reap().await;
    let rest = async {
        // Answers that were written before the end are read, but for one that came too late.
        if begun != Some(SessionEnd::Refused) {
            let _ = streams.reader.read().await;
        }
        streams.errors.read().await;
    };
    let _ = timeout(EOF_WITHIN, rest).await;
    for note in ended.iter().flat_map(strays) {
        cx.log.line(None, Stream::Deia, &note);
    }
    let said = streams.errors.finish();
    begun.unwrap_or_else(|| {
        let how = match ended {
            Ok(ended) => how(ended.status),
            Err(_) => "its runner was killed".to_owned(),
        };
        SessionEnd::Down(match said.lines().last() {
            Some(line) => format!("the worker ended: {how}: {line}"),
            None => format!("the worker ended: {how}"),
        })
    })
}

/// Asks the program to end, and ends it if it does not.
async fn stop(
    cx: &WorkerContext,
    desk: &Desk,
    program: &Program,
    exit: &ExitWatch,
    streams: &mut Streams,
    inputs: &mut mpsc::Receiver<InputLine>,
) {
    desk.set_offer(0, Readiness::Ready);
    for key in desk.attempts() {
        desk.cancel_for_stop(key);
    }
    desk.order(Order::Shutdown);
    let half = cx.grace / 2;
    for (limit, signal) in [
        (half, Program::ask_to_end as fn(&Program)),
        (cx.grace - half, Program::kill),
    ] {
        tokio::select! {
            biased;
            () = group_gone(program, exit) => return,
            () = sleep(limit) => {}
            reason = streams.pump(desk, inputs) => {
                cx.log.line(None, Stream::Deia, &reason);
                return program.kill();
            }
        }
        signal(program);
    }
}

impl Streams {
    /// Moves lines in both directions. Returns the reason why the program must be ended. Cancel
    /// safe.
    async fn pump(&mut self, desk: &Desk, inputs: &mut mpsc::Receiver<InputLine>) -> String {
        let Self {
            reader,
            writer,
            errors,
        } = self;
        let reading = async {
            match reader.read().await {
                Err(reason) => reason,
                Ok(()) => {
                    // The end of the program is noticed a little later than that of its output.
                    sleep(EOF_WITHIN).await;
                    "the worker closed its standard output, and so cannot answer".to_owned()
                }
            }
        };
        let logging = async {
            errors.read().await;
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            biased;
            reason = reading => reason,
            reason = writer.write(desk, inputs) => reason,
            never = logging => match never {},
        }
    }
}

/// The standard input of the program.
struct Writer {
    pipe: Option<ChildStdin>,
    line: Vec<u8>,
    written: usize,
    /// True if the line is the last one.
    is_last: bool,
    /// Time for which the program may leave its input unread.
    limit: Duration,
}

impl Writer {
    fn new(pipe: process::ChildStdin, limit: Duration) -> io::Result<Self> {
        Ok(Self {
            pipe: Some(ChildStdin::from_std(pipe)?),
            line: Vec::new(),
            written: 0,
            is_last: false,
            limit,
        })
    }

    /// Writes orders as they come. Returns the reason why the program must be ended. Cancel safe.
    async fn write(&mut self, desk: &Desk, inputs: &mut mpsc::Receiver<InputLine>) -> String {
        loop {
            let Some(pipe) = &mut self.pipe else {
                return std::future::pending().await;
            };
            if self.written < self.line.len() {
                match timeout(self.limit, pipe.write(&self.line[self.written..])).await {
                    Ok(Ok(written)) if written > 0 => self.written += written,
                    Ok(_) => {
                        self.pipe = None;
                        // The end of the program is noticed a little later.
                        sleep(EOF_WITHIN).await;
                        return "the worker closed its standard input, and so gets no tasks".into();
                    }
                    Err(_) => {
                        return format!(
                            "the worker has not read its standard input for {} s (bots.worker.write_timeout)",
                            self.limit.as_secs_f64()
                        );
                    }
                }
            } else if self.is_last {
                self.pipe = None;
            } else {
                let order = next_order(desk, inputs).await;
                self.is_last = matches!(order, Order::Shutdown);
                (self.line, self.written) = (order.line(), 0);
            }
        }
    }
}

/// Waits for the next order. Lines of people come after all others. Cancel safe.
async fn next_order(desk: &Desk, inputs: &mut mpsc::Receiver<InputLine>) -> Order {
    loop {
        if let Some(order) = desk.take_order() {
            return order;
        }
        let greeted = desk.greeting().is_some();
        tokio::select! {
            () = desk.news() => {}
            Some(InputLine { task, text }) = inputs.recv(), if greeted => {
                return Order::Input { id: task, text };
            }
        }
    }
}

/// Watches whether the program greets in time, and then whether it answers pings. Returns the
/// reason why it must be ended.
async fn watch(cx: &WorkerContext, desk: &Desk) -> String {
    let settings = &cx.settings;
    let Ok(hello) = timeout(settings.start_timeout, desk.greeted()).await else {
        return format!(
            "the worker did not greet within {} s (bots.worker.start_timeout)",
            settings.start_timeout.as_secs_f64()
        );
    };
    if !hello.pings {
        return std::future::pending().await;
    }
    let mut n = 0;
    loop {
        sleep(settings.ping_every).await;
        if is_heard(cx, desk, &mut n).await {
            continue;
        }
        let offer = *desk.offer().borrow();
        desk.set_offer(
            0,
            Readiness::Unreachable("its worker does not answer pings"),
        );
        let limit = settings.ping_timeout.as_secs_f64();
        let said = format!("the worker has not answered a ping for {limit} s; it gets no tasks");
        cx.log.line(None, Stream::Deia, &said);
        if !is_heard(cx, desk, &mut n).await {
            return format!(
                "the worker did not answer two pings, {limit} s each (bots.worker.ping_timeout)"
            );
        }
        desk.set_offer(offer.slots, offer.readiness);
    }
}

/// Sends a ping. Returns whether the program wrote a line in time.
async fn is_heard(cx: &WorkerContext, desk: &Desk, n: &mut u64) -> bool {
    let mut heard = desk.listen();
    *n += 1;
    desk.ping(*n);
    timeout(cx.settings.ping_timeout, heard.changed())
        .await
        .is_ok()
        || desk.is_held()
}
