//! Cursors: places between the entries of a trail, in one of the two orders.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use deia_model::AuditOrder;
use deia_trail::hash;

/// The place where a page continues: before this entry, or for the other order at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) u64);

impl Place {
    /// Returns the cursor of the place in the trail with that origin.
    pub(super) fn cursor(self, origin: &str, order: AuditOrder) -> String {
        let order = match order {
            AuditOrder::NewestFirst => "newest",
            AuditOrder::OldestFirst => "oldest",
        };
        let trail = HEXLOWER.encode(&hash::leaf(origin.as_bytes())[..4]);
        BASE64URL_NOPAD.encode(format!("audit:{trail}:{order}:{}", self.0).as_bytes())
    }

    /// Returns the place that a cursor stands for; `None` if the list in that order of that
    /// trail has not given it out.
    pub(super) fn parse(cursor: &str, origin: &str, order: AuditOrder) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?;
        let plain = std::str::from_utf8(&bytes).ok()?;
        let (_, index) = plain.rsplit_once(':')?;
        let place = Self(index.parse().ok()?);
        // Only the canonical encoding of a place is a cursor.
        (place.cursor(origin, order) == cursor).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_belongs_to_one_trail_and_order() {
        const ORIGIN: &str = "deia.example/audit";
        let newest = AuditOrder::NewestFirst;
        let cursor = Place(4_711).cursor(ORIGIN, newest);
        assert_eq!(Place::parse(&cursor, ORIGIN, newest), Some(Place(4_711)));
        assert_eq!(Place::parse(&cursor, ORIGIN, AuditOrder::OldestFirst), None);
        assert_eq!(Place::parse(&cursor, "deia.example/2", newest), None);
        let encoded = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let plain = BASE64URL_NOPAD.decode(cursor.as_bytes()).unwrap();
        let plain = String::from_utf8(plain).unwrap();
        for foreign in [
            "",
            "x",
            "\u{e4}",
            &encoded("events:4711"),
            &encoded(&plain.replace("4711", "04711")),
            &encoded(&plain.replace("4711", "+4711")),
            &encoded(&plain.replace("audit", "tasks")),
            &format!("{cursor}="),
        ] {
            assert_eq!(Place::parse(foreign, ORIGIN, newest), None, "{foreign}");
        }
    }
}
