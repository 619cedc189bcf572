//! An answer whose head is there, and whose body is read piece by piece.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Response,
    header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};

use super::{
    error::ExchangeError,
    exchange::{Answered, HeadLimits, Phase, Progress},
    retry_after::retry_after,
};

/// An answer whose head is there. Dropping it ends the exchange.
pub(crate) struct Incoming {
    /// Status code. Redirects are not followed, so 3xx is possible.
    pub(crate) status: u16,
    /// Delay that the receiver asks for, bounded by [`HeadLimits::max_retry_after`].
    pub(crate) retry_after: Option<Duration>,
    response: Response,
}

impl Incoming {
    /// Takes an answer whose head is within the limits.
    ///
    /// # Errors
    /// The head is too large.
    pub(super) fn new(
        response: Response,
        progress: Progress,
        limits: HeadLimits,
    ) -> Result<Self, ExchangeError> {
        progress.enter(Phase::Body);
        let headers = response.headers();
        let bytes = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
        let head_bytes: usize = headers.iter().map(bytes).sum();
        if head_bytes > limits.max_head_bytes {
            let problem = format!(
                "its headers have {head_bytes} bytes; {} are allowed",
                limits.max_head_bytes
            );
            return Err(ExchangeError::Malformed(problem));
        }
        let delay = headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        Ok(Self {
            status: response.status().as_u16(),
            retry_after: delay
                .and_then(|text| retry_after(text, SystemTime::now(), limits.max_retry_after)),
            response,
        })
    }

    /// Returns the headers.
    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Returns the next piece of the body, as it was sent; `None` at its end. Cancel safe.
    ///
    /// # Errors
    /// The receiver broke off, or its answer is not proper HTTP.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, ExchangeError> {
        let read = self.response.chunk().await;
        read.map_err(|error| ExchangeError::of(error, Phase::Body, Duration::ZERO))
    }

    /// Reads the body. One beyond the limit is cut, and its connection with it.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub(crate) async fn read(mut self, max_body_bytes: usize) -> Result<Answered, ExchangeError> {
        let (mut body, mut truncated) = (BytesMut::new(), false);
        while let Some(chunk) = self.chunk().await? {
            let room = max_body_bytes - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                truncated = true;
                break;
            }
        }
        Ok(Answered {
            status: self.status,
            retry_after: self.retry_after,
            body: body.freeze(),
            truncated,
        })
    }
}
