//! `deia audit verify`: offline.

use std::{
    fs, io,
    num::NonZero,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;
use deia_trail::{
    TrailReader,
    note::VerifierKey,
    verify::{
        DetailsCheck, KeySource, Progress, Report, State, Verification, Verifier, VerifyError,
    },
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::{
    context::read_text,
    error::CliError,
    format,
    interrupt::{Interrupt, Stays},
    output::{Look, Output},
    parse,
    table::{Cell, Column, Table, Tone},
};

/// Units that are checked between two updates of the progress, for each thread. Fixed: of
/// the command line, which has no settings.
const STEP: u64 = 128;
/// Interval at which the progress is saved. Fixed: of the command line, which has no
/// settings.
const SAVE_EVERY: Duration = Duration::from_secs(2);
/// Maximum size of saved progress, in bytes. Fixed: of the command line, which has no
/// settings.
const MAX_STATE_BYTES: u64 = 256 << 20;
/// Maximum number of threads. Fixed: of the command line, which has no settings.
const MAX_JOBS: u32 = 256;

/// Arguments of `deia audit verify`.
#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyArgs {
    /// Directory of the trail: `audit` in the data directory of a hive, or a copy of it.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Key (vkey) of the log, or of a witness, from a source that you trust. Can be given
    /// several times.
    #[arg(long = "key", value_name = "VKEY")]
    keys: Vec<VerifierKey>,
    /// Check the entries from this index on; 0 is the first.
    #[arg(long, value_name = "ENTRY")]
    from: Option<u64>,
    /// Check the entries before this index.
    #[arg(long, value_name = "ENTRY")]
    to: Option<u64>,
    /// Leave out the details of entries.
    #[arg(long)]
    no_details: bool,
    /// Number of threads.
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse::whole(1..=MAX_JOBS))]
    jobs: u32,
    /// Save the progress in this file, and continue from it if it exists. The file is removed
    /// at the end.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
}

impl VerifyArgs {
    pub(in crate::cli) fn run(self, out: &Output) -> Result<(), CliError> {
        let interrupt = Interrupt::default();
        interrupt.listen(None).map_err(CliError::Runtime)?;
        let mut verifier = self.verifier()?;
        let jobs = usize::try_from(self.jobs).ok().and_then(NonZero::new);
        verifier
            .set_jobs(jobs.unwrap_or(NonZero::<usize>::MIN))
            .map_err(self.unreadable())?;
        if let Some(file) = &self.resume {
            save(file, verifier.state())?;
            interrupt.stays(Stays::Saved(file.clone()));
        }
        let bar = bar(verifier.progress());
        let mut saved = Instant::now();
        while !verifier.is_done() {
            let progress = verifier.step(STEP * u64::from(self.jobs));
            bar.set_length(progress.total);
            bar.set_position(progress.done);
            if let Some(file) = &self.resume
                && saved.elapsed() >= SAVE_EVERY
            {
                save(file, verifier.state())?;
                saved = Instant::now();
            }
        }
        bar.finish_and_clear();
        interrupt.stays(Stays::Nothing);
        let report = verifier.report();
        out.one(&report, |look| view(&report, look))?;
        if let Some(file) = &self.resume {
            fs::remove_file(file).map_err(failed("--resume", file))?;
        }
        if out.is_table() && report.keys_from == KeySource::Directory {
            out.note("the keys are those of the directory: give --key to prove who wrote the log");
        }
        match report.sound {
            true => Ok(()),
            false => Err(CliError::NotSound {
                dir: self.dir,
                faults: report.faults.len() as u64 + report.more_faults,
            }),
        }
    }

    /// Begins the verification, or goes on with one.
    fn verifier(&self) -> Result<Verifier, CliError> {
        let trail = TrailReader::new(&self.dir);
        let wanted = Verification {
            from: self.from,
            to: self.to,
            keys: self.keys.clone(),
            check_details: !self.no_details,
        };
        let saved = match &self.resume {
            Some(file) if file.exists() => Some(file),
            _ => None,
        };
        let Some(file) = saved else {
            return Verifier::new(&trail, wanted).map_err(|error| self.explain(error));
        };
        let text = read_text("--resume", file, MAX_STATE_BYTES)?;
        let not_usable = |reason: &str| CliError::Input {
            what: format!("--resume {}", file.display()),
            reason: format!("{reason}; remove the file to start over"),
        };
        let state: State = serde_json::from_str(&text)
            .map_err(|_| not_usable("expected progress that was saved by this command"))?;
        match state.verification() {
            Ok(begun) if begun == wanted => {}
            _ => return Err(not_usable("it was saved with other arguments")),
        }
        Verifier::resume(&trail, state).map_err(|error| match error {
            VerifyError::State(reason) => not_usable(reason),
            error => self.explain(error),
        })
    }

    fn explain(&self, error: VerifyError) -> CliError {
        match error {
            VerifyError::NoTrail(dir) => CliError::NoSuch {
                what: format!("audit trail in {}", dir.display()),
                known: Vec::new(),
            },
            VerifyError::Unreadable { dir, error } => CliError::File { path: dir, error },
            VerifyError::Range { .. } => CliError::Input {
                what: "--from, --to".into(),
                reason: error.to_string(),
            },
            VerifyError::State(reason) => CliError::Input {
                what: "--resume".into(),
                reason: reason.into(),
            },
        }
    }

    fn unreadable(&self) -> impl FnOnce(io::Error) -> CliError {
        let path = self.dir.clone();
        move |error| CliError::File { path, error }
    }
}

fn bar(progress: Progress) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(progress.total), ProgressDrawTarget::stderr());
    // The template is constant; without it the bar has its own.
    match ProgressStyle::with_template("verifying {wide_bar} {percent} % ({eta} left)") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Saves the progress so that the file is replaced as a whole.
fn save(file: &Path, state: &State) -> Result<(), CliError> {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let draft = PathBuf::from(name);
    fs::write(&draft, serde_json::to_vec(state)?).map_err(failed("--resume", &draft))?;
    fs::rename(&draft, file).map_err(failed("--resume", file))
}

fn failed(option: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CliError {
    let path = path.to_owned();
    move |error| CliError::FileOf {
        option,
        path,
        error,
    }
}

/// Returns a report for people.
fn view(report: &Report, look: &Look) -> String {
    let mut fields = Table::fields();
    fields.field("result", result(report));
    fields.field("log", report.origin.as_deref().unwrap_or("-"));
    fields.field("entries", report.size);
    if (report.from, report.to) != (0, report.size) {
        let last = report.to.saturating_sub(1);
        fields.field("range", format!("{} to {last}", report.from));
    }
    fields.field("root", report.root.as_str());
    let checked = report.checked;
    let count = |n, one, many| format::count(n, one, many);
    fields.field(
        "checked",
        format!(
            "{}, {}, {}, {}",
            count(checked.entries, "entry", "entries"),
            count(checked.tiles, "hash tile", "hash tiles"),
            count(checked.checkpoints, "checkpoint", "checkpoints"),
            match report.details {
                DetailsCheck::Checked => format!("details of {}", checked.details),
                DetailsCheck::NotAsked => "no details, as asked".into(),
                DetailsCheck::Absent => "no details: this copy has none".into(),
            }
        ),
    );
    if report.erased > 0 {
        fields.field("erased", format!("details of {}", report.erased));
    }
    if report.pruned > 0 {
        fields.field("pruned", format!("{} by retention", report.pruned));
    }
    let source = match report.keys_from {
        KeySource::Given => "given",
        KeySource::Directory => "of the directory",
    };
    for key in &report.keys {
        fields.field("key", format!("{key} ({source})"));
    }
    for note in &report.notes {
        fields.field("note", note.as_str());
    }
    if report.more_notes > 0 {
        fields.field("note", format!("and {} more", report.more_notes));
    }
    let mut text = fields.render(look);
    if !report.faults.is_empty() {
        let columns = [Column::new("PLACE").flows(), Column::new("FAULT").flows()];
        let mut faults = Table::new(&columns);
        for fault in &report.faults {
            faults.row(vec![fault.place().into(), fault.reason.as_str().into()]);
        }
        text.push('\n');
        text.push_str(&faults.render(look));
    }
    text
}

fn result(report: &Report) -> Cell {
    let faults = report.faults.len() as u64 + report.more_faults;
    match (report.sound, report.faults.len() as u64) {
        (true, _) => Cell::new("sound", Tone::Good),
        (false, shown) if shown < faults => Cell::new(
            format!("{faults} faults, of which {shown} are listed"),
            Tone::Bad,
        ),
        (false, _) => Cell::new(format::count(faults, "fault", "faults"), Tone::Bad),
    }
}
