//! Answers that are written while they are read.

use actix_web::{HttpResponse, http::Method};
use deia_model::Credential;

use super::RequestCtx;
use crate::http::{
    body::{
        problem::Problem,
        streams::{Reader, Sink, StreamPlace, headers_only},
    },
    server::connection,
};

impl RequestCtx {
    /// Returns an answer of that type whose body `make` writes while it is read.
    ///
    /// # Errors
    /// All slots for streams are taken.
    pub(crate) fn streamed<Fut>(
        &self,
        content_type: &'static str,
        make: impl FnOnce(Sink) -> Fut + 'static,
    ) -> Result<HttpResponse, Problem>
    where
        Fut: Future<Output = ()> + 'static,
    {
        Ok(match self.stream_place()? {
            Some(place) => place.streamed(content_type, make),
            None => headers_only(content_type),
        })
    }

    /// Returns the place of a stream; `None` if only its headers are asked for.
    ///
    /// # Errors
    /// All slots for streams are taken.
    pub(crate) fn stream_place(&self) -> Result<Option<StreamPlace>, Problem> {
        if *self.request.method() == Method::HEAD {
            return Ok(None);
        }
        let certificate = match self.who.credential {
            Credential::Certificate => connection::certificate(&self.request),
            _ => None,
        };
        Ok(Some(StreamPlace {
            slot: self.state.streams.slot(&self.who.budget())?,
            reader: Reader::new(self.hive(), &self.who, self.address(), certificate),
            stopping: self.state.stopping.clone(),
        }))
    }
}
