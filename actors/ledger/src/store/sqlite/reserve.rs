//! Room that is kept for writes that must succeed on a full disk.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use deia_model::{Action, BotDesired, NewEvent};
use rustix::{fs::FallocateFlags, io::Errno};

use super::room;
use crate::{AccessCommand, AlertCommand, Command, LoginCommand, reserve::FILE};

/// Minimum time between two attempts to restore the reserve.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Part of the reserve that a command may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// All of it: the command stops something, takes access away, or records an end.
    Whole,
    /// What is beyond the second half: the command makes room in the end, but takes
    /// some first, in the log. It must not keep work from being stopped.
    Half,
    /// Nothing: the command brings work in, or starts it.
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
        | Command::ExtendLeases(_)
        | Command::ReleaseLeases(_)
        | Command::NoteDrained(_)
        | Command::MarkRunning(_)
        | Command::Access(AccessCommand::RevokeKey(_) | AccessCommand::RecoverAdmin(_))
        | Command::Login(LoginCommand::End(_) | LoginCommand::EndAll(_)) => Share::Whole,
        Command::SetDesired(command) => whole(command.desired != BotDesired::Launched),
        // Strangers can cause refusals without end.
        Command::RecordEvents(command) => {
            let denied = |event: &NewEvent| event.action == Action::ApiDenied;
            whole(!command.0.iter().any(denied))
        }
        // Only so can events be forgotten that it holds back.
        Command::Advance(advance) if advance.binding => Share::Half,
        Command::EraseTask(_)
        | Command::Prune(_)
        | Command::PruneEvents(_)
        | Command::DeleteBot(_)
        // An alert of the full disk itself is among them.
        | Command::Alert(AlertCommand::Settle(_)) => Share::Half,
        Command::Advance(_)
        | Command::Submit(_)
        | Command::ClaimTasks(_)
        | Command::RetryTask(_)
        | Command::Secret(_)
        | Command::Alert(AlertCommand::Acknowledge(_))
        | Command::NoteProgress(_)
        | Command::RunDue(_)
        | Command::ResumeQueue(_)
        | Command::PutBot(_)
        | Command::ProbeWrite(_)
        | Command::Access(_)
        | Command::Login(_) => Share::Nothing,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There never was room for it, or it is not wanted.
    Absent,
    /// The blocks are allocated.
    Whole,
    /// The blocks were given up. The empty file says so to the next start.
    InUse,
}

/// A file whose blocks are given up when the disk is full.
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    state: State,
    looked: Option<Instant>,
}

impl Reserve {
    /// Takes over what an earlier run left, and makes it if there is room.
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
            // A reserve that is switched off gives its room back.
            let _ = std::fs::remove_file(&reserve.path);
            reserve.state = State::Absent;
        } else if held.is_none_or(|held| held < bytes) && !reserve.make() && held.is_none() {
            tracing::warn!(
                reserve_bytes = bytes,
                "no room for the reserve: on a full disk pause, cancel and stop may be refused"
            );
        }
        reserve
    }

    /// Finds what an earlier run left beside that file, and makes nothing.
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

    /// Returns whether the blocks were given up, so that only commands that may use the
    /// reserve are applied.
    pub(super) fn is_in_use(&self) -> bool {
        self.state == State::InUse
    }

    /// Returns whether a command with this share may be applied while the reserve is
    /// in use and that much of the disk is free.
    pub(super) fn lets(&self, share: Share, free_bytes: u64) -> bool {
        match share {
            Share::Whole => true,
            Share::Half => free_bytes >= self.bytes / 2,
            Share::Nothing => false,
        }
    }

    /// Gives its blocks up. Returns `false` if there are none to give.
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
                    "the disk is full: the reserve is given up for pause, cancel, stop and ends; what does not make room is refused until there is some"
                );
                true
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "reserve cannot be given up");
                self.state = State::Absent;
                false
            }
        }
    }

    /// Makes it again when there is room for it and something more. Returns
    /// whether it is whole; looks at the disk from time to time only.
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
        if self.bytes == 0 || !room::is_enough_for(dir, self.bytes) {
            return false;
        }
        if let Err(error) = self.allocate() {
            tracing::debug!(%error, "the reserve cannot be made");
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
            // Not every file system can: then its blocks are written.
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
        // The next start finds it given up, and makes it again.
        assert!(!Reserve::open(dir.path(), u64::MAX >> 1).make_if_room());
        assert!(Reserve::open(dir.path(), u64::MAX >> 1).is_in_use());
        assert!(!Reserve::open(dir.path(), 1 << 20).is_in_use());
        assert!(blocks() >= 1 << 20);
        // A greater one for which there is no room leaves it as it is.
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
