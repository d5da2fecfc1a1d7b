//! A request as a file of the repo: one file each, so that a change costs one small write however many there are.
//!
//! ```text
//! pinning/REQUESTID.json      {"version":1, ...}
//! ```

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hpips_types::Cid;
use serde::{Deserialize, Serialize};

use super::object::Pin;

/// Version of the format.
const VERSION: u32 = 1;
/// A request has at most 64 KiB in its client's words; written again it may be a little longer.
const FILE_BYTES_MAX: u64 = 256 << 10;
const EXTENSION: &str = "json";

/// How far a request got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// Not all of it is here.
    Waiting,
    /// Pinned.
    Pinned,
    /// Given up, and why.
    Failed(String),
}

/// What is remembered of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// Its name, hexadecimal.
    pub(super) id: String,
    /// When it came, milliseconds since 1970; no other has the same.
    pub(super) created_ms: u64,
    /// What was asked for.
    pub(super) pin: Pin,
    /// How far it got.
    pub(super) stage: Stage,
    /// Whether the store's pin was made for requests, and not by hand before.
    pub(super) owns: bool,
    /// Roots that requests it replaces had pinned: let go when it is pinned itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    releases: Vec<String>,
}

impl Record {
    pub(super) fn new(id: String, created_ms: u64, pin: Pin) -> Self {
        let stage = Stage::Waiting;
        Self { version: VERSION, id, created_ms, pin, stage, owns: false, releases: Vec::new() }
    }

    /// Roots to let go.
    pub(super) fn releases(&self) -> Vec<Cid> {
        self.releases.iter().filter_map(|text| text.parse().ok()).collect()
    }

    pub(super) fn set_releases(&mut self, roots: &[Cid]) {
        self.releases = roots.iter().map(ToString::to_string).collect();
    }

    /// About the memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let texts = self.pin.origins.iter().map(String::len).sum::<usize>();
        let pairs = self.pin.meta.iter().map(|(key, value)| key.len() + value.len() + 64).sum::<usize>();
        self.pin.name.len() + texts + pairs + 512
    }
}

/// The folder of the records.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// The folder, made when missing, and what is in it. What cannot be read is left alone and named in the log.
    ///
    /// # Errors
    /// The file system's, about the folder itself.
    pub(super) fn open(path: PathBuf) -> io::Result<(Self, Vec<Record>)> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        let mut records = Vec::new();
        for entry in fs::read_dir(&path)? {
            let path = entry?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(EXTENSION) => match read(&path) {
                    Ok(record) => records.push(record),
                    Err(error) => {
                        tracing::warn!(path = %path.display(), %error, "a pin request cannot be read");
                    }
                },
                // It was being written when the node stopped, and was not answered.
                Some("new") => {
                    let _ = fs::remove_file(&path);
                }
                _ => {}
            }
        }
        Ok((Self(path), records))
    }

    fn path(&self, id: &str) -> PathBuf {
        self.0.join(id).with_extension(EXTENSION)
    }

    /// Writes a record so that the old or the whole new one is found afterwards; durable when it returns.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        let path = self.path(&record.id);
        let temporary = path.with_extension("new");
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        fs::File::open(&self.0)?.sync_all()
    }

    /// Removes a record; one that is not there is fine.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn remove(&self, id: &str) -> io::Result<()> {
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::File::open(&self.0)?.sync_all(),
        }
    }
}

fn read(path: &Path) -> io::Result<Record> {
    let wrong = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text);
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(wrong("too long"));
    }
    let record: Record = serde_json::from_slice(&fs::read(path)?)?;
    if record.version != VERSION {
        return Err(wrong("of another version of this program"));
    }
    if path.file_stem().and_then(|stem| stem.to_str()) != Some(record.id.as_str()) {
        return Err(wrong("named otherwise than its request"));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pinning");
        let (records, found) = Folder::open(path.clone()).unwrap();
        assert!(found.is_empty());
        let (pin, root) = super::super::object::Pin::parse(br#"{"cid":"bafkqaaa","name":"n"}"#).unwrap();
        let mut record = Record::new("ab".into(), 7, pin);
        record.set_releases(&[root]);
        record.stage = Stage::Failed("why".into());
        records.write(&record).unwrap();
        for (name, text) in [("cd.json", "{"), ("ef.new", "{}"), ("gh.json", "{\"version\":2}"), ("note", "")]
        {
            fs::write(path.join(name), text).unwrap();
        }
        fs::copy(path.join("ab.json"), path.join("ij.json")).unwrap();
        let (records, found) = Folder::open(path.clone()).unwrap();
        assert_eq!(found, [record]);
        assert_eq!(found[0].releases(), [root]);
        assert!(path.join("cd.json").exists() && !path.join("ef.new").exists());
        records.remove("ab").unwrap();
        records.remove("ab").unwrap();
        assert!(Folder::open(path).unwrap().1.is_empty());
    }
}
