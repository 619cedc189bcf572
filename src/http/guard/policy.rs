//! The demands of a route on its requests.

use actix_web::http::Method;
use deia_model::{Feature, Permission as P};

use crate::http::guard::{class::RouteClass, overload::rank::Tier};

/// The access that a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: a health probe, or the page that shows the API.
    Open,
    /// Any key in force.
    AnyKey,
    /// A key whose role has this permission.
    Needs(P),
}

/// The demands of one route.
#[derive(Clone, Copy)]
pub(crate) struct RoutePolicy {
    pub(crate) access: Access,
    pub(crate) class: RouteClass,
    /// The query parameters that the route takes; any query when absent.
    pub(crate) query: Option<&'static [String]>,
    /// True if requests are refused while the audit trail cannot be written.
    pub(crate) fails_closed: bool,
    /// True if requests are served while the hive is read-only.
    pub(crate) in_read_only: bool,
    /// The feature without which requests cannot be served.
    pub(crate) needs: Option<Feature>,
}

impl RoutePolicy {
    /// Returns the tier of the requests under overload; `None` if they are never refused for it.
    pub(crate) fn tier(self) -> Option<Tier> {
        let needs = match self.access {
            Access::Needs(permission) => Some(permission),
            Access::Open | Access::AnyKey => None,
        };
        Tier::of(needs, self.class)
    }
}

/// Ends of paths of routes that take something away: they go on while the audit trail cannot
/// be written, so that an operator can still stop what goes wrong.
const TAKE_AWAY: &[&str] = &["/revoke", "/disable", "/stop", "/suspend", "/undo"];

/// Returns whether requests of a route are refused while the audit trail cannot be written: those
/// that give rights, run programs, send data out or erase. Tasks go on, and so does what takes
/// something away or mends the hive. The path is that of the table, not of a request.
pub(crate) fn fails_closed(method: &Method, access: Access, path: &str) -> bool {
    let Access::Needs(permission) = access else {
        return false;
    };
    let gives = matches!(
        permission,
        P::AdminUsers | P::AdminKeys | P::SysConfigWrite | P::BotLaunch | P::WebhookManage
    );
    let takes_away = *method == Method::DELETE || TAKE_AWAY.iter().any(|end| path.ends_with(end));
    permission == P::TaskErase || (gives && !method.is_safe() && !takes_away)
}

/// Returns whether requests of a route are served while the hive is read-only: reads, work on
/// tasks that run, what takes something away or ends it, messages, which are never shed, the audit
/// trail, and administration. New work and all other changes are refused, so a new permission is
/// refused until it is listed here. The path is that of the table, not of a request.
pub(crate) fn in_read_only(method: &Method, access: Access, path: &str) -> bool {
    let Access::Needs(permission) = access else {
        return true;
    };
    let takes_away = *method == Method::DELETE
        || path.ends_with("/end")
        || TAKE_AWAY.iter().any(|end| path.ends_with(end));
    let goes_on = matches!(
        permission,
        P::TaskWork
            | P::TaskCancel
            | P::TaskErase
            | P::BotStop
            | P::BotKill
            | P::BotAttach
            | P::AlertAck
            | P::MessageSend
            | P::MessageRead
            | P::AuditAppend
            | P::AuditExport
            | P::ModeSet
            | P::SysConfigRead
            | P::SysConfigWrite
            | P::AdminUsers
            | P::AdminKeys
            | P::AdminRestart
    );
    method.is_safe() || takes_away || goes_on
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gives_rights_runs_programs_or_sends_data_fails_closed() {
        let needs = Access::Needs;
        for (access, method, path, expected) in [
            (needs(P::AdminKeys), Method::POST, "/api/v1/auth/keys", true),
            (needs(P::AdminKeys), Method::GET, "/api/v1/auth/keys", false),
            (
                needs(P::AdminKeys),
                Method::POST,
                "/api/v1/auth/keys/{id}/revoke",
                false,
            ),
            (
                needs(P::AdminUsers),
                Method::DELETE,
                "/api/v1/users/{id}",
                false,
            ),
            (needs(P::BotLaunch), Method::PUT, "/api/v1/bots/{id}", true),
            (
                needs(P::BotStop),
                Method::POST,
                "/api/v1/queue/pause",
                false,
            ),
            (
                needs(P::TaskSubmit),
                Method::POST,
                "/api/v1/tasks/submit",
                false,
            ),
            (
                needs(P::TaskErase),
                Method::DELETE,
                "/api/v1/tasks/{id}/content",
                true,
            ),
            (
                needs(P::AdminRestart),
                Method::POST,
                "/api/v1/supervisors/{path:.*}/restart",
                false,
            ),
            (Access::AnyKey, Method::POST, "/api/v1/auth/session", false),
        ] {
            assert_eq!(
                fails_closed(&method, access, path),
                expected,
                "{method} {path}"
            );
        }
    }
}
