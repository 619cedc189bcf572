//! Properties that must hold however the threads of a supervisor and of its child interleave.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::task::noop_waker;
use loom::{
    future::block_on,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
};

use crate::{
    control::{Control, ControlSender},
    fence::{FencedTask, Lease},
    record::ChildRecord,
    spec::Shutdown,
    taken_by::TakenBy,
};

const STOP: Control = Control::Stop(Shutdown::Infinity);

/// A child that is polled twice on its own thread, while its supervisor takes the lease away if it
/// is not inside a poll.
pub(crate) fn revoked() {
    let record = ChildRecord::worker(String::new());
    let polls = Arc::new(AtomicUsize::new(0));
    let child = {
        let (lease, polls) = (Lease::of(&record), Arc::clone(&polls));
        thread::spawn(move || {
            let task = poll_fn(move |_| {
                polls.fetch_add(1, SeqCst);
                Poll::<()>::Pending
            });
            let mut task = FencedTask::new(task, lease);
            let waker = noop_waker();
            let mut cx = Context::from_waker(&waker);
            for _ in 0..2 {
                if Pin::new(&mut task).poll(&mut cx).is_ready() {
                    return;
                }
            }
        })
    };
    let snapshot = record.fence.snapshot();
    let is_revoked = !snapshot.is_inside() && record.fence.revoke(snapshot);
    let so_far = polls.load(SeqCst);
    child.join().unwrap();
    if is_revoked {
        assert_eq!(polls.load(SeqCst), so_far);
        assert!(Lease::of(&record).is_held());
    }
}

/// The task of a child ends by itself while its supervisor gives it up.
pub(crate) fn ended_once() {
    let record = ChildRecord::worker(String::new());
    let child = {
        let lease = Lease::of(&record);
        thread::spawn(move || lease.give_up())
    };
    let snapshot = record.fence.snapshot();
    let is_revoked = record.fence.revoke(snapshot);
    let given_up = child.join().unwrap();
    assert_ne!(is_revoked, given_up.is_some());
}

/// A command is sent while the child looks for one.
pub(crate) fn not_missed() {
    let record = ChildRecord::worker(String::new());
    let sender = ControlSender::new();
    let mut receiver = sender.connect(Lease::of(&record));
    let child = thread::spawn(move || {
        assert_eq!(block_on(receiver.recv()), Some(STOP));
    });
    sender.send(STOP);
    child.join().unwrap();
}

/// A child's thread was blocked inside a poll and comes back while another has taken its place.
pub(crate) fn abandoned() {
    let record = ChildRecord::worker(String::new());
    let sender = ControlSender::new();
    let lease = Lease::of(&record);
    let mut old = sender.connect(lease.clone());
    let abandoned = thread::spawn(move || {
        let waker = noop_waker();
        let task = poll_fn(move |cx| old.poll_recv(cx).map(drop));
        let mut task = FencedTask::new(task, lease);
        let _ = Pin::new(&mut task).poll(&mut Context::from_waker(&waker));
    });
    record.fence.end_lease();
    let mut new = sender.connect(Lease::of(&record));
    let successor = thread::spawn(move || {
        assert_eq!(block_on(new.recv()), Some(STOP));
    });
    sender.send(STOP);
    abandoned.join().unwrap();
    successor.join().unwrap();
}

/// The child is removed while it hears the last command.
pub(crate) fn cut() {
    let record = ChildRecord::worker(String::new());
    let sender = ControlSender::new();
    let mut receiver = sender.connect(Lease::of(&record));
    let child = thread::spawn(move || {
        assert_eq!(block_on(receiver.recv()), Some(STOP));
        assert_eq!(block_on(receiver.recv()), None);
    });
    sender.send(STOP);
    drop(sender);
    child.join().unwrap();
}

/// A child takes a question while its supervisor takes the lease away from that poll: either the
/// question is left to the next run, or whoever looks for lost questions finds it.
pub(crate) fn lost_or_left() {
    let record = ChildRecord::worker(String::new());
    let question = TakenBy::default();
    let lease = Lease::of(&record);
    let holder = lease.clone();
    let task = poll_fn(move |_| {
        let supervisor = {
            let (record, question) = (Arc::clone(&record), question.clone());
            thread::spawn(move || {
                let snapshot = record.fence.snapshot();
                assert!(snapshot.is_inside() && record.fence.revoke(snapshot));
                question.is_lost(record.fence.snapshot().lease())
            })
        };
        let is_taken = question.take_as(&holder);
        let is_lost = supervisor.join().unwrap();
        assert!(is_lost || !is_taken);
        Poll::<()>::Pending
    });
    let mut task = FencedTask::new(task, lease);
    let _ = Pin::new(&mut task).poll(&mut Context::from_waker(&noop_waker()));
}
