//! This process and its files.

use super::{Exposition, exposition::NO_LABELS, table};
use crate::host::{DiskSpace, process::Usage};

/// Figures of this process and its files. Unknown figures are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ProcessReading {
    usage: Usage,
    disk: Option<DiskSpace>,
    database_bytes: Option<u64>,
    wal_bytes: Option<u64>,
}

impl ProcessReading {
    /// Reads the figures. Blocks for some file accesses.
    pub(crate) fn take(database: &std::path::Path) -> Self {
        let size = |path: &std::path::Path| path.metadata().ok().map(|data| data.len());
        let mut wal = database.as_os_str().to_owned();
        wal.push("-wal");
        Self {
            usage: Usage::of_this_process(),
            disk: database.parent().and_then(|dir| DiskSpace::of(dir).ok()),
            database_bytes: size(database),
            wal_bytes: size(wal.as_ref()),
        }
    }

    /// Adds the figures to the readings.
    pub(crate) fn write(&self, out: &mut Exposition) {
        for (metric, value) in [
            (&table::THREADS, self.usage.threads),
            (&table::VIRTUAL, self.usage.virtual_bytes),
            (&table::RESIDENT, self.usage.resident_bytes),
            (&table::OPEN_FDS, self.usage.open_descriptors),
            (&table::MAX_FDS, self.usage.max_descriptors),
            (&table::DISK_FREE, self.disk.map(|disk| disk.free_bytes)),
            (&table::DISK_SIZE, self.disk.map(|disk| disk.bytes)),
        ] {
            if let Some(value) = value {
                out.gauge(metric, value);
            }
        }
        for (metric, value) in [
            (&table::CPU, self.usage.cpu_seconds),
            (&table::STARTED, self.usage.started_at_seconds),
        ] {
            if let Some(value) = value {
                out.number(metric, NO_LABELS, value);
            }
        }
        for (file, size) in [("database", self.database_bytes), ("wal", self.wal_bytes)] {
            out.count(&table::STORE_SIZE, [file], size.unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_not_there_have_no_size() {
        let reading = ProcessReading::take(std::path::Path::new("/there/is/none.db"));
        assert_eq!(reading.database_bytes, None);
        assert_eq!(reading.disk, None);
        assert!(reading.usage.threads.is_some());
    }
}
