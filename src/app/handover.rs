//! State that one image of the process passes to the next over `exec`: the listening
//! socket, the children to be reaped, and the way back to the previous image.
//!
//! The socket is handed over as standard input, which deia does not read. The
//! other descriptors are opened again by their numbers under `/proc/self/fd`.

use std::{
    convert::Infallible,
    ffi::{CString, OsStr, OsString},
    fs::File,
    io::{self, Read, Seek, Write},
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use deia_hive::host::{descriptors, process, signals};
use nix::{
    sys::wait::waitpid,
    unistd::{Pid, execve},
};
use rustix::{
    fs::{MemfdFlags, Mode, OFlags, memfd_create},
    io::{FdFlags, fcntl_setfd},
};
use serde::{Deserialize, Serialize};

/// Environment variable of an image that was started by another; the value is a
/// [`Note`].
pub(super) const HANDED_OVER: &str = "DEIA_HANDED_OVER";
/// Maximum length of a reason, in characters: it is passed in the environment. Fixed: the
/// environment of a program is limited (execve(2)).
const MAX_REASON: usize = 2_000;

/// Message to the next image. Unknown fields are ignored: the image may be of another
/// version.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Note {
    /// Children of the previous image, which nobody else would reap.
    children: Vec<i32>,
    /// Path that the binary was started from.
    binary: PathBuf,
    /// The descriptor of the image to go back to if this one does not start.
    image: Option<i32>,
    /// The descriptor of the [`Snapshot`] of that image.
    snapshot: Option<i32>,
    /// Reason why the start after this one failed: this is the previous image.
    failed: Option<String>,
}

/// Arguments and settings that an image was started with.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Snapshot {
    args: Vec<OsString>,
    /// Text of its settings file when it was read.
    settings: String,
}

/// State that was passed to this image.
#[derive(Default)]
pub(super) struct Handover {
    socket: Option<TcpListener>,
    /// The image to go back to.
    pub(super) way_back: Option<Image>,
    /// Text of the settings file to use, whatever the file contains now.
    pub(super) settings: Option<String>,
    /// Reason why the start after this one failed, if this image came back.
    pub(super) failed: Option<String>,
    /// Path that the binary was started from.
    pub(super) binary: Option<PathBuf>,
}

impl Handover {
    /// Takes the state that was passed. Must be called once, before children are
    /// started.
    pub(super) fn take() -> Self {
        let Some(note) = std::env::var(HANDED_OVER)
            .ok()
            .and_then(|note| serde_json::from_str::<Note>(&note).ok())
        else {
            return Self::default();
        };
        reap(&note.children);
        let image = note.image.and_then(|number| reopen(number, OFlags::PATH));
        let kept = note
            .snapshot
            .and_then(|number| reopen(number, OFlags::RDONLY));
        let snapshot = kept.as_ref().and_then(|kept| Snapshot::read(kept).ok());
        let way_back = match (image, kept, &snapshot) {
            (Some(exe), Some(kept), Some(snapshot)) => Some(Image {
                exe,
                kept,
                args: snapshot.args.clone(),
                binary: note.binary.clone(),
            }),
            _ => None,
        };
        let settings = snapshot.map(|snapshot| snapshot.settings);
        Self {
            socket: socket_on_stdin(),
            way_back,
            settings: settings.filter(|_| note.failed.is_some()),
            failed: note.failed,
            binary: Some(note.binary),
        }
    }

    /// Returns the socket that was passed, if it is for this address. It stays open
    /// here as well: the previous image needs it if this start fails.
    pub(super) fn socket_for(&self, address: SocketAddr) -> Option<TcpListener> {
        let socket = self.socket.as_ref()?;
        is_for(socket.local_addr().ok()?, address)
            .then(|| socket.try_clone().ok())
            .flatten()
    }

    /// Becomes the previous image, for that reason. Returns if there is none, or if
    /// that fails.
    pub(super) fn go_back(&self, reason: &str) -> Option<io::Error> {
        let image = self.way_back.as_ref()?;
        Some(image.run_again(reason, self.socket.as_ref()))
    }

    /// Returns the outcome of the restart that led here, if there was one.
    pub(super) fn outcome(&self) -> Option<Result<(), String>> {
        self.binary.as_ref()?;
        Some(match &self.failed {
            None => Ok(()),
            Some(reason) => Err(reason.clone()),
        })
    }

    /// Drops the way back: the hive is up, or was asked to stop.
    pub(super) fn forget_way_back(&mut self) {
        self.socket = None;
        self.way_back = None;
    }
}

/// Returns whether a socket that is bound to `bound` can serve `address`.
pub(super) fn is_for(bound: SocketAddr, address: SocketAddr) -> bool {
    bound.ip() == address.ip() && [0, bound.port()].contains(&address.port())
}

/// Everything that an image needs to run again as it was started.
pub(super) struct Image {
    exe: OwnedFd,
    /// A [`Snapshot`], in memory.
    kept: OwnedFd,
    args: Vec<OsString>,
    binary: PathBuf,
}

impl Image {
    /// Creates the image of this process, which read that settings file.
    pub(super) fn own(binary: PathBuf, settings: &str) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let exe = rustix::fs::open(process::OWN_PROGRAM, flags, Mode::empty())?;
        let snapshot = Snapshot {
            args: std::env::args_os().skip(1).collect(),
            settings: settings.to_owned(),
        };
        Ok(Self {
            exe,
            kept: snapshot.keep()?,
            args: snapshot.args,
            binary,
        })
    }

    /// Returns the path that the binary was started from. Another binary may have been
    /// put there since.
    pub(super) fn binary(&self) -> &Path {
        &self.binary
    }

    /// Becomes the program at the path of the binary, which may come back. Returns only
    /// on failure.
    pub(super) fn make_way(&self, socket: &TcpListener) -> io::Error {
        let note = Note {
            image: Some(self.exe.as_raw_fd()),
            snapshot: Some(self.kept.as_raw_fd()),
            ..self.note()
        };
        self.become_image(self.binary.as_os_str(), &note, Some(socket))
    }

    /// Becomes this image again. Returns only on failure.
    pub(super) fn run_again(&self, reason: &str, socket: Option<&TcpListener>) -> io::Error {
        let reason: String = reason.chars().filter(|c| *c != '\0').collect();
        let note = Note {
            snapshot: Some(self.kept.as_raw_fd()),
            failed: Some(reason.chars().take(MAX_REASON).collect()),
            ..self.note()
        };
        let exe = descriptors::path_to(self.exe.as_raw_fd());
        self.become_image(exe.as_os_str(), &note, socket)
    }

    fn note(&self) -> Note {
        Note {
            children: process::children().unwrap_or_default(),
            binary: self.binary.clone(),
            ..Note::default()
        }
    }

    fn become_image(
        &self,
        program: &OsStr,
        note: &Note,
        socket: Option<&TcpListener>,
    ) -> io::Error {
        let becoming = || -> io::Result<io::Error> {
            if let Some(socket) = socket {
                rustix::stdio::dup2_stdin(socket)?;
            }
            self.inherit(note, true)?;
            // The next start finds the same limit as this one did, and raises it
            // itself.
            descriptors::restore();
            // A hangup that arrives before the next image handles it waits.
            signals::hold_back()?;
            let note = serde_json::to_string(note)?;
            Ok(exec(program, &self.binary, &self.args, &note))
        };
        let error = becoming().unwrap_or_else(|error| error);
        // If this image continues, it does so with its former limit.
        let _ = signals::let_through();
        let _ = descriptors::raise();
        // This image continues for a while: none of its children may have these.
        let _ = self.inherit(note, false);
        error
    }

    /// Lets the next image inherit the descriptors that the note names, or not.
    fn inherit(&self, note: &Note, let_it: bool) -> io::Result<()> {
        let flags = match let_it {
            true => FdFlags::empty(),
            false => FdFlags::CLOEXEC,
        };
        for (named, fd) in [(note.image, &self.exe), (note.snapshot, &self.kept)] {
            if named.is_some() {
                fcntl_setfd(fd, flags)?;
            }
        }
        Ok(())
    }
}

/// Becomes that program. The functions that search the `PATH`, which those of the
/// standard library are, would give a file that is not a program to a shell; this one
/// does not. Returns only on failure.
fn exec(program: &OsStr, name: &Path, args: &[OsString], note: &str) -> io::Error {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::from);
    let becoming = || -> io::Result<Infallible> {
        let mut argv = vec![text(name.as_os_str().as_bytes())?];
        for arg in args {
            argv.push(text(arg.as_bytes())?);
        }
        let mut env = vec![text(format!("{HANDED_OVER}={note}").as_bytes())?];
        for (name, value) in std::env::vars_os().filter(|(name, _)| name != HANDED_OVER) {
            env.push(text(&[name.as_bytes(), b"=", value.as_bytes()].concat())?);
        }
        Ok(execve(&text(program.as_bytes())?, &argv, &env)?)
    };
    match becoming() {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

/// Reopens an inherited descriptor by its number, for this image only, and closes the
/// original.
fn reopen(number: i32, flags: OFlags) -> Option<OwnedFd> {
    let path = descriptors::path_to(number);
    let opened = rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
    // Standard input, output and error are never closed.
    if number > 2 {
        let _ = nix::unistd::close(number);
    }
    opened.ok()
}

impl Snapshot {
    fn keep(&self) -> io::Result<OwnedFd> {
        let mut file = File::from(memfd_create("deia-snapshot", MemfdFlags::CLOEXEC)?);
        file.write_all(&serde_json::to_vec(self)?)?;
        Ok(file.into())
    }

    fn read(kept: &OwnedFd) -> io::Result<Self> {
        let mut file = File::from(kept.try_clone()?);
        let mut text = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }
}

/// Takes the listening socket from standard input, which is empty from now on.
pub(super) fn socket_on_stdin() -> Option<TcpListener> {
    let socket = TcpListener::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    socket.local_addr().ok()?;
    let null = File::open("/dev/null").ok()?;
    rustix::stdio::dup2_stdin(&null).ok()?;
    Some(socket)
}

/// Waits for the children of the previous image, which nobody else would.
fn reap(children: &[i32]) {
    for &pid in children {
        std::thread::spawn(move || waitpid(Pid::from_raw(pid), None));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_of_another_version_is_read() {
        let note: Note =
            serde_json::from_str(r#"{"children":[7],"colour":"red","snapshot":5}"#).unwrap();
        let expected = Note {
            children: vec![7],
            snapshot: Some(5),
            ..Note::default()
        };
        assert_eq!(note, expected);
    }

    #[test]
    fn a_socket_serves_its_own_address_only() {
        for (bound, wanted, expected) in [
            ("127.0.0.1:8000", "127.0.0.1:8000", true),
            ("127.0.0.1:8000", "127.0.0.1:0", true),
            ("127.0.0.1:8000", "127.0.0.1:8001", false),
            ("127.0.0.1:8000", "0.0.0.0:8000", false),
            ("127.0.0.1:8000", "[::1]:8000", false),
        ] {
            let is = is_for(bound.parse().unwrap(), wanted.parse().unwrap());
            assert_eq!(is, expected, "{bound} for {wanted}");
        }
    }

    #[test]
    fn an_image_is_kept_with_what_it_was_started_with() {
        let image = Image::own("deia".into(), "tasks: {max_batch: 5}\n").unwrap();
        let kept = Snapshot::read(&image.kept).unwrap();
        assert_eq!(kept.settings, "tasks: {max_batch: 5}\n");
        assert_eq!(kept.args, image.args);
        let strange: OsString = std::os::unix::ffi::OsStringExt::from_vec(vec![b'a', 0xff]);
        let snapshot = Snapshot {
            args: vec![strange],
            settings: String::new(),
        };
        assert_eq!(Snapshot::read(&snapshot.keep().unwrap()).unwrap(), snapshot);
    }
}
