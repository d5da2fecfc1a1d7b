//! Blocks, CARs and tars.

use cid::Cid;
use hpips_dag::Node;
use hpips_types::content::verify_block;

use super::support::Site;

/// The CIDs of a CAR's blocks, each checked; `None` when it is no whole CAR.
fn car(bytes: &[u8]) -> Option<Vec<Cid>> {
    let mut rest = bytes;
    let header = varint(&mut rest)?;
    rest = rest.get(header..)?;
    let mut cids = Vec::new();
    while !rest.is_empty() {
        let len = varint(&mut rest)?;
        let mut section = rest.get(..len)?;
        rest = &rest[len..];
        let cid = Cid::read_bytes(&mut section).ok()?;
        verify_block(&cid, section).ok()?;
        cids.push(cid);
    }
    Some(cids)
}

fn varint(rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for shift in (0..28).step_by(7) {
        let (first, after) = rest.split_first()?;
        *rest = after;
        value |= usize::from(first & 0x7f) << shift;
        if *first < 0x80 {
            return Some(value);
        }
    }
    None
}

/// A directory with a directory with a small file, twice, and one of three chunks.
fn fill(site: &Site) -> (Node, Node, Node, Node, Vec<Cid>) {
    let chunks: Vec<Vec<u8>> = (0..3u8).map(|byte| vec![byte; 1 << 20]).collect();
    let small = site.file(b"small");
    let big = site.file(&chunks.concat());
    let sub = site.directory(&[("a", small), ("b", small), ("big", big)]);
    let root = site.directory(&[("sub", sub)]);
    (root, sub, small, big, chunks.iter().map(|chunk| site.file(chunk).cid).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn cars_hold_the_path_and_what_was_asked_for() {
    let site = Site::new();
    let (root, sub, small, big, chunks) = fill(&site);
    let (r, s, a, b) = (root.cid, sub.cid, small.cid, big.cid);
    let all = vec![r, s, a, b, chunks[0], chunks[1], chunks[2]];
    for (path, expected) in [
        (format!("{r}?format=car"), all.clone()),
        (format!("{r}?format=car&car-dups=y"), vec![r, s, a, a, b, chunks[0], chunks[1], chunks[2]]),
        (format!("{r}?format=car&dag-scope=block"), vec![r]),
        (format!("{r}?format=car&dag-scope=entity"), vec![r]),
        (format!("{r}/sub?format=car&dag-scope=all&car-order=unk"), all.clone()),
        (format!("{r}/sub/a?format=car"), vec![r, s, a]),
        (format!("{r}/sub/big?format=car&dag-scope=block"), vec![r, s, b]),
        (format!("{r}/sub/big?format=car&dag-scope=entity"), vec![r, s, b, chunks[0], chunks[1], chunks[2]]),
        (format!("{r}/sub/big?format=car&entity-bytes=0:0"), vec![r, s, b, chunks[0]]),
        (format!("{r}/sub/big?format=car&entity-bytes=1048576:2097151"), vec![r, s, b, chunks[1]]),
        (
            format!("{r}/sub/big?format=car&entity-bytes=1048575:-1048576"),
            vec![r, s, b, chunks[0], chunks[1], chunks[2]],
        ),
        (format!("{r}/sub/big?format=car&entity-bytes=-1:*"), vec![r, s, b, chunks[2]]),
        (format!("{r}/sub/big?format=car&entity-bytes=9999999:*"), vec![r, s, b]),
        // What proves that the name is missing.
        (format!("{r}/sub/nothing?format=car"), vec![r, s]),
        ("bafkqaaa?format=car".to_owned(), vec![]),
    ] {
        let answer = site.get(&format!("/ipfs/{path}")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(car(&answer.body), Some(expected), "{path}");
        assert!(
            answer.header("content-type").starts_with("application/vnd.ipld.car; version=1; order="),
            "{path}"
        );
        let etag = answer.header("etag").to_owned();
        assert!(etag.starts_with("W/\""), "{path}: {etag}");
        let again = site.send("GET", &format!("/ipfs/{path}"), &[("if-none-match", &etag)]).await;
        assert_eq!(again.status, 304, "{path}");
    }
    for (path, status) in [
        ("?format=car&dag-scope=some", 400),
        ("?format=car&entity-bytes=5:2", 400),
        ("?format=car&car-version=2", 400),
        ("?format=car&car-order=bfs", 400),
        ("?format=car&car-dups=x", 400),
    ] {
        assert_eq!(site.get(&format!("/ipfs/{r}{path}")).await.status, status, "{path}");
    }
    let missing = "/ipfs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku?format=car";
    assert_eq!(site.get(missing).await.status, 404);
    let accept = [("accept", "application/vnd.ipld.car; order=dfs; dups=y")];
    let answer = site.send("GET", &format!("/ipfs/{r}"), &accept).await;
    assert_eq!(answer.header("content-type"), "application/vnd.ipld.car; version=1; order=dfs; dups=y");
    assert_eq!(answer.header("content-location"), format!("/ipfs/{r}?car-dups=y&car-order=dfs&format=car"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_car_whose_block_is_missing_does_not_end_well() {
    let site = Site::new();
    let (root, _, _, big, chunks) = fill(&site);
    assert!(site.store.delete(&chunks[1]).unwrap());
    let whole = site.get(&format!("/ipfs/{}?format=car", root.cid)).await;
    assert!(whole.status == 200 && !whole.is_whole);
    let file = site.get(&format!("/ipfs/{}", big.cid)).await;
    assert!(file.status == 200 && !file.is_whole && file.body.len() == 1 << 20);
    // A range beside the gap needs nothing of it.
    for (uri, range) in [("", "bytes=0-9"), ("", "bytes=3000000-3000009")] {
        let uri = format!("/ipfs/{}{uri}", big.cid);
        let part = site.send("GET", &uri, &[("range", range)]).await;
        assert_eq!((part.status, part.body.len(), part.is_whole), (206, 10, true), "{range}");
    }
    let part = site.get(&format!("/ipfs/{}?format=car&entity-bytes=0:9", big.cid)).await;
    assert_eq!(car(&part.body), Some(vec![big.cid, chunks[0]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_sent_as_they_are() {
    let site = Site::new();
    let (root, sub, ..) = fill(&site);
    for path in [format!("{}", sub.cid), format!("{}/sub", root.cid)] {
        let answer = site.get(&format!("/ipfs/{path}?format=raw")).await;
        verify_block(&sub.cid, &answer.body).unwrap();
        for (name, value) in [
            ("content-type", "application/vnd.ipld.raw".to_owned()),
            ("etag", format!("\"{}.raw\"", sub.cid)),
            ("content-length", answer.body.len().to_string()),
            ("x-content-type-options", "nosniff".to_owned()),
        ] {
            assert_eq!(answer.header(name), value, "{path} {name}");
        }
        assert!(
            answer
                .header("content-disposition")
                .starts_with(&format!("attachment; filename=\"{}.bin\"", sub.cid))
        );
    }
    let empty = site.get("/ipfs/bafkqaaa?format=raw").await;
    assert_eq!((empty.status, empty.body.len()), (200, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trustless_gateway_answers_only_what_can_be_verified() {
    let mut site = Site::new();
    site.config.deserialized = false;
    let (root, ..) = fill(&site);
    for (path, status) in [
        ("", 406),
        ("/", 406),
        ("/sub/a", 406),
        ("?format=tar", 406),
        ("?format=json", 406),
        ("/sub?format=raw", 406),
        ("?format=raw", 200),
        ("/sub/a?format=car", 200),
    ] {
        assert_eq!(site.get(&format!("/ipfs/{}{path}", root.cid)).await.status, status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tars_hold_everything_under_the_cid() {
    let site = Site::new();
    let long = "n".repeat(150);
    let dir = site.directory(&[
        ("\u{105}.txt", site.file(b"utf8")),
        (long.as_str(), site.file(&vec![7; 1025])),
        ("link", site.symlink("\u{105}.txt")),
    ]);
    let answer = site.get(&format!("/ipfs/{}?format=tar", dir.cid)).await;
    assert!(answer.is_whole && answer.status == 200);
    assert_eq!(answer.header("etag"), format!("W/\"{}.x-tar\"", dir.cid));
    assert_eq!(answer.header("content-type"), "application/x-tar");
    assert_eq!(answer.body.len() % 512, 0);
    let text = String::from_utf8_lossy(&answer.body);
    for part in [
        format!("{}/", dir.cid),
        format!("path={}/\u{105}.txt\n", dir.cid),
        format!("path={}/{long}\n", dir.cid),
        "linkpath=\u{105}.txt\n".to_owned(),
    ] {
        assert!(text.contains(&part), "{part}");
    }
    assert!(answer.body.windows(1025).any(|window| window == vec![7; 1025]));
}
