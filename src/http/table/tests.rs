use super::*;

/// A change that nobody sees in the log could not be audited.
#[test]
fn routes_that_may_change_something_name_their_events() {
    for route in table() {
        let names = route.leaves.is_some();
        let may_change = route.method != Method::GET;
        let (method, path) = (&route.method, route.path);
        assert!(names || !may_change, "{method} {path}");
        if let Some(Leaves::Nothing(why)) = route.leaves {
            assert!(!why.is_empty() && !why.ends_with('.'), "{method} {path}");
        }
    }
}

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
        // A lease waits for tasks as a stream does.
        let may_wait = path.ends_with("/lease");
        assert!(
            !reads || *method == Method::GET || may_wait,
            "{method} {path}"
        );
        if let Needs(permission) = route.access {
            // These are for admins and operators, in the class of what they do.
            let may_administer =
                matches!(permission, P::ModeSet | P::SysConfigWrite | P::RecoveryRun);
            let administers = permission.as_str().starts_with("admin:");
            assert!(
                may_administer || administers == (class == Admin),
                "{method} {path}"
            );
            assert_eq!(
                permission == P::TaskSubmit,
                class == Submit,
                "{method} {path}"
            );
        }
    }
}
