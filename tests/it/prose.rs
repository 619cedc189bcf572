//! The language of comments. The next engineer reads them more than the code: they open
//! with a verb (functions) or with a noun phrase that names its subject (types).

use crate::tidy::rust_files;

/// Openings of comments that leave out the subject: "Whether it runs.", "What came of it."
const OPENINGS: [&str; 12] = [
    "What", "Who", "Whose", "Whoever", "Whatever", "Whether", "How", "Where", "Why", "Its",
    "Those", "Of",
];

/// Sources whose comments follow the rule.
const FOLDERS: [&str; 8] = [
    "actors",
    "benches",
    "clients/rust",
    "examples",
    "framer",
    "fuzz",
    "src",
    "tests",
];
/// Built code among them.
const BUILT: &str = "/target/";

/// Returns the first lines of comments that begin with one of [`OPENINGS`].
fn openings(text: &str) -> Vec<(usize, &str)> {
    let is_comment = |line: &str| line.trim_start().starts_with("//");
    let mut before = "";
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let is_first = !is_comment(before) || before.trim().trim_matches(['/', '!']).is_empty();
        before = line;
        let words = line
            .trim_start()
            .trim_start_matches(['/', '!'])
            .trim_start();
        let opening = words.split([' ', '.', ',']).next().unwrap_or_default();
        if is_comment(line) && is_first && OPENINGS.contains(&opening) {
            found.push((number + 1, line.trim_start()));
        }
    }
    found
}

#[test]
fn comments_open_with_a_verb_or_a_noun() {
    let mut found = Vec::new();
    for (name, text) in FOLDERS.into_iter().flat_map(rust_files) {
        if name.contains(BUILT) {
            continue;
        }
        for (line, words) in openings(&text) {
            found.push(format!("{name}:{line}: {words}"));
        }
    }
    assert!(
        found.is_empty(),
        "name the subject, or open with a verb:\n{}",
        found.join("\n")
    );
}

#[test]
fn openings_without_a_subject_are_found() {
    let text = "/// Whether it runs.\nfn a() {}\n    // Why not.\n\n/// The task.\n/// What follows is fine.\n/// Its name.";
    let lines: Vec<_> = openings(text).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [1, 3]);
    assert_eq!(
        openings("/// A task.\n///\n/// Who has it.\nlet what = 1;").len(),
        1
    );
    assert_eq!(openings("//! Whatever.\n/// Offers a slot.").len(), 1);
}
