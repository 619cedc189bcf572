//! Table of all metrics of `GET /metrics`, by name.

use std::fmt::Write as _;

/// Kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that only grows, from 0 at the start of the process.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Counts by size, with the sum.
    Histogram,
    /// A constant 1 whose labels carry the information.
    Info,
}

impl Kind {
    /// Returns the name in the text format of Prometheus.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// A row of the table: a family of series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Full name; histograms get the suffixes `_bucket`, `_sum` and `_count`.
    pub name: &'static str,
    /// Kind of the metric.
    pub kind: Kind,
    /// Labels of the metric, in order.
    pub labels: &'static [&'static str],
    /// Description, a sentence without its full stop.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($title:literal { $($name:ident = $kind:ident $text:literal [$($label:literal),*] $help:literal;)* })*) => {
        $($(
            #[doc = $help]
            pub const $name: Metric = Metric {
                name: $text,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*)*

        /// Every row, by topic.
        pub const TABLE: &[(&str, &[Metric])] = &[$(($title, &[$($name),*])),*];
    };
}

metrics! {
    "HTTP" {
        HTTP_REQUESTS = Counter "deia_http_requests_total" ["route", "method", "status"]
            "Answered requests by route template and class of the status";
        HTTP_DURATION = Histogram "deia_http_request_duration_seconds" ["route", "method"]
            "Time from the head of a request to its answer; long polls include their waiting time";
        HTTP_IN_FLIGHT = Gauge "deia_http_requests_in_flight" []
            "Requests that are being handled";
        HTTP_PROBLEMS = Counter "deia_http_problems_total" ["code"]
            "Requests that were refused or failed, by the code in the catalogue of errors";
        HTTP_ADMITTED_SHARE = Gauge "deia_http_admitted_ranks_ratio" ["waits_for"]
            "Share of the ranks of requests that are admitted, by what requests wait for: 1 unless they wait too long";
        HTTP_MEAN_WAIT = Gauge "deia_http_mean_wait_seconds" ["waits_for"]
            "Mean wait of requests for their turn in the last window, by what they wait for (server.admission.overload)";
        HTTP_SHED = Counter "deia_http_shed_total" []
            "Requests that were refused because requests wait too long";
    }
    "Tasks" {
        TASKS = Gauge "deia_tasks" ["status"]
            "Tasks in the store by status";
        QUEUE_TASKS = Gauge "deia_queue_tasks" ["type", "priority", "status"]
            "Unfinished tasks by type, priority and status";
        QUEUE_OLDEST = Gauge "deia_queue_oldest_task_age_seconds" []
            "Age of the ready task that has waited longest; 0 when none waits";
        QUEUE_PAUSES = Gauge "deia_queue_pauses" []
            "Pauses in force: of the whole queue, or of a type";
        ATTEMPTS = Counter "deia_task_attempts_total" ["end"]
            "Recorded ends of attempts: succeeded, failed, cancelled, bot_died (the task took its bot down), suspected (the bot went down while it ran several tasks), hive_died, given_back, or bot_fault (the bot or the host could not carry it out)";
        ATTEMPT_REPORTS_STALE = Counter "deia_task_stale_reports_total" []
            "Reports of attempts whose lease was no longer in force; they change nothing";
        ATTEMPT_DURATION = Histogram "deia_task_attempt_duration_seconds" ["priority"]
            "Duration of attempts that succeeded or failed";
        TASK_WAIT = Histogram "deia_task_wait_seconds" ["priority"]
            "Time for which tasks were ready before an attempt began";
        TASKS_SUBMITTED = Counter "deia_tasks_submitted_total" ["type", "priority"]
            "Accepted tasks";
        TASKS_STARTED = Counter "deia_tasks_started_total" ["type", "priority"]
            "Attempts that began";
        TASKS_COMPLETED = Counter "deia_tasks_completed_total" ["type", "priority"]
            "Tasks that completed";
        TASKS_FAILED = Counter "deia_tasks_failed_total" ["type", "priority"]
            "Tasks that failed for good, poison included";
        TASKS_DEAD = Counter "deia_tasks_dead_total" ["type", "priority"]
            "Tasks that failed as poison: they took down their bot, or the hive, too often";
        TASKS_CANCELLED = Counter "deia_tasks_cancelled_total" ["type", "priority"]
            "Tasks that were cancelled";
        TASKS_RETRIED = Counter "deia_tasks_retried_total" ["type", "priority"]
            "Attempts that failed and are followed by another";
        TASKS_RETURNED = Counter "deia_tasks_returned_total" ["type", "priority"]
            "Attempts that were given back, that their bot could not carry out, or whose bot or hive went down";
    }
    "Outputs of tasks" {
        OUTPUTS_BYTES = Gauge "deia_task_outputs_bytes" []
            "Size of the outputs in the data directory";
        OUTPUTS_LIMIT_BYTES = Gauge "deia_task_outputs_limit_bytes" []
            "Size that they may have together (tasks.max_outputs_bytes); 0 when there is no limit";
        OUTPUTS_REMOVED = Counter "deia_task_outputs_removed_total" []
            "Outputs of ended attempts that were removed for that limit";
    }
    "Store" {
        STORE_COMMANDS = Counter "deia_store_commands_total" ["result"]
            "Commands to the store: applied, refused (in conflict with the stored state), full (no space on the disk), busy (too many wait already) or failed";
        STORE_COMMIT_COMMANDS = Histogram "deia_store_commit_commands" []
            "Commands that shared one commit";
        STORE_COMMIT_DURATION = Histogram "deia_store_commit_duration_seconds" []
            "Time to apply a group of commands and sync it to the disk";
        STORE_QUEUE = Gauge "deia_store_queue_commands" []
            "Commands that wait for the writer";
        STORE_QUEUE_LIMIT = Gauge "deia_store_queue_limit_commands" []
            "Commands that may wait for the writer (store.queue_max)";
        STORE_WAL_PAGES = Gauge "deia_store_wal_pages" []
            "Pages in the write-ahead log after the last commit";
        STORE_CHECKPOINTS = Counter "deia_store_checkpoints_total" ["result"]
            "Checkpoints of the write-ahead log: done or failed";
        STORE_READS = Counter "deia_store_reads_total" ["result"]
            "Reads of the store: done, busy (too many wait already) or failed";
        STORE_READ_DURATION = Histogram "deia_store_read_duration_seconds" []
            "Time from asking for a read to its end, waiting included";
        STORE_UNREADABLE = Counter "deia_store_unreadable_rows_total" []
            "Times that a row was skipped because this version cannot decode it; the log names the row";
        STORE_SIZE = Gauge "deia_store_size_bytes" ["file"]
            "Size of the store's files: database and wal";
        STORE_EVENTS = Counter "deia_store_events_total" []
            "Events ever recorded in the event log; keeps counting through restarts";
        STORE_EVENTS_BYTES = Gauge "deia_store_events_bytes" []
            "Bytes that the kept events take, an estimate (events.max_bytes)";
        FOLLOWER_LAG_EVENTS = Gauge "deia_follower_lag_events" ["follower"]
            "Events that a follower of the event log has not read yet";
        FOLLOWER_LAG_SECONDS = Gauge "deia_follower_lag_seconds" ["follower"]
            "Age of the oldest event that a follower has not read yet";
    }
    "Audit trail" {
        AUDIT_ENTRIES = Gauge "deia_audit_entries" []
            "Entries of the audit trail that a checkpoint covers";
        AUDIT_LAG_EVENTS = Gauge "deia_audit_lag_events" []
            "Events that wait for their entries";
        AUDIT_LAG = Gauge "deia_audit_lag_seconds" []
            "Age of the oldest event that waits for its entry";
        AUDIT_INDEX_LAG = Gauge "deia_audit_index_lag_entries" []
            "Entries that the index of the audit trail does not have yet";
        AUDIT_CHECKPOINTS = Counter "deia_audit_checkpoints_total" []
            "Checkpoints signed since the start";
        AUDIT_MISSED = Counter "deia_audit_events_missed_total" []
            "Events that were removed before they were entered, since the start";
        AUDIT_FAILING = Gauge "deia_audit_failing" []
            "1 while the trail cannot be written, and administrative changes are refused";
    }
    "Messages" {
        MESSAGES = Counter "deia_messages_total" ["step"]
            "Messages between bots: sent, delivered (repeated deliveries included) and read";
    }
    "Webhooks" {
        WEBHOOK_ENDPOINTS = Gauge "deia_webhook_endpoints" []
            "Endpoints that are enabled";
        WEBHOOK_ENDPOINTS_ACTIVE = Gauge "deia_webhook_endpoints_active" []
            "Endpoints that have work now";
        WEBHOOK_EVENTS_MATCHED = Counter "deia_webhook_events_matched_total" []
            "Events times endpoints that they matched, since the start";
        WEBHOOK_EVENTS_MISSED = Counter "deia_webhook_events_missed_total" []
            "Events that retention deleted before an endpoint had read them, since the start";
        WEBHOOK_ATTEMPTS = Counter "deia_webhook_attempts_total" ["outcome"]
            "Attempts at deliveries, delivered or failed, since the start";
    }
    "Alerts" {
        ALERTS_OPEN = Gauge "deia_alerts_open" ["name"]
            "Open alerts, as of the last look (alerts.look_every)";
        ALERTS_RAISED = Counter "deia_alerts_raised_total" []
            "Alerts raised since the start";
    }
    "Degradation" {
        DEGRADATION_LEVEL = Gauge "deia_degradation_level" ["of"]
            "Level at which features are shed, 0 to 4: in force, as the signals demand (signals), as an operator has set it (operator, while there is one)";
        DEGRADATION_CHANGES = Counter "deia_degradation_level_changes_total" []
            "Changes of the level in force since the start";
        DEGRADATION_SIGNAL = Gauge "deia_degradation_signal" ["signal"]
            "Last value of a signal, in the unit of its first setting (degradation.*); missing sensors are left out";
        DEGRADATION_OVER = Gauge "deia_degradation_signal_over" ["signal"]
            "1 if the signal is over the value at which it trips, else 0; missing sensors are left out";
        DEGRADATION_TRIPPED = Gauge "deia_degradation_signal_tripped" ["signal"]
            "1 if the signal has raised the level and the level is not normal again, else 0";
        DEGRADATION_DECISION = Histogram "deia_degradation_decision_seconds" []
            "Time of one decision about the level";
        FEATURE_ON = Gauge "deia_feature_on" ["feature"]
            "1 if the feature is on, 0 if it is shed, suspended or down; features that this version does not have are left out";
    }
    "Settings" {
        SETTINGS_VERSION = Gauge "deia_settings_version" []
            "Version of the settings in force";
        SETTINGS_CHANGES = Counter "deia_settings_changes_total" ["outcome"]
            "Changes of settings since the start: applied, refused, or taken back";
    }
    "Recovery" {
        RECOVERY_EXPOSURE = Gauge "deia_recovery_exposure_seconds" []
            "Age of the oldest commit that is not in the archive; 0 if the archive has all, no sample without an archive";
        RECOVERY_POINTS = Gauge "deia_recovery_points" []
            "Restore points in the archive";
        RECOVERY_ARCHIVE_BYTES = Gauge "deia_recovery_archive_bytes" []
            "Size of the archive, as of the last restore point that was made by itself";
        RECOVERY_PARTS = Counter "deia_recovery_parts_total" []
            "Parts of the log that were written to the archive";
        RECOVERY_FAILURES = Counter "deia_recovery_failures_total" []
            "Writes to the archive that failed";
        RECOVERY_GENERATIONS = Counter "deia_recovery_generations_total" []
            "Generations of the archive that began since the start";
        RECOVERY_POINTS_MADE = Counter "deia_recovery_points_made_total" []
            "Restore points that were made since the start";
        RECOVERY_RESTORE_SECONDS = Gauge "deia_recovery_restore_seconds" []
            "Duration of the last restore for practice that succeeded; no sample before the first";
        RECOVERY_RESTORE_ESTIMATE = Gauge "deia_recovery_restore_estimate_seconds" []
            "Time that a restore of the newest point would take, by that restore and the growth of the database since";
        RECOVERY_VERIFIED_AT = Gauge "deia_recovery_verified_timestamp_seconds" []
            "Time of that restore, in seconds since 1970";
        RECOVERY_DAMAGED = Gauge "deia_recovery_damaged_objects" []
            "Objects of the archive that are known not to be sound";
    }
    "Live stream" {
        STREAM_CLIENTS = Gauge "deia_stream_clients" []
            "Clients that follow the live stream now";
        STREAM_EVENTS = Counter "deia_stream_events_total" []
            "Events sent to clients of the live stream; an event that is sent to two clients counts twice";
        STREAM_CUT = Counter "deia_stream_clients_cut_total" ["reason"]
            "Streams that the hive ended: slow (stream.slow_client_after), access (the caller lost or changed its access), suspended or failed";
        STREAM_GAPS = Counter "deia_stream_gaps_total" []
            "Times that a client got deia.gap because it missed events";
        STREAM_BUFFER_BYTES = Gauge "deia_stream_buffer_bytes" []
            "Memory taken by the newest events (stream.buffer_bytes); 0 without clients";
        STREAM_LOG_READS = Counter "deia_stream_log_reads_total" []
            "Reads of the event log for clients behind the buffer";
    }
    "Scheduler" {
        SCHEDULER_LANES = Gauge "deia_scheduler_lanes" []
            "Lanes of the scheduler: pairs of type and priority with ready tasks";
        SCHEDULER_WINDOW = Gauge "deia_scheduler_window_tasks" []
            "Ready tasks that the scheduler holds in memory";
        SCHEDULER_CLAIMING = Gauge "deia_scheduler_claiming_tasks" []
            "Tasks whose claim was sent to the store and is not answered yet";
        SCHEDULER_CLAIMS = Counter "deia_scheduler_claims_total" ["result"]
            "Claim commands: done or failed (retried)";
        SCHEDULER_ASSIGNED = Counter "deia_scheduler_assigned_tasks_total" []
            "Tasks that were assigned to a bot";
        SCHEDULER_LOST = Counter "deia_scheduler_lost_tasks_total" []
            "Assigned tasks that were no longer ready when they were claimed";
    }
    "Bots" {
        BOTS = Gauge "deia_bots" ["status"]
            "Bots by status";
        BOTS_LAUNCHED = Gauge "deia_bots_launched" []
            "Launched bots";
        BOT_UP = Gauge "deia_bot_up" ["bot"]
            "1 if a bot carries out tasks, 0 if not: offline, starting, failing or stopped";
        BOT_FAULTS = Gauge "deia_bot_faults_in_a_row" ["bot"]
            "Tasks in a row that a bot could not carry out for a reason of its own or its host's";
        BOT_CIRCUIT_OPEN = Gauge "deia_bot_circuit_open" ["bot"]
            "1 if the circuit of a bot is open or half-open, as it failed too often; 0 if it is closed";
        BOT_CPU = Gauge "deia_bot_cpu_ratio" ["bot"]
            "Processors that the programs of a bot use, as measured last: 1 is one whole processor";
        BOT_MEMORY = Gauge "deia_bot_memory_bytes" ["bot"]
            "Resident memory of the programs of a bot and all that they started";
        BOT_DESCRIPTORS = Gauge "deia_bot_open_descriptors" ["bot"]
            "Open descriptors of the programs of a bot and all that they started";
        BOT_PROCESSES = Gauge "deia_bot_processes" ["bot"]
            "Processes of the programs of a bot, with all that they started";
        BOT_ATTEMPTS = Gauge "deia_bot_attempts" ["bot", "end"]
            "Attempts of a bot since it was added or replaced, by end: completed or failed";
        BOTS_IN_HAND = Gauge "deia_bots_tasks_in_hand" []
            "Tasks that all bots together are running";
        BOTS_PROGRAMS = Gauge "deia_bots_programs_running" []
            "Programs of bots that run now";
        BOTS_WORKER_GARBAGE = Counter "deia_bots_worker_garbage_lines_total" []
            "Lines of worker programs that were not of the protocol";
        BOTS_LOG_BYTES = Counter "deia_bots_log_bytes_total" []
            "Bytes written to the logs of bots";
        BOTS_LOG_DROPPED = Counter "deia_bots_log_dropped_lines_total" []
            "Lines of bots' logs that were dropped because the disk did not keep up";
    }
    "Supervision" {
        CHILDREN = Gauge "deia_supervision_children" ["path", "state"]
            "Children of the supervision tree by state; bots are taken together";
        CHILD_MAILBOX = Gauge "deia_supervision_mailbox_messages" ["path"]
            "Messages that wait for a child";
        CHILD_BUSY = Gauge "deia_supervision_busy_ratio" ["path"]
            "Share of the time since its start that a child has spent working, an estimate; for bots the highest share";
        ARBITER_BUSY = Gauge "deia_supervision_arbiter_busy_ratio" ["arbiter"]
            "Share of the last second or more that the actors on a thread have spent working, an estimate";
        ARBITER_CHILDREN = Gauge "deia_supervision_arbiter_children" ["arbiter"]
            "Actors that run on a thread";
        ARBITER_BLOCKED = Gauge "deia_supervision_arbiter_blocked" ["arbiter"]
            "1 while a call blocks a thread for longer than the watchdog allows";
        CHILD_RESTARTS = Counter "deia_supervision_restarts_total" ["path"]
            "Restarts of a child after it had ended by itself";
        CHILD_EXITS = Counter "deia_supervision_exits_total" ["path", "reason"]
            "Ends of a child by reason: normal, shutdown, panicked, failed, start_failed, gave_up, killed or stuck";
        TREE_MISSED = Counter "deia_supervision_missed_events_total" []
            "Events of the tree that arrived faster than they were read; restarts and exits do not count them";
    }
    "Process" {
        BUILD = Info "deia_build_info" ["version", "profile"]
            "Version and build profile of the server";
        READY = Gauge "deia_ready" []
            "1 while the hive accepts submissions and can commit them, as /readyz says; else 0";
        LOG_DROPPED = Counter "deia_log_lines_dropped_total" []
            "Lines of the server's log that were dropped: more waited than logging.max_pending_bytes, or standard error failed";
        DISK_FREE = Gauge "deia_data_dir_free_bytes" []
            "Free space on the data directory's file system";
        DISK_SIZE = Gauge "deia_data_dir_size_bytes" []
            "Size of the data directory's file system";
        CPU = Counter "process_cpu_seconds_total" []
            "User and system time of the server, its bots' programs not included";
        RESIDENT = Gauge "process_resident_memory_bytes" []
            "Resident memory of the server";
        VIRTUAL = Gauge "process_virtual_memory_bytes" []
            "Virtual memory of the server";
        OPEN_FDS = Gauge "process_open_fds" []
            "Open file descriptors";
        MAX_FDS = Gauge "process_max_fds" []
            "File descriptors that may be open";
        THREADS = Gauge "process_threads" []
            "Threads";
        STARTED = Gauge "process_start_time_seconds" []
            "Start time of the process, in seconds since 1970; a restart in place keeps the process";
    }
    "Audit" {
        API_CALLS = Counter "deia_audit_api_calls_total" ["result"]
            "Requests that audit.api_calls has chosen: recorded, or lost because more arrived than could be written";
    }
    "Host" {
        HOST_LOAD = Gauge "deia_host_load" ["minutes"]
            "Load average of the machine over 1, 5 and 15 minutes";
        HOST_PRESSURE = Gauge "deia_host_pressure_ratio" ["of", "resource", "work"]
            "Share of the last 10 seconds in which some or all work waited for cpu, memory or io (PSI); of the machine, and of the server's cgroup with cgroup version 2";
        HOST_STALLED = Counter "deia_host_stalled_seconds_total" ["of", "resource", "work"]
            "Time in which some or all work waited for cpu, memory or io (PSI); counts from the start of the machine or of the cgroup";
        CGROUP_MEMORY = Gauge "deia_cgroup_memory_bytes" []
            "Memory charged to the server's cgroup, or to the one above it that has the least room left";
        CGROUP_WORKING_SET = Gauge "deia_cgroup_memory_working_set_bytes" []
            "The same memory without files that were not read lately, which the kernel drops first";
        CGROUP_MEMORY_LIMIT = Gauge "deia_cgroup_memory_limit_bytes" []
            "Limit of that memory; absent when there is none";
        CGROUP_CPUS = Gauge "deia_cgroup_cpus" []
            "Processors whose time the server's cgroup may use; absent when there is no limit";
        CGROUP_PIDS = Gauge "deia_cgroup_pids" []
            "Processes and threads in the server's cgroup, or in the one above it that has the least room left";
        CGROUP_PIDS_LIMIT = Gauge "deia_cgroup_pids_limit" []
            "Limit of those processes and threads; absent when there is none";
    }
}

/// Iterates over every row.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    TABLE.iter().flat_map(|(_, rows)| rows.iter())
}

/// Returns the table as a page: `docs/METRICS.md`.
pub fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         `GET /metrics` with a key that has `sys:health` answers in the OpenMetrics text format, which\n\
         Prometheus reads. This page is generated from the definitions. How to scrape, and what to alert\n\
         on, is in [OPERATIONS](OPERATIONS.md#metrics).\n\n\
         Labels are bounded: routes are templates, never paths; the first 1,000 bots by name have series of their own;\n\
         the first 100 types of tasks have series of their own, the others are\n\
         `(other)`. No label holds an id, a user or a secret. Counters begin at 0 with each start of the process, unless said otherwise.\n",
    );
    for (title, rows) in TABLE {
        let _ = write!(
            page,
            "\n## {title}\n\n| name | type | labels | meaning |\n|---|---|---|---|\n"
        );
        for row in *rows {
            let labels: Vec<String> = row.labels.iter().map(|l| format!("`{l}`")).collect();
            let (name, kind) = (row.name, row.kind.as_str());
            let _ = writeln!(
                page,
                "| `{name}` | {kind} | {} | {} |",
                labels.join(", "),
                row.help
            );
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_single_and_follow_the_conventions() {
        let mut seen = std::collections::HashSet::new();
        for metric in all() {
            let name = metric.name;
            assert!(seen.insert(name), "{name} is there twice");
            assert!(
                name.starts_with("deia_") || name.starts_with("process_"),
                "{name}"
            );
            let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(
                plain(name) && metric.labels.iter().all(|l| plain(l)),
                "{name}"
            );
            assert_eq!(
                metric.kind == Kind::Counter,
                name.ends_with("_total"),
                "{name}"
            );
            assert_eq!(metric.kind == Kind::Info, name.ends_with("_info"), "{name}");
            for unit in ["_ms", "_millis", "_kb", "_percent", "_minutes"] {
                assert!(!name.contains(unit), "{name}: base units only");
            }
            assert!(!metric.help.ends_with('.'), "{name}");
            assert!(!metric.help.contains(['|', '\n', '\\']), "{name}");
        }
    }
}
