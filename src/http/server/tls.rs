//! TLS of the listener: its certificate, reloaded when it changes, and the certificates
//! of clients.
//!
//! Only HTTP/1.1 is offered: the framer reads nothing else.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix_rt::net::TcpStream;
use arc_swap::ArcSwap;
use deia_hive::config::TlsSettings;
use deia_model::BotName;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use webpki::{EndEntityCert, KeyUsage};

/// The reason why the files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("server.tls.{key}: {path}: {reason}")]
pub struct TlsError {
    key: &'static str,
    path: String,
    reason: String,
}

/// The TLS side of the listener.
pub struct Tls {
    settings: TlsSettings,
    files: ArcSwap<Files>,
    /// The number of changes of the client authorities.
    changes: watch::Sender<u64>,
    /// The files that were tried last.
    tried: Mutex<Stamp>,
}

/// The loaded files.
struct Files {
    config: Arc<ServerConfig>,
    authorities: Vec<CertificateDer<'static>>,
    /// The number of changes until this load.
    changes: u64,
}

/// A certificate that a client has shown.
#[derive(Clone, Debug)]
pub(crate) struct ClientCert {
    /// The bot that the certificate stands for, if any.
    pub(crate) bot: Option<BotName>,
    /// The end of validity, in seconds of Unix time.
    not_after: u64,
    /// The number of changes when the certificate was verified.
    verified: u64,
    changes: watch::Receiver<u64>,
}

impl ClientCert {
    /// Returns whether the certificate is valid now. A connection may be older than the
    /// authorities, and outlive the certificate.
    pub(crate) fn stands(&self) -> bool {
        *self.changes.borrow() == self.verified && UnixTime::now().as_secs() <= self.not_after
    }

    /// Resolves when the authorities have changed, or the certificate has ended.
    pub(crate) async fn over(&mut self) {
        let left = self.not_after.saturating_sub(UnixTime::now().as_secs());
        let verified = self.verified;
        let changed = self.changes.wait_for(|changes| *changes != verified);
        // The end itself is still within it.
        let _ = tokio::time::timeout(Duration::from_secs(left.saturating_add(1)), changed).await;
    }
}

/// The fingerprint of one version of the files.
type Stamp = Vec<Option<(u64, u64, i64, i64)>>;

impl Tls {
    /// Loads the files; `None` when TLS is off.
    ///
    /// # Errors
    /// A missing or malformed file, a certificate that is not valid now, or a key that is
    /// not that of the certificate.
    pub fn load(settings: &TlsSettings) -> Result<Option<Arc<Self>>, TlsError> {
        if !settings.is_on() {
            return Ok(None);
        }
        let tried = Mutex::new(stamp(settings));
        let files = ArcSwap::from_pointee(read(settings)?);
        let settings = settings.clone();
        Ok(Some(Arc::new(Self {
            settings,
            files,
            changes: watch::Sender::new(0),
            tried,
        })))
    }

    /// Returns the interval at which the files are checked.
    pub(crate) fn look_every(&self) -> Duration {
        self.settings.look_every
    }

    /// Reloads the files if they have changed since the last try.
    pub(crate) fn look(&self) {
        let now = stamp(&self.settings);
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if *tried != now {
            *tried = now;
            drop(tried);
            self.reload();
        }
    }

    /// Reloads the files. Faults are logged, and the old files stay in use.
    pub fn reload(&self) {
        match read(&self.settings) {
            Ok(mut files) => {
                let before = self.files.load();
                let changed = files.authorities != before.authorities;
                files.changes = before.changes + u64::from(changed);
                let changes = files.changes;
                self.files.store(Arc::new(files));
                // After the store: certificates verified from here on are verified by the
                // new authorities.
                self.changes.send_replace(changes);
                let cert_file = self.settings.cert_file.display();
                tracing::info!(%cert_file, "reloaded the certificate");
            }
            Err(error) => {
                tracing::error!(%error, "the certificate cannot be reloaded; the old one stays in use");
            }
        }
    }

    /// Performs the handshake of a connection.
    pub(crate) async fn accept(
        &self,
        tcp: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Option<ClientCert>)> {
        let files = self.files.load_full();
        let acceptor = TlsAcceptor::from(Arc::clone(&files.config));
        let stream = acceptor.accept(tcp).await?;
        let certificate = self.certificate(&stream, files.changes);
        Ok((stream, certificate))
    }

    /// Returns the certificate of the client, if it has one.
    fn certificate(&self, stream: &TlsStream<TcpStream>, verified: u64) -> Option<ClientCert> {
        // The first of the chain, which was verified, is the client's own.
        let chain = stream.get_ref().1.peer_certificates()?;
        Some(ClientCert {
            bot: bot_of(&self.settings, chain.first()?),
            not_after: chain.iter().map(not_after).min()?,
            verified,
            changes: self.changes.subscribe(),
        })
    }
}

/// Time after the end of every certificate: a refusal then tells the end. Fact: RFC 5280, 4.1.2.5: no
/// certificate ends after the year 9999.
const AFTER_ALL: Duration = Duration::from_secs(1 << 40);

/// Returns the end of a certificate, in seconds of Unix time; 0 when it cannot be read.
fn not_after(certificate: &CertificateDer<'_>) -> u64 {
    let end = EndEntityCert::try_from(certificate)
        .ok()
        .and_then(|certificate| {
            let late = UnixTime::since_unix_epoch(AFTER_ALL);
            let verified = certificate.verify_for_usage(
                &[],
                &[],
                &[],
                late,
                KeyUsage::client_auth(),
                None,
                None,
            );
            match verified.err()? {
                webpki::Error::CertExpired { not_after, .. } => Some(not_after.as_secs()),
                _ => None,
            }
        });
    end.unwrap_or(0)
}

fn bot_of(settings: &TlsSettings, certificate: &CertificateDer<'_>) -> Option<BotName> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let names = certificate.valid_dns_names().map(str::to_ascii_lowercase);
    // A text without a scheme is no URI, and would be mistaken for a DNS name.
    let uris = certificate.valid_uri_names().filter(|uri| has_scheme(uri));
    let names = names.chain(uris.map(str::to_owned));
    let mut bots = names.filter_map(|name| settings.client_bots.get(&name));
    let bot = bots.next()?;
    // A certificate of several bots stands for none.
    bots.all(|other| other == bot).then(|| bot.clone())
}

/// Returns whether a URI begins with a scheme (RFC 3986, 3.1).
fn has_scheme(uri: &str) -> bool {
    let Some((scheme, _)) = uri.split_once(':') else {
        return false;
    };
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(rest)
}

fn stamp(settings: &TlsSettings) -> Stamp {
    let of = |path: &Path| {
        let file = path.metadata().ok()?;
        Some((file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
    };
    let files = [
        &settings.cert_file,
        &settings.key_file,
        &settings.client_ca_file,
    ];
    files.map(|path| of(path)).into()
}

fn read(settings: &TlsSettings) -> Result<Files, TlsError> {
    let at = |key, path: &Path| {
        let path = path.display().to_string();
        move |reason: String| TlsError { key, path, reason }
    };
    let in_cert = || at("cert_file", &settings.cert_file);
    let chain = certificates(&settings.cert_file).map_err(in_cert())?;
    check_time(&chain[0], &settings.cert_file, settings.warn_before).map_err(in_cert())?;
    let key = PrivateKeyDer::from_pem_file(&settings.key_file)
        .map_err(|error| format!("cannot be read as a private key in PEM: {error}"))
        .map_err(at("key_file", &settings.key_file))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())
        .map_err(in_cert())?;
    let mut authorities = Vec::new();
    let builder = if settings.takes_client_certificates() {
        let in_ca = || at("client_ca_file", &settings.client_ca_file);
        let mut roots = RootCertStore::empty();
        authorities = certificates(&settings.client_ca_file).map_err(in_ca())?;
        for authority in &authorities {
            let added = roots.add(authority.clone());
            added
                .map_err(|error| format!("has an entry that is not an authority: {error}"))
                .map_err(in_ca())?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            // A client without a certificate needs a key.
            .allow_unauthenticated()
            .build()
            .map_err(|error| error.to_string())
            .map_err(in_ca())?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("is not the key of server.tls.cert_file: {error}"))
        .map_err(at("key_file", &settings.key_file))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Files {
        config: Arc::new(config),
        authorities,
        changes: 0,
    })
}

/// Returns all certificates of a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error| format!("cannot be read as certificates in PEM: {error}");
    let all = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
    let all = all.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    match all.is_empty() {
        true => Err("has no certificate in PEM".to_owned()),
        false => Ok(all),
    }
}

/// Refuses a certificate that is not valid now, and warns of one that soon is not.
fn check_time(
    certificate: &CertificateDer<'_>,
    path: &Path,
    warn_before: Duration,
) -> Result<(), String> {
    let certificate = EndEntityCert::try_from(certificate)
        .map_err(|error| format!("has an entry that is not a certificate: {error}"))?;
    let now = UnixTime::now();
    let wrong = |time| {
        // Validity is checked before the chain to an authority, of which there is none
        // here.
        let verified =
            certificate.verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None);
        match verified.err()? {
            webpki::Error::CertExpired { .. } => Some("has expired"),
            webpki::Error::CertNotValidYet { .. } => Some("is not valid yet"),
            webpki::Error::InvalidCertValidity => Some("ends before it begins"),
            _ => None,
        }
    };
    if let Some(wrong) = wrong(now) {
        return Err(format!("the certificate {wrong}"));
    }
    let soon = Duration::from_secs(now.as_secs()) + warn_before;
    if wrong(UnixTime::since_unix_epoch(soon)).is_some() {
        let days = warn_before.as_secs_f64() / 86_400.0;
        tracing::warn!(path = %path.display(), "the certificate expires within {days} days (server.tls.warn_before): renew it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(year: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn uris_need_a_scheme() {
        for (uri, expected) in [
            ("spiffe://a/b", true),
            ("urn:bot:7", true),
            ("worker-7.example", false),
            ("//worker-7.example", false),
            (":worker", false),
            ("7://worker", false),
            ("wor/ker:7", false),
            ("", false),
        ] {
            assert_eq!(has_scheme(uri), expected, "{uri}");
        }
    }

    #[test]
    fn end_of_certificate_is_read() {
        assert_eq!(not_after(&certificate(2001)), 978_307_200);
        assert_eq!(not_after(&certificate(3000)), 32_503_680_000);
        assert_eq!(not_after(&CertificateDer::from(vec![7; 100])), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn certificate_is_valid_until_its_end_or_a_change_of_authorities() {
        let changes = watch::Sender::new(0);
        let client = |year| ClientCert {
            bot: Some("upper-1".parse().unwrap()),
            not_after: not_after(&certificate(year)),
            verified: 0,
            changes: changes.subscribe(),
        };
        assert!(!client(2020).stands());
        client(2020).over().await;
        let mut stands = client(3000);
        assert!(stands.stands());
        changes.send_replace(1);
        assert!(!stands.stands());
        stands.over().await;
    }
}
