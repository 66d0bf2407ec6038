//! Answers that come before the request's body was read: what to do with the rest of it.
//!
//! A server that closes a connection with unread bytes makes the kernel reset it, and the client
//! may see a broken pipe instead of the answer. So the answer goes out at once, and its end is held
//! back while a bounded part of the body is thrown away.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, Response, Version};
use http_body::{Body as HttpBody, Frame};
use tokio::time::{Instant, Sleep};

/// How much of an unwanted body is read, in bytes: several seconds of a fast sender, who has read
/// the answer by then.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// How long it is read.
const MAX_TIME: Duration = Duration::from_secs(10);

/// Makes `answer` outlive what is left of the request's body, where that is needed: on HTTP/1.1,
/// with bytes under way. A client that waits for `100 Continue` has sent nothing, and HTTP/2 resets
/// the one stream.
pub(super) fn outlive(
    mut answer: Response<Body>,
    version: Version,
    headers: &HeaderMap,
    rest: Body,
) -> Response<Body> {
    if rest.is_end_stream() || version > Version::HTTP_11 || headers.contains_key(EXPECT) {
        return answer;
    }
    // Without a length the answer ends when its body does, so the client reads it whole while the
    // drain goes on.
    answer.headers_mut().remove(CONTENT_LENGTH);
    answer.map(|body| {
        let deadline = Box::pin(tokio::time::sleep_until(Instant::now() + MAX_TIME));
        Body::new(Outliving {
            answer: Some(body),
            rest,
            read: 0,
            deadline,
        })
    })
}

struct Outliving {
    answer: Option<Body>,
    rest: Body,
    read: u64,
    deadline: Pin<Box<Sleep>>,
}

impl HttpBody for Outliving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(answer) = &mut self.answer {
            match ready!(Pin::new(answer).poll_frame(cx)) {
                Some(frame) => return Poll::Ready(Some(frame)),
                None => self.answer = None,
            }
        }
        while self.read < MAX_BYTES && self.deadline.as_mut().poll_elapsed(cx).is_pending() {
            match ready!(Pin::new(&mut self.rest).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    self.read += frame.data_ref().map_or(0, |data| data.len() as u64)
                }
                Some(Err(_)) | None => break,
            }
        }
        Poll::Ready(None)
    }
}

trait Elapsed {
    fn poll_elapsed(self, cx: &mut Context<'_>) -> Poll<()>;
}

impl Elapsed for Pin<&mut Sleep> {
    fn poll_elapsed(self, cx: &mut Context<'_>) -> Poll<()> {
        std::future::Future::poll(self, cx)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn the_answer_comes_whole_and_the_body_is_read_to_its_end() {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
        let rest = futures_util::stream::unfold(receiver, async |mut receiver| {
            let item = receiver.recv().await?;
            Some((Ok::<_, std::io::Error>(item), receiver))
        });
        let answer = Response::builder()
            .header(CONTENT_LENGTH, 4)
            .body(Body::from("no!\n"))
            .expect("an answer");
        let answer = outlive(
            answer,
            Version::HTTP_11,
            &HeaderMap::new(),
            Body::from_stream(rest),
        );
        assert!(!answer.headers().contains_key(CONTENT_LENGTH));
        let reader = tokio::spawn(async move {
            answer
                .into_body()
                .collect()
                .await
                .map(http_body_util::Collected::to_bytes)
        });
        for _ in 0..100 {
            sender
                .send(Bytes::from_static(&[0; 1000]))
                .await
                .expect("the drain reads");
        }
        assert!(!reader.is_finished());
        drop(sender);
        assert_eq!(
            reader.await.expect("no panic").expect("a body"),
            Bytes::from_static(b"no!\n")
        );
    }

    #[tokio::test]
    async fn nothing_is_held_back_without_a_body() {
        let answer = Response::builder()
            .header(CONTENT_LENGTH, 4)
            .body(Body::from("no!\n"))
            .expect("an answer");
        let answer = outlive(answer, Version::HTTP_11, &HeaderMap::new(), Body::empty());
        assert!(answer.headers().contains_key(CONTENT_LENGTH));
    }
}
