//! Connections of a gateway: bounded in number, in time and in what their headers may hold.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections at once; further ones wait in the listener's queue.
const CONNECTIONS_MAX: usize = 1024;
/// How long a client may take to send its headers.
const HEADERS: Duration = Duration::from_secs(30);
/// Bytes of a request's line and headers at most, and of what is read ahead.
const HEADERS_BYTES_MAX: usize = 64 * 1024;
/// Headers of a request at most.
const HEADERS_MAX: usize = 100;
/// How long a listener rests after it could not accept, for example because files are exhausted.
const REST: Duration = Duration::from_millis(100);
/// How long responses under way may take when the node stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Answers connections until `shutdown` is done, then lets responses under way end for a few seconds.
///
/// # Errors
/// None today; a listener that fails for good will be one.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send,
) -> std::io::Result<()> {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stop, stopped) = tokio::sync::watch::channel(());
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accepted => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "the gateway cannot accept a connection");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let mut stopped = stopped.clone();
        connections.spawn(async move {
            let _permit = permit;
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS)
                .max_buf_size(HEADERS_BYTES_MAX)
                .max_headers(HEADERS_MAX)
                .serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => return,
                _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
            }
            // A client that went away is no event.
            let _ = connection.await;
        });
    }
    drop(listener);
    let _ = stop.send(());
    let _ = tokio::time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}
