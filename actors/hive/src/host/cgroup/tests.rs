use super::*;

/// A simulated machine made of files.
struct Machine(tempfile::TempDir);

impl Machine {
    /// Creates a machine; `cgroup` and `mountinfo` are the files of `/proc/self`.
    fn new(cgroup: &str, mountinfo: &str) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        machine
            .file("/proc/self/cgroup", cgroup)
            .file("/proc/self/mountinfo", mountinfo)
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = below(self.0.path(), Path::new(path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn files(self, dir: &str, files: &[(&str, &str)]) -> Self {
        let add = |machine: Self, (name, text): &(&str, &str)| {
            machine.file(&format!("{dir}/{name}"), &format!("{text}\n"))
        };
        files.iter().fold(self, add)
    }

    fn cgroup(&self) -> Cgroup {
        Cgroup::below(self.0.path())
    }
}

const ROOT_MOUNT: &str = "23 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n";
const V2_MOUNT: &str =
    "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
const SOME: &str = "some avg10=1.50 avg60=0.00 avg300=0.00 total=7";

fn memory(used: u64, working_set: u64, limit: Option<u64>) -> Result<CgroupMemory, Unknown> {
    Ok(CgroupMemory {
        used_bytes: used,
        working_set_bytes: working_set,
        limit_bytes: limit,
    })
}

fn pids(used: u64, limit: Option<u64>) -> Result<CgroupPids, Unknown> {
    Ok(CgroupPids { used, limit })
}

#[test]
fn version_2_service_is_read_with_the_limits_above_it() {
    let machine = Machine::new(
        "0::/system.slice/deia.service\n",
        &format!("{ROOT_MOUNT}{V2_MOUNT}"),
    )
    .files(
        "/sys/fs/cgroup/system.slice/deia.service",
        &[
            ("memory.current", "1000"),
            ("memory.max", "max"),
            ("memory.stat", "anon 600\ninactive_file 300\nfile 400"),
            ("cpu.max", "150000 100000"),
            ("pids.current", "12"),
            ("pids.max", "4096"),
            ("cpu.pressure", SOME),
            ("memory.pressure", SOME),
        ],
    )
    .files(
        "/sys/fs/cgroup/system.slice",
        &[
            ("memory.current", "5000"),
            ("memory.max", "8000"),
            ("memory.stat", "inactive_file 1000"),
            ("cpu.max", "max 100000"),
            ("pids.current", "90"),
            ("pids.max", "100"),
        ],
    );
    let cgroup = machine.cgroup();
    assert_eq!(cgroup.memory(), memory(5_000, 4_000, Some(8_000)));
    assert_eq!(cgroup.memory().unwrap().used_percent(), Some(50.0));
    assert_eq!(cgroup.cpus(), Ok(Some(1.5)));
    assert_eq!(cgroup.pids(), pids(90, Some(100)));
    let pressure = cgroup.pressure();
    assert_eq!(pressure.cpu.unwrap().some.avg10_percent, 1.5);
    assert_eq!(pressure.memory.unwrap().full, None);
    assert_eq!(pressure.io, Err(Unknown::Absent));
}

#[test]
fn version_1_container_is_read_where_its_mounts_begin() {
    let mountinfo = format!(
        "{ROOT_MOUNT}\
         40 39 0:31 /docker/c1 /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
         41 39 0:32 /docker/c1 /sys/fs/cgroup/memory ro master:9 - cgroup cgroup rw,memory\n\
         42 39 0:33 /docker/other /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n"
    );
    let machine = Machine::new(
        "9:name=systemd:/docker/c1\n8:pids:/docker/c1\n4:memory:/docker/c1\n\
         2:cpu,cpuacct:/docker/c1/inner\n",
        &mountinfo,
    )
    .files(
        "/sys/fs/cgroup/memory",
        &[
            ("memory.usage_in_bytes", "700"),
            ("memory.limit_in_bytes", "1000"),
            ("memory.stat", "inactive_file 1\ntotal_inactive_file 200"),
        ],
    )
    .files(
        "/sys/fs/cgroup/cpu,cpuacct",
        &[
            ("cpu.cfs_quota_us", "50000"),
            ("cpu.cfs_period_us", "100000"),
        ],
    )
    .files(
        "/sys/fs/cgroup/cpu,cpuacct/inner",
        &[("cpu.cfs_quota_us", "-1"), ("cpu.cfs_period_us", "100000")],
    )
    .files(
        "/sys/fs/cgroup/pids",
        &[("pids.current", "5"), ("pids.max", "max")],
    );
    let cgroup = machine.cgroup();
    assert_eq!(cgroup.memory(), memory(700, 500, Some(1_000)));
    assert_eq!(cgroup.cpus(), Ok(Some(0.5)));
    assert_eq!(cgroup.pids(), pids(5, None));
    assert_eq!(cgroup.pressure(), Pressure::ABSENT);
}

#[test]
fn hybrid_has_its_controllers_in_version_1_and_its_pressure_in_version_2() {
    let mountinfo = format!(
        "{ROOT_MOUNT}\
         35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
         41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    );
    let machine = Machine::new("8:pids:/\n4:memory:/a/b\n1:cpu:/\n0::/\n", &mountinfo)
        .files(
            "/sys/fs/cgroup/memory/a/b",
            &[
                ("memory.usage_in_bytes", "70"),
                ("memory.limit_in_bytes", "9223372036854771712"),
            ],
        )
        .files("/sys/fs/cgroup/unified", &[("io.pressure", SOME)]);
    let cgroup = machine.cgroup();
    assert_eq!(cgroup.memory(), memory(70, 70, None));
    assert_eq!(cgroup.memory().unwrap().used_percent(), None);
    // Version 1 has these controllers, and they are not mounted here.
    assert_eq!(cgroup.pids(), Err(Unknown::Absent));
    assert_eq!(cgroup.cpus(), Err(Unknown::Absent));
    assert!(cgroup.pressure().io.is_ok());
}

#[test]
fn machine_without_cgroups_has_no_figures() {
    for machine in [
        Machine::new("", ROOT_MOUNT),
        Machine::new("nonsense\n", "nonsense - cgroup\n"),
        Machine::new("0::/a\n", ROOT_MOUNT),
        Machine(tempfile::tempdir().unwrap()),
    ] {
        let cgroup = machine.cgroup();
        assert_eq!(cgroup.memory(), Err(Unknown::Absent));
        assert_eq!(cgroup.cpus(), Err(Unknown::Absent));
        assert_eq!(cgroup.pids(), Err(Unknown::Absent));
        assert_eq!(cgroup.pressure(), Pressure::ABSENT);
    }
}

#[test]
fn first_group_and_garbled_files_are_unknown() {
    let machine = Machine::new("0::/\n", V2_MOUNT).files("/sys/fs/cgroup", &[]);
    fs::create_dir_all(below(machine.0.path(), Path::new("/sys/fs/cgroup"))).unwrap();
    assert_eq!(machine.cgroup().memory(), Err(Unknown::Absent));
    let machine = machine.files(
        "/sys/fs/cgroup",
        &[
            ("memory.current", "many"),
            ("memory.max", "max"),
            ("cpu.max", "100000"),
            ("pids.current", "max"),
            ("pids.max", "max"),
        ],
    );
    let cgroup = machine.cgroup();
    assert_eq!(cgroup.memory(), Err(Unknown::Unreadable));
    assert_eq!(cgroup.cpus(), Err(Unknown::Unreadable));
    assert_eq!(cgroup.pids(), Err(Unknown::Unreadable));
}

#[test]
fn path_of_the_host_leads_to_the_mount() {
    for pathname in ["/kubepods/pod1", "/../other"] {
        let machine = Machine::new(&format!("0::{pathname}\n"), V2_MOUNT).files(
            "/sys/fs/cgroup",
            &[("memory.current", "10"), ("memory.max", "40")],
        );
        assert_eq!(machine.cgroup().memory(), memory(10, 10, Some(40)));
    }
}

#[test]
fn group_of_this_process_is_read_without_a_failure() {
    let cgroup = Cgroup::of_this_process();
    if let Ok(memory) = cgroup.memory() {
        assert!(memory.used_bytes >= memory.working_set_bytes);
    }
    assert_ne!(cgroup.memory().err(), Some(Unknown::Unreadable));
    assert_ne!(cgroup.cpus().err(), Some(Unknown::Unreadable));
    assert_ne!(cgroup.pids().err(), Some(Unknown::Unreadable));
}

#[test]
fn controller_that_ends_above_the_group_still_limits_it() {
    let machine = Machine::new(
        "0::/system.slice/deia.service/worker\n",
        &format!("{ROOT_MOUNT}{V2_MOUNT}"),
    )
    .files(
        "/sys/fs/cgroup/system.slice/deia.service/worker",
        &[("cpu.pressure", SOME)],
    )
    .files(
        "/sys/fs/cgroup/system.slice/deia.service",
        &[("memory.current", "5000"), ("memory.max", "8000")],
    );
    let cgroup = machine.cgroup();
    let limit = cgroup.memory().map(|memory| memory.limit_bytes);
    assert_eq!(limit, Ok(Some(8_000)));
    assert_eq!(cgroup.pids(), Err(Unknown::Absent));
}

#[test]
fn limit_beyond_which_a_group_is_slowed_down_counts() {
    for (high, limit) in [("6000", 6_000), ("max", 8_000), ("9000", 8_000)] {
        let machine = Machine::new("0::/deia\n", &format!("{ROOT_MOUNT}{V2_MOUNT}")).files(
            "/sys/fs/cgroup/deia",
            &[
                ("memory.current", "3000"),
                ("memory.max", "8000"),
                ("memory.high", high),
            ],
        );
        let memory = machine.cgroup().memory();
        assert_eq!(memory.map(|memory| memory.limit_bytes), Ok(Some(limit)));
    }
}
