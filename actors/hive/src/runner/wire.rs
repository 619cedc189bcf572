//! Messages between the hive and a runner, over a stream socket.

use std::{
    ffi::{CString, OsStr, OsString},
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// Maximum number of descriptors of a start: standard output, standard error, the pipe
/// for progress, and standard input if there is any. Fact: the protocol between hive and
/// runner.
const MAX_FDS: usize = 4;

/// Size of a request before its body: a tag and the length of the body. Fact: the
/// protocol between hive and runner.
const HEAD_BYTES: usize = 5;
/// Size of an answer in bytes. Fact: the protocol between hive and runner.
const ANSWER_BYTES: usize = 13;
/// Maximum size of a request, above the kernel's limit for arguments and environment.
/// Fact: execve(2), limits on size of arguments and environment.
const MAX_BODY_BYTES: usize = 16 << 20;

/// A program to start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) file: CString,
    pub(crate) directory: CString,
    pub(crate) args: Vec<CString>,
    /// Variables in the form `NAME=value`.
    pub(crate) environment: Vec<CString>,
    /// Limit of the open descriptors of each process; `None` for that of the runner.
    pub(crate) descriptors: Option<u64>,
}

/// A request of the hive.
#[derive(Debug)]
pub(super) enum Request {
    /// Start this program with these descriptors.
    Start(Start, Vec<OwnedFd>),
    /// End all processes of the attempt, which is over.
    End,
}

/// An answer of the runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The runner is ready, and has these means.
    Ready(Holds),
    /// The program runs, as leader of a session and a group of this number.
    Started { pid: i32 },
    /// The program cannot be started.
    NotStarted { errno: i32 },
    /// All processes of the attempt have ended, except for `left` processes that the kernel
    /// cannot end yet.
    Ended { status: i32, strays: u32, left: u32 },
}

/// Means of a runner to end processes that leave their group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holds {
    /// True if the runner inherits every process whose parent has ended.
    pub(crate) subreaper: bool,
}

impl Start {
    /// Creates a request from the parts of a command.
    ///
    /// # Errors
    /// A part contains a NUL.
    pub(crate) fn new(
        file: &Path,
        args: &[String],
        environment: &[(OsString, OsString)],
        directory: &Path,
    ) -> io::Result<Self> {
        let variable = |(name, value): &(OsString, OsString)| {
            CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
        };
        let text = |text: &OsStr| CString::new(text.as_bytes());
        Ok(Self {
            file: text(file.as_os_str())?,
            directory: text(directory.as_os_str())?,
            args: args
                .iter()
                .map(|arg| CString::new(arg.as_bytes()))
                .collect::<Result<_, _>>()?,
            environment: last_of_each(environment)
                .map(variable)
                .collect::<Result<_, _>>()?,
            descriptors: None,
        })
    }

    /// Returns the request with that limit of open descriptors.
    pub(crate) fn with_descriptors(self, descriptors: Option<u64>) -> Self {
        Self {
            descriptors,
            ..self
        }
    }

    fn encode(&self) -> Vec<u8> {
        let count = CString::new(self.args.len().to_string()).unwrap_or_default();
        let mut body = Vec::with_capacity(4096);
        let limit = self.descriptors.map(|limit| limit.to_string());
        let limit = CString::new(limit.unwrap_or_default()).unwrap_or_default();
        let parts = [&self.file, &self.directory, &limit, &count];
        for part in parts.into_iter().chain(&self.args).chain(&self.environment) {
            body.extend_from_slice(part.as_bytes_with_nul());
        }
        body
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let mut parts = body
            .split_inclusive(|byte| *byte == 0)
            .map(|part| CString::from_vec_with_nul(part.to_vec()).ok());
        let mut next = || parts.next().flatten();
        let (file, directory) = (next()?, next()?);
        let descriptors = match next()?.to_str().ok()? {
            "" => None,
            limit => Some(limit.parse().ok()?),
        };
        let count: usize = next()?.to_str().ok()?.parse().ok()?;
        let mut rest = parts.collect::<Option<Vec<_>>>()?;
        let environment = (count <= rest.len()).then(|| rest.split_off(count))?;
        Some(Self {
            file,
            directory,
            args: rest,
            environment,
            descriptors,
        })
    }
}

/// Returns the last entry of each name: later entries of an environment replace earlier ones.
fn last_of_each(
    environment: &[(OsString, OsString)],
) -> impl Iterator<Item = &(OsString, OsString)> {
    let is_last =
        |at: usize, name: &OsString| !environment[at + 1..].iter().any(|(later, _)| later == name);
    environment
        .iter()
        .enumerate()
        .filter(move |(at, (name, _))| is_last(*at, name))
        .map(|(_, variable)| variable)
}

/// Sends a program to start and its descriptors.
///
/// # Errors
/// The runner has ended.
pub(crate) fn send_start(
    socket: &OwnedFd,
    start: &Start,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let body = start.encode();
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let head = head(b'S', length);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors"));
    }
    let parts = [IoSlice::new(&head), IoSlice::new(&body)];
    let sent = rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL)
    })?;
    let rest = body.get(sent.saturating_sub(head.len())..);
    send_all(socket, rest.unwrap_or_default())
}

/// Requests the end of all processes of the attempt.
///
/// # Errors
/// The runner has ended.
pub(crate) fn send_end(socket: &OwnedFd) -> io::Result<()> {
    send_all(socket, &head(b'E', 0))
}

fn head(tag: u8, length: u32) -> [u8; HEAD_BYTES] {
    let [a, b, c, d] = length.to_le_bytes();
    [tag, a, b, c, d]
}

/// Receives the next request; returns `None` if the hive has ended or the request is malformed.
pub(super) fn receive(socket: BorrowedFd<'_>) -> Option<Request> {
    let mut head = [0; HEAD_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let flags = RecvFlags::CMSG_CLOEXEC;
        rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut head)],
            &mut control,
            flags,
        )
    })
    .ok()
    .filter(|received| received.bytes > 0)?;
    receive_all(socket, &mut head[received.bytes..]).ok()?;
    let fds: Vec<OwnedFd> = control
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
            _ => Vec::new(),
        })
        .collect();
    let [tag, length @ ..] = head;
    let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
    if length > MAX_BODY_BYTES {
        return None;
    }
    let mut body = vec![0; length];
    receive_all(socket, &mut body).ok()?;
    match tag {
        b'S' => Start::decode(&body).map(|start| Request::Start(start, fds)),
        b'E' => Some(Request::End),
        _ => None,
    }
}

/// Sends an answer.
///
/// # Errors
/// The hive has ended.
pub(super) fn answer(socket: BorrowedFd<'_>, answer: Answer) -> io::Result<()> {
    send_all(socket, &answer.encode())
}

/// Receives an answer. Blocks until there is one.
///
/// # Errors
/// The runner has ended.
pub(crate) fn receive_answer(socket: &OwnedFd) -> io::Result<Answer> {
    let mut bytes = [0; ANSWER_BYTES];
    receive_all(socket, &mut bytes)?;
    Answer::decode(bytes).ok_or_else(|| io::Error::other("a runner is not understood"))
}

impl Answer {
    fn encode(self) -> [u8; ANSWER_BYTES] {
        let (tag, a, b, c) = match self {
            Self::Ready(holds) => (b'R', i32::from(holds.subreaper), 0, 0),
            Self::Started { pid } => (b'S', pid, 0, 0),
            Self::NotStarted { errno } => (b'N', errno, 0, 0),
            Self::Ended {
                status,
                strays,
                left,
            } => (b'E', status, strays, left),
        };
        let mut bytes = [tag; ANSWER_BYTES];
        bytes[1..5].copy_from_slice(&a.to_le_bytes());
        bytes[5..9].copy_from_slice(&b.to_le_bytes());
        bytes[9..].copy_from_slice(&c.to_le_bytes());
        bytes
    }

    fn decode(bytes: [u8; ANSWER_BYTES]) -> Option<Self> {
        let [tag, rest @ ..] = bytes;
        let word = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&rest[at..at + 4]);
            word
        };
        let number = i32::from_le_bytes(word(0));
        match tag {
            b'R' => Some(Self::Ready(Holds {
                subreaper: number != 0,
            })),
            b'S' => Some(Self::Started { pid: number }),
            b'N' => Some(Self::NotStarted { errno: number }),
            b'E' => Some(Self::Ended {
                status: number,
                strays: u32::from_le_bytes(word(4)),
                left: u32::from_le_bytes(word(8)),
            }),
            _ => None,
        }
    }
}

fn send_all(socket: impl std::os::fd::AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent =
            rustix::io::retry_on_intr(|| rustix::net::send(&socket, bytes, SendFlags::NOSIGNAL))?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

fn receive_all(socket: impl std::os::fd::AsFd, mut into: &mut [u8]) -> io::Result<()> {
    while !into.is_empty() {
        match rustix::io::retry_on_intr(|| rustix::io::read(&socket, &mut *into))? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => into = &mut into[read..],
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC;
        socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap()
    }

    #[test]
    fn start_arrives_whole_with_its_descriptors() {
        let (ours, theirs) = pair();
        for length in [0, 10, 3 << 20] {
            let environment = [("A", "1"), ("B", "x=y"), ("A", "2")]
                .map(|(name, value)| (name.into(), value.into()));
            let args = ["sh".to_owned(), String::new(), "x".repeat(length)];
            let start =
                Start::new(Path::new("/bin/sh"), &args, &environment, Path::new("/tmp")).unwrap();
            let start = start.with_descriptors((length > 0).then_some(64));
            assert_eq!(start.environment, [c"B=x=y".to_owned(), c"A=2".to_owned()]);
            let received = std::thread::scope(|scope| {
                let receiving = scope.spawn(|| receive(theirs.as_fd()).unwrap());
                send_start(&ours, &start, &[ours.as_fd(), theirs.as_fd()]).unwrap();
                receiving.join().unwrap()
            });
            let Request::Start(same, fds) = received else {
                panic!("{received:?}");
            };
            assert_eq!((same, fds.len()), (start, 2), "{length}");
        }
        send_end(&ours).unwrap();
        assert!(matches!(receive(theirs.as_fd()), Some(Request::End)));
        drop(ours);
        assert!(receive(theirs.as_fd()).is_none());
    }

    #[test]
    fn answers_arrive_as_they_were_sent() {
        let (ours, theirs) = pair();
        for said in [
            Answer::Ready(Holds { subreaper: true }),
            Answer::Started { pid: 77 },
            Answer::NotStarted { errno: 2 },
            Answer::Ended {
                status: 256,
                strays: 3,
                left: 1,
            },
        ] {
            answer(theirs.as_fd(), said).unwrap();
            assert_eq!(receive_answer(&ours).unwrap(), said);
        }
        drop(theirs);
        assert!(receive_answer(&ours).is_err());
    }

    #[test]
    fn a_nul_in_a_part_is_refused() {
        let args = ["a\0b".to_owned()];
        let refused = Start::new(Path::new("/x"), &args, &[], Path::new("/"));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
