//! Roots with an origin of their own, and `_redirects`.

use cid::Cid;
use cid::multibase::Base;
use cid::multihash::Multihash;
use hpips_types::content::{DAG_JSON, IDENTITY, RAW};

use super::support::Site;

#[tokio::test(flavor = "multi_thread")]
async fn paths_at_a_parent_name_lead_to_the_roots_own_origin() {
    let site = Site::new();
    let v0 = "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH";
    let v1 = "bafybeif7ztnhq65lumvvtr4ekcwd2ifwgm3awq4zfr3srh462rwyinlb4y";
    let digest = |code, len| Cid::new_v1(RAW, Multihash::wrap(code, &vec![7; len]).unwrap());
    // A SHA-512 is too long in any base; 36 bytes of identity fit in base36 alone.
    let (long, longer) = (digest(IDENTITY, 36), digest(0x13, 64));
    let base36 = long.to_string_of_base(Base::Base36Lower).unwrap();
    for (path, headers, status, location) in [
        (format!("/ipfs/{v1}"), &[][..], 301, format!("http://{v1}.ipfs.localhost:8080/")),
        (
            format!("/ipfs/{v0}/a%20b/?x=1&y"),
            &[],
            301,
            format!("http://{v1}.ipfs.localhost:8080/a%20b/?x=1&y"),
        ),
        (
            format!("/ipfs/{v1}/x"),
            &[("x-forwarded-proto", "https")],
            301,
            format!("https://{v1}.ipfs.localhost:8080/x"),
        ),
        (
            format!("/ipfs/{v1}/x"),
            &[("x-forwarded-proto", "https"), ("x-forwarded-host", "localhost")],
            301,
            format!("https://{v1}.ipfs.localhost/x"),
        ),
        (format!("/ipfs/{long}/x"), &[], 301, format!("http://{base36}.ipfs.localhost:8080/x")),
        (format!("/ipfs/{longer}"), &[], 400, String::new()),
        ("/ipfs/QmInvalidCID".to_owned(), &[], 400, String::new()),
        ("/ipns/example.org".to_owned(), &[], 501, String::new()),
        ("/".to_owned(), &[], 404, String::new()),
    ] {
        let mut all = vec![("host", "localhost:8080")];
        all.extend_from_slice(headers);
        let answer = site.send("GET", &path, &all).await;
        let got = (answer.status, answer.header("location").to_owned());
        assert_eq!(got, (status, location), "{path} {headers:?}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subdomains_serve_their_root() {
    let site = Site::new();
    let file = site.file(b"I am a txt file");
    let inner = site.directory(&[("file.txt", file)]);
    let root = site.directory(&[("ipfs", inner), ("hello", file)]);
    let host = format!("{}.ipfs.localhost:8080", root.cid);
    for (path, status, body) in [
        ("/hello", 200, "I am a txt file"),
        ("/ipfs/file.txt", 200, "I am a txt file"),
        ("/ipfs", 301, ""),
        ("/nothing", 404, ""),
    ] {
        let answer = site.send("GET", path, &[("host", &host)]).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.text().contains(body), "{path}");
    }
    // The path a redirect names cannot become another host.
    let answer = site.send("GET", "//ipfs", &[("host", &host)]).await;
    assert_eq!((answer.status, answer.header("location")), (301, "/ipfs/"));
    let listing = site.send("GET", "/ipfs/", &[("host", &host)]).await.text();
    for part in [
        "<a href=\"/ipfs/file.txt\">file.txt</a>".to_owned(),
        "<a href=\"/ipfs/..\">..</a>".to_owned(),
        format!("/ipfs/<a href=\"//localhost:8080/ipfs/{0}\">{0}</a>/", root.cid),
        format!("href=\"//localhost:8080/ipfs/{}?filename=file.txt\"", file.cid),
    ] {
        assert!(listing.contains(&part), "{part} in {listing}");
    }
    for (host, status) in [("nonsense.ipfs.localhost", 400), ("example-org.ipns.localhost", 501)] {
        assert_eq!(site.send("GET", "/", &[("host", host)]).await.status, status, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_of_documents_lead_to_the_gateway() {
    let site = Site::new();
    let leaf = site.file(b"leaf").cid;
    let text = format!("{{\"list\":[{{\"/\":\"{leaf}\"}}],\"text\":\"<a href=\\\"/ipfs/x\\\">\"}}");
    let root = site.block(DAG_JSON, text.as_bytes()).cid;
    let own = format!("{root}.ipfs.localhost:8080");
    for (host, path, gateway) in
        [("127.0.0.1:8080", format!("/ipfs/{root}/"), ""), (&own, "/".to_owned(), "//localhost:8080")]
    {
        let page = site.send("GET", &path, &[("host", host), ("accept", "text/html")]).await.text();
        assert!(page.contains(&format!("<a href=\"{gateway}/ipfs/{leaf}\">{leaf}</a>")), "{host}: {page}");
        assert!(page.contains("/ipfs/x") && !page.contains("<a href=\"/ipfs/x"), "{host}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_rule_paths_that_do_not_exist() {
    let site = Site::new();
    let rules =
        b"/one /two.html\n/temporary/:a /x/:a 302\n/gone/* /410.html 410\n/lost/* /no-such-page 404\n\
        /out/* /:splat 308\n/q/* /t?a=1&b=2 301\n/* /index.html 200\n";
    let root = site.directory(&[
        ("_redirects", site.file(rules)),
        ("index.html", site.file(b"my index")),
        ("410.html", site.file(b"my 410")),
        ("two.html", site.file(b"my two")),
    ]);
    let host = format!("{}.ipfs.localhost:8080", root.cid);
    for (path, status, location, body) in [
        ("/one", 301, "/two.html", ""),
        ("/one?x=1", 301, "/two.html?x=1", ""),
        ("/temporary/%0d%0aX:y", 302, "/x/%0D%0AX:y", ""),
        ("/out/%5C%5Cevil.example/", 308, "/%5C%5Cevil.example", ""),
        ("/q/z?b=3", 301, "/t?a=1&b=3", ""),
        ("/gone/x", 410, "", "my 410"),
        ("/lost/x", 404, "", "_redirects"),
        ("/two.html", 200, "", "my two"),
        ("/anything/else", 200, "", "my index"),
    ] {
        let answer = site.send("GET", path, &[("host", &host)]).await;
        let got = (answer.status, answer.header("location").to_owned());
        assert_eq!(got, (status, location.to_owned()), "{path}: {}", answer.text());
        assert!(answer.text().contains(body), "{path}: {}", answer.text());
    }
    let first = site.send("GET", "/anything", &[("host", &host)]).await;
    let etag = first.header("etag").to_owned();
    let again = site.send("GET", "/anything", &[("host", &host), ("if-none-match", &etag)]).await;
    assert_eq!(again.status, 304);
    // Without an origin of its own a root makes no rules, nor for those who ask for a format.
    assert_eq!(site.get(&format!("/ipfs/{}/one", root.cid)).await.status, 404);
    assert_eq!(site.send("GET", "/one?format=raw", &[("host", &host)]).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirects_file_with_a_mistake_is_an_error() {
    let site = Site::new();
    for (rules, text) in [
        (b"/a /b 301!".to_vec(), "could not parse _redirects: line 1: forced redirects"),
        (vec![b'#'; 65_537], "could not parse _redirects: redirects file size cannot exceed"),
    ] {
        let root = site.directory(&[("_redirects", site.file(&rules)), ("found", site.file(b"my found"))]);
        let host = format!("{}.ipfs.localhost:8080", root.cid);
        let answer = site.send("GET", "/not-found", &[("host", &host)]).await;
        assert!(answer.status == 500 && answer.text().contains(text), "{}", answer.text());
        assert_eq!(site.send("GET", "/found", &[("host", &host)]).await.text(), "my found");
    }
}
