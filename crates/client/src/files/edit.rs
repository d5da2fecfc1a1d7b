//! Changing directories, from the changed one up to the root.

use std::collections::BTreeMap;

use hpips_dag::{DirectoryBuilder, Kind, Metadata, Mtime, Node, Profile, edit_directory, with_metadata};
use hpips_types::Cid;
use hpips_types::content::RAW;

use super::path::{segments, shown};
use super::view::shape;
use super::{Existing, Files, FilesError, Parents};
use crate::read;

/// What happens to one entry.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// It becomes this, whatever it was.
    Set(Node),
    /// It goes.
    Remove,
}

/// A directory that was read, to be built again.
struct Open {
    profile: Profile,
    metadata: Metadata,
    entries: BTreeMap<String, Node>,
}

impl Files {
    /// Makes a directory. With [`Parents::Make`] an existing one is fine. `cid_v0` and `hash` (a multihash code) decide
    /// its CID where given; otherwise the parent's do.
    ///
    /// # Errors
    /// [`FilesError`] by variant.
    pub fn mkdir(
        &self,
        path: &str,
        parents: Parents,
        cid_v0: Option<bool>,
        hash: Option<u64>,
    ) -> Result<(), FilesError> {
        let steps = segments(path)?;
        let _turn = self.turn();
        let (root, _hold) = self.begin()?;
        match self.find(&root, &steps) {
            Ok(cid) if parents == Parents::Make => {
                let (_, info) = self.look(&cid, path)?;
                let is_there = info.kind == Kind::Directory;
                return if is_there {
                    Ok(())
                } else {
                    Err(FilesError::NotADirectory { path: path.to_owned() })
                };
            }
            Ok(_) => return Err(FilesError::Exists { path: path.to_owned() }),
            Err(FilesError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut profile = self.nearest(&root, &steps)?;
        if let Some(is_v0) = cid_v0 {
            profile = profile.with_cid_version(is_v0);
        }
        if let Some(hash) = hash {
            profile = profile.with_hash(hash)?;
        }
        let mut out = Vec::new();
        let node = DirectoryBuilder::new(profile).finish(&mut out)?;
        self.put(out)?;
        self.apply(&root, &steps, Change::Set(node), parents)
    }

    /// Links `source`, the root of anything, at a path; nothing but its root block is read. A path that ends with a slash
    /// or is a directory takes it under `name`.
    ///
    /// # Errors
    /// [`FilesError::Exists`] when something stands there and `existing` does not give it up.
    pub fn link(
        &self,
        source: Cid,
        name: &str,
        to: &str,
        parents: Parents,
        existing: Existing,
    ) -> Result<(), FilesError> {
        let _turn = self.turn();
        let (root, hold) = self.begin()?;
        hold.keep(&source);
        self.link_below(&root, source, name, to, parents, existing)
    }

    fn link_below(
        &self,
        root: &Cid,
        source: Cid,
        name: &str,
        to: &str,
        parents: Parents,
        existing: Existing,
    ) -> Result<(), FilesError> {
        let steps = self.target(root, name, to)?;
        self.require_free(root, &steps, existing)?;
        let node = self.node(&source, to)?;
        self.apply(root, &steps, Change::Set(node), parents)
    }

    /// Copies within the files; costs no content.
    ///
    /// # Errors
    /// [`FilesError`] by variant.
    pub fn cp(&self, from: &str, to: &str, parents: Parents, existing: Existing) -> Result<(), FilesError> {
        let steps = segments(from)?;
        let name = steps.last().map_or("", String::as_str);
        let _turn = self.turn();
        let (root, _hold) = self.begin()?;
        let source = self.find(&root, &steps)?;
        self.link_below(&root, source, name, to, parents, existing)
    }

    /// Moves within the files, in one change. A file that is named as the target is replaced, as with Kubo; what stands in
    /// the way in a directory is not.
    ///
    /// # Errors
    /// [`FilesError`] by variant.
    pub fn mv(&self, from: &str, to: &str) -> Result<(), FilesError> {
        let source = segments(from)?;
        let name = source.last().ok_or(FilesError::Root)?;
        let _turn = self.turn();
        let (root, _hold) = self.begin()?;
        let cid = self.find(&root, &source)?;
        let target = self.target(&root, name, to)?;
        if target == source {
            return Ok(());
        }
        if target.starts_with(&source) {
            return Err(FilesError::IntoItself { path: from.to_owned() });
        }
        if source.starts_with(&target) {
            return Err(FilesError::Exists { path: to.to_owned() });
        }
        if target != segments(to)? {
            self.require_free(&root, &target, Existing::Keep)?;
        }
        let node = self.node(&cid, from)?;
        let with = self.rebuild(&root, &target, Change::Set(node), Parents::Require)?;
        let without = self.rebuild(&with, &source, Change::Remove, Parents::Require)?;
        Ok(self.store.set_files_root(&without)?)
    }

    /// Removes an entry; directories only when `recursive`.
    ///
    /// # Errors
    /// [`FilesError`] by variant.
    pub fn rm(&self, path: &str, recursive: bool) -> Result<(), FilesError> {
        let steps = segments(path)?;
        if steps.is_empty() {
            return Err(FilesError::Root);
        }
        let _turn = self.turn();
        let (root, _hold) = self.begin()?;
        let cid = self.find(&root, &steps)?;
        if !recursive && self.look(&cid, path)?.1.kind == Kind::Directory {
            return Err(FilesError::IsADirectory { path: path.to_owned() });
        }
        self.apply(&root, &steps, Change::Remove, Parents::Require)
    }

    /// Changes CID version and hash function of one directory; what it holds keeps its own.
    ///
    /// # Errors
    /// [`FilesError`] by variant.
    pub fn chcid(&self, path: &str, cid_v0: Option<bool>, hash: Option<u64>) -> Result<(), FilesError> {
        let steps = segments(path)?;
        let _turn = self.turn();
        let (root, _hold) = self.begin()?;
        let cid = self.find(&root, &steps)?;
        let mut open = self.open(&cid, &steps)?;
        if let Some(is_v0) = cid_v0 {
            open.profile = open.profile.with_cid_version(is_v0);
        }
        if let Some(hash) = hash {
            open.profile = open.profile.with_hash(hash)?;
        }
        let node = self.close(open)?;
        if steps.is_empty() {
            return Ok(self.store.set_files_root(&node.cid)?);
        }
        self.apply(&root, &steps, Change::Set(node), Parents::Require)
    }

    /// Changes one entry and sets the root.
    pub(super) fn apply(
        &self,
        root: &Cid,
        steps: &[String],
        change: Change,
        parents: Parents,
    ) -> Result<(), FilesError> {
        let root = self.rebuild(root, steps, change, parents)?;
        Ok(self.store.set_files_root(&root)?)
    }

    /// The root after a change of one entry; its blocks are stored.
    fn rebuild(
        &self,
        root: &Cid,
        steps: &[String],
        change: Change,
        parents: Parents,
    ) -> Result<Cid, FilesError> {
        let (name, above) = steps.split_last().ok_or(FilesError::Root)?;
        // The directories on the way that are there.
        let mut way = vec![*root];
        for (depth, step) in above.iter().enumerate() {
            match self.find(&way[depth], std::slice::from_ref(step)) {
                Ok(cid) => way.push(cid),
                Err(FilesError::NotFound { .. }) if parents == Parents::Make => break,
                Err(FilesError::NotFound { .. }) => {
                    return Err(FilesError::NotFound { path: shown(&above[..=depth]) });
                }
                Err(error) => return Err(error),
            }
        }
        let mut change = (name, change);
        for step in above[way.len() - 1..].iter().rev() {
            let mut builder = DirectoryBuilder::new(self.profile_of(&way[way.len() - 1])?);
            if let Change::Set(node) = change.1 {
                builder.add(change.0, node)?;
            }
            let mut out = Vec::new();
            let node = builder.finish(&mut out)?;
            self.put(out)?;
            change = (step, Change::Set(node));
        }
        for (depth, cid) in way.iter().enumerate().rev() {
            let here = &above[..depth];
            if self.look(cid, &shown(here))?.1.kind != Kind::Directory {
                return Err(FilesError::NotADirectory { path: shown(here) });
            }
            let node = self.edit(cid, change.0, change.1)?;
            if depth == 0 {
                return Ok(node.cid);
            }
            change = (&above[depth - 1], Change::Set(node));
        }
        Ok(*root)
    }

    /// Changes one entry of a directory.
    fn edit(&self, cid: &Cid, name: &str, change: Change) -> Result<Node, FilesError> {
        let node = match change {
            Change::Set(node) => Some(node),
            Change::Remove => None,
        };
        let blocks = self.blocks.as_ref();
        let mut out = Vec::new();
        let mut get = |cid: &Cid| blocks.get(cid);
        let node = edit_directory(&self.profile_of(cid)?, cid, name, node, &mut get, &mut out)?;
        self.put(out)?;
        Ok(node)
    }

    /// Sets the permission bits of a file or directory.
    ///
    /// # Errors
    /// [`FilesError`] by variant.
    pub fn set_mode(&self, path: &str, mode: u32) -> Result<(), FilesError> {
        self.annotate(path, |metadata| metadata.mode = Some(mode & 0o7777))
    }

    /// Sets the modification time of a file or directory.
    ///
    /// # Errors
    /// [`FilesError`] by variant.
    pub fn set_mtime(&self, path: &str, mtime: Mtime) -> Result<(), FilesError> {
        self.annotate(path, |metadata| metadata.mtime = Some(mtime))
    }

    fn annotate(&self, path: &str, change: impl FnOnce(&mut Metadata)) -> Result<(), FilesError> {
        let steps = segments(path)?;
        let _turn = self.turn();
        let (root, _hold) = self.begin()?;
        let cid = self.find(&root, &steps)?;
        let (block, info) = self.look(&cid, path)?;
        let mut metadata = Metadata { mode: info.mode, mtime: info.mtime };
        change(&mut metadata);
        // A raw block says nothing of how files are made here, as with Kubo.
        let profile = if cid.codec() == RAW { self.profile } else { self.profile_of(&cid)? };
        let (block, node) = with_metadata(&profile, &cid, &block, metadata)
            .map_err(|source| FilesError::Decode { path: path.to_owned(), source })?;
        self.put(vec![block])?;
        if steps.is_empty() {
            return Ok(self.store.set_files_root(&node.cid)?);
        }
        self.apply(&root, &steps, Change::Set(node), Parents::Require)
    }

    /// Reads a directory.
    fn open(&self, cid: &Cid, steps: &[String]) -> Result<Open, FilesError> {
        let path = shown(steps);
        let (_, info) = self.look(cid, &path)?;
        if info.kind != Kind::Directory {
            return Err(FilesError::NotADirectory { path });
        }
        let entries = read::list(self.blocks.as_ref(), *cid)?.into_iter().map(|entry| {
            let node = Node { cid: entry.cid, tsize: entry.tsize, file_bytes: 0 };
            (entry.name, node)
        });
        let metadata = Metadata { mode: info.mode, mtime: info.mtime };
        Ok(Open { profile: self.profile_of(cid)?, metadata, entries: entries.collect() })
    }

    fn close(&self, open: Open) -> Result<Node, FilesError> {
        let mut builder = DirectoryBuilder::new(open.profile).with(open.metadata);
        for (name, node) in &open.entries {
            builder.add(name, *node)?;
        }
        let mut out = Vec::new();
        let node = builder.finish(&mut out)?;
        self.put(out)?;
        Ok(node)
    }

    /// The profile under which a directory with this CID is built again.
    fn profile_of(&self, cid: &Cid) -> Result<Profile, FilesError> {
        let is_v0 = cid.version() == cid::Version::V0;
        // An inlined directory names no hash function.
        if cid.hash().code() == hpips_types::content::IDENTITY {
            return Ok(self.profile.with_cid_version(is_v0));
        }
        Ok(self.profile.with_cid_version(is_v0).with_hash(cid.hash().code())?)
    }

    /// The profile of the innermost directory that stands on a way.
    fn nearest(&self, root: &Cid, steps: &[String]) -> Result<Profile, FilesError> {
        for end in (0..steps.len()).rev() {
            match self.find(root, &steps[..end]) {
                Ok(cid) => return self.profile_of(&cid),
                Err(FilesError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.profile_of(root)
    }

    /// What a root's parent has to know.
    fn node(&self, cid: &Cid, path: &str) -> Result<Node, FilesError> {
        let (block, info) = self.look(cid, path)?;
        let (_, tsize) = shape(cid, &block, path)?;
        Ok(Node { cid: *cid, tsize, file_bytes: info.file_bytes })
    }

    /// Where something named `name` goes when it is sent to `to`.
    fn target(&self, root: &Cid, name: &str, to: &str) -> Result<Vec<String>, FilesError> {
        let mut steps = segments(to)?;
        let is_inside = to.ends_with('/')
            || match self.find(root, &steps) {
                Ok(cid) => self.look(&cid, to)?.1.kind == Kind::Directory,
                Err(FilesError::NotFound { .. }) => false,
                Err(error) => return Err(error),
            };
        if is_inside {
            hpips_dag::safe_name(name).map_err(|_| FilesError::Path { path: name.to_owned() })?;
            steps.push(name.to_owned());
        }
        Ok(steps)
    }

    fn require_free(&self, root: &Cid, steps: &[String], existing: Existing) -> Result<(), FilesError> {
        match self.find(root, steps) {
            Ok(cid)
                if existing == Existing::Replace
                    && self.look(&cid, &shown(steps))?.1.kind != Kind::Directory =>
            {
                Ok(())
            }
            Ok(_) => Err(FilesError::Exists { path: shown(steps) }),
            Err(FilesError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
