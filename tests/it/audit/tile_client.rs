//! A client of C2SP tlog-tiles, which knows nothing but the prefix `/api/audit/log`, and
//! recomputes the tree from the entries.

use std::{collections::HashMap, convert::Infallible};

use data_encoding::BASE64;
use deia_trail::{
    bundle::Bundle,
    checkpoint::SignedCheckpoint,
    entry::Entry,
    hash::{Hash, leaf, node},
    note::VerifierKey,
    proof::{self, HashReader, root_of_inclusion},
    tile::{TILE_WIDTH, TileId, TileKind},
};
use serde_json::{Value, json};

use super::{LOG, settled};
use crate::support::TestApp;

/// Tiles that were fetched, by their names.
struct Client<'a> {
    app: &'a TestApp,
    tiles: HashMap<String, Vec<u8>>,
}

impl Client<'_> {
    async fn fetch(&self, below: &str) -> Vec<u8> {
        let path = format!("{LOG}/{below}");
        let answer = self.app.client_get(&self.app.admin, &path).await;
        assert_eq!(answer.status(), 200, "{below}");
        answer.bytes().await.unwrap().to_vec()
    }

    async fn checkpoint(&self) -> SignedCheckpoint {
        let text = self.fetch("checkpoint").await;
        SignedCheckpoint::parse(std::str::from_utf8(&text).unwrap()).unwrap()
    }

    /// Fetches all tiles of a kind that a tree of that size has.
    async fn fetch_all(&mut self, kind: TileKind, size: u64) {
        let mut index = 0;
        while let Some(id) = TileId::in_tree(kind, index, size) {
            let name = id.to_string();
            let bytes = self.fetch(&name).await;
            self.tiles.insert(name, bytes);
            index += 1;
        }
    }
}

/// Hashes of fetched tiles.
struct Tree<'c> {
    tiles: &'c HashMap<String, Vec<u8>>,
    size: u64,
}

impl HashReader for Tree<'_> {
    type Error = Infallible;

    fn read_hash(&self, height: u32, index: u64) -> Result<Hash, Infallible> {
        if !height.is_multiple_of(8) {
            let left = self.read_hash(height - 1, index * 2)?;
            return Ok(node(&left, &self.read_hash(height - 1, index * 2 + 1)?));
        }
        let kind = TileKind::Hashes(u8::try_from(height / 8).unwrap());
        let (tile, at) = (index / TILE_WIDTH as u64, index % TILE_WIDTH as u64);
        let id = TileId::in_tree(kind, tile, self.size).unwrap();
        let at = usize::try_from(at).unwrap() * 32;
        let bytes = &self.tiles[&id.to_string()];
        Ok(bytes[at..at + 32].try_into().unwrap())
    }
}

#[actix_rt::test]
async fn tree_is_recomputed_from_the_entries_and_fits_the_checkpoint() {
    let app = TestApp::start().await;
    let tasks = vec![json!({"type": "idle", "content": ""}); 600];
    app.post("/api/v1/tasks/batch", &json!({"tasks": tasks}))
        .await
        .is(202);
    settled(&app).await;
    let mut client = Client {
        app: &app,
        tiles: HashMap::new(),
    };
    let signed = client.checkpoint().await;
    let keys = app.get("/api/audit/checkpoint").await.is(200).body["keys"].take();
    let key: VerifierKey = keys[0].as_str().unwrap().parse().unwrap();
    assert_eq!(signed.verify(&[key]).unwrap().len(), 1);
    let head = signed.checkpoint.head;
    assert!(head.size > 600, "{}", head.size);
    for kind in [TileKind::Entries, TileKind::Hashes(0), TileKind::Hashes(1)] {
        client.fetch_all(kind, head.size).await;
    }

    let tree = Tree {
        tiles: &client.tiles,
        size: head.size,
    };
    let (mut index, mut seqs) = (0, Vec::new());
    while index < head.size {
        let id = TileId::in_tree(TileKind::Entries, index / 256, head.size).unwrap();
        let bundle = Bundle::parse(client.tiles[&id.to_string()].clone()).unwrap();
        assert_eq!(bundle.len(), id.width());
        for entry in bundle.iter() {
            assert_eq!(tree.read_hash(0, index), Ok(leaf(entry)));
            let hashes = proof::inclusion(&tree, index, head.size).unwrap();
            let root = root_of_inclusion(leaf(entry), index, head.size, &hashes);
            assert_eq!(root, Some(head.root));
            seqs.push(Entry::parse(entry).unwrap().seq);
            index += 1;
        }
    }
    assert_eq!(index, head.size);
    assert!(seqs.is_sorted_by(|a, b| a < b));
    assert_eq!(proof::root(&tree, head.size), Ok(Some(head.root)));
    // A hash of the second level is that of a whole tile of the first.
    let first_tile = proof::root(&tree, 256).unwrap().unwrap();
    assert_eq!(tree.read_hash(8, 0), Ok(first_tile));

    // The server's own proof is that of the tiles.
    let told = app.get("/api/audit/proof/300").await.is(200).body;
    let hashes = proof::inclusion(&tree, 300, head.size).unwrap();
    let text = told["proof"].as_str().unwrap();
    for hash in hashes {
        assert!(text.contains(&BASE64.encode(&hash)), "{text}");
    }
}

#[actix_rt::test]
async fn incomplete_tiles_of_each_earlier_width_are_served() {
    let app = TestApp::start().await;
    let size = settled(&app).await;
    let tasks = vec![json!({"type": "idle", "content": ""}); 3];
    app.post("/api/v1/tasks/batch", &json!({"tasks": tasks}))
        .await
        .is(202);
    let later = settled(&app).await;
    assert!((size + 3..256).contains(&later), "{size} {later}");
    let client = Client {
        app: &app,
        tiles: HashMap::new(),
    };
    let whole = client.fetch(&format!("tile/0/000.p/{later}")).await;
    let entries = client.fetch(&format!("tile/entries/000.p/{later}")).await;
    for width in 1..=later {
        let tile = client.fetch(&format!("tile/0/000.p/{width}")).await;
        let n = usize::try_from(width).unwrap();
        assert_eq!(tile, whole[..n * 32]);
        let bundle = client.fetch(&format!("tile/entries/000.p/{width}")).await;
        assert!(entries.starts_with(&bundle));
        assert_eq!(Bundle::parse(bundle).unwrap().len(), n);
    }
    // Also once the tile is full.
    let tasks = vec![json!({"type": "idle", "content": ""}); 300];
    app.post("/api/v1/tasks/batch", &json!({"tasks": tasks}))
        .await
        .is(202);
    settled(&app).await;
    let full = client.fetch("tile/0/000").await;
    assert_eq!(full.len(), 256 * 32);
    for width in [1, later, 255] {
        let tile = client.fetch(&format!("tile/0/000.p/{width}")).await;
        assert_eq!(tile, full[..usize::try_from(width).unwrap() * 32]);
    }
    let status: Value = app
        .get("/api/audit/log/tile/0/000.p/256")
        .await
        .is(404)
        .body;
    assert_eq!(status["code"], "not_found");
}
