//! `add`: files that come with the request become blocks.

use std::collections::BTreeMap;
use std::io::Read;

use axum::extract;
use axum::response::Response;
use cid::Cid;
use hpips_dag::{
    Block, Chunking, DirectoryBuilder, FileBuilder, Layout, Metadata, Mtime, Node, Profile, safe_name,
    symlink_with,
};
use hpips_store::{PinKind, Store};
use serde::Serialize;

use super::answer::{self, Form, Sink};
use super::base::CidForm;
use super::call::Call;
use super::cid::hash_of;
use super::error::RpcError;
use super::multipart::{Multipart, PartHead, unescape};
use super::state::State;

/// Blocks stored at once, bytes: enough that one sync serves many.
const BATCH_BYTES: usize = 32 << 20;
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
    /// What every file and directory gets that says nothing itself.
    metadata: Metadata,
}

impl Wanted {
    /// Mode and time of a part: its own headers, else what holds for all.
    fn metadata_of(&self, head: &PartHead) -> Result<Metadata, RpcError> {
        let mode = field_parameter(head, "mode").map(|text| parse_mode(&text)).transpose()?;
        let mtime = match field_parameter(head, "mtime") {
            None => None,
            Some(text) => Some(parse_mtime(&text, field_parameter(head, "mtime-nsecs").as_deref())?),
        };
        Ok(Metadata { mode: mode.or(self.metadata.mode), mtime: mtime.or(self.metadata.mtime) })
    }
}

/// Permission bits in octal digits.
fn parse_mode(text: &str) -> Result<u32, RpcError> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| RpcError::client(format!("{text:?} is no mode: write it as 0644")))
}

/// Seconds since 1970, and nanoseconds.
fn parse_mtime(seconds: &str, nanoseconds: Option<&str>) -> Result<Mtime, RpcError> {
    let wrong = || RpcError::client(format!("{seconds:?} is no time in seconds"));
    let nanoseconds: u32 = nanoseconds.map_or(Ok(0), str::parse).map_err(|_| wrong())?;
    if nanoseconds > 999_999_999 {
        return Err(wrong());
    }
    Ok(Mtime { seconds: seconds.parse().map_err(|_| wrong())?, nanoseconds })
}

/// Options of Kubo's `add` that change what is stored and that are refused here, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("nocopy", "files sent along cannot be left in place: add the path itself"),
    ("fscache", "there is no such cache"),
];
/// What `--inline` takes without `--inline-limit`, bytes (Kubo).
const INLINE_BYTES: usize = 32;

/// What decides the CIDs: the profile, changed by single options.
fn profile(state: &State, call: &Call) -> Result<Profile, RpcError> {
    let wrong = |error: &dyn std::fmt::Display| RpcError::client(error.to_string());
    let configured = state.parts().settings.get("Import.Profile").ok();
    let configured = configured.as_ref().and_then(serde_json::Value::as_str);
    let asked = call.option(&["profile"]).filter(|name| !name.is_empty());
    let mut profile = match asked.or(configured).filter(|name| !name.is_empty()) {
        None => Profile::default(),
        Some(name) => Profile::by_name(name).ok_or_else(|| {
            RpcError::client(format!("no profile {name:?}: there are unixfs-v1-2025 and unixfs-v0-2015"))
        })?,
    };
    match call.option(&["cid-version"]).filter(|version| !version.is_empty()) {
        None => {}
        Some("0") if asked.is_none() => profile = Profile::unixfs_v0_2015(),
        Some("0") => profile = profile.with_cid_version(true),
        Some("1") if asked.is_none() => profile = Profile::cid_version_1(),
        Some("1") => profile = profile.with_cid_version(false),
        Some(other) => return Err(RpcError::client(format!("unknown CID version {other:?}"))),
    }
    match call.maybe_flag(&["raw-leaves"])? {
        None => {}
        Some(true) => profile = profile.with_raw_leaves(),
        Some(false) => profile = profile.with_wrapped_leaves(),
    }
    if let Some(hash) = call.option(&["hash"]).filter(|hash| !hash.is_empty()) {
        profile = profile.with_hash(hash_of(hash)?).map_err(|error| wrong(&error))?;
    }
    if let Some(chunker) =
        call.option(&["chunker", "s"]).filter(|chunker| !chunker.is_empty() && *chunker != "default")
    {
        profile = profile.with_chunking(chunker.parse::<Chunking>().map_err(|error| wrong(&error))?);
    }
    if call.flag(&["trickle", "t"], false)? {
        profile = profile.with_layout(Layout::Trickle);
    }
    if let Some(links) = call.number(&["max-file-links"])? {
        profile = profile.with_file_links(links).map_err(|error| wrong(&error))?;
    }
    if let Some(links) = call.number(&["max-directory-links"])? {
        profile = profile.with_directory_links(links);
    }
    if let Some(fanout) = call.number(&["max-hamt-fanout"])? {
        profile = profile.with_hamt_fanout(fanout).map_err(|error| wrong(&error))?;
    }
    if call.flag(&["inline"], false)? {
        let limit = call.number(&["inline-limit"])?.unwrap_or(INLINE_BYTES);
        profile = profile.with_inline(limit).map_err(|error| wrong(&error))?;
    }
    Ok(profile)
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
    if let Some(path) = call.option(&["to-files"]) {
        return Err(RpcError::client(format!("--to-files {path}: add first, then use files/cp")));
    }
    let wanted = Wanted {
        profile: profile(&state, &call)?,
        wrap: call.flag(&["wrap-with-directory", "w"], false)?,
        only_hash: call.flag(&["only-hash", "n"], false)?,
        pin: call.flag(&["pin"], true)?,
        pin_name: call.option(&["pin-name"]).unwrap_or_default().to_owned(),
        progress: call.flag(&["progress", "p"], false)?,
        silent: call.flag(&["silent"], false)?,
        form: call.cid_form()?,
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
        let mut adder = Adder {
            store: &store,
            sink,
            wanted: &wanted,
            batch: Vec::new(),
            batch_bytes: 0,
            top: BTreeMap::new(),
            items: 0,
        };
        while let Some(head) = parts.next_part()? {
            adder.take(&head, &mut parts)?;
        }
        adder.finish()
    })
    .await
}

/// A file or link that was built, or a directory that is being gathered.
enum Item {
    Built(Node),
    Directory(BTreeMap<String, Item>, Metadata),
}

struct Adder<'a> {
    store: &'a Store,
    sink: &'a Sink,
    wanted: &'a Wanted,
    batch: Vec<Block>,
    batch_bytes: usize,
    top: BTreeMap<String, Item>,
    items: usize,
}

impl Adder<'_> {
    fn take(&mut self, head: &PartHead, parts: &mut Multipart) -> Result<(), RpcError> {
        self.items += 1;
        if self.items > ITEMS_MAX {
            return Err(RpcError::client(format!("more than {ITEMS_MAX} files in one request")));
        }
        let metadata = self.wanted.metadata_of(head)?;
        let names = names(&head.file_name)?;
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
        self.batch_bytes += blocks.iter().map(|block| block.bytes.len()).sum::<usize>();
        self.batch.extend(blocks);
        if self.batch_bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), RpcError> {
        self.batch_bytes = 0;
        Ok(self.store.put_built(std::mem::take(&mut self.batch))?)
    }

    fn finish(mut self) -> Result<(), RpcError> {
        let top = std::mem::take(&mut self.top);
        let mut roots: Vec<Cid> = Vec::new();
        if self.wanted.wrap {
            roots.push(self.directory("", top, Metadata::default())?.cid);
        } else {
            for (name, item) in top {
                roots.push(match item {
                    Item::Built(node) => node.cid,
                    Item::Directory(entries, metadata) => self.directory(&name, entries, metadata)?.cid,
                });
            }
        }
        self.flush()?;
        if self.wanted.pin && !self.wanted.only_hash {
            for root in roots {
                self.store.pin(&root, PinKind::Recursive, &self.wanted.pin_name)?;
            }
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
