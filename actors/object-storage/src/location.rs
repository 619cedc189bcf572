//! URLs of storages.

use url::Url;

/// The words for a URL that is none of a storage.
const EXPECTED: &str = "expected file:/// and the absolute path of a directory, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix";

/// A cloud whose object storage is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cloud {
    S3,
    Google,
    Azure,
}

impl Cloud {
    fn of(scheme: &str) -> Option<Self> {
        match scheme {
            "s3" => Some(Self::S3),
            "gs" => Some(Self::Google),
            "az" => Some(Self::Azure),
            _ => None,
        }
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }
}

/// The place of an archive in a bucket or container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) cloud: Cloud,
    pub(crate) name: String,
    /// Beginning of all keys, without a `/` at either end; empty for the whole bucket.
    pub(crate) prefix: String,
}

impl Bucket {
    /// Returns the name of an object in the bucket, or of the place itself for an empty key.
    pub(crate) fn object(&self, key: &str) -> String {
        match (self.prefix.as_str(), key) {
            ("", key) => key.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, key) => format!("{prefix}/{key}"),
        }
    }

    /// Returns the key of an object of the bucket; `None` if it is not below the prefix.
    pub(crate) fn key<'a>(&self, object: &'a str) -> Option<&'a str> {
        match self.prefix.as_str() {
            "" => Some(object),
            prefix => object.strip_prefix(prefix)?.strip_prefix('/'),
        }
    }

    /// Returns the address of an object for messages.
    pub(crate) fn address(&self, key: &str) -> String {
        let (scheme, name) = (self.cloud.scheme(), &self.name);
        format!("{scheme}://{name}/{}", self.object(key))
    }
}

/// The place that a URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Directory,
    Bucket(Bucket),
}

impl Location {
    /// Parses a URL.
    ///
    /// # Errors
    /// The reason why it is none of a storage. It does not repeat parts that may be secret.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some((cloud, rest)) = text
            .split_once("://")
            .and_then(|(scheme, rest)| Some((Cloud::of(scheme)?, rest)))
        else {
            return directory(text);
        };
        let refused = |reason: &str| Err(format!("{}: {reason}", shown(text)));
        if rest.contains(['@', '?', '#']) {
            return refused(
                "credentials and options do not belong in the URL; they are taken from the environment",
            );
        }
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(is_letter) {
            return refused(
                "the name of the bucket or container must have letters, digits, -, _ and . only",
            );
        }
        let prefix = prefix.trim_end_matches('/');
        let is_plain = |part: &str| {
            let is_letter = |c| is_letter(c) || matches!(c, '=' | '+' | '~');
            !part.is_empty() && !part.starts_with('.') && part.chars().all(is_letter)
        };
        if !prefix.is_empty() && !prefix.split('/').all(is_plain) {
            return refused(
                "each part of the prefix must have letters, digits, -, _, ., =, + and ~ only, and not begin with a dot",
            );
        }
        Ok(Self::Bucket(Bucket {
            cloud,
            name: name.to_owned(),
            prefix: prefix.to_owned(),
        }))
    }
}

fn directory(text: &str) -> Result<Location, String> {
    let refused = |reason: &str| Err(format!("{:?} {reason}; {EXPECTED}", shown(text)));
    match Url::parse(text) {
        Err(error) => refused(&format!("is no URL ({error})")),
        Ok(url) if url.scheme() == "file" && url.to_file_path().is_ok() => Ok(Location::Directory),
        Ok(_) => refused("is no storage that deia can use"),
    }
}

/// Returns a URL for messages: one that may have credentials is cut behind its scheme. The secret
/// keys of S3 may have any of `/`, `+` and `=`, so that the parts of a bad URL are not told apart.
pub(crate) fn shown(text: &str) -> String {
    match text.split_once("://") {
        Some((scheme, rest)) if scheme != "file" => {
            let is_cloud = Cloud::of(scheme).is_some();
            let may_be_secret = rest.contains(['@', '?', '#']) || is_cloud && rest.contains(':');
            match may_be_secret {
                true => format!("{scheme}://..."),
                false => text.to_owned(),
            }
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(text: &str) -> Bucket {
        match Location::parse(text) {
            Ok(Location::Bucket(bucket)) => bucket,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn urls_name_buckets_and_prefixes() {
        for (text, cloud, name, prefix) in [
            ("s3://b", Cloud::S3, "b", ""),
            ("s3://b/", Cloud::S3, "b", ""),
            ("s3://my.bucket/a/b=c/", Cloud::S3, "my.bucket", "a/b=c"),
            (
                "gs://my_bucket/hive-1",
                Cloud::Google,
                "my_bucket",
                "hive-1",
            ),
            ("az://container/x", Cloud::Azure, "container", "x"),
        ] {
            let found = bucket(text);
            assert_eq!(
                (found.cloud, &*found.name, &*found.prefix),
                (cloud, name, prefix)
            );
            assert_eq!(
                found.address(""),
                text.trim_end_matches('/').to_owned()
                    + match prefix {
                        "" => "/",
                        _ => "",
                    }
            );
        }
        assert_eq!(Location::parse("file:///a/b"), Ok(Location::Directory));
    }

    #[test]
    fn keys_are_below_the_prefix() {
        for (text, object) in [("s3://b", "h/a"), ("s3://b/x/y", "x/y/h/a")] {
            let bucket = bucket(text);
            assert_eq!(bucket.object("h/a"), object);
            assert_eq!(bucket.key(object), Some("h/a"));
        }
        assert_eq!(bucket("s3://b/x").key("xy/a"), None);
        assert_eq!(bucket("s3://b/x").address("h/a"), "s3://b/x/h/a");
    }

    #[test]
    fn urls_that_are_none_are_refused_without_their_secrets() {
        for text in [
            "",
            "/var/backups",
            "ftp://host/x",
            "file://host/x",
            "s3://",
            "s3:///a",
            "s3://b//a",
            "s3://b/.a",
            "s3://b/a b",
            "s3://b/a%20b",
            "s3://b:9000/a",
            "https://s3.amazonaws.com/b",
        ] {
            assert!(Location::parse(text).is_err(), "{text}");
        }
        for text in [
            "s3://AKIA:hunter2@b/a",
            "s3://AKIA:hunter2/x@b/a",
            "s3://AKIA:hunter2/x",
            "s3://hunter2@b/a",
            "az://c/a?sig=hunter2",
            "gs://b/a#hunter2",
            "ftp://me:hunter2@host/x",
        ] {
            let reason = Location::parse(text).unwrap_err();
            assert!(!reason.contains("hunter2"), "{reason}");
            assert!(!shown(text).contains("hunter2"), "{text}");
        }
    }
}
