//! Bodies of requests and answers.

pub(crate) mod accept;
pub(crate) mod answer;
pub(crate) mod bytes;
pub(crate) mod cached;
pub(crate) mod catalogue;
pub(crate) mod etag;
pub(crate) mod json;
pub(crate) mod problem;
pub(crate) mod range;
pub(crate) mod streams;
pub(crate) mod words;
