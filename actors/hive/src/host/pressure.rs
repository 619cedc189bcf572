//! Pressure stall information (PSI): the time for which work waited for a resource.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use procfs::{PressureRecord, parse_pressure_record};

use super::Unknown;

/// Time in which work stood still for lack of a resource.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stall {
    /// Share of the last ten seconds, in percent.
    pub(crate) avg10_percent: f64,
    /// Total since boot, or since the cgroup was made.
    pub(crate) total: Duration,
}

impl From<PressureRecord> for Stall {
    fn from(record: PressureRecord) -> Self {
        Self {
            avg10_percent: super::hundredths(record.avg10),
            total: Duration::from_micros(record.total),
        }
    }
}

/// Pressure on one resource.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stalls {
    /// Time in which some of the work stood still.
    pub(crate) some: Stall,
    /// Time in which all of the work stood still. Kernels before 5.13 do not report it for the
    /// processors.
    pub(crate) full: Option<Stall>,
}

impl Stalls {
    fn read(path: &Path) -> Result<Self, Unknown> {
        let text = fs::read_to_string(path)?;
        let of = |kind: &str| {
            // The parser assumes at least five characters.
            let mut lines = text.lines().filter(|line| line.len() > kind.len());
            lines.find(|line| line.starts_with(kind))
        };
        let some = of("some").ok_or(Unknown::Unreadable)?;
        let full = of("full").map(parse_pressure_record).transpose()?;
        Ok(Self {
            some: parse_pressure_record(some)?.into(),
            full: full.map(Stall::from),
        })
    }
}

/// Pressure on the resources of the machine or of a cgroup.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pressure {
    /// Pressure on the processors.
    pub(crate) cpu: Result<Stalls, Unknown>,
    /// Pressure on the memory.
    pub(crate) memory: Result<Stalls, Unknown>,
    /// Pressure on the disks.
    pub(crate) io: Result<Stalls, Unknown>,
}

impl Pressure {
    /// Pressure if the kernel reports none.
    pub(crate) const ABSENT: Self = Self {
        cpu: Err(Unknown::Absent),
        memory: Err(Unknown::Absent),
        io: Err(Unknown::Absent),
    };

    /// Reads the pressure on the machine.
    pub(crate) fn of_machine() -> Self {
        Self::read(|resource| Path::new("/proc/pressure").join(resource))
    }

    /// Reads the pressure from the file that each of `cpu`, `memory` and `io` has.
    pub(super) fn read(path: impl Fn(&str) -> PathBuf) -> Self {
        let of = |resource| Stalls::read(&path(resource));
        Self {
            cpu: of("cpu"),
            memory: of("memory"),
            io: of("io"),
        }
    }

    /// Returns the resources by name.
    pub(crate) fn resources(&self) -> [(&'static str, Result<Stalls, Unknown>); 3] {
        [("cpu", self.cpu), ("memory", self.memory), ("io", self.io)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Stalls, Unknown> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cpu");
        fs::write(&path, text).unwrap();
        Stalls::read(&path)
    }

    #[test]
    fn file_is_read_with_and_without_full() {
        let some = "some avg10=4.50 avg60=0.91 avg300=0.00 total=681245\n";
        let full = "full avg10=2.10 avg60=0.12 avg300=0.00 total=391926\n";
        let expected = Stall {
            avg10_percent: 4.5,
            total: Duration::from_micros(681_245),
        };
        assert_eq!(read(some).unwrap().some, expected);
        assert_eq!(read(some).unwrap().full, None);
        let both = read(&format!("{some}{full}")).unwrap();
        assert_eq!(both.some, expected);
        let full = both.full.unwrap();
        assert_eq!(full.total, Duration::from_micros(391_926));
        assert!((full.avg10_percent - 2.1).abs() < 1e-9);
    }

    #[test]
    fn other_forms_are_unreadable() {
        for text in [
            "",
            "some",
            "some\nfull\n",
            "some x",
            "full avg10=2.10 avg60=0.12 avg300=0.00 total=391926\n",
            "some avg10=a avg60=0.91 avg300=0.00 total=1\n",
            "some avg10=4.50 avg60=0.91 avg300=0.00 total=1\nfull avg10\n",
        ] {
            assert_eq!(read(text), Err(Unknown::Unreadable), "{text}");
        }
        assert_eq!(
            Stalls::read(Path::new("/there/is/none")),
            Err(Unknown::Absent)
        );
        let absent = Pressure::read(|resource| Path::new("/there/is").join(resource));
        assert_eq!(absent, Pressure::ABSENT);
    }

    #[test]
    fn pressure_of_this_machine_is_read_or_absent() {
        for (resource, stalls) in Pressure::of_machine().resources() {
            match stalls {
                Ok(stalls) => assert!((0.0..=100.0).contains(&stalls.some.avg10_percent)),
                Err(why) => assert_ne!(why, Unknown::Unreadable, "{resource}"),
            }
        }
    }
}
