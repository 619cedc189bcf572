//! The table of routes: the one place that lists them.

use actix_web::http::Method;
use deia_model::Permission as P;

use crate::http::{
    api::{
        bots, events, health, keys, logs, meta, metrics, outputs, queue, schemas, secrets,
        sessions, supervisors, system, tasks, users,
    },
    guard::policy::Access::{AnyKey, Needs},
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
        //    method  path                               access                query parameters
        route(POST,   "/api/v1/tasks/submit",            Needs(P::TaskSubmit), &[],          tasks::submit),
        route(POST,   "/api/v1/tasks/batch",             Needs(P::TaskSubmit), &[],          tasks::submit_batch),
        route(GET,    "/api/v1/tasks/{id}/status",       Needs(P::TaskRead),   &[],          tasks::status),
        route(GET,    "/api/v1/tasks/{id}/result",       Needs(P::TaskRead),   &["wait_ms"], tasks::result),
        route(GET,    "/api/v1/tasks/{id}/output",       Needs(P::TaskRead),   &["offset", "attempt", "follow"], outputs::get),
        route(GET,    "/api/v1/tasks/{id}/logs",         Needs(P::SysLogsRead), &["attempt", "lines"], logs::of_task),
        route(POST,   "/api/v1/tasks/{id}/cancel",       Needs(P::TaskCancel), &[],          tasks::cancel),
        route(POST,   "/api/v1/tasks/{id}/retry",        Needs(P::TaskSubmit), &[],          tasks::retry),
        route(DELETE, "/api/v1/tasks/{id}/content",      Needs(P::TaskErase),  &[],          tasks::erase),
        route(GET,    "/api/v1/tasks/{id}/events",       Needs(P::TaskRead),   &[],          tasks::events),
        route(GET,    "/api/v1/tasks/{id}/explain",      Needs(P::TaskRead),   &[],          tasks::explain),
        route(GET,    "/api/v1/tasks/{id}",              Needs(P::TaskRead),   &[],          tasks::get),
        route(GET,    "/api/v1/tasks",                   Needs(P::TaskRead),   FILTERS,      tasks::list),
        route(GET,    "/api/v1/events",                  Needs(P::EventRead),  &["action", "target", "actor", "after", "before", "limit", "cursor"], events::list),

        route(GET,    "/api/v1/bots",                    Needs(P::BotList),    &[],          bots::list),
        route(GET,    "/api/v1/bots/{id}",               Needs(P::BotRead),    &[],          bots::get),
        route(PUT,    "/api/v1/bots/{id}",               Needs(P::BotLaunch),  &[],          bots::put),
        route(DELETE, "/api/v1/bots/{id}",               Needs(P::BotKill),    &[],          bots::delete),
        route(POST,   "/api/v1/bots/{id}/launch",        Needs(P::BotLaunch),  &[],          bots::launch),
        route(POST,   "/api/v1/bots/{id}/stop",          Needs(P::BotStop),    &[],          bots::stop),
        route(POST,   "/api/v1/bots/{id}/drain",         Needs(P::BotStop),    &[],          bots::drain),
        route(GET,    "/api/v1/bots/{id}/logs",          Needs(P::SysLogsRead), &["lines", "follow"], logs::get),

        route(GET,    "/api/v1/secrets",                 Needs(P::AdminKeys),  &[],          secrets::list),
        route(PUT,    "/api/v1/secrets/{id}",            Needs(P::AdminKeys),  &[],          secrets::put),
        route(DELETE, "/api/v1/secrets/{id}",            Needs(P::AdminKeys),  &[],          secrets::delete),

        route(GET,    "/api/v1/queue",                   Needs(P::SysHealth),  &[],          queue::get),
        route(POST,   "/api/v1/queue/pause",             Needs(P::BotStop),    &[],          queue::pause),
        route(POST,   "/api/v1/queue/resume",            Needs(P::BotLaunch),  &[],          queue::resume),
        route(POST,   "/api/v1/queue/drain",             Needs(P::BotStop),    &[],          queue::drain),
        route(POST,   "/api/v1/queue/purge",             Needs(P::TaskCancel), &[],          queue::purge),
        route(GET,    "/api/v1/queue/dead",              Needs(P::TaskRead),   DEAD_FILTERS, queue::dead),
        route(POST,   "/api/v1/queue/dead/requeue",      Needs(P::TaskSubmit), &[],          queue::requeue),
        route(GET,    "/api/v1/system/status",           Needs(P::SysHealth),  &[],          system::status),
        route(GET,    "/api/v1/system/health",           Needs(P::SysHealth),  &[],          system::health),
        route(POST,   "/api/v1/system/restart",          Needs(P::AdminRestart), &[],        system::restart),
        route(GET,    "/api/v1/arbiters",                Needs(P::SysHealth),  &[],          supervisors::arbiters),
        route(GET,    "/api/v1/supervisors",             Needs(P::SysHealth),  &[],          supervisors::tree),
        route(POST,   "/api/v1/supervisors/{path:.*}/restart", Needs(P::AdminRestart), &[],  supervisors::restart),
        route(POST,   "/api/v1/supervisors/{path:.*}/suspend", Needs(P::AdminRestart), &[],  supervisors::suspend),
        route(POST,   "/api/v1/supervisors/{path:.*}/resume",  Needs(P::AdminRestart), &[],  supervisors::resume),
        route(GET,    "/api/v1/supervisors/{path:.*}",   Needs(P::SysHealth),  &[],          supervisors::node),

        route(GET,    "/api/v1/auth/whoami",             AnyKey,               &[],          keys::whoami),
        route(POST,   "/api/v1/auth/can-i",              AnyKey,               &[],          keys::can_i),
        route(GET,    "/api/v1/auth/keys",               Needs(P::AdminKeys),  &[],          keys::list),
        route(POST,   "/api/v1/auth/keys",               Needs(P::AdminKeys),  &[],          keys::create),
        route(GET,    "/api/v1/auth/keys/{id}",          Needs(P::AdminKeys),  &[],          keys::get),
        route(POST,   "/api/v1/auth/keys/{id}/rotate",   Needs(P::AdminKeys),  &[],          keys::rotate),
        route(POST,   "/api/v1/auth/keys/{id}/revoke",   Needs(P::AdminKeys),  &[],          keys::revoke),
        route(GET,    "/api/v1/users",                   Needs(P::AdminUsers), &[],          users::list),
        route(POST,   "/api/v1/users",                   Needs(P::AdminUsers), &[],          users::create),
        route(GET,    "/api/v1/users/{id}",              Needs(P::AdminUsers), &[],          users::get),
        route(PATCH,  "/api/v1/users/{id}",              Needs(P::AdminUsers), &[],          users::change),
        route(DELETE, "/api/v1/users/{id}",              Needs(P::AdminUsers), &[],          users::delete),
        route(POST,   "/api/v1/auth/session",            AnyKey,               &[],          sessions::open),
        route(GET,    "/api/v1/auth/session",            AnyKey,               &[],          sessions::get),
        route(DELETE, "/api/v1/auth/session",            AnyKey,               &[],          sessions::end),
        route(GET,    "/api/v1/auth/sessions",           AnyKey,               &[],          sessions::list),
        route(DELETE, "/api/v1/auth/sessions",           AnyKey,               &[],          sessions::end_all),
        route(DELETE, "/api/v1/users/{id}/sessions",     Needs(P::AdminUsers), &[],          sessions::end_of_user),
        route(GET,    "/api/v1/roles",                   AnyKey,               &[],          keys::roles),

        route(GET,    "/api/openapi.json",               AnyKey,               &[],          meta::openapi),
        route(GET,    "/api/errors",                     AnyKey,               &[],          meta::errors),
        route(GET,    "/api/errors/{code}",              AnyKey,               &[],          meta::error),
        route(GET,    "/api/schemas",                    AnyKey,               &[],          schemas::list),
        route(GET,    "/api/schemas/{name}",             AnyKey,               &[],          schemas::get),

        route(GET,    "/metrics",                        Needs(P::SysHealth),  &[],          metrics::metrics),
        open("/livez",  health::live),
        open("/readyz", health::ready),
        open("/health", health::healthy),
        // A page that has nothing of the hive in it: see decision 7.
        open("/api/docs", viewer::page),
    ]
}
