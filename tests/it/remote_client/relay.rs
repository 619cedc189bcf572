//! An address that stays while the hive behind it gets another with each start.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

pub(super) struct Relay {
    address: SocketAddr,
    to: Arc<Mutex<SocketAddr>>,
}

impl Relay {
    pub(super) async fn to(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let to = Arc::new(Mutex::new(address_of(url)));
        let now = to.clone();
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let to = *now.lock().unwrap();
                tokio::spawn(async move {
                    // Nobody listens: the connection is closed.
                    if let Ok(mut to) = TcpStream::connect(to).await {
                        drop(copy_bidirectional(&mut from, &mut to).await);
                    }
                });
            }
        });
        Self { address, to }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Passes new connections on to another server.
    pub(super) fn turn_to(&self, url: &str) {
        *self.to.lock().unwrap() = address_of(url);
    }
}

fn address_of(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().unwrap()
}
