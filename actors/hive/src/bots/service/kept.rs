//! The output of a running attempt, as it comes.

use deia_model::FailureClass;

use super::Failure;
use crate::bots::output::{OutputSpool, Spooled};

/// The output of a running attempt, and its cost. What was written before a failure is kept.
pub(in crate::bots) struct Kept {
    spool: OutputSpool,
    text: TextCheck,
    is_empty: bool,
    /// Tokens used.
    pub(in crate::bots) tokens_used: Option<u64>,
    /// Cost, in hundredths of the billing currency.
    pub(in crate::bots) cost_cents: Option<u64>,
}

impl Kept {
    pub(super) fn new(spool: OutputSpool) -> Self {
        Self {
            spool,
            text: TextCheck::default(),
            is_empty: true,
            tokens_used: None,
            cost_cents: None,
        }
    }

    /// Returns whether nothing was written.
    pub(in crate::bots) fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Writes a piece of output, which those who follow it see. Pieces may end within a character.
    ///
    /// # Errors
    /// The output is too large, is not UTF-8, or cannot be stored.
    pub(in crate::bots) async fn write(&mut self, piece: &[u8]) -> Result<(), Failure> {
        if piece.is_empty() {
            return Ok(());
        }
        if !self.text.push(piece) {
            return Err(not_text());
        }
        self.is_empty = false;
        self.spool.take(piece).map_err(Failure::of_spool)?;
        self.spool.settle().await.map_err(Failure::of_spool)
    }

    /// Notes that all output was written.
    ///
    /// # Errors
    /// It ends within a character.
    pub(in crate::bots) fn complete(&self) -> Result<(), Failure> {
        match self.text.is_whole() {
            true => Ok(()),
            false => Err(not_text()),
        }
    }

    /// Stores the output. With `evidence` it is in a file also if a result could hold it.
    pub(super) async fn finish(self, evidence: bool) -> Result<Spooled, (Failure, Spooled)> {
        let finished = self.spool.finish(evidence).await;
        finished.map_err(|(fault, kept)| (Failure::of_spool(fault), kept))
    }
}

fn not_text() -> Failure {
    Failure::new(FailureClass::Internal, "the answer is not UTF-8")
}

/// A check for UTF-8 across pieces.
#[derive(Default)]
struct TextCheck {
    /// The beginning of a character that the next piece ends: at most three bytes.
    begun: Vec<u8>,
}

impl TextCheck {
    /// Returns whether the text is UTF-8 so far.
    fn push(&mut self, piece: &[u8]) -> bool {
        let mut joined = std::mem::take(&mut self.begun);
        let bytes = match joined.is_empty() {
            true => piece,
            false => {
                joined.extend_from_slice(piece);
                &joined
            }
        };
        match std::str::from_utf8(bytes) {
            Ok(_) => true,
            Err(error) if error.error_len().is_some() => false,
            Err(error) => {
                self.begun = bytes[error.valid_up_to()..].to_vec();
                true
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.begun.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_checked_across_pieces() {
        let check = |pieces: &[&[u8]]| {
            let mut check = TextCheck::default();
            pieces.iter().all(|piece| check.push(piece)) && check.is_whole()
        };
        let text = "a\u{e9}\u{20ac}\u{1f600}".as_bytes();
        for at in 0..=text.len() {
            let (first, rest) = text.split_at(at);
            assert!(check(&[first, rest]), "split at {at}");
        }
        let bytes: Vec<_> = text.chunks(1).collect();
        assert!(check(&bytes));
        for wrong in [&b"\xff"[..], b"a\xc3", b"\xe2\x82", b"\xc3("] {
            assert!(!check(&[wrong]), "{wrong:?}");
            let bytes: Vec<_> = wrong.chunks(1).collect();
            assert!(!check(&bytes), "{wrong:?}");
        }
    }
}
