//! Proofs and checkpoints, verified without the hive.

use data_encoding::{BASE64, HEXLOWER};
use deia_trail::{
    checkpoint::SignedCheckpoint,
    entry::{Entry, commitment},
    hash::{Hash, leaf},
    note::VerifierKey,
    proof::{is_consistent, root_of_inclusion},
};
use serde_json::{Value, json};

use super::{append, settled};
use crate::support::TestApp;

fn hash(text: &str) -> Hash {
    BASE64.decode(text.as_bytes()).unwrap().try_into().unwrap()
}

/// Returns a signed checkpoint, if one of these keys has signed it.
fn checkpoint(note: &Value, keys: &Value) -> SignedCheckpoint {
    let signed = SignedCheckpoint::parse(note.as_str().unwrap()).unwrap();
    let keys: Vec<VerifierKey> = keys
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key.as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(signed.verify(&keys).unwrap().len(), 1);
    signed
}

/// A C2SP tlog-proof, taken apart.
struct TlogProof<'p> {
    index: u64,
    hashes: Vec<Hash>,
    checkpoint: &'p str,
}

impl<'p> TlogProof<'p> {
    fn parse(text: &'p str) -> Self {
        let (head, checkpoint) = text.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
        let index = lines.next().unwrap().strip_prefix("index ").unwrap();
        Self {
            index: index.parse().unwrap(),
            hashes: lines.map(hash).collect(),
            checkpoint,
        }
    }
}

#[actix_rt::test]
async fn every_entry_is_proven_up_to_the_signed_root() {
    let app = TestApp::start().await;
    app.key("ada", "external").await;
    append(
        &app,
        "ext.deploy",
        "release 7",
        json!({"details": {"b": 1, "a": "ä"}}),
    )
    .await;
    let size = settled(&app).await;
    for index in 0..size {
        let proof = app
            .get(&format!("/api/audit/proof/{index}"))
            .await
            .is(200)
            .body;
        assert_eq!(proof["index"], index);
        let tlog = TlogProof::parse(proof["proof"].as_str().unwrap());
        assert_eq!(tlog.index, index);
        assert_eq!(tlog.checkpoint, proof["checkpoint"].as_str().unwrap());
        let head = checkpoint(&proof["checkpoint"], &proof["keys"])
            .checkpoint
            .head;
        let entry = proof["entry"].as_str().unwrap();
        let root = root_of_inclusion(leaf(entry.as_bytes()), index, head.size, &tlog.hashes);
        assert_eq!(root, Some(head.root), "{proof:#}");
        let forged = entry.replacen("\"v\":1", "\"v\":2", 1);
        let root = root_of_inclusion(leaf(forged.as_bytes()), index, head.size, &tlog.hashes);
        assert_ne!(root, Some(head.root));

        let parsed = Entry::parse(entry.as_bytes()).unwrap();
        let details = proof["details"].as_str();
        assert_eq!(
            parsed.commitment().is_some(),
            details.is_some(),
            "{proof:#}"
        );
        if let Some(details) = details {
            let salt = HEXLOWER.decode(proof["salt"].as_str().unwrap().as_bytes());
            let salt = salt.unwrap().try_into().unwrap();
            assert_eq!(
                Some(commitment(&salt, details.as_bytes())),
                parsed.commitment()
            );
        }
        // No name of a person is in the entry; what it stands for is told beside it.
        if parsed.actor.starts_with("user_") {
            let names = proof["names"].as_array().unwrap();
            let actor = names.iter().find(|it| it["id"] == parsed.actor.as_str());
            assert_eq!(actor.unwrap()["name"], "admin");
            assert!(!entry.contains("admin"), "{entry}");
        }
    }
}

#[actix_rt::test]
async fn later_checkpoints_are_proven_to_go_on_from_earlier_ones() {
    let app = TestApp::start().await;
    let mut seen = Vec::new();
    for n in 0..4 {
        append(&app, "ext.deploy", &format!("release {n}"), json!({})).await;
        settled(&app).await;
        let told = app.get("/api/audit/checkpoint").await.is(200).body;
        let signed = checkpoint(&told["checkpoint"], &told["keys"]).checkpoint;
        assert_eq!(told["origin"], signed.origin);
        assert_eq!(told["size"], signed.head.size);
        assert_eq!(told["root"], BASE64.encode(&signed.head.root));
        assert_eq!(
            (&told["lag_events"], &told["failing"]),
            (&json!(0), &Value::Null)
        );
        assert!(told["sealed_at"].is_string(), "{told:#}");
        seen.push(signed);
    }
    let last = seen.last().unwrap();
    for old in &seen {
        assert_eq!(old.origin, last.origin);
        let (from, to) = (old.head.size, last.head.size);
        for query in [format!("from={from}"), format!("from={from}&to={to}")] {
            let proof = app
                .get(&format!("/api/audit/consistency?{query}"))
                .await
                .is(200)
                .body;
            assert_eq!((&proof["from"], &proof["to"]), (&json!(from), &json!(to)));
            let hashes: Vec<_> = proof["hashes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| hash(it.as_str().unwrap()))
                .collect();
            assert!(is_consistent(old.head, last.head, &hashes), "{proof:#}");
            if from < to {
                let mut other = old.head;
                other.root[0] ^= 1;
                assert!(!is_consistent(other, last.head, &hashes));
            }
        }
    }
    assert!(seen[0].head.size < last.head.size);
}
