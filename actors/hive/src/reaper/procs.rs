//! Selection of the processes to end.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    os::fd::OwnedFd,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::EnvTags;
use crate::host::{Process, process};

/// Returns true if the environment of that process holds any of `env_tags`. An unreadable
/// environment holds none.
pub(crate) fn is_tagged(pid: i32, env_tags: &[EnvTags]) -> bool {
    process::environment(pid).is_ok_and(|environment| {
        env_tags
            .iter()
            .any(|env_tags| carries(&environment, env_tags))
    })
}

fn carries(environment: &[u8], env_tags: &EnvTags) -> bool {
    env_tags.iter().all(|tag| {
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == tag.as_bytes())
    })
}

/// Returns the processes to end: members of `groups`, marked ones, and the descendants of either.
/// Never `own`, its ancestors, or a zombie.
pub(crate) fn victims(
    processes: &[Process],
    groups: &BTreeSet<i32>,
    tagged: impl Fn(i32) -> bool,
    own: i32,
) -> Vec<Process> {
    let family = Family::new(processes);
    let spared: HashSet<i32> = family.line(own).map(|p| p.pid).chain([own, 1]).collect();
    let belongs: HashSet<i32> = processes
        .iter()
        .filter(|p| !spared.contains(&p.pid))
        .filter(|p| groups.contains(&p.group) || tagged(p.pid))
        .map(|p| p.pid)
        .collect();
    let is_victim = |process: &&Process| {
        let mut line = family.line(process.pid);
        line.any(|above| belongs.contains(&above.pid))
            && !process.zombie
            && !spared.contains(&process.pid)
    };
    processes.iter().filter(is_victim).copied().collect()
}

/// Returns the processes below `ancestor` that have not ended.
pub(crate) fn descendants(processes: &[Process], ancestor: i32) -> Vec<Process> {
    let family = Family::new(processes);
    let descends = |process: &&Process| {
        !process.zombie
            && process.pid != ancestor
            && family.line(process.pid).any(|above| above.pid == ancestor)
    };
    processes.iter().filter(descends).copied().collect()
}

/// Index of processes by id, for their descent.
struct Family<'a>(HashMap<i32, &'a Process>);

impl<'a> Family<'a> {
    fn new(processes: &'a [Process]) -> Self {
        Self(processes.iter().map(|p| (p.pid, p)).collect())
    }

    /// Returns the process, its parent, and so on. Ends even if ids that were reused during the
    /// scan form a cycle.
    fn line(&self, pid: i32) -> impl Iterator<Item = &'a Process> {
        let mut seen = HashSet::new();
        let mut next = self.0.get(&pid).copied();
        std::iter::from_fn(move || {
            let this = next.filter(|process| seen.insert(process.pid))?;
            next = self.0.get(&this.parent).copied();
            Some(this)
        })
    }
}

/// Ends exactly this process, not one that got its id later. Returns a descriptor that becomes
/// readable when the process has ended; `None` if there is no process left to end.
pub(crate) fn end(process: &Process) -> Option<OwnedFd> {
    let pidfd = pidfd_open(Pid::from_raw(process.pid)?, PidfdFlags::empty()).ok()?;
    if Process::read(process.pid).ok()?.started != process.started {
        return None;
    }
    pidfd_send_signal(&pidfd, Signal::KILL).ok()?;
    Some(pidfd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_whole_variable() {
        let environment = b"PATH=/bin\0DEIA_INSTANCE_ID=abc\0DEIA_ATTEMPT=1\0";
        for (env_tags, expected) in [
            (vec!["DEIA_INSTANCE_ID=abc"], true),
            (vec!["DEIA_INSTANCE_ID=abc", "DEIA_ATTEMPT=1"], true),
            (vec!["DEIA_INSTANCE_ID=abc", "DEIA_ATTEMPT=2"], false),
            (vec!["DEIA_INSTANCE_ID=ab"], false),
            (vec!["INSTANCE_ID=abc"], false),
        ] {
            let env_tags: Vec<_> = env_tags.into_iter().map(str::to_owned).collect();
            assert_eq!(carries(environment, &env_tags), expected, "{env_tags:?}");
        }
    }

    #[test]
    fn who_is_ended_and_who_is_spared() {
        // Columns: pid, parent, group, zombie, started.
        let table: Vec<Process> = [
            (1, 0, 1, false, 1),      // init
            (10, 1, 10, false, 50),   // a shell above the one that looks
            (11, 10, 11, false, 60),  // the one that looks
            (20, 1, 20, false, 70),   // member of a group
            (21, 20, 20, true, 70),   // its zombie
            (22, 20, 22, false, 71),  // its child in a group of its own, unmarked
            (30, 1, 30, false, 72),   // marked
            (31, 30, 31, false, 73),  // its child, unmarked
            (40, 1, 40, false, 100),  // a new server
            (41, 40, 41, false, 101), // its program, marked
            (42, 41, 42, false, 102), // the program's child
            (50, 1, 50, false, 103),  // tagged, and nobody's child
            (60, 1, 60, false, 104),  // none of ours
        ]
        .map(|(pid, parent, group, zombie, started)| Process {
            pid,
            parent,
            group,
            zombie,
            started,
        })
        .into();
        let below = |pid| -> Vec<_> { descendants(&table, pid).iter().map(|p| p.pid).collect() };
        assert_eq!(below(10), [11]);
        assert_eq!(below(40), [41, 42]);
        assert_eq!(below(20), [22], "not a zombie");
        assert!(below(60).is_empty());
        let tagged = |pid| [10, 30, 41, 50].contains(&pid);
        let chosen = victims(&table, &[20].into(), tagged, 11);
        let chosen: Vec<_> = chosen.into_iter().map(|p| p.pid).collect();
        assert_eq!(chosen, [20, 22, 30, 31, 41, 42, 50]);
    }
}
