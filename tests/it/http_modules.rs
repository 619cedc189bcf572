//! Modules of the HTTP front import each other in no circle.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    layers::circles,
    tidy::{product_part, rust_files},
};

const HTTP: &str = "src/http";
/// Folders whose parent only declares: each file below is a module of its own. A file below
/// any other module belongs to that module.
const FOLDERS: [&str; 4] = ["api", "body", "guard", "server"];

/// Returns the module of a path of names, such as `body::json` or `context`.
fn module_of(names: &[&str]) -> Option<String> {
    match names {
        [folder, name, ..] if FOLDERS.contains(folder) => Some(format!("{folder}::{name}")),
        [folder] if FOLDERS.contains(folder) => None,
        [name, ..] => Some((*name).to_owned()),
        [] => None,
    }
}

/// Returns the paths that a tree of imports names: `a::b` and `a::c` for `a::{b, c}`.
fn expand(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else {
        return vec![tree.trim().to_owned()];
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut depth, mut branches) = (0, vec![String::new()]);
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        match branches.last_mut() {
            Some(branch) if c != ',' || depth > 0 => branch.push(c),
            _ => branches.push(String::new()),
        }
    }
    let branches = branches.iter().filter(|branch| !branch.trim().is_empty());
    let paths = branches.flat_map(|branch| expand(branch));
    paths
        .map(|path| format!("{}{path}", prefix.trim()))
        .collect()
}

/// Returns the modules that each module takes names from.
fn imports(files: &[(String, String)]) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    for (file, text) in files {
        let below = file
            .strip_prefix(HTTP)
            .and_then(|name| name.strip_prefix('/'));
        let names = below.and_then(|name| name.strip_suffix(".rs"));
        let names: Vec<&str> = names.unwrap_or_default().split('/').collect();
        let Some(module) = module_of(&names).filter(|_| names.last() != Some(&"tests")) else {
            continue;
        };
        let from = found.entry(module.clone()).or_default();
        for rest in product_part(text).split("crate::").skip(1) {
            let is_of_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            let end = rest.find(|c| !is_of_path(c)).unwrap_or(rest.len());
            // A list ends with its statement.
            let tree = match rest[end..].starts_with('{') {
                true => rest.split(';').next().unwrap_or(rest),
                false => &rest[..end],
            };
            for path in expand(tree) {
                let names: Vec<&str> = path.split("::").collect();
                if let ["http", names @ ..] = names.as_slice() {
                    from.extend(module_of(names).filter(|other| *other != module));
                }
            }
        }
    }
    found
}

#[test]
fn http_modules_import_each_other_in_no_circle() {
    let imports = imports(&rust_files(HTTP));
    let known = |module: &str, from: &str| imports[module].contains(from);
    assert!(known("table", "api::tasks") && known("guard::pass", "context"));
    assert!(known("api::tasks", "body::answer") && known("server::front", "table"));
    assert_eq!(circles(imports), BTreeMap::new());
}

#[test]
fn circles_through_lists_and_paths_are_found() {
    let file = |name: &str, text: &str| (format!("{HTTP}/{name}.rs"), text.to_owned());
    let files = [
        file("a", "use crate::{http::{body::{json::J, words}, b}, x};\n"),
        file("b", "fn f() { crate::http::body::json::g() }\n"),
        file("body/json", "use crate::http::context::query::Q;\n"),
        file("body/words", ""),
        file("context/query", "use crate::http::b::B;\n"),
    ];
    let left = circles(imports(&files));
    let modules: Vec<&str> = left.keys().map(String::as_str).collect();
    assert_eq!(modules, ["a", "b", "body::json", "context"]);
}
