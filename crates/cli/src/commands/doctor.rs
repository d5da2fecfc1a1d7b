//! `hpips doctor`.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use hpips_node::Repo;
use hpips_types::ByteCount;
use hpips_types::content::{BlockError, verify_block};
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Report, emit};
use crate::rpc::{Call, Rpc};

/// Blocks that are read and checked; enough to show a failing disk within a second.
const SAMPLE: usize = 200;
/// Of how many blocks the sample is drawn.
const POPULATION: u64 = 100_000;
/// Less free space than this is worth a word.
const FREE_BYTES_MIN: u64 = 1 << 30;
/// When this was written. A clock before it is wrong.
const WRITTEN: u64 = 1_790_000_000;

/// Check this machine and the repo.
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One finding.
#[derive(Serialize)]
struct Finding {
    verdict: Verdict,
    what: &'static str,
    text: String,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Findings(Vec<Finding>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ref {
    #[serde(rename = "Ref")]
    reference: String,
}

impl Report for Findings {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        for finding in &self.0 {
            let verdict = match finding.verdict {
                Verdict::Ok => "ok",
                Verdict::Warn => "warn",
                Verdict::Fail => "fail",
            };
            writeln!(out, "{verdict:<5} {:<8} {}", finding.what, finding.text)?;
        }
        let count = |verdict| self.0.iter().filter(|finding| finding.verdict == verdict).count();
        let words = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        match (count(Verdict::Fail), count(Verdict::Warn)) {
            (0, 0) => writeln!(out, "All well."),
            (0, warnings) => writeln!(out, "{}. Nothing lost.", words(warnings, "warning")),
            (failures, warnings) => {
                writeln!(out, "{}, {}.", words(failures, "failure"), words(warnings, "warning"))
            }
        }
    }
}

impl Findings {
    fn add(&mut self, verdict: Verdict, what: &'static str, text: impl Display) {
        self.0.push(Finding { verdict, what, text: text.to_string() });
    }
}

impl Doctor {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let mut findings = Findings(Vec::new());
        let path = context.repo_path()?;
        let repo = context.repo();
        match &repo {
            Ok(repo) => match repo.config() {
                Ok(_) => findings.add(Verdict::Ok, "repo", path.display()),
                Err(error) => findings.add(Verdict::Fail, "repo", hpips_api::chain_text(&error)),
            },
            Err(error) => findings.add(Verdict::Fail, "repo", hpips_api::chain_text(error)),
        }
        if let Ok(repo) = &repo {
            keys(repo, &mut findings);
        }
        clock(&mut findings);
        disk(&path, &mut findings);
        if repo.is_ok() {
            store(context, &mut findings);
        }
        mount(&mut findings);
        let failed = findings.0.iter().any(|finding| finding.verdict == Verdict::Fail);
        emit(&findings, context.json)?;
        Ok(if failed { Exit::Failed } else { Exit::Done })
    }
}

fn keys(repo: &Repo, findings: &mut Findings) {
    use std::os::unix::fs::PermissionsExt;
    if let Err(error) = repo.seed() {
        return findings.add(Verdict::Fail, "key", hpips_api::chain_text(&error));
    }
    let key = repo.path().join("key");
    match std::fs::metadata(&key) {
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => findings.add(
            Verdict::Warn,
            "key",
            format_args!("others on this machine can read it. Mend: chmod 600 {}", key.display()),
        ),
        Ok(_) => findings.add(Verdict::Ok, "key", "readable by you only; a copy elsewhere is up to you"),
        Err(error) => findings.add(Verdict::Fail, "key", format_args!("{}: {error}", key.display())),
    }
}

fn clock(findings: &mut Findings) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |past| past.as_secs());
    if now < WRITTEN {
        findings.add(Verdict::Fail, "clock", "it is years behind. Mend: sudo timedatectl set-ntp true");
    } else {
        findings.add(Verdict::Ok, "clock", "not behind this program; how exact it is, is not measured");
    }
}

fn disk(path: &Path, findings: &mut Findings) {
    // A repo that does not exist yet would lie on the disk of the nearest folder above.
    let Some(folder) = path.ancestors().find(|folder| folder.exists()) else { return };
    match rustix::fs::statvfs(folder) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let short = ByteCount::new(free).to_short();
            if free < FREE_BYTES_MIN {
                findings.add(
                    Verdict::Warn,
                    "disk",
                    format_args!("{short} free. Room: hpips repo gc removes what no pin keeps"),
                );
            } else {
                findings.add(Verdict::Ok, "disk", format_args!("{short} free"));
            }
        }
        Err(error) => findings.add(Verdict::Fail, "disk", format_args!("{}: {error}", folder.display())),
    }
}

fn store(context: &Context, findings: &mut Findings) {
    let rpc = match context.rpc() {
        Ok(rpc) => rpc,
        Err(error) => return findings.add(Verdict::Fail, "store", crate::output::chain_text(&error)),
    };
    let who = if rpc.is_node() { "a node runs on the repo" } else { "no node runs; start one: hpips daemon" };
    findings.add(Verdict::Ok, "node", who);
    match sample(&rpc) {
        Ok((checked, 0)) => {
            findings.add(Verdict::Ok, "store", format_args!("{checked} blocks read, each equals its CID"));
        }
        Ok((checked, damaged)) => findings.add(
            Verdict::Fail,
            "store",
            format_args!(
                "{damaged} of {checked} blocks are damaged. Which, and what pins them: hpips repo verify"
            ),
        ),
        Err(error) => findings.add(Verdict::Fail, "store", crate::output::chain_text(&error)),
    }
}

/// Reads some blocks, spread over the store, and counts those that do not equal their CIDs.
fn sample(rpc: &Rpc) -> anyhow::Result<(usize, usize)> {
    let mut seen = 0u64;
    let mut chosen: Vec<String> = Vec::new();
    // Any well-mixed sequence serves; another one each time finds more in the long run.
    let mut state = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |past| past.as_secs());
    let listed = rpc.values(Call::new("refs/local"), |found: Ref| {
        seen += 1;
        if seen > POPULATION {
            return Err(Enough.into());
        }
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if chosen.len() < SAMPLE {
            chosen.push(found.reference);
        } else if let Some(slot) =
            usize::try_from((state >> 33) % seen).ok().and_then(|at| chosen.get_mut(at))
        {
            *slot = found.reference;
        }
        Ok(())
    });
    if let Err(error) = listed
        && !error.is::<Enough>()
    {
        return Err(error);
    }
    let mut damaged = 0;
    for reference in &chosen {
        let mut bytes = Vec::new();
        let read = rpc.bytes(Call::new("block/get").arg(reference.clone()), |part| {
            bytes.extend_from_slice(part);
            Ok(())
        });
        let whole = match reference.parse::<hpips_types::Cid>() {
            // What this program cannot hash it cannot call damaged.
            Ok(cid) => !matches!(verify_block(&cid, &bytes), Err(BlockError::Mismatch { .. })),
            Err(_) => false,
        };
        if read.is_err() || !whole {
            damaged += 1;
        }
    }
    Ok((chosen.len(), damaged))
}

/// The list goes on, but the sample is drawn.
#[derive(Debug, thiserror::Error)]
#[error("enough blocks were listed")]
struct Enough;

fn mount(findings: &mut Findings) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join("fusermount3").exists());
    if !found {
        findings.add(
            Verdict::Warn,
            "mount",
            "fusermount3 not found: hpips mount is not possible. Debian: sudo apt install fuse3",
        );
    } else if !Path::new("/dev/fuse").exists() {
        findings.add(Verdict::Warn, "mount", "/dev/fuse is missing: hpips mount is not possible");
    } else {
        findings.add(Verdict::Ok, "mount", "fusermount3 and /dev/fuse are there");
    }
}
