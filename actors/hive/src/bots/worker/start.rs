//! The start of the program.

use std::{ffi::OsString, path::PathBuf, rc::Rc};

use super::{WorkerContext, protocol::VERSION};
use crate::{
    bots::program::{
        environment::{BotVariables, of_bot},
        launch::{Launch, Pipes, Program},
        lookup,
        start_failure::{self, NotStarted},
    },
    host::private_dir,
    reaper,
};

/// Variable with the number of the start of the bot. Only the processes of that program carry it.
const INCARNATION_VARIABLE: &str = "DEIA_BOT_INCARNATION";

/// Variable with the version of the protocol.
const PROTOCOL_VARIABLE: &str = "DEIA_WORKER_PROTOCOL";

/// Starts the program off the arbiter: loading it may block on the disk.
///
/// # Errors
/// The program cannot be started.
pub(super) async fn start(cx: &Rc<WorkerContext>) -> Result<(Program, Pipes), NotStarted> {
    let Some(word) = cx.spec.command.first().cloned() else {
        return Err(NotStarted::bot("the command names no program"));
    };
    let secrets = cx.secrets.resolve().await;
    let secrets = secrets.map_err(|error| NotStarted::bot(error.to_string()))?;
    let mut launch = launch(cx, secrets);
    let make_directory = cx.spec.working_dir.is_none();
    // If the future is dropped, so is the result of the start, which kills the program.
    let started = tokio::task::spawn_blocking(move || {
        let directory = launch.directory.clone();
        if make_directory {
            private_dir::make(&directory).map_err(|error| {
                NotStarted::bot(format!(
                    "the working directory {} cannot be made: {error}",
                    directory.display()
                ))
            })?;
        }
        launch.file = lookup::resolve(&word, &launch.environment, lookup::is_executable)
            .map_err(|missing| start_failure::not_found(&word, missing))?;
        launch
            .start()
            .map_err(|error| start_failure::not_started(&word, &directory, &error))
    });
    started.await.unwrap_or_else(|error| {
        Err(NotStarted::bot(format!(
            "the program cannot be started: {error}"
        )))
    })
}

fn launch(cx: &WorkerContext, secrets: Vec<(OsString, OsString)>) -> Launch {
    let of = BotVariables {
        bot: &cx.bot,
        port: cx.port,
        hive_id: &cx.hive_id,
        reaper: &cx.reaper,
    };
    let mut environment = of_bot(&cx.spec, &of, |name| std::env::var_os(name));
    let incarnation = cx.incarnation.to_string();
    environment.push((INCARNATION_VARIABLE.into(), incarnation.clone().into()));
    environment.push((PROTOCOL_VARIABLE.into(), VERSION.to_string().into()));
    environment.extend(secrets);
    // The runner that starts the program has a different working directory.
    let own_directory = cx.spec.working_dir.as_ref().map(PathBuf::from);
    let own_directory = own_directory.map(|it| std::path::absolute(&it).unwrap_or(it));
    Launch {
        file: PathBuf::new(),
        command: cx.spec.command.clone(),
        environment,
        directory: own_directory.unwrap_or_else(|| cx.work_dir.clone()),
        has_input: true,
        tells_progress: false,
        env_tags: vec![
            reaper::instance_tag(cx.reaper.instance()),
            reaper::run_tag(cx.reaper.run()),
            format!("DEIA_BOT_ID={}", cx.bot),
            format!("{INCARNATION_VARIABLE}={incarnation}"),
        ],
        reaper: cx.reaper.clone(),
        pids: cx.pids.clone(),
        incarnation: cx.incarnation,
        descriptors: cx.limits.descriptors,
    }
}
