//! The commands on a store in a temporary folder, called in process.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use bytes::Bytes;
use hpips_store::Store;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;
use zeroize::Zeroizing;

use super::*;
use crate::names::Names;
use crate::names::tests::Unsaved;
use crate::routing::Routers;

struct NoSettings;

impl Settings for NoSettings {
    fn show(&self) -> Result<Value, SettingsError> {
        Ok(json!({}))
    }

    fn get(&self, key: &str) -> Result<Value, SettingsError> {
        Err(SettingsError::Unknown { key: key.to_owned(), near: None })
    }

    fn set(&self, key: &str, _value: Value) -> Result<(), SettingsError> {
        Err(SettingsError::Unknown { key: key.to_owned(), near: None })
    }

    fn replace(&self, _all: Value) -> Result<(), SettingsError> {
        Ok(())
    }

    fn apply_profile(&self, _name: &str, _dry_run: bool) -> Result<(Value, Value), SettingsError> {
        Ok((json!({}), json!({})))
    }

    fn storage_max(&self) -> u64 {
        u64::MAX
    }
}

struct NoKeys;

impl Keys for NoKeys {
    fn list(&self) -> Result<Vec<NamedKey>, KeyError> {
        Ok(Vec::new())
    }

    fn add(&self, name: &str, _seed: Option<Zeroizing<[u8; 32]>>) -> Result<NamedKey, KeyError> {
        Err(KeyError::Name(name.to_owned()))
    }

    fn rename(&self, from: &str, _to: &str, _force: bool) -> Result<(NamedKey, bool), KeyError> {
        Err(KeyError::Missing(from.to_owned()))
    }

    fn remove(&self, name: &str) -> Result<NamedKey, KeyError> {
        Err(KeyError::Missing(name.to_owned()))
    }

    fn seed(&self, name: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        Err(KeyError::Missing(name.to_owned()))
    }
}

/// An offline node.
struct Node {
    _folder: tempfile::TempDir,
    router: Router,
}

/// What came back.
struct Got {
    status: StatusCode,
    body: Bytes,
    /// The failure told after the body.
    late: Option<String>,
}

impl Got {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn values(&self) -> Vec<Value> {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        assert_eq!(self.late, None);
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn value(&self) -> Value {
        self.values().pop().unwrap()
    }

    fn message(&self) -> String {
        assert_ne!(self.status, StatusCode::OK, "{}", self.text());
        match serde_json::from_slice::<Value>(&self.body) {
            Ok(value) => value["Message"].as_str().unwrap().to_owned(),
            Err(_) => self.text(),
        }
    }
}

impl Node {
    fn new() -> Self {
        Self::with(in_process)
    }

    /// A node that callers reach over the network, without showing the token.
    fn open() -> Self {
        Self::with(|router| router)
    }

    fn with(reach: fn(Router) -> Router) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), hpips_store::Config::default()).unwrap();
        let state = State::new(Parts {
            store,
            identity: Identity { peer_id: "me".into(), public_key: vec![1], account: "00".into() },
            settings: Arc::new(NoSettings),
            keys: Arc::new(NoKeys),
            names: Names::new(Arc::new(Unsaved::default()), Routers::none()),
            repo: folder.path().to_owned(),
            online: None,
        });
        Self { _folder: folder, router: reach(router(state)) }
    }

    async fn send(&self, request: Request<Body>) -> Got {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap();
        let late = body.trailers().and_then(|trailers| trailers.get("x-stream-error"));
        let late = late.map(|text| text.to_str().unwrap().to_owned());
        Got { status, late, body: body.to_bytes() }
    }

    async fn call(&self, command: &str) -> Got {
        let request = Request::builder().method(Method::POST).uri(format!("{PREFIX}/{command}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn upload(&self, command: &str, parts: &[(&str, &str, &[u8])]) -> Got {
        let mut body = Vec::new();
        for (name, media, content) in parts {
            body.extend_from_slice(
                format!(
                    "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
                     Content-Type: {media}\r\n\r\n"
                )
                .as_bytes(),
            );
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--XX--\r\n");
        let request = Request::builder().method(Method::POST).uri(format!("{PREFIX}/{command}"));
        let request = request.header("content-type", "multipart/form-data; boundary=XX");
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    /// A folder `t` with a file, a folder and a link, as version 0; returns its CID.
    async fn tree(&self) -> String {
        let parts: &[(&str, &str, &[u8])] = &[
            ("t", "application/x-directory", b""),
            ("t%2Fa", "application/octet-stream", b"hello\n"),
            ("t%2Fd%2Fb", "application/octet-stream", b"x\n"),
            ("t%2Fl", "application/symlink", b"a"),
        ];
        let added = self.upload("add?cid-version=0", parts).await.values();
        let names: Vec<_> = added.iter().map(|one| one["Name"].as_str().unwrap()).collect();
        assert_eq!(names, ["t/a", "t/d/b", "t/l", "t/d", "t"]);
        added.last().unwrap()["Hash"].as_str().unwrap().to_owned()
    }
}

/// What Kubo 0.43 gives for the same folder.
const TREE: &str = "QmV5ppn6DwVWawCUKxHrEbvHRrjjR1bGbF3tgtpPYM6ZsV";

#[tokio::test]
async fn only_posts_to_known_commands_with_their_arguments() {
    let node = Node::new();
    let get = Request::builder().uri("/api/v0/version").body(Body::empty()).unwrap();
    assert_eq!(node.send(get).await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(node.call("bogus").await.status, StatusCode::NOT_FOUND);
    for (command, words) in [
        ("cat", "argument \"ipfs-path\" is required"),
        ("block/get", "argument \"cid\" is required"),
        ("cat?arg=bogus", "invalid path \"bogus\""),
        ("cat?arg=/ipns/x", "no name of a key"),
        ("cat?arg=/ipns/docs.ipfs.tech/x", "DNSLink"),
        ("name/publish?arg=/ipfs/bafkqaaa", "hpips daemon"),
        ("name/publish?arg=/ipfs/bafkqaaa&allow-offline=true&ttl=3h&lifetime=1h", "must not be greater"),
        ("routing/findprovs?arg=bafkqaaa", "hpips daemon"),
        (
            "ls?arg=bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e&size=maybe",
            "could not convert",
        ),
        (
            "block/get?arg=bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
            "could not find bafkrei",
        ),
        ("swarm/peers", "online mode"),
        ("shutdown", "online mode"),
        ("add", "file argument 'path' is required"),
        ("pin/ls?type=bogus", "invalid type 'bogus'"),
    ] {
        let got = node.call(command).await;
        assert!(got.message().contains(words), "{command}: {}", got.message());
    }
    assert_eq!(node.call("version").await.value()["Repo"], "1");
    assert_eq!(node.call("commands").await.value()["Name"], "hpips");
}

#[tokio::test]
async fn a_tree_is_added_and_read_as_with_kubo() {
    let node = Node::new();
    assert_eq!(node.tree().await, TREE);
    let entries = node.call(&format!("ls?arg={TREE}")).await.value();
    let links = entries["Objects"][0]["Links"].as_array().unwrap();
    let seen: Vec<_> =
        links.iter().map(|link| (link["Name"].clone(), link["Type"].clone(), link["Size"].clone())).collect();
    assert_eq!(
        seen,
        [
            (json!("a"), json!(2), json!(6)),
            (json!("d"), json!(1), json!(0)),
            (json!("l"), json!(4), json!(1))
        ]
    );
    assert_eq!(node.call(&format!("ls?arg={TREE}&stream=true")).await.values().len(), 3);
    assert_eq!(
        node.call(&format!("cat?arg={TREE}/a&arg={TREE}/d/b&offset=2&length=5")).await.text(),
        "llo\nx"
    );
    assert_eq!(node.call(&format!("cat?arg={TREE}/l")).await.text(), "a");
    assert_eq!(node.call(&format!("cat?arg={TREE}")).await.message(), "this dag node is a directory");
    let missing = node.call(&format!("cat?arg={TREE}/nope")).await.message();
    assert!(missing.starts_with("no link named \"nope\" under"), "{missing}");
    let refs = node.call(&format!("refs?arg={TREE}&recursive=true")).await.values();
    assert_eq!(refs.len(), 4);
    assert_eq!(refs[2]["Ref"], "QmUNXr47Bja3aHUMfhXX5mMWTFJKuoUGETcA48vHG7dhag");
    let resolved = node.call(&format!("resolve?arg={TREE}/d/b")).await.value();
    assert_eq!(resolved["Path"], "/ipfs/QmUNXr47Bja3aHUMfhXX5mMWTFJKuoUGETcA48vHG7dhag");
    let dag = node.call(&format!("dag/get?arg={TREE}")).await.text();
    assert!(dag.starts_with("{\"Data\":{\"/\":{\"bytes\":\"CAE\"}},\"Links\":[{\"Hash\":"), "{dag}");
    let stat = node.call(&format!("dag/stat?arg={TREE}&progress=false")).await.value();
    assert_eq!((&stat["UniqueBlocks"], &stat["TotalSize"]), (&json!(5), &json!(211)));
    let tar = node.call(&format!("get?arg={TREE}")).await.body;
    assert_eq!(tar.len() % 512, 0);
    assert!(tar.windows(6).any(|window| window == b"hello\n"));
}

#[tokio::test]
async fn pins_keep_and_what_nothing_keeps_is_collected() {
    let node = Node::new();
    let root = node.tree().await;
    let pins = node.call("pin/ls?type=recursive").await.value();
    assert_eq!(pins["Keys"][&root]["Type"], "recursive");
    let below = node.call(&format!("pin/ls?arg={root}/d")).await.value();
    assert_eq!(
        below["Keys"].as_object().unwrap().values().next().unwrap()["Type"],
        format!("indirect through {root}")
    );
    let refused = node.call(&format!("block/rm?arg={root}")).await.value();
    assert_eq!(refused["Error"], "pinned: recursive");
    assert_eq!(node.call("pin/verify?verbose=true").await.value()["Ok"], true);
    assert_eq!(node.call(&format!("pin/rm?arg={root}/a")).await.message(), "not pinned or pinned indirectly");
    let direct = node.call(&format!("pin/rm?arg={root}&recursive=false")).await.message();
    assert_eq!(direct, format!("{root} is pinned recursively"));
    assert_eq!(node.call("repo/gc").await.values().len(), 0);
    assert_eq!(
        node.call(&format!("pin/add?arg={root}/d&name=d")).await.value()["Pins"].as_array().unwrap().len(),
        1
    );
    assert_eq!(node.call(&format!("pin/rm?arg={root}")).await.value()["Pins"][0], root);
    assert_eq!(node.call("repo/gc").await.values().len(), 3);
    assert_eq!(node.call("refs/local").await.values().len(), 2);
    assert_eq!(node.call("repo/stat").await.value()["NumObjects"], 2);
    let verified = node.call("repo/verify").await.value();
    assert_eq!(verified["Msg"], "verify complete, all blocks validated.");
}

#[tokio::test]
async fn blocks_and_documents_and_cars() {
    let node = Node::new();
    let put = node.upload("block/put", &[("", "", b"hello world")]).await.value();
    assert_eq!(put["Key"], "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
    assert_eq!(
        node.call(&format!("block/get?arg={}", put["Key"].as_str().unwrap())).await.text(),
        "hello world"
    );
    let put = node.upload("dag/put", &[("", "", b"{\"a\":{\"b\":1}}\n")]).await.value();
    // Kubo's CID of the same document.
    assert_eq!(put["Cid"]["/"], "bafyreiboeqgxflpn5fd4cz2lwnetxndpklej2keuhzlsdz55mgnj6f4uhu");
    let cid = put["Cid"]["/"].as_str().unwrap();
    assert_eq!(node.call(&format!("dag/get?arg={cid}/a")).await.text(), "{\"b\":1}");
    let resolved = node.call(&format!("dag/resolve?arg={cid}/a/b")).await.value();
    assert_eq!(resolved["RemPath"], "a/b");
    assert!(node.call(&format!("dag/get?arg={cid}/x")).await.message().contains("no link named"));

    let root = node.tree().await;
    let car = node.call(&format!("dag/export?arg={root}")).await.body;
    let other = Node::new();
    let imported = other.upload("dag/import?stats=true", &[("x.car", "", &car)]).await.values();
    assert_eq!(imported[0]["Root"]["Cid"]["/"], root);
    assert_eq!(imported[1]["Stats"]["BlockCount"], 5);
    assert_eq!(other.call(&format!("cat?arg={root}/a")).await.text(), "hello\n");
    let cut = other.upload("dag/import", &[("x.car", "", &car[..car.len() - 1])]).await;
    assert!(cut.message().contains("too early"), "{}", cut.message());
    let mut damaged = car.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(
        other.upload("dag/import", &[("x.car", "", &damaged)]).await.message().contains("does not match")
    );
}

#[tokio::test]
async fn hostile_names_are_refused() {
    let node = Node::new();
    for name in ["..%2Fx", "a%2F..%2F..%2Fb", "a%00b", "."] {
        assert_eq!(node.upload("add", &[(name, "", b"x")]).await.status, StatusCode::BAD_REQUEST, "{name}");
    }
    let twice = node.upload("add?wrap-with-directory=true", &[("a", "", b"x"), ("a", "", b"y")]).await;
    assert!(
        twice.late.unwrap_or_else(|| String::from_utf8_lossy(&twice.body).into_owned()).contains("twice")
    );
    assert_eq!(node.call("pin/ls").await.value()["Keys"], json!({}));
}

#[tokio::test]
async fn each_thing_that_is_named_is_added_on_its_own() {
    let node = Node::new();
    let (folder, file) = ("application/x-directory", "application/octet-stream");
    let parts: &[(&str, &str, &[u8])] = &[
        ("z", folder, b""),
        ("z%2Fa+b%2B", file, b"x"),
        ("", file, b"y"),
        ("", file, b"y"),
        ("z", folder, b""),
        ("b", file, b"x"),
        ("c%2Fd", file, b"x"),
    ];
    let added = node.upload("add", parts).await.values();
    let cid = added[2]["Hash"].as_str().unwrap();
    let names: Vec<_> = added.iter().map(|one| one["Name"].as_str().unwrap()).collect();
    assert_eq!(names, ["z/a b+", "z", cid, cid, "z", "b", "c/d", "c"]);
    assert_ne!(added[1]["Hash"], added[4]["Hash"], "the second is empty");
    let pins = node.call("pin/ls?type=recursive").await.value();
    assert_eq!(pins["Keys"].as_object().unwrap().len(), 5);
}

#[tokio::test]
async fn modes_and_times_of_parts_are_kept_only_on_demand() {
    let node = Node::new();
    let body = |mode: &str| {
        format!(
            "--XX\r\nContent-Disposition: form-data; name=\"file?mode={mode}&mtime=1&mtime-nsecs=2\"; \
             filename=\"d\"\r\nContent-Type: application/x-directory\r\n\r\n\r\n--XX--\r\n"
        )
    };
    for (query, mode, kept) in [
        ("", "020000000755", json!(null)),
        ("preserve-mode=true", "020000000755", json!("0755")),
        ("preserve-mode=true", "04000755", json!("1755")),
        ("preserve-mode=true", "04755", json!("4755")),
        ("preserve-mode=true", "bogus", json!(null)),
        ("mode=0700", "0755", json!("0700")),
    ] {
        let request = Request::builder().method(Method::POST).uri(format!("{PREFIX}/add?{query}"));
        let request = request.header("content-type", "multipart/form-data; boundary=XX");
        let added = node.send(request.body(Body::from(body(mode))).unwrap()).await.value();
        let cid = added["Hash"].as_str().unwrap();
        let stat = node.call(&format!("files/stat?arg=/ipfs/{cid}")).await.value();
        assert_eq!(stat["Mode"], kept, "{query} {mode}");
        assert_eq!(stat["Mtime"], json!(null), "{query} {mode}");
    }
}

#[tokio::test]
async fn a_copy_that_replaces_needs_its_source_first() {
    let node = Node::new();
    let root = node.tree().await;
    assert_eq!(node.call(&format!("files/cp?arg=/ipfs/{root}/a&arg=/a")).await.status, StatusCode::OK);
    let absent = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
    for source in [format!("/ipfs/{absent}"), format!("/ipfs/{root}/nothing"), "/nothing".into()] {
        node.call(&format!("files/cp?arg={source}&arg=/a&force=true")).await.message();
        assert_eq!(node.call("files/read?arg=/a").await.text(), "hello\n", "{source}");
    }
    assert_eq!(node.call("files/cp?arg=/a&arg=/a&force=true").await.status, StatusCode::OK);
    assert_eq!(
        node.call(&format!("files/cp?arg=/ipfs/{root}/d/b&arg=/a&force=true")).await.status,
        StatusCode::OK
    );
    assert_eq!(node.call("files/read?arg=/a").await.text(), "x\n");
    let stat = node.call(&format!("files/stat?arg=/ipfs/{root}/d")).await.value();
    assert_eq!(stat["Type"], "directory");
}

#[tokio::test]
async fn who_may_call_is_changed_by_the_owner_only() {
    let node = Node::open();
    for command in [
        "config?arg=Hpips.ApiTokenRequired&arg=false&bool=true",
        "config?arg=Hpips&arg={}&json=true",
        "config/profile/apply?arg=test",
        "config/replace",
    ] {
        assert_eq!(node.call(command).await.status, StatusCode::FORBIDDEN, "{command}");
    }
    for command in ["config?arg=Hpips.AskNano", "config?arg=Import.Profile&arg=x", "config/show"] {
        assert_ne!(node.call(command).await.status, StatusCode::FORBIDDEN, "{command}");
    }
}

#[tokio::test]
async fn arguments_come_in_the_body_too() {
    let node = Node::new();
    let root = node.tree().await;
    let lines = format!("{root}/a\n\n{root}/d/b\n");
    assert_eq!(node.upload("cat", &[("", "", lines.as_bytes())]).await.text(), "hello\nx\n");
    let removed = node.upload("pin/rm", &[("", "", root.as_bytes())]).await.value();
    assert_eq!(removed["Pins"][0], root);
    assert!(node.upload("cat", &[]).await.message().contains("is required"));
}
