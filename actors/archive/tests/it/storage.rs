//! The tests that every storage must pass, on a directory.

use std::sync::Arc;

use deia_archive::{
    Directory,
    testing::{conforms, long_listings_are_whole},
};

#[test]
fn directory_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conforms(&|name| Arc::new(Directory::new(dir.path().join(name))));
    long_listings_are_whole(&Directory::new(dir.path().join("many")));
}
