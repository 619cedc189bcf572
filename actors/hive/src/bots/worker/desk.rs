//! The state that the executor, the attempts and the session with the program share. Bounded:
//! it holds an attempt a slot, and a few orders beside those of the attempts.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
};

use deia_ledger::ClaimedTask;
use deia_model::Timestamp;
use tokio::sync::{Notify, oneshot, watch};

use super::protocol::{Failure, Garbage, Hello, Message, Order, Success};
use crate::bots::{
    bot::AttemptKey,
    executor::{Offer, Readiness},
    output::{OutputSpool, SpoolError},
    progress::Progress,
};

/// The end of an attempt, as the session puts it on the desk.
#[derive(Debug)]
pub(super) enum End {
    Success(Success),
    Failure(Failure),
    /// The program ended the attempt with a message that is not understood, for this reason.
    Malformed(String),
    /// The answer is too long, or cannot be kept.
    NotKept(SpoolError),
    /// The program was ended before it answered.
    Killed {
        /// True if it was ended because it did not give up attempts in time.
        refused: bool,
    },
}

/// The end of an attempt, with its output.
pub(super) struct Answer {
    pub(super) end: End,
    pub(super) spool: OutputSpool,
}

/// An attempt on the desk.
struct Open {
    answer: oneshot::Sender<Answer>,
    /// Taken when the output cannot be kept.
    not_kept: Option<oneshot::Sender<SpoolError>>,
    /// Reason why the output cannot be kept; all further output is dropped.
    fault: Option<SpoolError>,
    spool: OutputSpool,
    progress: Progress,
}

/// The attempt's side of an attempt on the desk.
pub(super) struct Ticket {
    pub(super) key: AttemptKey,
    pub(super) answer: oneshot::Receiver<Answer>,
    pub(super) not_kept: oneshot::Receiver<SpoolError>,
}

/// Reason to end the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// An attempt was not given up in time.
    Kill,
    /// The bot stops.
    Stop,
}

/// The desk. Each borrow of its parts ends before anything is awaited.
pub(super) struct Desk {
    orders: RefCell<VecDeque<Order>>,
    open: RefCell<HashMap<AttemptKey, Open>>,
    /// Answered attempts whose results are being made.
    finishing: watch::Sender<usize>,
    /// Notified when there are orders.
    news: Notify,
    greeting: watch::Sender<Option<Hello>>,
    /// Signs of life of the program so far.
    heard: watch::Sender<u64>,
    /// True while the disk keeps deia from reading.
    is_held: Cell<bool>,
    wish: watch::Sender<Option<Wish>>,
    over: watch::Sender<bool>,
    offer: watch::Sender<Offer>,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self {
            orders: RefCell::default(),
            open: RefCell::default(),
            finishing: watch::Sender::default(),
            news: Notify::new(),
            greeting: watch::Sender::default(),
            heard: watch::Sender::default(),
            is_held: Cell::new(false),
            wish: watch::Sender::default(),
            over: watch::Sender::default(),
            offer: watch::Sender::new(Offer {
                slots: 0,
                readiness: Readiness::Starting,
            }),
        }
    }

    /// Returns a receiver of the number of attempts that the program takes now.
    pub(super) fn offer(&self) -> watch::Receiver<Offer> {
        self.offer.subscribe()
    }

    /// Changes the number of attempts that the program takes now.
    pub(super) fn set_offer(&self, slots: u32, readiness: Readiness) {
        self.offer.send_replace(Offer { slots, readiness });
    }

    /// Puts an attempt on the desk, and its order with it.
    pub(super) fn open(
        &self,
        claimed: ClaimedTask,
        spool: OutputSpool,
        progress: Progress,
    ) -> Ticket {
        let key = AttemptKey {
            task: claimed.task.id,
            number: claimed.task.attempt,
        };
        let (answer, answered) = oneshot::channel();
        let (tell, not_kept) = oneshot::channel();
        let open = Open {
            answer,
            not_kept: Some(tell),
            fault: None,
            spool,
            progress,
        };
        self.open.borrow_mut().insert(key, open);
        let time = claimed.task.timeout_seconds.saturating_mul(1_000);
        let deadline = Timestamp::now().plus_millis(time);
        self.order(Order::Task(Box::new(claimed), deadline));
        Ticket {
            key,
            answer: answered,
            not_kept,
        }
    }

    /// Adds an order.
    pub(super) fn order(&self, order: Order) {
        self.orders.borrow_mut().push_back(order);
        self.news.notify_one();
    }

    /// Orders a ping, unless one waits already.
    pub(super) fn ping(&self, n: u64) {
        let waits = |order: &Order| matches!(order, Order::Ping(_));
        if !self.orders.borrow().iter().any(waits) {
            self.order(Order::Ping(n));
        }
    }

    /// Takes the next order.
    pub(super) fn take_order(&self) -> Option<Order> {
        self.orders.borrow_mut().pop_front()
    }

    /// Waits until there may be orders.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Orders that the program gives up an attempt. Returns `false` if the attempt never reached
    /// the program; it is then taken off the desk.
    pub(super) fn cancel(&self, key: AttemptKey, reason: String) -> bool {
        let mut orders = self.orders.borrow_mut();
        let waiting = orders
            .iter()
            .position(|order| matches!(order, Order::Task(task, _) if key_of(task) == key));
        match waiting {
            Some(at) => {
                orders.remove(at);
                self.open.borrow_mut().remove(&key);
                false
            }
            None => {
                drop(orders);
                self.order(Order::Cancel { key, reason });
                true
            }
        }
    }

    /// Orders that the program gives up an attempt because the bot stops. An attempt that never
    /// reached it is answered.
    pub(super) fn cancel_for_stop(&self, key: AttemptKey) {
        let waits = |order: &Order| matches!(order, Order::Task(task, _) if key_of(task) == key);
        let never_given = self.orders.borrow().iter().any(waits);
        if never_given {
            self.orders.borrow_mut().retain(|order| !waits(order));
            self.answer(key, End::Killed { refused: false });
        } else {
            let reason = "the bot stops".to_owned();
            self.order(Order::Cancel { key, reason });
        }
    }

    /// Notes that deia wants the program to end. A stop takes precedence.
    pub(super) fn wish(&self, wish: Wish) {
        self.wish.send_if_modified(|now| {
            let changes = *now != Some(wish) && *now != Some(Wish::Stop);
            if changes {
                *now = Some(wish);
            }
            changes
        });
    }

    /// Waits until deia wants the program to end. Cancel safe.
    pub(super) async fn wished(&self) -> Wish {
        let mut wishes = self.wish.subscribe();
        match wishes.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(wish)) => *wish,
            _ => std::future::pending().await,
        }
    }

    /// Waits until the bot stops. Cancel safe.
    pub(super) async fn stop_wished(&self) {
        let mut wishes = self.wish.subscribe();
        let _ = wishes.wait_for(|wish| *wish == Some(Wish::Stop)).await;
    }

    /// Returns the attempts on the desk.
    pub(super) fn attempts(&self) -> Vec<AttemptKey> {
        self.open.borrow().keys().copied().collect()
    }

    /// Answers every attempt on the desk: the program is gone.
    pub(super) fn answer_all_killed(&self, refused: bool) {
        for key in self.attempts() {
            self.answer(key, End::Killed { refused });
        }
    }

    /// Notes that the session is over, however it ended.
    pub(super) fn is_over(&self) {
        self.over.send_replace(true);
    }

    /// Waits until the session is over. Cancel safe.
    pub(super) async fn until_over(&self) {
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    /// Waits until the result of every answered attempt is made.
    pub(super) async fn until_finished(&self) {
        let _ = self.finishing.subscribe().wait_for(|n| *n == 0).await;
    }

    /// Notes that the result of an answered attempt is made.
    pub(super) fn finished(&self) {
        self.finishing.send_modify(|n| *n = n.saturating_sub(1));
    }

    /// Takes an attempt off the desk, with its end. Returns `false` if it is not there.
    fn answer(&self, key: AttemptKey, end: End) -> bool {
        let Some(open) = self.open.borrow_mut().remove(&key) else {
            return false;
        };
        let answer = Answer {
            end: open.fault.map_or(end, End::NotKept),
            spool: open.spool,
        };
        if open.answer.send(answer).is_ok() {
            self.finishing.send_modify(|n| *n += 1);
        }
        true
    }
}

/// The messages of the program.
impl Desk {
    /// Notes a sign of life.
    pub(super) fn hear(&self) {
        self.heard.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Returns a receiver of the signs of life, all past ones seen.
    pub(super) fn listen(&self) -> watch::Receiver<u64> {
        self.heard.subscribe()
    }

    /// Returns whether the disk keeps deia from reading, so that a silent program may live.
    pub(super) fn is_held(&self) -> bool {
        self.is_held.get()
    }

    /// Returns the greeting, once there was one.
    pub(super) fn greeting(&self) -> Option<Hello> {
        *self.greeting.borrow()
    }

    /// Notes the greeting.
    pub(super) fn greet(&self, hello: Hello) {
        self.greeting.send_replace(Some(hello));
        // Lines of people may be written from now on.
        self.news.notify_one();
    }

    /// Waits for the greeting. Cancel safe.
    pub(super) async fn greeted(&self) -> Hello {
        let mut greetings = self.greeting.subscribe();
        match greetings.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(hello)) => *hello,
            _ => std::future::pending().await,
        }
    }

    /// Waits until the output of an attempt so far is stored, if the message adds to it. Cancel
    /// safe.
    pub(super) async fn settle(&self, message: &Message) {
        let key = match message {
            Message::Output { id, attempt, .. } => key(*id, *attempt),
            Message::Result(success) => key(success.id, success.attempt),
            _ => return,
        };
        self.is_held.set(true);
        let settled = poll_fn(|cx| self.poll_settle(key, cx)).await;
        self.is_held.set(false);
        if let Err(fault) = settled {
            self.not_kept(key, fault);
        }
    }

    fn poll_settle(&self, key: AttemptKey, cx: &mut Context<'_>) -> Poll<Result<(), SpoolError>> {
        match self.open.borrow_mut().get_mut(&key) {
            Some(open) => pin!(open.spool.settle()).poll(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn not_kept(&self, key: AttemptKey, fault: SpoolError) {
        if let Some(open) = self.open.borrow_mut().get_mut(&key)
            && let Some(tell) = open.not_kept.take()
        {
            open.fault = Some(fault.clone());
            let _ = tell.send(fault);
        }
    }

    /// Carries out a message about an attempt. Call [`settle`](Self::settle) first.
    ///
    /// # Errors
    /// The attempt is not on the desk.
    pub(super) fn take(&self, message: Message) -> Result<(), Garbage> {
        match message {
            Message::Progress { id, attempt, value } => {
                let key = key(id, attempt);
                let open = self.open.borrow();
                let open = open.get(&key).ok_or(Garbage::NoAttempt(key))?;
                open.progress.tell(value);
                Ok(())
            }
            Message::Output { id, attempt, text } => {
                let key = key(id, attempt);
                match self.take_output(key, &text) {
                    Ok(()) => Ok(()),
                    Err(None) => Err(Garbage::NoAttempt(key)),
                    Err(Some(fault)) => {
                        self.not_kept(key, fault);
                        Ok(())
                    }
                }
            }
            Message::Result(success) => self.succeed(success),
            Message::Error(failure) => {
                let key = key(failure.id, failure.attempt);
                self.end(key, End::Failure(failure))
            }
            Message::Hello(_) => Err(Garbage::OutOfPlace),
            Message::Log { .. } | Message::Pong { .. } => Ok(()),
        }
    }

    fn succeed(&self, mut success: Success) -> Result<(), Garbage> {
        let key = key(success.id, success.attempt);
        let rest = success.output.take().unwrap_or_default();
        match self.take_output(key, &rest) {
            Ok(()) => self.end(key, End::Success(success)),
            Err(Some(fault)) => self.end(key, End::NotKept(fault)),
            Err(None) => Err(Garbage::NoAttempt(key)),
        }
    }

    /// Ends an attempt.
    ///
    /// # Errors
    /// The attempt is not on the desk.
    pub(super) fn end(&self, key: AttemptKey, end: End) -> Result<(), Garbage> {
        match self.answer(key, end) {
            true => Ok(()),
            false => Err(Garbage::NoAttempt(key)),
        }
    }

    /// Adds to the output of an attempt; `None` as an error if it is not on the desk. Output
    /// after a fault is dropped.
    fn take_output(&self, key: AttemptKey, text: &str) -> Result<(), Option<SpoolError>> {
        let mut all = self.open.borrow_mut();
        let open = all.get_mut(&key).ok_or(None)?;
        if open.fault.is_some() || text.is_empty() {
            return Ok(());
        }
        open.spool.take(text.as_bytes()).map_err(Some)
    }
}

fn key(task: deia_model::TaskId, number: u32) -> AttemptKey {
    AttemptKey { task, number }
}

fn key_of(claimed: &ClaimedTask) -> AttemptKey {
    key(claimed.task.id, claimed.task.attempt)
}

#[cfg(test)]
mod tests;
