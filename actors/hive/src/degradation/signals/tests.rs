use super::*;
use crate::{config::Config, degradation::fixtures::calm};

const GIB: u64 = 1 << 30;

fn policy() -> DegradationSettings {
    *Config::defaults().unwrap().degradation
}

fn state(signal: SignalName, change: impl FnOnce(&mut Measured)) -> SignalState {
    let mut measured = calm();
    change(&mut measured);
    state_of(signal, &measured, &policy())
}

#[test]
fn values_trip_and_clear_as_in_the_table_of_the_settings() {
    use SignalState::{Between, Clear, Over};
    for (percent, expected) in [
        (70.0, Clear),
        (70.1, Between),
        (84.9, Between),
        (85.0, Over),
    ] {
        let found = state(SignalName::Memory, |it| it.memory_percent = Ok(percent));
        assert_eq!(found, expected, "memory {percent}");
    }
    for (percent, expected) in [(3.0, Clear), (9.9, Between), (10.0, Over)] {
        let found = state(SignalName::MemoryStall, |it| {
            it.memory_stall_percent = Ok(percent);
        });
        assert_eq!(found, expected, "memory stall {percent}");
    }
    for (percent, expected) in [(15.0, Clear), (39.0, Between), (40.0, Over)] {
        let found = state(SignalName::IoStall, |it| it.io_stall_percent = Ok(percent));
        assert_eq!(found, expected, "io stall {percent}");
    }
    for (percent, expected) in [(75.0, Clear), (80.0, Between), (90.0, Over)] {
        let found = state(SignalName::Descriptors, |it| {
            it.descriptors_percent = Ok(percent);
        });
        assert_eq!(found, expected, "descriptors {percent}");
    }
    for (seconds, expected) in [(10, Clear), (11, Between), (60, Over)] {
        let lag = Ok(Duration::from_secs(seconds));
        let found = state(SignalName::AuditLag, |it| it.audit_lag = lag);
        assert_eq!(found, expected, "lag {seconds}");
    }
}

#[test]
fn busy_processors_trip_only_together_with_slow_commits() {
    use SignalState::{Between, Clear, Over, Unknown};
    for (cpu, p99_ms, expected) in [
        (Ok(99.0), Ok(5), Clear),
        (Ok(5.0), Ok(900), Clear),
        (Ok(99.0), Ok(20), Clear),
        (Ok(30.0), Ok(900), Clear),
        (Ok(99.0), Ok(49), Between),
        (Ok(59.0), Ok(900), Between),
        (Ok(60.0), Ok(50), Over),
        (Err(()), Ok(900), Unknown),
        (Ok(99.0), Err(()), Unknown),
    ] {
        let found = state(SignalName::CpuAndCommits, |it| {
            it.cpu_stall_percent = cpu.map_err(|()| "absent".into());
            it.commit_p99 = p99_ms
                .map(Duration::from_millis)
                .map_err(|()| "absent".into());
        });
        assert_eq!(found, expected, "{cpu:?} {p99_ms:?}");
    }
}

#[test]
fn disk_is_short_by_share_or_by_size() {
    use SignalState::{Between, Clear, Over};
    for (free, bytes, expected) in [
        (50 * GIB, 100 * GIB, Clear),
        (15 * GIB, 100 * GIB, Clear),
        (12 * GIB, 100 * GIB, Between),
        (9 * GIB, 100 * GIB, Over),
        // A quarter of the disk is less than trip_bytes: a small disk with room is not short.
        (GIB / 2, GIB, Clear),
        (GIB * 3 / 10, GIB, Between),
        (GIB / 5, GIB, Over),
        // The size is more than the share.
        (GIB * 9 / 10, 5 * GIB, Over),
        (GIB * 12 / 10, 5 * GIB, Between),
        (2 * GIB, 5 * GIB, Clear),
        (0, 0, Over),
    ] {
        let disk = DiskSpace {
            free_bytes: free,
            bytes,
        };
        let found = of_disk(disk, policy().disk_free);
        let expected = if bytes == 0 { Clear } else { expected };
        assert_eq!(found, expected, "{disk:?}");
    }
}

#[test]
fn size_of_zero_leaves_the_share_alone() {
    let limits = DiskSignal {
        trip_bytes: bytesize::ByteSize(0),
        ..policy().disk_free
    };
    for (free, expected) in [
        (5, SignalState::Over),
        (12, SignalState::Between),
        (16, SignalState::Clear),
    ] {
        let disk = DiskSpace {
            free_bytes: free << 10,
            bytes: 100 << 10,
        };
        assert_eq!(of_disk(disk, limits), expected, "{free}");
    }
}

#[test]
fn few_bots_do_not_count() {
    use SignalState::{Between, Clear, Over};
    for (healthy, wanted, expected) in [
        (0, 0, Clear),
        (0, 3, Clear),
        (1, 4, Over),
        (2, 4, Between),
        (3, 4, Between),
        (4, 4, Clear),
        (8, 10, Clear),
        (49, 100, Over),
    ] {
        let bots = BotCount { healthy, wanted };
        assert_eq!(of_bots(bots, policy().healthy_bots), expected, "{bots:?}");
    }
}

#[test]
fn missing_sensor_is_unknown() {
    let nothing = crate::degradation::fixtures::blind();
    for signal in SignalName::ALL {
        let found = state_of(*signal, &nothing, &policy());
        assert_eq!(found, SignalState::Unknown, "{signal:?}");
    }
    assert_eq!(
        state(SignalName::DiskFull, |it| it.is_disk_full = Ok(true)),
        SignalState::Over
    );
}
