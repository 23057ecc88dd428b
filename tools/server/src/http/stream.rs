//! Answers that come piece by piece: server-sent events, or a JSON object a line.
//!
//! The work that makes the pieces is a future inside the body, driven by whoever reads it: nothing is made for a client
//! that does not read, and when the client goes the body goes, and the work with it.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};

use super::{Dialect, State};
use crate::engine::Failure;

/// Pieces that wait to be sent.
const AHEAD: usize = 16;
/// So long the first piece may take before the answer begins with a status that is not certain yet.
const FIRST: Duration = Duration::from_secs(10);

/// How pieces are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `data: {..}` and an empty line; `: ping` while nothing comes.
    Sse,
    /// One object a line.
    Ndjson,
}

enum Piece {
    Bytes(Bytes),
    Failed(Failure),
}

/// Where the work puts its pieces. Sending waits while the client does not read.
pub(crate) struct Writer {
    framing: Framing,
    out: mpsc::Sender<Piece>,
}

impl Writer {
    /// A piece.
    pub(crate) async fn data(&mut self, value: &Value) {
        let text = match self.framing {
            Framing::Sse => format!("data: {value}\n\n"),
            Framing::Ndjson => format!("{value}\n"),
        };
        self.send(Piece::Bytes(text.into())).await;
    }

    /// A piece with the name of an event.
    pub(crate) async fn event(&mut self, name: &str, value: &Value) {
        self.send(Piece::Bytes(format!("event: {name}\ndata: {value}\n\n").into())).await;
    }

    /// The end, as OpenAI's clients expect it.
    pub(crate) async fn done(&mut self) {
        self.send(Piece::Bytes(Bytes::from_static(b"data: [DONE]\n\n"))).await;
    }

    /// The answer cannot go on. If nothing was sent yet, it becomes an error with its status; otherwise it is the last
    /// piece.
    pub(crate) async fn fail(&mut self, failure: Failure) {
        self.send(Piece::Failed(failure)).await;
    }

    async fn send(&mut self, piece: Piece) {
        // The receiver stands beside this future and goes with it.
        let _ = self.out.send(piece).await;
    }
}

/// An answer whose pieces `work` makes.
///
/// # Errors
/// What the work fails with before its first piece.
pub(crate) async fn stream<W, F>(
    state: &State,
    dialect: Dialect,
    framing: Framing,
    work: W,
) -> Result<Response, Failure>
where
    W: FnOnce(Writer) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let (out, pieces) = mpsc::channel(AHEAD);
    let work = Box::pin(work(Writer { framing, out }));
    let ping = (framing == Framing::Sse).then(|| (state.settings.ping, Box::pin(sleep(state.settings.ping))));
    let mut feed = Feed { work: Some(work), pieces, first: None, ping, dialect, framing };
    feed.wait_for_first().await?;
    let mut response = Response::new(Body::from_stream(feed));
    let headers = response.headers_mut();
    let ty = match framing {
        Framing::Sse => "text/event-stream; charset=utf-8",
        Framing::Ndjson => "application/x-ndjson",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(ty));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

struct Feed {
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    pieces: mpsc::Receiver<Piece>,
    first: Option<Bytes>,
    ping: Option<(Duration, Pin<Box<Sleep>>)>,
    dialect: Dialect,
    framing: Framing,
}

impl Feed {
    /// The next piece; `None` at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        loop {
            if let Poll::Ready(piece) = self.pieces.poll_recv(cx) {
                return Poll::Ready(piece);
            }
            let Some(work) = &mut self.work else { return Poll::Ready(None) };
            match work.as_mut().poll(cx) {
                // With it its writer is gone, so the receiver is ready.
                Poll::Ready(()) => self.work = None,
                // It may have written something before it began to wait.
                Poll::Pending => return self.pieces.poll_recv(cx),
            }
        }
    }

    /// Waits until it is known whether there will be an answer, but not for ever.
    async fn wait_for_first(&mut self) -> Result<(), Failure> {
        match tokio::time::timeout(FIRST, poll_fn(|cx| self.poll_piece(cx))).await {
            Ok(Some(Piece::Failed(failure))) => return Err(failure),
            Ok(Some(Piece::Bytes(bytes))) => self.first = Some(bytes),
            Ok(None) | Err(_) => {}
        }
        Ok(())
    }

    fn bytes_of(&self, piece: Piece) -> Bytes {
        let failure = match piece {
            Piece::Bytes(bytes) => return bytes,
            Piece::Failed(failure) => failure,
        };
        let object = self.dialect.object(&failure);
        match (self.framing, self.dialect) {
            (Framing::Ndjson, _) => format!("{object}\n"),
            (Framing::Sse, Dialect::Anthropic) => format!("event: error\ndata: {object}\n\n"),
            (Framing::Sse, _) => format!("data: {object}\n\n"),
        }
        .into()
    }
}

impl Stream for Feed {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let feed = &mut *self;
        let piece = match feed.first.take() {
            Some(bytes) => Poll::Ready(Some(bytes)),
            None => feed.poll_piece(cx).map(|piece| piece.map(|piece| feed.bytes_of(piece))),
        };
        match piece {
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(bytes)) => {
                if let Some((after, ping)) = &mut feed.ping {
                    ping.as_mut().reset(Instant::now() + *after);
                }
                Poll::Ready(Some(Ok(feed.with_those_that_wait(bytes))))
            }
            Poll::Pending => {
                let Some((after, ping)) = &mut feed.ping else { return Poll::Pending };
                std::task::ready!(ping.as_mut().poll(cx));
                ping.as_mut().reset(Instant::now() + *after);
                Poll::Ready(Some(Ok(Bytes::from_static(b": ping\n\n"))))
            }
        }
    }
}

impl Feed {
    /// One write serves all pieces that are there.
    fn with_those_that_wait(&mut self, first: Bytes) -> Bytes {
        let Ok(second) = self.pieces.try_recv() else { return first };
        let mut all = BytesMut::from(first.as_ref());
        all.extend_from_slice(&self.bytes_of(second));
        while let Ok(piece) = self.pieces.try_recv() {
            let bytes = self.bytes_of(piece);
            all.extend_from_slice(&bytes);
        }
        all.freeze()
    }
}
