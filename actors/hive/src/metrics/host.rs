//! The host: load, pressure, and the limits of the control group.

use super::{Exposition, exposition::NO_LABELS, table};
use crate::host::{Cgroup, Load, Pressure, Stall, Unknown, cgroup};

/// Figures of the host. Figures that the host does not show are left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct HostReading {
    load: Result<Load, Unknown>,
    machine: Pressure,
    group: Pressure,
    memory: Result<cgroup::CgroupMemory, Unknown>,
    pids: Result<cgroup::CgroupPids, Unknown>,
    cpus: Result<Option<f64>, Unknown>,
}

impl HostReading {
    /// Reads the figures. Blocks for some file accesses.
    pub(crate) fn take() -> Self {
        let cgroup = Cgroup::of_this_process();
        Self {
            load: Load::of_machine(),
            machine: Pressure::of_machine(),
            group: cgroup.pressure(),
            memory: cgroup.memory(),
            pids: cgroup.pids(),
            cpus: cgroup.cpus(),
        }
    }

    /// Adds the figures to the readings.
    pub(crate) fn write(&self, out: &mut Exposition) {
        if let Ok(load) = self.load {
            for (minutes, load) in [
                ("1", load.one_minute),
                ("5", load.five_minutes),
                ("15", load.fifteen_minutes),
            ] {
                out.number(&table::HOST_LOAD, [minutes], load);
            }
        }
        for (of, pressure) in [("machine", &self.machine), ("cgroup", &self.group)] {
            for (resource, stalls) in pressure.resources() {
                let Ok(stalls) = stalls else { continue };
                write_stall([of, resource, "some"], stalls.some, out);
                if let Some(full) = stalls.full {
                    write_stall([of, resource, "full"], full, out);
                }
            }
        }
        self.write_limits(out);
    }

    fn write_limits(&self, out: &mut Exposition) {
        let (memory, pids) = (self.memory.ok(), self.pids.ok());
        for (metric, value) in [
            (
                &table::CGROUP_MEMORY,
                memory.map(|memory| memory.used_bytes),
            ),
            (
                &table::CGROUP_WORKING_SET,
                memory.map(|memory| memory.working_set_bytes),
            ),
            (
                &table::CGROUP_MEMORY_LIMIT,
                memory.and_then(|memory| memory.limit_bytes),
            ),
            (&table::CGROUP_PIDS, pids.map(|pids| pids.used)),
            (&table::CGROUP_PIDS_LIMIT, pids.and_then(|pids| pids.limit)),
        ] {
            if let Some(value) = value {
                out.gauge(metric, value);
            }
        }
        if let Ok(Some(cpus)) = self.cpus {
            out.number(&table::CGROUP_CPUS, NO_LABELS, cpus);
        }
    }
}

fn write_stall(labels: [&'static str; 3], stall: Stall, out: &mut Exposition) {
    out.number(&table::HOST_STALLED, labels, stall.total.as_secs_f64());
    out.number(&table::HOST_PRESSURE, labels, stall.avg10_percent / 100.0);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::host::pressure::Stalls;

    #[test]
    fn figures_that_are_known_are_told_and_others_left_out() {
        let stall = |avg10_percent, ms| Stall {
            avg10_percent,
            total: Duration::from_millis(ms),
        };
        let mut reading = HostReading {
            load: Err(Unknown::Absent),
            machine: Pressure::ABSENT,
            group: Pressure::ABSENT,
            memory: Err(Unknown::AuthFailure),
            pids: Err(Unknown::Absent),
            cpus: Ok(None),
        };
        let text = |reading: &HostReading| {
            let mut out = Exposition::default();
            reading.write(&mut out);
            out.into_text().unwrap()
        };
        let lines = |reading: &HostReading| {
            let text = text(reading);
            let of_host =
                |line: &&str| line.starts_with("deia_host") || line.starts_with("deia_cgroup");
            text.lines()
                .filter(of_host)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(&reading), [""; 0]);
        reading.load = Ok(Load {
            one_minute: 0.25,
            five_minutes: 1.5,
            fifteen_minutes: 2.0,
        });
        reading.machine.memory = Ok(Stalls {
            some: stall(12.5, 1_500),
            full: None,
        });
        reading.group.io = Ok(Stalls {
            some: stall(2.0, 10),
            full: Some(stall(1.0, 5)),
        });
        reading.memory = Ok(cgroup::CgroupMemory {
            used_bytes: 9,
            working_set_bytes: 7,
            limit_bytes: Some(12),
        });
        reading.pids = Ok(cgroup::CgroupPids {
            used: 3,
            limit: None,
        });
        reading.cpus = Ok(Some(1.5));
        let lines = lines(&reading);
        for line in [
            "deia_host_load{minutes=\"15\"} 2.0",
            "deia_host_stalled_seconds_total{of=\"machine\",resource=\"memory\",work=\"some\"} 1.5",
            "deia_host_pressure_ratio{of=\"machine\",resource=\"memory\",work=\"some\"} 0.125",
            "deia_host_pressure_ratio{of=\"cgroup\",resource=\"io\",work=\"full\"} 0.01",
            "deia_cgroup_memory_bytes 9",
            "deia_cgroup_memory_working_set_bytes 7",
            "deia_cgroup_memory_limit_bytes 12",
            "deia_cgroup_pids 3",
            "deia_cgroup_cpus 1.5",
        ] {
            assert!(
                lines.iter().any(|found| found == line),
                "{line}\n{lines:#?}"
            );
        }
        assert_eq!(lines.len(), 3 + 2 * 3 + 5, "{lines:#?}");
    }

    #[test]
    fn this_host_is_read() {
        assert!(HostReading::take().load.is_ok());
    }
}
