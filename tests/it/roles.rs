//! The table of roles in the guide is that of the code.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use deia::http::{Access, table};
use deia_model::{Permission, Role};

const BEGIN: &str = "<!-- roles: written by DEIA_BLESS=1 cargo test --test it roles -->\n";
const END: &str = "<!-- end of roles -->";

fn roles() -> String {
    let mut routes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for route in table() {
        if let Access::Needs(permission) = route.access {
            let path = route.path.replace(":.*}", "}");
            let of = routes.entry(permission.as_str()).or_default();
            of.push(format!("`{} {path}`", route.method));
        }
    }
    let names = Role::ALL.map(Role::as_str).join(" | ");
    let mut text = format!("| permission | {names} | routes |\n|---|---|---|---|---|---|---|\n");
    for permission in Permission::ALL {
        let cells = Role::ALL.map(|role| if role.may(*permission) { "yes" } else { "" });
        let routes = routes
            .get(permission.as_str())
            .map_or(String::new(), |of| of.join(", "));
        let cells = cells.join(" | ");
        writeln!(text, "| `{}` | {cells} | {routes} |", permission.as_str()).unwrap();
    }
    let any = table()
        .into_iter()
        .filter(|route| route.access == Access::AnyKey);
    let any: Vec<_> = any
        .map(|route| format!("`{} {}`", route.method, route.path))
        .collect();
    writeln!(
        text,
        "| any key | yes | yes | yes | yes | yes | {} |",
        any.join(", ")
    )
    .unwrap();
    text
}

#[test]
fn the_table_of_roles_in_the_guide_is_current() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/AUTHENTICATION-GUIDE.md");
    let guide = fs::read_to_string(&path).unwrap();
    let (before, rest) = guide.split_once(BEGIN).unwrap();
    let (committed, after) = rest.split_once(END).unwrap();
    if std::env::var_os("DEIA_BLESS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", roles())).unwrap();
        return;
    }
    assert!(
        committed == roles(),
        "the table of roles is stale: DEIA_BLESS=1 cargo test --test it roles"
    );
}
