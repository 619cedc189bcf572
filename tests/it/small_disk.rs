//! A small file system in a mount namespace of its own.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::support::{TestApp, command};

/// A small file system, as long as this lives.
pub(crate) struct SmallDisk {
    holder: Child,
    dir: tempfile::TempDir,
    as_root: bool,
}

impl SmallDisk {
    /// `None` when this machine has no namespaces for us.
    fn mount(size: &str) -> Option<Self> {
        let as_root = nix::unistd::geteuid().is_root();
        let dir = tempfile::tempdir().unwrap();
        let mut unshare = Command::new("unshare");
        unshare.arg("--mount");
        if !as_root {
            unshare.arg("--map-root-user");
        }
        let script = "mount -t tmpfs -o size=$1 tmpfs \"$0\" && echo mounted && exec cat";
        let mut holder = unshare
            .args(["sh", "-c", script])
            .arg(dir.path())
            .arg(size)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut said = String::new();
        let out = holder.stdout.as_mut().unwrap();
        BufReader::new(out).read_line(&mut said).unwrap();
        if said != "mounted\n" {
            let _ = holder.kill();
            let _ = holder.wait();
            return None;
        }
        Some(Self {
            holder,
            dir,
            as_root,
        })
    }

    /// The data directory, as the server sees it.
    pub(crate) fn inside(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The same, as this process sees it.
    pub(crate) fn outside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.inside().strip_prefix("/").unwrap())
    }

    /// Starts a server whose data directory is on it.
    pub(crate) async fn start(&self, settings: &[&str]) -> Result<TestApp, String> {
        let server = command(&self.inside(), settings);
        self.start_beside(&server, &self.outside()).await
    }

    /// Starts a server that sees it, with the data directory `data_dir` as this process sees it.
    pub(crate) async fn start_beside(
        &self,
        server: &Command,
        data_dir: &Path,
    ) -> Result<TestApp, String> {
        let mut entered = self.entering();
        entered
            .arg("--")
            .arg(server.get_program())
            .args(server.get_args());
        for (name, value) in server.get_envs() {
            match value {
                Some(value) => entered.env(name, value),
                None => entered.env_remove(name),
            };
        }
        entered
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        TestApp::try_start(entered, data_dir).await
    }

    /// Lets nobody write, or everybody again.
    pub(crate) fn set_read_only(&self, is_read_only: bool) {
        let options = if is_read_only {
            "remount,ro"
        } else {
            "remount,rw"
        };
        let done = self
            .entering()
            .args(["--", "mount", "-o", options])
            .arg(self.dir.path())
            .status();
        assert!(done.unwrap().success(), "{options}");
    }

    fn entering(&self) -> Command {
        let mut entered = Command::new("nsenter");
        entered.args(["--target", &self.holder.id().to_string(), "--mount"]);
        if !self.as_root {
            entered.args(["--user", "--preserve-credentials"]);
        }
        entered
    }

    /// Takes all that is left, to the last byte.
    pub(crate) fn fill(&self) {
        let path = self.outside().join("filler");
        let mut filler = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        let (mut at_once, zeros) = (1 << 16, vec![0; 1 << 16]);
        while at_once > 0 {
            if filler.write(&zeros[..at_once]).is_err() {
                at_once /= 2;
            }
        }
    }

    /// Takes some room, to be made free later.
    pub(crate) fn take(&self, bytes: usize) {
        std::fs::write(self.outside().join("filler"), vec![0; bytes]).unwrap();
    }

    pub(crate) fn make_room(&self) {
        let filler = self.outside().join("filler");
        std::fs::remove_file(filler).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Mounts a small disk. Returns `None`, after saying so, where this machine does not allow it.
pub(crate) fn small_disk(size: &str) -> Option<SmallDisk> {
    let disk = SmallDisk::mount(size);
    if disk.is_none() {
        let must = std::env::var_os("DEIA_TEST_FULL_DISK").is_some();
        assert!(!must, "this machine allows no mount namespaces");
        // Past the test harness, which would keep it to itself.
        let said = "\nSKIPPED: no mount namespaces here; a small disk was NOT tested\n";
        std::io::stderr().write_all(said.as_bytes()).unwrap();
    }
    disk
}
