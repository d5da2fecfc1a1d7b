//! The program on a repo without a node: what it prints, and how it ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where it stopped")]

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A folder with a repo and the files to add.
struct Place {
    folder: TempDir,
}

impl Place {
    /// A place whose repo is not made yet.
    fn bare() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn new() -> Self {
        let place = Self::bare();
        place.ok(&["init"]);
        tree(&place.folder.path().join("tree"));
        fs::write(place.folder.path().join("block"), "a block").unwrap();
        fs::write(place.folder.path().join("folder"), [0x0a, 2, 8, 1]).unwrap();
        place
    }

    fn repo(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hpips"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("HPIPS_PATH", self.repo())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn run_with(&self, args: &[&str], input: &[u8]) -> Output {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        text_of(&self.run(args), args)
    }
}

fn text_of(output: &Output, args: &[&str]) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "hpips {}: {:?}\n{errors}", args.join(" "), output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn tree(root: &Path) {
    fs::create_dir_all(root.join("sub/deep")).unwrap();
    fs::write(root.join("a.txt"), "hello\n").unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::write(root.join(".hidden"), "").unwrap();
    fs::write(root.join("sub/b.bin"), "bb").unwrap();
    fs::write(root.join("sub/deep/c"), "c").unwrap();
    std::os::unix::fs::symlink("a.txt", root.join("link")).unwrap();
}

const ROOT: &str = "bafybeidyf3as6fdiywnbdgoismkinci4sthy3jr2e6gmcadalkuhjawn7y";
const ABSENT: &str = "bafkreieq5jui4j25lacwomsqgjeswwl3y5zcdrresptwgmfylxo2depppq";
const NO_LINE_END: &str = "<no line end>\n";

/// Commands and what Kubo prints for each.
fn examples() -> Vec<(Vec<&'static str>, &'static str)> {
    let (_, text) = include_str!("kubo.txt").split_once("\n$ ").unwrap();
    text.split("\n$ ")
        .map(|example| {
            let (command, output) = example.split_once('\n').unwrap_or((example, ""));
            (command.split(' ').collect(), output)
        })
        .collect()
}

#[test]
fn prints_what_kubo_prints() {
    let place = Place::new();
    let mut wrong = Vec::new();
    for (args, expected) in examples() {
        let output = place.run(&args);
        let printed = String::from_utf8_lossy(&output.stdout);
        // The cut between examples took the last line end.
        let expected = match expected {
            "" => String::new(),
            expected => format!("{}\n", expected.strip_suffix('\n').unwrap_or(expected)),
        };
        let expected = expected.strip_suffix(NO_LINE_END).unwrap_or(&expected);
        if !output.status.success() || printed.trim_end_matches('\n') != expected.trim_end_matches('\n') {
            let errors = String::from_utf8_lossy(&output.stderr);
            wrong.push(format!("$ {}\n{printed}{errors}--- expected\n{expected}", args.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn standard_input_is_taken() {
    let place = Place::new();
    for (args, input, printed) in [
        (&["add"][..], "hello\n", "added bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am "),
        (&["add", "-Q", "-"], "hello\n", "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am"),
        (
            &["add", "--stdin-name", "x"],
            "hello\n",
            "added bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am x\n",
        ),
        (&["block", "put"], "hello\n", "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am\n"),
        (&["dag", "put"], "{\"a\":1}", "bafyreihltcnuuyqp2jm24aqydpnlj7b6w3ogwrplomrjtg5rifv44mmjey\n"),
        (
            &["cid", "base32"],
            "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPBdG\n",
            "bafybeie5nqv6kd3qnfjupgvz34woh3oksc3iau6abmyajn7qvtf6dz5tp4\n",
        ),
    ] {
        let output = text_of(&place.run_with(args, input.as_bytes()), args);
        assert!(output.starts_with(printed), "{args:?}: {output}");
    }
}

#[test]
fn a_dag_leaves_and_comes_back_as_a_car_file() {
    let place = Place::new();
    place.ok(&["add", "-r", "tree"]);
    let exported = place.run(&["dag", "export", ROOT]);
    assert!(exported.status.success());
    fs::write(place.folder.path().join("tree.car"), &exported.stdout).unwrap();
    let other = Place::new();
    let car = place.folder.path().join("tree.car");
    let printed = other.ok(&["dag", "import", "--stats", car.to_str().unwrap()]);
    assert_eq!(printed, format!("Pinned root\t{ROOT}\tsuccess\nImported 8 blocks (368 bytes)\n"));
    assert_eq!(other.ok(&["cat", &format!("{ROOT}/a.txt")]), "hello\n");
}

#[test]
fn archives_and_folders_are_saved() {
    let place = Place::new();
    place.ok(&["add", "-r", "tree"]);
    place.ok(&["get", ROOT, "-o", "out"]);
    assert_eq!(fs::read(place.folder.path().join("out/sub/b.bin")).unwrap(), b"bb");
    for (args, name, at, magic) in [
        (&["get", ROOT, "-o", "out", "-a"][..], "out.tar", 257, &b"ustar"[..]),
        (&["get", ROOT, "-a", "-C"], &format!("{ROOT}.tar.gz"), 0, &[0x1f, 0x8b]),
    ] {
        assert!(place.ok(args).contains(&format!("Saving archive to {name}")), "{args:?}");
        let archive = fs::read(place.folder.path().join(name)).unwrap();
        assert!(archive[at..].starts_with(magic), "{args:?}");
    }
}

#[test]
fn keys_are_kept_and_moved() {
    let place = Place::new();
    let id = place.ok(&["key", "gen", "letters"]);
    assert!(id.starts_with("k51"), "{id}");
    assert_eq!(place.ok(&["key", "list"]), "self\nletters\n");
    place.ok(&["key", "export", "letters"]);
    let file = place.folder.path().join("letters.key");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(place.run(&["key", "export", "letters"]).status.code(), Some(1), "never over another file");
    assert_eq!(place.ok(&["key", "rm", "letters"]), "letters\n");
    assert_eq!(place.ok(&["key", "import", "post", "letters.key"]), id);
    assert_eq!(place.run(&["key", "rm", "nobody"]).status.code(), Some(1));
}

#[test]
fn wrong_ways_end_with_their_codes() {
    let place = Place::new();
    let path = format!("{ROOT}/nothing");
    place.ok(&["add", "-r", "tree"]);
    for (args, code, says) in [
        (&["cat", ABSENT][..], 4, "could not find"),
        (&["cat", &path], 4, "no link named"),
        (&["ls", &path], 4, "no link named"),
        (&["ls", "bogus"], 2, "invalid path"),
        (&["ls"], 2, "hpips ls"),
        (&["lss"], 2, "similar"),
        (&["ls", "--siz"], 2, "--size"),
        (&["pin"], 2, "Usage"),
        (&["pin", "rm", ABSENT], 1, "not pinned"),
        (&["block", "rm", ROOT], 1, "pinned"),
        (&["files", "stat", "/nope"], 1, "does not exist"),
        (&["files", "cp", "a", "b"], 2, "invalid path"),
        (&["add", "nowhere"], 1, "nowhere"),
        (&["add", "-n", "nowhere"], 1, "cannot read nowhere"),
        (&["block", "put", "nowhere"], 1, "Nothing was changed"),
        (&["cid", "inspect", "bogus"], 2, "invalid cid"),
        (&["config", "Bogus.Key"], 1, "Bogus"),
        (&["--timeout", "5", "id"], 2, "30s"),
        (&["--api", "/ip4/127.0.0.1/tcp/1", "id"], 1, "127.0.0.1:1"),
        (&["--api", "nonsense", "id"], 2, "/ip4/127.0.0.1/tcp/5001"),
    ] {
        let output = place.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
        assert!(errors.contains(says), "{args:?}: {errors}");
        assert!(!errors.contains("panicked"), "{args:?}: {errors}");
    }
}

#[test]
fn without_a_repo_or_with_a_locked_one_it_says_so() {
    let place = Place::bare();
    for args in [&["ls", ROOT][..], &["add", "x"], &["files", "ls"], &["config", "show"]] {
        let output = place.run(args);
        assert_eq!(output.status.code(), Some(10), "{args:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("hpips init"), "{args:?}");
    }
    assert!(place.ok(&["version", "-n"]).starts_with(env!("CARGO_PKG_VERSION")));
    place.ok(&["init"]);
    // A process that reads standard input while it adds holds the lock until it is given an end. It has opened the
    // store once it has taken more than a pipe holds.
    let mut holder =
        place.command(&["add", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    holder.stdin.as_mut().unwrap().write_all(&vec![7; 1 << 20]).unwrap();
    let locked = place.run(&["refs", "local"]);
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    let errors = String::from_utf8_lossy(&locked.stderr);
    assert_eq!(locked.status.code(), Some(11), "{errors}");
    assert!(place.run(&["refs", "local"]).status.success());
}

#[test]
fn a_reader_that_goes_away_is_fine() {
    let place = Place::new();
    let input = vec![7; 3 << 20];
    let cid = text_of(&place.run_with(&["add", "-Q"], &input), &["add"]);
    let mut child =
        place.command(&["cat", cid.trim()]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 10]).unwrap();
    drop(out);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn json_is_one_value_a_line() {
    let place = Place::new();
    place.ok(&["add", "-r", "tree"]);
    for args in
        [&["ls", ROOT][..], &["refs", "-r", ROOT], &["pin", "ls"], &["repo", "stat"], &["id"], &["doctor"]]
    {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let output = place.run(&args);
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(!printed.is_empty(), "{args:?}");
        for line in printed.lines() {
            let value: Result<serde_json::Value, _> = serde_json::from_str(line);
            assert!(value.is_ok(), "{args:?}: {line}");
        }
    }
}

#[test]
fn a_doctor_finds_a_key_that_others_can_read() {
    let place = Place::new();
    place.ok(&["add", "-r", "tree"]);
    let well = place.ok(&["doctor"]);
    assert!(well.contains("blocks read, each equals its CID"), "{well}");
    assert!(!well.contains("warn  key"), "{well}");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(place.repo().join("key"), open).unwrap();
    let found = place.run(&["doctor"]);
    assert!(String::from_utf8_lossy(&found.stdout).contains("warn  key"));
}

#[test]
fn shells_and_man_are_served() {
    let place = Place::bare();
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.ok(&["completion", shell]).contains("hpips"), "{shell}");
    }
    place.ok(&["completion", "man", "man"]);
    let page = fs::read_to_string(place.folder.path().join("man/hpips-pin-add.1")).unwrap();
    assert!(page.contains("hpips pin add") || page.contains("hpips\\-pin\\-add"), "{page}");
}

#[test]
fn an_api_elsewhere_is_never_taken_for_the_node_of_the_repo() {
    let place = Place::new();
    let endpoint = r#"{"address":"127.0.0.1:1","token":"t","pid":1}"#;
    fs::write(place.repo().join("api"), endpoint).unwrap();
    for args in [&["status"][..], &["wallet", "send", "x", "1"], &["pledge", "1MB"], &["deals"], &["unmount"]]
    {
        let output = place.run(&[args, &["--api", "/ip4/127.0.0.1/tcp/2"]].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("--api"), "{args:?}");
    }
}

#[test]
fn a_daemon_is_not_offline_and_says_when_the_repo_is_in_use() {
    let place = Place::new();
    assert_eq!(place.run(&["daemon", "--offline"]).status.code(), Some(2));
    let _store =
        hpips_store::Store::open(place.repo().join("blocks"), hpips_store::Config::default()).unwrap();
    let output = place.run(&["daemon", "--migrate", "--init"]);
    assert_eq!(output.status.code(), Some(11));
    assert!(String::from_utf8_lossy(&output.stderr).contains("in use by process"));
}

#[test]
fn the_configuration_decides_what_an_add_does() {
    let place = Place::new();
    place.ok(&["config", "Import.Profile", "unixfs-v0-2015"]);
    assert!(place.ok(&["add", "-Q", "block"]).starts_with("Qm"));
    place.ok(&["config", "Datastore.StorageMax", "1B"]);
    let refused = place.run(&["add", "-Q", "--profile", "unixfs-v1-2025", "tree/sub/deep/c", "folder"]);
    assert!(!refused.status.success(), "{}", String::from_utf8_lossy(&refused.stdout));
    let wrong = place.run(&["add", "-n", "--cid-version=0", "--hash=blake3", "block"]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn arguments_come_as_lines_and_switches_take_values() {
    let place = Place::new();
    place.ok(&["add", "-r", "tree"]);
    let lines = format!("{ROOT}/a.txt\n{ROOT}/sub/b.bin\n");
    assert_eq!(text_of(&place.run_with(&["cat"], lines.as_bytes()), &["cat"]), "hello\nbb");
    let resolved = text_of(&place.run_with(&["resolve"], ROOT.as_bytes()), &["resolve"]);
    assert_eq!(resolved, format!("/ipfs/{ROOT}\n"));
    // More than a query holds.
    let many = format!("{ROOT}/a.txt\n").repeat(2_000);
    assert_eq!(text_of(&place.run_with(&["cat"], many.as_bytes()), &["cat"]).len(), 12_000);
    assert_eq!(place.run(&["cat"]).status.code(), Some(2));
    let quiet = place.ok(&["pin", "ls", "--quiet=true", "--names=false", "--type", "recursive"]);
    assert_eq!(quiet, format!("{ROOT}\n"));
}
