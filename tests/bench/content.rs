//! The content engine against the machine: hashing, writing and reading as fast as it can.
//!
//! `--size 4GiB` is the one file, `--files 100000` the tree of files of 1 KiB, `--blocks 1000000` the store that is
//! collected, half of it garbage; `--quick` makes all of them small. Kubo is measured beside where `HPIPS_KUBO` names
//! it or it stands on the path. Everything lies in the folder for temporary files: set `TMPDIR` to the disk that is
//! meant.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hpips_client::blocks::Local;
use hpips_client::{AddOptions, Reporter, add_local, export, read};
use hpips_dag::{Block, Chunking, FileBuilder, Profile};
use hpips_store::{Config, PinKind, Store};
use hpips_types::Cid;
use hpips_types::content::{RAW, cid_v1};
use sha2::{Digest, Sha256};

use crate::binary::{hpips, ok};
use crate::table::{Table, a_second, bytes_of, fill, timed};

/// Bytes read, hashed or written at once, as the default profile cuts.
const PART_BYTES: usize = 1 << 20;
/// Bytes of a small file.
const SMALL_BYTES: usize = 1 << 10;
/// Files of one directory.
const FOLDER_FILES: usize = 1_000;
/// Bytes of a block of the store that is collected.
const TINY_BYTES: usize = 64;

/// How much is measured.
struct Sizes {
    file_bytes: u64,
    files: usize,
    blocks: usize,
}

impl Sizes {
    fn of(flags: &[String]) -> Result<Self, String> {
        let mut sizes = Self { file_bytes: 4 << 30, files: 100_000, blocks: 1_000_000 };
        let mut flags = flags.iter();
        while let Some(flag) = flags.next() {
            if flag == "--quick" {
                sizes = Self { file_bytes: 256 << 20, files: 5_000, blocks: 50_000 };
                continue;
            }
            let value = flags.next().ok_or(format!("{flag} needs a value"))?;
            let wrong = || format!("{value} is no number for {flag}");
            match flag.as_str() {
                "--size" => sizes.file_bytes = bytes_of(value).ok_or_else(wrong)?,
                "--files" => sizes.files = value.parse().map_err(|_| wrong())?,
                "--blocks" => sizes.blocks = value.parse().map_err(|_| wrong())?,
                _ => return Err(format!("{flag} is unknown: --size BYTES, --files N, --blocks N, --quick")),
            }
        }
        Ok(sizes)
    }
}

/// Measures and tabulates.
pub(crate) fn run(flags: &[String]) -> Table {
    let mut table = Table::default();
    let sizes = match Sizes::of(flags) {
        Ok(sizes) => sizes,
        Err(wrong) => {
            table.note(wrong);
            return table;
        }
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kubo = Kubo::find(folder.path());
    table.note(format!("{} threads, in {}", threads(), folder.path().display()));
    table.note(if kubo.is_some() { "beside Kubo" } else { "kubo not installed: no figures beside it" });
    large_file(&sizes, folder.path(), kubo.as_ref(), &mut table);
    cars(&sizes, folder.path(), &mut table);
    small_files(&sizes, folder.path(), kubo.as_ref(), &mut table);
    garbage(&sizes, folder.path(), &mut table);
    table
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// Runs `work` for every index below `count` on all cores.
fn on_all_cores(count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    work(index);
                }
            });
        }
    });
}

fn store(folder: &Path, name: &str) -> Store {
    Store::open(folder.join(name), Config::default()).expect("an empty folder")
}

fn parts_of(bytes: u64) -> usize {
    usize::try_from(bytes.div_ceil(PART_BYTES as u64)).expect("parts of a file")
}

fn large_file(sizes: &Sizes, folder: &Path, kubo: Option<&Kubo>, table: &mut Table) {
    let bytes = sizes.file_bytes;
    let parts = parts_of(bytes);
    let path = folder.join("large");
    // Made and synced in the same go: that is the limit of writing.
    let mut part = vec![0; PART_BYTES];
    let mut making = Duration::ZERO;
    let ((), took) = timed(|| {
        let mut file = File::create(&path).expect("a new file");
        let mut left = bytes;
        for number in 0..parts {
            let length = PART_BYTES.min(usize::try_from(left).unwrap_or(PART_BYTES));
            making += timed(|| fill(&mut part[..length], number as u64)).1;
            file.write_all(&part[..length]).expect("room on the disk");
            left -= length as u64;
        }
        file.sync_all().expect("a disk that syncs");
    });
    let write = a_second(bytes, took.saturating_sub(making));
    table.speed("machine::write_and_sync", write, None, "a limit");
    let ((), took) = timed(|| {
        on_all_cores(parts, |_| {
            std::hint::black_box(Sha256::digest(&part));
        });
    });
    let hash = a_second((parts * PART_BYTES) as u64, took);
    table.speed("machine::sha256/all cores", hash, None, "a limit");
    let (name, limit) = if write < hash { ("write + sync", write) } else { ("SHA-256", hash) };

    let target = store(folder, "large-store");
    let add = |store: &Store| {
        add_local(store, &path, &AddOptions::default(), &Reporter::none())
            .expect("a readable file")
            .report
            .root
    };
    let (root, took) = timed(|| add(&target));
    let speed = a_second(bytes, took);
    table.speed("client::add/one file", speed, Some((name, limit)), "0.70");
    let (again, took) = timed(|| add(&target));
    assert_eq!(again, root, "the same file");
    table.speed("client::add/one file, blocks present", a_second(bytes, took), Some(("SHA-256", hash)), "");

    let file = File::open(&path).expect("the file just written");
    let sum = AtomicU64::new(0);
    let read_all = || {
        on_all_cores(parts, |number| {
            let offset = (number * PART_BYTES) as u64;
            let mut part = vec![0; PART_BYTES.min(usize::try_from(bytes - offset).unwrap_or(PART_BYTES))];
            file.read_exact_at(&mut part, offset).expect("the file just written");
            sum.fetch_add(crc32c::crc32c(&part).into(), Ordering::Relaxed);
        });
    };
    read_all();
    let took = best(|| timed(read_all).1);
    std::hint::black_box(sum.into_inner());
    let limit = a_second(bytes, took);
    table.speed("machine::cached read + crc32c/all cores", limit, None, "a limit");
    let blocks = Local(target);
    let took = best(|| {
        let mut got = 0;
        let (done, took) = timed(|| {
            read(&blocks, root, .., &mut |part| {
                got += part.len() as u64;
                Ok(())
            })
        });
        done.expect("what was just added");
        assert_eq!(got, bytes, "all of the file");
        took
    });
    table.speed("client::cat", a_second(bytes, took), Some(("cached read + crc32c", limit)), "0.70");
    let out = folder.join("large-out");
    // Nothing older waits to be written when either begins.
    let took = best(|| {
        let _ = fs::remove_file(&out);
        rustix::fs::sync();
        timed(|| copy(&file, &out, bytes)).1
    });
    let limit = a_second(bytes, took);
    table.speed("machine::cached read + crc32c + write", limit, None, "a limit");
    let took = best(|| {
        fs::remove_file(&out).expect("just written");
        rustix::fs::sync();
        let (done, took) = timed(|| export(root, &blocks, &out, &mut |_| {}));
        assert_eq!(done.expect("what was just added").bytes.get(), bytes);
        took
    });
    table.speed("client::get", a_second(bytes, took), Some(("cached read + crc32c + write", limit)), "0.70");
    fs::remove_file(&out).expect("just written");
    if let Some(took) = kubo.and_then(|kubo| kubo.add(&path)) {
        let kubo = a_second(bytes, took);
        table.speed("client::add/one file, beside Kubo", speed, Some(("Kubo", kubo)), "3");
    }
    fs::remove_dir_all(folder.join("large-store")).expect("just written");
    fs::remove_file(&path).expect("just written");
}

/// The best of a few: what else the machine does only ever adds.
fn best(mut measure: impl FnMut() -> Duration) -> Duration {
    (0..5).map(|_| measure()).min().unwrap_or_default()
}

/// A DAG through the program, as people use it: out into a pipe that is thrown away, and in from a file.
fn cars(sizes: &Sizes, folder: &Path, table: &mut Table) {
    let path = folder.join("large");
    let mut file = File::create(&path).expect("a new file");
    let mut part = vec![0; PART_BYTES];
    let parts = parts_of(sizes.file_bytes);
    for number in 0..parts {
        fill(&mut part, number as u64 + (1 << 43));
        file.write_all(&part).expect("room on the disk");
    }
    drop(file);
    let bytes = (parts * PART_BYTES) as u64;
    let (from, to) = (folder.join("from"), folder.join("to"));
    ok(&from, &["init"]);
    ok(&to, &["init"]);
    let root = ok(&from, &["add", "--local", "-Q", &path.to_string_lossy()]);
    fs::remove_file(&path).expect("just written");
    let export = || {
        let mut command = Command::new(hpips());
        command.args(["dag", "export", root.trim()]).env("HPIPS_PATH", &from);
        command
    };
    let took =
        best(|| timed(|| assert!(export().stdout(Stdio::null()).status().is_ok_and(|s| s.success()))).1);
    table.speed("hpips dag export", a_second(bytes, took), None, "1000 MB/s");
    let car = folder.join("car");
    let out = File::create(&car).expect("a new file");
    assert!(export().stdout(out).status().is_ok_and(|status| status.success()));
    rustix::fs::sync();
    let copy = folder.join("copy");
    let ((), took) = timed(|| {
        let mut out = File::create(&copy).expect("a new file");
        io::copy(&mut File::open(&car).expect("just written"), &mut out).expect("room on the disk");
        out.sync_all().expect("a disk that syncs");
    });
    let limit = a_second(bytes, took);
    table.speed("machine::copy + sync", limit, None, "a limit");
    fs::remove_file(&copy).expect("just written");
    rustix::fs::sync();
    let (_, took) = timed(|| ok(&to, &["dag", "import", &car.to_string_lossy()]));
    let what = "1000 MB/s or 0.70";
    table.speed("hpips dag import", a_second(bytes, took), Some(("copy + sync", limit)), what);
    fs::remove_file(&car).expect("just written");
    fs::remove_dir_all(&from).expect("just written");
    fs::remove_dir_all(&to).expect("just written");
}

/// Copies a file part by part, with the sum that reading a block takes.
fn copy(file: &File, to: &Path, bytes: u64) {
    let mut out = File::create_new(to).expect("a new file");
    let mut part = vec![0; PART_BYTES];
    let mut at = 0;
    while at < bytes {
        let length = PART_BYTES.min(usize::try_from(bytes - at).unwrap_or(PART_BYTES));
        file.read_exact_at(&mut part[..length], at).expect("the file just written");
        std::hint::black_box(crc32c::crc32c(&part[..length]));
        out.write_all(&part[..length]).expect("room on the disk");
        at += length as u64;
    }
}

fn small_files(sizes: &Sizes, folder: &Path, kubo: Option<&Kubo>, table: &mut Table) {
    let tree = folder.join("tree");
    for number in 0..sizes.files.div_ceil(FOLDER_FILES) {
        fs::create_dir_all(tree.join(format!("d{number:04}"))).expect("a temporary folder");
    }
    on_all_cores(sizes.files, |number| {
        let mut content = [0; SMALL_BYTES];
        fill(&mut content, number as u64 + (1 << 40));
        let path = tree.join(format!("d{:04}/f{:04}", number / FOLDER_FILES, number % FOLDER_FILES));
        fs::write(path, content).expect("room on the disk");
    });
    let walk = || {
        let paths = files_below(&tree);
        assert_eq!(paths.len(), sizes.files, "every file");
        on_all_cores(paths.len(), |number| {
            std::hint::black_box(Sha256::digest(fs::read(&paths[number]).expect("a file just written")));
        });
    };
    walk();
    let ((), limit) = timed(walk);
    table.time("machine::walk + open + read + sha256", limit, None, "a limit");
    let look = || {
        let paths = files_below(&tree);
        on_all_cores(paths.len(), |number| {
            std::hint::black_box(fs::symlink_metadata(&paths[number]).expect("a file just written"));
        });
    };
    let ((), looking) = timed(look);
    table.time("machine::walk + stat", looking, None, "a limit");
    let repo = folder.join("repo");
    fs::create_dir(&repo).expect("a temporary folder");
    let target = store(&repo, "store");
    let options = AddOptions { repo: Some(repo.clone()), ..AddOptions::default() };
    let add = || add_local(&target, &tree, &options, &Reporter::none()).expect("a readable tree").report;
    let (first, took) = timed(add);
    assert_eq!(first.files, sizes.files as u64, "every file");
    let what = format!("client::add/files={}", sizes.files);
    table.time(&what, took, Some(("walk + open + read + sha256", limit)), "0.50");
    let (again, unchanged) = timed(add);
    assert_eq!(again.root, first.root, "the same tree");
    table.note(format!("of {} unchanged files {} were not read again", sizes.files, again.unread));
    table.time(&format!("{what}, unchanged"), unchanged, Some(("first time", took)), "20");
    table.time(&format!("{what}, unchanged, its limit"), unchanged, Some(("walk + stat", looking)), "");
    if let Some(kubo) = kubo.and_then(|kubo| kubo.add(&tree)) {
        table.time(&format!("{what}, beside Kubo"), took, Some(("Kubo", kubo)), "5");
    }
    fs::remove_dir_all(&tree).expect("just written");
    fs::remove_dir_all(&repo).expect("just written");
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder just written") {
            let entry = entry.expect("an entry just written");
            let list =
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) { &mut folders } else { &mut found };
            list.push(entry.path());
        }
    }
    found
}

/// Half of the blocks are leaves of a pinned file, the others nobody's; a reader reads on meanwhile.
fn garbage(sizes: &Sizes, folder: &Path, table: &mut Table) {
    let target = store(folder, "garbage");
    let half = sizes.blocks / 2;
    let mut builder = FileBuilder::new(Profile::default().with_chunking(Chunking::Size(TINY_BYTES)));
    let mut batch = Vec::new();
    let mut part = vec![0; PART_BYTES];
    for number in 0..parts_of((half * TINY_BYTES) as u64) {
        fill(&mut part, number as u64 + (1 << 41));
        builder.push(&part[..PART_BYTES.min(half * TINY_BYTES - number * PART_BYTES)], &mut batch);
        target.put_built(core::mem::take(&mut batch)).expect("room on the disk");
    }
    let root = builder.finish(&mut batch).cid;
    target.put_built(batch).expect("room on the disk");
    target.pin(&root, PinKind::Recursive, "kept").expect("a store that takes pins");
    let numbers: Vec<usize> = (0..half).collect();
    for numbers in numbers.chunks(PART_BYTES / TINY_BYTES) {
        let block = |number: &usize| {
            let mut content = vec![0; TINY_BYTES];
            fill(&mut content, *number as u64 + (1 << 42));
            Block { cid: cid_v1(RAW, &content), bytes: content.into() }
        };
        target.put_built(numbers.iter().map(block)).expect("room on the disk");
    }
    let name = format!("blocks={}", sizes.blocks);
    // What a killed process leaves: the files as they are while the store is open.
    copy_folder(&folder.join("garbage"), &folder.join("killed"));
    // The copy is on the disk, as the original is.
    rustix::fs::sync();
    drop(target);
    let (killed, took) = timed(|| store(folder, "killed"));
    table.time(&format!("store::open after kill -9/{name}"), took, None, "<= 0.05 s");
    drop(killed);
    fs::remove_dir_all(folder.join("killed")).expect("just written");
    let (target, took) = timed(|| store(folder, "garbage"));
    table.time(&format!("store::open/{name}"), took, None, "<= 0.05 s");
    let is_done = AtomicBool::new(false);
    let (report, took, reads) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| reads_until(&target, root, &is_done));
        let (report, took) = timed(|| target.collect(&[]));
        is_done.store(true, Ordering::Release);
        (report, took, reader.join().expect("a reader that does not panic"))
    });
    let removed = report.expect("a sound store").blocks;
    table.note(format!(
        "{removed} of {} blocks collected; one reader read {reads} blocks meanwhile",
        sizes.blocks
    ));
    table.time(&format!("store::collect/{name}"), took, None, "<= 10 s");
    fs::remove_dir_all(folder.join("garbage")).expect("just written");
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a new folder");
    for entry in fs::read_dir(from).expect("a store's folder").map(|entry| entry.expect("an entry")) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            fs::copy(&from, &to).expect("room on the disk");
        }
    }
}

/// Reads the leaves of a file again and again; returns how many it read.
fn reads_until(store: &Store, root: Cid, is_done: &AtomicBool) -> u64 {
    let blocks = Local(store.clone());
    let mut reads = 0;
    while !is_done.load(Ordering::Acquire) {
        // Whoever takes the bytes refuses to end the round: that is no failure of the store.
        let _ = read(&blocks, root, .., &mut |_| {
            reads += 1;
            if is_done.load(Ordering::Acquire) { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
        });
    }
    reads
}

/// A Kubo with a repo of its own and no daemon.
struct Kubo {
    program: PathBuf,
    repo: PathBuf,
}

impl Kubo {
    fn find(folder: &Path) -> Option<Self> {
        let named = std::env::var_os("HPIPS_KUBO").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path =
            || std::env::split_paths(&path).map(|folder| folder.join("ipfs")).find(|path| path.is_file());
        let kubo = Self { program: named.or_else(on_path)?, repo: folder.join("kubo") };
        let init = kubo.command().args(["init", "--profile", "test"]).stdout(Stdio::null()).status();
        init.ok()?.success().then_some(kubo)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("IPFS_PATH", &self.repo).stderr(Stdio::null()).stdin(Stdio::null());
        command
    }

    /// How long it takes to add a path with the same profile.
    fn add(&self, path: &Path) -> Option<Duration> {
        let options =
            ["--offline", "add", "-r", "-Q", "--cid-version=1", "--raw-leaves", "--chunker=size-1048576"];
        let (status, took) = timed(|| self.command().args(options).arg(path).stdout(Stdio::null()).status());
        status.ok()?.success().then_some(took)
    }
}
