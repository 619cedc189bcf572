//! Directories that only their owner may access, whatever the umask is.

use std::{fs::DirBuilder, io, os::unix::fs::DirBuilderExt as _, path::Path};

/// Creates the directory and its missing parents, for their owner only. An existing directory
/// stays as it is.
///
/// # Errors
/// The directory cannot be created, or the path is something else.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn new_directories_are_private_and_existing_ones_keep_their_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (above, below) = (dir.path().join("a"), dir.path().join("a/b"));
        make(&below).unwrap();
        make(&below).unwrap();
        for made in [above, below] {
            let mode = made.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", made.display());
        }
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(make(&dir.path().join("file/x")).is_err());
    }
}
