//! Sees arbiters that make no progress, from a thread of its own.
//!
//! Four times within its limit it asks every arbiter for a sign of life. One that stays silent for
//! that long while one and the same poll of a child goes on (or none of a child at all: something
//! else blocks it) is *blocked*. Time is counted in the watchdog's own rounds, so that a process
//! that was stopped as a whole is not taken for a blocked one.

use std::{
    collections::HashMap,
    sync::{Arc, Weak, mpsc},
    time::Duration,
};

use crate::{
    arbiters::{HERE, Post, PostId},
    driver::{Blocked, Culprit, News, Note},
    events::EventKind,
    node::{ChildId, Kind, Node},
    supervisor::Shared,
    tenure::Seen,
};

/// Rounds of silence after which an arbiter is blocked.
const ROUNDS: u32 = 4;

/// Ends the watchdog when it is dropped.
pub(crate) struct Guard {
    _end: mpsc::Sender<()>,
}

/// Starts a watchdog over the tree below `root`.
pub(crate) fn start(limit: Duration, root: &Arc<Node>, shared: &Arc<Shared>) -> Guard {
    let (end, ended) = mpsc::channel();
    let mut watchdog = Watchdog {
        root: Arc::downgrade(root),
        shared: Arc::downgrade(shared),
        silent: HashMap::new(),
    };
    let pause = (limit / ROUNDS).max(Duration::from_millis(1));
    let thread = std::thread::Builder::new().name("supervision-watchdog".to_owned());
    let running = thread.spawn(move || {
        while ended.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
            if !watchdog.round() {
                break;
            }
        }
    });
    if let Err(error) = running {
        tracing::error!(%error, "no thread for the watchdog: blocked arbiters are not seen");
    }
    Guard { _end: end }
}

struct Watchdog {
    root: Weak<Node>,
    shared: Weak<Shared>,
    silent: HashMap<PostId, Silence>,
}

/// Of one arbiter.
struct Silence {
    rounds: u32,
    suspect: Option<Suspect>,
    /// Whose blocking was reported.
    reported: Option<Arc<Node>>,
}

/// A child inside a poll.
#[derive(Clone)]
struct Suspect {
    supervisor: Arc<Node>,
    id: ChildId,
    node: Arc<Node>,
    seen: Seen,
}

impl Silence {
    /// One more silent round, in which `suspect` was seen. Whether the arbiter is blocked now.
    fn goes_on(&mut self, suspect: Option<Suspect>) -> bool {
        let poll = |suspect: &Option<Suspect>| suspect.as_ref().map(|s| (s.id, s.seen));
        if poll(&suspect) == poll(&self.suspect) {
            self.rounds += 1;
        } else {
            // Another poll, so it did make progress.
            self.rounds = 1;
            self.suspect = suspect;
        }
        self.rounds >= ROUNDS
    }
}

impl Watchdog {
    /// Looks at all arbiters once. Whether there still is a tree.
    fn round(&mut self) -> bool {
        let (Some(root), Some(shared)) = (self.root.upgrade(), self.shared.upgrade()) else {
            return false;
        };
        let posts = shared.pool.posts();
        self.silent
            .retain(|id, _| posts.iter().any(|post| post.id == *id));
        for post in posts {
            self.look_at(&post, &root, &shared);
        }
        true
    }

    fn look_at(&mut self, post: &Post, root: &Arc<Node>, shared: &Shared) {
        if post.is_alive() {
            let silence = self.silent.remove(&post.id);
            if let Some(node) = silence.and_then(|silence| silence.reported) {
                node.set_stuck(false);
                shared.events.emit(node.path(), EventKind::Recovered);
            }
            return;
        }
        let silence = self.silent.entry(post.id).or_insert(Silence {
            rounds: 0,
            suspect: None,
            reported: None,
        });
        if silence.reported.is_some() || !silence.goes_on(suspect(root, post.id)) {
            return;
        }
        let blamed = silence.suspect.as_ref();
        silence.reported = Some(report(post.id, blamed, root, shared));
    }
}

/// The child on this arbiter that is being polled.
fn suspect(supervisor: &Arc<Node>, post: PostId) -> Option<Suspect> {
    for (id, node) in supervisor.children_by_id() {
        if node.kind == Kind::Supervisor {
            let found = suspect(&node, post);
            if found.is_some() {
                return found;
            }
        } else if node.post() == post {
            let seen = node.tenure.seen();
            if seen.is_inside() {
                let supervisor = Arc::clone(supervisor);
                return Some(Suspect {
                    supervisor,
                    id,
                    node,
                    seen,
                });
            }
        }
    }
    None
}

/// Says who blocks the arbiter, and has its children moved; who was blamed.
fn report(post: PostId, blamed: Option<&Suspect>, root: &Arc<Node>, shared: &Shared) -> Arc<Node> {
    let node = blamed.map_or(root, |suspect| &suspect.node);
    let message_type = blamed.and_then(|suspect| suspect.node.in_hand());
    node.set_stuck(true);
    shared
        .events
        .emit(node.path(), EventKind::Stuck { message_type });
    if post != HERE {
        tell(root, post, blamed, message_type);
    }
    Arc::clone(node)
}

/// Tells all supervisors with children on the arbiter.
fn tell(
    supervisor: &Arc<Node>,
    post: PostId,
    blamed: Option<&Suspect>,
    message_type: Option<&'static str>,
) {
    let mut concerned = false;
    for (_, node) in supervisor.children_by_id() {
        match node.kind {
            Kind::Supervisor => tell(&node, post, blamed, message_type),
            Kind::Worker => concerned |= node.post() == post,
        }
    }
    let notes = supervisor.supervisor.as_ref();
    let Some(notes) = notes.and_then(|part| part.notes.get()) else {
        return;
    };
    if concerned {
        let culprit = blamed
            .filter(|suspect| Arc::ptr_eq(&suspect.supervisor, supervisor))
            .map(|suspect| Culprit {
                id: suspect.id,
                seen: suspect.seen,
                message_type,
            });
        let _ = notes.send(Note {
            id: 0,
            incarnation: 0,
            news: News::Blocked(Blocked { post, culprit }),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenure::Tenure;

    #[test]
    fn only_one_and_the_same_poll_is_stuck() {
        let node = Node::worker("a".to_owned());
        let tenure = Tenure::default();
        let asleep = tenure.seen();
        let suspect = |id, seen| {
            let (supervisor, node) = (Arc::clone(&node), Arc::clone(&node));
            Some(Suspect {
                supervisor,
                id,
                node,
                seen,
            })
        };
        tenure.take_away(asleep);
        let (one, other) = (asleep, tenure.seen());
        // What each round sees, and in which the arbiter is found to be blocked.
        let cases = [
            (vec![suspect(1, one); 4], Some(3)),
            (vec![None; 4], Some(3)),
            (
                vec![suspect(1, one), suspect(1, one), suspect(1, one)],
                None,
            ),
            (
                [one, other]
                    .repeat(4)
                    .iter()
                    .map(|seen| suspect(1, *seen))
                    .collect(),
                None,
            ),
            (
                [1, 2]
                    .repeat(4)
                    .iter()
                    .map(|id| suspect(*id, one))
                    .collect(),
                None,
            ),
            ([vec![None; 3], vec![suspect(1, one); 4]].concat(), Some(6)),
        ];
        for (rounds, expected) in cases {
            let mut silence = Silence {
                rounds: 0,
                suspect: None,
                reported: None,
            };
            let found = rounds.into_iter().position(|seen| silence.goes_on(seen));
            assert_eq!(found, expected);
        }
    }
}
