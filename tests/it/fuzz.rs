//! The fuzz targets, with a fixed number of inputs made from their seeds. The same
//! on every run; `cargo fuzz` looks further.

#[path = "../../fuzz/targets.rs"]
mod targets;

const INPUTS_A_SEED: usize = 3_000;

/// SplitMix64: a fixed sequence, well mixed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }
}

/// Bytes on which parsers differ.
const ODD: &[u8] = b"\0\t\n\r\x0b ,:;/@#\"%+-019_aAzZ\x7f\xc3\xff";

fn mutate(input: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(input.len() + 1);
    let odd = ODD[random.below(ODD.len())];
    match random.below(5) {
        0 => input.insert(at, odd),
        1 if at < input.len() => input[at] = odd,
        2 if at < input.len() => drop(input.remove(at)),
        3 => input.truncate(at),
        _ => {
            let end = (at + random.below(12)).min(input.len());
            let twice = input[at..end].to_vec();
            input.splice(at..at, twice);
        }
    }
}

#[test]
fn the_targets_hold_for_what_is_near_their_seeds() {
    let mut random = Random(4);
    for (target, seeds) in targets::SEEDS {
        for seed in *seeds {
            target(seed.as_bytes());
            for _ in 0..INPUTS_A_SEED {
                let mut input = seed.as_bytes().to_vec();
                for _ in 0..=random.below(4) {
                    mutate(&mut input, &mut random);
                }
                target(&input);
            }
        }
    }
}

#[test]
fn the_targets_are_those_that_are_fuzzed() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/fuzz_targets");
    let files = std::fs::read_dir(dir).unwrap();
    assert_eq!(files.count(), targets::SEEDS.len());
}

#[test]
fn every_key_reads_back() {
    for _ in 0..100 {
        let key = deia_model::ApiKey::generate().unwrap();
        targets::key(key.reveal().as_bytes());
    }
}
