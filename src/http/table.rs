//! The table of routes: the one place that lists them.

use actix_web::http::Method;
use deia_model::Permission as P;

use crate::http::{
    api::{
        bots, events, health, keys, logs, meta, metrics, outputs, queue, schemas, secrets,
        sessions, supervisors, system, tasks, users,
    },
    guard::{
        class::RouteClass::{Admin, Read, Stream, Submit, Write},
        policy::Access::{AnyKey, Needs},
    },
    route::{Route, open, route},
    viewer,
};

const FILTERS: &[&str] = &[
    "status",
    "type",
    "priority",
    "bot",
    "submitter",
    "reason",
    "tag",
    "metadata",
    "dedup_key",
    "created_after",
    "created_before",
    "limit",
    "cursor",
];

/// The same without `status`: it is known.
const DEAD_FILTERS: &[&str] = FILTERS.split_at(1).1;

/// Every route, the hot ones first; rows of one path stand together.
#[rustfmt::skip]
pub fn table() -> Vec<Route> {
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const PUT: Method = Method::PUT;
    const DELETE: Method = Method::DELETE;
    const PATCH: Method = Method::PATCH;
    vec![
        //    method  path                                       access                  class   query parameters
        route(POST,   "/api/v1/tasks/submit",                    Needs(P::TaskSubmit),   Submit, &[],          tasks::submit),
        route(POST,   "/api/v1/tasks/batch",                     Needs(P::TaskSubmit),   Submit, &[],          tasks::submit_batch),
        route(GET,    "/api/v1/tasks/{id}/status",               Needs(P::TaskRead),     Read,   &[],          tasks::status),
        route(GET,    "/api/v1/tasks/{id}/result",               Needs(P::TaskRead),     Stream, &["wait_ms"], tasks::result),
        route(GET,    "/api/v1/tasks/{id}/output",               Needs(P::TaskRead),     Stream, &["offset", "attempt", "follow"], outputs::get),
        route(GET,    "/api/v1/tasks/{id}/logs",                 Needs(P::SysLogsRead),  Read,   &["attempt", "lines"], logs::of_task),
        route(POST,   "/api/v1/tasks/{id}/cancel",               Needs(P::TaskCancel),   Write,  &[],          tasks::cancel),
        route(POST,   "/api/v1/tasks/{id}/retry",                Needs(P::TaskSubmit),   Submit, &[],          tasks::retry),
        route(DELETE, "/api/v1/tasks/{id}/content",              Needs(P::TaskErase),    Write,  &[],          tasks::erase),
        route(GET,    "/api/v1/tasks/{id}/events",               Needs(P::TaskRead),     Read,   &[],          tasks::events),
        route(GET,    "/api/v1/tasks/{id}/explain",              Needs(P::TaskRead),     Read,   &[],          tasks::explain),
        route(GET,    "/api/v1/tasks/{id}",                      Needs(P::TaskRead),     Read,   &[],          tasks::get),
        route(GET,    "/api/v1/tasks",                           Needs(P::TaskRead),     Read,   FILTERS,      tasks::list),
        route(GET,    "/api/v1/events",                          Needs(P::EventRead),    Read,   &["action", "target", "actor", "after", "before", "limit", "cursor"], events::list),

        route(GET,    "/api/v1/bots",                            Needs(P::BotList),      Read,   &[],          bots::list),
        route(GET,    "/api/v1/bots/{id}",                       Needs(P::BotRead),      Read,   &[],          bots::get),
        route(PUT,    "/api/v1/bots/{id}",                       Needs(P::BotLaunch),    Write,  &[],          bots::put),
        route(DELETE, "/api/v1/bots/{id}",                       Needs(P::BotKill),      Write,  &[],          bots::delete),
        route(POST,   "/api/v1/bots/{id}/launch",                Needs(P::BotLaunch),    Write,  &[],          bots::launch),
        route(POST,   "/api/v1/bots/{id}/stop",                  Needs(P::BotStop),      Write,  &[],          bots::stop),
        route(POST,   "/api/v1/bots/{id}/drain",                 Needs(P::BotStop),      Write,  &[],          bots::drain),
        route(GET,    "/api/v1/bots/{id}/logs",                  Needs(P::SysLogsRead),  Stream, &["lines", "follow"], logs::get),

        route(GET,    "/api/v1/secrets",                         Needs(P::AdminKeys),    Admin,  &[],          secrets::list),
        route(PUT,    "/api/v1/secrets/{id}",                    Needs(P::AdminKeys),    Admin,  &[],          secrets::put),
        route(DELETE, "/api/v1/secrets/{id}",                    Needs(P::AdminKeys),    Admin,  &[],          secrets::delete),

        route(GET,    "/api/v1/queue",                           Needs(P::SysHealth),    Read,   &[],          queue::get),
        route(POST,   "/api/v1/queue/pause",                     Needs(P::BotStop),      Write,  &[],          queue::pause),
        route(POST,   "/api/v1/queue/resume",                    Needs(P::BotLaunch),    Write,  &[],          queue::resume),
        route(POST,   "/api/v1/queue/drain",                     Needs(P::BotStop),      Write,  &[],          queue::drain),
        route(POST,   "/api/v1/queue/purge",                     Needs(P::TaskCancel),   Write,  &[],          queue::purge),
        route(GET,    "/api/v1/queue/dead",                      Needs(P::TaskRead),     Read,   DEAD_FILTERS, queue::dead),
        route(POST,   "/api/v1/queue/dead/requeue",              Needs(P::TaskSubmit),   Submit, &[],          queue::requeue),
        route(GET,    "/api/v1/system/status",                   Needs(P::SysHealth),    Read,   &[],          system::status),
        route(GET,    "/api/v1/system/health",                   Needs(P::SysHealth),    Read,   &[],          system::health),
        route(POST,   "/api/v1/system/restart",                  Needs(P::AdminRestart), Admin,  &[],        system::restart),
        route(GET,    "/api/v1/arbiters",                        Needs(P::SysHealth),    Read,   &[],          supervisors::arbiters),
        route(GET,    "/api/v1/supervisors",                     Needs(P::SysHealth),    Read,   &[],          supervisors::tree),
        route(POST,   "/api/v1/supervisors/{path:.*}/restart",   Needs(P::AdminRestart), Admin,  &[],  supervisors::restart),
        route(POST,   "/api/v1/supervisors/{path:.*}/suspend",   Needs(P::AdminRestart), Admin,  &[],  supervisors::suspend),
        route(POST,   "/api/v1/supervisors/{path:.*}/resume",    Needs(P::AdminRestart), Admin,  &[],  supervisors::resume),
        route(GET,    "/api/v1/supervisors/{path:.*}",           Needs(P::SysHealth),    Read,   &[],          supervisors::node),

        route(GET,    "/api/v1/auth/whoami",                     AnyKey,                 Read,   &[],          keys::whoami),
        route(POST,   "/api/v1/auth/can-i",                      AnyKey,                 Write,  &[],          keys::can_i),
        route(GET,    "/api/v1/auth/keys",                       Needs(P::AdminKeys),    Admin,  &[],          keys::list),
        route(POST,   "/api/v1/auth/keys",                       Needs(P::AdminKeys),    Admin,  &[],          keys::create),
        route(GET,    "/api/v1/auth/keys/{id}",                  Needs(P::AdminKeys),    Admin,  &[],          keys::get),
        route(POST,   "/api/v1/auth/keys/{id}/rotate",           Needs(P::AdminKeys),    Admin,  &[],          keys::rotate),
        route(POST,   "/api/v1/auth/keys/{id}/revoke",           Needs(P::AdminKeys),    Admin,  &[],          keys::revoke),
        route(GET,    "/api/v1/users",                           Needs(P::AdminUsers),   Admin,  &[],          users::list),
        route(POST,   "/api/v1/users",                           Needs(P::AdminUsers),   Admin,  &[],          users::create),
        route(GET,    "/api/v1/users/{id}",                      Needs(P::AdminUsers),   Admin,  &[],          users::get),
        route(PATCH,  "/api/v1/users/{id}",                      Needs(P::AdminUsers),   Admin,  &[],          users::change),
        route(DELETE, "/api/v1/users/{id}",                      Needs(P::AdminUsers),   Admin,  &[],          users::delete),
        route(POST,   "/api/v1/auth/session",                    AnyKey,                 Admin,  &[],          sessions::open),
        route(GET,    "/api/v1/auth/session",                    AnyKey,                 Read,   &[],          sessions::get),
        route(DELETE, "/api/v1/auth/session",                    AnyKey,                 Admin,  &[],          sessions::end),
        route(GET,    "/api/v1/auth/sessions",                   AnyKey,                 Read,   &[],          sessions::list),
        route(DELETE, "/api/v1/auth/sessions",                   AnyKey,                 Admin,  &[],          sessions::end_all),
        route(DELETE, "/api/v1/users/{id}/sessions",             Needs(P::AdminUsers),   Admin,  &[],          sessions::end_of_user),
        route(GET,    "/api/v1/roles",                           AnyKey,                 Read,   &[],          keys::roles),

        route(GET,    "/api/openapi.json",                       AnyKey,                 Read,   &[],          meta::openapi),
        route(GET,    "/api/errors",                             AnyKey,                 Read,   &[],          meta::errors),
        route(GET,    "/api/errors/{code}",                      AnyKey,                 Read,   &[],          meta::error),
        route(GET,    "/api/schemas",                            AnyKey,                 Read,   &[],          schemas::list),
        route(GET,    "/api/schemas/{name}",                     AnyKey,                 Read,   &[],          schemas::get),

        route(GET,    "/metrics",                                Needs(P::SysHealth),    Read,   &[],          metrics::metrics),
        open("/livez",  health::live),
        open("/readyz", health::ready),
        open("/health", health::healthy),
        // A page that has nothing of the hive in it: see decision 7.
        open("/api/docs", viewer::page),
    ]
}
