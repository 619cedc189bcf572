//! A real issuer of tokens on loopback: keys of each kind, a JWK Set over HTTP,
//! rotation, and every way to be broken.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use data_encoding::BASE64URL_NOPAD;
use ring::{
    rand::SystemRandom,
    rsa::{self, KeyPairComponents, PublicKeyComponents},
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The RSA key that RFC 7515 publishes in A.2.
const RSA: [&str; 8] = [
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    "AQAB",
    "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ",
    "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc",
    "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc",
    "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0",
    "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU",
    "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U",
];

/// A key that signs.
pub(crate) struct Signer {
    pub(crate) kid: String,
    pub(crate) algorithm: &'static str,
    pair: Pair,
}

enum Pair {
    Rsa(Box<rsa::KeyPair>),
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl Signer {
    pub(crate) fn rsa(kid: &str) -> Self {
        let parts = RSA.map(bytes);
        let [n, e, d, p, q, dp, dq, qi] = &parts;
        let components = KeyPairComponents {
            public_key: PublicKeyComponents { n, e },
            d,
            p,
            q,
            dP: dp,
            dQ: dq,
            qInv: qi,
        };
        let pair = rsa::KeyPair::from_components(&components).unwrap();
        Self::new(kid, "RS256", Pair::Rsa(Box::new(pair)))
    }

    pub(crate) fn p256(kid: &str) -> Self {
        let random = SystemRandom::new();
        let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref(), &random).unwrap();
        Self::new(kid, "ES256", Pair::P256(Box::new(pair)))
    }

    pub(crate) fn ed25519(kid: &str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        Self::new(kid, "EdDSA", Pair::Ed25519(Box::new(pair)))
    }

    fn new(kid: &str, algorithm: &'static str, pair: Pair) -> Self {
        Self {
            kid: kid.to_owned(),
            algorithm,
            pair,
        }
    }

    /// Returns the public half of the key.
    pub(crate) fn jwk(&self) -> Value {
        let base = json!({"kid": self.kid, "use": "sig", "alg": self.algorithm});
        let parts = match &self.pair {
            Pair::Rsa(_) => json!({"kty": "RSA", "n": RSA[0], "e": RSA[1]}),
            Pair::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])})
            }
            Pair::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())})
            }
        };
        let mut jwk = base;
        jwk.as_object_mut()
            .unwrap()
            .extend(parts.as_object().unwrap().clone());
        jwk
    }

    fn signature(&self, text: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, text, &mut signature)
                    .unwrap();
                signature
            }
            Pair::P256(pair) => pair.sign(&random, text).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(text).as_ref().to_vec(),
        }
    }

    /// A token as issuers make them.
    pub(crate) fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm, "kid": self.kid, "typ": "JWT"});
        self.token_with(&header.to_string(), &claims.to_string())
    }

    /// A token with a header and claims of any kind, signed by this key.
    pub(crate) fn token_with(&self, header: &str, claims: &str) -> String {
        let signed = unsigned(header, claims);
        format!("{signed}.{}", encode(&self.signature(signed.as_bytes())))
    }
}

/// The first two parts of a token.
pub(crate) fn unsigned(header: &str, claims: &str) -> String {
    format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(claims.as_bytes())
    )
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

fn bytes(text: &str) -> Vec<u8> {
    BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()
}

/// Seconds since the epoch.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs()
}

/// Kind of answer that the issuer gives.
#[derive(Clone)]
pub(crate) enum Manner {
    /// With a document for each path.
    Serves,
    /// Not at all.
    Hangs,
    /// With that status.
    Status(u16),
    /// With what is no JSON.
    Garbage,
    /// With 10 MiB.
    Floods,
    /// With another place.
    Redirects(String),
}

/// A running issuer.
pub(crate) struct TestIssuer {
    pub(crate) url: String,
    state: Arc<State>,
}

struct State {
    documents: Mutex<BTreeMap<String, String>>,
    manner: Mutex<Manner>,
    asked: AtomicUsize,
}

impl TestIssuer {
    /// Starts an issuer that has these keys.
    pub(crate) async fn start(keys: &[&Signer]) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            documents: Mutex::default(),
            manner: Mutex::new(Manner::Serves),
            asked: AtomicUsize::new(0),
        });
        let issuer = Self {
            url,
            state: state.clone(),
        };
        let discovery = json!({"issuer": issuer.url, "jwks_uri": format!("{}/keys", issuer.url)});
        issuer.put("/.well-known/openid-configuration", &discovery);
        issuer.publish(keys);
        // On a thread of its own: tests hold up theirs while a server starts.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(answer(stream, state.clone()));
                }
            });
        });
        issuer
    }

    /// From now on it has these keys.
    pub(crate) fn publish(&self, keys: &[&Signer]) {
        let keys: Vec<_> = keys.iter().map(|signer| signer.jwk()).collect();
        self.put("/keys", &json!({ "keys": keys }));
    }

    /// Has that document there.
    pub(crate) fn put(&self, path: &str, document: &Value) {
        let mut documents = self.state.documents.lock().unwrap();
        documents.insert(path.to_owned(), document.to_string());
    }

    /// From now on it answers so.
    pub(crate) fn behaves(&self, manner: Manner) {
        *self.state.manner.lock().unwrap() = manner;
    }

    /// Returns the number of requests that the issuer received.
    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// Returns the settings of the hive for this issuer.
    pub(crate) fn settings(&self, name: &str) -> Value {
        json!({"name": name, "issuer": self.url, "audiences": ["deia"],
            "jwks_url": format!("{}/keys", self.url), "role_claim": "groups",
            "roles": {"root": "admin", "ops": "operator", "people": "external"}})
    }

    /// Returns the claims of a good token of this issuer.
    pub(crate) fn claims(&self, user: &str, group: &str) -> Value {
        json!({"iss": self.url, "aud": "deia", "sub": user, "exp": now() + 600, "iat": now(),
            "groups": [group]})
    }
}

async fn answer(mut stream: TcpStream, state: Arc<State>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0; 1];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    state.asked.fetch_add(1, Ordering::SeqCst);
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap();
    let manner = state.manner.lock().unwrap().clone();
    let document = state.documents.lock().unwrap().get(path).cloned();
    let text = |status: u16, more: &str, body: &str| {
        format!(
            "HTTP/1.1 {status} x\r\nContent-Length: {}\r\n{more}Connection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let answer = match (manner, document) {
        (Manner::Hangs, _) => return std::future::pending().await,
        (Manner::Status(status), _) => text(status, "", "{}"),
        (Manner::Garbage, _) => text(200, "", "<html>nothing to see</html>"),
        (Manner::Floods, _) => text(200, "", &" ".repeat(10 << 20)),
        (Manner::Redirects(to), _) => text(302, &format!("Location: {to}\r\n"), ""),
        (Manner::Serves, Some(document)) => text(200, "", &document),
        (Manner::Serves, None) => text(404, "", ""),
    };
    // A client that reads no further has closed the connection.
    let _ = stream.write_all(answer.as_bytes()).await;
}
