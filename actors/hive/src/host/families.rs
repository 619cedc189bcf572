//! Resources that the processes of programs use, with all that they have started.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use procfs::{FromRead as _, process::Stat};
use rustix::{
    io::Errno,
    param::{clock_ticks_per_second, page_size},
};

use super::process::PROC;

/// Resources that a family of processes uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct FamilyUsage {
    /// Number of processes.
    pub(crate) processes: u64,
    /// Resident memory, in bytes. What processes share is counted for each of them.
    pub(crate) resident_bytes: u64,
    /// User and system time of the living processes and of the children that they waited for,
    /// in seconds.
    pub(crate) cpu_seconds: f64,
    /// Number of open descriptors; `None` if those of a process are hidden.
    pub(crate) descriptors: Option<u64>,
}

/// A process, as far as its use of resources is concerned.
#[derive(Clone, Copy, Debug)]
struct Member {
    pid: i32,
    parent: i32,
    resident_pages: u64,
    ticks: u64,
}

impl From<Stat> for Member {
    fn from(stat: Stat) -> Self {
        let waited_for = [stat.cutime, stat.cstime].map(|ticks| u64::try_from(ticks).unwrap_or(0));
        let own = stat.utime.saturating_add(stat.stime);
        Self {
            pid: stat.pid,
            parent: stat.ppid,
            resident_pages: stat.rss,
            ticks: waited_for.into_iter().fold(own, u64::saturating_add),
        }
    }
}

/// Measures the families of these programs: each program, its descendants, and those of its runner,
/// which inherits the descendants whose parent has ended. Programs that have ended are left out.
/// Blocks for a file access for each process of the host.
///
/// # Errors
/// `/proc` cannot be listed, or this process has no descriptor left to read with.
pub(crate) fn measure(programs: &[i32]) -> io::Result<HashMap<i32, FamilyUsage>> {
    let own = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
    measure_below(Path::new(PROC), programs, own)
}

fn measure_below(proc: &Path, programs: &[i32], own: i32) -> io::Result<HashMap<i32, FamilyUsage>> {
    let members = members(proc)?;
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for member in members.values() {
        children.entry(member.parent).or_default().push(member.pid);
    }
    let measured = programs.iter().filter_map(|program| {
        let family = family(&members, &children, *program, own)?;
        Some((*program, usage(proc, &family)))
    });
    Ok(measured.collect())
}

fn members(proc: &Path) -> io::Result<HashMap<i32, Member>> {
    let mut found = HashMap::new();
    for entry in fs::read_dir(proc)? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        match Stat::from_file(proc.join(format!("{pid}/stat"))) {
            Ok(stat) => {
                found.insert(pid, Member::from(stat));
            }
            Err(procfs::ProcError::Io(error, _)) if is_shortage(&error) => return Err(error),
            // It has ended meanwhile, or is hidden.
            Err(_) => {}
        }
    }
    Ok(found)
}

fn is_shortage(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

/// Returns the members of the family of a program; `None` if it has ended.
fn family(
    members: &HashMap<i32, Member>,
    children: &HashMap<i32, Vec<i32>>,
    program: i32,
    own: i32,
) -> Option<Vec<Member>> {
    let leader = members.get(&program)?;
    // Only a child of this process is a runner: a program that lost its runner belongs to another
    // parent, whose children are of no concern here.
    let runner = members.get(&leader.parent);
    let runner = runner.filter(|runner| runner.parent == own && runner.pid != own);
    let mut next: Vec<i32> = match runner {
        Some(runner) => children.get(&runner.pid).cloned().unwrap_or_default(),
        None => vec![program],
    };
    let (mut seen, mut family) = (HashSet::new(), Vec::new());
    // Ends even if ids that were reused during the scan form a cycle.
    while let Some(pid) = next.pop() {
        if seen.insert(pid) {
            family.extend(members.get(&pid));
            next.extend(children.get(&pid).into_iter().flatten());
        }
    }
    Some(family)
}

#[allow(clippy::cast_precision_loss, reason = "ticks to seconds")]
fn usage(proc: &Path, family: &[Member]) -> FamilyUsage {
    let pages = family.iter().map(|it| it.resident_pages);
    let ticks = family.iter().map(|it| it.ticks);
    let pages = pages.fold(0, u64::saturating_add);
    let ticks = ticks.fold(0, u64::saturating_add);
    FamilyUsage {
        processes: family.len() as u64,
        resident_bytes: pages.saturating_mul(page_size() as u64),
        cpu_seconds: ticks as f64 / clock_ticks_per_second().max(1) as f64,
        descriptors: family
            .iter()
            .map(|it| open_descriptors(&proc.join(format!("{}/fd", it.pid))))
            .sum(),
    }
}

/// Returns the number of descriptors in that directory: 0 for a process that has ended meanwhile.
fn open_descriptors(fds: &PathBuf) -> Option<u64> {
    match fs::read_dir(fds) {
        Ok(entries) => Some(entries.count() as u64),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(0),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds a process with 2 pages, 50 + 20 ticks of its own and 5 + 5 of its children.
    fn add(proc: &Path, pid: i32, parent: i32, descriptors: u32) {
        let dir = proc.join(pid.to_string());
        fs::create_dir_all(dir.join("fd")).unwrap();
        for number in 0..descriptors {
            fs::write(dir.join("fd").join(number.to_string()), "").unwrap();
        }
        let stat = format!(
            "{pid} (a) S {parent} 8 9 0 -1 4194560 1 2 3 4 50 20 5 5 20 0 3 0 123456 4096 2 \
             18446744073709551615 1 1 0 0 0 0 0 4096 1 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
        );
        fs::write(dir.join("stat"), stat).unwrap();
    }

    #[test]
    fn a_program_is_measured_with_all_that_it_has_started() {
        let proc = tempfile::tempdir().unwrap();
        let own = 10;
        for (pid, parent, descriptors) in [
            (1, 0, 1),
            (10, 1, 100),
            // A runner with a program, its child, and an orphan that the runner inherited.
            (20, 10, 4),
            (21, 20, 3),
            (22, 21, 2),
            (23, 20, 1),
            // A program of another runner, and one that lost its runner.
            (30, 10, 4),
            (31, 30, 3),
            (41, 1, 3),
            (42, 41, 3),
        ] {
            add(proc.path(), pid, parent, descriptors);
        }
        let measured = measure_below(proc.path(), &[21, 31, 41, 99], own).unwrap();
        let page = page_size() as u64;
        for (program, processes, descriptors) in [(21, 3, 6), (31, 1, 3), (41, 2, 6)] {
            let usage = measured[&program];
            assert_eq!(
                (usage.processes, usage.descriptors, usage.resident_bytes),
                (processes, Some(descriptors), processes * 2 * page),
                "{program}"
            );
            let seconds = processes as f64 * 80.0 / clock_ticks_per_second() as f64;
            assert!((usage.cpu_seconds - seconds).abs() < 1e-9, "{program}");
        }
        assert!(!measured.contains_key(&99));
    }

    #[test]
    fn a_process_that_ends_meanwhile_has_no_descriptors() {
        assert_eq!(open_descriptors(&"/nonexistent/fd".into()), Some(0));
    }
}
