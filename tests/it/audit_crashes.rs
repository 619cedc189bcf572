//! The audit trail under load when the process is killed, restarted in place, or cannot write:
//! it has every event exactly once, in order, and nothing privileged happens without it.

mod closed;
mod full_disk;
mod kills;
mod load;
mod restarts;
