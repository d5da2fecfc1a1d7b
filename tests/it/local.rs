//! A repo without a daemon: the CIDs and the words of IPFS.

use std::fs;

use crate::binary::{ok, run};

/// CIDs that others published; the notes on content list their sources.
#[test]
fn published_cids_by_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let repo = folder.path().join("repo");
    ok(&repo, &["init"]);
    let hello = folder.path().join("hello.txt");
    fs::write(&hello, "hello world").unwrap();
    let hello = hello.to_str().unwrap();
    let planets = folder.path().join("planets");
    fs::create_dir(&planets).unwrap();
    fs::write(planets.join("mars.txt"), "Hello Mars!\n").unwrap();
    fs::write(planets.join("venus.txt"), "Hello Venus!\n").unwrap();
    let planets = planets.to_str().unwrap();
    for (args, cid) in [
        (&["--cid-version", "0", hello][..], "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"),
        (&["--cid-version", "1", hello], "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"),
        (&[hello], "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"),
        (&["--cid-version", "0", planets], "QmWSgS32xQEcXMeqd3YPJLrNBLSdsfYCep2U7CFkyrjXwY"),
        (&["--cid-version", "1", planets], "bafybeih7e5dmkyk25up5vxug4q3hrg2fxbzf23dfrac2fns5h7z4aa7ioi"),
        (
            &["--cid-version", "1", "--raw-leaves=false", planets],
            "bafybeif5tuep5ap2d7zyhbktucey75aoacxufgt6i3v4gebmixyipnyp7y",
        ),
    ] {
        let args: Vec<&str> = ["add", "--local", "-Q"].iter().chain(args).copied().collect();
        assert_eq!(ok(&repo, &args).trim(), cid, "{args:?}");
    }
}

#[test]
fn what_goes_in_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let repo = folder.path().join("repo");
    ok(&repo, &["init"]);
    let source = folder.path().join("source");
    fs::create_dir_all(source.join("deep")).unwrap();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(source.join("deep/big"), &bytes).unwrap();
    fs::write(source.join("empty"), "").unwrap();
    let printed = ok(&repo, &["add", "--local", source.to_str().unwrap()]);
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines.iter().all(|line| line.starts_with("added ")), "{printed}");
    let root = lines.last().unwrap().split(' ').nth(1).unwrap();
    assert!(lines.last().unwrap().ends_with(" source"), "{printed}");
    assert_eq!(ok(&repo, &["ls", root]).lines().count(), 2);
    let target = folder.path().join("target");
    ok(&repo, &["get", root, "-o", target.to_str().unwrap()]);
    assert_eq!(fs::read(target.join("deep/big")).unwrap(), bytes);
    assert_eq!(fs::read(target.join("empty")).unwrap(), b"");
    let cat = run(&repo, &["cat", &format!("{root}/deep/big")]);
    assert!(cat.status.success() && cat.stdout == bytes);
    assert!(ok(&repo, &["pin", "ls"]).contains(root));
}

#[test]
fn wrong_ways_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let repo = folder.path().join("repo");
    let missing = run(&repo, &["cat", "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"]);
    assert_eq!(missing.status.code(), Some(10), "no repo");
    assert!(String::from_utf8_lossy(&missing.stderr).contains("hpips init"));
    ok(&repo, &["init"]);
    assert_eq!(run(&repo, &["add", "--local", "/nowhere/at/all"]).status.code(), Some(1));
    assert_eq!(run(&repo, &["cat", "not-a-cid"]).status.code(), Some(2));
    assert_eq!(run(&repo, &["frobnicate"]).status.code(), Some(2));
    let absent = run(&repo, &["cat", "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"]);
    assert_eq!(absent.status.code(), Some(4), "not found");
    let again = run(&repo, &["init"]);
    assert_eq!(again.status.code(), Some(1), "a second init changes nothing");
    assert!(again.stdout.is_empty());
}

/// Nobody may make folders there, not even root, whose files no mode protects.
#[cfg(target_os = "linux")]
#[test]
fn a_repo_that_cannot_be_written_says_what_to_do() {
    let repo = std::path::Path::new("/sys/kernel/hpips-repo");
    let output = run(repo, &["init"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/sys/kernel/hpips-repo") && !said.contains("panicked"), "{said}");
    assert!(said.contains("--repo-dir") || said.contains("No such file"), "{said}");
}
