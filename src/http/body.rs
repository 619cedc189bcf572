//! Bodies of requests and answers.

pub(crate) mod answer;
pub(crate) mod bytes;
pub(crate) mod catalogue;
pub(crate) mod etag;
pub(crate) mod json;
pub(crate) mod problem;
pub(crate) mod streams;
pub(crate) mod words;
