//! Paths below `/ipns`, and `/routing/v1`.

use std::time::Duration;

use axum::body::Body;
use hpips_ipns::{Content, Form, Moment, Name, Record};

use super::support::Site;
use crate::routing::now;

const RECORD: &str = "application/vnd.ipfs.ipns-record";

fn record(seed: u8, value: String, validity: Moment) -> (Name, Record) {
    let content = Content { value, validity, sequence: 3, ttl_nanoseconds: 90_000_000_000 };
    (Name::of_seed(&[seed; 32]), Record::create(&[seed; 32], &content, Form::V1AndV2).unwrap())
}

/// A site whose names point at a directory, at a file in it, and at another name.
async fn site() -> (Site, Vec<Name>, String) {
    let site = Site::new();
    let file = site.file(b"hello by name");
    let inner = site.directory(&[("index.html", file), ("a", file)]);
    let root = site.directory(&[("d", inner), ("hello", file)]);
    let validity = now().after(Duration::from_secs(3600));
    let (first, _) = record(1, String::new() + "/", validity);
    let mut names = Vec::new();
    for (seed, value) in [
        (1, format!("/ipfs/{}", root.cid)),
        (2, format!("/ipfs/{}/d", root.cid)),
        (3, format!("/ipns/{first}/hello")),
        (4, "/nowhere".into()),
    ] {
        let (name, record) = record(seed, value, validity);
        site.names.take(name, &record, false, None).await.unwrap();
        names.push(name);
    }
    (site, names, root.cid.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_lead_to_what_they_stand_for() {
    let (site, names, root) = site().await;
    let [first, second, third, fourth] = names[..] else { panic!("four names") };
    let unknown = Name::of_seed(&[99; 32]);
    for (path, status, body) in [
        (format!("/ipns/{first}/hello"), 200, "hello by name"),
        (format!("/ipns/{}/hello", first.peer_id()), 200, "hello by name"),
        (format!("/ipns/{second}/a"), 200, "hello by name"),
        (format!("/ipns/{second}/"), 200, "hello by name"),
        (format!("/ipns/{third}"), 200, "hello by name"),
        (format!("/ipns/{first}/nothing"), 404, "nothing"),
        (format!("/ipns/{fourth}"), 502, "/nowhere"),
        (format!("/ipns/{unknown}"), 404, "nobody that was asked"),
        ("/ipns/docs.ipfs.tech/".into(), 501, "DNSLink"),
        (format!("/ipns/{first}?format=car"), 200, ""),
        (format!("/ipns/{first}/hello?format=raw"), 200, "hello by name"),
        (format!("/ipns/{first}/hello?format=ipns-record"), 400, "without a path"),
    ] {
        let answer = site.get(&path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(body), "{path}: {}", answer.text());
        if status == 200 {
            let max_age = answer.header("cache-control").strip_prefix("public, max-age=").unwrap_or_default();
            assert!((80..=90).contains(&max_age.parse::<u32>().unwrap()), "{path}: {max_age}");
            assert!(answer.header("x-ipfs-path").starts_with("/ipns/"), "{path}");
        }
    }
    let answer = site.get(&format!("/ipns/{first}/hello")).await;
    assert_eq!(answer.header("ipfs-uri"), format!("ipns://{first}/hello"));
    assert!(answer.header("x-ipfs-roots").starts_with(&root));
    let listing = site.get(&format!("/ipns/{first}/")).await.text();
    assert!(listing.contains(&format!("/ipns/<a href=\"/ipns/{first}\">{first}</a>")), "{listing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_have_origins_of_their_own() {
    let (site, names, _) = site().await;
    let first = names[0];
    let answer = site
        .send("GET", &format!("/ipns/{}/hello?x=1", first.peer_id()), &[("host", "localhost:8080")])
        .await;
    let own = format!("http://{first}.ipns.localhost:8080/hello?x=1");
    assert_eq!((answer.status, answer.header("location")), (301, own.as_str()));
    let host = format!("{first}.ipns.localhost:8080");
    let answer = site.send("GET", "/hello", &[("host", &host)]).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello by name"));
    let host = format!("{}.ipns.localhost:8080", first.cid());
    let answer = site.send("GET", "/hello", &[("host", &host)]).await;
    assert_eq!((answer.status, answer.header("location")), (301, own.trim_end_matches("?x=1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_had_as_they_are() {
    let (site, names, _) = site().await;
    let path = format!("/ipns/{}?format=ipns-record", names[0]);
    let answer = site.get(&path).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, RECORD));
    Record::decode(&answer.body).unwrap().verify(&names[0], now()).unwrap();
    let etag = answer.header("etag").to_owned();
    let again = site.send("GET", &path, &[("if-none-match", &etag)]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let head = site.send("HEAD", &path, &[]).await;
    assert_eq!((head.body.len(), head.header("content-length")), (0, answer.body.len().to_string().as_str()));
    let by_router =
        site.send("GET", &format!("/routing/v1/ipns/{}", names[0].cid()), &[("accept", RECORD)]).await;
    assert_eq!((by_router.status, &by_router.body), (200, &answer.body));
    assert_eq!(by_router.header("etag"), etag);
}

#[tokio::test(flavor = "multi_thread")]
async fn routers_ask_and_tell() {
    let (site, names, root) = site().await;
    let unknown = Name::of_seed(&[99; 32]);
    for (path, accept, status) in [
        (format!("/routing/v1/providers/{root}"), "application/json", 200),
        (format!("/routing/v1/providers/{root}"), "application/x-ndjson", 200),
        ("/routing/v1/providers/nonsense".into(), "application/json", 422),
        ("/routing/v1/peers/nonsense".into(), "application/json", 422),
        (format!("/routing/v1/peers/{unknown}"), "application/json", 200),
        (format!("/routing/v1/ipns/{}", names[0]), "application/json", 406),
        (format!("/routing/v1/ipns/{unknown}"), RECORD, 404),
        ("/routing/v1/ipns/nonsense".into(), RECORD, 400),
        ("/routing/v1/other/x".into(), "application/json", 400),
    ] {
        let answer = site.send("GET", &path, &[("accept", accept)]).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        if status == 200 {
            // That nobody is known is an answer, which may be otherwise soon.
            let body = match (path.contains("providers"), accept) {
                (_, "application/x-ndjson") => "",
                (true, _) => "{\"Providers\":[]}",
                (false, _) => "{\"Peers\":[]}",
            };
            assert_eq!((answer.text().as_str(), answer.header("content-type")), (body, accept), "{path}");
            assert!(answer.header("cache-control").starts_with("public, max-age=15,"), "{path}");
        }
    }
    assert_eq!(site.send("PUT", "/routing/v1/providers/x", &[]).await.status, 501);
    let (name, good) = record(50, "/ipfs/bafkqaaa".into(), now().after(Duration::from_secs(60)));
    let (_, ended) = record(50, "/ipfs/bafkqaaa".into(), now());
    let path = format!("/routing/v1/ipns/{name}");
    let put = |record: &Record, path: String, headers: Vec<(&'static str, &'static str)>| {
        let (site, body) = (&site, Body::from(record.bytes().to_vec()));
        async move { site.send_body("PUT", &path, &headers, body).await.status }
    };
    let kind = ("content-type", RECORD);
    assert_eq!(put(&good, path.clone(), vec![("content-type", "text/plain")]).await, 406);
    assert_eq!(put(&good, path.clone(), vec![kind, ("origin", "http://evil.example")]).await, 403);
    assert_eq!(put(&good, path.clone(), vec![kind, ("host", "evil.example")]).await, 403);
    assert_eq!(put(&ended, path.clone(), vec![kind]).await, 400);
    assert_eq!(put(&good, format!("/routing/v1/ipns/{unknown}"), vec![kind]).await, 400);
    assert_eq!(put(&good, path.clone(), vec![kind]).await, 200);
    assert_eq!(site.send("GET", &path, &[("accept", RECORD)]).await.status, 200);
    let mut closed = Site::new();
    closed.config.routing = false;
    assert_eq!(closed.get("/routing/v1/providers/bafkqaaa").await.status, 404);
}
