//! The table of routes: the one place that lists them.

use actix_web::http::Method;
use deia_model::{Action, Feature, Permission as P};

use crate::http::{
    api::{
        alerts, audit,
        audit::{export, tiles, verify},
        bots, config, degradation, events, health, keys, logs, messages, meta, metrics, outputs,
        queue, recovery, schemas, secrets, sessions, supervisors, system, task_sessions, tasks,
        users, webhooks,
        webhooks::{deliveries, replays},
        work,
    },
    guard::{
        class::RouteClass::{Admin, Read, Stream, Submit, Write},
        policy::{
            Access::{AnyKey, Needs, Open},
            RoutePolicy, fails_closed, in_read_only,
        },
    },
    route::{Leaves, Route, guarded, open},
    viewer,
};

/// Makes the rows of the table. The comment over a row is its summary in the OpenAPI
/// document; a row that is open to all has no class, since its budget is that of probes.
/// A row may name the feature that its requests need.
/// A row ends with the events of which a successful call leaves one, or with the reason
/// why it leaves none; rows that only read have neither.
macro_rules! routes {
    ($($tag:literal { $(
        $(#[doc = $summary:literal])+
        $method:ident $path:literal, $access:expr, $class:tt, $($handler:ident)::+, $id:literal
        $(, needs $feature:ident)? $(=> [$($event:ident),+])? $(, leaves $what:ident $(because $why:literal)?)?;
    )+ })+) => {
        vec![$($(
            Route {
                method: Method::$method,
                path: $path,
                access: $access,
                class: routes!(@class $class),
                needs: routes!(@needs $($feature)?),
                in_read_only: in_read_only(&Method::$method, $access, $path),
                leaves: routes!(@leaves $([$($event),+])? $($what $($why)?)?),
                tag: $tag,
                operation_id: $id,
                summary: concat!($($summary),+).trim_ascii(),
                description: $($handler)::+::description(),
                handler: routes!(@handler $class, $method, $path, $access, [$($feature)?], $($handler)::+),
            }
        ),+),+]
    };
    (@needs) => { None };
    (@needs $feature:ident) => { Some(Feature::$feature) };
    (@leaves) => { None };
    (@leaves [$($event:ident),+]) => { Some(Leaves::Events(&[$(Action::$event),+])) };
    (@leaves external) => { Some(Leaves::External) };
    (@leaves nothing $why:literal) => { Some(Leaves::Nothing($why)) };
    (@class -) => { None };
    (@class $class:ident) => { Some($class) };
    (@handler -, $method:ident, $path:literal, $access:expr, [], $($handler:ident)::+) => {
        open($($handler)::+)
    };
    (
        @handler $class:ident, $method:ident, $path:literal, $access:expr, [$($feature:ident)?],
        $($handler:ident)::+
    ) => {
        guarded(
            RoutePolicy {
                access: $access,
                class: $class,
                query: Some(&$($handler)::+::description().query),
                fails_closed: fails_closed(&Method::$method, $access, $path),
                in_read_only: in_read_only(&Method::$method, $access, $path),
                needs: routes!(@needs $($feature)?),
            },
            $($handler)::+,
        )
    };
}

/// Every route, the hot ones first; rows of one path stand together.
#[rustfmt::skip]
pub fn table() -> Vec<Route> {
    routes! {
        // method path                                     access                  class   handler                  operation                events
        "tasks" {
            /// Submits a task. It is on disk when this is answered.
            POST   "/api/v1/tasks/submit",                    Needs(P::TaskSubmit),   Submit, tasks::submit,           "submit_task" => [TaskSubmitted];
            /// Submits tasks, all or none.
            POST   "/api/v1/tasks/batch",                     Needs(P::TaskSubmit),   Submit, tasks::submit_batch,     "submit_tasks" => [TaskSubmitted];
            /// Reads the status of a task.
            GET    "/api/v1/tasks/{id}/status",               Needs(P::TaskRead),     Read,   tasks::status,           "get_task_status";
            /// Reads the result of a task; waits for it if asked to.
            GET    "/api/v1/tasks/{id}/result",               Needs(P::TaskRead),     Stream, tasks::result,           "get_task_result";
            /// Streams the output of a task.
            GET    "/api/v1/tasks/{id}/output",               Needs(P::TaskRead),     Stream, outputs::get,            "get_task_output";
            /// Takes a piece of the output of a task from its worker.
            POST   "/api/v1/tasks/{id}/output",               Needs(P::TaskWork),     Write,  work::output,            "append_task_output", leaves nothing because "it is a part of the attempt, whose end is recorded";
            /// Reads the log lines about a task.
            GET    "/api/v1/tasks/{id}/logs",                 Needs(P::SysLogsRead),  Read,   logs::of_task,           "get_task_logs";
            /// Cancels a task.
            POST   "/api/v1/tasks/{id}/cancel",               Needs(P::TaskCancel),   Write,  tasks::cancel,           "cancel_task" => [TaskCancelled, TaskCancelRequested];
            /// Takes a sign of life of the worker that holds a task.
            POST   "/api/v1/tasks/{id}/heartbeat",            Needs(P::TaskWork),     Write,  work::heartbeat,         "heartbeat_task", leaves nothing because "it is a sign of life; the end of the attempt is recorded";
            /// Records that a worker has completed a task.
            POST   "/api/v1/tasks/{id}/complete",             Needs(P::TaskWork),     Write,  work::complete,          "complete_task", leaves nothing because "the end is recorded as task.completed, whose actor is the bot";
            /// Records that a task failed at its worker.
            POST   "/api/v1/tasks/{id}/fail",                 Needs(P::TaskWork),     Write,  work::fail,              "fail_task", leaves nothing because "the end is recorded as task.failed or task.retrying, whose actor is the bot";
            /// Puts a task that has ended back into the queue, with all its attempts.
            POST   "/api/v1/tasks/{id}/retry",                Needs(P::TaskSubmit),   Submit, tasks::retry,            "retry_task" => [TaskRequeued];
            /// Erases the content of a task that has ended, and its results.
            DELETE "/api/v1/tasks/{id}/content",              Needs(P::TaskErase),    Write,  tasks::erase,            "erase_task" => [TaskErased];
            /// Reads the events of a task.
            GET    "/api/v1/tasks/{id}/events",               Needs(P::TaskRead),     Read,   tasks::events,           "list_task_events";
            /// Explains why a task has not started, or its state.
            GET    "/api/v1/tasks/{id}/explain",              Needs(P::TaskRead),     Read,   tasks::explain,          "explain_task";
            /// Reads a task.
            GET    "/api/v1/tasks/{id}",                      Needs(P::TaskRead),     Read,   tasks::get,              "get_task";
            /// Lists tasks.
            GET    "/api/v1/tasks",                           Needs(P::TaskRead),     Read,   tasks::list,             "list_tasks";
        }
        "alerts" {
            /// Lists alerts.
            GET    "/api/v1/alerts",                          Needs(P::AlertRead),    Read,   alerts::list,            "list_alerts";
            /// Notes that the caller takes care of an alert.
            POST   "/api/v1/alerts/{id}/acknowledge",         Needs(P::AlertAck),     Write,  alerts::acknowledge,     "acknowledge_alert" => [AlertAcknowledged];
        }
        "events" {
            /// Lists events, or follows them.
            GET    "/api/v1/events",                          Needs(P::EventRead),    Read,   events::list,            "list_events";
        }
        "bots" {
            /// Lists bots.
            GET    "/api/v1/bots",                            Needs(P::BotList),      Read,   bots::list,              "list_bots";
            /// Reads a bot.
            GET    "/api/v1/bots/{id}",                       Needs(P::BotRead),      Read,   bots::get,               "get_bot";
            /// Creates a bot, or replaces its specification.
            PUT    "/api/v1/bots/{id}",                       Needs(P::BotLaunch),    Write,  bots::put,               "put_bot" => [BotCreated, BotChanged];
            /// Removes a stopped bot.
            DELETE "/api/v1/bots/{id}",                       Needs(P::BotKill),      Write,  bots::delete,            "delete_bot" => [BotDeleted];
            /// Launches a bot.
            POST   "/api/v1/bots/{id}/launch",                Needs(P::BotLaunch),    Write,  bots::launch,            "launch_bot" => [BotLaunchRequested];
            /// Stops a bot.
            POST   "/api/v1/bots/{id}/stop",                  Needs(P::BotStop),      Write,  bots::stop,              "stop_bot" => [BotStopped];
            /// Drains a bot: it finishes its running tasks, and stops.
            POST   "/api/v1/bots/{id}/drain",                 Needs(P::BotStop),      Write,  bots::drain,             "drain_bot" => [BotDraining];
            /// Leases tasks for a remote worker.
            POST   "/api/v1/bots/{id}/lease",                 Needs(P::TaskWork),     Stream, work::lease,             "lease_tasks", leaves nothing because "tasks are started by the scheduler, which records it";
            /// Sends a line of text to the program of a bot.
            POST   "/api/v1/bots/{id}/input",                 Needs(P::BotAttach),    Write,  bots::input,             "send_bot_input" => [BotAttached];
            /// Reads the end of a bot's log, or follows it.
            GET    "/api/v1/bots/{id}/logs",                  Needs(P::SysLogsRead),  Stream, logs::get,               "get_bot_logs";
            /// Takes messages out of the inbox of a bot; waits for one if asked to.
            GET    "/api/v1/bots/{id}/inbox",                 Needs(P::MessageRead),  Stream, messages::inbox,         "take_bot_messages" => [MessageDelivered];
        }
        "sessions" {
            /// Starts a session: its tasks go to one bot.
            POST   "/api/v1/sessions",                        Needs(P::SessionManage), Write, task_sessions::start,    "start_task_session" => [SessionStarted];
            /// Lists sessions.
            GET    "/api/v1/sessions",                        Needs(P::SessionManage), Read,  task_sessions::list,     "list_task_sessions";
            /// Reads a session.
            GET    "/api/v1/sessions/{id}",                   Needs(P::SessionManage), Read,  task_sessions::get,      "get_task_session";
            /// Ends a session.
            POST   "/api/v1/sessions/{id}/end",               Needs(P::SessionManage), Write, task_sessions::end,      "end_task_session" => [SessionEnded];
        }
        "messages" {
            /// Sends a message to a bot. It is on disk when this is answered.
            POST   "/api/v1/messages",                        Needs(P::MessageSend),  Write,  messages::send,          "send_message" => [MessageSent];
            /// Lists messages between bots.
            GET    "/api/v1/messages",                        Needs(P::MessageRead),  Read,   messages::list,          "list_messages";
            /// Reads a message.
            GET    "/api/v1/messages/{id}",                   Needs(P::MessageRead),  Read,   messages::get,           "get_message";
            /// Notes that its receiver has read a message.
            POST   "/api/v1/messages/{id}/read",              Needs(P::MessageRead),  Write,  messages::read,          "read_message" => [MessageRead];
        }
        "secrets" {
            /// Lists stored secrets.
            GET    "/api/v1/secrets",                         Needs(P::AdminKeys),    Admin,  secrets::list,           "list_secrets";
            /// Stores a secret, or replaces its value.
            PUT    "/api/v1/secrets/{id}",                    Needs(P::AdminKeys),    Admin,  secrets::put,            "put_secret" => [SecretCreated, SecretChanged];
            /// Removes a secret from the store.
            DELETE "/api/v1/secrets/{id}",                    Needs(P::AdminKeys),    Admin,  secrets::delete,         "delete_secret" => [SecretDeleted];
        }
        "webhooks" {
            /// Registers an endpoint for events. The secret is in this answer only.
            POST   "/api/v1/webhooks/register",               Needs(P::WebhookManage), Write,  webhooks::register,      "register_webhook" => [WebhookRegistered];
            /// Lists the types of events that endpoints can subscribe to.
            GET    "/api/v1/webhooks/event-types",            Needs(P::WebhookRead),   Read,   webhooks::event_types,   "list_webhook_event_types";
            /// Lists endpoints.
            GET    "/api/v1/webhooks",                        Needs(P::WebhookRead),   Read,   webhooks::list,          "list_webhooks";
            /// Reads an endpoint.
            GET    "/api/v1/webhooks/{id}",                   Needs(P::WebhookRead),   Read,   webhooks::get,           "get_webhook";
            /// Changes an endpoint.
            PATCH  "/api/v1/webhooks/{id}",                   Needs(P::WebhookManage), Write,  webhooks::change,        "change_webhook" => [WebhookChanged];
            /// Removes an endpoint with its deliveries.
            DELETE "/api/v1/webhooks/{id}",                   Needs(P::WebhookManage), Write,  webhooks::delete,        "delete_webhook" => [WebhookDeleted];
            /// Sends a test to an endpoint, and waits for the outcome.
            POST   "/api/v1/webhooks/{id}/test",              Needs(P::WebhookManage), Write,  webhooks::test,          "test_webhook", needs WebhookDelivery, leaves nothing because "one message without content is sent, and nothing is stored";
            /// Enables an endpoint.
            POST   "/api/v1/webhooks/{id}/enable",            Needs(P::WebhookManage), Write,  webhooks::enable,        "enable_webhook" => [WebhookEnabled];
            /// Disables an endpoint.
            POST   "/api/v1/webhooks/{id}/disable",           Needs(P::WebhookManage), Write,  webhooks::disable,       "disable_webhook" => [WebhookDisabled];
            /// Replaces the secret of an endpoint by a new one, with an overlap.
            POST   "/api/v1/webhooks/{id}/rotate-secret",     Needs(P::WebhookManage), Write,  webhooks::rotate,        "rotate_webhook_secret" => [WebhookChanged];
            /// Lists deliveries to an endpoint.
            GET    "/api/v1/webhooks/{id}/deliveries",        Needs(P::WebhookRead),   Read,   deliveries::list,        "list_webhook_deliveries";
            /// Reads a delivery and its attempts.
            GET    "/api/v1/webhooks/{id}/deliveries/{message}", Needs(P::WebhookRead),   Read,   deliveries::get,         "get_webhook_delivery";
            /// Attempts a delivery again.
            POST   "/api/v1/webhooks/{id}/deliveries/{message}/retry", Needs(P::WebhookManage), Write,  deliveries::retry,       "retry_webhook_delivery", needs WebhookDelivery => [WebhookReplayed];
            /// Delivers the events of a range of time again.
            POST   "/api/v1/webhooks/{id}/replays",           Needs(P::WebhookManage), Write,  replays::start,          "start_webhook_replay", needs WebhookDelivery => [WebhookReplayed];
            /// Lists the replays of an endpoint.
            GET    "/api/v1/webhooks/{id}/replays",           Needs(P::WebhookRead),   Read,   replays::list,           "list_webhook_replays";
            /// Stops a replay.
            POST   "/api/v1/webhooks/{id}/replays/{replay}/stop", Needs(P::WebhookManage), Write,  replays::stop,           "stop_webhook_replay" => [WebhookReplayStopped];
        }
        "recovery" {
            /// Shows the archive, and what a loss of the disk would cost now.
            GET    "/api/disaster-recovery/status",           Needs(P::RecoveryRead), Read,   recovery::status,        "get_recovery_status";
            /// Lists the restore points.
            GET    "/api/disaster-recovery/backup-history",   Needs(P::RecoveryRead), Read,   recovery::history,       "list_restore_points";
            /// Reads a restore point.
            GET    "/api/disaster-recovery/restore-point/{id}", Needs(P::RecoveryRead), Read, recovery::point,         "get_restore_point";
            /// Makes a restore point, with everything that was answered before.
            POST   "/api/disaster-recovery/restore-point",    Needs(P::RecoveryRun),  Write,  recovery::mark,          "create_restore_point" => [BackupCreated];
            /// Begins a backup: a restore point with a snapshot of its own.
            POST   "/api/disaster-recovery/backup",           Needs(P::RecoveryRun),  Write,  recovery::backup,        "create_backup" => [BackupCreated];
            /// Begins a restore of a restore point, or of a later moment.
            POST   "/api/disaster-recovery/restore/{id}",     Needs(P::RecoveryRun),  Admin,  recovery::restore,       "restore" => [RestoreStarted];
            /// Begins to read and compare every object of the archive.
            POST   "/api/disaster-recovery/verify",           Needs(P::RecoveryRun),  Write,  recovery::verify,        "verify_archive" => [BackupVerified];
            /// Begins to restore a point to a temporary directory, to check that it can be restored.
            POST   "/api/disaster-recovery/drill",            Needs(P::RecoveryRun),  Write,  recovery::drill,         "drill_restore" => [BackupVerified];
            /// Resumes the queue and the webhooks that a restore has paused.
            POST   "/api/disaster-recovery/resume",           Needs(P::RecoveryRun),  Write,  recovery::resume,        "resume_restored" => [RestoreResumed];
            /// Marks the end of this run as an orderly one, whatever ends it.
            POST   "/api/disaster-recovery/mark-shutdown",    Needs(P::RecoveryRun),  Admin,  recovery::mark_shutdown, "mark_shutdown" => [ShutdownMarked];
        }
        "audit" {
            /// Records an event of another system.
            POST   "/api/audit/log",                          Needs(P::AuditAppend),  Write,  audit::append,           "append_audit_event", leaves external;
            /// Lists records of the audit trail.
            GET    "/api/audit/query",                        Needs(P::AuditRead),    Read,   audit::query,            "query_audit";
            /// Lists records of an actor.
            GET    "/api/audit/actor/{id}",                   Needs(P::AuditRead),    Read,   audit::actor,            "query_audit_by_actor";
            /// Lists records about a target.
            GET    "/api/audit/target/{id}",                  Needs(P::AuditRead),    Read,   audit::target,           "query_audit_by_target";
            /// Lists critical records.
            GET    "/api/audit/critical",                     Needs(P::AuditRead),    Read,   audit::critical,         "query_critical_audit";
            /// Counts entries by action, actor, level, result and time.
            GET    "/api/audit/statistics",                   Needs(P::AuditRead),    Read,   audit::statistics,       "get_audit_statistics";
            /// Exports records as JSON lines or CSV.
            GET    "/api/audit/export",                       Needs(P::AuditExport),  Stream, export::get,             "export_audit";
            /// Reads an entry with the proof that it is in the trail.
            GET    "/api/audit/proof/{index}",                Needs(P::AuditRead),    Read,   audit::proof,            "get_audit_proof";
            /// Reads the proof that the trail was only appended to.
            GET    "/api/audit/consistency",                  Needs(P::AuditRead),    Read,   audit::consistency,      "get_audit_consistency";
            /// Reads the newest checkpoint, and the progress of the trail.
            GET    "/api/audit/checkpoint",                   Needs(P::AuditRead),    Read,   audit::checkpoint,       "get_audit_checkpoint";
            /// Reads the newest checkpoint as clients of tlog-tiles do.
            GET    "/api/audit/log/checkpoint",               Needs(P::AuditRead),    Read,   tiles::checkpoint,       "get_audit_log_checkpoint";
            /// Reads the verification under way, and the last one; or verifies a range now.
            GET    "/api/audit/verify",                       Needs(P::AuditRead),    Read,   verify::get,             "get_audit_verification";
            /// Verifies the whole trail.
            POST   "/api/audit/verify",                       Needs(P::AuditExport),  Write,  verify::start,           "verify_audit" => [AuditVerified];
            /// Replaces the key that signs checkpoints.
            POST   "/api/audit/key/rotate",                   Needs(P::AdminKeys),    Admin,  verify::rotate,          "rotate_audit_key" => [AuditKeyRotated];
            /// Reads a tile of hashes, or a bundle of entries.
            GET    "/api/audit/log/tile/{path:.*}",           Needs(P::AuditRead),    Read,   tiles::tile,             "get_audit_tile";
        }
        "queue" {
            /// Reads the state of the queue.
            GET    "/api/v1/queue",                           Needs(P::SysHealth),    Read,   queue::get,              "get_queue";
            /// Pauses the queue, or one task type. Running tasks continue.
            POST   "/api/v1/queue/pause",                     Needs(P::BotStop),      Write,  queue::pause,            "pause_queue" => [QueuePaused];
            /// Resumes the queue, or one task type.
            POST   "/api/v1/queue/resume",                    Needs(P::BotLaunch),    Write,  queue::resume,           "resume_queue" => [QueueResumed];
            /// Pauses the queue, or one task type, and waits for its running tasks.
            POST   "/api/v1/queue/drain",                     Needs(P::BotStop),      Write,  queue::drain,            "drain_queue" => [QueueDrained];
            /// Cancels waiting tasks.
            POST   "/api/v1/queue/purge",                     Needs(P::TaskCancel),   Write,  queue::purge,            "purge_queue" => [QueuePurged];
            /// Lists the tasks that failed and have no attempts left.
            GET    "/api/v1/queue/dead",                      Needs(P::TaskRead),     Read,   queue::dead,             "list_dead_tasks";
            /// Puts failed tasks back into the queue, with all their attempts.
            POST   "/api/v1/queue/dead/requeue",              Needs(P::TaskSubmit),   Submit, queue::requeue,          "requeue_dead_tasks" => [TaskRequeued];
        }
        "system" {
            /// Reads the state of the whole hive.
            GET    "/api/v1/system/status",                   Needs(P::SysHealth),    Read,   system::status,          "get_system_status";
            /// Reads the health of the hive, and the measurements behind it.
            GET    "/api/v1/system/health",                   Needs(P::SysHealth),    Read,   system::health,          "get_system_health";
            /// Restarts the server in place, once the new binary has checked that it can start. No
            /// request is refused meanwhile, but no attempt starts.
            POST   "/api/v1/system/restart",                  Needs(P::AdminRestart), Admin,  system::restart,         "restart_system" => [RestartRequested];
        }
        "degradation" {
            /// Reads the mode of the hive: the level at which features are shed, and the signals.
            GET    "/api/degradation/status",                 Needs(P::SysHealth),    Read,   degradation::status,     "get_degradation_status";
            /// Lists the features: on, off or absent, why, and what brings each back.
            GET    "/api/degradation/features",               Needs(P::SysHealth),    Read,   degradation::features,   "list_features";
            /// Sets the level for a time, for a drill or for maintenance, or ends that.
            POST   "/api/degradation/mode",                   Needs(P::ModeSet),      Admin,  degradation::mode,       "set_mode" => [ModeChanged];
        }
        "config" {
            /// Reads the settings in force.
            GET    "/api/config/current",                     Needs(P::SysConfigRead), Read,  config::current,         "get_settings";
            /// Reads one setting.
            GET    "/api/config/value/{key}",                 Needs(P::SysConfigRead), Read,  config::value,           "get_setting";
            /// Changes one setting.
            PATCH  "/api/config/value/{key}",                 Needs(P::SysConfigWrite), Admin, config::change,         "change_setting" => [ConfigChanged];
            /// Reads the settings file again.
            POST   "/api/config/reload",                      Needs(P::SysConfigWrite), Admin, config::reload,         "reload_settings" => [ConfigChanged];
            /// Compares the settings file with the settings in force.
            POST   "/api/config/check-reload",                Needs(P::SysConfigRead), Write, config::check,           "check_reload", leaves nothing because "the answer is computed, and nothing is changed";
            /// Reads the state of the settings and of their file.
            GET    "/api/config/status",                      Needs(P::SysConfigRead), Read,  config::status,          "get_settings_status";
            /// Lists versions of the settings.
            GET    "/api/config/history",                     Needs(P::SysConfigRead), Read,  config::history,         "list_settings_versions";
            /// Confirms the settings in force.
            POST   "/api/config/confirm",                     Needs(P::SysConfigWrite), Admin, config::confirm,        "confirm_settings" => [ConfigConfirmed];
            /// Puts an earlier version of the settings back.
            POST   "/api/config/undo",                        Needs(P::SysConfigWrite), Admin, config::undo,           "undo_settings" => [ConfigReverted, ConfigChanged];
        }
        "supervisors" {
            /// Lists the threads that actors run on.
            GET    "/api/v1/arbiters",                        Needs(P::SysHealth),    Read,   supervisors::arbiters,   "list_arbiters";
            /// Reads the whole supervision tree.
            GET    "/api/v1/supervisors",                     Needs(P::SysHealth),    Read,   supervisors::tree,       "get_supervisors";
            /// Restarts one child of the supervision tree.
            POST   "/api/v1/supervisors/{path:.*}/restart",   Needs(P::AdminRestart), Admin,  supervisors::restart,    "restart_supervisor" => [PartRequested, PartRestarted];
            /// Suspends one child of the supervision tree.
            POST   "/api/v1/supervisors/{path:.*}/suspend",   Needs(P::AdminRestart), Admin,  supervisors::suspend,    "suspend_supervisor" => [PartRequested, PartSuspended];
            /// Resumes one child of the supervision tree.
            POST   "/api/v1/supervisors/{path:.*}/resume",    Needs(P::AdminRestart), Admin,  supervisors::resume,     "resume_supervisor" => [PartRequested, PartResumed];
            /// Reads one child of the supervision tree.
            GET    "/api/v1/supervisors/{path:.*}",           Needs(P::SysHealth),    Read,   supervisors::node,       "get_supervisor";
        }
        "auth" {
            /// Reads the identity of the caller.
            GET    "/api/v1/auth/whoami",                     AnyKey,                 Read,   keys::whoami,            "whoami";
            /// Checks whether the caller may do something, without doing it.
            POST   "/api/v1/auth/can-i",                      AnyKey,                 Write,  keys::can_i,             "can_i", leaves nothing because "the answer is computed, and nothing is changed";
            /// Lists keys.
            GET    "/api/v1/auth/keys",                       Needs(P::AdminKeys),    Admin,  keys::list,              "list_keys";
            /// Creates a key.
            POST   "/api/v1/auth/keys",                       Needs(P::AdminKeys),    Admin,  keys::create,            "create_key" => [KeyCreated];
            /// Reads a key.
            GET    "/api/v1/auth/keys/{id}",                  Needs(P::AdminKeys),    Admin,  keys::get,               "get_key";
            /// Replaces a key by a new one, with an overlap.
            POST   "/api/v1/auth/keys/{id}/rotate",           Needs(P::AdminKeys),    Admin,  keys::rotate,            "rotate_key" => [KeyRotated];
            /// Revokes a key.
            POST   "/api/v1/auth/keys/{id}/revoke",           Needs(P::AdminKeys),    Admin,  keys::revoke,            "revoke_key" => [KeyRevoked];
            /// Lists users.
            GET    "/api/v1/users",                           Needs(P::AdminUsers),   Admin,  users::list,             "list_users";
            /// Creates a user.
            POST   "/api/v1/users",                           Needs(P::AdminUsers),   Admin,  users::create,           "create_user" => [UserCreated];
            /// Reads a user.
            GET    "/api/v1/users/{id}",                      Needs(P::AdminUsers),   Admin,  users::get,              "get_user";
            /// Changes the role of a user, or activates or deactivates the user.
            PATCH  "/api/v1/users/{id}",                      Needs(P::AdminUsers),   Admin,  users::change,           "change_user" => [UserChanged];
            /// Removes a user and its keys.
            DELETE "/api/v1/users/{id}",                      Needs(P::AdminUsers),   Admin,  users::delete,           "delete_user" => [UserDeleted];
            /// Opens a web session, for a key or a token.
            POST   "/api/v1/auth/session",                    AnyKey,                 Admin,  sessions::open,          "open_session" => [AuthLogin];
            /// Reads the current session.
            GET    "/api/v1/auth/session",                    AnyKey,                 Read,   sessions::get,           "get_session";
            /// Logs out.
            DELETE "/api/v1/auth/session",                    AnyKey,                 Admin,  sessions::end,           "end_session" => [AuthLogout];
            /// Lists the caller's sessions.
            GET    "/api/v1/auth/sessions",                   AnyKey,                 Read,   sessions::list,          "list_sessions";
            /// Logs out everywhere.
            DELETE "/api/v1/auth/sessions",                   AnyKey,                 Admin,  sessions::end_all,       "end_sessions" => [AuthLogout];
            /// Logs a user out everywhere.
            DELETE "/api/v1/users/{id}/sessions",             Needs(P::AdminUsers),   Admin,  sessions::end_of_user,   "end_user_sessions" => [AuthLogout];
            /// Lists roles and their permissions.
            GET    "/api/v1/roles",                           AnyKey,                 Read,   keys::roles,             "list_roles";
        }
        "meta" {
            /// Reads this document (OpenAPI 3.1).
            GET    "/api/openapi.json",                       AnyKey,                 Read,   meta::openapi,           "get_openapi";
            /// Lists the codes of all errors.
            GET    "/api/errors",                             AnyKey,                 Read,   meta::errors,            "list_errors";
            /// Reads the meaning of a code.
            GET    "/api/errors/{code}",                      AnyKey,                 Read,   meta::error,             "get_error";
            /// Lists the schemas of requests and answers.
            GET    "/api/schemas",                            AnyKey,                 Read,   schemas::list,           "list_schemas";
            /// Reads one schema.
            GET    "/api/schemas/{name}",                     AnyKey,                 Read,   schemas::get,            "get_schema";
            /// Shows this document in a browser.
            GET    "/api/docs",                               Open,                   -,      viewer::page,            "get_docs";
        }
        "health" {
            /// Reads the metrics, in the format of Prometheus.
            GET    "/metrics",                                Needs(P::SysHealth),    Read,   metrics::metrics,        "metrics";
            /// Checks whether the process makes progress.
            GET    "/livez",                                  Open,                   -,      health::live,            "livez";
            /// Checks whether the hive accepts submissions.
            GET    "/readyz",                                 Open,                   -,      health::ready,           "readyz";
            /// Answers as `/readyz` does.
            GET    "/health",                                 Open,                   -,      health::healthy,         "health";
        }
    }
}

#[cfg(test)]
mod tests;
