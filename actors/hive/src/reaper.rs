//! Reaper of the programs that outlive deia.
//!
//! The reaper is a small process of its own that deia starts and keeps a pipe to. On the pipe
//! deia announces the process groups that it runs (`+<group>` once started, `-<group>` before the
//! last of it is reaped). When the pipe ends, deia has ended, for whatever reason: the reaper
//! then ends those groups, and every process that carries the hive's instance in its environment,
//! or descends from one that does.
//!
//! The reaper is the second line of defence: the runner above each program ends the processes
//! that the program has started. If runners are killed, too, a process escapes that left its
//! group, cleared its environment and lost its parents before deia ended.
//!
//! The code is plain and blocking, and never runs on an arbiter.

pub(crate) mod procs;

use std::{
    collections::BTreeSet,
    io::{self, BufRead, BufReader, Read},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, kill_process, kill_process_group, pidfd_send_signal},
};

use crate::host::{Process, signals};

/// Time for which the processes of one attempt are searched for and ended. Fixed: longer only while
/// the kernel cannot end a process, which no setting changes.
const TAGGED_WITHIN: Duration = Duration::from_secs(2);

/// Variable that every program of a hive carries: the instance of its data directory. The hive's
/// id would not do: a copy of the directory has the same id.
pub(crate) const INSTANCE_VARIABLE: &str = "DEIA_INSTANCE_ID";

/// Variable that distinguishes the programs of one run of a hive from those of the next: a reaper
/// may be late, and ends only the programs of its own run.
pub(crate) const RUN_VARIABLE: &str = "DEIA_RUN_ID";

/// Time for which programs are searched for and ended. A sweep takes longer than milliseconds only
/// if the kernel cannot end a process (that waits for a dead disk, for example). Fixed: longer only
/// while the kernel cannot end a process, which no setting changes.
const SWEEP_LIMIT: Duration = Duration::from_secs(10);

/// Pause between two scans. A process that is just being replaced by `exec` shows no environment
/// for a moment, so one empty scan proves nothing. Fixed: short enough that nobody waits for it,
/// and each look costs little.
const BETWEEN_SCANS: Duration = Duration::from_millis(20);

/// All `NAME=value` variables of a tag that a process carries.
pub(crate) type EnvTags = Vec<String>;

/// Result of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Number of processes that were ended.
    pub ended: usize,
    /// Number of processes that remained at the end because the kernel could not end them yet.
    pub left: usize,
}

/// Runs the reaper of this run of the hive of this instance: reads standard input to its end,
/// then ends the processes that deia left behind. Must be called first in the process, before any
/// thread is started.
///
/// # Errors
/// `/proc` cannot be read. The groups that deia named are ended nevertheless.
pub fn run(instance: &str, run: &str) -> io::Result<Swept> {
    signals::for_all_processes().thread_block()?;
    let mut groups = BTreeSet::new();
    follow(BufReader::new(io::stdin().lock()), &mut groups);
    continue_runners(&groups);
    let env_tags = [vec![instance_tag(instance), run_tag(run)]];
    sweep_until_clean(&groups, &env_tags, SWEEP_LIMIT).inspect_err(|_| end_groups(&groups))
}

/// Ends every process that an earlier run of the hive of this instance left behind. Must be
/// called while the data directory is locked and no program runs yet. Never ends the caller or
/// its ancestors. Blocks, usually for some 30 ms.
///
/// # Errors
/// `/proc` cannot be read.
pub fn sweep(instance: &str) -> io::Result<Swept> {
    sweep_until_clean(
        &BTreeSet::new(),
        &[vec![instance_tag(instance)]],
        SWEEP_LIMIT,
    )
}

/// Ends every process that carries any of these environment tags, and its descendants. Blocks,
/// usually for some 30 ms.
///
/// # Errors
/// `/proc` cannot be read.
pub(crate) fn sweep_tagged(env_tags: &[EnvTags]) -> io::Result<Swept> {
    sweep_until_clean(&BTreeSet::new(), env_tags, TAGGED_WITHIN)
}

/// Returns true if a process of this group lives (a zombie does not). Blocks for a scan.
///
/// # Errors
/// `/proc` cannot be read.
pub(crate) fn group_lives(group: i32) -> io::Result<bool> {
    let lives = |process: &Process| process.group == group && !process.zombie;
    Ok(Process::all()?.iter().any(lives))
}

/// Returns true if the process behind this pidfd has ended, reaped or not.
pub(crate) fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Returns the environment tag of a hive's programs.
pub(crate) fn instance_tag(instance: &str) -> String {
    format!("{INSTANCE_VARIABLE}={instance}")
}

/// Returns the environment tag of the programs of one run.
pub(crate) fn run_tag(run: &str) -> String {
    format!("{RUN_VARIABLE}={run}")
}

/// Reads the announcements of deia until the end. Malformed lines are skipped, for example a line
/// that the death of deia cut short.
fn follow(mut input: impl BufRead, groups: &mut BTreeSet<i32>) {
    let mut line = Vec::new();
    loop {
        line.clear();
        match input.by_ref().take(64).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => note(&line, groups),
        }
    }
}

fn note(line: &[u8], groups: &mut BTreeSet<i32>) {
    let Some(line) = std::str::from_utf8(line)
        .ok()
        .and_then(|line| line.strip_suffix('\n'))
    else {
        return;
    };
    // Groups up to 1 are never ours: -1 would mean every process.
    let group = |text: &str| text.parse().ok().filter(|group: &i32| *group > 1);
    match line.split_at_checked(1) {
        Some(("+", text)) => groups.extend(group(text)),
        Some(("-", text)) => {
            group(text).map(|group| groups.remove(&group));
        }
        _ => {}
    }
}

/// Continues the parents of these groups' leaders: a runner that its program has stopped would
/// not notice the end of deia, and would stay forever.
fn continue_runners(groups: &BTreeSet<i32>) {
    let parents = groups
        .iter()
        .filter_map(|leader| Process::read(*leader).ok());
    for parent in parents.filter_map(|leader| Pid::from_raw(leader.parent)) {
        if !parent.is_init() {
            let _ = kill_process(parent, rustix::process::Signal::CONT);
        }
    }
}

/// Kills the descendants of a process, and then the process itself, since a stopped or hanging
/// process cannot do this itself.
pub(crate) fn end_family(process: &OwnedFd, pid: i32) {
    let processes = Process::all().unwrap_or_default();
    for descendant in procs::descendants(&processes, pid) {
        let _ = procs::end(&descendant);
    }
    let _ = pidfd_send_signal(process, rustix::process::Signal::KILL);
}

fn end_groups(groups: &BTreeSet<i32>) {
    for group in groups {
        if let Some(group) = Pid::from_raw(*group) {
            // An error means that the group has ended already, which is fine.
            let _ = kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// Ends the processes that belong to `groups` or carry `env_tags`, until two scans in a row find
/// no more.
fn sweep_until_clean(
    groups: &BTreeSet<i32>,
    env_tags: &[EnvTags],
    limit: Duration,
) -> io::Result<Swept> {
    let deadline = Instant::now() + limit;
    let own = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
    let mut swept = Swept::default();
    // Groups are ended in the first scan only: ending a group is final, and its number may be
    // reused afterwards.
    let mut groups = Some(groups);
    let none = BTreeSet::new();
    let mut clean_scans = 0;
    while clean_scans < 2 {
        let processes = Process::all()?;
        let now = groups.take().unwrap_or(&none);
        let tagged = |pid| procs::is_tagged(pid, env_tags);
        // The scan precedes the kills: ended parents no longer lead to their children.
        let victims = procs::victims(&processes, now, tagged, own);
        end_groups(now);
        let dying: Vec<OwnedFd> = victims.iter().filter_map(procs::end).collect();
        swept.ended += dying.len();
        if Instant::now() >= deadline {
            swept.left = victims.len();
            break;
        }
        clean_scans = if victims.is_empty() {
            clean_scans + 1
        } else {
            0
        };
        if clean_scans < 2 {
            wait_for_all(
                &dying,
                deadline.min(Instant::now() + Duration::from_secs(1)),
            );
            pause(BETWEEN_SCANS);
        }
    }
    Ok(swept)
}

/// Waits until all these processes have ended, or the deadline.
pub(crate) fn wait_for_all(dying: &[OwnedFd], deadline: Instant) {
    for pidfd in dying {
        let rest = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(rest).unwrap_or_default();
        let _ = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout));
    }
}

/// Blocks the process for that time; it has no other work.
pub(crate) fn pause(time: Duration) {
    let timeout = Timespec::try_from(time).unwrap_or_default();
    let _ = poll(&mut [], Some(&timeout));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deia_says_is_followed() {
        for (said, expected) in [
            ("", vec![]),
            ("+12\n+13\n", vec![12, 13]),
            ("+12\n-12\n+13\n", vec![13]),
            ("-12\n+12\n", vec![12]),
            ("+12\n+13", vec![12]), // cut short: 13 may be the start of 1345
            ("+-1\n+0\n+1\n", vec![]),
            ("12\nx\n\n+\n+99999999999\n+7\n", vec![7]),
        ] {
            let mut groups = BTreeSet::new();
            follow(said.as_bytes(), &mut groups);
            assert_eq!(groups.into_iter().collect::<Vec<_>>(), expected, "{said:?}");
        }
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let mut groups = BTreeSet::new();
        follow(BufReader::new(io::repeat(b'+').take(1 << 20)), &mut groups);
        assert!(groups.is_empty());
    }
}
