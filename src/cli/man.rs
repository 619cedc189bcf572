//! `deia man`: manual pages, from the definitions of the commands.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::{
    definition,
    error::{CliError, Exit},
    output::Output,
};

/// Prints the page of `deia`, or writes all pages into a directory.
pub(super) fn run(out: &Output, dir: Option<&Path>) -> Result<(), CliError> {
    let pages = pages()?;
    let Some(dir) = dir else {
        let page = pages.iter().find(|(name, _)| name == "deia.1");
        return print(page.map(|(_, text)| text.as_slice()).unwrap_or_default());
    };
    let failed = |path: PathBuf| move |error| CliError::File { path, error };
    fs::create_dir_all(dir).map_err(failed(dir.to_owned()))?;
    for (name, text) in &pages {
        let path = dir.join(name);
        fs::write(&path, text).map_err(failed(path.clone()))?;
    }
    out.note(&format!("{} pages are in {}", pages.len(), dir.display()));
    Ok(())
}

fn print(text: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text).and_then(|()| stdout.flush());
    written.map_err(|error| CliError::Stream {
        stream: "standard output",
        error,
    })
}

/// Returns the name and the content of each file.
fn pages() -> Result<Vec<(String, Vec<u8>)>, CliError> {
    let failed = |error| CliError::Stream {
        stream: "the manual",
        error,
    };
    let mut found = Vec::new();
    // These commands have options of their own, which the definition of the whole
    // leaves out.
    let mut server = crate::app::command();
    server.build();
    for sub in subcommands(&server) {
        collect(sub, Some("deia"), &mut found).map_err(failed)?;
    }
    let mut whole = definition::command();
    whole.build();
    let mut all = Vec::new();
    collect(&whole, None, &mut all).map_err(failed)?;
    all.retain(|(name, _)| found.iter().all(|(other, _)| other != name));
    found.extend(all);
    found.push(("deia-admin.1".into(), b".so man1/deia.1\n".to_vec()));
    Ok(found)
}

fn subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    let subs = command.get_subcommands();
    subs.filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
}

fn collect(
    command: &Command,
    above: Option<&str>,
    found: &mut Vec<(String, Vec<u8>)>,
) -> io::Result<()> {
    let name = match above {
        Some(above) => format!("{above}-{}", command.get_name()),
        None => command.get_name().to_owned(),
    };
    for sub in subcommands(command) {
        collect(sub, Some(&name), found)?;
    }
    found.push((format!("{name}.1"), page(command, &name, above)?));
    Ok(())
}

fn page(command: &Command, name: &str, above: Option<&str>) -> io::Result<Vec<u8>> {
    let examples = command.get_before_help().map(ToString::to_string);
    // Names with a hyphen, as in git-commit(1), so that each page is found.
    let named = command.clone().name(name.to_owned()).before_help("");
    let man = Man::new(named.after_help("").display_name(name.to_owned()));
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if let Some(examples) = examples {
        let mut roff = Roff::new();
        roff.control("SH", ["EXAMPLES"]);
        roff.control("nf", []);
        for line in examples.lines().skip(1) {
            roff.text([roman(line.trim_start())]);
        }
        roff.control("fi", []);
        roff.to_writer(&mut text)?;
    }
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut text)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    exit_status().to_writer(&mut text)?;
    if let Some(above) = above {
        see_also(above).to_writer(&mut text)?;
    }
    Ok(text)
}

fn exit_status() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for exit in Exit::ALL {
        roff.control("TP", ["4"]);
        roff.text([bold((exit as u8).to_string())]);
        roff.text([roman(exit.meaning())]);
    }
    roff
}

fn see_also(above: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(format!("{above}(1)"))]);
    roff
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_page_overwrites_another() {
        let pages = pages().unwrap();
        let names: BTreeSet<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), pages.len());
        for name in ["deia-admin-key.1", "deia-key.1", "deia-serve.1", "deia.1"] {
            assert!(names.contains(name), "{name}");
        }
        let text = |name: &str| {
            let page = pages.iter().find(|(page, _)| page == name).unwrap();
            String::from_utf8_lossy(&page.1).replace("\\-", "-")
        };
        assert!(text("deia-admin-key.1").contains("--reset"));
        assert!(text("deia-serve.1").contains("--data-dir"));
        assert!(text("deia-key.1").contains("rotate"));
    }
}
