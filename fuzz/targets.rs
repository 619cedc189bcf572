//! Properties that must hold for any input from outside. Each function takes any bytes and
//! panics if its property does not hold: `cargo fuzz` runs them in search of such bytes,
//! `tests/it/fuzz.rs` with a fixed number of them on every run of the tests.

use actix_http::{
    ServiceConfig,
    h1::{Codec, Message, MessageType},
};
use actix_rt::Runtime;
use actix_web::{body::MessageBody, web::BytesMut};
use deia::http::{Code, Problem};
use deia_framer::{Head, Remainder, RequestFramer};
use deia_ledger::store::task_cursor;
use deia_model::{ApiKey, TraceContext};
use tokio_util::codec::Decoder as _;

/// A target, and inputs from which others are made.
pub(super) type Target = (fn(&[u8]), &'static [&'static str]);

pub(super) const SEEDS: &[Target] = &[
    (
        key,
        &["deia_01h455vb4pex5vsknk084sn02q_abcdefghijklmnopqrstuvwxyz234567_00000000"],
    ),
    (
        header,
        &[
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ],
    ),
    (
        cursor,
        &[
            "dGFza3M6dGFza18wMWg0NTV2YjRwZXg1dnNrbmswODRzbjAycQ",
            "dGFza3M6MTIz",
            "",
        ],
    ),
    (
        problem,
        &["\0the header X is wrong", "\u{7}\u{2028}\"\\ \n"],
    ),
    (
        stream,
        &[
            "\x07GET /a?b=c HTTP/1.1\r\nHost: a:1\r\nExpect: 100-continue\r\n\r\n",
            "\x01POST / HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.0\r\n\r\n",
            "\x03PUT http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n00\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET",
        ],
    ),
];

/// Checks that a key that is read is the key that was written.
pub(super) fn key(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(key) = ApiKey::parse(text) {
        assert_eq!(key.reveal(), text);
        assert!(
            !format!("{key:?}").contains(&text[32..64]),
            "it is not shown"
        );
    }
}

/// Checks that a trace context that is read is written as one that is read the same.
pub(super) fn header(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(trace) = TraceContext::parse(&text) {
        assert_eq!(TraceContext::parse(&trace.to_string()), Some(trace));
    }
}

/// Checks that a cursor stands for a place in a list or is refused.
pub(super) fn cursor(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(place) = task_cursor(&text) {
        assert_eq!(place.to_string().parse(), Ok(place));
    }
}

/// Checks that a problem is reported as JSON that repeats what went in.
pub(super) fn problem(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let code = Code::ALL[usize::from(*first) % Code::ALL.len()];
    let text = String::from_utf8_lossy(rest).into_owned();
    let answer = Problem::new(code, text.clone()).into_response(&text);
    assert_eq!(answer.status(), code.status());
    let body = answer.into_body().try_into_bytes().ok();
    let body: serde_json::Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap();
    assert_eq!(body["code"], code.as_str());
    assert_eq!(body["request_id"], text);
    assert!(body["detail"].as_str().unwrap().ends_with(code.hint()));
}

/// The framer lets the same pass in whatever pieces it comes, only
/// the beginning of what came, and only heads that it would let pass again. The
/// parser behind it takes all that passes, and reads the same requests with the
/// same ends.
pub(super) fn stream(data: &[u8]) {
    let Some((piece, stream)) = data.split_first() else {
        return;
    };
    let whole = pass(stream, stream.len().max(1));
    assert_eq!(whole, pass(stream, usize::from(*piece).max(1)));
    assert!(stream.starts_with(&whole.bytes));
    if let Some(end) = whole.bytes.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = &whole.bytes[..end + 4];
        Head::parse(head.strip_prefix(b"\r\n").unwrap_or(head)).unwrap();
    }
    let parsed = PARSER.with(|(runtime, config)| {
        let config = config.clone();
        runtime.block_on(async { parse(&whole.bytes, Codec::new(config)) })
    });
    assert_eq!((whole.requests, whole.ends), parsed);
}

/// Result of framing a stream.
#[derive(Debug, PartialEq)]
struct Framed {
    bytes: Vec<u8>,
    requests: u64,
    /// Offsets at which the whole requests end.
    ends: Vec<usize>,
    rest: Option<Remainder>,
}

fn pass(stream: &[u8], piece: usize) -> Framed {
    let mut framer = RequestFramer::default();
    let (mut bytes, mut held, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    let mut over = None;
    'stream: for piece in stream.chunks(piece) {
        held.extend_from_slice(piece);
        loop {
            let passed = framer.pass(&held);
            bytes.extend(held.drain(..passed.bytes));
            let whole = !framer.in_body() && !matches!(passed.rest, Remainder::Broken(_));
            if whole && framer.requests() > ends.len() as u64 {
                ends.push(bytes.len());
            }
            if passed.rest != Remainder::Held {
                over = Some(passed.rest);
                break 'stream;
            }
            if passed.bytes == 0 || held.is_empty() {
                break;
            }
        }
    }
    Framed {
        bytes,
        requests: framer.requests(),
        ends,
        rest: over,
    }
}

thread_local! {
    /// The settings of a parser have a clock, which needs a runtime.
    static PARSER: (Runtime, ServiceConfig) = {
        let runtime = Runtime::new().unwrap();
        let config = runtime.block_on(async { ServiceConfig::default() });
        (runtime, config)
    };
}

/// Returns the number of requests that the parser reads, and the ends of the whole ones.
fn parse(stream: &[u8], mut codec: Codec) -> (u64, Vec<usize>) {
    let mut rest = BytesMut::from(stream);
    let (mut requests, mut ends) = (0, Vec::new());
    while let Some(message) = codec.decode(&mut rest).unwrap() {
        let whole = match message {
            Message::Item(_) => {
                requests += 1;
                assert_ne!(codec.message_type(), MessageType::Stream);
                codec.message_type() == MessageType::None
            }
            Message::Chunk(more) => more.is_none(),
        };
        if whole {
            ends.push(stream.len() - rest.len());
        }
    }
    (requests, ends)
}
