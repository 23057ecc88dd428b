//! Connections: how many, how long, and how they end.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::wire::Wire;
use super::{HttpSettings, State, router};
use crate::models::Models;

/// Headers of one request.
const MOST_HEADERS: usize = 64;
/// What a client gets for which there is no room.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
    connection: close\r\ncontent-length: 107\r\n\r\n\
    {\"error\":{\"message\":\"too many connections are open\",\"type\":\"unavailable_error\",\"param\":null,\"code\":null}}\r\n";
/// How long models may take to end.
const END: Duration = Duration::from_secs(2);
/// How often [`run`] looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(50);

/// Serves until `stop` is ready. Then no connection is taken any more, running answers may go on for
/// [`HttpSettings::grace`], and what is still running is cancelled.
///
/// # Errors
/// The address of the listener cannot be read.
pub async fn serve(
    listener: TcpListener,
    models: Models,
    settings: HttpSettings,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let state = Arc::new(State::new(models.clone(), settings.clone(), listener.local_addr()?.ip()));
    let service = TowerToHyperService::new(router(state));
    let room = Arc::new(Semaphore::new(settings.max_connections));
    let (end, ends) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            // Those that are over are taken out of the set.
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            // The client is gone again.
            Err(error) if is_of_one_client(&error) => continue,
            Err(error) => {
                // Of files, for instance, there are too many; some will be closed.
                tracing::warn!(%error, "no connection can be taken");
                sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            refuse(stream);
            continue;
        };
        let (service, ends, settings) = (service.clone(), ends.clone(), settings.clone());
        connections.spawn(async move {
            connection(stream, service, &settings, ends).await;
            drop(permit);
        });
    }
    drop(listener);
    drop(end);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(settings.grace, all).await.is_err() {
        tracing::info!(connections = connections.len(), "answers are broken off");
    }
    connections.shutdown().await;
    // A pass that takes longer ends with the process.
    let _ = timeout(END, models.shutdown()).await;
    Ok(())
}

/// Tells a client that there is no room. As much as fits into the system's buffer: nothing waits for it.
fn refuse(stream: TcpStream) {
    use std::io::Write;
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(FULL);
    }
}

async fn connection(
    stream: TcpStream,
    service: TowerToHyperService<Router>,
    settings: &HttpSettings,
    mut ends: watch::Receiver<()>,
) {
    // Tokens are small and wanted at once.
    let _ = stream.set_nodelay(true);
    let wire = TokioIo::new(Wire::new(stream, settings.stall_timeout));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.head_timeout)
        .max_buf_size(settings.max_head.max(8192))
        .max_headers(MOST_HEADERS)
        .serve_connection(wire, service);
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        // Fails when the sender goes, which is how it ends.
        _ = ends.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection broke off");
    }
}

fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// As [`serve`], on a runtime of its own, until `stopped` says so. `models` is called on the runtime, and `ready` once
/// clients can connect.
///
/// # Errors
/// The runtime does not start, or the listener cannot be used.
pub fn run(
    listener: std::net::TcpListener,
    models: impl FnOnce() -> Models,
    settings: HttpSettings,
    stopped: impl Fn() -> bool,
    ready: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    // Bytes are shuttled; models compute on threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .thread_name("qwip-http")
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let models = models();
        ready(listener.local_addr()?);
        let mut terminated = pin!(terminated()?);
        let stop = async {
            while !stopped() {
                tokio::select! {
                    () = sleep(GLANCE) => {}
                    () = &mut terminated => break,
                }
            }
        };
        serve(listener, models, settings, stop).await
    });
    // Whatever reads a file just now is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(500));
    result
}

/// When the system asks this process to end, as `qwip stop` and supervisors do.
#[cfg(unix)]
fn terminated() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut signals = signal(SignalKind::terminate())?;
    Ok(async move {
        signals.recv().await;
    })
}

#[cfg(not(unix))]
fn terminated() -> io::Result<impl Future<Output = ()>> {
    Ok(std::future::pending())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_answer_without_room_is_well_formed() {
        let text = std::str::from_utf8(super::FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len()))
                || head.ends_with(&format!("content-length: {}", body.len())),
            "{}",
            body.len()
        );
        let value: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(value["error"]["type"], "unavailable_error");
    }
}
