//! Disk space reserved for writes that must succeed on a full disk.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use deia_model::{Action, BotDesired, NewEvent};
use rustix::{fs::FallocateFlags, io::Errno};

use super::disk_space;
use crate::{
    AccessCommand, AlertCommand, Command, MessageCommand, SessionCommand, WebSessionCommand,
    WebhookCommand, reserve::FILE,
};

/// Minimum time between two attempts to restore the reserve. Fixed: a fault is not tried
/// in a loop, and its end is noticed soon.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Part of the reserve that a command may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// All of it: the command stops something, revokes access, or records an end.
    Whole,
    /// The first half: the command frees space in the end, but first needs some in the
    /// log. It must not prevent work from being stopped.
    Half,
    /// Nothing: the command adds work, or starts it.
    Nothing,
}

/// Returns the part of the reserve that a command may use.
pub(super) fn share_of(command: &Command, has_happened: bool) -> Share {
    let whole = |may: bool| if may { Share::Whole } else { Share::Nothing };
    if has_happened {
        return Share::Whole;
    }
    match command {
        Command::For { command, .. } => share_of(command, false),
        Command::CancelTask(_)
        | Command::PauseQueue(_)
        | Command::FinishAttempts(_)
        | Command::FinishHeld(_)
        | Command::ExtendLeases(_)
        | Command::HoldLease(_)
        | Command::ReleaseLeases(_)
        | Command::MoveBot(_)
        | Command::NoteDrained(_)
        | Command::MarkRunning(_)
        // An operator makes the hive read-only, or ends that.
        | Command::Mode(_)
        | Command::Access(AccessCommand::RevokeKey(_) | AccessCommand::RecoverAdmin(_))
        | Command::WebSession(WebSessionCommand::End(_) | WebSessionCommand::EndAll(_)) => Share::Whole,
        Command::WriteSettings(command) => whole(command.mends),
        Command::SetDesired(command) => whole(command.desired != BotDesired::Launched),
        // Callers can cause any number of these.
        Command::RecordEvents(command) => {
            let of_request =
                |event: &NewEvent| matches!(event.action, Action::ApiDenied | Action::ApiCall);
            whole(!command.0.iter().any(of_request))
        }
        // Only this allows the events to be pruned that the follower holds back.
        Command::Advance(advance) if advance.binding => Share::Half,
        Command::EraseTask(_)
        | Command::Prune(_)
        | Command::PruneEvents(_)
        | Command::BeginTimeline(_)
        | Command::DeleteBot(_)
        // An alert of the full disk itself is among them.
        | Command::Alert(AlertCommand::Settle(_))
        | Command::Message(MessageCommand::Close(_))
        | Command::Session(SessionCommand::End(_) | SessionCommand::Settle(_))
        | Command::Webhook(WebhookCommand::Delete(_) | WebhookCommand::Disable(_)) => Share::Half,
        Command::Advance(_)
        | Command::Submit(_)
        | Command::ClaimTasks(_)
        | Command::RetryTask(_)
        | Command::Secret(_)
        | Command::Webhook(_)
        | Command::Alert(AlertCommand::Acknowledge(_))
        | Command::AppendExternal(_)
        | Command::Message(_)
        | Command::Session(_)
        | Command::NoteProgress(_)
        | Command::RunDue(_)
        | Command::ResumeQueue(_)
        | Command::PutBot(_)
        | Command::ProbeWrite(_)
        | Command::Access(_)
        | Command::WebSession(_) => Share::Nothing,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There never was space for it, or it is disabled.
    Absent,
    /// The blocks are allocated.
    Whole,
    /// The blocks were released. The empty file tells the next start.
    InUse,
}

/// A file whose blocks are released when the disk is full.
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    state: State,
    looked: Option<Instant>,
}

impl Reserve {
    /// Opens the reserve that an earlier run left, or creates it if there is space.
    pub(super) fn open(dir: &Path, bytes: u64) -> Self {
        let path = dir.join(FILE);
        // Blocks count 512 bytes, whatever the file system's are (stat(2)).
        let held = path.metadata().ok().map(|file| file.blocks() * 512);
        let state = match held {
            None => State::Absent,
            Some(0) => State::InUse,
            Some(_) => State::Whole,
        };
        let mut reserve = Self {
            path,
            bytes,
            state,
            looked: None,
        };
        if bytes == 0 {
            // A reserve that is disabled frees its space.
            let _ = std::fs::remove_file(&reserve.path);
            reserve.state = State::Absent;
        } else if held.is_none_or(|held| held < bytes) && !reserve.make() && held.is_none() {
            tracing::warn!(
                reserve_bytes = bytes,
                "no space for the reserve: on a full disk pause, cancel and stop may be refused"
            );
        }
        reserve
    }

    /// Finds the reserve of an earlier run beside `database`, and creates nothing.
    pub(super) fn of(database: &Path) -> Self {
        let path = database.with_file_name(FILE);
        let state = match path.metadata() {
            Ok(file) if file.blocks() > 0 => State::Whole,
            _ => State::Absent,
        };
        Self {
            path,
            bytes: 0,
            state,
            looked: None,
        }
    }

    /// Returns whether the blocks were released, so that only commands that may use the
    /// reserve are applied.
    pub(super) fn is_in_use(&self) -> bool {
        self.state == State::InUse
    }

    /// Returns whether a command with this share may be applied while the reserve is in
    /// use and `free_bytes` of the disk are free.
    pub(super) fn lets(&self, share: Share, free_bytes: u64) -> bool {
        match share {
            Share::Whole => true,
            Share::Half => free_bytes >= self.bytes / 2,
            Share::Nothing => false,
        }
    }

    /// Releases the blocks. Returns `false` if there are none.
    pub(super) fn give_up(&mut self) -> bool {
        if self.state != State::Whole {
            return false;
        }
        let emptied = File::options()
            .write(true)
            .open(&self.path)
            .and_then(|file| file.set_len(0));
        self.looked = Some(Instant::now());
        match emptied {
            Ok(()) => {
                self.state = State::InUse;
                tracing::warn!(
                    reserve_bytes = self.bytes,
                    "the disk is full: released the reserve for pause, cancel, stop and ends of attempts; other commands are refused until there is space"
                );
                true
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "the reserve cannot be released");
                self.state = State::Absent;
                false
            }
        }
    }

    /// Restores the reserve if there is space for it and a margin. Returns whether it
    /// is whole; checks the disk only from time to time.
    pub(super) fn make_if_room(&mut self) -> bool {
        if self.state == State::Whole {
            return true;
        }
        if self.looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return false;
        }
        self.make()
    }

    fn make(&mut self) -> bool {
        self.looked = Some(Instant::now());
        let dir = self.path.parent().unwrap_or(Path::new("."));
        if self.bytes == 0 || !disk_space::is_enough_for(dir, self.bytes) {
            return false;
        }
        if let Err(error) = self.allocate() {
            tracing::debug!(%error, "the reserve cannot be restored");
            if let Ok(file) = File::options().write(true).open(&self.path) {
                let _ = file.set_len(0);
            }
            if self.state == State::Whole {
                self.state = State::InUse;
            }
            return false;
        }
        if self.state == State::InUse {
            tracing::info!(reserve_bytes = self.bytes, "the reserve is whole again");
        }
        self.state = State::Whole;
        true
    }

    fn allocate(&self) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&self.path)?;
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, self.bytes) {
            // Not every file system supports this: then the blocks are written.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                let piece = [0x5A; 64 << 10];
                let mut left = self.bytes;
                while left > 0 {
                    let n = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
                    file.write_all(&piece[..n])?;
                    left -= n as u64;
                }
                file.sync_all()
            }
            done => Ok(done?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClaimTasks, FinishAttempts, ProbeWrite, Prune, RecordEvents, RunDue, SetDesired};

    #[test]
    fn blocks_are_held_given_up_and_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let blocks = || dir.path().join(FILE).metadata().unwrap().blocks() * 512;
        let mut reserve = Reserve::open(dir.path(), 1 << 20);
        assert!(blocks() >= 1 << 20 && !reserve.is_in_use());
        assert!(reserve.give_up());
        assert!(reserve.is_in_use() && !reserve.give_up());
        assert_eq!(blocks(), 0);
        // The next start finds the reserve released, and restores it.
        assert!(!Reserve::open(dir.path(), u64::MAX >> 1).make_if_room());
        assert!(Reserve::open(dir.path(), u64::MAX >> 1).is_in_use());
        assert!(!Reserve::open(dir.path(), 1 << 20).is_in_use());
        assert!(blocks() >= 1 << 20);
        // A larger reserve for which there is no space leaves the existing one as it
        // is.
        assert!(!Reserve::open(dir.path(), u64::MAX >> 1).is_in_use());
        assert!(blocks() >= 1 << 20);
        assert!(!Reserve::open(dir.path(), 2 << 20).is_in_use());
        assert!(blocks() >= 2 << 20);
    }

    #[test]
    fn none_is_kept_when_none_is_wanted_or_there_is_no_room() {
        let dir = tempfile::tempdir().unwrap();
        for bytes in [u64::MAX >> 1, 1 << 20, 0] {
            let mut reserve = Reserve::open(dir.path(), bytes);
            assert!(!reserve.is_in_use(), "{bytes}");
            assert_eq!(reserve.give_up(), bytes == 1 << 20);
            drop(reserve);
            if bytes == 0 {
                assert!(!dir.path().join(FILE).exists());
            }
        }
    }

    #[test]
    fn what_stops_something_may_use_it_and_what_makes_room_half_of_it() {
        let stop = |desired| {
            Command::from(SetDesired {
                name: "b".parse().unwrap(),
                desired,
                actor: "ada".into(),
            })
        };
        let record = |action| RecordEvents(vec![NewEvent::new(action, "ada", "x")]).into();
        for (command, expected) in [
            (stop(BotDesired::Stopped), Share::Whole),
            (stop(BotDesired::Draining), Share::Whole),
            (stop(BotDesired::Launched), Share::Nothing),
            (FinishAttempts(vec![]).into(), Share::Whole),
            (ClaimTasks(vec![]).into(), Share::Nothing),
            (RunDue { limit: 1 }.into(), Share::Nothing),
            (ProbeWrite.into(), Share::Nothing),
            (Prune { tasks: vec![] }.into(), Share::Half),
            (record(Action::RestartRequested), Share::Whole),
            (record(Action::ApiDenied), Share::Nothing),
            (record(Action::ApiCall), Share::Nothing),
        ] {
            assert_eq!(share_of(&command, false), expected, "{command:?}");
            assert_eq!(share_of(&command, true), Share::Whole, "{command:?}");
        }
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::open(dir.path(), 1 << 20);
        for (share, free, lets) in [
            (Share::Whole, 0, true),
            (Share::Half, (1 << 19) - 1, false),
            (Share::Half, 1 << 19, true),
            (Share::Nothing, u64::MAX, false),
        ] {
            assert_eq!(reserve.lets(share, free), lets, "{share:?} {free}");
        }
    }
}
