//! Classes of routes: each has its own budget of requests for every caller, and
//! its own places at a time, so that one kind of work does not stand in the way
//! of another.

use actix_web::http::Method;
use deia_model::Permission;

use crate::http::guard::policy::Access;

/// What kind of work a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RouteClass {
    /// Submits tasks.
    Submit,
    /// Reads, and is done.
    Read,
    /// Changes something.
    Write,
    /// Reads, and may go on.
    Stream,
    /// Administers.
    Admin,
}

/// Query parameters of routes that may go on.
const GOES_ON: [&str; 3] = ["wait_ms", "follow", "offset"];

impl RouteClass {
    pub(crate) const ALL: [Self; 5] = [
        Self::Submit,
        Self::Read,
        Self::Write,
        Self::Stream,
        Self::Admin,
    ];

    /// Its name in settings and headers.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Read => "read",
            Self::Write => "write",
            Self::Stream => "stream",
            Self::Admin => "admin",
        }
    }

    /// The class of a route.
    pub(crate) fn of(method: &Method, path: &str, access: Access, query: &[&str]) -> Self {
        match access {
            Access::Needs(Permission::TaskSubmit) => Self::Submit,
            Access::Needs(permission) if permission.as_str().starts_with("admin:") => Self::Admin,
            _ if GOES_ON.iter().any(|name| query.contains(name)) => Self::Stream,
            _ if *method == Method::GET => Self::Read,
            // A session is written to the disk and read by all: as dear as a key.
            _ if path.starts_with("/api/v1/auth/session") => Self::Admin,
            _ => Self::Write,
        }
    }
}

/// One of something for each class.
#[derive(Debug)]
pub(crate) struct PerClass<T>([T; RouteClass::ALL.len()]);

impl<T> PerClass<T> {
    pub(crate) fn new(make: impl Fn(RouteClass) -> T) -> Self {
        Self(RouteClass::ALL.map(make))
    }

    pub(crate) fn get(&self, class: RouteClass) -> &T {
        // The classes are numbered in the order of `ALL`.
        &self.0[class as usize]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_have_their_classes() {
        use Access::{AnyKey, Needs, Open};
        use Permission as P;
        for (method, access, query, expected) in [
            (
                Method::POST,
                Needs(P::TaskSubmit),
                &[][..],
                RouteClass::Submit,
            ),
            (
                Method::GET,
                Needs(P::TaskRead),
                &["limit"],
                RouteClass::Read,
            ),
            (
                Method::GET,
                Needs(P::TaskRead),
                &["wait_ms"],
                RouteClass::Stream,
            ),
            (Method::POST, Needs(P::TaskCancel), &[], RouteClass::Write),
            (Method::DELETE, Needs(P::BotKill), &[], RouteClass::Write),
            (Method::GET, Needs(P::AdminKeys), &[], RouteClass::Admin),
            (Method::POST, Needs(P::AdminRestart), &[], RouteClass::Admin),
            (Method::GET, AnyKey, &[], RouteClass::Read),
            (Method::POST, AnyKey, &[], RouteClass::Write),
            (Method::GET, Open, &[], RouteClass::Read),
        ] {
            assert_eq!(
                RouteClass::of(&method, "/api/v1/x", access, query),
                expected,
                "{method} {access:?}"
            );
        }
        let session = "/api/v1/auth/session";
        for (method, expected) in [
            (Method::GET, RouteClass::Read),
            (Method::POST, RouteClass::Admin),
        ] {
            assert_eq!(RouteClass::of(&method, session, AnyKey, &[]), expected);
        }
        let names = PerClass::new(RouteClass::as_str);
        for class in RouteClass::ALL {
            assert_eq!(*names.get(class), class.as_str());
        }
    }
}
