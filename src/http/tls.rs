//! TLS of the listener: its certificate, read anew when it changes, and the
//! certificates of clients.
//!
//! Only HTTP/1.1 is offered: the guard of the stream reads nothing else.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix_rt::net::TcpStream;
use arc_swap::ArcSwap;
use deia_hive::{config::TlsSettings, model::BotName};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use webpki::{EndEntityCert, KeyUsage};

/// How often the files are looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long before its end a certificate is warned of.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 24 * 3_600);

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("server.tls.{key}: {path}: {reason}")]
pub struct TlsError {
    key: &'static str,
    path: String,
    reason: String,
}

/// What the listener needs to speak TLS.
pub struct Tls {
    settings: TlsSettings,
    config: ArcSwap<ServerConfig>,
    /// The files that were tried last.
    tried: Mutex<Stamp>,
}

/// What tells one version of the files from another.
type Stamp = Vec<Option<(u64, u64, i64, i64)>>;

impl Tls {
    /// Reads the files; `None` when TLS is off.
    ///
    /// # Errors
    /// A file that is not there or not what it should be, a certificate that is not
    /// valid now, or a key that is not that of the certificate.
    pub fn load(settings: &TlsSettings) -> Result<Option<Arc<Self>>, TlsError> {
        if !settings.is_on() {
            return Ok(None);
        }
        let tried = Mutex::new(stamp(settings));
        let config = ArcSwap::from_pointee(read(settings)?);
        let settings = settings.clone();
        Ok(Some(Arc::new(Self {
            settings,
            config,
            tried,
        })))
    }

    /// Reads the files anew if they have changed since they were tried last.
    pub(super) fn look(&self) {
        let now = stamp(&self.settings);
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if *tried != now {
            *tried = now;
            drop(tried);
            self.reload();
        }
    }

    /// Reads the files anew. What is wrong with them is logged, and the old ones
    /// stay in use.
    pub fn reload(&self) {
        match read(&self.settings) {
            Ok(config) => {
                self.config.store(Arc::new(config));
                let cert_file = self.settings.cert_file.display();
                tracing::info!(%cert_file, "the certificate was read anew");
            }
            Err(error) => {
                tracing::error!(%error, "the certificate cannot be read anew; the old one stays in use");
            }
        }
    }

    /// Makes a connection one under TLS.
    pub(super) async fn accept(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.config.load_full()).accept(tcp).await
    }

    /// The bot that the certificate of the client stands for, if there is one.
    pub(super) fn bot(&self, stream: &TlsStream<TcpStream>) -> Option<BotName> {
        // Of the chain, which was verified, the first is the client's own.
        let certificate = stream.get_ref().1.peer_certificates()?.first()?;
        bot_of(&self.settings, certificate)
    }
}

fn bot_of(settings: &TlsSettings, certificate: &CertificateDer<'_>) -> Option<BotName> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let names = certificate.valid_dns_names().map(str::to_ascii_lowercase);
    let names = names.chain(certificate.valid_uri_names().map(str::to_owned));
    let mut bots = names.filter_map(|name| settings.client_bots.get(&name));
    let bot = bots.next()?;
    // One that stands for several stands for none.
    bots.all(|other| other == bot).then(|| bot.clone())
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

fn read(settings: &TlsSettings) -> Result<ServerConfig, TlsError> {
    let at = |key, path: &Path| {
        let path = path.display().to_string();
        move |reason: String| TlsError { key, path, reason }
    };
    let in_cert = || at("cert_file", &settings.cert_file);
    let chain = certificates(&settings.cert_file).map_err(in_cert())?;
    check_time(&chain[0], &settings.cert_file).map_err(in_cert())?;
    let key = PrivateKeyDer::from_pem_file(&settings.key_file)
        .map_err(|error| format!("cannot be read as a private key in PEM: {error}"))
        .map_err(at("key_file", &settings.key_file))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())
        .map_err(in_cert())?;
    let builder = if settings.takes_client_certificates() {
        let in_ca = || at("client_ca_file", &settings.client_ca_file);
        let mut roots = RootCertStore::empty();
        for authority in certificates(&settings.client_ca_file).map_err(in_ca())? {
            let added = roots.add(authority);
            added
                .map_err(|error| format!("has what is no authority: {error}"))
                .map_err(in_ca())?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            // Whoever shows none needs a key.
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
    Ok(config)
}

/// All certificates of a file, at least one.
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
fn check_time(certificate: &CertificateDer<'_>, path: &Path) -> Result<(), String> {
    let certificate = EndEntityCert::try_from(certificate)
        .map_err(|error| format!("has what is no certificate: {error}"))?;
    let now = UnixTime::now();
    let wrong = |time| {
        // The time is checked before the way to an authority, of which there is none here.
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
    let soon = Duration::from_secs(now.as_secs()) + WARN_BEFORE;
    if wrong(UnixTime::since_unix_epoch(soon)).is_some() {
        tracing::warn!(path = %path.display(), "the certificate expires within 14 days");
    }
    Ok(())
}
