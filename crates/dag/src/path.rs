//! Paths through directories and documents alike.

use bytes::Bytes;
use cid::Cid;
use hpips_types::content::{DAG_CBOR, DAG_JSON, DAG_PB, RAW};

use crate::document::{Followed, follow};
use crate::resolve::Resolver;
use crate::walk::{Step, Walk, WalkError};

/// What a path may lead through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathRules {
    /// Directories, and documents that have links: what a gateway shows.
    Content,
    /// Every block that can be read, dag-pb in its logical form where it is no directory or has no such entry:
    /// what commands on DAGs follow.
    Data,
}

/// The end of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathEnd {
    /// The root, and the block that each segment stands for or in; the last is where the path ends.
    pub roots: Vec<Cid>,
    /// Segments that lead into the last block's document and to no link.
    pub remainder: Vec<String>,
}

impl PathEnd {
    /// The block at the end.
    pub fn cid(&self) -> Cid {
        *self.roots.last().expect("begins with the root")
    }
}

/// Follows names through directories, and keys and indices through documents. Yields one [`PathEnd`].
///
/// It needs the blocks that are passed through, in order; of the last one only where the path ends within it.
#[derive(Debug)]
pub struct PathResolver {
    rules: PathRules,
    cid: Cid,
    segments: Vec<String>,
    /// Segments used.
    at: usize,
    roots: Vec<Cid>,
    /// The directory that is being searched.
    directory: Option<Directory>,
    is_done: bool,
}

#[derive(Debug)]
struct Directory {
    walk: Resolver,
    /// Its first block, which is a document if it is no directory.
    root: Option<Bytes>,
}

impl PathResolver {
    /// A resolver of `root/segments...`; [`crate::split_path`] makes segments of a path.
    pub fn new(root: Cid, segments: Vec<String>, rules: PathRules) -> Self {
        Self { rules, cid: root, segments, at: 0, roots: vec![root], directory: None, is_done: false }
    }

    fn enter(&mut self, cid: Cid, used: usize) {
        // Segments before the last stand for values within the block.
        self.roots.extend(std::iter::repeat_n(self.cid, used - 1));
        self.roots.push(cid);
        self.cid = cid;
        self.at += used;
        self.directory = None;
    }

    fn document(&mut self, block: &Bytes) -> Result<(), WalkError> {
        match follow(&self.cid, block, &self.segments[self.at..])? {
            Followed::Link { cid, used } => self.enter(cid, used),
            Followed::Value(_) => self.finish(),
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.roots.extend(std::iter::repeat_n(self.cid, self.segments.len() - self.at));
        self.directory = None;
        self.is_done = true;
    }

    /// Whether a directory's refusal leaves the document to be tried.
    fn is_document(&self, error: &WalkError) -> bool {
        let segment = self.segments[self.at].as_str();
        self.rules == PathRules::Data
            && match error {
                WalkError::NotADirectory { cid } => *cid == self.cid,
                WalkError::NotFound { .. } => matches!(segment, "Links" | "Data"),
                _ => false,
            }
    }

    fn not_found(&self) -> WalkError {
        WalkError::NotFound { cid: self.cid, name: self.segments[self.at].as_str().into() }
    }
}

impl Walk for PathResolver {
    type Item = PathEnd;

    fn step(&mut self) -> Result<Step<PathEnd>, WalkError> {
        loop {
            if self.roots.is_empty() {
                return Ok(Step::Done);
            }
            if self.is_done || self.at == self.segments.len() {
                let remainder = self.segments.split_off(self.at);
                return Ok(Step::Item(PathEnd { roots: std::mem::take(&mut self.roots), remainder }));
            }
            if let Some(directory) = &mut self.directory {
                match directory.walk.step()? {
                    Step::Need(cid) => return Ok(Step::Need(cid)),
                    Step::Item(found) => self.enter(found.cid, 1),
                    Step::Done => return Err(self.not_found()),
                }
                continue;
            }
            match (self.rules, self.cid.codec()) {
                (_, DAG_PB) => {
                    let walk = Resolver::new(self.cid, vec![self.segments[self.at].clone()]);
                    self.directory = Some(Directory { walk, root: None });
                }
                (_, DAG_CBOR | DAG_JSON) => return Ok(Step::Need(self.cid)),
                (PathRules::Content, _) => return Err(WalkError::NotADirectory { cid: self.cid }),
                (PathRules::Data, RAW) => return Err(self.not_found()),
                (PathRules::Data, _) => return Ok(Step::Need(self.cid)),
            }
        }
    }

    fn feed(&mut self, block: Bytes) -> Result<(), WalkError> {
        if self.roots.is_empty() || self.is_done || self.at == self.segments.len() {
            return Err(WalkError::NotAsked);
        }
        let Some(directory) = &mut self.directory else { return self.document(&block) };
        let root = directory.root.get_or_insert_with(|| block.clone()).clone();
        match directory.walk.feed(block) {
            Err(error) if self.is_document(&error) => self.document(&root),
            result => result,
        }
    }

    fn upcoming(&self, _count: usize) -> Vec<Cid> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use hpips_types::content::cid_v1;

    use super::*;
    use crate::{DirectoryBuilder, DriveError, Node, Profile, document, leaf};

    struct World {
        blocks: HashMap<Cid, Bytes>,
        root: Cid,
        document: Cid,
        file: Cid,
    }

    /// `/d/f` is a file, `/doc` a document that links it.
    fn world() -> World {
        let mut blocks = Vec::new();
        let file = leaf(&Profile::default(), Bytes::from_static(b"hello"));
        blocks.push(file.0.clone());
        let text = format!(r#"{{"a":[{{"/":"{}"}}],"v":{{"w":7}}}}"#, file.1.cid);
        let doc = Bytes::from(text);
        let document = cid_v1(DAG_JSON, &doc);
        let mut inner = DirectoryBuilder::new(Profile::default());
        inner.add("f", file.1).unwrap();
        let inner = inner.finish(&mut blocks).unwrap();
        let mut outer = DirectoryBuilder::new(Profile::default());
        outer.add("d", inner).unwrap();
        outer.add("doc", Node { cid: document, tsize: 1, file_bytes: 0 }).unwrap();
        let root = outer.finish(&mut blocks).unwrap().cid;
        let mut blocks: HashMap<_, _> = blocks.into_iter().map(|block| (block.cid, block.bytes)).collect();
        blocks.insert(document, doc);
        World { blocks, root, document, file: file.1.cid }
    }

    impl World {
        fn end(&self, path: &str, rules: PathRules) -> Result<PathEnd, WalkError> {
            let segments = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
            let get = |cid: &Cid| self.blocks.get(cid).cloned().ok_or("missing");
            let mut walk = PathResolver::new(self.root, segments, rules).drive(get);
            match walk.next().unwrap() {
                Ok(end) => {
                    assert!(walk.next().is_none());
                    Ok(end)
                }
                Err(DriveError::Walk(error)) => Err(error),
                Err(DriveError::Get(cid, _)) => panic!("{cid} is missing"),
            }
        }
    }

    #[test]
    fn paths_lead_through_directories_and_documents() {
        let world = world();
        for (path, rules, cid, roots, remainder) in [
            ("", PathRules::Content, world.root, 1, ""),
            ("d/f", PathRules::Content, world.file, 3, ""),
            ("doc/a/0", PathRules::Content, world.file, 4, ""),
            ("doc/v/w", PathRules::Content, world.document, 4, "v/w"),
            ("doc/v/w", PathRules::Data, world.document, 4, "v/w"),
            ("Links/0/Name", PathRules::Data, world.root, 4, "Links/0/Name"),
            ("Links/1/Hash/v", PathRules::Data, world.document, 5, "v"),
        ] {
            let end = world.end(path, rules).unwrap();
            assert_eq!(
                (end.cid(), end.roots.len(), end.remainder.join("/")),
                (cid, roots, remainder.into()),
                "{path}"
            );
        }
        for (path, rules, text) in [
            ("x", PathRules::Data, "no link named \"x\""),
            ("Links", PathRules::Content, "no link named \"Links\""),
            ("doc/x", PathRules::Content, "no link named \"x\""),
            ("d/f/x", PathRules::Data, "no link named \"x\""),
            ("d/f/x", PathRules::Content, "is not a directory"),
            ("doc/v/w/x", PathRules::Data, "no link named \"x\""),
        ] {
            let error = world.end(path, rules).unwrap_err();
            assert!(error.to_string().contains(text), "{path}: {error}");
        }
        let block = &world.blocks[&world.document];
        assert_eq!(document::json_links(block).unwrap(), [world.file]);
    }
}
