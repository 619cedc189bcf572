//! The composition root: settings, logs, the hive, the HTTP server in front of it, and
//! the shutdown.

mod admin_key;
mod args;
mod causes;
mod check;
mod crash;
mod handover;
mod reload;
mod restart;
mod restore;
mod secrets;
mod signals;
mod socket;
mod source;

use std::{
    any::Any, net::TcpListener, panic::AssertUnwindSafe, path::Path, process::ExitCode, sync::Arc,
};

use anyhow::Context;
use clap::{CommandFactory as _, Parser};
use deia_hive::{
    Hive, StartSettings,
    config::ConfigError,
    host,
    host::{children, descriptors, descriptors::DescriptorNeed},
};
use deia_model::BotDesired;
use tokio::sync::SetOnce;

use self::{
    args::{Args, Command, SecretsCommand, SettingsArgs},
    handover::Handover,
    reload::{Reloads, reload_on_hangup},
    restart::{Restart, Running},
    signals::Signals,
    socket::{announce, listen},
    source::OwnSettings,
};
use crate::{
    http::{self, Tls},
    telemetry::{self, Telemetry},
};

/// Returns the definition of the command line of `deia`, for its documents.
pub fn command() -> clap::Command {
    Args::command()
}

/// Runs `deia`: serves, unless the command line says otherwise. Calls to a running hive
/// are commands of [`crate::cli`].
pub fn main() -> ExitCode {
    as_asked(args::Side::Server)
}

/// Runs `deia-admin`: the same command line, which serves only on request.
pub fn admin() -> ExitCode {
    as_asked(args::Side::Client)
}

/// Returns whether these arguments, without the program's name, are for the server.
#[cfg(test)]
pub(crate) fn is_of_server(words: &[std::ffi::OsString]) -> bool {
    args::side(words).is_none_or(|side| side == args::Side::Server)
}

fn as_asked(by_default: args::Side) -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    match args::side(&words).unwrap_or(by_default) {
        args::Side::Server => server(),
        args::Side::Client => crate::cli::run(std::env::args_os()).into(),
    }
}

/// Runs the server side of the command line. Exit codes: 0 done, 1 failed, 2 wrong
/// usage or settings.
fn server() -> ExitCode {
    // Before any thread is started, whatever the command.
    if let Err(error) = host::signals::reset() {
        telemetry::last_words(&format!("deia: signals cannot be reset: {error}"));
        return ExitCode::FAILURE;
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return wrong_usage(&error),
    };
    if !matches!(args.command, Some(Command::Serve) | None)
        && let Err(error) = host::signals::let_through()
    {
        telemetry::last_words(&format!("deia: signals cannot be reset: {error}"));
        return ExitCode::FAILURE;
    }
    let done = match args.command {
        Some(Command::Reaper { instance, run }) => deia_hive::reaper::run(&instance, &run)
            .map(|_| ExitCode::SUCCESS)
            .context("the reaper of the hive's programs failed"),
        Some(Command::Runner) => deia_hive::runner::run()
            .map(|()| ExitCode::SUCCESS)
            .context("the runner of a program failed"),
        Some(Command::AdminKey { .. }) => admin_key::reset(&args.settings),
        Some(Command::Restore(restore)) => restore::run(restore),
        Some(Command::Secrets(SecretsCommand::Rotate)) => secrets::rotate(&args.settings),
        Some(Command::Check { for_restart }) => {
            Ok(check::run(&args.settings, for_restart.as_deref()))
        }
        Some(Command::Serve) | None => serve(args.settings),
    };
    done.unwrap_or_else(|error| {
        telemetry::last_words(&format!("deia: {}", causes::told_once(&error)));
        match error.downcast_ref::<ConfigError>() {
            Some(_) => ExitCode::from(2),
            None => ExitCode::FAILURE,
        }
    })
}

/// Prints the error in the command line, or the requested help.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        // An argument that this binary does not know is also a failed start.
        Handover::take().go_back(&error.to_string());
    }
    // If the reader of a help text has gone away, there is nobody to inform.
    let _ = telemetry::redact::print(error);
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Serves; a start that fails after a restart in place goes back to the previous image.
fn serve(settings: SettingsArgs) -> anyhow::Result<ExitCode> {
    let mut handover = Handover::take();
    let serving = AssertUnwindSafe(|| start(settings, &mut handover));
    let served = match std::panic::catch_unwind(serving) {
        Ok(served) => served,
        Err(panic) if handover.way_back.is_some() => {
            Err(anyhow::anyhow!("it panicked: {}", message_of(&*panic)))
        }
        Err(panic) => std::panic::resume_unwind(panic),
    };
    let error = match served {
        Err(error) => error,
        ended => return ended,
    };
    let reason = causes::told_once(&error);
    match handover.go_back(&reason) {
        None => Err(error),
        Some(lost) => {
            Err(error.context(format!("the previous binary cannot be run again ({lost})")))
        }
    }
}

/// Returns the message of a panic.
fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message")
}

fn start(settings: SettingsArgs, handover: &mut Handover) -> anyhow::Result<ExitCode> {
    let inherited = descriptors::take_inherited();
    let inherited = inherited.context("the descriptors of this process cannot be listed")?;
    let file = match handover.settings.take() {
        Some(file) => file,
        None => settings.read_file()?,
    };
    let begun = OwnSettings::start(&settings, &file)?;
    let config = begun.config().clone();
    let restart = Arc::new(Restart::prepare(settings, handover, &file)?);
    let telemetry = telemetry::start(&config.logging, &config.telemetry)?;
    if let Some(reason) = &handover.failed {
        tracing::error!(
            reason,
            "the restart failed: running the previous binary again, with its settings"
        );
    }
    deia_supervision::install_panic_hook();
    prepare_host(inherited)?;
    actix_rt::System::new().block_on(run(begun, restart, handover, &telemetry))
}

/// Requests from the host what the hive needs.
fn prepare_host(inherited: usize) -> anyhow::Result<()> {
    if inherited > 0 {
        tracing::info!(
            descriptors = inherited,
            "files left open by the parent process are not passed to programs"
        );
    }
    let before = descriptors::limit();
    match descriptors::raise() {
        Ok(()) if before.soft < before.hard => tracing::info!(
            from = before.soft,
            to = before.hard,
            "limit of open files raised"
        ),
        Ok(()) => {}
        Err(error) => {
            tracing::warn!(limit = before.soft, %error, "limit of open files cannot be raised");
        }
    }
    if children::adopts_orphans() {
        children::reap_orphans().context("orphaned processes cannot be reaped")?;
        tracing::info!("orphaned processes become children of this one and are reaped");
    }
    Ok(())
}

/// Warns when the bots and settings may take more open files than are allowed.
async fn compare_descriptors(hive: &Hive) {
    // An unreadable store is reported elsewhere.
    let bots = hive.bots().list().await.unwrap_or_default();
    let launched = bots
        .iter()
        .filter(|bot| bot.desired == BotDesired::Launched);
    let programs = launched.map(|bot| descriptors::programs(&bot.executor, &bot.capabilities));
    let config = hive.config();
    let (connections, readers) = (config.server.max_connections, config.store.readers);
    let need = DescriptorNeed::of(connections, readers, programs.sum());
    if let Some(detail) = need.beyond(descriptors::limit().soft) {
        tracing::warn!("{detail}");
    }
}

/// Starts the hive, and runs it until it is asked to stop or gives up.
async fn run(
    settings: StartSettings,
    restart: Arc<Restart>,
    handover: &mut Handover,
    telemetry: &Telemetry,
) -> anyhow::Result<ExitCode> {
    let (mut signals, hangup) = Signals::listen()?;
    let config = settings.config().clone();
    let tls = Tls::load(&config.server.tls)?;
    let listener = listen(config.server.bind, config.server.backlog, handover)?;
    let address = listener.local_addr()?;
    let kept = Arc::new(listener.try_clone()?);
    if config.server.is_readable_outside() {
        tracing::warn!(%address, "HTTP without TLS on this address: keys are sent unencrypted");
    }
    let running_hive = Arc::new(SetOnce::new());
    let reloads = Reloads {
        tls: tls.clone(),
        hive: running_hive.clone(),
    };
    actix_rt::spawn(reload_on_hangup(hangup, reloads));
    let checked = (restart.clone(), kept.clone());
    let restarted = handover.outcome();
    let front = move |hive: &Hive| {
        // Before anybody can request one.
        if let Some(outcome) = restarted {
            hive.operations().note_restart(outcome);
        }
        allow_restart(hive, checked);
        http::front(hive, listener, tls)
    };
    let hive = tokio::select! {
        hive = Hive::start(settings, Box::new(front)) => hive?,
        () = signals.next() => {
            handover.forget_way_back();
            tracing::info!("stopped while starting");
            return Ok(ExitCode::SUCCESS);
        }
    };
    handover.forget_way_back();
    crash::note_earlier(&config);
    // Set once: this process has no other hive.
    let _ = running_hive.set(hive.clone());
    if let Some(reason) = &handover.failed {
        hive.record_failed_restart(reason).await;
    }
    tracing::info!(%address, data_dir = %hive.config().data_dir.display(), "ready");
    actix_rt::spawn(telemetry::follow(hive.settings().changes()));
    announce(address, &hive.config());
    compare_descriptors(&hive).await;
    let gave_up = tokio::select! {
        reason = hive.ended() => reason,
        () = hive.restart_asked() => {
            tracing::info!("restarting");
            let down = hive.make_way();
            tokio::pin!(down);
            let stop_instead = tokio::select! {
                () = &mut down => false,
                () = signals.next() => true,
            };
            if !stop_instead {
                telemetry.flush();
                if let Err(adrift) = hive.operations().data_holds() {
                    // A start, even of this image, would begin an empty hive.
                    anyhow::bail!("cannot restart: {adrift}");
                }
                let data_dir = restart::absolute(&hive.config().data_dir);
                return Err(restart.carry_out(&running(&hive, &data_dir, &kept)));
            }
            tracing::info!("stopping instead; a second signal stops at once");
            hive.refuse_work();
            tokio::select! {
                () = down => None,
                () = signals.next() => anyhow::bail!("stopped at once, without an orderly end"),
            }
        }
        () = signals.next() => {
            let limit_s = hive.config().stop_limits().whole().as_secs();
            tracing::info!(limit_s, "stopping within {limit_s} s; a second signal stops at once");
            tokio::select! {
                () = hive.shutdown() => None,
                () = signals.next() => anyhow::bail!("stopped at once, without an orderly end"),
            }
        }
    };
    match gave_up {
        None => {
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        Some(reason) => Err(crash::report(&hive, &reason)),
    }
}

/// Accepts requests for a restart if a check by the binary succeeds.
fn allow_restart(hive: &Hive, (restart, socket): (Arc<Restart>, Arc<TcpListener>)) {
    let data_dir = restart::absolute(&hive.config().data_dir);
    let settings = hive.settings().changes();
    hive.allow_restart(Arc::new(move || {
        let limit = settings.borrow().config.server.restart_check_timeout;
        restart.check(&Running {
            data_dir: &data_dir,
            socket: &socket,
            limit,
        })
    }));
}

fn running<'a>(hive: &Hive, data_dir: &'a Path, socket: &'a TcpListener) -> Running<'a> {
    Running {
        data_dir,
        socket,
        limit: hive.config().server.restart_check_timeout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_of_a_panic_is_found() {
        let panics: [(fn(), &str); 3] = [
            (|| panic!("plain"), "plain"),
            (|| panic!("with {}", 1), "with 1"),
            (|| std::panic::panic_any(7), "without a message"),
        ];
        for (panics, expected) in panics {
            let panic = std::panic::catch_unwind(panics).unwrap_err();
            assert_eq!(message_of(&*panic), expected);
        }
    }
}
