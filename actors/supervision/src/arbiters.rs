//! The threads of a tree, by group.

mod slot;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use actix_rt::Arbiter;
use tokio::time::Instant;

pub(crate) use self::slot::{ArbiterSlot, SlotGuard};
use crate::intensity::{Intensity, Window};

/// Number of an arbiter within its tree.
pub(crate) type SlotId = u64;

/// Arbiter that started the tree.
pub(crate) const HERE: SlotId = 0;
/// Number that stands for the arbiter of a worker that has no task.
pub(crate) const NOWHERE: SlotId = SlotId::MAX;

/// The group behind [`Placement::Pool`](crate::Placement::Pool).
pub(crate) const POOL: &str = "pool";

/// Number of arbiters in each group.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupSizes(BTreeMap<Arc<str>, usize>);

impl GroupSizes {
    pub(crate) fn set(&mut self, group: Arc<str>, arbiters: usize) {
        self.0.insert(group, arbiters);
    }

    /// Returns the number of arbiters in `group`, if it is known. The pool need not be declared.
    pub(crate) fn of(&self, group: &str) -> Option<usize> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let declared = self.0.get(group).copied();
        declared.or_else(|| (group == POOL).then(cores))
    }

    /// Returns a group without arbiters, if there is one.
    pub(crate) fn empty(&self) -> Option<&Arc<str>> {
        let mut empty = self.0.iter().filter(|(_, arbiters)| **arbiters == 0);
        empty.next().map(|(group, _)| group)
    }
}

/// The arbiters of a tree: the one that started it, the groups, whose members are made when first
/// used, and those that children have for themselves.
pub(crate) struct ArbiterPool {
    sizes: GroupSizes,
    /// Limit of replacements of blocked arbiters in each group: their threads are lost.
    replacements: Intensity,
    here: Arc<ArbiterSlot>,
    state: Mutex<PoolState>,
    /// Called before a thread is started, which it may refuse.
    #[cfg(test)]
    pub(crate) on_open: tests::OnOpen,
}

#[derive(Default)]
struct PoolState {
    last: SlotId,
    groups: HashMap<Arc<str>, Vec<Arc<ArbiterSlot>>>,
    /// Arbiters that get no new children: own ones, and members that were blocked.
    retired: Vec<Weak<ArbiterSlot>>,
    /// Replacements that count against the limit, by group.
    windows: HashMap<Arc<str>, Window>,
    /// Blocked arbiters that are not replaced, and were not reported yet.
    untold: Vec<Arc<str>>,
    told: HashSet<SlotId>,
}

/// Place for one more child in a group.
enum Vacancy {
    Here(SlotGuard),
    /// The place is on an arbiter that is to be opened or, if that fails, on this one.
    New(SlotId, Option<Arc<ArbiterSlot>>),
    /// All arbiters are blocked, and are not replaced.
    None,
}

impl PoolState {
    fn next_id(&mut self) -> SlotId {
        self.last += 1;
        self.last
    }

    fn retire(&mut self, slot: &Arc<ArbiterSlot>) {
        self.retired.retain(|slot| {
            let slot = slot.upgrade();
            slot.is_some_and(|slot| slot.children() > 0 || slot.is_blocked())
        });
        self.retired.push(Arc::downgrade(slot));
        slot.retire();
    }

    /// Returns `true` if the loss of a blocked arbiter is within the limit of its group.
    fn pays_for(&mut self, slot: &ArbiterSlot, group: &Arc<str>, allowed: &Intensity) -> bool {
        if slot.is_counted_lost() {
            return true;
        }
        let window = self.windows.entry(Arc::clone(group)).or_default();
        if window.spend(allowed, Instant::now()).is_none() {
            slot.count_lost();
            return true;
        }
        if self.told.insert(slot.id) {
            self.untold.push(Arc::clone(&slot.name));
        }
        false
    }

    /// Takes the members of a group that make no progress out of it, as far as they are replaced.
    fn retire_unusable(&mut self, group: &Arc<str>, allowed: &Intensity) {
        let members = self.groups.remove(group).unwrap_or_default();
        let mut kept = Vec::with_capacity(members.len());
        for slot in members {
            if slot.is_stopped() || (slot.is_blocked() && self.pays_for(&slot, group, allowed)) {
                self.retire(&slot);
            } else {
                kept.push(slot);
            }
        }
        self.groups.insert(Arc::clone(group), kept);
    }

    fn vacancy(&mut self, group: &Arc<str>, size: usize) -> Vacancy {
        let members = self.groups.entry(Arc::clone(group)).or_default();
        let has_room = members.len() < size;
        let usable = members.iter().filter(|slot| slot.is_usable());
        let least = usable.min_by_key(|slot| slot.load()).cloned();
        match least {
            Some(slot) if slot.children() == 0 || !has_room => Vacancy::Here(SlotGuard::on(&slot)),
            None if !has_room => Vacancy::None,
            least => Vacancy::New(self.next_id(), least),
        }
    }
}

impl ArbiterPool {
    pub(crate) fn new(sizes: GroupSizes, replacements: Intensity) -> Self {
        Self {
            sizes,
            replacements,
            here: ArbiterSlot::here(),
            state: Mutex::default(),
            #[cfg(test)]
            on_open: tests::OnOpen::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sizes(&self) -> &GroupSizes {
        &self.sizes
    }

    /// Returns the arbiter that started the tree.
    pub(crate) fn here(&self) -> &Arc<ArbiterSlot> {
        &self.here
    }

    /// Starts an arbiter, which fails if no thread can be started. The lock is not held, because
    /// this takes a while, in which the watchdog and readers of the status must not wait. (No other
    /// caller does the same meanwhile: all supervisors of a tree run on one thread.)
    fn open(&self, id: SlotId, group: &Arc<str>) -> Result<Arc<ArbiterSlot>, String> {
        #[cfg(test)]
        self.on_open.call(self)?;
        let arbiter = Arbiter::try_new().map_err(|error| format!("no arbiter for it: {error}"))?;
        Ok(ArbiterSlot::open(id, group, arbiter.handle()))
    }

    /// Assigns one more child to the least loaded arbiter of a group. A blocked arbiter is
    /// replaced, as often as is allowed, because a child placed on it would wait forever.
    pub(crate) fn of_group(&self, group: &Arc<str>) -> Result<SlotGuard, String> {
        let unknown = || format!("there is no group of arbiters named {group}");
        let size = self.sizes.of(group).ok_or_else(unknown)?;
        let vacancy = {
            let mut state = self.state();
            state.retire_unusable(group, &self.replacements);
            state.vacancy(group, size)
        };
        let (id, least) = match vacancy {
            Vacancy::Here(guard) => return Ok(guard),
            Vacancy::New(id, least) => (id, least),
            Vacancy::None => {
                return Err(format!(
                    "all arbiters of the group {group} are blocked, and too many were replaced"
                ));
            }
        };
        match (self.open(id, group), least) {
            (Ok(slot), _) => {
                let guard = SlotGuard::on(&slot);
                let mut state = self.state();
                state
                    .groups
                    .entry(Arc::clone(group))
                    .or_default()
                    .push(slot);
                Ok(guard)
            }
            (Err(error), Some(least)) => {
                tracing::warn!(%group, error, "child placed on an arbiter that is in use");
                Ok(SlotGuard::on(&least))
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Starts an arbiter for one child. The arbiter is stopped when that child has left.
    pub(crate) fn own(&self) -> Result<SlotGuard, String> {
        let group = Arc::from("own");
        let id = {
            let mut state = self.state();
            let retired = state.retired.iter().filter_map(Weak::upgrade);
            let lost: Vec<_> = retired
                .filter(|slot| slot.is_of(&group) && slot.is_blocked())
                .collect();
            for slot in lost {
                if !state.pays_for(&slot, &group, &self.replacements) {
                    return Err("too many arbiters of single children are blocked".to_owned());
                }
            }
            state.next_id()
        };
        let slot = self.open(id, &group)?;
        let guard = SlotGuard::on(&slot);
        self.state().retire(&slot);
        Ok(guard)
    }

    /// Returns the names of blocked arbiters that are not replaced, each once.
    pub(crate) fn take_untold(&self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.state().untold)
    }

    /// Returns the arbiter of that number, if it can take another child.
    pub(crate) fn usable(&self, id: SlotId) -> Option<Arc<ArbiterSlot>> {
        let mut slots = self.slots().into_iter();
        slots.find(|slot| slot.id == id && slot.is_usable())
    }

    /// Returns all arbiters that are in use, or lost, in the order in which they were opened.
    pub(crate) fn slots(&self) -> Vec<Arc<ArbiterSlot>> {
        let state = self.state();
        let retired = state.retired.iter().filter_map(Weak::upgrade);
        let retired = retired.filter(|slot| slot.children() > 0 || slot.is_blocked());
        let members = state.groups.values().flatten().cloned();
        let mut slots: Vec<_> = members.chain(retired).collect();
        slots.push(Arc::clone(&self.here));
        slots.sort_by_key(|slot| slot.id);
        slots
    }

    /// Stops all members of groups. Others are stopped by the last child that leaves.
    pub(crate) fn stop(&self) {
        let groups = std::mem::take(&mut self.state().groups);
        for slot in groups.into_values().flatten() {
            slot.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        ChildError, ChildState, Placement, StartError, SupervisorSpec, Tree, child, testing,
    };

    type Hook = Box<dyn Fn(&ArbiterPool) -> Result<(), String> + Send>;

    #[derive(Default)]
    pub(crate) struct OnOpen(Mutex<Option<Hook>>);

    impl OnOpen {
        pub(crate) fn set(
            &self,
            hook: impl Fn(&ArbiterPool) -> Result<(), String> + Send + 'static,
        ) {
            *self.0.lock().unwrap() = Some(Box::new(hook));
        }

        pub(super) fn call(&self, pool: &ArbiterPool) -> Result<(), String> {
            match &*self.0.lock().unwrap() {
                Some(hook) => hook(pool),
                None => Ok(()),
            }
        }
    }

    fn pool(arbiters: usize, replacements: u32) -> ArbiterPool {
        let mut sizes = GroupSizes::default();
        sizes.set("bots".into(), arbiters);
        ArbiterPool::new(sizes, Intensity::new(replacements, Duration::from_secs(60)))
    }

    fn names(pool: &ArbiterPool) -> Vec<(String, bool, bool)> {
        let status = pool.slots().into_iter().map(|slot| slot.status());
        status
            .map(|it| (it.name.to_string(), it.blocked, it.given_up))
            .collect()
    }

    /// The watchdog and the status read the arbiters meanwhile.
    #[test]
    fn threads_are_started_without_the_lock() {
        actix::System::new().block_on(async {
            let pool = pool(1, 0);
            pool.on_open.set(|pool| match pool.state.try_lock() {
                Ok(_) => Ok(()),
                Err(_) => Err("locked".to_owned()),
            });
            assert!(pool.of_group(&"bots".into()).is_ok());
            assert!(pool.own().is_ok());
            pool.stop();
        });
    }

    #[test]
    fn blocked_arbiters_are_replaced_as_often_as_is_allowed_and_stay_listed() {
        testing::run_with_threads(async {
            let pool = pool(1, 2);
            let group = Arc::from("bots");
            for _ in 0..2 {
                let guard = pool.of_group(&group).unwrap();
                guard.slot().set_blocked(true);
            }
            let last = pool.of_group(&group).unwrap();
            last.slot().set_blocked(true);
            for _ in 0..2 {
                let error = pool.of_group(&group).err().unwrap();
                assert!(error.contains("too many were replaced"), "{error}");
            }
            assert_eq!(pool.take_untold(), ["bots-3".into()], "told once");
            drop(last);
            let names = names(&pool);
            let entry = |name: &str, blocked, lost| (name.to_owned(), blocked, lost);
            assert_eq!(names[0], entry("tree", false, false));
            assert_eq!(names.last().unwrap(), &entry("bots-3", true, false));
            // The arbiter makes progress again.
            let slots = pool.slots();
            slots.last().unwrap().set_blocked(false);
            assert!(pool.of_group(&group).is_ok());
            slots.last().unwrap().set_blocked(true);
            tokio::time::sleep(Duration::from_secs(61)).await;
            let guard = pool.of_group(&group).unwrap();
            assert_eq!(&*guard.slot().name, "bots-4", "the window has passed");
            pool.stop();
        });
    }

    #[test]
    fn own_arbiters_are_replaced_as_often_as_is_allowed() {
        actix::System::new().block_on(async {
            let pool = pool(1, 1);
            let guards: Vec<_> = (0..2).map(|_| pool.own().unwrap()).collect();
            guards[0].slot().set_blocked(true);
            let third = pool.own().unwrap();
            guards[1].slot().set_blocked(true);
            assert!(pool.own().is_err());
            guards[1].slot().set_blocked(false);
            assert!(pool.own().is_ok());
            drop(third);
            pool.stop();
        });
    }

    struct Idle;

    impl actix::Actor for Idle {
        type Context = crate::Context<Self>;
    }

    /// No thread can be started: children that need one do not start, and everything else goes on.
    #[test]
    fn a_tree_goes_on_without_threads() {
        actix::System::new().block_on(async {
            let idle = |name: &str| child(name, || async { Ok::<_, StartError>(Idle) }).0;
            let root = SupervisorSpec::one_for_one("root").group("bots", 2);
            let a = idle("a").placement(Placement::group("bots"));
            let tree = Tree::start(root.child(a).child(idle("b"))).await.unwrap();
            let pool = tree.pool();
            pool.on_open.set(|_| Err("no thread".to_owned()));
            let root = tree.supervisor("root").unwrap();
            let own = root.start_child(idle("c").placement(Placement::Own)).await;
            assert!(own.unwrap_err().to_string().contains("no thread"));
            let moved = tree.move_child("root/b", Placement::Own).await;
            assert!(matches!(moved, Err(ChildError::StartFailed { .. })));
            // The group has an arbiter already.
            let d = idle("d").placement(Placement::group("bots"));
            root.start_child(d).await.unwrap();
            let status = |path| tree.status_of(path).unwrap();
            for (path, arbiter) in [
                ("root/a", "bots-1"),
                ("root/b", "tree"),
                ("root/d", "bots-1"),
            ] {
                let status = status(path);
                assert_eq!(status.state, ChildState::Running, "{path}");
                assert_eq!(status.arbiter.as_deref(), Some(arbiter), "{path}");
            }
            tree.shutdown().await;
        });
    }
}
