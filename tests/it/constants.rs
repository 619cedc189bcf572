//! Numbers in the code: each limit and threshold is a setting. A constant that is none says why, in
//! its doc comment: `Fact:` and the source (a protocol, a format, the kernel), or `Fixed:` and the
//! reason for which nobody needs to change it.

use crate::tidy::{SOURCES, is_test, product_part, rust_files};

/// Words of the types of numbers.
const NUMBERS: [&str; 13] = [
    "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "f32", "f64", "Duration",
];
/// Folders whose numbers are the settings themselves: their ranges and their defaults.
const SETTINGS: [&str; 1] = ["actors/hive/src/config/"];
/// Parts of files that only tests use.
const OF_TESTS: [&str; 3] = ["/testing", "/conformance", "/fixtures"];

/// A constant with a number.
#[derive(Debug)]
struct Constant {
    place: String,
    name: String,
    doc: String,
}

fn sources() -> Vec<(String, String)> {
    let all = SOURCES.into_iter().chain(["actors/trail/src"]);
    let files = all.flat_map(rust_files);
    files
        .filter(|(name, _)| !is_test(name) && !OF_TESTS.iter().any(|part| name.contains(part)))
        .collect()
}

/// Splits a line into the name and the type of the constant that it declares, and the rest.
fn declared(line: &str) -> Option<(&str, &str, &str)> {
    let mut code = line.trim_start();
    if let Some(rest) = code.strip_prefix("pub") {
        code = match rest.strip_prefix('(') {
            Some(rest) => rest.split_once(')')?.1.trim_start(),
            None => rest.trim_start(),
        };
    }
    let (name, rest) = code.strip_prefix("const ")?.split_once(':')?;
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let (kind, value) = rest.split_once('=')?;
    name.chars()
        .all(is_name)
        .then_some((name, kind.trim(), value))
}

fn is_number(kind: &str) -> bool {
    let words = kind.split(|c: char| !c.is_ascii_alphanumeric());
    let named = |word: &str| NUMBERS.contains(&word) || word.starts_with("NonZero");
    !kind.starts_with(['&', '[']) && { words }.any(named)
}

/// Returns whether a value has a number of its own, and is not made of other constants.
fn has_literal(value: &str) -> bool {
    let words = value.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    { words }.any(|word| word.starts_with(|c: char| c.is_ascii_digit()))
}

/// Returns the constants of a file with a number of their own.
fn constants(name: &str, text: &str) -> Vec<Constant> {
    let mut found = Vec::new();
    let mut doc = Vec::new();
    let mut lines = product_part(text).lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let code = line.trim();
        if let Some(words) = code.strip_prefix("///") {
            doc.push(words.trim());
            continue;
        }
        if code.starts_with("#[") {
            continue;
        }
        let said = std::mem::take(&mut doc).join(" ");
        let Some((constant, kind, value)) = declared(line) else {
            continue;
        };
        let mut value = value.to_owned();
        while !value.trim_end().ends_with(';') {
            let Some((_, more)) = lines.next() else { break };
            value.push_str(more);
        }
        if is_number(kind) && has_literal(&value) {
            found.push(Constant {
                place: format!("{name}:{}", at + 1),
                name: constant.to_owned(),
                doc: said,
            });
        }
    }
    found
}

/// Returns whether a doc comment has a source or a reason, of some words.
fn is_explained(doc: &str) -> bool {
    let reason = |form: &str| doc.split_once(form).map(|(_, reason)| reason.trim());
    let reason = reason("Fact: ").or(reason("Fixed: "));
    reason.is_some_and(|reason| reason.len() > 3 && reason.ends_with('.'))
}

#[test]
fn each_number_is_a_setting_or_says_why_not() {
    let all: Vec<Constant> = sources()
        .iter()
        .flat_map(|(name, text)| constants(name, text))
        .collect();
    assert!(all.len() > 400, "the search finds them: {}", all.len());
    let unexplained: Vec<String> = all
        .iter()
        .filter(|constant| !is_explained(&constant.doc))
        .map(|constant| format!("{}: {}", constant.place, constant.name))
        .collect();
    assert!(
        unexplained.is_empty(),
        "make these keys of config/deia.yaml, or end their doc comments with `Fact: SOURCE.` or \
         `Fixed: REASON.`:\n{}",
        unexplained.join("\n")
    );
}

#[test]
fn no_time_or_capacity_is_written_in_the_middle_of_code() {
    const WORDS: [&str; 5] = [
        "Duration::from_secs(",
        "Duration::from_millis(",
        "Duration::from_micros(",
        "channel(",
        "Semaphore::new(",
    ];
    let mut found = Vec::new();
    for (name, text) in sources() {
        if SETTINGS.iter().any(|folder| name.starts_with(folder)) {
            continue;
        }
        let mut in_constant = false;
        let of_product = product_part(&text);
        let mut parts = of_product.split("#[cfg(any(test, feature = \"testing\"))]");
        let of_product = parts.next().unwrap_or_default();
        for (at, line) in of_product.lines().enumerate() {
            in_constant |= declared(line).is_some();
            let has = |word: &str| {
                let after = line.split(word).skip(1);
                let mut after = after.filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
                // One is no limit that somebody chose.
                after.any(|rest| !rest.starts_with("1)"))
            };
            if !in_constant && !line.trim_start().starts_with("//") && WORDS.iter().any(|w| has(w))
            {
                found.push(format!("{name}:{}: {}", at + 1, line.trim()));
            }
            in_constant &= !line.trim_end().ends_with(';');
        }
    }
    assert!(
        found.is_empty(),
        "make these constants with a reason, or settings:\n{}",
        found.join("\n")
    );
}

#[test]
fn the_search_sees_what_it_should() {
    let text = "
/// Fixed: reason.
pub(in crate::x) const A: Duration =
    Duration::from_secs(3);
const B: u32 = 1 << 4;
const C: usize = A_B2.len();
const D: &str = \"5\";
/// Nothing.
#[allow(x)]
const E: NonZero<u32> = NonZero::<u32>::MIN.saturating_add(4);
";
    let found = constants("f", text);
    let names: Vec<&str> = found.iter().map(|it| &*it.name).collect();
    assert_eq!(names, ["A", "B", "E"]);
    let explained: Vec<bool> = found.iter().map(|it| is_explained(&it.doc)).collect();
    assert_eq!(explained, [true, false, false]);
}
