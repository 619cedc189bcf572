//! Tests of exports: they are complete, bounded and verifiable.

use data_encoding::{BASE64, HEXLOWER};
use deia_model::{Event, Timestamp};
use deia_trail::{
    checkpoint::SignedCheckpoint,
    entry::{Entry, commitment},
    hash::{Hash, leaf},
    note::VerifierKey,
    proof::{Head, is_consistent, root_of_inclusion},
};
use serde_json::json;

use super::*;
use crate::audit::query::fixtures::{EPOCH, Sample, event, task};

fn numbered(n: usize) -> Event {
    let details = json!({"n": n, "text": "=x".repeat(200)});
    let mut event = match n % 3 {
        0 => event("user.changed", "ada", ("user", "=eve"), details),
        1 => event("task.failed", "b-1", ("task", &task(EPOCH, 1)), details),
        _ => event(
            "task.started",
            "b-1",
            ("task", "t"),
            serde_json::Value::Null,
        ),
    };
    event.at = Timestamp::from_millis(EPOCH + i64::try_from(n).unwrap());
    event
}

fn sample(n: usize) -> Sample {
    let mut sample = Sample::new();
    sample.append((0..n).map(numbered));
    sample.index();
    sample
}

fn exported(sample: &Sample, filter: AuditFilter, format: ExportFormat) -> String {
    let export = sample.reads().export(filter, format).unwrap();
    let chunks: Vec<Vec<u8>> = export.map(Result::unwrap).collect();
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk.len() < CHUNK_BYTES + 4_096 && !chunk.is_empty())
    );
    String::from_utf8(chunks.concat()).unwrap()
}

#[test]
fn json_lines_are_the_records_of_queries() {
    let sample = sample(2_000);
    let filter = AuditFilter {
        action: Some("task".into()),
        ..AuditFilter::default()
    };
    let text = exported(&sample, filter, ExportFormat::JsonLines);
    let records: Vec<AuditRecord> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let indices: Vec<u64> = records.iter().map(|record| record.index).collect();
    let expected: Vec<u64> = (0..2_000).filter(|n| n % 3 != 0).collect();
    assert_eq!(indices, expected);
    assert_eq!(records[0].details["n"], 1);
}

#[test]
fn export_may_be_read_on_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    let sample = sample(3);
    let export = sample
        .reads()
        .export(AuditFilter::default(), ExportFormat::Csv);
    is_send(&export);
    let chunks = std::thread::spawn(|| export.unwrap().count())
        .join()
        .unwrap();
    assert_eq!(chunks, 1);
}

#[test]
fn export_ends_at_what_the_index_had() {
    let mut sample = sample(1_200);
    let mut export = sample
        .reads()
        .export(AuditFilter::default(), ExportFormat::JsonLines)
        .unwrap();
    let first = export.next().unwrap().unwrap();
    sample.append((0..500).map(numbered));
    sample.index();
    let rest = export.map(Result::unwrap).collect::<Vec<_>>().concat();
    let lines = first
        .iter()
        .chain(&rest)
        .filter(|byte| **byte == b'\n')
        .count();
    assert_eq!(lines, 1_200);
}

#[test]
fn csv_has_a_header_and_a_row_for_each_record() {
    let sample = sample(3);
    let text = exported(&sample, AuditFilter::default(), ExportFormat::Csv);
    let rows: Vec<&str> = text.split("\r\n").collect();
    assert_eq!(rows.len(), 5);
    assert!(rows[0].starts_with("index,timeline,seq,at,action,level,result,actor,"));
    let names = sample.reader().pseudonyms().unwrap();
    let (ada, eve) = (names.id("ada").unwrap(), names.id("=eve").unwrap());
    let begins = format!(
        "0,1,1,2027-01-15T08:00:00.000Z,user.changed,warning,success,ada,{ada},user,'=eve,{eve},"
    );
    assert!(rows[1].starts_with(&begins), "{}", rows[1]);
    assert!(rows[1].contains("\"{\"\"n\"\":0,"), "{}", rows[1]);
    let cells = |row: &str| row.split(',').count();
    assert_eq!(cells(rows[3]), csv::COLUMNS.len());
    let nothing = AuditFilter {
        to_entry: Some(0),
        ..AuditFilter::default()
    };
    assert_eq!(exported(&sample, nothing, ExportFormat::Csv), csv::header());
}

#[test]
fn damage_ends_an_export_with_an_error() {
    let sample = sample(1_000);
    sample.damage("tile/entries/002", |bytes| bytes[0] ^= 1);
    let export = sample
        .reads()
        .export(AuditFilter::default(), ExportFormat::JsonLines)
        .unwrap();
    let chunks: Vec<_> = export.collect();
    let (last, before) = chunks.split_last().unwrap();
    assert!(before.iter().all(Result::is_ok));
    assert!(matches!(last, Err(AuditReadError::Damaged(part)) if part == "tile/entries/002"));
}

/// A proof as a client reads it.
struct ReadProof {
    index: u64,
    hashes: Vec<Hash>,
    checkpoint: SignedCheckpoint,
}

fn read_proof(text: &str) -> ReadProof {
    let (proof, checkpoint) = text.split_once("\n\n").unwrap();
    let mut lines = proof.split('\n');
    assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
    let index = lines.next().unwrap().strip_prefix("index ").unwrap();
    let hash = |line: &str| BASE64.decode(line.as_bytes()).unwrap().try_into().unwrap();
    ReadProof {
        index: index.parse().unwrap(),
        hashes: lines.map(hash).collect(),
        checkpoint: SignedCheckpoint::parse(checkpoint).unwrap(),
    }
}

#[test]
fn proofs_lead_from_entries_to_the_signed_checkpoint() {
    let mut sample = sample(777);
    let reads = sample.reads();
    for index in [0, 1, 2, 255, 256, 776] {
        let proof = reads.proof(index).unwrap();
        let read = read_proof(&proof.proof);
        assert_eq!((proof.index, read.index), (index, index));
        let head = read.checkpoint.checkpoint.head;
        let root = root_of_inclusion(leaf(proof.entry.as_bytes()), index, 777, &read.hashes);
        assert_eq!((head.size, Some(head.root)), (777, root));
        assert_eq!(proof.checkpoint, read.checkpoint.note.to_text());
        let keys: Vec<VerifierKey> = proof.keys.iter().map(|key| key.parse().unwrap()).collect();
        assert_eq!(read.checkpoint.verify(&keys).unwrap().len(), 1);
        let entry = Entry::parse(proof.entry.as_bytes()).unwrap();
        let names: Vec<&str> = proof.names.iter().map(|name| name.name.as_str()).collect();
        match index % 3 {
            0 => assert!(names.contains(&"ada") && names.contains(&"=eve") && names.len() == 2),
            _ => assert!(names.is_empty()),
        }
        match proof.details {
            None => assert_eq!((entry.commitment(), index % 3), (None, 2)),
            Some(details) => {
                let salt = HEXLOWER.decode(proof.salt.unwrap().as_bytes()).unwrap();
                let of = commitment(&salt.try_into().unwrap(), details.as_bytes());
                assert_eq!(entry.commitment(), Some(of));
            }
        }
    }
    assert!(matches!(
        reads.proof(777),
        Err(AuditReadError::NoEntry(777))
    ));
    sample.reader().erase_details(1).unwrap();
    let erased = reads.proof(1).unwrap();
    assert_eq!(
        (erased.details, erased.salt, erased.erased),
        (None, None, true)
    );
    sample.trail.prune(512).unwrap();
    assert!(matches!(reads.proof(1), Err(AuditReadError::Pruned(1))));
    // Proofs of what is kept hold.
    let kept = read_proof(&reads.proof(600).unwrap().proof);
    assert_eq!(kept.checkpoint.checkpoint.head.size, 777);
}

#[test]
fn trail_of_any_size_is_the_beginning_of_a_later_one() {
    let mut sample = Sample::new();
    let mut heads: Vec<Head> = Vec::new();
    for n in [1, 254, 1, 1, 300, 443] {
        sample.append((0..n).map(numbered));
        let signed = sample.reader().checkpoint().unwrap().unwrap();
        heads.push(signed.checkpoint.head);
    }
    let reads = sample.reads();
    for (i, from) in heads.iter().enumerate() {
        for to in &heads[i..] {
            let proof = reads.consistency(from.size, Some(to.size)).unwrap();
            assert_eq!((proof.from, proof.to), (from.size, to.size));
            let hash = |text: &String| BASE64.decode(text.as_bytes()).unwrap().try_into().unwrap();
            let hashes: Vec<Hash> = proof.hashes.iter().map(hash).collect();
            assert!(
                is_consistent(*from, *to, &hashes),
                "{} {}",
                from.size,
                to.size
            );
        }
    }
    assert_eq!(reads.consistency(1, None).unwrap().to, 1_000);
    // Sizes that no checkpoint had are proved too.
    assert!(!reads.consistency(333, Some(777)).unwrap().hashes.is_empty());
    for (from, to) in [(5, Some(4)), (5, Some(1_001)), (1_001, None)] {
        let refused = reads.consistency(from, to);
        assert!(
            matches!(refused, Err(AuditReadError::Sizes { .. })),
            "{from} {to:?}"
        );
    }
}
