use proptest::prelude::*;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::Value;

use super::*;

/// The key pair and the signature that the Svix server publishes; the signature is the example
/// of the specification too.
const ED25519_PRIVATE: &str =
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const ED25519_PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
const ED25519_SIGNATURE: &str =
    "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";

fn key(secret: &WebhookSecret) -> SigningKey {
    SigningKey::new(secret).unwrap()
}

/// A receiver: verifies as the specification says, with what the receiver has.
fn verifies(secret: &WebhookSecret, id: &str, timestamp: i64, body: &[u8], header: &str) -> bool {
    let message = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    header.split(' ').any(|signature| {
        let (version, base64) = signature.split_once(',').unwrap();
        let bytes = BASE64.decode(base64.as_bytes()).unwrap();
        match (secret, version) {
            (WebhookSecret::Symmetric(key), "v1") => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, key);
                hmac::verify(&key, &message, &bytes).is_ok()
            }
            (WebhookSecret::Ed25519(_), "v1a") => {
                let public = secret.public_key().unwrap();
                let public = BASE64.decode(&public.as_bytes()[PUBLIC.len()..]).unwrap();
                UnparsedPublicKey::new(&ED25519, public)
                    .verify(&message, &bytes)
                    .is_ok()
            }
            _ => false,
        }
    })
}

#[test]
fn known_answers_of_hmac() {
    let text = include_str!("../../../../../tests/vectors/webhook-signatures.json");
    let all: Value = serde_json::from_str(text).unwrap();
    let vectors = all["hmac_sha256_v1"].as_array().unwrap();
    assert!(vectors.len() > 1);
    for vector in vectors {
        let field = |name: &str| vector[name].as_str().unwrap();
        let secret = WebhookSecret::parse(field("secret")).unwrap();
        assert_eq!(secret.reveal(), field("secret"));
        let timestamp = vector["timestamp"].as_i64().unwrap();
        let (id, body) = (field("id"), field("body").as_bytes());
        assert_eq!(
            sign(id, timestamp, body, &[key(&secret)]),
            field("signature")
        );
    }
}

#[test]
fn known_answer_of_ed25519() {
    let secret = WebhookSecret::parse(ED25519_PRIVATE).unwrap();
    assert_eq!(secret.reveal(), ED25519_PRIVATE);
    assert_eq!(secret.public_key().unwrap(), ED25519_PUBLIC);
    let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", b"{\"test\": 2432232314}");
    let signature = sign(id, 1_614_265_330, body, &[key(&secret)]);
    assert_eq!(signature, ED25519_SIGNATURE);
}

#[test]
fn every_key_of_a_rotation_signs() {
    let secrets = [
        WebhookSecret::generate().unwrap(),
        WebhookSecret::generate().unwrap(),
        WebhookSecret::generate_ed25519().unwrap(),
    ];
    let keys: Vec<_> = secrets.iter().map(key).collect();
    let header = sign("msg_1", 7, b"{}", &keys);
    assert_eq!(header.split(' ').count(), 3);
    for secret in &secrets {
        assert!(verifies(secret, "msg_1", 7, b"{}", &header), "{secret:?}");
    }
    let other = WebhookSecret::generate().unwrap();
    assert!(!verifies(&other, "msg_1", 7, b"{}", &header));
    assert_eq!(sign("msg_1", 7, b"{}", &[]), "");
}

#[test]
fn generated_secrets_differ_and_read_back() {
    for generate in [WebhookSecret::generate, WebhookSecret::generate_ed25519] {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one, other);
        assert_eq!(WebhookSecret::parse(&one.reveal()).unwrap(), one);
    }
    let generated = WebhookSecret::generate().unwrap();
    assert!(matches!(&generated, WebhookSecret::Symmetric(key) if key.len() == 32));
}

#[test]
fn malformed_secrets_are_refused_without_repeating_them() {
    let symmetric = |bytes: usize| format!("whsec_{}", BASE64.encode(&vec![b'x'; bytes]));
    // A key pair whose public half belongs to another seed.
    let crossed = ED25519_PRIVATE.replace("6Xb/dCcH", "7Xb/dCcH");
    for (text, expected) in [
        ("", SecretError::Prefix),
        ("hunter2", SecretError::Prefix),
        (
            "WHSEC_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            SecretError::Prefix,
        ),
        (ED25519_PUBLIC, SecretError::PublicKey),
        ("whsec_%", SecretError::Base64),
        (
            "whsec_C2FVsBQIhrscChlQIMV-b5sSYspob7oD",
            SecretError::Base64,
        ),
        (
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n",
            SecretError::Base64,
        ),
        (&symmetric(0), SecretError::Length(0)),
        (&symmetric(23), SecretError::Length(23)),
        (&symmetric(65), SecretError::Length(65)),
        ("whsk_AAAA", SecretError::KeyPair),
        (&crossed, SecretError::KeyPair),
        (
            "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=",
            SecretError::KeyPair,
        ),
    ] {
        assert_eq!(WebhookSecret::parse(text), Err(expected), "{text}");
        assert!(text.is_empty() || !expected.to_string().contains(text));
    }
    for bytes in [24, 64] {
        assert!(WebhookSecret::parse(&symmetric(bytes)).is_ok());
    }
}

#[test]
fn debug_shows_no_secret() {
    for secret in [
        WebhookSecret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap(),
        WebhookSecret::parse(ED25519_PRIVATE).unwrap(),
    ] {
        let shown = format!("{secret:?} {:?}", key(&secret));
        assert!(shown.len() < 60, "{shown}");
        assert!(!shown.contains("C2FV") && !shown.contains("6Xb"), "{shown}");
    }
}

proptest! {
    #[test]
    fn an_altered_delivery_never_verifies(
        id in "msg_[A-Za-z0-9]{1,20}",
        timestamp in 0_i64..4_000_000_000,
        body: Vec<u8>,
        other_id in "msg_[A-Za-z0-9]{1,20}",
        other_timestamp in 0_i64..4_000_000_000,
        other_body: Vec<u8>,
        ed25519: bool,
    ) {
        let secret = match ed25519 {
            true => WebhookSecret::generate_ed25519().unwrap(),
            false => WebhookSecret::generate().unwrap(),
        };
        let header = sign(&id, timestamp, &body, &[key(&secret)]);
        prop_assert!(verifies(&secret, &id, timestamp, &body, &header));
        let same = |a: &str, b: i64, c: &[u8]| a == id && b == timestamp && *c == *body;
        for (a, b, c) in [
            (&other_id, timestamp, &body),
            (&id, other_timestamp, &body),
            (&id, timestamp, &other_body),
        ] {
            prop_assert_eq!(verifies(&secret, a, b, c, &header), same(a, b, c));
        }
        let mut longer = body.clone();
        longer.push(b' ');
        prop_assert!(!verifies(&secret, &id, timestamp, &longer, &header));
        if !body.is_empty() {
            let mut flipped = body.clone();
            flipped[body.len() / 2] ^= 1;
            prop_assert!(!verifies(&secret, &id, timestamp, &flipped, &header));
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "(whsec_|whsk_)?\\PC{0,100}|whsk_[A-Za-z0-9+/]{86}==") {
        let _ = WebhookSecret::parse(&text);
    }
}
