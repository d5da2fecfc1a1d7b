//! What the file system says of a file.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hpips_dag::Mtime;
use rustix::fs::FileType;

/// A file that changed less than this before it was looked at may change again without its times telling: file systems
/// with fine times tick every few milliseconds.
const RACY: Duration = Duration::from_millis(100);
/// The same for file systems that keep whole seconds, or two of them.
const RACY_COARSE: Duration = Duration::from_secs(3);

/// Bytes of a [`State`]: inode 8, length 8, mtime and ctime of 8 + 4 each.
pub(super) const STATE_BYTES: usize = 40;
/// What tells that a file is the one it was, to be compared as a whole.
pub(super) type State = [u8; STATE_BYTES];

/// The part of `stat` that an import needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stat {
    pub(super) kind: FileType,
    /// Permission bits.
    pub(super) mode: u32,
    pub(super) bytes: u64,
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Seconds and nanoseconds.
    pub(super) mtime: (i64, u32),
    pub(super) ctime: (i64, u32),
}

impl Stat {
    /// Types of these fields differ from one system to another.
    #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions, reason = "see above")]
    pub(super) fn of(stat: &rustix::fs::Stat) -> Self {
        let nanoseconds = |value| u32::try_from(value).unwrap_or(0);
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: u32::from(stat.st_mode) & 0o7777,
            bytes: u64::try_from(stat.st_size).unwrap_or(0),
            device: u64::try_from(stat.st_dev).unwrap_or(u64::MAX),
            inode: u64::from(stat.st_ino),
            mtime: (i64::from(stat.st_mtime), nanoseconds(stat.st_mtime_nsec)),
            ctime: (i64::from(stat.st_ctime), nanoseconds(stat.st_ctime_nsec)),
        }
    }

    pub(super) fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind == FileType::Directory
    }

    pub(super) fn is_symlink(&self) -> bool {
        self.kind == FileType::Symlink
    }

    pub(super) fn mtime(&self) -> Mtime {
        Mtime { seconds: self.mtime.0, nanoseconds: self.mtime.1 }
    }

    pub(super) fn state(&self) -> State {
        let mut state = [0; STATE_BYTES];
        let parts: [&[u8]; 6] = [
            &self.inode.to_le_bytes(),
            &self.bytes.to_le_bytes(),
            &self.mtime.0.to_le_bytes(),
            &self.mtime.1.to_le_bytes(),
            &self.ctime.0.to_le_bytes(),
            &self.ctime.1.to_le_bytes(),
        ];
        let mut at = 0;
        for part in parts {
            state[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        state
    }

    /// Whether the file changed so shortly before `asked`, when this was asked for, that it may have changed again
    /// with the same times.
    pub(super) fn is_racy(&self, asked: Duration) -> bool {
        let margin = if self.mtime.1 == 0 && self.ctime.1 == 0 { RACY_COARSE } else { RACY };
        let changed = Duration::new(u64::try_from(self.ctime.0).unwrap_or(0), self.ctime.1);
        // Times of the future say nothing about when the file changes.
        changed + margin > asked
    }
}

/// Time since 1970.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_just_now_is_not_trusted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let stat = Stat::of(&rustix::fs::stat(file.path()).unwrap());
        let changed = Duration::new(stat.ctime.0.cast_unsigned(), stat.ctime.1);
        assert!(stat.is_racy(changed));
        assert!(!stat.is_racy(changed + Duration::from_secs(10)));
        let coarse = Stat { mtime: (stat.mtime.0, 0), ctime: (stat.ctime.0, 0), ..stat };
        assert!(coarse.is_racy(Duration::new(stat.ctime.0.cast_unsigned() + 2, 0)));
    }

    #[test]
    fn every_part_changes_the_state() {
        let stat = Stat {
            kind: FileType::RegularFile,
            mode: 0o644,
            bytes: 1,
            device: 2,
            inode: 3,
            mtime: (4, 5),
            ctime: (6, 7),
        };
        let others = [
            Stat { bytes: 9, ..stat },
            Stat { inode: 9, ..stat },
            Stat { mtime: (9, 5), ..stat },
            Stat { mtime: (4, 9), ..stat },
            Stat { ctime: (9, 7), ..stat },
            Stat { ctime: (6, 9), ..stat },
        ];
        assert!(others.iter().all(|other| other.state() != stat.state()));
        assert_eq!(Stat { mode: 0o755, ..stat }.state(), stat.state(), "ctime tells of a changed mode");
    }
}
