//! Servers of object storage, and a proxy that fails, as the tests of `deia-object-storage` have them.

#[path = "../../actors/object-storage/tests/it/proxy.rs"]
mod proxy;
#[path = "../../actors/object-storage/tests/it/servers.rs"]
mod servers;

pub(crate) use self::{
    proxy::{Fault, Proxy},
    servers::{BUCKET, S3, s3_environment},
};
