//! What of the local files is taken, as the parts of an upload.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hpips_client::Filter;

use super::Add;
use crate::exit::{Exit, Stop};
use crate::rpc::{Part, Upload};

/// How deep folders may lie in each other.
const DEPTH_MAX: usize = 512;

/// The parts of an upload and how much is in them.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) parts: Vec<Part>,
    /// Bytes of the files; standard input is not known.
    pub(super) bytes: u64,
}

/// Walks everything that was named, in the order of names as Kubo does, so that the lines come in its order.
pub(super) fn walk(add: &Add) -> anyhow::Result<Tree> {
    let rules = add.filter()?;
    let mut walker = Walker { add, rules, top: PathBuf::new(), tree: Tree::default() };
    for path in &add.paths {
        if path.as_os_str() == "-" {
            let name = add.stdin_name.clone().unwrap_or_default();
            walker.tree.parts.push(Part::new(name, Upload::Stdin));
            continue;
        }
        // `.` and `a/..` have no last part of their own.
        let whole = if path.file_name().is_some() {
            path.clone()
        } else {
            fs::canonicalize(path).map_err(|error| refused(path, &error))?
        };
        let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let follow = add.dereference_args || add.dereference_symlinks;
        walker.top.clone_from(path);
        walker.visit(path, &name, follow, 0)?;
    }
    Ok(walker.tree)
}

struct Walker<'a> {
    add: &'a Add,
    rules: Filter,
    /// What is added now: rules are meant below it.
    top: PathBuf,
    tree: Tree,
}

impl Walker<'_> {
    fn visit(&mut self, path: &Path, name: &str, follow: bool, depth: usize) -> anyhow::Result<()> {
        let meta = if follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
        let meta = meta.map_err(|error| refused(path, &error))?;
        if depth > DEPTH_MAX {
            let text =
                format!("{} lies more than {DEPTH_MAX} folders deep. Nothing was added", path.display());
            return Err(Stop::new(Exit::Failed, text).into());
        }
        if meta.is_dir() {
            self.part(name, Upload::Folder, &meta);
            return self.entries(path, name, depth);
        }
        if meta.is_symlink() {
            let target = fs::read_link(path).map_err(|error| refused(path, &error))?;
            self.part(name, Upload::Link(target), &meta);
        } else if meta.is_file() {
            self.tree.bytes += meta.len();
            self.part(name, Upload::File(path.to_owned()), &meta);
        } else {
            let text = format!("{} is neither file, folder nor symlink. Nothing was added", path.display());
            return Err(Stop::new(Exit::Failed, text).into());
        }
        Ok(())
    }

    fn entries(&mut self, folder: &Path, name: &str, depth: usize) -> anyhow::Result<()> {
        let mut entries: Vec<_> =
            fs::read_dir(folder).and_then(Iterator::collect).map_err(|error| refused(folder, &error))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let own = entry.file_name();
            let Some(own) = own.to_str() else {
                let text =
                    format!("the name of {} is not UTF-8. Nothing was added; rename it", path.display());
                return Err(Stop::new(Exit::Failed, text).into());
            };
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let below = path.strip_prefix(&self.top).unwrap_or(&path);
            let is_hidden = own.starts_with('.') && !self.add.hidden;
            if is_hidden || self.rules.leaves_out(below, is_folder) {
                continue;
            }
            if is_folder && self.add.empty_dirs == Some(false) && is_empty(&path)? {
                continue;
            }
            self.visit(&path, &format!("{name}/{own}"), self.add.dereference_symlinks, depth + 1)?;
        }
        Ok(())
    }

    fn part(&mut self, name: &str, upload: Upload, meta: &Metadata) {
        let mut part = Part::new(name, upload);
        if self.add.preserve_mode {
            part.mode = Some(meta.mode() & 0o7777);
        }
        if self.add.preserve_mtime {
            let nanoseconds = u32::try_from(meta.mtime_nsec()).unwrap_or_default();
            part.mtime = Some((meta.mtime(), nanoseconds));
        }
        self.tree.parts.push(part);
    }
}

fn is_empty(folder: &PathBuf) -> anyhow::Result<bool> {
    Ok(fs::read_dir(folder).map_err(|error| refused(folder, &error))?.next().is_none())
}

fn refused(path: &Path, error: &std::io::Error) -> anyhow::Error {
    Stop::new(Exit::Failed, format!("cannot read {}: {error}. Nothing was added", path.display())).into()
}
