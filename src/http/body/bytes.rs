//! Memory taken by bodies: of requests until they are answered, of answers until they are
//! read. All callers together have a budget, and no caller more than a share of it.

use std::{
    convert::Infallible,
    hash::Hash,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use actix_web::{
    HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    http::Method,
    web::Bytes,
};

use crate::http::{
    body::{catalogue::Code, problem::Problem},
    guard::quotas::{CALLERS, HashedQuotas, QuotaShare},
};

/// No caller has more than this fraction of a budget. Fixed: four callers must share a
/// budget before it is used up, whatever its size.
const PART: usize = 4;
/// Smaller answers are not counted: the connection buffers as much anyway. Fixed: the
/// buffer of a connection, which is there in any case.
const SMALL_ANSWER_BYTES: u64 = 16 << 10;
/// Answers are handed over in pieces of this size: each piece is copied to the connection
/// at once, even when nobody reads there. Fixed: a buffer, whose size changes nothing
/// that can be seen.
const PIECE_BYTES: usize = 16 << 10;

/// A limit on bytes held at a time.
pub(crate) struct ByteBudget {
    what: &'static str,
    all: Arc<HashedQuotas>,
    own: Arc<HashedQuotas>,
}

/// The bytes that one body holds, until this is dropped.
pub(crate) struct ByteReservation {
    what: &'static str,
    all: QuotaShare,
    own: QuotaShare,
}

impl ByteBudget {
    /// Makes a budget for `what`; each caller may hold at least `least`.
    pub(crate) fn new(what: &'static str, max_bytes: usize, least: usize) -> Self {
        Self {
            what,
            all: HashedQuotas::new(1, max_bytes),
            own: HashedQuotas::new(CALLERS, (max_bytes / PART).max(least)),
        }
    }

    /// Returns an empty reservation of that caller.
    pub(crate) fn share(&self, who: &impl Hash) -> ByteReservation {
        ByteReservation {
            what: self.what,
            all: self.all.of(&()),
            own: self.own.of(who),
        }
    }

    /// Counts an answer until it is written or dropped. The effect of a `method` that
    /// changes something has happened: that answer is counted, not refused.
    ///
    /// # Errors
    /// As [`ByteReservation::grow_to`].
    pub(crate) fn until_read(
        &self,
        answer: HttpResponse,
        method: &Method,
        who: &impl Hash,
    ) -> Result<HttpResponse, Problem> {
        let BodySize::Sized(bytes) = answer.body().size() else {
            return Ok(answer);
        };
        if bytes <= SMALL_ANSWER_BYTES {
            return Ok(answer);
        }
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut held = self.share(who);
        if method.is_safe() {
            held.grow_to(bytes)?;
        } else {
            held.all.grow_to(bytes);
            held.own.grow_to(bytes);
        }
        Ok(answer.map_body(|_, body| match body.try_into_bytes() {
            Ok(rest) => BoxBody::new(Counted { rest, _held: held }),
            Err(body) => body,
        }))
    }
}

impl ByteReservation {
    /// Makes the reservation at least that large.
    ///
    /// # Errors
    /// [`Code::Overloaded`] when that exceeds the budget of all callers, or the share of
    /// this one. The reservation stays as it was.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), Problem> {
        let before = self.own.held();
        if !self.own.try_grow_to(bytes) {
            return Err(self.too_much("of one caller"));
        }
        if !self.all.try_grow_to(bytes) {
            self.own.shrink_to(before);
            return Err(self.too_much("of all callers"));
        }
        Ok(())
    }

    #[cold]
    fn too_much(&self, whose: &str) -> Problem {
        let detail = format!("the {} {whose} exceed their limit together", self.what);
        Problem::new(Code::Overloaded, detail)
    }
}

/// An answer that is counted until it is written.
struct Counted {
    rest: Bytes,
    _held: ByteReservation,
}

impl MessageBody for Counted {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let piece = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(piece);
        Poll::Ready((!piece.is_empty()).then_some(Ok(piece)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_bounded_together_and_given_back() {
        let all = ByteBudget::new("requests", 100, 60);
        let (mut one, mut other) = (all.share(&1), all.share(&2));
        one.grow_to(60).unwrap();
        one.grow_to(50).unwrap();
        other.grow_to(40).unwrap();
        for bytes in [41, 61] {
            let refused = other.grow_to(bytes).unwrap_err();
            assert_eq!(refused.code(), Code::Overloaded);
        }
        drop(one);
        other.grow_to(60).unwrap();
        let mut again = all.share(&2);
        assert!(
            again.grow_to(1).is_err(),
            "one caller has no more than its share"
        );
        all.share(&3).grow_to(40).unwrap();
        drop(other);
        again.grow_to(60).unwrap();
    }

    #[actix_web::test]
    async fn answers_count_until_they_are_read() {
        let all = ByteBudget::new("answers", 400_000, 0);
        let answer = |method: Method, who: u8, bytes: usize| {
            all.until_read(HttpResponse::Ok().body(vec![7; bytes]), &method, &who)
        };
        let first = answer(Method::GET, 1, 90_000).unwrap();
        assert!(answer(Method::GET, 1, 20_000).is_err());
        let small = answer(Method::GET, 1, 16_000).unwrap();
        let done = answer(Method::POST, 1, 20_000).unwrap();
        let others: Vec<_> = (2..=4)
            .map(|who| answer(Method::GET, who, 99_000))
            .collect();
        let refused = others.iter().filter(|answer| answer.is_err()).count();
        assert_eq!(refused, 1, "all together have a budget as well");
        let read = actix_web::body::to_bytes(first.into_body()).await.unwrap();
        assert!(read.len() == 90_000 && read.iter().all(|byte| *byte == 7));
        drop((small, done));
        answer(Method::GET, 1, 90_000).unwrap();
    }
}
