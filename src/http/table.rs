//! The table of routes: the one place that lists them.

use actix_web::http::Method;
use deia_model::Permission as P;

use crate::http::{
    api::{
        alerts, bots, events, health, keys, logs, meta, metrics, outputs, queue, schemas, secrets,
        sessions, supervisors, system, tasks, users,
    },
    guard::{
        class::RouteClass::{Admin, Read, Stream, Submit, Write},
        policy::{
            Access::{AnyKey, Needs, Open},
            RoutePolicy,
        },
    },
    route::{Route, guarded, open},
    viewer,
};

/// Makes the rows of the table. The comment over a row is its summary in the OpenAPI
/// document; a row that is open to all has no class, since its budget is that of probes.
macro_rules! routes {
    ($($tag:literal { $(
        $(#[doc = $summary:literal])+
        $method:ident $path:literal, $access:expr, $class:tt, $($handler:ident)::+, $id:literal;
    )+ })+) => {
        vec![$($(
            Route {
                method: Method::$method,
                path: $path,
                access: $access,
                class: routes!(@class $class),
                tag: $tag,
                operation_id: $id,
                summary: concat!($($summary),+).trim_ascii(),
                description: $($handler)::+::description(),
                handler: routes!(@handler $class, $access, $($handler)::+),
            }
        ),+),+]
    };
    (@class -) => { None };
    (@class $class:ident) => { Some($class) };
    (@handler -, $access:expr, $($handler:ident)::+) => { open($($handler)::+) };
    (@handler $class:ident, $access:expr, $($handler:ident)::+) => {
        guarded(
            RoutePolicy {
                access: $access,
                class: $class,
                query: Some(&$($handler)::+::description().query),
            },
            $($handler)::+,
        )
    };
}

/// Every route, the hot ones first; rows of one path stand together.
#[rustfmt::skip]
pub fn table() -> Vec<Route> {
    routes! {
        // method path                                     access                  class   handler                  operation
        "tasks" {
            /// Submits a task. It is on disk when this is answered.
            POST   "/api/v1/tasks/submit",                    Needs(P::TaskSubmit),   Submit, tasks::submit,           "submit_task";
            /// Submits tasks, all or none.
            POST   "/api/v1/tasks/batch",                     Needs(P::TaskSubmit),   Submit, tasks::submit_batch,     "submit_tasks";
            /// Reads the status of a task.
            GET    "/api/v1/tasks/{id}/status",               Needs(P::TaskRead),     Read,   tasks::status,           "get_task_status";
            /// Reads the result of a task; waits for it if asked to.
            GET    "/api/v1/tasks/{id}/result",               Needs(P::TaskRead),     Stream, tasks::result,           "get_task_result";
            /// Streams the output of a task.
            GET    "/api/v1/tasks/{id}/output",               Needs(P::TaskRead),     Stream, outputs::get,            "get_task_output";
            /// Reads the log lines about a task.
            GET    "/api/v1/tasks/{id}/logs",                 Needs(P::SysLogsRead),  Read,   logs::of_task,           "get_task_logs";
            /// Cancels a task.
            POST   "/api/v1/tasks/{id}/cancel",               Needs(P::TaskCancel),   Write,  tasks::cancel,           "cancel_task";
            /// Puts a task that has ended back into the queue, with all its attempts.
            POST   "/api/v1/tasks/{id}/retry",                Needs(P::TaskSubmit),   Submit, tasks::retry,            "retry_task";
            /// Erases the content of a task that has ended, and its results.
            DELETE "/api/v1/tasks/{id}/content",              Needs(P::TaskErase),    Write,  tasks::erase,            "erase_task";
            /// Reads the events of a task.
            GET    "/api/v1/tasks/{id}/events",               Needs(P::TaskRead),     Read,   tasks::events,           "list_task_events";
            /// Says why a task has not started, or where it is.
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
            POST   "/api/v1/alerts/{id}/acknowledge",         Needs(P::AlertAck),     Write,  alerts::acknowledge,     "acknowledge_alert";
        }
        "events" {
            /// Lists events.
            GET    "/api/v1/events",                          Needs(P::EventRead),    Read,   events::list,            "list_events";
        }
        "bots" {
            /// Lists bots.
            GET    "/api/v1/bots",                            Needs(P::BotList),      Read,   bots::list,              "list_bots";
            /// Reads a bot.
            GET    "/api/v1/bots/{id}",                       Needs(P::BotRead),      Read,   bots::get,               "get_bot";
            /// Creates a bot, or replaces its specification.
            PUT    "/api/v1/bots/{id}",                       Needs(P::BotLaunch),    Write,  bots::put,               "put_bot";
            /// Removes a stopped bot.
            DELETE "/api/v1/bots/{id}",                       Needs(P::BotKill),      Write,  bots::delete,            "delete_bot";
            /// Launches a bot.
            POST   "/api/v1/bots/{id}/launch",                Needs(P::BotLaunch),    Write,  bots::launch,            "launch_bot";
            /// Stops a bot.
            POST   "/api/v1/bots/{id}/stop",                  Needs(P::BotStop),      Write,  bots::stop,              "stop_bot";
            /// Drains a bot: it finishes its running tasks, and stops.
            POST   "/api/v1/bots/{id}/drain",                 Needs(P::BotStop),      Write,  bots::drain,             "drain_bot";
            /// Reads the end of a bot's log, or follows it.
            GET    "/api/v1/bots/{id}/logs",                  Needs(P::SysLogsRead),  Stream, logs::get,               "get_bot_logs";
        }
        "secrets" {
            /// Lists stored secrets.
            GET    "/api/v1/secrets",                         Needs(P::AdminKeys),    Admin,  secrets::list,           "list_secrets";
            /// Stores a secret, or replaces its value.
            PUT    "/api/v1/secrets/{id}",                    Needs(P::AdminKeys),    Admin,  secrets::put,            "put_secret";
            /// Removes a secret from the store.
            DELETE "/api/v1/secrets/{id}",                    Needs(P::AdminKeys),    Admin,  secrets::delete,         "delete_secret";
        }
        "queue" {
            /// Reads the state of the queue.
            GET    "/api/v1/queue",                           Needs(P::SysHealth),    Read,   queue::get,              "get_queue";
            /// Pauses the queue, or one task type. Running tasks go on.
            POST   "/api/v1/queue/pause",                     Needs(P::BotStop),      Write,  queue::pause,            "pause_queue";
            /// Resumes the queue, or one task type.
            POST   "/api/v1/queue/resume",                    Needs(P::BotLaunch),    Write,  queue::resume,           "resume_queue";
            /// Pauses the queue, or one task type, and waits for its running tasks.
            POST   "/api/v1/queue/drain",                     Needs(P::BotStop),      Write,  queue::drain,            "drain_queue";
            /// Cancels waiting tasks.
            POST   "/api/v1/queue/purge",                     Needs(P::TaskCancel),   Write,  queue::purge,            "purge_queue";
            /// Lists the tasks that failed and have no attempts left.
            GET    "/api/v1/queue/dead",                      Needs(P::TaskRead),     Read,   queue::dead,             "list_dead_tasks";
            /// Puts failed tasks back into the queue, with all their attempts.
            POST   "/api/v1/queue/dead/requeue",              Needs(P::TaskSubmit),   Submit, queue::requeue,          "requeue_dead_tasks";
        }
        "system" {
            /// Reads the state of the whole hive.
            GET    "/api/v1/system/status",                   Needs(P::SysHealth),    Read,   system::status,          "get_system_status";
            /// Reads the health of the hive, and the measurements behind it.
            GET    "/api/v1/system/health",                   Needs(P::SysHealth),    Read,   system::health,          "get_system_health";
            /// Restarts the server in place, once the new binary has checked that it can start. No
            /// request is refused meanwhile, but no attempt starts.
            POST   "/api/v1/system/restart",                  Needs(P::AdminRestart), Admin,  system::restart,         "restart_system";
        }
        "supervisors" {
            /// Lists the threads that actors run on.
            GET    "/api/v1/arbiters",                        Needs(P::SysHealth),    Read,   supervisors::arbiters,   "list_arbiters";
            /// Reads the whole supervision tree.
            GET    "/api/v1/supervisors",                     Needs(P::SysHealth),    Read,   supervisors::tree,       "get_supervisors";
            /// Restarts one child of the supervision tree.
            POST   "/api/v1/supervisors/{path:.*}/restart",   Needs(P::AdminRestart), Admin,  supervisors::restart,    "restart_supervisor";
            /// Suspends one child of the supervision tree.
            POST   "/api/v1/supervisors/{path:.*}/suspend",   Needs(P::AdminRestart), Admin,  supervisors::suspend,    "suspend_supervisor";
            /// Resumes one child of the supervision tree.
            POST   "/api/v1/supervisors/{path:.*}/resume",    Needs(P::AdminRestart), Admin,  supervisors::resume,     "resume_supervisor";
            /// Reads one child of the supervision tree.
            GET    "/api/v1/supervisors/{path:.*}",           Needs(P::SysHealth),    Read,   supervisors::node,       "get_supervisor";
        }
        "auth" {
            /// Reads the identity of the caller.
            GET    "/api/v1/auth/whoami",                     AnyKey,                 Read,   keys::whoami,            "whoami";
            /// Checks whether the caller may do something, without doing it.
            POST   "/api/v1/auth/can-i",                      AnyKey,                 Write,  keys::can_i,             "can_i";
            /// Lists keys.
            GET    "/api/v1/auth/keys",                       Needs(P::AdminKeys),    Admin,  keys::list,              "list_keys";
            /// Creates a key.
            POST   "/api/v1/auth/keys",                       Needs(P::AdminKeys),    Admin,  keys::create,            "create_key";
            /// Reads a key.
            GET    "/api/v1/auth/keys/{id}",                  Needs(P::AdminKeys),    Admin,  keys::get,               "get_key";
            /// Replaces a key by a new one, with an overlap.
            POST   "/api/v1/auth/keys/{id}/rotate",           Needs(P::AdminKeys),    Admin,  keys::rotate,            "rotate_key";
            /// Revokes a key.
            POST   "/api/v1/auth/keys/{id}/revoke",           Needs(P::AdminKeys),    Admin,  keys::revoke,            "revoke_key";
            /// Lists users.
            GET    "/api/v1/users",                           Needs(P::AdminUsers),   Admin,  users::list,             "list_users";
            /// Creates a user.
            POST   "/api/v1/users",                           Needs(P::AdminUsers),   Admin,  users::create,           "create_user";
            /// Reads a user.
            GET    "/api/v1/users/{id}",                      Needs(P::AdminUsers),   Admin,  users::get,              "get_user";
            /// Changes a user's role, or whether they may act.
            PATCH  "/api/v1/users/{id}",                      Needs(P::AdminUsers),   Admin,  users::change,           "change_user";
            /// Removes a user and its keys.
            DELETE "/api/v1/users/{id}",                      Needs(P::AdminUsers),   Admin,  users::delete,           "delete_user";
            /// Opens a web session, for a key or a token.
            POST   "/api/v1/auth/session",                    AnyKey,                 Admin,  sessions::open,          "open_session";
            /// Reads the current session.
            GET    "/api/v1/auth/session",                    AnyKey,                 Read,   sessions::get,           "get_session";
            /// Logs out.
            DELETE "/api/v1/auth/session",                    AnyKey,                 Admin,  sessions::end,           "end_session";
            /// Lists the caller's sessions.
            GET    "/api/v1/auth/sessions",                   AnyKey,                 Read,   sessions::list,          "list_sessions";
            /// Logs out everywhere.
            DELETE "/api/v1/auth/sessions",                   AnyKey,                 Admin,  sessions::end_all,       "end_sessions";
            /// Logs a user out everywhere.
            DELETE "/api/v1/users/{id}/sessions",             Needs(P::AdminUsers),   Admin,  sessions::end_of_user,   "end_user_sessions";
            /// Lists roles and what each includes.
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
            /// Says whether the process makes progress.
            GET    "/livez",                                  Open,                   -,      health::live,            "livez";
            /// Says whether the hive accepts work.
            GET    "/readyz",                                 Open,                   -,      health::ready,           "readyz";
            /// Says the same as `/readyz`.
            GET    "/health",                                 Open,                   -,      health::healthy,         "health";
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The class decides which budget a request is charged to, so a row in the wrong class
    /// would let readers starve submitters, or administrators.
    #[test]
    fn classes_fit_methods_and_permissions() {
        for route in table() {
            let (method, path) = (&route.method, route.path);
            let Some(class) = route.class else {
                assert_eq!(route.access, Open, "{path}");
                continue;
            };
            let reads = matches!(class, Read | Stream);
            assert!(!reads || *method == Method::GET, "{method} {path}");
            if let Needs(permission) = route.access {
                let administers = permission.as_str().starts_with("admin:");
                assert_eq!(administers, class == Admin, "{method} {path}");
                assert_eq!(
                    permission == P::TaskSubmit,
                    class == Submit,
                    "{method} {path}"
                );
            }
        }
    }
}
