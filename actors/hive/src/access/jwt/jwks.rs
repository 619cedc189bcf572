//! The public keys of an issuer: a JWK Set (RFC 7517).

use data_encoding::BASE64URL_NOPAD;
use deia_model::TrustAnchor;
use ring::{
    digest::{Context, SHA256},
    signature::{RsaPublicKeyComponents, UnparsedPublicKey},
};
use serde_json::{Map, Value};

use super::{
    algorithm::{Algorithm, Family},
    token::TokenError,
};

/// Maximum number of keys of a set that are used. Fixed: far above any real set, so that
/// an issuer cannot fill the memory.
const MAX_KEYS: usize = 100;
/// Maximum length of a key's name in bytes. Fixed: far above any real name, so that an
/// issuer cannot fill the memory.
pub(super) const MAX_KID_BYTES: usize = 256;
/// Maximum length of an RSA modulus in bytes: 8192 bits. Fact: ring verifies RSA keys of
/// 2,048 to 8,192 bits.
const MAX_MODULUS_BYTES: usize = 1024;

/// Reason why a document is no set of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// The document is not an object with an array `keys`.
    #[error("it is not a JWK Set")]
    Malformed,
}

/// The keys of an issuer that can verify signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Key>,
    /// True if the set had more keys than are used.
    pub(crate) is_cut: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    kid: Option<String>,
    /// The only algorithm that the key is for, if the set restricts it.
    algorithm: Option<Algorithm>,
    material: Material,
    /// Hash of the key material.
    thumbprint: [u8; 32],
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A point or an encoded key on the curve of that family.
    Curve(Family, Vec<u8>),
}

impl KeySet {
    /// Reads a JWK Set. Ignores keys that are symmetric, private, for encryption, of an unknown
    /// kind or too weak: sets contain other keys for other uses. The result may be empty: an
    /// issuer may withdraw all of its keys.
    ///
    /// # Errors
    /// [`JwksError`]
    pub fn parse(document: &[u8]) -> Result<Self, JwksError> {
        let document: Value = serde_json::from_slice(document).map_err(|_| JwksError::Malformed)?;
        let listed = document.get("keys").and_then(Value::as_array);
        let listed = listed.ok_or(JwksError::Malformed)?.iter();
        let mut usable = listed.filter_map(|jwk| jwk.as_object().and_then(key));
        Ok(Self {
            keys: usable.by_ref().take(MAX_KEYS).collect(),
            is_cut: usable.next().is_some(),
        })
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns true if there are no keys.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the thumbprint of the key of that name, if it made this signature by that
    /// algorithm. Without a name, exactly one key must be suitable.
    ///
    /// # Errors
    /// [`TokenError::Key`]: there is no such key; [`TokenError::Signature`].
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<[u8; 32], TokenError> {
        let fitting = || self.keys.iter().filter(|key| key.fits(algorithm));
        let named: Vec<_> = match kid {
            Some(kid) => fitting()
                .filter(|key| key.kid.as_deref() == Some(kid))
                .collect(),
            None if fitting().count() == 1 => fitting().collect(),
            None => Vec::new(),
        };
        if named.is_empty() {
            return Err(TokenError::Key);
        }
        let verifies = |key: &&Key| key.verifies(algorithm, signed, signature);
        let signer = named.into_iter().find(verifies);
        signer.map_or(Err(TokenError::Signature), |key| Ok(key.thumbprint))
    }

    /// Returns the trust anchors of tokens signed with these keys, for an issuer with settings of
    /// that hash.
    pub(super) fn trust_anchors(&self, settings: &[u8; 32]) -> Vec<TrustAnchor> {
        let of = |key: &Key| trust_anchor(settings, &key.thumbprint);
        self.keys.iter().map(of).collect()
    }
}

/// Returns the trust anchor of tokens that a key with this thumbprint signs.
pub(super) fn trust_anchor(settings: &[u8; 32], thumbprint: &[u8; 32]) -> TrustAnchor {
    hash(&[settings, thumbprint])
}

/// Returns a hash of these parts that also covers the boundaries between them.
pub(super) fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

impl Material {
    fn thumbprint(&self) -> [u8; 32] {
        match self {
            Self::Rsa { n, e } => hash(&[b"RSA", n, e]),
            Self::Curve(family, point) => hash(&[b"curve", &[*family as u8], point]),
        }
    }
}

impl Key {
    fn fits(&self, algorithm: Algorithm) -> bool {
        let family = match &self.material {
            Material::Rsa { .. } => Family::Rsa,
            Material::Curve(family, _) => *family,
        };
        family == algorithm.family() && self.algorithm.is_none_or(|only| only == algorithm)
    }

    fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Rsa { n, e } => algorithm.rsa().is_some_and(|parameters| {
                RsaPublicKeyComponents { n, e }
                    .verify(parameters, signed, signature)
                    .is_ok()
            }),
            Material::Curve(_, bytes) => algorithm.curve().is_some_and(|curve| {
                UnparsedPublicKey::new(curve, bytes)
                    .verify(signed, signature)
                    .is_ok()
            }),
        }
    }
}

/// Returns the key in a JWK, if it can be used here.
fn key(jwk: &Map<String, Value>) -> Option<Key> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let private = jwk.contains_key("d") || jwk.contains_key("k");
    let for_signatures = jwk.get("use").is_none_or(|usage| usage == "sig");
    let may_verify = jwk.get("key_ops").is_none_or(|ops| {
        ops.as_array()
            .is_some_and(|ops| ops.iter().any(|op| op == "verify"))
    });
    if private || !for_signatures || !may_verify {
        return None;
    }
    let kid = match jwk.get("kid") {
        None => None,
        Some(kid) => Some(
            kid.as_str()
                .filter(|kid| kid.len() <= MAX_KID_BYTES)?
                .to_owned(),
        ),
    };
    let algorithm = match jwk.get("alg") {
        None => None,
        Some(name) => Some(Algorithm::parse(name.as_str()?)?),
    };
    let bytes = |name: &str| BASE64URL_NOPAD.decode(text(name)?.as_bytes()).ok();
    let material = match (text("kty")?, text("crv")) {
        ("RSA", _) => rsa(bytes("n")?, bytes("e")?)?,
        ("EC", Some("P-256")) => point(Family::P256, 32, bytes("x")?, bytes("y")?)?,
        ("EC", Some("P-384")) => point(Family::P384, 48, bytes("x")?, bytes("y")?)?,
        ("OKP", Some("Ed25519")) => {
            let x = bytes("x").filter(|x| x.len() == 32)?;
            Material::Curve(Family::Ed25519, x)
        }
        _ => return None,
    };
    let key = Key {
        kid,
        algorithm,
        thumbprint: material.thumbprint(),
        material,
    };
    // A key that claims an algorithm of another kind of key is not for any.
    key.algorithm
        .is_none_or(|only| key.fits(only))
        .then_some(key)
}

/// Returns an RSA key without leading zeros, if its modulus has 2048 to 8192 bits.
fn rsa(mut n: Vec<u8>, mut e: Vec<u8>) -> Option<Material> {
    for number in [&mut n, &mut e] {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        number.drain(..zeros);
    }
    let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
    let odd = e.last().is_some_and(|last| last % 2 == 1) && e != [1];
    (bits >= 2048 && n.len() <= MAX_MODULUS_BYTES && e.len() <= 4 && odd)
        .then_some(Material::Rsa { n, e })
}

/// Returns an uncompressed point of SEC 1.
fn point(family: Family, size: usize, x: Vec<u8>, y: Vec<u8>) -> Option<Material> {
    (x.len() == size && y.len() == size).then(|| Material::Curve(family, [vec![4], x, y].concat()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RSA_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

    fn rsa_key() -> Value {
        json!({"kty": "RSA", "kid": "r", "n": RSA_N, "e": "AQAB"})
    }

    fn ec_key() -> Value {
        json!({"kty": "EC", "kid": "e", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})
    }

    fn ed_key() -> Value {
        json!({"kty": "OKP", "kid": "d", "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    }

    fn set(keys: &[Value]) -> Result<KeySet, JwksError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    /// Returns the signatures of RFC 7515 A.2 and A.3 and of RFC 8037 A.4.
    fn vectors() -> [(Algorithm, &'static str, String, &'static str); 3] {
        [
            (
                Algorithm::Rs256,
                "r",
                format!("eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}"),
                "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
            ),
            (
                Algorithm::Es256,
                "e",
                format!("eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}"),
                "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
            ),
            (
                Algorithm::EdDsa,
                "d",
                "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".into(),
                "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
            ),
        ]
    }

    #[test]
    fn known_answers_of_the_rfcs() {
        let keys = set(&[rsa_key(), ec_key(), ed_key()]).unwrap();
        let mut thumbprints = std::collections::HashSet::new();
        for (algorithm, kid, signed, signature) in vectors() {
            let mut signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
            let check = |kid, algorithm, signature: &[u8]| {
                keys.verify(algorithm, kid, signed.as_bytes(), signature)
            };
            let thumbprint = check(Some(kid), algorithm, &signature).unwrap();
            assert!(thumbprints.insert(thumbprint), "each has its own");
            assert_eq!(
                check(None, algorithm, &signature),
                Ok(thumbprint),
                "the only one"
            );
            let (unknown, wrong) = (Err(TokenError::Key), Err(TokenError::Signature));
            assert_eq!(check(Some("x"), algorithm, &signature), unknown);
            assert_eq!(check(Some(kid), Algorithm::Es384, &signature), unknown);
            signature[7] ^= 1;
            assert_eq!(check(Some(kid), algorithm, &signature), wrong, "{kid}");
            assert_eq!(check(Some(kid), algorithm, &[]), wrong, "{kid}");
        }
    }

    #[test]
    fn what_cannot_verify_here_is_left_out() {
        let with = |mut key: Value, name: &str, value: Value| {
            key[name] = value;
            key
        };
        for useless in [
            json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0"}),
            json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}),
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
            json!(7),
            json!({}),
            with(rsa_key(), "use", json!("enc")),
            with(rsa_key(), "key_ops", json!(["sign"])),
            with(rsa_key(), "d", json!("AQAB")),
            with(rsa_key(), "e", json!("AQ")),
            with(rsa_key(), "e", json!("AQAA")),
            with(rsa_key(), "e", json!("AQABAQAB")),
            with(rsa_key(), "n", json!(format!("{RSA_N}="))),
            with(rsa_key(), "alg", json!("HS256")),
            with(rsa_key(), "alg", json!("ES256")),
            with(rsa_key(), "kid", json!("k".repeat(257))),
            with(rsa_key(), "kid", json!(1)),
            with(ec_key(), "crv", json!("P-384")),
            with(ec_key(), "x", json!("AAAA")),
            with(ed_key(), "crv", json!("X25519")),
            with(ed_key(), "x", json!("AAAA")),
        ] {
            let alone = set(std::slice::from_ref(&useless)).unwrap();
            assert!(alone.is_empty(), "{useless}");
            assert_eq!(set(&[useless, ed_key()]).unwrap().len(), 1);
        }
    }

    #[test]
    fn a_key_is_only_for_the_algorithm_that_it_names() {
        let mut key = rsa_key();
        key["alg"] = "PS256".into();
        let keys = set(&[key]).unwrap();
        let (algorithm, kid, signed, signature) = &vectors()[0];
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
        assert_eq!(
            keys.verify(*algorithm, Some(kid), signed.as_bytes(), &signature),
            Err(TokenError::Key)
        );
    }

    #[test]
    fn without_a_name_the_key_must_be_clear() {
        let mut other = ed_key();
        other["kid"] = "d2".into();
        let keys = set(&[ed_key(), other]).unwrap();
        let (algorithm, _, signed, signature) = &vectors()[2];
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
        assert_eq!(
            keys.verify(*algorithm, None, signed.as_bytes(), &signature),
            Err(TokenError::Key)
        );
    }

    #[test]
    fn documents_that_are_no_key_sets() {
        for (document, expected) in [
            ("", JwksError::Malformed),
            ("[]", JwksError::Malformed),
            ("{\"keys\": 1}", JwksError::Malformed),
            ("<html>", JwksError::Malformed),
        ] {
            assert_eq!(
                KeySet::parse(document.as_bytes()),
                Err(expected),
                "{document}"
            );
        }
    }

    #[test]
    fn the_first_hundred_usable_keys_are_taken() {
        for (usable, taken, is_cut) in [(0, 0, false), (100, 100, false), (101, 100, true)] {
            let mut keys = vec![json!({}); 50];
            keys.extend(std::iter::repeat_with(ed_key).take(usable));
            let keys = set(&keys).unwrap();
            assert_eq!((keys.len(), keys.is_cut), (taken, is_cut), "{usable}");
        }
    }
}
