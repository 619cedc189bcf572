//! The check of checkpoints: the published one, those of the history, and the keys that signed
//! them.

use std::{collections::BTreeSet, fs::File, os::unix::fs::FileExt};

use serde::{Deserialize, Serialize};

use super::{
    files::{Files, Unreadable},
    report::{Fault, FaultKind},
};
use crate::{
    checkpoint::SignedCheckpoint,
    history::Line,
    note::{MAX_NOTE_BYTES, Note, Signature, VerifierKey},
};

/// Maximum length of a line of the history: a note in which every byte is escaped. Fact:
/// the format of the file.
const MAX_LINE: usize = 6 * MAX_NOTE_BYTES;
/// Maximum size of the list of keys, in bytes. Fixed: far above any real file, so that a
/// wrong one does not fill the memory.
const MAX_KEYS_BYTES: u64 = 64 << 10;
/// Maximum number of keys. Fixed: far above any real file, so that a wrong one does not
/// fill the memory.
const MAX_KEYS: usize = 64;
/// Bytes of the signature of a witness: a time, and the signature over it. Fact: C2SP
/// tlog-cosignature.
const COSIGNATURE_BYTES: usize = 72;
/// Bytes of the history that are read at a time. Fixed: bounds one step, so that others
/// get their turn; the whole has no limit here.
const CHUNK: usize = 256 << 10;

/// The keys that signatures can be verified with.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    /// Keys that the auditor gave.
    pub(super) given: Vec<VerifierKey>,
    /// Keys that the directory names, the oldest first.
    pub(super) listed: Vec<VerifierKey>,
}

impl Keys {
    /// Reads the keys of the directory. Returns the faults of the list too.
    pub(super) fn read(files: &Files, given: Vec<VerifierKey>) -> (Self, Vec<Fault>) {
        let mut keys = Self {
            given,
            listed: Vec::new(),
        };
        let mut faults = Vec::new();
        let mut bytes = Vec::new();
        if let Err(reason) = files.read("keys", MAX_KEYS_BYTES, &mut bytes) {
            faults.push(Fault::new(FaultKind::Key, "keys", reason));
            return (keys, faults);
        }
        let mut number = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            number += 1;
            let key = std::str::from_utf8(line)
                .ok()
                .and_then(|line| line.strip_suffix('\n'))
                .and_then(|line| line.parse::<VerifierKey>().ok());
            let reason = match key {
                Some(_) if keys.listed.len() >= MAX_KEYS => "there are more keys than are read",
                Some(key) if !keys.listed.contains(&key) => {
                    keys.listed.push(key);
                    continue;
                }
                Some(_) => "the key is listed twice",
                None => "the line is not a verifier key (name+id+key)",
            };
            faults.push(Fault::new(FaultKind::Key, "keys", reason).at_line(number));
            if keys.listed.len() >= MAX_KEYS {
                break;
            }
        }
        (keys, faults)
    }

    fn known(&self) -> impl Iterator<Item = &VerifierKey> {
        let listed = self.listed.iter();
        self.given
            .iter()
            .chain(listed.filter(|key| !self.given.contains(key)))
    }

    /// Verifies the signatures of a checkpoint.
    pub(super) fn examine(&self, signed: &SignedCheckpoint) -> Signers {
        let mut signers = Signers::default();
        for signature in &signed.note.signatures {
            let is_of =
                |key: &&VerifierKey| key.name() == signature.name && key.id() == signature.key_id;
            let Some(key) = self.known().find(is_of) else {
                signers.add_unknown(signature);
                continue;
            };
            let note = Note {
                text: signed.note.text.clone(),
                signatures: vec![signature.clone()],
            };
            if note.verify(std::slice::from_ref(key)).is_err() {
                signers
                    .faults
                    .push(format!("the signature of the key {key} is wrong"));
            } else if key.is_witness() {
                signers.witnesses += 1;
            } else if key.name() == signed.checkpoint.origin {
                signers.keys.insert(key.to_string());
            } else {
                signers
                    .faults
                    .push(format!("it is signed by {key}, a key of another log"));
            }
        }
        if signers.keys.is_empty() && signers.faults.is_empty() {
            signers
                .faults
                .push("no known key of the log has signed it".into());
        }
        signers
    }
}

/// The signatures of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Signers {
    /// Keys of the log whose signatures are right, as vkeys.
    pub(super) keys: BTreeSet<String>,
    /// Number of witnesses whose signatures are right.
    pub(super) witnesses: u64,
    /// Names of witnesses whose keys are not known.
    pub(super) unknown: Vec<String>,
    pub(super) faults: Vec<String>,
}

impl Signers {
    fn add_unknown(&mut self, signature: &Signature) {
        // Logs sign without a time, and all keys of this one are listed.
        if signature.bytes.len() == COSIGNATURE_BYTES {
            self.unknown.push(signature.name.clone());
        } else {
            let id = data_encoding::HEXLOWER.encode(&signature.key_id);
            let name = &signature.name;
            self.faults
                .push(format!("it is signed by the unknown key {name}+{id}"));
        }
    }
}

/// Parses a checkpoint; no other spelling of it is accepted.
///
/// # Errors
/// The fault.
pub(super) fn parse(text: &str) -> Result<SignedCheckpoint, String> {
    let signed = SignedCheckpoint::parse(text).map_err(|error| error.to_string())?;
    match signed.note.to_text() == text {
        true => Ok(signed),
        false => Err("it is not spelled as a log writes it".into()),
    }
}

/// Parses a line of the history, without its newline.
///
/// # Errors
/// The fault.
pub(super) fn parse_line(line: &[u8]) -> Result<SignedCheckpoint, String> {
    let parsed: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let again = serde_json::to_vec(&parsed).map_err(|error| error.to_string())?;
    match again == line {
        true => parse(&parsed.checkpoint),
        false => Err("the line is not spelled as a log writes it".into()),
    }
}

/// Reads the published checkpoint.
///
/// # Errors
/// The fault.
pub(super) fn published(files: &Files) -> Result<SignedCheckpoint, Fault> {
    let fault = |reason: String| Fault::new(FaultKind::Checkpoint, "checkpoint", reason);
    let mut bytes = Vec::new();
    files
        .read("checkpoint", MAX_NOTE_BYTES as u64, &mut bytes)
        .map_err(|reason| fault(reason.to_string()))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| fault("it is not UTF-8 text".into()))?;
    parse(text).map_err(fault)
}

/// A line of the history of checkpoints, or what is in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A line without its newline.
    Line(Vec<u8>),
    /// A line that is longer than any can be.
    TooLong,
    /// The beginning of a line, at the end of the file: a crash has left it, or it is being
    /// written.
    Torn,
}

/// The place of a reader within the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// Offset of the next line.
    pub(super) offset: u64,
    /// Number of the last line.
    pub(super) line: u64,
}

/// Reads the history of checkpoints line by line.
#[derive(Debug)]
pub(super) struct HistoryFile {
    file: File,
    /// Length when it was opened; what is appended later is not read.
    pub(super) length: u64,
    bytes: Vec<u8>,
    /// Offset of the bytes.
    from: u64,
}

impl HistoryFile {
    pub(super) fn open(files: &Files) -> Result<Self, Unreadable> {
        let (file, length) = files.file("checkpoints")?;
        Ok(Self {
            file,
            length,
            bytes: Vec::new(),
            from: 0,
        })
    }

    /// Returns the next line, and moves the place behind it. `None` at the end, or where the
    /// file can be read no further.
    pub(super) fn next(&mut self, place: &mut Place) -> Option<Entry> {
        if place.offset >= self.length {
            return None;
        }
        place.line += 1;
        let mut is_too_long = false;
        let length = self.length;
        loop {
            let bytes = self.bytes_at(place.offset)?;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let line = &bytes[..end.unwrap_or(bytes.len())];
            is_too_long |= line.len() > MAX_LINE;
            let is_last = place.offset + bytes.len() as u64 >= length;
            if end.is_none() && !is_last && !is_too_long {
                self.read_more(place.offset)?;
                continue;
            }
            let line = match is_too_long {
                true => Vec::new(),
                false => line.to_vec(),
            };
            place.offset += end.map_or(bytes.len(), |end| end + 1) as u64;
            match (end.is_some(), is_too_long) {
                // The rest of the line is passed over.
                (false, true) if !is_last => {}
                (_, true) => return Some(Entry::TooLong),
                (true, false) => return Some(Entry::Line(line)),
                (false, false) => return Some(torn(line)),
            }
        }
    }

    /// Returns what is in memory of the file from an offset on.
    fn bytes_at(&mut self, offset: u64) -> Option<&[u8]> {
        let end = self.from + self.bytes.len() as u64;
        if offset < self.from || offset >= end {
            self.bytes.clear();
            self.from = offset;
            self.read_more(offset)?;
        }
        let at = usize::try_from(offset - self.from).ok()?;
        self.bytes.get(at..)
    }

    /// Reads behind what is in memory, and drops what is before the offset.
    fn read_more(&mut self, offset: u64) -> Option<()> {
        let done = usize::try_from(offset - self.from).ok()?;
        self.bytes.drain(..done.min(self.bytes.len()));
        self.from = offset;
        let before = self.bytes.len();
        let end = offset + before as u64;
        let length = usize::try_from(self.length - end)
            .unwrap_or(CHUNK)
            .min(CHUNK);
        self.bytes.resize(before + length, 0);
        match self.file.read_exact_at(&mut self.bytes[before..], end) {
            Ok(()) if length > 0 => Some(()),
            _ => {
                self.bytes.truncate(before);
                None
            }
        }
    }

    /// Returns the last whole line, if it is among the last bytes.
    pub(super) fn last(&mut self) -> Option<Vec<u8>> {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(MAX_LINE + CHUNK)];
        let from = self.length - bytes.len() as u64;
        self.file.read_exact_at(&mut bytes, from).ok()?;
        let end = bytes.iter().rposition(|byte| *byte == b'\n')?;
        let before = bytes[..end].iter().rposition(|byte| *byte == b'\n');
        let start = before.map_or(0, |before| before + 1);
        (before.is_some() || from == 0).then(|| bytes[start..end].to_vec())
    }
}

/// Distinguishes the beginning of a line from one that was damaged at its end.
fn torn(line: Vec<u8>) -> Entry {
    match serde_json::from_slice::<Line>(&line) {
        Err(error) if error.is_eof() => Entry::Torn,
        _ => Entry::Line(line),
    }
}
