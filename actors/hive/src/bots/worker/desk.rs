//! The state that the executor, the attempts and the session with the program share. Bounded:
//! it holds an attempt a slot, and a few orders beside those of the attempts.

mod messages;

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
};

use deia_ledger::ClaimedTask;
use deia_model::Timestamp;
use tokio::sync::{Notify, oneshot, watch};

use super::protocol::{Failure, Hello, Order, Success};
use crate::bots::{
    bot::AttemptKey,
    executor::{Offer, Readiness},
    meters::{Overrun, Work},
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
    /// The program was ended because it was over a limit of its bot.
    OverLimit(Overrun),
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
    /// The attempts of `open`, for the meter of the program.
    work: Work,
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
            work: Work::default(),
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
        self.work.begin(key);
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
                self.work.end(key);
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

    /// Returns the work of the program, as its meter needs it.
    pub(super) fn work(&self) -> Work {
        self.work.clone()
    }

    /// Answers the attempt that is alone on the desk. Of several, none is known to be the cause.
    pub(super) fn answer_sole(&self, end: End) {
        if let [key] = *self.attempts() {
            self.answer(key, end);
        }
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
        self.work.end(key);
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

fn key(task: deia_model::TaskId, number: u32) -> AttemptKey {
    AttemptKey { task, number }
}

fn key_of(claimed: &ClaimedTask) -> AttemptKey {
    key(claimed.task.id, claimed.task.attempt)
}

#[cfg(test)]
mod tests;
