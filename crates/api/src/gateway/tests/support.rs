//! A gateway over a temporary store, and requests in one line.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use cid::Cid;
use hpips_dag::{Block, DirectoryBuilder, FileBuilder, Node, Profile, encode_pb, symlink};
use hpips_store::Store;
use hpips_types::content::{DAG_PB, cid_v1};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::super::{Config, Local, Parts, router};
use crate::names::Names;
use crate::names::tests::Unsaved;
use crate::routing::Routers;

/// A store with what a test puts in, and a gateway on it.
pub(super) struct Site {
    _folder: tempfile::TempDir,
    pub(super) store: Store,
    pub(super) names: Names,
    pub(super) config: Config,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// What of the body arrived.
    pub(super) body: Bytes,
    /// Whether the body ended as it should.
    pub(super) is_whole: bool,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Site {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), hpips_store::Config::default()).unwrap();
        let names = Names::new(Arc::new(Unsaved::default()), Routers::none());
        Self { _folder: folder, store, names, config: Config::default() }
    }

    pub(super) fn router(&self) -> Router {
        let source = Arc::new(Local::new(self.store.clone()));
        router(Parts { source, names: Some(self.names.clone()), config: self.config.clone() })
    }

    fn keep(&self, blocks: Vec<Block>) {
        self.store.put(blocks.into_iter().map(|block| (block.cid, block.bytes)).collect()).unwrap();
    }

    pub(super) fn file(&self, bytes: &[u8]) -> Node {
        let mut blocks = Vec::new();
        let mut file = FileBuilder::new(Profile::unixfs_v1_2025());
        file.push(bytes, &mut blocks);
        let node = file.finish(&mut blocks);
        self.keep(blocks);
        node
    }

    pub(super) fn directory(&self, entries: &[(&str, Node)]) -> Node {
        let mut blocks = Vec::new();
        let mut directory = DirectoryBuilder::new(Profile::unixfs_v1_2025());
        for (name, node) in entries {
            directory.add(name, *node).unwrap();
        }
        let node = directory.finish(&mut blocks).unwrap();
        self.keep(blocks);
        node
    }

    pub(super) fn symlink(&self, target: &str) -> Node {
        let (block, node) = symlink(&Profile::unixfs_v1_2025(), target);
        self.keep(vec![block]);
        node
    }

    /// A dag-pb node with this UnixFS data and these links, whatever they say.
    pub(super) fn node(&self, data: &[u8], links: &[(&str, Cid)]) -> Node {
        let links: Vec<_> = links.iter().map(|(name, cid)| (*name, cid, 1)).collect();
        self.block(DAG_PB, &encode_pb(links, data))
    }

    pub(super) fn block(&self, codec: u64, bytes: &[u8]) -> Node {
        let cid = cid_v1(codec, bytes);
        self.store.put(vec![(cid, Bytes::copy_from_slice(bytes))]).unwrap();
        Node { cid, tsize: 1, file_bytes: 0 }
    }

    /// Sends a request; `host` is 127.0.0.1 unless a header says otherwise.
    pub(super) async fn send(&self, method: &str, uri: &str, headers: &[(&str, &str)]) -> Answer {
        self.send_body(method, uri, headers, Body::empty()).await
    }

    /// As [`Self::send`] with a body.
    pub(super) async fn send_body(
        &self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "127.0.0.1:8080");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router().oneshot(request.body(body).unwrap()).await.unwrap();
        let (parts, mut body) = response.into_parts();
        let (mut bytes, mut is_whole) = (Vec::new(), true);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => is_whole = false,
            }
        }
        Answer { status: parts.status.as_u16(), headers: parts.headers, body: bytes.into(), is_whole }
    }

    pub(super) async fn get(&self, uri: &str) -> Answer {
        self.send("GET", uri, &[]).await
    }
}

/// What a case expects: status, headers that must contain a text, and the body.
pub(super) struct Case<'a> {
    pub(super) uri: String,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) status: u16,
    pub(super) expected: Vec<(&'a str, String)>,
    pub(super) body: Option<&'a [u8]>,
}

impl Site {
    /// Checks cases, each with GET and with HEAD, whose headers must be the same.
    pub(super) async fn check(&self, cases: Vec<Case<'_>>) {
        for case in cases {
            let what = format!("{} {:?}", case.uri, case.headers);
            let got = self.send("GET", &case.uri, case.headers).await;
            assert_eq!(got.status, case.status, "{what}: {}", got.text());
            for (name, value) in &case.expected {
                let found = got.header(name);
                assert!(
                    found.contains(value.as_str()) && (!value.is_empty() || found.is_empty()),
                    "{what}: {name}: {found}"
                );
            }
            if let Some(body) = case.body {
                assert!(got.body == body && got.is_whole, "{what}: {}", got.text());
            }
            let head = self.send("HEAD", &case.uri, case.headers).await;
            assert_eq!(head.status, case.status, "HEAD {what}");
            assert!(head.body.is_empty(), "HEAD {what}");
            if StatusCode::from_u16(case.status).unwrap().is_success() {
                for name in ["content-type", "etag", "content-length", "x-ipfs-roots", "cache-control"] {
                    assert_eq!(head.header(name), got.header(name), "HEAD {what}: {name}");
                }
            }
        }
    }
}
