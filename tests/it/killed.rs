//! `hpips add` that is killed at any moment, and run again.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::binary::{hpips, ok};

/// Directories of the tree, with as many small files and one large one in each.
const FOLDERS: u32 = 12;

fn tree(root: &Path) {
    let noise = |length: u32, seed: u32| -> Vec<u8> {
        (0..length).map(|i| (i.wrapping_add(seed << 20).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    };
    for folder in 0..FOLDERS {
        let path = root.join(format!("d{folder:02}"));
        fs::create_dir_all(&path).unwrap();
        for file in 0..FOLDERS {
            fs::write(path.join(format!("f{file:02}")), noise(2_000 + file, folder * 100 + file)).unwrap();
        }
        fs::write(path.join("large"), noise(4_500_000, folder)).unwrap();
    }
}

pub(crate) fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let of = |path: &Path| match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => bytes_below(path),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(|entry| of(&entry.path())).sum()
}

/// Starts an add and kills it as soon as the store has so many bytes. Returns whether it was still running.
fn add_and_kill(repo: &Path, tree: &Path, bytes: u64) -> bool {
    let mut child = Command::new(hpips())
        .args(["add", "--local", "-Q"])
        .arg(tree)
        .env("HPIPS_PATH", repo)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while bytes_below(&repo.join("blocks")) < bytes {
        assert!(Instant::now() < deadline, "the store does not grow");
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::yield_now();
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    !status.success()
}

#[test]
fn an_add_that_is_killed_leaves_a_sound_store_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    tree(&source);
    let expected = {
        let repo = folder.path().join("whole");
        ok(&repo, &["init"]);
        ok(&repo, &["add", "--local", "-Q", source.to_str().unwrap()])
    };
    let repo = folder.path().join("repo");
    ok(&repo, &["init"]);
    let all = bytes_below(&source);
    let mut kills = 0;
    for part in 1..=8 {
        kills += u32::from(add_and_kill(&repo, &source, all * part / 9));
        assert_eq!(ok(&repo, &["repo", "verify"]).trim(), "verify complete, all blocks validated.");
    }
    assert!(kills >= 3, "{kills} of 8 were killed");
    assert_eq!(ok(&repo, &["add", "--local", "-Q", source.to_str().unwrap()]), expected);
    let target = folder.path().join("target");
    ok(&repo, &["get", expected.trim(), "-o", target.to_str().unwrap()]);
    for folder in 0..FOLDERS {
        for file in fs::read_dir(source.join(format!("d{folder:02}"))).unwrap() {
            let path = file.unwrap().path();
            let copy = target.join(path.strip_prefix(&source).unwrap());
            assert!(fs::read(&path).unwrap() == fs::read(&copy).unwrap(), "{}", copy.display());
        }
    }
    // What was added and verified survives a collection.
    ok(&repo, &["repo", "gc"]);
    assert_eq!(ok(&repo, &["repo", "verify"]).trim(), "verify complete, all blocks validated.");
}
