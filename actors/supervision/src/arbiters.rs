//! The threads of a tree, by group.

mod slot;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use actix_rt::Arbiter;

pub(crate) use self::slot::{ArbiterSlot, SlotGuard};

/// Names an arbiter within its tree.
pub(crate) type SlotId = u64;

/// The arbiter that started the tree.
pub(crate) const HERE: SlotId = 0;
/// Of a worker that has no task.
pub(crate) const NOWHERE: SlotId = SlotId::MAX;

/// The group behind [`Placement::Pool`](crate::Placement::Pool).
pub(crate) const POOL: &str = "pool";

/// How many arbiters each group has.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupSizes(BTreeMap<Arc<str>, usize>);

impl GroupSizes {
    pub(crate) fn set(&mut self, group: Arc<str>, arbiters: usize) {
        self.0.insert(group, arbiters);
    }

    /// How many arbiters `group` has, if it is known. The pool need not be declared.
    pub(crate) fn of(&self, group: &str) -> Option<usize> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let declared = self.0.get(group).copied();
        declared.or_else(|| (group == POOL).then(cores))
    }

    /// A group without arbiters, if there is one.
    pub(crate) fn empty(&self) -> Option<&Arc<str>> {
        let mut empty = self.0.iter().filter(|(_, arbiters)| **arbiters == 0);
        empty.next().map(|(group, _)| group)
    }
}

/// The arbiters of a tree: the one that started it, the groups, whose members are made when first
/// used, and those that children have for themselves.
pub(crate) struct ArbiterPool {
    sizes: GroupSizes,
    here: Arc<ArbiterSlot>,
    state: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    last: SlotId,
    groups: HashMap<Arc<str>, Vec<Arc<ArbiterSlot>>>,
    /// Those that get no new children: own ones, and members that were blocked.
    retired: Vec<Weak<ArbiterSlot>>,
}

impl PoolState {
    /// Starts an arbiter; a thread may not be had.
    fn open(&mut self, group: &Arc<str>) -> Result<Arc<ArbiterSlot>, String> {
        let arbiter = Arbiter::try_new().map_err(|error| format!("no arbiter for it: {error}"))?;
        self.last += 1;
        Ok(ArbiterSlot::open(self.last, group, arbiter.handle()))
    }

    fn retire(&mut self, slot: &Arc<ArbiterSlot>) {
        self.retired.retain(|slot| {
            let slot = slot.upgrade();
            slot.is_some_and(|slot| slot.children() > 0)
        });
        self.retired.push(Arc::downgrade(slot));
        slot.retire();
    }

    /// Takes the members of a group that make no progress out of it.
    fn retire_unusable(&mut self, group: &str) {
        let Some(members) = self.groups.get_mut(group) else {
            return;
        };
        let unusable: Vec<_> = members.extract_if(.., |slot| !slot.is_usable()).collect();
        for slot in unusable {
            self.retire(&slot);
        }
    }
}

impl ArbiterPool {
    pub(crate) fn new(sizes: GroupSizes) -> Self {
        Self {
            sizes,
            here: ArbiterSlot::here(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sizes(&self) -> &GroupSizes {
        &self.sizes
    }

    /// The arbiter that started the tree.
    pub(crate) fn here(&self) -> &Arc<ArbiterSlot> {
        &self.here
    }

    /// Assigns one more child to the least loaded arbiter of a group. One that is blocked is
    /// replaced: whoever is placed on it would wait for ever.
    pub(crate) fn of_group(&self, group: &Arc<str>) -> Result<SlotGuard, String> {
        let unknown = || format!("there is no group of arbiters named {group}");
        let size = self.sizes.of(group).ok_or_else(unknown)?;
        let state = &mut *self.state();
        state.retire_unusable(group);
        let members = state.groups.entry(Arc::clone(group)).or_default();
        let least = members.iter().min_by_key(|slot| slot.load()).cloned();
        let has_room = members.len() < size;
        match least {
            Some(slot) if slot.children() == 0 || !has_room => Ok(SlotGuard::on(&slot)),
            _ => {
                let slot = state.open(group)?;
                let guard = SlotGuard::on(&slot);
                let members = state.groups.entry(Arc::clone(group)).or_default();
                members.push(slot);
                Ok(guard)
            }
        }
    }

    /// Starts an arbiter for one child. It is stopped when that has left.
    pub(crate) fn own(&self) -> Result<SlotGuard, String> {
        let state = &mut *self.state();
        let slot = state.open(&"own".into())?;
        let guard = SlotGuard::on(&slot);
        state.retire(&slot);
        Ok(guard)
    }

    /// The arbiter of that number, if it can take another child.
    pub(crate) fn usable(&self, id: SlotId) -> Option<Arc<ArbiterSlot>> {
        let mut slots = self.slots().into_iter();
        slots.find(|slot| slot.id == id && slot.is_usable())
    }

    /// All that are in use, in the order in which they were opened.
    pub(crate) fn slots(&self) -> Vec<Arc<ArbiterSlot>> {
        let state = self.state();
        let retired = state.retired.iter().filter_map(Weak::upgrade);
        let retired = retired.filter(|slot| slot.children() > 0);
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
