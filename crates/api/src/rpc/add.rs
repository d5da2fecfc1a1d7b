//! `add`: files that come with the request become blocks.

use std::collections::BTreeMap;
use std::io::Read;

use axum::extract;
use axum::response::Response;
use cid::Cid;
use hpips_client::files::{Existing, Parents};
use hpips_dag::{
    Block, DirectoryBuilder, FileBuilder, Metadata, Mtime, Node, Profile, safe_name, symlink_with,
};
use hpips_store::PinKind;
use serde::Serialize;

use super::answer::{self, Form, Sink};
use super::base::CidForm;
use super::call::Call;
use super::error::RpcError;
use super::multipart::{Multipart, PartHead, unescape};
use super::state::State;
use super::storing::{self, Batches};
use crate::profile::{ProfileRequest, parse_mode};

/// Chunks read at once, so that as many are hashed in parallel.
const CHUNKS_AT_ONCE: usize = 8;
/// Directories inside each other at most.
const DEPTH_MAX: usize = 256;
/// Files and directories of one request at most: about 300 bytes are kept each.
const ITEMS_MAX: usize = 4_000_000;
/// Bytes of a link's target at most.
const TARGET_BYTES_MAX: usize = 4096;

/// What was added.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Added {
    name: String,
    hash: String,
    /// Bytes of all blocks, as text, as Kubo has it.
    size: String,
}

/// How far a file is.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Progress<'a> {
    name: &'a str,
    bytes: u64,
}

/// What was asked for.
struct Wanted {
    profile: Profile,
    wrap: bool,
    only_hash: bool,
    pin: bool,
    pin_name: String,
    progress: bool,
    silent: bool,
    form: CidForm,
    /// Whether the modes and times that parts carry are taken.
    preserve_mode: bool,
    preserve_mtime: bool,
    /// What every file and directory gets that does not keep its own.
    metadata: Metadata,
}

impl Wanted {
    /// Mode and time of a part: its own where they are kept, else what holds for all. Clients send both always.
    fn metadata_of(&self, head: &PartHead) -> Metadata {
        let mode = || field_parameter(head, "mode").and_then(|text| unix_mode(&text));
        let mtime = || {
            let seconds = field_parameter(head, "mtime")?;
            parse_mtime(&seconds, field_parameter(head, "mtime-nsecs").as_deref()).ok()
        };
        Metadata {
            mode: self.preserve_mode.then(mode).flatten().or(self.metadata.mode),
            mtime: self.preserve_mtime.then(mtime).flatten().or(self.metadata.mtime),
        }
    }
}

/// The bits of `chmod` in a part's mode, octal digits: those of Unix, or those of Go, whose types and special bits
/// stand higher (io/fs, FileMode).
fn unix_mode(text: &str) -> Option<u32> {
    const GO_SPECIAL: [(u32, u32); 3] = [(1 << 23, 0o4000), (1 << 22, 0o2000), (1 << 20, 0o1000)];
    let mode = u32::from_str_radix(text, 8).ok()?;
    let special = GO_SPECIAL.iter().filter(|(go, _)| mode & go != 0).fold(0, |bits, (_, unix)| bits | unix);
    Some(mode & 0o7777 | special)
}

/// Seconds since 1970, and nanoseconds.
fn parse_mtime(seconds: &str, nanoseconds: Option<&str>) -> Result<Mtime, RpcError> {
    let wrong = || RpcError::client(format!("{seconds:?} is no time in seconds"));
    let nanoseconds = nanoseconds.map_or(Ok(0), str::parse).map_err(|_| wrong())?;
    Mtime::new(seconds.parse().map_err(|_| wrong())?, nanoseconds).ok_or_else(wrong)
}

/// Options of Kubo's `add` that change what is stored and that are refused here, with the reason.
const REFUSED: &[(&str, &str)] = &[
    (
        "nocopy",
        "what is sent along has no place to stay in: hpips add --nocopy FILE on the machine of the repo",
    ),
    ("fscache", "there is no such cache"),
];

/// What decides the CIDs: the configuration, changed by single options.
fn profile(state: &State, call: &Call) -> Result<Profile, RpcError> {
    let text = |name: &str| call.option(&[name]).map(str::to_owned);
    let configured = state.parts().settings.get("Import.Profile").ok();
    let configured = configured.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
    let cid_version = call.option(&["cid-version"]).filter(|version| !version.is_empty());
    let unknown = |version: &str| RpcError::client(format!("unknown CID version {version:?}"));
    let request = ProfileRequest {
        name: text("profile"),
        cid_version: cid_version.map(|version| version.parse().map_err(|_| unknown(version))).transpose()?,
        raw_leaves: call.maybe_flag(&["raw-leaves"])?,
        hash: text("hash"),
        chunker: call.option(&["chunker", "s"]).map(str::to_owned),
        trickle: call.flag(&["trickle", "t"], false)?,
        max_file_links: call.number(&["max-file-links"])?,
        max_directory_links: call.number(&["max-directory-links"])?,
        max_hamt_fanout: call.number(&["max-hamt-fanout"])?,
        inline: call.flag(&["inline"], false)?,
        inline_limit: call.number(&["inline-limit"])?,
    };
    Ok(request.resolve(configured)?)
}

pub(super) async fn add(
    extract::State(state): extract::State<State>,
    mut call: Call,
) -> Result<Response, RpcError> {
    for (name, reason) in REFUSED {
        if call.flag(&[name], false)? {
            return Err(RpcError::client(format!("--{name}: {reason}")));
        }
    }
    let to_files = match call.option(&["to-files"]) {
        // Without a value it means the root.
        Some(path) => Some((state.files(&call)?, if path.is_empty() { "/" } else { path }.to_owned())),
        None => None,
    };
    let wanted = Wanted {
        profile: profile(&state, &call)?,
        wrap: call.flag(&["wrap-with-directory", "w"], false)?,
        only_hash: call.flag(&["only-hash", "n"], false)?,
        pin: call.flag(&["pin"], true)?,
        pin_name: call.option(&["pin-name"]).unwrap_or_default().to_owned(),
        progress: call.flag(&["progress", "p"], false)?,
        silent: call.flag(&["silent"], false)?,
        form: call.cid_form()?,
        preserve_mode: call.flag(&["preserve-mode"], false)?,
        preserve_mtime: call.flag(&["preserve-mtime"], false)?,
        metadata: Metadata {
            mode: call.option(&["mode"]).filter(|text| !text.is_empty()).map(parse_mode).transpose()?,
            mtime: call
                .option(&["mtime"])
                .filter(|text| !text.is_empty())
                .map(|text| parse_mtime(text, call.option(&["mtime-nsecs"])))
                .transpose()?,
        },
    };
    let mut parts = call.multipart("path")?;
    answer::stream(&call, Form::Json, move |sink| {
        let store = state.store();
        // Until the pins stand nobody collects what is stored here.
        let _hold = store.hold()?;
        // What was read before a failure is stored too.
        let (roots, taken) = storing::beside(
            |batch| store.put_built(batch),
            |blocks| {
                let mut adder = Adder {
                    blocks,
                    sink,
                    wanted: &wanted,
                    top: BTreeMap::new(),
                    roots: Vec::new(),
                    items: 0,
                };
                let taken = adder.take_all(&mut parts);
                let roots = adder.roots;
                blocks.flush().map(|()| (roots, taken))
            },
        )?;
        if !wanted.only_hash {
            // What was named before a failure is whole, was told, and stays.
            for (name, root) in roots {
                if wanted.pin {
                    store.pin(&root, PinKind::Recursive, &wanted.pin_name)?;
                }
                if let Some((files, path)) = &to_files {
                    files.link(root, &name, path, Parents::Require, Existing::Keep).map_err(|error| {
                        RpcError::new(format!(
                            "added, but not put at {path}: {}",
                            crate::error::chain_text(&error)
                        ))
                    })?;
                }
            }
        }
        taken
    })
    .await
}

/// A file or link that was built, or a directory that is being gathered.
enum Item {
    Built(Node),
    Directory(BTreeMap<String, Item>, Metadata),
}

struct Adder<'a> {
    /// To whoever stores blocks.
    blocks: &'a mut Batches<Block>,
    sink: &'a Sink,
    wanted: &'a Wanted,
    /// What is being gathered: one thing that was named, or with `wrap` all of them.
    top: BTreeMap<String, Item>,
    /// What is complete, by name.
    roots: Vec<(String, Cid)>,
    items: usize,
}

impl Adder<'_> {
    fn take_all(&mut self, parts: &mut Multipart) -> Result<(), RpcError> {
        while let Some(head) = parts.next_part()? {
            self.take(&head, parts)?;
        }
        self.close()
    }

    fn take(&mut self, head: &PartHead, parts: &mut Multipart) -> Result<(), RpcError> {
        self.items += 1;
        if self.items > ITEMS_MAX {
            return Err(RpcError::client(format!("more than {ITEMS_MAX} files in one request")));
        }
        let metadata = self.wanted.metadata_of(head);
        let names = names(&head.file_name)?;
        // Whoever names the same twice gets it twice, as with Kubo.
        let is_below = names.len() > 1 && names.first().is_some_and(|name| self.top.contains_key(name));
        if !self.wanted.wrap && !is_below {
            self.close()?;
        }
        match head.media.as_str() {
            "application/x-directory" => self.place(&names, Item::Directory(BTreeMap::new(), metadata)),
            "application/symlink" => {
                let target = parts.whole(TARGET_BYTES_MAX)?;
                let target = std::str::from_utf8(&target).map_err(|_| {
                    RpcError::client(format!("the target of {:?} is not UTF-8", head.file_name))
                })?;
                let (block, node) = symlink_with(&self.wanted.profile, target, metadata.mtime);
                self.keep(vec![block])?;
                self.built(names, node)
            }
            // Clients name any media type; what is neither directory nor link is a file.
            _ => {
                let node = self.file(&names.join("/"), metadata, parts)?;
                self.built(names, node)
            }
        }
    }

    /// A file without a name gets its CID for one.
    fn built(&mut self, mut names: Vec<String>, node: Node) -> Result<(), RpcError> {
        if names.is_empty() {
            names.push(self.wanted.form.text(&node.cid));
        }
        self.tell(&names.join("/"), &node)?;
        self.place(&names, Item::Built(node))
    }

    fn file(&mut self, name: &str, metadata: Metadata, parts: &mut Multipart) -> Result<Node, RpcError> {
        let mut builder = FileBuilder::new(self.wanted.profile).with(metadata);
        let mut buffer = vec![0; self.wanted.profile.chunk_bytes() * CHUNKS_AT_ONCE];
        let (mut blocks, mut bytes) = (Vec::new(), 0u64);
        loop {
            let mut filled = 0;
            while filled < buffer.len() {
                match parts.read(&mut buffer[filled..])? {
                    0 => break,
                    count => filled += count,
                }
            }
            builder.push(&buffer[..filled], &mut blocks);
            self.keep(std::mem::take(&mut blocks))?;
            bytes += u64::try_from(filled).unwrap_or(u64::MAX);
            if self.wanted.progress && filled > 0 {
                self.sink.json(&Progress { name, bytes })?;
            }
            if filled < buffer.len() {
                break;
            }
        }
        let node = builder.finish(&mut blocks);
        self.keep(blocks)?;
        Ok(node)
    }

    /// Puts an item where its path says. A directory that comes after its entries changes nothing.
    fn place(&mut self, names: &[String], item: Item) -> Result<(), RpcError> {
        let Some((last, above)) = names.split_last() else { return Ok(()) };
        let taken = || RpcError::client(format!("{:?} comes twice", names.join("/")));
        let mut level = &mut self.top;
        for name in above {
            let below = level
                .entry(name.clone())
                .or_insert_with(|| Item::Directory(BTreeMap::new(), Metadata::default()));
            let Item::Directory(below, _) = below else { return Err(taken()) };
            level = below;
        }
        match (level.get_mut(last), item) {
            (None, item) => {
                level.insert(last.clone(), item);
                Ok(())
            }
            (Some(Item::Directory(_, known)), Item::Directory(_, metadata)) => {
                *known = metadata;
                Ok(())
            }
            // Two files without a name, of the same content.
            (Some(Item::Built(known)), Item::Built(node)) if known.cid == node.cid => Ok(()),
            _ => Err(taken()),
        }
    }

    fn tell(&self, name: &str, node: &Node) -> Result<(), RpcError> {
        if self.wanted.silent {
            return self.sink.check();
        }
        self.sink.json(&Added {
            name: name.to_owned(),
            hash: self.wanted.form.text(&node.cid),
            size: node.tsize.to_string(),
        })
    }

    fn keep(&mut self, blocks: Vec<Block>) -> Result<(), RpcError> {
        if self.wanted.only_hash {
            return Ok(());
        }
        for block in blocks {
            let bytes = block.bytes.len();
            self.blocks.push(block, bytes)?;
        }
        Ok(())
    }

    /// Builds what was gathered.
    fn close(&mut self) -> Result<(), RpcError> {
        let top = std::mem::take(&mut self.top);
        if self.wanted.wrap {
            let root = self.directory("", top, Metadata::default())?;
            self.roots.push((root.cid.to_string(), root.cid));
            return Ok(());
        }
        for (name, item) in top {
            let node = match item {
                Item::Built(node) => node,
                Item::Directory(entries, metadata) => self.directory(&name, entries, metadata)?,
            };
            self.roots.push((name, node.cid));
        }
        Ok(())
    }

    /// Builds a directory after everything in it. Depth is bounded where names are read.
    fn directory(
        &mut self,
        path: &str,
        entries: BTreeMap<String, Item>,
        metadata: Metadata,
    ) -> Result<Node, RpcError> {
        let mut builder = DirectoryBuilder::new(self.wanted.profile).with(metadata);
        for (name, item) in entries {
            let slash = if path.is_empty() { "" } else { "/" };
            let node = match item {
                Item::Built(node) => node,
                Item::Directory(below, metadata) => {
                    self.directory(&format!("{path}{slash}{name}"), below, metadata)?
                }
            };
            builder.add(&name, node)?;
        }
        let mut blocks = Vec::new();
        let node = builder.finish(&mut blocks)?;
        self.keep(blocks)?;
        self.tell(path, &node)?;
        Ok(node)
    }
}

/// The names of a path that a client gives: relative, without `.` and `..`.
fn names(path: &str) -> Result<Vec<String>, RpcError> {
    let mut names = Vec::new();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        safe_name(name).map_err(|error| RpcError::client(format!("file name {path:?}: {error}")))?;
        names.push(name.to_owned());
    }
    if names.len() > DEPTH_MAX {
        return Err(RpcError::client(format!("a path of more than {DEPTH_MAX} directories")));
    }
    Ok(names)
}

/// What a client says about a file: as a header of its part or, from browsers, as a parameter of the field's name.
fn field_parameter(head: &PartHead, name: &str) -> Option<String> {
    if let Some(value) = head.header(name) {
        return Some(value.to_owned());
    }
    let (_, query) = head.field.split_once('?')?;
    let pair = query.split('&').find_map(|pair| pair.split_once('=').filter(|(found, _)| *found == name));
    pair.map(|(_, value)| unescape(value))
}
