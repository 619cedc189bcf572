//! The ids of streamed events: positions in the log, sealed where numbers would tell how much
//! others do.

use data_encoding::BASE64URL_NOPAD;
use deia_model::{Position, Visibility};
use ring::{
    aead::{Aad, LessSafeKey, NONCE_LEN, Nonce},
    rand::{SecureRandom, SystemRandom},
};

use crate::secrets::{SealError, SealingKeys};

/// Purpose of the keys, which keeps them apart from those of the stored secrets.
const PURPOSE: &str = "deia: ids of streamed events";
/// Bytes of a position: its two numbers. Fact: the format of positions.
const PLAIN_BYTES: usize = 16;

/// Writer and reader of ids.
pub(super) struct EventIds {
    /// The first one seals, all of them open.
    keys: Vec<LessSafeKey>,
}

impl EventIds {
    pub(super) fn new(keys: &SealingKeys) -> Self {
        Self {
            keys: keys.derive(PURPOSE),
        }
    }

    /// Returns the id of a position for a caller with that visibility. Callers who see the whole
    /// log get the position. Others get another text each time, which only the same caller may
    /// bring back, and which says nothing about the distance between two events.
    ///
    /// # Errors
    /// [`SealError::NoRandom`].
    pub(super) fn text(&self, who: &Visibility, at: Position) -> Result<String, SealError> {
        let Some(bound) = bound_to(who) else {
            return Ok(at.to_string());
        };
        let key = self.keys.first().ok_or(SealError::NoKey)?;
        let mut nonce = [0; NONCE_LEN];
        let random = SystemRandom::new();
        random.fill(&mut nonce).map_err(|_| SealError::NoRandom)?;
        let mut sealed = nonce.to_vec();
        let mut plain = Vec::with_capacity(PLAIN_BYTES);
        plain.extend(at.timeline.to_be_bytes());
        plain.extend(at.seq.to_be_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, Aad::from(bound), &mut plain)
            .map_err(|_| SealError::Broken)?;
        sealed.extend(plain);
        Ok(BASE64URL_NOPAD.encode(&sealed))
    }

    /// Returns the position that an id stands for; `None` if no such caller was given it.
    pub(super) fn position(&self, who: &Visibility, text: &str) -> Option<Position> {
        let Some(bound) = bound_to(who) else {
            return text.parse().ok();
        };
        let sealed = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN)?;
        self.keys.iter().find_map(|key| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let (mut body, bound) = (body.to_vec(), Aad::from(&bound));
            let plain = key.open_in_place(nonce, bound, &mut body).ok()?;
            let (timeline, seq) = plain.split_first_chunk()?;
            Some(Position {
                timeline: u64::from_be_bytes(*timeline),
                seq: u64::from_be_bytes(seq.try_into().ok()?),
            })
        })
    }
}

/// Returns the caller that a sealed id is bound to; `None` for callers who see the whole log.
fn bound_to(who: &Visibility) -> Option<String> {
    match who {
        Visibility::All => None,
        Visibility::SubmittedBy(user) => Some(format!("user {user}")),
        Visibility::AssignedTo(bot) => Some(format!("bot {bot}")),
        Visibility::Nothing => Some("nobody".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Position = Position {
        timeline: 2,
        seq: 4_711,
    };

    fn ids(keys: &SealingKeys) -> EventIds {
        EventIds::new(keys)
    }

    #[test]
    fn ids_lead_back_to_their_position() {
        let ids = ids(&SealingKeys::generate().unwrap());
        let bot = Visibility::AssignedTo("b".parse().unwrap());
        let ada = Visibility::SubmittedBy("ada".into());
        for who in [&Visibility::All, &ada, &bot, &Visibility::Nothing] {
            let text = ids.text(who, AT).unwrap();
            assert_eq!(ids.position(who, &text), Some(AT), "{who:?}");
        }
        assert_eq!(ids.text(&Visibility::All, AT).unwrap(), "2.4711");
    }

    #[test]
    fn sealed_id_is_opaque_and_of_one_caller() {
        let ids = ids(&SealingKeys::generate().unwrap());
        let ada = Visibility::SubmittedBy("ada".into());
        let text = ids.text(&ada, AT).unwrap();
        assert_ne!(
            ids.text(&ada, AT).unwrap(),
            text,
            "equal positions look different"
        );
        let next = ids.text(&ada, Position { seq: 9, ..AT }).unwrap();
        assert_eq!(next.len(), text.len());
        let bob = Visibility::SubmittedBy("bob".into());
        let bot = Visibility::AssignedTo("ada".parse().unwrap());
        for other in [&bob, &bot, &Visibility::All, &Visibility::Nothing] {
            assert_eq!(ids.position(other, &text), None, "{other:?}");
        }
        for wrong in ["", "2.4711", "x", &text[1..], &format!("{text}A")] {
            assert_eq!(ids.position(&ada, wrong), None, "{wrong}");
        }
        let changed = if text.starts_with('A') { "B" } else { "A" };
        assert_eq!(
            ids.position(&ada, &format!("{changed}{}", &text[1..])),
            None
        );
    }

    #[test]
    fn ids_outlive_a_restart_and_a_new_key() {
        let keys = SealingKeys::generate().unwrap();
        let ada = Visibility::SubmittedBy("ada".into());
        let text = ids(&keys).text(&ada, AT).unwrap();
        let again = SealingKeys::parse(&keys.to_text()).unwrap();
        assert_eq!(ids(&again).position(&ada, &text), Some(AT));
        let both = keys.with_new_key().unwrap();
        assert_eq!(ids(&both).position(&ada, &text), Some(AT));
        assert_eq!(ids(&both.only_current()).position(&ada, &text), None);
    }
}
