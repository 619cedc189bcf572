//! Receivers over TLS, and such as break it.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Starts a receiver with a certificate for that name, and returns a client that trusts it.
async fn receiver_named(name: &str) -> (Receiver, OutgoingClient) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let receiver = Receiver::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await?;
            read_request(&mut stream).await?;
            stream.write_all(OK.as_bytes()).await?;
            stream.shutdown().await
        }
    })
    .await;
    let client = OutgoingClient::new(
        loopback(),
        OutgoingOptions::default(),
        tls_trusting(roots).unwrap(),
        Answers::new(&[&["127.0.0.1"]]),
    )
    .unwrap();
    (receiver, client)
}

fn url(host: &str, receiver: &Receiver) -> String {
    format!("https://{host}:{}/hook", receiver.port)
}

#[tokio::test]
async fn a_trusted_certificate_of_the_name_is_accepted_and_others_are_not() {
    let (receiver, client) = receiver_named("receiver.example").await;
    let answered = post_to(&client, &url("receiver.example", &receiver), limits()).await;
    assert_eq!(answered.outcome.unwrap().status, 200);
    let other_name = post_to(&client, &url("other.example", &receiver), limits()).await;
    assert!(matches!(other_name.outcome, Err(ExchangeError::Tls(_))));
    let trusts_nothing = client_looking(Answers::new(&[&["127.0.0.1"]]));
    let unknown = post_to(
        &trusts_nothing,
        &url("receiver.example", &receiver),
        limits(),
    )
    .await;
    let error = unknown.outcome.unwrap_err();
    assert!(matches!(error, ExchangeError::Tls(_)), "{error:?}");
    assert!(
        error
            .to_string()
            .starts_with("TLS failed: invalid peer certificate"),
        "{error}"
    );
}

#[tokio::test]
async fn a_receiver_without_tls_is_told_as_such() {
    let plain = Receiver::start(|mut stream| async move {
        stream.write_all(OK.as_bytes()).await?;
        stream.shutdown().await
    })
    .await;
    let closing = Receiver::start(|stream| async move {
        drop(stream);
        Ok(())
    })
    .await;
    for receiver in [plain, closing] {
        let exchange = post_to(&client(), &url("127.0.0.1", &receiver), limits()).await;
        let error = exchange.outcome.unwrap_err();
        assert!(matches!(error, ExchangeError::Tls(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_cut() {
    let receiver = Receiver::start(|stream| async move {
        let _open = stream;
        std::future::pending().await
    })
    .await;
    let https = url("127.0.0.1", &receiver);
    let by_deadline = post_to(&client(), &https, within(SHORT)).await;
    let options = OutgoingOptions {
        connect_timeout: SHORT,
        ..OutgoingOptions::default()
    };
    let hasty = client_with(loopback(), options, Answers::new(&[]));
    let by_connect_timeout = post_to(&hasty, &https, limits()).await;
    for exchange in [by_deadline, by_connect_timeout] {
        let error = exchange.outcome.unwrap_err();
        assert!(
            matches!(
                error,
                ExchangeError::TimedOut {
                    phase: Phase::Connect,
                    after: SHORT
                }
            ),
            "{error:?}"
        );
    }
}
