//! The text of refusals, without what must not be shown.
//!
//! A refusal of S3 may repeat the id of the key and the signed text, one of Azure the signed text:
//! only the code and the message are kept, so that nothing else can get into an error or a log.

use serde_json::Value;

/// Most characters of a text that are shown. Fixed: messages of the clouds are sentences.
const TEXT_MAX: usize = 300;

/// Returns the code and the message of a refusal in XML or JSON; empty for any other text.
pub(crate) fn summary(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let found = match text.starts_with('{') {
        true => of_json(text),
        false => [element(text, "Code"), element(text, "Message")],
    };
    let parts: Vec<_> = found
        .into_iter()
        .flatten()
        .filter(|it| !it.is_empty())
        .collect();
    plain(&parts.join(": "))
}

/// Returns the text of the first element of that name.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.to_owned())
}

fn of_json(text: &str) -> [Option<String>; 2] {
    let Ok(json) = serde_json::from_str::<Value>(text) else {
        return [None, None];
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let error = &json["error"];
    [
        text(error)
            .or_else(|| text(&error["status"]))
            .or_else(|| text(&error["code"])),
        text(&error["message"]).or_else(|| text(&json["error_description"])),
    ]
}

/// Returns the text on one line, within its limit.
fn plain(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let line = words.join(" ");
    line.chars()
        .filter(|c| !c.is_control())
        .take(TEXT_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_message_are_kept_and_nothing_else() {
        for (body, expected) in [
            (
                "<?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>It does not match.</Message><AWSAccessKeyId>AKIAHUNTER2</AWSAccessKeyId><StringToSign>hunter2</StringToSign></Error>",
                "SignatureDoesNotMatch: It does not match.",
            ),
            (
                "\u{feff}<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code><Message>Failed.\nRequestId:1</Message><AuthenticationErrorDetail>hunter2</AuthenticationErrorDetail></Error>",
                "AuthenticationFailed: Failed. RequestId:1",
            ),
            (
                "{\"error\": {\"code\": 403, \"status\": \"DENIED\", \"message\": \"no\"}, \"token\": \"hunter2\"}",
                "DENIED: no",
            ),
            (
                "{\"error\": \"invalid_grant\", \"error_description\": \"expired\"}",
                "invalid_grant: expired",
            ),
            ("{\"hunter2\"", ""),
            ("<html>hunter2</html>", ""),
            ("hunter2", ""),
            ("", ""),
        ] {
            assert_eq!(summary(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn long_text_is_cut() {
        let body = format!("<Code>a</Code><Message>{}</Message>", "x".repeat(10_000));
        assert_eq!(summary(body.as_bytes()).len(), TEXT_MAX);
    }
}
