//! The path gateway.

use hpips_dag::document::JSON;
use hpips_dag::{DataType, Mtime, UnixFs};
use hpips_types::content::{DAG_CBOR, DAG_JSON};

use super::support::{Case, Site};

const IMMUTABLE: &str = "public, max-age=29030400, immutable";

fn ok<'a>(uri: String, expected: Vec<(&'a str, String)>, body: Option<&'a [u8]>) -> Case<'a> {
    Case { uri, headers: &[], status: 200, expected, body }
}

fn status<'a>(uri: String, status: u16) -> Case<'a> {
    Case { uri, headers: &[], status, expected: vec![], body: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_have_types_lengths_and_caching() {
    let site = Site::new();
    let bytes: Vec<u8> = (0..2_500_000u32).map(|index| (index % 241) as u8).collect();
    let (text, big) = (site.file(b"hello world"), site.file(&bytes));
    let json = site.file(b"{\"a\": [1, 2, 3]}");
    let sub = site.directory(&[("t.txt", text), ("noext", big), ("page.html", text)]);
    let root = site.directory(&[("\u{105}", sub), ("link", site.symlink("sub/t.txt"))]);
    let base = format!("/ipfs/{}", root.cid);
    let t = format!("{base}/%C4%85/t.txt");
    let roots = format!("{},{},{}", root.cid, sub.cid, text.cid);
    site.check(vec![
        ok(
            t.clone(),
            vec![
                ("content-type", "text/plain; charset=utf-8".into()),
                ("content-length", "11".into()),
                ("accept-ranges", "bytes".into()),
                ("cache-control", IMMUTABLE.into()),
                ("etag", format!("\"{}\"", text.cid)),
                ("x-ipfs-roots", roots),
                // No header can carry the path itself; the URI can.
                ("x-ipfs-path", String::new()),
                ("ipfs-uri", format!("ipfs://{}/%C4%85/t.txt", root.cid)),
                ("content-disposition", String::new()),
                ("last-modified", String::new()),
                ("access-control-allow-origin", "*".into()),
            ],
            Some(b"hello world"),
        ),
        ok(
            format!("{base}/%C4%85/page.html"),
            vec![("content-type", "text/html".into())],
            Some(b"hello world"),
        ),
        ok(
            format!("{base}/%C4%85/noext"),
            vec![("content-type", "application/octet-stream".into())],
            Some(&bytes),
        ),
        ok(
            format!("/ipfs/{}", json.cid),
            vec![("content-type", "application/json".into()), ("x-ipfs-path", format!("/ipfs/{}", json.cid))],
            None,
        ),
        ok(
            format!("/ipfs/{}?format=json", json.cid),
            vec![("content-type", "application/json".into())],
            None,
        ),
        status(format!("/ipfs/{}?format=json", text.cid), 406),
        ok(
            format!("{base}/link"),
            vec![("content-type", "inode/symlink".into()), ("content-length", "9".into())],
            Some(b"sub/t.txt"),
        ),
        ok(
            format!("{t}?filename=%D1%82.png"),
            vec![
                ("content-type", "image/png".into()),
                ("content-disposition", "inline; filename=\"_.png\"; filename*=UTF-8''%D1%82.png".into()),
            ],
            None,
        ),
        ok(
            format!("{t}?download=true"),
            vec![("content-disposition", "attachment; filename=\"t.txt\"".into())],
            None,
        ),
        ok(format!("//ipfs//{}/./%C4%85//t.txt", root.cid), vec![], Some(b"hello world")),
        // A program that says it can read JSON is not refused everything else.
        Case {
            headers: &[("accept", "application/json, text/plain, */*")],
            ..ok(t.clone(), vec![("content-type", "text/plain".into())], Some(b"hello world"))
        },
        Case {
            headers: &[("range", "bytes=6-8")],
            status: 206,
            ..ok(t.clone(), vec![("content-range", "bytes 6-8/11".into())], Some(b"wor"))
        },
        Case {
            headers: &[("range", "bytes=1048570-2097160")],
            status: 206,
            ..ok(
                format!("{base}/%C4%85/noext"),
                vec![
                    ("content-range", "bytes 1048570-2097160/2500000".into()),
                    ("content-type", String::new()),
                ],
                Some(&bytes[1_048_570..=2_097_160]),
            )
        },
        Case {
            headers: &[("range", "bytes=11-")],
            status: 416,
            ..ok(t.clone(), vec![("content-range", "bytes */11".into())], None)
        },
        Case { headers: &[("range", "bytes=x")], ..status(t.clone(), 400) },
        Case {
            headers: &[("if-none-match", "W/\"x\", *")],
            status: 304,
            ..ok(t.clone(), vec![("content-type", String::new()), ("etag", text.cid.to_string())], Some(b""))
        },
        status(format!("{base}/nothing"), 404),
        status(format!("{t}/below-a-file"), 404),
        status("/ipfs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku".into(), 404),
        status("/ipfs/QmInvalidCID".into(), 400),
        status("/ipfs/".into(), 404),
        status("/".into(), 404),
        status("/ipns/example.org".into(), 501),
        status(format!("{t}?format=ipns-record"), 400),
        Case { headers: &[("accept", "application/vnd.ipld.zip")], ..status(t.clone(), 400) },
        Case { headers: &[("host", "evil.example")], ..status(t.clone(), 403) },
        Case { headers: &[("service-worker", "script")], ..status(base.clone(), 400) },
        Case {
            status: 301,
            ..ok(format!("/ipfs{base}?x=1"), vec![("location", format!("{base}?x=1"))], None)
        },
        Case {
            status: 301,
            ..ok(
                "/ipfs/?uri=ipfs%3A%2F%2Fbafy%2Fa%20b%3Fx%3D1".into(),
                vec![("location", "/ipfs/bafy/a%20b?x=1".into())],
                None,
            )
        },
        status("/ipfs/?uri=javascript%3A%2F%2Fx".into(), 400),
    ])
    .await;
    for method in ["POST", "PUT", "DELETE"] {
        let answer = site.send(method, &t, &[]).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD, OPTIONS"), "{method}");
    }
    let options = site.send("OPTIONS", &t, &[]).await;
    assert_eq!((options.status, options.header("access-control-allow-methods")), (200, "GET, HEAD, OPTIONS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_at_hand_can_be_asked_for_alone() {
    let site = Site::new();
    let root = site.directory(&[("a", site.file(b"a"))]);
    let missing = "/ipfs/QmYzfKSE55XCjD1MW128RfciAf2DViABhEiXfgVFMabSjN".to_owned();
    let headers: &[(&str, &str)] = &[("cache-control", "only-if-cached")];
    for (uri, expected) in [(format!("/ipfs/{}/a", root.cid), 200), (missing, 412)] {
        for method in ["GET", "HEAD"] {
            assert_eq!(site.send(method, &uri, headers).await.status, expected, "{method} {uri}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn modification_times_are_told() {
    let site = Site::new();
    let mtime = Some(Mtime { seconds: 1_000_000_000, nanoseconds: 7 });
    let data = UnixFs { data: Some("x".into()), file_bytes: Some(1), mtime, ..UnixFs::new(DataType::File) };
    let file = site.node(&data.encode(), &[]);
    let uri = format!("/ipfs/{}", file.cid);
    let at = "Sun, 09 Sep 2001 01:46:40 GMT";
    site.check(vec![
        ok(uri.clone(), vec![("last-modified", at.into())], Some(b"x")),
        Case { headers: &[("if-modified-since", at)], ..status(uri, 304) },
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_are_listed_or_show_their_index() {
    let site = Site::new();
    let file = site.file(b"x");
    let names = ["<script>alert(1)", "a&b\"c'.txt", "z\u{202e}gpj.exe", "100%25?#.txt"];
    let entries: Vec<_> = names.iter().map(|name| (*name, file)).collect();
    let odd = site.directory(&entries);
    let page = site.directory(&[("index.html", site.file(b"<p>my index")), ("other", file)]);
    let broken = site.directory(&[("index.html", page)]);
    let root = site.directory(&[("odd", odd), ("page", page), ("broken", broken)]);
    let base = format!("/ipfs/{}", root.cid);
    site.check(vec![
        Case {
            status: 301,
            ..ok(format!("{base}/odd?x=1"), vec![("location", format!("{base}/odd/?x=1"))], None)
        },
        ok(
            format!("{base}/odd/"),
            vec![
                ("etag", "\"DirIndex-".into()),
                ("etag", format!("_CID-{}\"", odd.cid)),
                ("content-type", "text/html".into()),
                ("cache-control", "public, max-age=604800, stale-while-revalidate=2678400".into()),
                ("content-security-policy", "default-src 'none'".into()),
            ],
            None,
        ),
        ok(
            format!("{base}/page/"),
            vec![
                ("etag", format!("\"{}\"", page.cid)),
                ("content-type", "text/html".into()),
                ("cache-control", IMMUTABLE.into()),
                ("x-ipfs-roots", format!("{},{}", root.cid, page.cid)),
            ],
            Some(b"<p>my index"),
        ),
        status(format!("{base}/broken/"), 422),
    ])
    .await;
    let listing = site.get(&format!("{base}/odd/")).await;
    let text = listing.text();
    for part in [
        "Index of".to_owned(),
        format!("/ipfs/<a href=\"{base}\">{}</a>/<a href=\"{base}/odd\">odd</a>", root.cid),
        format!("<a href=\"{base}/odd/..\">..</a>"),
        format!("<a href=\"{base}/odd/%3Cscript%3Ealert%281%29\">&lt;script&gt;"),
        format!("<a href=\"{base}/odd/a&amp;b%22c%27.txt\">a&amp;b&#34;c&#39;.txt</a>"),
        format!("<a href=\"{base}/odd/100%2525%3F%23.txt\">100%25?#.txt</a>"),
        "z\\u{202e}gpj.exe".to_owned(),
        "</html>".to_owned(),
    ] {
        assert!(text.contains(&part), "{part} in {text}");
    }
    assert!(!text.contains("<script"), "{text}");
    let etag = listing.header("etag").to_owned();
    let again = site.send("GET", &format!("{base}/odd/"), &[("if-none-match", &etag)]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let at_root = site.get(&format!("{base}/")).await.text();
    assert!(!at_root.contains(">..<"), "{at_root}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_ten_thousand_names_is_listed_whole() {
    let site = Site::new();
    let file = site.file(b"x");
    let names: Vec<String> = (0..10_000).map(|index| format!("name-{index:05}")).collect();
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), file)).collect();
    let root = site.directory(&entries);
    let listing = site.get(&format!("/ipfs/{}/", root.cid)).await;
    assert!(listing.is_whole && listing.status == 200);
    let text = listing.text();
    for name in &names {
        assert!(text.contains(&format!(">{name}<")), "{name}");
    }
    assert_eq!(site.get(&format!("/ipfs/{}/name-09999", root.cid)).await.text(), "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_sent_as_they_are_and_never_converted() {
    let site = Site::new();
    let leaf = site.block(DAG_JSON, br#"{"hello":"this is not a link"}"#);
    let text = format!(r#"{{"foo":{{"link":[{{"/":"{}"}}]}}}}"#, leaf.cid);
    let json = site.block(DAG_JSON, text.as_bytes());
    let cbor = site.block(DAG_CBOR, b"\xa1\x63foo\x82\x01\x02");
    let plain = site.block(JSON, b"{}");
    let (j, c) = (format!("/ipfs/{}", json.cid), format!("/ipfs/{}", cbor.cid));
    let dag_json = "application/vnd.ipld.dag-json";
    site.check(vec![
        ok(
            j.clone(),
            vec![
                ("content-type", dag_json.into()),
                ("etag", format!("\"{}.dag-json\"", json.cid)),
                ("content-disposition", format!("inline; filename=\"{}.json\"", json.cid)),
                ("x-content-type-options", "nosniff".into()),
            ],
            Some(text.as_bytes()),
        ),
        ok(
            format!("{j}?format=json"),
            vec![("content-type", "application/json".into())],
            Some(text.as_bytes()),
        ),
        ok(format!("{j}?format=dag-json"), vec![("content-type", dag_json.into())], Some(text.as_bytes())),
        Case {
            headers: &[("accept", "application/vnd.ipld.dag-json")],
            ..ok(j.clone(), vec![("content-location", format!("{j}?format=dag-json"))], Some(text.as_bytes()))
        },
        Case { headers: &[("range", "bytes=0-1")], status: 206, ..ok(j.clone(), vec![], Some(b"{\"")) },
        status(format!("{j}?format=dag-cbor"), 406),
        status(format!("{c}?format=dag-json"), 406),
        status(format!("/ipfs/{}?format=dag-json", site.file(b"x").cid), 406),
        ok(
            c.clone(),
            vec![
                ("content-type", "application/vnd.ipld.dag-cbor".into()),
                ("content-disposition", "attachment".into()),
            ],
            Some(b"\xa1\x63foo\x82\x01\x02"),
        ),
        ok(
            format!("/ipfs/{}", plain.cid),
            vec![("content-type", "application/json".into()), ("etag", format!("\"{}.json\"", plain.cid))],
            Some(b"{}"),
        ),
        status(format!("{j}/foo?format=dag-json"), 501),
        status(format!("{c}/foo/1"), 501),
        status(format!("{c}/foo/2"), 404),
        status(format!("{j}/nothing"), 404),
        ok(
            format!("{j}/foo/link/0"),
            vec![("x-ipfs-roots", format!("{0},{0},{0},{1}", json.cid, leaf.cid))],
            Some(br#"{"hello":"this is not a link"}"#),
        ),
        Case {
            headers: &[("accept", "text/html")],
            status: 301,
            ..ok(j.clone(), vec![("location", format!("{j}/"))], None)
        },
        Case {
            headers: &[("accept", "text/html")],
            ..ok(
                format!("{j}/"),
                vec![
                    ("etag", "\"DagIndex-".into()),
                    ("content-type", "text/html".into()),
                    ("content-disposition", String::new()),
                ],
                None,
            )
        },
    ])
    .await;
    let page = site.send("GET", &format!("{j}/"), &[("accept", "text/html")]).await.text();
    assert!(
        page.contains(&format!("<a href=\"/ipfs/{0}\">{0}</a>", leaf.cid)) && page.contains("</html>"),
        "{page}"
    );
}
