//! Commands that probe a bot.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    time::Duration,
};

use deia_model::BotName;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

use crate::{
    bots::{
        program::{environment, lookup},
        reaper_handle::ReaperHandle,
    },
    reaper,
    runner::Start,
};

/// The surroundings of the commands that probe one bot.
#[derive(Clone)]
pub(in crate::bots) struct ProbeProgram {
    pub(in crate::bots) bot: BotName,
    pub(in crate::bots) port: u16,
    pub(in crate::bots) hive_id: String,
    /// Working directory of the bot's programs; `/` while it does not exist.
    pub(in crate::bots) work_dir: PathBuf,
    pub(in crate::bots) reaper: ReaperHandle,
}

impl ProbeProgram {
    /// Runs a command, which succeeds with exit code 0. All that it has started ends with it.
    pub(super) async fn run(&self, words: &[String], limit: Duration) -> Result<(), String> {
        let (this, words) = (self.clone(), words.to_vec());
        let running = tokio::task::spawn_blocking(move || this.run_blocking(&words, limit));
        let ended = running.await.map_err(|error| error.to_string())?;
        ended.map_err(|error| format!("the command of the probe {error}"))
    }

    fn run_blocking(&self, words: &[String], limit: Duration) -> Result<(), String> {
        let failed = |error: io::Error| format!("could not be run: {error}");
        let environment = self.environment();
        let word = words.first().map(String::as_str).unwrap_or_default();
        let file = lookup::resolve(word, &environment, lookup::is_executable)
            .map_err(|_| format!("could not be run: {word} is not there or not executable"))?;
        let directory = match self.work_dir.is_dir() {
            true => self.work_dir.clone(),
            false => PathBuf::from("/"),
        };
        let start = Start::new(&file, words, &environment, &directory).map_err(failed)?;
        let nowhere = || {
            File::options()
                .write(true)
                .open("/dev/null")
                .map(OwnedFd::from)
        };
        let fds: Vec<OwnedFd> = [nowhere(), nowhere(), nowhere()]
            .into_iter()
            .collect::<io::Result<_>>()
            .map_err(failed)?;
        let tags = vec![
            reaper::instance_tag(self.reaper.instance()),
            format!("DEIA_BOT_ID={}", self.bot),
            "DEIA_PROBE=1".to_owned(),
        ];
        let started = self.reaper.start_program(&start, &fds, &tags);
        let (lease, pid) = started.map_err(failed)?;
        self.reaper.watch(pid);
        let in_time = Pid::from_raw(pid).is_none_or(|leader| ends_within(leader, limit));
        // Until the lease ends, no other group has this number.
        let _ = Pid::from_raw(pid).map(|group| kill_process_group(group, Signal::KILL));
        self.reaper.forget(pid);
        let ended = lease.end().map_err(failed)?;
        match (in_time, ended.status) {
            (false, _) => Err(format!("did not end within {} s", limit.as_secs())),
            (true, status) if status.success() => Ok(()),
            (true, status) => Err(format!("failed: {status}")),
        }
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        let mut variables = environment::inherited(|name| std::env::var_os(name));
        let mut set = |name: &str, value: String| variables.push((name.into(), value.into()));
        set("DEIA_BOT_ID", self.bot.to_string());
        set("DEIA_BOT_PORT", self.port.to_string());
        set("DEIA_PROBE", "1".to_owned());
        set("DEIA_HIVE_ID", self.hive_id.clone());
        set(reaper::INSTANCE_VARIABLE, self.reaper.instance().to_owned());
        set(reaper::RUN_VARIABLE, self.reaper.run().to_owned());
        variables
    }
}

/// Waits until a program has ended. Returns `false` at the limit.
fn ends_within(leader: Pid, limit: Duration) -> bool {
    let Ok(pidfd) = pidfd_open(leader, PidfdFlags::empty()) else {
        return true;
    };
    let limit = Timespec::try_from(limit).unwrap_or_default();
    let pidfd = pidfd.as_fd();
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    !matches!(retry_on_intr(|| poll(&mut fds, Some(&limit))), Ok(0))
}
