//! The control group (cgroup) of this process: limits that its container or its service
//! sets, version 1 and 2 (cgroups(7)).
//!
//! Controllers may be spread over both versions, so each is looked for apart. A limit of a
//! group holds for the groups below it as well: the tightest on the way up counts, as far
//! up as the mounts of this process show.

use std::{
    fs,
    path::{Path, PathBuf},
};

use procfs::{FromRead as _, ProcessCGroup, ProcessCGroups, process::MountInfo};

use super::{Pressure, Unknown};

/// Value from which on a limit of version 1 means no limit: the kernel shows the largest number of
/// pages that it can count. Fact: the documentation of memory.limit_in_bytes: the default is the
/// largest multiple of a page.
const NO_LIMIT: u64 = 1 << 62;

/// The control group of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cgroup {
    memory: Option<Place>,
    cpu: Option<Place>,
    pids: Option<Place>,
    unified: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// Directories of a group in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    version: Version,
    /// Directory of the group.
    dir: PathBuf,
    /// Directory of the mount, at or above the group.
    top: PathBuf,
}

/// Memory of a control group, its share of the page cache included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CgroupMemory {
    /// Memory charged to the group, in bytes.
    pub(crate) used_bytes: u64,
    /// Memory without the files that were not read lately, which the kernel drops first.
    pub(crate) working_set_bytes: u64,
    /// Limit in bytes.
    pub(crate) limit_bytes: Option<u64>,
}

impl CgroupMemory {
    /// Returns the share of the limit in use, in percent.
    pub(crate) fn used_percent(&self) -> Option<f64> {
        let limit = self.limit_bytes?;
        let free = limit.saturating_sub(self.working_set_bytes);
        Some(super::used_percent(free, limit))
    }

    fn room(&self) -> u64 {
        let room = |limit: u64| limit.saturating_sub(self.working_set_bytes);
        self.limit_bytes.map_or(u64::MAX, room)
    }
}

/// Processes and threads of a control group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CgroupPids {
    /// Current number.
    pub(crate) used: u64,
    /// Limit of the number.
    pub(crate) limit: Option<u64>,
}

impl CgroupPids {
    fn room(&self) -> u64 {
        let room = |limit: u64| limit.saturating_sub(self.used);
        self.limit.map_or(u64::MAX, room)
    }
}

impl Cgroup {
    /// Finds the control group that this process is in now.
    pub(crate) fn of_this_process() -> Self {
        Self::below(Path::new("/"))
    }

    fn below(root: &Path) -> Self {
        let groups = ProcessCGroups::from_file(root.join("proc/self/cgroup"));
        let groups = groups.map(|groups| groups.0).unwrap_or_default();
        let mounts = mounts(&root.join("proc/self/mountinfo"));
        let v2 = || {
            let group = groups.iter().find(|group| group.controllers.is_empty())?;
            let of_v2 = |mount: &&MountInfo| mount.fs_type == "cgroup2";
            Place::of(Version::V2, root, group, mounts.iter().filter(of_v2))
        };
        let find = |controller: &str| {
            let holds = |group: &&ProcessCGroup| group.controllers.iter().any(|c| c == controller);
            let Some(group) = groups.iter().find(holds) else {
                return v2();
            };
            let of_v1 = |mount: &&MountInfo| {
                mount.fs_type == "cgroup" && mount.super_options.contains_key(controller)
            };
            Place::of(Version::V1, root, group, mounts.iter().filter(of_v1))
        };
        Self {
            memory: find("memory"),
            cpu: find("cpu"),
            pids: find("pids"),
            unified: v2(),
        }
    }

    /// Reads the memory of the group, or of the group above it that has the least room left.
    ///
    /// # Errors
    /// The figure is not known.
    pub(crate) fn memory(&self) -> Result<CgroupMemory, Unknown> {
        let place = self.memory.as_ref().ok_or(Unknown::Absent)?;
        place.tightest(|dir| place.memory_of(dir), CgroupMemory::room)
    }

    /// Reads the processes of the group, or of the group above it that has the least room left.
    ///
    /// # Errors
    /// The figure is not known.
    pub(crate) fn pids(&self) -> Result<CgroupPids, Unknown> {
        let place = self.pids.as_ref().ok_or(Unknown::Absent)?;
        let of = |dir: &Path| {
            Ok(CgroupPids {
                used: number(&dir.join("pids.current"))?.ok_or(Unknown::Unreadable)?,
                limit: number(&dir.join("pids.max"))?,
            })
        };
        place.tightest(of, CgroupPids::room)
    }

    /// Reads how many processors' time the group gets; `None` if there is no limit.
    ///
    /// # Errors
    /// The figure is not known.
    pub(crate) fn cpus(&self) -> Result<Option<f64>, Unknown> {
        let place = self.cpu.as_ref().ok_or(Unknown::Absent)?;
        let room = |cpus: &Option<f64>| Order(cpus.unwrap_or(f64::INFINITY));
        place.tightest(|dir| place.cpus_of(dir), room)
    }

    /// Reads the pressure on the group, which only version 2 shows.
    pub(crate) fn pressure(&self) -> Pressure {
        match &self.unified {
            None => Pressure::ABSENT,
            Some(place) => {
                Pressure::read(|resource| place.dir.join(format!("{resource}.pressure")))
            }
        }
    }
}

/// A number with a total order.
#[derive(PartialEq)]
struct Order(f64);

impl Eq for Order {}

impl PartialOrd for Order {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Order {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Place {
    /// Finds the directory of a group below one of these mounts.
    fn of<'a>(
        version: Version,
        root: &Path,
        group: &ProcessCGroup,
        mounts: impl Iterator<Item = &'a MountInfo>,
    ) -> Option<Self> {
        let mut without = None;
        for mount in mounts {
            let top = below(root, &mount.mount_point);
            let rest = Path::new(&group.pathname).strip_prefix(&mount.root).ok();
            // A path outside of the namespace begins with `..`.
            let inside = |rest: &&Path| !rest.starts_with("..");
            let dir = rest.filter(inside).map(|rest| top.join(rest));
            if let Some(dir) = dir.filter(|dir| dir.is_dir()) {
                return Some(Self { version, dir, top });
            }
            without.get_or_insert(top);
        }
        // A container may see the path that its host uses, with its own group as the mount.
        without.map(|top| Self {
            version,
            dir: top.clone(),
            top,
        })
    }

    /// Returns the directory of the group, and those above it.
    fn dirs(&self) -> impl Iterator<Item = &Path> {
        let inside = |dir: &&Path| dir.starts_with(&self.top);
        self.dir.ancestors().take_while(inside)
    }

    /// Returns the reading with the least room among those of the group and of the ones
    /// above it. Any of them may lack the files: the first group of the machine has no
    /// limits, and a controller may end above the group of this process.
    fn tightest<T, R: Ord>(
        &self,
        of: impl Fn(&Path) -> Result<T, Unknown>,
        room: impl Fn(&T) -> R,
    ) -> Result<T, Unknown> {
        let mut dirs = self.dirs();
        let own = match of(dirs.next().unwrap_or(&self.dir)) {
            Err(Unknown::Absent) => None,
            read => Some(read?),
        };
        let readings = own.into_iter().chain(dirs.filter_map(|dir| of(dir).ok()));
        readings.min_by_key(room).ok_or(Unknown::Absent)
    }

    fn memory_of(&self, dir: &Path) -> Result<CgroupMemory, Unknown> {
        let (used, limit, inactive) = match self.version {
            Version::V1 => (
                "memory.usage_in_bytes",
                "memory.limit_in_bytes",
                "total_inactive_file",
            ),
            Version::V2 => ("memory.current", "memory.max", "inactive_file"),
        };
        let used_bytes = number(&dir.join(used))?.ok_or(Unknown::Unreadable)?;
        let hard = number(&dir.join(limit))?.filter(|limit| *limit < NO_LIMIT);
        // Beyond it the group is slowed down and its memory taken back: a limit as well. Older
        // kernels, and version 1, do not have it.
        let soft = match self.version {
            Version::V1 => None,
            Version::V2 => number(&dir.join("memory.high")).unwrap_or(None),
        };
        let limit_bytes = hard.into_iter().chain(soft).min();
        let stat = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
        let inactive = stat.lines().find_map(|line| {
            let (name, value) = line.split_once(' ')?;
            (name == inactive).then(|| value.parse().ok())?
        });
        Ok(CgroupMemory {
            used_bytes,
            working_set_bytes: used_bytes.saturating_sub(inactive.unwrap_or(0)),
            limit_bytes,
        })
    }

    #[allow(clippy::cast_precision_loss, reason = "microseconds to a share")]
    fn cpus_of(&self, dir: &Path) -> Result<Option<f64>, Unknown> {
        let (quota, period) = match self.version {
            Version::V1 => (
                number(&dir.join("cpu.cfs_quota_us"))?,
                number(&dir.join("cpu.cfs_period_us"))?,
            ),
            Version::V2 => {
                let text = fs::read_to_string(dir.join("cpu.max"))?;
                let (quota, period) = text.trim().split_once(' ').ok_or(Unknown::Unreadable)?;
                (value(quota)?, value(period)?)
            }
        };
        let period = period.filter(|period| *period > 0);
        let period = period.ok_or(Unknown::Unreadable)?;
        Ok(quota.map(|quota| quota as f64 / period as f64))
    }
}

/// Returns a path of this process as one below `root`.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Returns the mounts of control groups. Others are skipped, so that a mount that cannot be
/// parsed does not hide these.
fn mounts(mountinfo: &Path) -> Vec<MountInfo> {
    let text = fs::read(mountinfo).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter(|line| line.contains(" - cgroup"));
    lines
        .filter_map(|line| MountInfo::from_line(line).ok())
        .collect()
}

/// Reads a file with one number; `None` means no limit.
fn number(path: &Path) -> Result<Option<u64>, Unknown> {
    value(fs::read_to_string(path)?.trim())
}

fn value(text: &str) -> Result<Option<u64>, Unknown> {
    match text {
        "max" | "-1" => Ok(None),
        number => match number.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Unknown::Unreadable),
        },
    }
}

#[cfg(test)]
mod tests;
