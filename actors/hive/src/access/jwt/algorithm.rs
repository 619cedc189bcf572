//! Signature algorithms. None is symmetric, and `none` is absent: a public key can never be
//! mistaken for a shared secret (RFC 8725, 2.1).

use ring::signature::{self, RsaParameters, VerificationAlgorithm};
use serde::{Deserialize, Serialize};

macro_rules! algorithms {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// A signature algorithm of RFC 7518 or RFC 8037.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Algorithm {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Algorithm {
            /// Every algorithm.
            pub const ALL: &'static [Algorithm] = &[$(Algorithm::$variant,)*];

            /// Returns the name in the header of a token.
            pub fn as_str(self) -> &'static str {
                match self { $(Algorithm::$variant => $name,)* }
            }

            /// Returns the algorithm of that name.
            pub fn parse(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Algorithm::$variant),)*
                    // Name of the algorithm in RFC 9864.
                    "Ed25519" => Some(Algorithm::EdDsa),
                    _ => None,
                }
            }
        }
    };
}

algorithms! {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256 = "RS256";
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384 = "RS384";
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512 = "RS512";
    /// RSASSA-PSS with SHA-256.
    Ps256 = "PS256";
    /// RSASSA-PSS with SHA-384.
    Ps384 = "PS384";
    /// RSASSA-PSS with SHA-512.
    Ps512 = "PS512";
    /// ECDSA on P-256 with SHA-256.
    Es256 = "ES256";
    /// ECDSA on P-384 with SHA-384.
    Es384 = "ES384";
    /// Ed25519.
    EdDsa = "EdDSA";
}

/// Kind of key that an algorithm verifies with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Algorithm {
    /// Returns the kind of key that fits the algorithm.
    pub(super) fn family(self) -> Family {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 => Family::Rsa,
            Self::Ps256 | Self::Ps384 | Self::Ps512 => Family::Rsa,
            Self::Es256 => Family::P256,
            Self::Es384 => Family::P384,
            Self::EdDsa => Family::Ed25519,
        }
    }

    /// Returns the parameters for a key of 2048 to 8192 bits, or `None` if the algorithm is not
    /// RSA.
    pub(super) fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
            Self::Es256 | Self::Es384 | Self::EdDsa => None,
        }
    }

    /// Returns the verification algorithm for a key on a curve, or `None` if the algorithm is
    /// RSA.
    pub(super) fn curve(self) -> Option<&'static dyn VerificationAlgorithm> {
        match self {
            Self::Es256 => Some(&signature::ECDSA_P256_SHA256_FIXED),
            Self::Es384 => Some(&signature::ECDSA_P384_SHA384_FIXED),
            Self::EdDsa => Some(&signature::ED25519),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_nothing_symmetric_is_known() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.as_str()), Some(*algorithm));
            assert_ne!(algorithm.rsa().is_some(), algorithm.curve().is_some());
        }
        for name in [
            "none", "None", "HS256", "HS384", "HS512", "rs256", "ES512", "",
        ] {
            assert_eq!(Algorithm::parse(name), None, "{name}");
        }
    }
}
