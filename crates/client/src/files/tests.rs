//! The CIDs are what Kubo 0.43.1 gives for the same commands.

use super::*;
use crate::blocks::Local;

fn files(folder: &tempfile::TempDir) -> Files {
    let store = Store::open(folder.path(), hpips_store::Config::default()).unwrap();
    Files::new(store.clone(), Arc::new(Local(store)), Profile::unixfs_v0_2015())
}

fn content(files: &Files, path: &str, offset: u64, count: Option<u64>) -> Vec<u8> {
    let mut got = Vec::new();
    let mut sink = |part: bytes::Bytes| {
        got.extend_from_slice(&part);
        Ok(())
    };
    files.read(path, offset, count, &mut sink).unwrap();
    got
}

const CREATE: WriteOptions = WriteOptions {
    create: true,
    truncate: false,
    offset: 0,
    count: None,
    parents: Parents::Require,
    raw_leaves: None,
    cid_v0: None,
    hash: None,
};

#[test]
fn cids_are_those_of_kubo() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder);
    let cid = |path: &str| files.flush(path).unwrap().to_string();
    assert_eq!(cid("/"), "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn");
    files.mkdir("/d", Parents::Require, None, None).unwrap();
    assert_eq!(cid("/"), "QmQrs9EYPsazSTecFWugp7rstJaAskb67MZqWAcHnBHpTm");
    files.write("/a", &CREATE, &mut &b"hello"[..]).unwrap();
    assert_eq!(cid("/a"), "QmSYVhw7DFAQTznBx6ZMvX71VKuyfecVBgt8E2iruC7sCC");
    let stat = files.stat("/a").unwrap();
    assert_eq!((stat.size, stat.cumulative_size, stat.blocks, stat.kind), (5, 63, 1, FilesType::File));
    files.write("/b", &CREATE, &mut &vec![0; 1_000_000][..]).unwrap();
    assert_eq!(cid("/b"), "QmbqXhUdruDb6JAe7K2iwj7qBXk5czJDyGniAZF27YfpxR");
    files.mkdir("/e", Parents::Require, Some(false), None).unwrap();
    assert_eq!(cid("/e"), "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354");
    files.write("/e/x", &CREATE, &mut &b"hello"[..]).unwrap();
    assert_eq!(cid("/e"), "bafybeie7t7liddl4o35oqvrydb67ufcgaxu6dnphje7ylbydlqqsaqed4y");
    assert_eq!(cid("/"), "QmbUpfr4pc33PLaV8pUwwy2LKjwscrtehBfRLHosiJU8jC");
    files.write("/r", &WriteOptions { raw_leaves: Some(true), ..CREATE }, &mut &b"hello"[..]).unwrap();
    assert_eq!(cid("/r"), "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq");
    let raw = WriteOptions { raw_leaves: Some(true), ..CREATE };
    files.write("/rb", &raw, &mut &vec![0; 1_000_000][..]).unwrap();
    assert_eq!(cid("/rb"), "QmVM1Rtk3Gawp7yHBRTvpbSzhebyEnZnPBmF5s5HtfdR3k");
    files.write("/c1", &WriteOptions { cid_v0: Some(false), ..CREATE }, &mut &b"hello"[..]).unwrap();
    assert_eq!(cid("/c1"), cid("/r"));
    files.write("/empty", &CREATE, &mut &b""[..]).unwrap();
    assert_eq!(cid("/empty"), "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH");
    files.mkdir("/q", Parents::Require, None, None).unwrap();
    files.chcid("/q", Some(false), None).unwrap();
    assert_eq!(cid("/q"), "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354");
    let sha2_512 = Some(0x13);
    files.chcid("/q", None, sha2_512).unwrap();
    assert_eq!(
        cid("/q"),
        "bafybgqe5nnhmihs4pga4k4xhbnfzs24sxuhxjdirpqamhpyx5zhst52pkrnfk7vjdmr7g7lopssextjnqmkc4ygusjcultofxzma3wsiifrxa"
    );
    files.write("/h", &WriteOptions { hash: sha2_512, ..CREATE }, &mut &b"x"[..]).unwrap();
    assert_eq!(
        cid("/h"),
        "bafkrgqfevpkejdcjkywyfaiv2e5b7thksj7vfngviwjjp6fuhzbnvcjdrpatmjxehxftrxnqqjeisj7msbh3iicxiq4yh2efqulz2ucvdl7ge"
    );
    files.mkdir("/k/l/m", Parents::Make, None, None).unwrap();
    assert_eq!(cid("/k"), "QmbL4az6ojgFChcKK56zhkVgsUJFwNfiiYXZMTg6PT3RME");
}

#[test]
fn a_file_is_replaced_by_what_is_there_in_one_change() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder);
    files.write("/a", &CREATE, &mut &b"old"[..]).unwrap();
    files.write("/b", &CREATE, &mut &b"new"[..]).unwrap();
    files.mkdir("/d/e", Parents::Make, None, None).unwrap();
    let cp = |from: &str, to: &str| files.cp(from, to, Parents::Require, Existing::Replace);
    assert!(matches!(cp("/nothing", "/a"), Err(FilesError::NotFound { .. })));
    cp("/a", "/a").unwrap();
    assert_eq!(content(&files, "/a", 0, None), b"old");
    cp("/b", "/a").unwrap();
    assert_eq!(content(&files, "/a", 0, None), b"new");
    files.write("/e", &CREATE, &mut &b"x"[..]).unwrap();
    assert!(matches!(cp("/e", "/d"), Err(FilesError::Exists { .. })), "a folder is never replaced");
}

#[test]
fn cids_under_the_profile_of_2025_are_those_of_kubo() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), hpips_store::Config::default()).unwrap();
    let files = Files::new(store.clone(), Arc::new(Local(store)), Profile::unixfs_v1_2025());
    let cid = |path: &str| files.flush(path).unwrap().to_string();
    assert_eq!(cid("/"), "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354");
    files.write("/a", &CREATE, &mut &b"hello"[..]).unwrap();
    assert_eq!(cid("/a"), "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq");
    files.write("/e", &CREATE, &mut &b""[..]).unwrap();
    assert_eq!(cid("/e"), "bafybeif7ztnhq65lumvvtr4ekcwd2ifwgm3awq4zfr3srh462rwyinlb4y");
}

#[test]
fn writes_replace_extend_and_cut() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder);
    files.write("/a", &CREATE, &mut &b"hello"[..]).unwrap();
    files.write("/a", &WriteOptions { offset: 7, ..CREATE }, &mut &b"XX"[..]).unwrap();
    assert_eq!(content(&files, "/a", 0, None), b"hello\0\0XX");
    files.write("/a", &WriteOptions { offset: 1, count: Some(2), ..CREATE }, &mut &b"YYYY"[..]).unwrap();
    assert_eq!(content(&files, "/a", 0, None), b"hYYlo\0\0XX");
    assert_eq!(content(&files, "/a", 2, Some(3)), b"Ylo");
    assert_eq!(content(&files, "/a", 100, Some(3)), b"");
    files.write("/a", &WriteOptions { truncate: true, ..CREATE }, &mut &b"z"[..]).unwrap();
    assert_eq!(content(&files, "/a", 0, None), b"z");
    let far = WriteOptions { offset: u64::MAX, ..CREATE };
    assert!(matches!(files.write("/a", &far, &mut &b"z"[..]), Err(FilesError::Gap { .. })));
    assert_eq!(content(&files, "/a", 0, None), b"z");
}

#[test]
fn entries_move_are_copied_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder);
    let names =
        |path: &str| -> Vec<String> { files.ls(path).unwrap().into_iter().map(|entry| entry.name).collect() };
    files.mkdir("/d/e", Parents::Make, None, None).unwrap();
    files.write("/a", &CREATE, &mut &b"hello"[..]).unwrap();
    files.cp("/a", "/d/", Parents::Require, Existing::Keep).unwrap();
    let keep = files.cp("/a", "/d", Parents::Require, Existing::Keep);
    assert!(matches!(keep, Err(FilesError::Exists { .. })));
    files.mv("/a", "/d/e/b").unwrap();
    assert_eq!(names("/"), ["d"]);
    assert_eq!(names("/d"), ["a", "e"]);
    assert_eq!(content(&files, "/d/e/b", 0, None), b"hello");
    assert!(matches!(files.mv("/d", "/d/e"), Err(FilesError::IntoItself { .. })));
    assert!(matches!(files.rm("/d", false), Err(FilesError::IsADirectory { .. })));
    assert!(matches!(files.rm("/", true), Err(FilesError::Root)));
    assert!(matches!(files.rm("/nothing", true), Err(FilesError::NotFound { .. })));
    files.rm("/d", true).unwrap();
    assert_eq!(files.flush("/").unwrap().to_string(), "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn");
    for bad in ["a", "", "/a/../b", "/./a"] {
        assert!(matches!(files.stat(bad), Err(FilesError::Path { .. })), "{bad}");
    }
}

#[test]
fn the_root_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let before = {
        let files = files(&folder);
        files.write("/kept", &CREATE, &mut &b"hello"[..]).unwrap();
        files.flush("/").unwrap()
    };
    let files = files(&folder);
    assert_eq!(files.flush("/").unwrap(), before);
    assert_eq!(content(&files, "/kept", 0, None), b"hello");
}

#[test]
fn modes_and_times_are_set_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder);
    let cid = |path: &str| files.flush(path).unwrap().to_string();
    files.write("/a", &CREATE, &mut &b"hello"[..]).unwrap();
    files.set_mode("/a", 0o640).unwrap();
    assert_eq!(cid("/a"), "Qmf3fDnWYobak9GVqgPP6e3mxfmriJzbcsBTKdJfunDHpf");
    let mtime = |seconds, nanoseconds| hpips_dag::Mtime { seconds, nanoseconds };
    files.set_mtime("/a", mtime(5, 6)).unwrap();
    assert_eq!(cid("/a"), "QmPadMRGsUbNSTSAVFkXgadR4knpQ8629sKsEEVReDLrWE");
    files.mkdir("/d", Parents::Require, None, None).unwrap();
    files.set_mode("/d", 0o750).unwrap();
    assert_eq!(cid("/d"), "QmYSLBAKT3vRqyVgkyVbsekSig9h9jji6ZhdHiYZxqCTgQ");
    let raw = WriteOptions { raw_leaves: Some(true), ..CREATE };
    files.write("/r", &raw, &mut &b"hello"[..]).unwrap();
    files.set_mode("/r", 0o600).unwrap();
    assert_eq!(cid("/r"), "QmY4RtjMMYm44QZizCn1wJr2oySXJJdmsoZfQGJQH8WyfV");
    files.set_mtime("/", mtime(7, 0)).unwrap();
    assert_eq!(cid("/"), "QmQMyreYPBRKVnT6W3hi2PiZ7e5pzqJuHDatJFWi2ytsy6");
    files.set_mode("/", 0o644).unwrap();
    assert_eq!(cid("/"), "QmeLsBsKf3bpWipeQW4ZC9Wp3Pcurp14VxMh54CGw9KfqM");
    files.write("/a", &CREATE, &mut &b"hello"[..]).unwrap();
    assert_eq!(cid("/a"), "QmPadMRGsUbNSTSAVFkXgadR4knpQ8629sKsEEVReDLrWE", "a write keeps both");
    let stat = files.stat("/").unwrap();
    assert_eq!((stat.mode, stat.mtime), (Some(0o644), Some(mtime(7, 0))), "and so do changes below");
    assert!(matches!(files.set_mode("/none", 0o644), Err(FilesError::NotFound { .. })));
}

#[test]
fn large_directories_change_as_if_built_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), hpips_store::Config::default()).unwrap();
    let profile = Profile::unixfs_v1_2025().with_directory_links(8).with_hamt_fanout(8).unwrap();
    let files = Files::new(store.clone(), Arc::new(Local(store)), profile);
    let name = |number: u32| format!("/one/two/file {number}");
    let mut expected = DirectoryBuilder::new(profile);
    let options = WriteOptions { parents: Parents::Make, ..CREATE };
    for number in 0..60 {
        let cid = files.write(&name(number), &options, &mut &b"x"[..]).unwrap();
        if number >= 30 {
            let node = hpips_dag::Node {
                cid,
                tsize: files.stat(&name(number)).unwrap().cumulative_size,
                file_bytes: 1,
            };
            expected.add(&format!("file {number}"), node).unwrap();
        }
    }
    for number in 0..30 {
        files.rm(&name(number), false).unwrap();
    }
    let expected = expected.finish(&mut Vec::new()).unwrap().cid;
    assert_eq!(files.flush("/one/two").unwrap(), expected);
}

#[test]
fn what_stands_in_the_way_in_a_directory_stays() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder);
    files.mkdir("/d/a", Parents::Make, None, None).unwrap();
    files.write("/d/a/precious", &CREATE, &mut &b"precious"[..]).unwrap();
    files.write("/a", &CREATE, &mut &b"a"[..]).unwrap();
    assert!(matches!(files.mv("/a", "/d"), Err(FilesError::Exists { .. })));
    assert_eq!(content(&files, "/d/a/precious", 0, None), b"precious");
    files.write("/b", &CREATE, &mut &b"b"[..]).unwrap();
    files.mv("/a", "/b").unwrap();
    assert_eq!(content(&files, "/b", 0, None), b"a", "a file that is named is replaced");
}

#[test]
fn others_change_while_a_file_is_sent() {
    struct Meanwhile<'a>(&'a Files, u32);
    impl std::io::Read for Meanwhile<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            self.1 += 1;
            match self.1 {
                1 => {
                    self.0.mkdir("/other", Parents::Require, None, None).unwrap();
                    out[..5].copy_from_slice(b"hello");
                    Ok(5)
                }
                _ => Ok(0),
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder);
    files.write("/new", &CREATE, &mut Meanwhile(&files, 0)).unwrap();
    assert_eq!(content(&files, "/new", 0, None), b"hello");
    assert_eq!(files.stat("/other").unwrap().kind, FilesType::Directory, "both changes stand");
}
