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
        self.json(&value.to_string()).await;
    }

    /// A piece that is JSON already.
    pub(crate) async fn json(&mut self, json: &str) {
        let text = match self.framing {
            Framing::Sse => format!("data: {json}\n\n"),
            Framing::Ndjson => format!("{json}\n"),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::HttpBody;
    use serde_json::json;

    use super::super::HttpSettings;
    use super::*;
    use crate::engine::FailureKind;
    use crate::library::{Library, Listed, OpenError, Opened};
    use crate::models::{Models, Settings};

    struct Empty;

    impl Library for Empty {
        fn list(&self) -> Vec<Listed> {
            Vec::new()
        }

        fn open(&self, name: &str) -> Result<Opened, OpenError> {
            Err(OpenError::Unknown(name.to_owned()))
        }

        fn default_name(&self) -> Option<String> {
            None
        }
    }

    fn state(ping: Duration) -> State {
        let models = Models::new(Arc::new(Empty), Settings::default());
        State::new(models, HttpSettings { ping, ..HttpSettings::default() }, [127, 0, 0, 1].into())
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    async fn next(body: &mut Body) -> Option<String> {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
        Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
    }

    fn busy() -> Failure {
        Failure::new(FailureKind::Busy, "later")
    }

    #[test]
    fn a_failure_before_the_first_piece_has_a_status_and_later_ones_are_pieces() {
        run(async {
            let state = state(Duration::from_secs(9));
            let early = |mut writer: Writer| async move { writer.fail(busy()).await };
            let failed = stream(&state, Dialect::OpenAi, Framing::Sse, early).await;
            assert_eq!(failed.err(), Some(busy()));
            let late = |mut writer: Writer| async move {
                writer.data(&json!(1)).await;
                writer.fail(busy()).await;
            };
            for (dialect, framing, pieces) in [
                (Dialect::OpenAi, Framing::Sse, ["data: 1\n\n", "data: {\"error\":{\"message\":\"later\""]),
                (
                    Dialect::Anthropic,
                    Framing::Sse,
                    ["data: 1\n\n", "event: error\ndata: {\"type\":\"error\""],
                ),
                (Dialect::Ollama, Framing::Ndjson, ["1\n", "{\"error\":\"later\"}\n"]),
            ] {
                let mut body = stream(&state, dialect, framing, late).await.unwrap().into_body();
                let mut all = String::new();
                while let Some(more) = next(&mut body).await {
                    all += &more;
                }
                assert!(all.starts_with(&pieces.concat()), "{all}");
            }
        });
    }

    #[test]
    fn a_silent_stream_says_that_it_lives() {
        run(async {
            let slow = |mut writer: Writer| async move {
                writer.data(&json!(1)).await;
                sleep(Duration::from_millis(80)).await;
                writer.done().await;
            };
            let state = state(Duration::from_millis(20));
            let mut body = stream(&state, Dialect::OpenAi, Framing::Sse, slow).await.unwrap().into_body();
            let mut all = Vec::new();
            while let Some(more) = next(&mut body).await {
                all.push(more);
            }
            assert_eq!((all[0].as_str(), all[1].as_str()), ("data: 1\n\n", ": ping\n\n"));
            assert_eq!(all.last().map(String::as_str), Some("data: [DONE]\n\n"));
        });
    }

    #[test]
    fn nothing_runs_ahead_of_the_reader_and_all_goes_with_it() {
        struct Gone(Arc<AtomicUsize>);
        impl Drop for Gone {
            fn drop(&mut self) {
                self.0.store(usize::MAX, Ordering::Relaxed);
            }
        }
        run(async {
            let made = Arc::new(AtomicUsize::new(0));
            let count = Gone(made.clone());
            let endless = |mut writer: Writer| async move {
                loop {
                    writer.data(&json!(1)).await;
                    count.0.fetch_add(1, Ordering::Relaxed);
                }
            };
            let state = state(Duration::from_secs(9));
            let mut body = stream(&state, Dialect::OpenAi, Framing::Sse, endless).await.unwrap().into_body();
            for _ in 0..3 {
                next(&mut body).await;
            }
            sleep(Duration::from_millis(30)).await;
            assert!(made.load(Ordering::Relaxed) <= 4 * (AHEAD + 2), "{made:?}");
            drop(body);
            assert_eq!(made.load(Ordering::Relaxed), usize::MAX);
        });
    }
}
