//! Checkpoints, as C2SP tlog-checkpoint defines them: signed statements of the size and the
//! root of a log.

use data_encoding::BASE64;

use crate::{
    note::{InvalidNote, Note, SigningKey, Untrusted, VerifierKey},
    proof::Head,
};

/// A statement of the size and the root of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The identity of the log.
    pub origin: String,
    /// The head of the tree.
    pub head: Head,
}

/// A checkpoint with its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// The statement.
    pub checkpoint: Checkpoint,
    /// The note that contains it.
    pub note: Note,
}

/// Reason why a text is not a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCheckpoint {
    /// The text is not a signed note.
    #[error(transparent)]
    Note(#[from] InvalidNote),
    /// The text of the note is not a checkpoint.
    #[error("not a checkpoint: expected an origin, a size and a root, a line each")]
    Text,
}

impl Checkpoint {
    /// Returns the text that is signed.
    pub fn to_text(&self) -> String {
        let root = BASE64.encode(&self.head.root);
        format!("{}\n{}\n{root}\n", self.origin, self.head.size)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        if origin.is_empty() || lines.any(str::is_empty) {
            return None;
        }
        let number: u64 = size.parse().ok()?;
        let root = BASE64.decode(root.as_bytes()).ok()?.try_into().ok()?;
        (number.to_string() == size).then(|| Self {
            origin: origin.to_owned(),
            head: Head { size: number, root },
        })
    }

    /// Signs the checkpoint.
    pub fn sign(self, keys: &[SigningKey]) -> SignedCheckpoint {
        SignedCheckpoint {
            note: Note::sign(self.to_text(), keys),
            checkpoint: self,
        }
    }
}

impl SignedCheckpoint {
    /// Parses a checkpoint. The signatures are not verified.
    ///
    /// # Errors
    /// The text is not a checkpoint.
    pub fn parse(text: &str) -> Result<Self, InvalidCheckpoint> {
        let note = Note::parse(text)?;
        let checkpoint = Checkpoint::parse(&note.text).ok_or(InvalidCheckpoint::Text)?;
        Ok(Self { checkpoint, note })
    }

    /// Returns those of the keys that have signed the checkpoint.
    ///
    /// # Errors
    /// None has, or a signature is wrong.
    pub fn verify<'k>(&self, keys: &'k [VerifierKey]) -> Result<Vec<&'k VerifierKey>, Untrusted> {
        self.note.verify(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::KeyName;

    #[test]
    fn checkpoint_is_read_as_it_was_signed() {
        let key = SigningKey::generate(&KeyName::new("a.example/log").unwrap()).unwrap();
        let keys = [key.verifier()];
        let checkpoint = Checkpoint {
            origin: "a.example/log".into(),
            head: Head {
                size: 4_711,
                root: [9; 32],
            },
        };
        let signed = checkpoint.sign(&[key]);
        let text = signed.note.to_text();
        let read = SignedCheckpoint::parse(&text).unwrap();
        assert_eq!(read, signed);
        assert_eq!(read.verify(&keys).unwrap().len(), 1);
        let grown = SignedCheckpoint::parse(&text.replace("4711", "4712")).unwrap();
        assert!(grown.verify(&keys).is_err());
    }

    #[test]
    fn texts_that_are_no_checkpoints() {
        let root = BASE64.encode(&[0; 32]);
        for (text, valid) in [
            (format!("a\n0\n{root}\n"), true),
            (format!("a\n0\n{root}\nextension\n"), true),
            (format!("\n0\n{root}\n"), false),
            (format!("a\n00\n{root}\n"), false),
            (format!("a\n-1\n{root}\n"), false),
            (format!("a\n0\n{root}"), false),
            ("a\n0\nAAAA\n".to_owned(), false),
            ("a\n0\n".to_owned(), false),
        ] {
            assert_eq!(Checkpoint::parse(&text).is_some(), valid, "{text:?}");
        }
    }
}
