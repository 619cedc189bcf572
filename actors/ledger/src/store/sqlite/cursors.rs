//! Cursors of lists: the name of the list and a place in it, so that a cursor of one list
//! is none of another.

use std::str::FromStr;

use deia_model::PageRequest;

use crate::StoreError;

/// Returns the place that a cursor of a list of that name stands for.
pub(super) fn cursor<T: FromStr + ToString>(list: &str, text: &str) -> Option<T> {
    let bytes = data_encoding::BASE64URL_NOPAD
        .decode(text.as_bytes())
        .ok()?;
    let plain = std::str::from_utf8(&bytes).ok()?;
    let found = plain.strip_prefix(list)?.strip_prefix(':')?.parse().ok()?;
    // Only the canonical encoding is a cursor.
    (cursor_text(list, &found) == text).then_some(found)
}

pub(super) fn cursor_text(list: &str, place: &impl ToString) -> String {
    data_encoding::BASE64URL_NOPAD.encode(format!("{list}:{}", place.to_string()).as_bytes())
}

/// Returns the place after which a page begins; `None` for the first page.
pub(super) fn place<T: FromStr + ToString>(
    list: &str,
    page: &PageRequest,
) -> Result<Option<T>, StoreError> {
    let Some(text) = page.cursor.as_deref() else {
        return Ok(None);
    };
    cursor(list, text).map(Some).ok_or(StoreError::BadCursor)
}

#[cfg(test)]
mod tests {
    use deia_model::WebhookId;

    use super::*;

    #[test]
    fn cursor_is_read_back_and_nothing_else_is() {
        let id = WebhookId::new();
        let text = cursor_text("webhooks", &id);
        assert_eq!(cursor("webhooks", &text), Some(id));
        assert_eq!(cursor::<WebhookId>("deliveries", &text), None);
        for text in ["", "x", "YWxlcnRzOg", &id.to_string()] {
            assert_eq!(cursor::<WebhookId>("webhooks", text), None, "{text}");
        }
    }
}
