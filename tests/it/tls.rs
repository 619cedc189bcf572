//! The listener under TLS, with authorities of the test's own.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

use nix::sys::signal::{Signal, kill};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SanType, date_time_ymd,
};
use reqwest::{Method, header::HeaderMap};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{PATIENCE, TestApp, client, command};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for that name, and its key, both in PEM.
fn issue(by: &Authority, name: &str, change: impl Fn(&mut CertificateParams)) -> (String, String) {
    let names = [name.to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, by).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// A certificate for that name which its own key has signed.
fn self_signed(name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A directory with the files of a server.
struct Files {
    dir: TempDir,
    authority: Authority,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            dir: tempfile::tempdir().unwrap(),
            authority: authority(),
        };
        files.write(&issue(&files.authority, "localhost", |_| {}));
        fs::write(files.path("ca.pem"), files.authority.pem()).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, (certificate, key): &(String, String)) {
        fs::write(self.path("cert.pem"), certificate).unwrap();
        fs::write(self.path("key.pem"), key).unwrap();
    }

    /// The server as it is started with them.
    fn command(&self, more: &[&str]) -> (Command, PathBuf) {
        let set = |name: &str| {
            let path = self.path(&format!("{name}.pem"));
            format!("server.tls.{name}_file={}", path.display())
        };
        let (cert, key) = (set("cert"), set("key"));
        let settings = [&["bots.seed=[]", &*cert, &*key], more].concat();
        let data_dir = self.path("data");
        (command(&data_dir, &settings), data_dir)
    }

    fn trusting(&self) -> reqwest::ClientBuilder {
        let pem = self.authority.pem();
        let authority = reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
        client().tls_certs_only([authority])
    }

    async fn start(&self, more: &[&str]) -> TestApp {
        let (command, data_dir) = self.command(more);
        let client = self.trusting().build().unwrap();
        let started = TestApp::try_start_for(client, command, &data_dir).await;
        started.unwrap_or_else(|log| panic!("the server does not start:\n{log}"))
    }

    /// Runs `deia check`. Returns whether it succeeded, and its output.
    fn check(&self) -> (bool, String) {
        let (mut command, _) = self.command(&[]);
        let output = command.arg("check").output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
        )
    }
}

/// The certificate that a new connection is shown, as its serial number sees it.
async fn fresh(app: &TestApp, files: &Files) -> bool {
    let client = files.trusting().build().unwrap();
    client
        .get(format!("{}/livez", app.url))
        .send()
        .await
        .is_ok()
}

#[tokio::test]
async fn everything_goes_under_tls() {
    let files = Files::new();
    let app = files.start(&[]).await;
    assert!(app.url.starts_with("https://"), "{}", app.url);
    let answer = app.get("/api/v1/auth/whoami").await.is(200);
    let hsts = answer.header("strict-transport-security");
    assert!(hsts.starts_with("max-age=63072000"), "{hsts}");
    app.submit(&crate::support::task("x")).await;
    // Without TLS nobody is answered.
    let plain = app.url.replace("https", "http");
    let request = client().build().unwrap().get(format!("{plain}/livez"));
    assert!(request.send().await.is_err());
    // Nor is who does not trust the authority.
    let stranger = client().tls_certs_only([]).build().unwrap();
    assert!(
        stranger
            .get(format!("{}/livez", app.url))
            .send()
            .await
            .is_err()
    );
    app.get("/api/v1/auth/whoami").await.is(200);
}

#[tokio::test]
async fn the_command_line_speaks_tls() {
    let files = Files::new();
    let app = files.start(&[]).await;
    let plain = app.url.replacen("https", "http", 1);
    let admin_at = |url: &str, ca: Option<&Path>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deia-admin"));
        command
            .args(["--url", url, "--data-dir"])
            .arg(app.data_dir());
        command
            .env_remove("DEIA_CA_FILE")
            .env("DEIA_CONFIG", files.path("none.yaml"));
        if let Some(ca) = ca {
            command.arg("--ca-file").arg(ca);
        }
        command
            .args(["whoami", "--output", "json"])
            .output()
            .unwrap()
    };
    let admin = |ca: Option<&Path>| admin_at(&app.url, ca);
    let other = admin_at(&plain, None);
    let said = String::from_utf8_lossy(&other.stderr);
    assert_eq!(other.status.code(), Some(7), "{said}");
    assert!(said.contains(&format!("try --url {}", app.url)), "{said}");
    let told = admin(Some(&files.path("ca.pem")));
    assert!(
        told.status.success(),
        "{}",
        String::from_utf8_lossy(&told.stderr)
    );
    assert_eq!(admin(Some(&files.path("key.pem"))).status.code(), Some(2));
    assert_eq!(admin(Some(&files.path("nowhere"))).status.code(), Some(2));
    files.write(&issue(&files.authority, "localhost", |params| {
        let other = "elsewhere.example".try_into().unwrap();
        params.subject_alt_names = vec![SanType::DnsName(other)];
    }));
    kill(app.pid(), Signal::SIGHUP).unwrap();
    app.until_logged("reloaded the certificate").await;
    let right = files.path("ca.pem");
    for (url, ca, parts) in [
        (
            &*app.url,
            None,
            ["is not trusted: unknown issuer", "--ca-file FILE"],
        ),
        (
            &app.url,
            Some(&*right),
            ["is not trusted: it is for another name", "--url"],
        ),
        (
            "https://no-such-hive.invalid",
            None,
            ["no hive answers at", "check the name and port"],
        ),
    ] {
        let told = admin_at(url, ca);
        let said = String::from_utf8_lossy(&told.stderr);
        assert_eq!(told.status.code(), Some(7), "{said}");
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("start a hive"), "{said}");
    }
}

#[tokio::test]
async fn wrong_files_are_refused_before_the_start() {
    let files = Files::new();
    let (ok, said) = files.check();
    assert!(ok, "{said}");
    let right = issue(&files.authority, "localhost", |_| {});
    let other = issue(&files.authority, "localhost", |_| {});
    let expired = issue(&files.authority, "localhost", |params| {
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let future = issue(&files.authority, "localhost", |params| {
        params.not_before = date_time_ymd(3000, 1, 1);
    });
    for (files_written, told) in [
        (
            (right.0.clone(), other.1.clone()),
            "is not the key of server.tls.cert_file",
        ),
        (expired, "has expired"),
        (future, "is not valid yet"),
        ((String::new(), right.1.clone()), "server.tls.cert_file"),
        ((right.0.clone(), String::new()), "server.tls.key_file"),
        ((right.1.clone(), right.1.clone()), "server.tls.cert_file"),
    ] {
        files.write(&files_written);
        let (ok, said) = files.check();
        assert!(!ok && said.contains(told), "{told}: {said}");
        let (mut command, _) = files.command(&[]);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(told), "{told}: {said}");
    }
    files.write(&right);
    fs::remove_file(files.path("key.pem")).unwrap();
    let (ok, said) = files.check();
    assert!(!ok && said.contains("key.pem"), "{said}");
}

#[tokio::test]
async fn a_new_certificate_is_taken_without_a_restart() {
    let mut files = Files::new();
    let app = files.start(&[]).await;
    app.get("/api/v1/auth/whoami").await.is(200);
    // A certificate that does not match its key is not taken.
    let other = issue(&files.authority, "localhost", |_| {});
    fs::write(files.path("key.pem"), &other.1).unwrap();
    kill(app.pid(), Signal::SIGHUP).unwrap();
    app.until_logged("the old one stays in use").await;
    assert!(fresh(&app, &files).await);
    // Another authority: who trusts the old one only sees the difference.
    files.authority = authority();
    assert!(!fresh(&app, &files).await);
    files.write(&issue(&files.authority, "localhost", |_| {}));
    kill(app.pid(), Signal::SIGHUP).unwrap();
    app.until("the new certificate is shown", async |app| {
        fresh(app, &files).await
    })
    .await;
    // The connection from before goes on: its client does not trust the new one.
    app.get("/api/v1/auth/whoami").await.is(200);
    // Without a signal it only takes longer.
    files.authority = authority();
    files.write(&issue(&files.authority, "localhost", |_| {}));
    app.until("the files are looked at", async |app| {
        fresh(app, &files).await
    })
    .await;
}

#[tokio::test]
async fn plain_http_outside_must_be_meant() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let start = |settings: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deia"));
        command.args(["check", "--bind", "0.0.0.0:0", "--data-dir"]);
        command.arg(&data_dir).current_dir(dir.path());
        for setting in settings {
            command.args(["--set", setting]);
        }
        let output = command.output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (ok, said) = start(&[]);
    assert!(!ok && said.contains("server.allow_plain_http"), "{said}");
    let (ok, said) = start(&["server.allow_plain_http=true"]);
    assert!(ok && said.contains("keys are sent unencrypted"), "{said}");
}

#[tokio::test]
async fn clients_show_certificates_of_the_right_authority_only() {
    let files = Files::new();
    let ca = format!(
        "server.tls.client_ca_file={}",
        files.path("ca.pem").display()
    );
    let app = files.start(&[&ca]).await;
    let showing = |(certificate, key): (String, String)| {
        let pem = format!("{certificate}{key}");
        let identity = reqwest::Identity::from_pem(pem.as_bytes()).unwrap();
        let client = files.trusting().identity(identity).build().unwrap();
        let request = client.get(format!("{}/livez", app.url));
        async move { request.send().await.map(|answer| answer.status().as_u16()) }
    };
    assert_eq!(
        showing(issue(&files.authority, "worker", |_| {}))
            .await
            .unwrap(),
        200
    );
    let ours = &files.authority;
    let of_ours = |change: fn(&mut CertificateParams)| issue(ours, "worker", change);
    for (what, shown) in [
        // Authorities made here have the same name, and other keys.
        ("another authority", issue(&authority(), "worker", |_| {})),
        ("self-signed", self_signed("worker")),
        (
            "expired",
            of_ours(|params| params.not_after = date_time_ymd(2020, 1, 1)),
        ),
        (
            "of the future",
            of_ours(|params| params.not_before = date_time_ymd(2999, 1, 1)),
        ),
        (
            "for servers only",
            of_ours(|params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]
            }),
        ),
        (
            "for something else",
            of_ours(|params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]
            }),
        ),
    ] {
        assert!(showing(shown).await.is_err(), "{what}");
    }
    // None is fine: then it is the key that counts.
    app.send(app.request(Method::GET, "/livez")).await.is(200);
    app.get("/api/v1/auth/whoami").await.is(200);
}

#[tokio::test]
async fn a_certificate_stands_for_a_bot() {
    let files = Files::new();
    let ca = files.path("ca.pem");
    let ca = format!("server.tls.client_ca_file={}", ca.display());
    let bots = "server.tls.client_bots={worker-7.example: upper-1, spiffe://a/b: upper-2}";
    // Written as a URI in the certificate, but it is none.
    const NO_URI: &str = "uri worker-7.example";
    let app = files.start(&[&ca, bots, "limits.address.burst=1000"]).await;
    let whoami = |names: &[&str], key: Option<&str>| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let (certificate, private) = issue(&files.authority, "worker", |params| {
            let with_uri = |name: &String| match name
                .strip_prefix("uri ")
                .or(name.contains("://").then_some(name))
            {
                Some(uri) => SanType::URI(uri.try_into().unwrap()),
                None => SanType::DnsName(name.as_str().try_into().unwrap()),
            };
            let (common, others): (Vec<_>, Vec<_>) =
                names.iter().partition(|name| name.starts_with("cn "));
            params.subject_alt_names = others.into_iter().map(with_uri).collect();
            for name in common {
                let name = name.trim_start_matches("cn ");
                params.distinguished_name.push(DnType::CommonName, name);
            }
        });
        let pem = format!("{certificate}{private}");
        let identity = reqwest::Identity::from_pem(pem.as_bytes()).unwrap();
        let client = files.trusting().identity(identity).build().unwrap();
        let mut request = client.get(format!("{}/api/v1/auth/whoami", app.url));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        app.send(request)
    };
    for (names, bot) in [
        (&["worker-7.example"][..], Some("upper-1")),
        (&["other", "WORKER-7.example"], Some("upper-1")),
        (&["spiffe://a/b"], Some("upper-2")),
        (&[NO_URI], None),
        (&["worker-8.example"], None),
        (&["*.example"], None),
        (&["*"], None),
        (&["example"], None),
        (&["sub.worker-7.example"], None),
        (&["spiffe://a/B"], None),
        (&["spiffe://a/b/"], None),
        (&["http://a/b"], None),
        (&["worker-7.example\0"], None),
        (&["worker-7.example\0.other"], None),
        // A common name is no name of a host, as for every TLS server.
        (&["cn worker-7.example"], None),
        (&["worker-7.example", "spiffe://a/b"], None),
    ] {
        let answer = whoami(names, None).await;
        match bot {
            Some(bot) => {
                let who = answer.is(200).body;
                assert_eq!(who["user"], format!("bot:{bot}"), "{who:#}");
                assert_eq!(who["role"], "bot", "{who:#}");
            }
            None => {
                let refused = answer.refuses(401, "key_missing");
                let detail = refused.body["detail"].as_str().unwrap();
                assert!(detail.contains("belongs to no bot"), "{detail}");
            }
        }
    }
    let named = &["worker-7.example"];
    let who = whoami(named, Some(&app.admin)).await.is(200).body;
    assert_eq!(who["role"], "admin", "a key counts before a certificate");
    whoami(named, Some("nonsense"))
        .await
        .refuses(401, "key_malformed");
}

#[tokio::test]
async fn who_does_not_shake_hands_is_cut_off() {
    let files = Files::new();
    let app = files.start(&["server.request_head_timeout=1s"]).await;
    for begun in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let address = app.url.trim_start_matches("https://");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(begun).unwrap();
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        assert_eq!(answer, b"", "it is closed without a word");
    }
    app.get("/api/v1/auth/whoami").await.is(200);
}

/// The headers of every answer.
fn is_secured(headers: &HeaderMap) {
    for (name, value) in [
        ("strict-transport-security", "max-age=63072000"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
    ] {
        let found = headers.get(name).and_then(|found| found.to_str().ok());
        assert!(
            found.is_some_and(|found| found.starts_with(value)),
            "{name}: {found:?}"
        );
    }
}

#[tokio::test]
async fn a_certificate_stands_no_longer_than_its_authority() {
    let files = Files::new();
    let ca = files.path("ca.pem");
    let ca = format!("server.tls.client_ca_file={}", ca.display());
    let bots = "server.tls.client_bots={worker-7.example: upper-1}";
    let app = files.start(&[&ca, bots]).await;
    let program = json!({"kind": "command", "command": ["sh", "-c", "echo begun; sleep 1000"]});
    app.bot("upper-1", program, &[]).await;
    let id = app.submit(&crate::support::task("x")).await;
    let (certificate, key) = issue(&files.authority, "worker-7.example", |_| {});
    let identity = reqwest::Identity::from_pem(format!("{certificate}{key}").as_bytes()).unwrap();
    let client = files.trusting().identity(identity).build().unwrap();
    let get = |path: &str| client.get(format!("{}{path}", app.url)).send();
    // The connection is kept: an answer that is not read would end it.
    let whoami = async || {
        let answer = get("/api/v1/auth/whoami").await.unwrap();
        let status = answer.status().as_u16();
        answer.bytes().await.unwrap();
        status
    };
    let output = format!("/api/v1/tasks/{id}/output");
    let mut followed = None;
    app.until("the task runs", async |_| {
        let response = get(&output).await.unwrap();
        let runs = response.status() == 200;
        followed = Some(response);
        runs
    })
    .await;
    let mut followed = followed.unwrap();
    is_secured(followed.headers());
    assert_eq!(followed.chunk().await.unwrap().unwrap(), "begun\n");
    assert_eq!(whoami().await, 200);
    // A refusal by the framer is answered with the same headers.
    let mut refused = app.request(Method::GET, "/livez");
    for n in 0..70 {
        refused = refused.header(format!("x-{n}"), "x");
    }
    let refused = app.send(refused).await.refuses(431, "head_too_large");
    is_secured(&refused.headers);

    // The server's certificate alone is no reason to ask again.
    files.write(&issue(&files.authority, "localhost", |_| {}));
    kill(app.pid(), Signal::SIGHUP).unwrap();
    app.until_logged("reloaded the certificate").await;
    assert_eq!(whoami().await, 200);

    fs::write(files.path("ca.pem"), authority().pem()).unwrap();
    kill(app.pid(), Signal::SIGHUP).unwrap();
    // The connection was made before, and lasts; the certificate does not count.
    app.until("it does not stand any more", async |_| {
        whoami().await == 401
    })
    .await;
    // Nor does a stream go on that was begun with it.
    let rest = tokio::time::timeout(PATIENCE, async {
        while let Ok(Some(_)) = followed.chunk().await {}
    });
    rest.await.expect("the stream ends");
}
