//! Addresses of storages.

use std::{path::PathBuf, sync::Arc};

use url::Url;

use super::{Directory, Storage};

/// Opens the storage at a URL.
///
/// # Errors
/// The URL is none of a storage; the message says what is expected.
pub fn open(text: &str) -> Result<Arc<dyn Storage>, String> {
    let expected = "expected file:/// and the absolute path of a directory";
    let url =
        Url::parse(text).map_err(|error| format!("{text:?} is no URL ({error}); {expected}"))?;
    let path: Option<PathBuf> = match url.scheme() {
        "file" => url.to_file_path().ok(),
        _ => None,
    };
    match path {
        Some(path) => Ok(Arc::new(Directory::new(path))),
        None => Err(format!(
            "{text:?} is no storage that deia can use; {expected}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_is_opened_and_other_urls_are_refused() {
        let storage = open("file:///var/backups/my%20hive").unwrap();
        assert_eq!(storage.address("a/b"), "/var/backups/my hive/a/b");
        for url in [
            "",
            "/var/backups",
            "ftp://host/x",
            "file://host/x",
            "file:relative",
        ] {
            let accepted = open(url).is_ok();
            assert!(!accepted || url == "file:relative", "{url}");
        }
    }
}
