//! The service over HTTP, with peers that have the content.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use hpips_client::FetchOptions;
use hpips_dag::encode_pb;
use hpips_net::Net;
use hpips_store::{PinKind, Store};
use hpips_types::Cid;
use hpips_types::content::{DAG_PB, RAW, cid_v1};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::Server;

/// Longest wait for anything; reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nobody has it.
const ABSENT: &str = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";

fn quick() -> Config {
    Config {
        again_first: Duration::from_millis(20),
        again_max: Duration::from_millis(100),
        fetch: FetchOptions { deadline: Duration::from_millis(300), ..FetchOptions::default() },
        ..Config::default()
    }
}

/// A node with a service.
struct Node {
    folder: tempfile::TempDir,
    store: Store,
    net: Net,
    pinning: Pinning,
    router: Router,
}

/// What came back.
struct Got {
    status: StatusCode,
    body: Bytes,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{:?} is no JSON", self.body))
    }

    /// The word of a refusal, which has a sentence as well.
    fn reason(&self) -> String {
        let json = self.json();
        assert!(!json["error"]["details"].as_str().unwrap().is_empty(), "{json}");
        json["error"]["reason"].as_str().unwrap().to_owned()
    }

    fn accepted(&self) -> Value {
        assert_eq!(self.status, StatusCode::ACCEPTED, "{:?}", self.body);
        self.json()
    }
}

fn parts(store: &Store, net: &Net, repo: &Path) -> Parts {
    Parts { store: store.clone(), net: net.clone(), client: None, repo: repo.to_owned() }
}

impl Node {
    async fn start(seed: u8, config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("blocks"), hpips_store::Config::default()).unwrap();
        let net = Net::start(hpips_net::Config::loopback([seed; 32]), Arc::new(store.clone())).await.unwrap();
        let pinning = Pinning::start(parts(&store, &net, folder.path()), config).unwrap();
        let router = router(pinning.clone());
        Self { folder, store, net, pinning, router }
    }

    /// Stops the service and starts it anew on the same repo.
    async fn restart(&mut self, config: Config) {
        self.pinning.shutdown().await;
        self.pinning = Pinning::start(parts(&self.store, &self.net, self.folder.path()), config).unwrap();
        self.router = router(self.pinning.clone());
    }

    async fn send(&self, method: Method, path: &str, body: impl Into<Body>) -> Got {
        let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        Got { status, body: response.into_body().collect().await.unwrap().to_bytes() }
    }

    async fn get(&self, path: &str) -> Value {
        let got = self.send(Method::GET, path, "").await;
        assert_eq!(got.status, StatusCode::OK, "{path}: {:?}", got.body);
        got.json()
    }

    async fn post(&self, path: &str, pin: &Value) -> Got {
        self.send(Method::POST, path, pin.to_string()).await
    }

    /// Asks for a pin; the request's name.
    async fn ask(&self, pin: &Value) -> String {
        let status = self.post("/pins", pin).await.accepted();
        status["requestid"].as_str().unwrap().to_owned()
    }

    async fn remove(&self, id: &str) {
        let got = self.send(Method::DELETE, &format!("/pins/{id}"), "").await;
        assert_eq!((got.status, got.body.len()), (StatusCode::ACCEPTED, 0), "{:?}", got.body);
    }

    /// Waits until a request stands so.
    async fn until(&self, id: &str, wanted: &str) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = self.get(&format!("/pins/{id}")).await;
            if status["status"] == wanted {
                return status;
            }
            assert!(Instant::now() < end, "not {wanted}: {status}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stores a root with two leaves; the seed makes the content.
    fn have(&self, seed: u8) -> Cid {
        let (root, blocks) = tree(seed);
        self.store.put(blocks).unwrap();
        root
    }

    fn name_of(&self, root: &Cid) -> Option<String> {
        self.store.pin_of(root).filter(|pin| pin.kind == PinKind::Recursive).map(|pin| pin.name)
    }
}

fn tree(seed: u8) -> (Cid, Vec<(Cid, Bytes)>) {
    let mut blocks: Vec<(Cid, Bytes)> = Vec::new();
    for leaf in 0..2 {
        let block = Bytes::from(vec![seed, leaf, 7]);
        blocks.push((cid_v1(RAW, &block), block));
    }
    let root = Bytes::from(encode_pb(blocks.iter().map(|(cid, _)| ("", cid, 3)), &[]));
    let cid = cid_v1(DAG_PB, &root);
    blocks.push((cid, root));
    (cid, blocks)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_life_of_a_request() {
    let (source, node) = (Node::start(1, quick()).await, Node::start(2, quick()).await);
    let root = source.have(1);
    let origins: Vec<String> = source.net.full_addrs().iter().map(ToString::to_string).collect();
    let pin = json!({
        "cid": root.to_string(), "name": "mine", "origins": origins, "meta": { "app": "x" },
    });
    let asked = node.post("/pins", &pin).await.accepted();
    let id = asked["requestid"].as_str().unwrap();
    assert_eq!(asked["pin"], pin);
    let delegate = asked["delegates"][0].as_str().unwrap();
    assert!(delegate.ends_with(&format!("/p2p/{}", node.net.peer_id())), "{delegate}");

    let pinned = node.until(id, "pinned").await;
    assert_eq!((&pinned["requestid"], &pinned["created"]), (&asked["requestid"], &asked["created"]));
    assert!(pinned.get("info").is_none());
    assert_eq!(node.name_of(&root), Some("mine".into()));
    assert!(tree(1).1.iter().all(|(cid, _)| node.store.has(cid).unwrap()));

    let listed =
        node.get(&format!("/pins?cid={root}&name=MIN&match=ipartial&meta=%7B%22app%22:%22x%22%7D")).await;
    assert_eq!(listed, json!({ "count": 1, "results": [pinned] }));
    assert_eq!(node.get("/pins?status=queued,pinning,failed").await, json!({ "count": 0, "results": [] }));
    assert_eq!(node.pinning.counts(), [("queued", 0), ("pinning", 0), ("pinned", 1), ("failed", 0)]);

    node.remove(id).await;
    assert_eq!(node.name_of(&root), None);
    for method in [Method::GET, Method::DELETE] {
        let got = node.send(method, &format!("/pins/{id}"), "").await;
        assert_eq!((got.status, got.reason().as_str()), (StatusCode::NOT_FOUND, "NOT_FOUND"));
    }
    node.pinning.shutdown().await;
    source.pinning.shutdown().await;
}

#[tokio::test]
async fn bad_input_has_the_form_of_the_specification() {
    let node = Node::start(3, Config { requests_max: 1, ..quick() }).await;
    let long = format!(r#"{{"cid":"{ABSENT}","meta":{{"a":"{}"}}}}"#, "x".repeat(64 << 10));
    for (method, path, body, status, reason) in [
        (Method::POST, "/pins", "", 400, "BAD_REQUEST"),
        (Method::POST, "/pins", r#"{"cid":"x"}"#, 400, "BAD_REQUEST"),
        (Method::POST, "/pins", &long, 413, "TOO_LARGE"),
        (Method::GET, "/pins?limit=1001", "", 400, "BAD_REQUEST"),
        (Method::GET, "/pins?cid=x", "", 400, "BAD_REQUEST"),
        (Method::GET, "/pins/none", "", 404, "NOT_FOUND"),
        (Method::GET, "/pins/%ff", "", 404, "NOT_FOUND"),
        (Method::POST, "/pins/none", r#"{"cid":"bafkqaaa"}"#, 404, "NOT_FOUND"),
        (Method::DELETE, "/pins/none", "", 404, "NOT_FOUND"),
        (Method::DELETE, "/pins", "", 405, "METHOD_NOT_ALLOWED"),
    ] {
        let got = node.send(method.clone(), path, body.to_owned()).await;
        assert_eq!((got.status.as_u16(), got.reason().as_str()), (status, reason), "{method} {path}");
    }
    node.ask(&json!({ "cid": ABSENT })).await;
    let got = node.post("/pins", &json!({ "cid": ABSENT })).await;
    assert_eq!((got.status.as_u16(), got.reason().as_str()), (507, "TOO_MANY_PINS"));
    node.pinning.shutdown().await;
}

#[tokio::test]
async fn only_the_token_opens_it() {
    let node = Node::start(4, quick()).await;
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.address();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(server.serve("secret".into(), node.router.clone(), async {
        let _ = stopped.await;
    }));
    let ask = async |headers: &str| {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET /pins HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let host = format!("Host: {address}\r\n");
    for token in ["", "Authorization: Bearer wrong\r\n", "Authorization: secret\r\n"] {
        let answer = ask(&format!("{host}{token}")).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("www-authenticate: bearer"), "{answer}");
        assert!(answer.contains(r#"{"error":{"reason":"UNAUTHORIZED","details":""#), "{answer}");
    }
    let token = format!("{}: Bearer secret\r\n", header::AUTHORIZATION);
    let answer = ask(&format!("Host: evil.example\r\n{token}")).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains(r#""reason":"FORBIDDEN""#), "{answer}");
    let answer = ask(&format!("{host}{token}")).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(r#"{"count":0,"results":[]}"#),
        "{answer}"
    );
    stop.send(()).unwrap();
    task.await.unwrap().unwrap();
    node.pinning.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_requests_and_goes_on() {
    let mut node = Node::start(5, quick()).await;
    let there = node.have(1);
    let done = node.ask(&json!({ "cid": there.to_string(), "name": "done" })).await;
    node.until(&done, "pinned").await;
    let (root, blocks) = tree(2);
    let open = node.ask(&json!({ "cid": root.to_string(), "meta": { "a": "b" } })).await;
    let end = Instant::now() + PATIENCE;
    let before = loop {
        // It was tried in vain, and waits.
        let status = node.get(&format!("/pins/{open}")).await;
        if status["info"]["status_details"].as_str().is_some_and(|text| text.contains("not found")) {
            break status;
        }
        assert!(Instant::now() < end, "{status}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    node.restart(quick()).await;
    assert_eq!(node.get(&format!("/pins/{done}")).await["status"], "pinned");
    let after = node.get(&format!("/pins/{open}")).await;
    for key in ["requestid", "created", "pin"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    node.store.put(blocks).unwrap();
    node.until(&open, "pinned").await;
    node.restart(quick()).await;
    assert_eq!(node.get("/pins").await["count"], 2);
    node.remove(&open).await;
    node.restart(quick()).await;
    assert_eq!(node.get("/pins").await["count"], 1);
    node.pinning.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_replaced_keeps_its_pin_until_the_next_stands() {
    let node = Node::start(6, quick()).await;
    let (old, third) = (node.have(1), node.have(3));
    let (new, blocks) = tree(2);
    let first = node.ask(&json!({ "cid": old.to_string(), "name": "a" })).await;
    node.until(&first, "pinned").await;
    let got = node.post(&format!("/pins/{first}"), &json!({ "cid": new.to_string(), "name": "b" })).await;
    let second = got.accepted()["requestid"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(node.send(Method::GET, &format!("/pins/{first}"), "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(node.name_of(&old), Some("a".into()), "the new one is not here yet");
    node.store.put(blocks).unwrap();
    node.until(&second, "pinned").await;
    assert_eq!((node.name_of(&old), node.name_of(&new)), (None, Some("b".into())));
    // The same root under another name.
    let got = node.post(&format!("/pins/{second}"), &json!({ "cid": new.to_string(), "name": "c" })).await;
    let renamed = got.accepted()["requestid"].as_str().unwrap().to_owned();
    node.until(&renamed, "pinned").await;
    assert_eq!(node.name_of(&new), Some("c".into()));
    // Replaced by what never comes, then by what is here: everything older goes.
    let got = node.post(&format!("/pins/{renamed}"), &json!({ "cid": ABSENT })).await;
    let absent = got.accepted()["requestid"].as_str().unwrap().to_owned();
    assert_eq!(node.name_of(&new), Some("c".into()));
    let got = node.post(&format!("/pins/{absent}"), &json!({ "cid": third.to_string() })).await;
    let last = got.accepted()["requestid"].as_str().unwrap().to_owned();
    node.until(&last, "pinned").await;
    assert_eq!((node.name_of(&new), node.name_of(&third)), (None, Some(String::new())));
    node.remove(&last).await;
    assert!(node.store.pins().is_empty());
    node.pinning.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_by_hand_and_pins_of_others_stay() {
    let node = Node::start(7, quick()).await;
    let (mine, shared) = (node.have(1), node.have(2));
    node.store.pin(&mine, PinKind::Recursive, "by hand").unwrap();
    let id = node.ask(&json!({ "cid": mine.to_string(), "name": "asked" })).await;
    node.until(&id, "pinned").await;
    assert_eq!(node.name_of(&mine), Some("by hand".into()));
    node.remove(&id).await;
    assert_eq!(node.name_of(&mine), Some("by hand".into()));

    let first = node.ask(&json!({ "cid": shared.to_string(), "name": "first" })).await;
    node.until(&first, "pinned").await;
    let second = node.ask(&json!({ "cid": shared.to_string(), "name": "second" })).await;
    node.until(&second, "pinned").await;
    assert_eq!(node.name_of(&shared), Some("second".into()));
    node.remove(&second).await;
    assert_eq!(node.name_of(&shared), Some("first".into()));
    // Whoever takes the pin away by hand is believed.
    node.store.unpin(&shared).unwrap();
    let status = node.until(&first, "failed").await;
    assert!(status["info"]["status_details"].as_str().unwrap().contains("removed"), "{status}");
    node.remove(&first).await;
    node.pinning.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_is_cancelled_or_given_up() {
    let patient = FetchOptions { deadline: PATIENCE * 10, ..FetchOptions::default() };
    let mut node = Node::start(8, Config { fetch: patient, at_once: 1, ..quick() }).await;
    let id = node.ask(&json!({ "cid": ABSENT })).await;
    node.until(&id, "pinning").await;
    let root = node.have(1);
    let next = node.ask(&json!({ "cid": root.to_string() })).await;
    assert_eq!(node.get(&format!("/pins/{next}")).await["status"], "queued", "one at a time");
    node.remove(&id).await;
    node.until(&next, "pinned").await;
    // Shutting down does not wait for what nobody has.
    let id = node.ask(&json!({ "cid": ABSENT })).await;
    node.until(&id, "pinning").await;
    let stopping = tokio::time::timeout(PATIENCE, node.restart(Config { search: Duration::ZERO, ..quick() }));
    stopping.await.expect("it stops");
    let status = node.until(&id, "failed").await;
    assert!(status["info"]["status_details"].as_str().unwrap().contains("not found"), "{status}");
    assert_eq!(node.get("/pins?status=failed").await["count"], 1);
    node.restart(quick()).await;
    assert_eq!(node.get(&format!("/pins/{id}")).await["status"], "failed");
    node.pinning.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_by_date() {
    let node = Node::start(9, quick()).await;
    let root = node.have(1);
    let mut ids = Vec::new();
    for _ in 0..25 {
        ids.push(node.ask(&json!({ "cid": root.to_string() })).await);
    }
    let (mut before, mut found, mut counts) = (String::new(), Vec::new(), Vec::new());
    loop {
        let page = node.get(&format!("/pins?status=queued,pinning,pinned{before}")).await;
        counts.push(page["count"].as_u64().unwrap());
        let results = page["results"].as_array().unwrap();
        found.extend(results.iter().map(|status| status["requestid"].as_str().unwrap().to_owned()));
        if results.len() < 10 {
            break;
        }
        before = format!("&before={}", results[9]["created"].as_str().unwrap());
    }
    ids.reverse();
    assert_eq!((found, counts), (ids, vec![25, 15, 5]));
    node.pinning.shutdown().await;
}
