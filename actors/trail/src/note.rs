//! Signed notes, as C2SP signed-note defines them: Ed25519 signatures of a log, and the
//! cosignatures of witnesses (C2SP tlog-cosignature).

mod key;

use data_encoding::BASE64;

pub use self::key::{InvalidKey, KeyName, SigningKey, VerifierKey};

/// Maximum size of a note that is read, in bytes. Fixed: far above any real file, so that
/// a wrong one does not fill the memory.
pub const MAX_NOTE_BYTES: usize = 64 << 10;
/// Maximum number of signatures of a note that is read. Fact: C2SP signed-note: verifiers
/// may limit the signatures.
const MAX_SIGNATURES: usize = 64;
/// First characters of each line with a signature.
const SIGNATURE: &str = "\u{2014} ";

/// A signature line of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The name of the key.
    pub name: String,
    /// The id of the key.
    pub key_id: [u8; 4],
    /// The bytes after the id.
    pub bytes: Vec<u8>,
}

/// A text with its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The text, with the newline at its end.
    pub text: String,
    /// The signatures, of known and unknown keys.
    pub signatures: Vec<Signature>,
}

/// Reason why a text is not a signed note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a signed note: {0}")]
pub struct InvalidNote(&'static str);

/// Reason why a note is not to be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// No key that is known has signed.
    #[error("no signature is by a known key")]
    Unsigned,
    /// The signature of a known key is wrong.
    #[error("the signature of the key {0} is wrong")]
    Forged(String),
}

impl Signature {
    /// Parses a signature line, without its newline.
    ///
    /// # Errors
    /// The line is not one.
    pub fn parse(line: &str) -> Result<Self, InvalidNote> {
        let malformed = InvalidNote("a line of the signatures is malformed");
        let rest = line.strip_prefix(SIGNATURE).ok_or(malformed)?;
        let (name, encoded) = rest.split_once(' ').ok_or(malformed)?;
        let bytes = BASE64.decode(encoded.as_bytes()).map_err(|_| malformed)?;
        let (key_id, bytes) = bytes.split_first_chunk::<4>().ok_or(malformed)?;
        if KeyName::new(name).is_none() || bytes.is_empty() {
            return Err(malformed);
        }
        Ok(Self {
            name: name.to_owned(),
            key_id: *key_id,
            bytes: bytes.to_vec(),
        })
    }

    /// Returns the line, with its newline.
    pub fn line(&self) -> String {
        let bytes = [&self.key_id[..], &self.bytes].concat();
        format!("{SIGNATURE}{} {}\n", self.name, BASE64.encode(&bytes))
    }
}

impl Note {
    /// Signs a text, which must end with a newline.
    pub fn sign(text: String, keys: &[SigningKey]) -> Self {
        let signatures = keys.iter().map(|key| key.sign(&text)).collect();
        Self { text, signatures }
    }

    /// Parses a signed note.
    ///
    /// # Errors
    /// The text is not one.
    pub fn parse(note: &str) -> Result<Self, InvalidNote> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(InvalidNote("it is too long"));
        }
        if note.bytes().any(|b| b < b' ' && b != b'\n') {
            return Err(InvalidNote("it has control characters"));
        }
        let end = note
            .rfind("\n\n")
            .ok_or(InvalidNote("no empty line precedes its signatures"))?;
        let (text, signatures) = (&note[..=end], &note[end + 2..]);
        let signatures = signatures
            .strip_suffix('\n')
            .ok_or(InvalidNote("it does not end with a newline"))?;
        let signatures: Vec<_> = signatures
            .split('\n')
            .map(Signature::parse)
            .collect::<Result<_, _>>()?;
        if signatures.len() > MAX_SIGNATURES {
            return Err(InvalidNote("it has too many signatures"));
        }
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// Returns the note as text.
    pub fn to_text(&self) -> String {
        let lines: String = self.signatures.iter().map(Signature::line).collect();
        format!("{}\n{lines}", self.text)
    }

    /// Returns those of the keys whose signatures the note has.
    ///
    /// # Errors
    /// None of the keys has signed, or the signature of one of them is wrong.
    pub fn verify<'k>(&self, keys: &'k [VerifierKey]) -> Result<Vec<&'k VerifierKey>, Untrusted> {
        let mut signed_by = Vec::new();
        for key in keys {
            let own = |signature: &&Signature| {
                signature.name == key.name() && signature.key_id == key.id()
            };
            for signature in self.signatures.iter().filter(own) {
                if !key.verifies(&self.text, &signature.bytes) {
                    return Err(Untrusted::Forged(key.name().to_owned()));
                }
                if !signed_by.contains(&key) {
                    signed_by.push(key);
                }
            }
        }
        match signed_by.is_empty() {
            true => Err(Untrusted::Unsigned),
            false => Ok(signed_by),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    #[test]
    fn example_of_the_specification_verifies() {
        let keys = [KEY.parse::<VerifierKey>().unwrap()];
        let note = Note::parse(NOTE).unwrap();
        assert_eq!(note.verify(&keys).unwrap().len(), 1);
        assert_eq!(note.to_text(), NOTE);
        assert_eq!(keys[0].to_string(), KEY);
        let mut altered = note.clone();
        altered.text = altered.text.replace("an example", "a example");
        let forged = Untrusted::Forged("example.com/foo".into());
        assert_eq!(altered.verify(&keys), Err(forged));
        assert_eq!(note.verify(&[]), Err(Untrusted::Unsigned));
    }

    #[test]
    fn signatures_of_several_keys_are_found() {
        let name = KeyName::new("deia.example/audit").unwrap();
        let (old, new) = (SigningKey::generate(&name), SigningKey::generate(&name));
        let (old, new) = (old.unwrap(), new.unwrap());
        let stranger = SigningKey::generate(&name).unwrap();
        let (of_old, of_new) = (old.verifier(), new.verifier());
        let text = "a\n\nb\n".to_owned();
        let note = Note::sign(text, &[old, new, stranger]);
        let read = Note::parse(&note.to_text()).unwrap();
        assert_eq!(read, note);
        let keys = [of_old, of_new];
        assert_eq!(read.verify(&keys).unwrap(), [&keys[0], &keys[1]]);
    }

    #[test]
    fn malformed_notes_are_refused() {
        for note in [
            "",
            "text\n",
            "text\n\n",
            "text\n\n\u{2014} name AAAA\n",
            "text\n\n\u{2014} na+me AAAAAAA=\n",
            "text\n\n- name AAAAAAA=\n",
            "te\txt\n\n\u{2014} name AAAAAAA=\n",
            "text\n\n\u{2014} name AAAAAAA=",
        ] {
            assert!(Note::parse(note).is_err(), "{note:?}");
        }
    }
}
