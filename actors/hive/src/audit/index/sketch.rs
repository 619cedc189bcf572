//! Sketches of the targets of a bundle: Bloom filters, which say that a bundle may have an
//! entry about a target, or that it has none.

/// Bytes of a sketch: 16 bits for each of the 256 targets that a bundle has at most.
/// Fact: the format of the index.
pub(crate) const SKETCH_BYTES: usize = 512;
/// Bits of a target. With 16 bits of room for each, about 1 in 1,700 bundles without the
/// target is taken for one with it. Fact: the format of the index.
const PROBES: u32 = 8;
/// Bits of a sketch. Fact: the format of the index.
const BITS: u64 = 8 * SKETCH_BYTES as u64;

/// A sketch of the targets of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sketch(Box<[u8; SKETCH_BYTES]>);

/// The bits of a target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    start: u64,
    step: u64,
}

impl Probe {
    /// Returns the bits of the target with that id.
    pub(crate) fn of(target: &str) -> Self {
        let hash = fnv(target.as_bytes());
        Self {
            start: hash,
            // Odd: all probes differ.
            step: (hash >> 32) | 1,
        }
    }

    fn bits(self) -> impl Iterator<Item = (usize, u8)> {
        (0..PROBES).map(move |i| {
            let at = self.start.wrapping_add(self.step.wrapping_mul(i.into())) % BITS;
            (usize::try_from(at / 8).unwrap_or(0), 1 << (at % 8))
        })
    }

    /// Returns whether the bundle of the sketch may have an entry about the target.
    pub(crate) fn may_be_in(self, sketch: &[u8]) -> bool {
        sketch.len() != SKETCH_BYTES || self.bits().all(|(at, bit)| sketch[at] & bit != 0)
    }
}

impl Sketch {
    pub(crate) fn new() -> Self {
        Self(Box::new([0; SKETCH_BYTES]))
    }

    /// Reads a sketch; one of another length says nothing, and becomes one of everything.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        Self(Box::new(bytes.try_into().unwrap_or([0xff; SKETCH_BYTES])))
    }

    pub(crate) fn add(&mut self, target: &str) {
        for (at, bit) in Probe::of(target).bits() {
            self.0[at] |= bit;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0[..]
    }
}

/// Hashes by FNV-1a, mixed at the end. The stored sketches depend on it: another hash is another
/// version of the index.
fn fnv(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // The finalizer of SplitMix64.
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use deia_model::TaskId;

    use super::*;

    #[test]
    fn sketch_has_every_target_and_few_others() {
        let mut sketch = Sketch::new();
        assert!(sketch.is_empty());
        let ids: Vec<String> = (0..256).map(|_| TaskId::new().to_string()).collect();
        ids.iter().for_each(|id| sketch.add(id));
        let sketch = Sketch::read(sketch.bytes());
        let is_in = |id: &str| Probe::of(id).may_be_in(sketch.bytes());
        assert!(ids.iter().all(|id| is_in(id)));
        let others = (0..20_000).map(|_| TaskId::new().to_string());
        let wrong = others.filter(|id| is_in(id)).count();
        assert!(wrong < 60, "{wrong} of 20,000");
        assert!(Probe::of("any").may_be_in(&[0; 3]));
        assert!(Probe::of("any").may_be_in(Sketch::read(&[]).bytes()));
    }
}
