//! DAGs and clients that mean no good.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use cid::Cid;
use hpips_client::{BlockGetter, GetBlockError};
use hpips_dag::{DataType, UnixFs};
use hpips_types::content::{DAG_CBOR, DAG_JSON, DAG_PB};
use tower::ServiceExt;

use super::super::{Config, Parts, Source, router};
use super::support::Site;

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_about_itself_is_an_error_and_never_content() {
    let site = Site::new();
    let leaf = site.file(b"0123456789");
    let data = |data_type, file_bytes, sizes: &[u64]| {
        UnixFs { file_bytes, block_sizes: sizes.to_vec(), ..UnixFs::new(data_type) }.encode()
    };
    let directory = data(DataType::Directory, None, &[]);
    for (node, query, what) in [
        (
            site.node(&data(DataType::File, Some(99), &[99]), &[("", leaf.cid)]),
            "",
            "a leaf shorter than declared",
        ),
        (
            site.node(&data(DataType::File, Some(5), &[u64::MAX, 9]), &[("", leaf.cid), ("", leaf.cid)]),
            "",
            "sizes that overflow",
        ),
        (site.node(&data(DataType::File, Some(5), &[]), &[("", leaf.cid)]), "", "a link without a size"),
        (site.node(b"\xff\xff", &[]), "", "no UnixFS"),
        (site.node(&data(DataType::Metadata, None, &[]), &[]), "", "metadata"),
        (site.block(DAG_PB, b"garbage"), "", "no dag-pb"),
        (site.block(DAG_PB, b"garbage"), "?format=tar", "no dag-pb as tar"),
        (site.node(&directory, &[("..", leaf.cid)]), "?format=tar", "a name that leaves the folder"),
        (site.node(&directory, &[("a/../../b", leaf.cid)]), "?format=tar", "a name with slashes"),
        (site.block(DAG_CBOR, b"\xff\x00"), "/a", "no dag-cbor"),
        (site.block(DAG_JSON, &[b'['; 100_000]), "/0", "a document of nothing but depth"),
        (site.block(DAG_CBOR, &[0x81; 100_000]), "/0", "a document of nothing but depth"),
    ] {
        let answer = site.get(&format!("/ipfs/{}{query}", node.cid)).await;
        assert!(answer.status >= 400 || !answer.is_whole, "{what}: {} {}", answer.status, answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_without_one_of_its_shards_is_an_error_not_a_short_list() {
    let site = Site::new();
    let file = site.file(b"x");
    let names: Vec<String> = (0..6_000).map(|index| format!("a-rather-long-name-{index:05}")).collect();
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), file)).collect();
    let root = site.directory(&entries);
    let block = site.store.get(&root.cid).unwrap().unwrap();
    let shard = hpips_dag::decode_pb(&block).unwrap().links.into_iter().find(|link| link.name.len() == 2);
    site.store.delete(&shard.expect("six thousand names need shards").cid).unwrap();
    let listing = site.get(&format!("/ipfs/{}/", root.cid)).await;
    assert!(listing.status >= 400 || !listing.is_whole, "{}", listing.status);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_cannot_smuggle_markup() {
    let site = Site::new();
    let text = br#"{"<script>":"</pre><img src=x onerror=1>","k":[true,null,1.5,{"/":{"bytes":"AAEC"}}]}"#;
    let node = site.block(DAG_JSON, text);
    let page = site.send("GET", &format!("/ipfs/{}/", node.cid), &[("accept", "text/html")]).await;
    let text = page.text();
    assert_eq!(page.status, 200, "{text}");
    assert!(!text.contains("<script") && !text.contains("<img") && text.contains("&lt;script&gt;"), "{text}");
    assert!(text.contains("AAEC"), "{text}");
}

/// Blocks that never come.
#[derive(Default)]
struct Stuck {
    asked: AtomicUsize,
    release: (std::sync::Mutex<bool>, std::sync::Condvar),
}

impl BlockGetter for Stuck {
    fn get(&self, cid: &Cid) -> Result<Bytes, GetBlockError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut released = self.release.0.lock().unwrap();
        while !*released {
            released = self.release.1.wait(released).unwrap();
        }
        Err(GetBlockError::NotFound { cid: *cid, peers: Some(1) })
    }
}

struct StuckSource(Arc<Stuck>);

impl Source for StuckSource {
    fn local(&self) -> Arc<dyn BlockGetter> {
        Arc::clone(&self.0) as Arc<dyn BlockGetter>
    }

    fn below(&self, _root: &Cid) -> Result<Arc<dyn BlockGetter>, GetBlockError> {
        Ok(self.local())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_never_comes_is_a_timeout_and_too_many_requests_are_told_so() {
    let stuck = Arc::new(Stuck::default());
    let config = Config { requests_max: 1, wait: Duration::from_millis(50), ..Config::default() };
    let router = router(Parts { source: Arc::new(StuckSource(Arc::clone(&stuck))), names: None, config });
    let get = async || {
        let uri = "/ipfs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
        let request = Request::builder().uri(uri).header("host", "127.0.0.1").body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap()
    };
    let first = get().await;
    assert_eq!(first.status(), 504);
    assert!(first.headers().contains_key("retry-after"));
    // The thread of the first request still waits for its block, and counts.
    assert_eq!(get().await.status(), 429);
    assert_eq!(stuck.asked.load(Ordering::SeqCst), 1);
    *stuck.release.0.lock().unwrap() = true;
    stuck.release.1.notify_all();
    // Once it has ended, another request is answered: nobody has the block.
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while get().await.status() != 504 {
        assert!(std::time::Instant::now() < deadline, "the permit is never given back");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_answers_and_stops() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let site = Site::new();
    let file = site.file(b"hello");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(super::super::serve(listener, site.router(), async {
        let _ = stopped.await;
    }));
    for (request, expected) in [
        (
            format!("GET /ipfs/{} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", file.cid),
            "HTTP/1.1 200",
        ),
        (
            format!("GET /ipfs/{} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", file.cid),
            "HTTP/1.1 403",
        ),
        (format!("GET /{} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "x".repeat(100_000)), "HTTP/1.1 4"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A server that refuses a request before it has read it resets the connection.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(expected) || (answer.is_empty() && request.len() > 100_000), "{answer}");
    }
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), task).await.unwrap().unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
