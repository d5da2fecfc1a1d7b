//! Large files and streams, part by part.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::sync_channel;

use bytes::{Bytes, BytesMut};
use hpips_dag::{Block, FileBuilder, Node};

use super::ImportError;
use super::scan::read_error;

/// Bytes read at once: as many chunks are hashed in parallel.
const READ_BYTES: usize = 8 << 20;
/// Buffers that wait to be hashed.
const READS_AHEAD: usize = 2;

/// Takes the blocks of every part, and how many bytes of the file they come from.
pub(super) type Take<'a> = dyn FnMut(Vec<Block>, u64) -> Result<(), ImportError> + 'a;

/// Builds a file from a reader.
pub(super) fn build(
    reader: &mut dyn Read,
    path: &Path,
    mut builder: FileBuilder,
    take: &mut Take<'_>,
) -> Result<Node, ImportError> {
    loop {
        let part = read_part(reader).map_err(|source| read_error(path, source))?;
        let is_last = part.len() < READ_BYTES;
        push(part, &mut builder, take)?;
        if is_last {
            return end(builder, take);
        }
    }
}

/// As [`build`], with a thread that reads on while leaves are hashed.
pub(super) fn build_ahead(
    mut file: File,
    path: &Path,
    mut builder: FileBuilder,
    take: &mut Take<'_>,
) -> Result<Node, ImportError> {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(READS_AHEAD);
        scope.spawn(move || {
            loop {
                let part = read_part(&mut file);
                let is_last = part.as_ref().map_or(true, |part| part.len() < READ_BYTES);
                if sender.send(part).is_err() || is_last {
                    return;
                }
            }
        });
        for part in receiver {
            let part = part.map_err(|source| read_error(path, source))?;
            push(part, &mut builder, take)?;
        }
        Ok(())
    })?;
    end(builder, take)
}

fn push(part: Bytes, builder: &mut FileBuilder, take: &mut Take<'_>) -> Result<(), ImportError> {
    let bytes = u64::try_from(part.len()).expect("a buffer's length");
    let mut blocks = Vec::new();
    builder.push_shared(part, &mut blocks);
    take(blocks, bytes)
}

fn end(builder: FileBuilder, take: &mut Take<'_>) -> Result<Node, ImportError> {
    let mut blocks = Vec::new();
    let node = builder.finish(&mut blocks);
    take(blocks, 0)?;
    Ok(node)
}

/// The next part; shorter than [`READ_BYTES`] at the end.
fn read_part(reader: &mut dyn Read) -> io::Result<Bytes> {
    let mut part = BytesMut::zeroed(READ_BYTES);
    let mut filled = 0;
    while filled < part.len() {
        match reader.read(&mut part[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    part.truncate(filled);
    Ok(part.freeze())
}
