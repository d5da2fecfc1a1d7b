//! The kernel's questions, answered from content.

use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use cid::Cid;
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen, ReplyXattr, Request,
};
use hpips_dag::{DirectoryReader, DriveError, Entry, FileReader, Kind, Walk, inspect};
use hpips_types::content::RAW;

use crate::FetchError;
use crate::blocks::Blocks;
use crate::nodes::{IPFS, Node, Nodes, ROOT};

/// Content behind a CID never changes, so the kernel may remember it as long as it likes.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
/// How far apart two requests may be to count as reading in order, bytes.
const OVERTAKEN: u64 = 1 << 20;
/// How far a file that is read in order is fetched ahead, bytes: a few blocks of the default profile.
const AHEAD: u64 = 4 << 20;
/// Unit of a file's allocated size (stat(2)).
const SIZE_OF_A_SECTOR: u64 = 512;
/// A listed entry gets its number when it is looked up (`FUSE_UNKNOWN_INO` of the kernel's interface).
const UNKNOWN_INODE: u64 = 0xffff_ffff;

/// The file system.
pub(crate) struct Ipfs {
    blocks: Arc<Blocks>,
    nodes: Nodes,
    uid: u32,
    gid: u32,
}

impl Ipfs {
    pub(crate) fn new(blocks: Arc<Blocks>) -> Self {
        // SAFETY: getuid and getgid have no preconditions and cannot fail.
        let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
        Self { blocks, nodes: Nodes::default(), uid, gid }
    }

    fn attributes(&self, number: u64, kind: FileType, bytes: u64) -> FileAttr {
        FileAttr {
            ino: INodeNo(number),
            size: bytes,
            blocks: bytes.div_ceil(SIZE_OF_A_SECTOR),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: if kind == FileType::Directory { 0o555 } else { 0o444 },
            nlink: 1,
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    fn attributes_of(&self, number: u64, node: &Node) -> FileAttr {
        self.attributes(number, file_type(&node.info.kind), size(node))
    }

    /// The node of a CID, one lookup more.
    fn open_cid(&self, root: &Cid, cid: &Cid) -> Result<(u64, Arc<Node>), Errno> {
        if let Some(known) = self.nodes.look_up(cid) {
            return Ok(known);
        }
        let block = self.blocks.get(root, cid).map_err(fetch_errno)?;
        let info = inspect(cid, &block).map_err(|_| Errno::EIO)?;
        if info.kind == Kind::Other {
            return Err(Errno::EOPNOTSUPP);
        }
        Ok(self.nodes.insert(*root, *cid, info))
    }

    fn entries(&self, node: &Node) -> Result<Arc<Vec<Entry>>, Errno> {
        if let Some(entries) = node.entries.get() {
            return Ok(Arc::clone(entries));
        }
        if !matches!(node.info.kind, Kind::Directory) {
            return Err(Errno::ENOTDIR);
        }
        let entries: Vec<Entry> = DirectoryReader::new(node.cid)
            .drive(|cid: &Cid| self.blocks.get(&node.root, cid))
            .collect::<Result<_, _>>()
            .map_err(drive_errno)?;
        Ok(Arc::clone(node.entries.get_or_init(|| Arc::new(entries))))
    }

    /// What an entry is. Programs believe the listing, so the entry's block is looked at unless its CID
    /// says enough; one that cannot be had is listed as a file, whose reading then fails.
    fn kind_of(&self, root: &Cid, cid: &Cid) -> FileType {
        if cid.codec() == RAW {
            return FileType::RegularFile;
        }
        let info = self.blocks.get(root, cid).ok().and_then(|block| inspect(cid, &block).ok());
        info.map_or(FileType::RegularFile, |info| file_type(&info.kind))
    }

    fn look_up(&self, parent: u64, name: &OsStr) -> Result<FileAttr, Errno> {
        let name = name.to_str().ok_or(Errno::ENOENT)?;
        let (root, cid) = match parent {
            ROOT if name == "ipfs" => return Ok(self.attributes(IPFS, FileType::Directory, 0)),
            ROOT => return Err(Errno::ENOENT),
            IPFS => {
                let cid: Cid = name.parse().map_err(|_| Errno::ENOENT)?;
                (cid, cid)
            }
            _ => {
                let node = self.nodes.get(parent).ok_or(Errno::ESTALE)?;
                let entries = self.entries(&node)?;
                (node.root, entries.iter().find(|entry| entry.name == name).ok_or(Errno::ENOENT)?.cid)
            }
        };
        let (number, node) = self.open_cid(&root, &cid)?;
        Ok(self.attributes_of(number, &node))
    }

    fn read_range(&self, number: u64, from: u64, bytes: u32) -> Result<Vec<u8>, Errno> {
        let node = self.nodes.get(number).ok_or(Errno::ESTALE)?;
        if !matches!(node.info.kind, Kind::File) {
            return Err(Errno::EISDIR);
        }
        let to = from.saturating_add(bytes.into()).min(size(&node));
        if from >= to {
            return Ok(Vec::new());
        }
        self.read_ahead(&node, from, to);
        let mut out = Vec::with_capacity(usize::try_from(to - from).unwrap_or(0));
        for part in FileReader::new(node.cid, from..to).drive(|cid: &Cid| self.blocks.get(&node.root, cid)) {
            let part: Bytes = part.map_err(drive_errno)?;
            out.extend_from_slice(&part);
        }
        Ok(out)
    }

    /// Asks for what follows when a file is read in order: the kernel itself reads ahead in pieces of
    /// 128 KiB, so "in order" allows for requests that overtake one another a little.
    fn read_ahead(&self, node: &Node, from: u64, to: u64) {
        let before = node.read_to.swap(to, Ordering::Relaxed);
        let asked = node.ahead_to.load(Ordering::Relaxed);
        if from.abs_diff(before) <= OVERTAKEN && asked < to.saturating_add(AHEAD / 2) {
            let start = asked.max(to);
            let end = start.saturating_add(AHEAD).min(size(node));
            node.ahead_to.store(end, Ordering::Relaxed);
            self.blocks.read_ahead(node.root, node.cid, start..end);
        }
    }
}

impl Filesystem for Ipfs {
    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.look_up(parent.0, name) {
            Ok(attributes) => reply.entry(&FOREVER, &attributes, Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.nodes.forget(ino.0, nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match ino.0 {
            ROOT | IPFS => reply.attr(&FOREVER, &self.attributes(ino.0, FileType::Directory, 0)),
            number => match self.nodes.get(number) {
                Some(node) => reply.attr(&FOREVER, &self.attributes_of(number, &node)),
                None => reply.error(Errno::ESTALE),
            },
        }
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        match self.nodes.get(ino.0).as_deref() {
            Some(node) => match &node.info.target {
                Some(target) => reply.data(target.as_bytes()),
                None => reply.error(Errno::EINVAL),
            },
            None => reply.error(Errno::ESTALE),
        }
    }

    fn open(&self, _req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // Content does not change, so pages of an earlier reader are as good as new ones.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.read_range(ino.0, offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdir(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let own = [(ino.0, FileType::Directory, "."), (ROOT, FileType::Directory, "..")];
        let mut position = 0;
        // Says whether the listing goes on; entries before `offset` were sent in an earlier reply.
        let mut add = |number: u64, kind: FileType, name: &str, reply: &mut ReplyDirectory| {
            position += 1;
            position <= offset || !reply.add(INodeNo(number), position, kind, name)
        };
        if !own.into_iter().all(|(number, kind, name)| add(number, kind, name, &mut reply)) {
            return reply.ok();
        }
        match ino.0 {
            ROOT => {
                add(IPFS, FileType::Directory, "ipfs", &mut reply);
            }
            // All CIDs there are cannot be listed.
            IPFS => {}
            number => {
                let Some(node) = self.nodes.get(number) else { return reply.error(Errno::ESTALE) };
                let entries = match self.entries(&node) {
                    Ok(entries) => entries,
                    Err(errno) => return reply.error(errno),
                };
                for (at, entry) in (2u64..).zip(entries.iter()) {
                    let kind = if at < offset {
                        FileType::RegularFile
                    } else {
                        self.kind_of(&node.root, &entry.cid)
                    };
                    if !add(UNKNOWN_INODE, kind, &entry.name, &mut reply) {
                        break;
                    }
                }
            }
        }
        reply.ok();
    }

    fn getxattr(&self, _req: &Request, _ino: INodeNo, _name: &OsStr, _size: u32, reply: ReplyXattr) {
        reply.error(Errno::NO_XATTR);
    }

    fn listxattr(&self, _req: &Request, _ino: INodeNo, _size: u32, reply: ReplyXattr) {
        reply.size(0);
    }
}

fn file_type(kind: &Kind) -> FileType {
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        _ => FileType::RegularFile,
    }
}

fn size(node: &Node) -> u64 {
    match &node.info.target {
        Some(target) => target.len() as u64,
        None => node.info.file_bytes,
    }
}

fn fetch_errno(error: FetchError) -> Errno {
    match error {
        FetchError::NotFound => Errno::ETIMEDOUT,
        FetchError::Failed => Errno::EIO,
    }
}

fn drive_errno(error: DriveError<FetchError>) -> Errno {
    match error {
        DriveError::Get(_, error) => fetch_errno(error),
        _ => Errno::EIO,
    }
}
