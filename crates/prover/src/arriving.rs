//! A key file that comes from elsewhere: looked at while it arrives, and in its place only when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hpips_circuits::keys::{HASH_BYTES, HEAD_BYTES};
use hpips_circuits::{KeyError, KeyOf, ProvingKey, StoredKey, VerifyingKey, circuit};
use hpips_proofs::CircuitKind;
use rustix::fs::FlockOperation;

use crate::key_folder::{KeyFile, KeyFolder, KeyPart};
use crate::key_store::{FILE_BYTES_MAX, KeyStoreError, OpenKey, VERIFYING_BYTES_MAX, io_error, put_in_place};

/// Why a key that arrives is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ArrivalError {
    /// What arrives is no key of this network, or not whole.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// More bytes than any key has.
    #[error("no key file is longer than {max} bytes")]
    TooLong {
        /// Bytes allowed.
        max: u64,
    },
    /// Another good key lies in its place, which is never replaced: proofs made with it would be worth nothing.
    #[error("another key lies at {}", path.display())]
    Occupied {
        /// Where.
        path: PathBuf,
    },
    /// Another process fetches keys into the folder.
    #[error("another process fetches keys into {}", dir.display())]
    Busy {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder cannot be read or written.
    #[error(transparent)]
    Folder(#[from] KeyStoreError),
}

/// What arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The circuit.
    pub kind: CircuitKind,
    /// Which of its files.
    pub part: KeyPart,
    /// The file.
    pub file: KeyFile,
    /// Where it lies now.
    pub path: PathBuf,
    /// Whether the same file had been there.
    pub was_here: bool,
}

/// A key file on its way into a [`KeyFolder`]. Dropped before [`finish`](Self::finish), it leaves nothing.
#[derive(Debug)]
pub struct Arriving {
    folder: KeyFolder,
    temporary: PathBuf,
    file: File,
    /// Held until the end: one file arrives at a time, so that all can have one name and a killed process leaves one
    /// file at most, which the next one overwrites.
    _lock: File,
    /// The first bytes until it is known what they begin.
    head: Vec<u8>,
    found: Option<(CircuitKind, KeyPart, KeyOf)>,
    hasher: blake3::Hasher,
    /// The last bytes, which may be the file's own hash and are not part of what it is of.
    tail: Vec<u8>,
    bytes: u64,
}

impl Arriving {
    /// Makes room for a file.
    ///
    /// # Errors
    /// [`ArrivalError::Busy`], [`ArrivalError::Folder`].
    pub fn begin(folder: &KeyFolder) -> Result<Self, ArrivalError> {
        let dir = folder.dir();
        fs::create_dir_all(dir).map_err(|source| io_error("create", dir, source))?;
        let (lock_path, temporary) = (dir.join("arriving.lock"), dir.join("arriving.tmp"));
        let lock = OpenOptions::new().create(true).write(true).truncate(false).open(&lock_path);
        let lock = lock.map_err(|source| io_error("open", &lock_path, source))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(ArrivalError::Busy { dir: dir.to_owned() }),
            Err(errno) => return Err(io_error("lock", &lock_path, errno.into()).into()),
        }
        let file = File::create(&temporary).map_err(|source| io_error("write", &temporary, source))?;
        Ok(Self {
            folder: folder.clone(),
            temporary,
            file,
            _lock: lock,
            head: Vec::new(),
            found: None,
            hasher: blake3::Hasher::new(),
            tail: Vec::new(),
            bytes: 0,
        })
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`ArrivalError::Key`] as soon as the first bytes show that this is no key of the network;
    /// [`ArrivalError::TooLong`], [`ArrivalError::Folder`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ArrivalError> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.head.len() < HEAD_BYTES {
            let missing = (HEAD_BYTES - self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..missing]);
            if self.head.len() == HEAD_BYTES {
                self.found = Some(self.folder.recognize(&self.head)?);
            }
        }
        let max = match self.found {
            Some((_, KeyPart::Verifying, _)) => VERIFYING_BYTES_MAX,
            _ => FILE_BYTES_MAX,
        };
        if self.bytes > max {
            return Err(ArrivalError::TooLong { max });
        }
        self.file.write_all(bytes).map_err(|source| io_error("write", &self.temporary, source))?;
        // All but the last bytes are hashed; pieces of any size come.
        self.tail.extend_from_slice(bytes);
        let sure = self.tail.len().saturating_sub(HASH_BYTES);
        self.hasher.update(&self.tail[..sure]);
        self.tail.drain(..sure);
        Ok(())
    }

    /// What it is, as soon as that is known.
    pub fn found(&self) -> Option<(CircuitKind, KeyPart)> {
        self.found.map(|(kind, part, _)| (kind, part))
    }

    /// Checks the file whole and puts it into its place, synced.
    ///
    /// # Errors
    /// [`ArrivalError`] by variant; then nothing has changed.
    pub fn finish(self) -> Result<Arrived, ArrivalError> {
        let Some((kind, part, of)) = self.found else {
            let expected = HEAD_BYTES as u64;
            return Err(KeyError::Length { got: self.bytes, expected }.into());
        };
        let hash = self.hasher.finalize();
        if self.tail != hash.as_bytes() {
            return Err(KeyError::Hash.into());
        }
        let path = self.folder.path(kind, part);
        let file = KeyFile { of, bytes: self.bytes, hash: hpips_types::Blake3Hash::new(*hash.as_bytes()) };
        self.read_back(kind, part)?;
        // A damaged file is no loss.
        let here = self.folder.verify(kind, part).ok().flatten();
        let was_here = here.as_ref() == Some(&file);
        match here {
            Some(_) if was_here => {}
            Some(_) => return Err(ArrivalError::Occupied { path }),
            None => self.place(&path)?,
        }
        Ok(Arrived { kind, part, file, path, was_here })
    }

    /// Reads the file as those will who use it: its points, or how many there are of each.
    fn read_back(&self, kind: CircuitKind, part: KeyPart) -> Result<(), ArrivalError> {
        let (id, params) = (self.folder.circuit(kind), self.folder.params());
        let gone = || io_error("read", &self.temporary, io::ErrorKind::NotFound.into());
        let file = OpenKey::open(&self.temporary)?.ok_or_else(gone)?;
        match part {
            KeyPart::Verifying => drop(file.verifying_key(id, params)?),
            KeyPart::Proving => drop(StoredKey::open(file, id, params)?),
        }
        Ok(())
    }

    fn place(&self, path: &Path) -> Result<(), ArrivalError> {
        self.file.sync_all().map_err(|source| io_error("sync", &self.temporary, source))?;
        Ok(put_in_place(&self.temporary, path, self.folder.dir())?)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        // Gone already where it was put into its place.
        let _: io::Result<()> = fs::remove_file(&self.temporary);
    }
}

impl KeyFolder {
    /// Which of the network's files begins with these bytes.
    ///
    /// # Errors
    /// [`KeyError`]: what is wrong with the bytes for the file that they are closest to.
    fn recognize(&self, head: &[u8]) -> Result<(CircuitKind, KeyPart, KeyOf), KeyError> {
        let mut closest = KeyError::Magic;
        for kind in circuit::KINDS {
            for part in [KeyPart::Verifying, KeyPart::Proving] {
                let read = match part {
                    KeyPart::Verifying => VerifyingKey::head(head, self.circuit(kind), self.params()),
                    KeyPart::Proving => ProvingKey::head(head, self.circuit(kind), self.params()),
                };
                match read {
                    Ok(of) => return Ok((kind, part, of)),
                    Err(KeyError::Magic) => {}
                    Err(error) => closest = error,
                }
            }
        }
        Err(closest)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use hpips_types::NetworkParams;
    use tempfile::TempDir;

    use super::*;
    use crate::{Config, open_verifier};

    fn small() -> NetworkParams {
        NetworkParams { sector_height: 2, set_depth: 1, window_challenges: 1, ..NetworkParams::dev() }
    }

    struct Keys {
        /// The files of a network, by which they are compared.
        made: TempDir,
        here: TempDir,
    }

    impl Keys {
        fn new() -> Self {
            let made = tempfile::tempdir().unwrap();
            open_verifier(&Config::new(made.path()).threads(NonZeroUsize::new(2).unwrap()), &small())
                .unwrap();
            Self { made, here: tempfile::tempdir().unwrap() }
        }

        fn bytes(&self, kind: CircuitKind, part: KeyPart) -> Vec<u8> {
            fs::read(KeyFolder::new(self.made.path(), &small()).unwrap().path(kind, part)).unwrap()
        }

        fn folder(&self) -> KeyFolder {
            KeyFolder::new(&self.here.path().join("keys"), &small()).unwrap()
        }

        fn arrive(&self, bytes: &[u8], piece: usize) -> Result<Arrived, ArrivalError> {
            let mut arriving = Arriving::begin(&self.folder())?;
            bytes.chunks(piece).try_for_each(|piece| arriving.write(piece))?;
            arriving.finish()
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(self.folder().dir())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    #[test]
    fn keys_find_their_places_in_pieces_of_any_size() {
        let keys = Keys::new();
        let mut piece = 1;
        for kind in circuit::KINDS {
            for part in [KeyPart::Verifying, KeyPart::Proving] {
                let bytes = keys.bytes(kind, part);
                let arrived = keys.arrive(&bytes, piece).unwrap();
                assert_eq!((arrived.kind, arrived.part, arrived.was_here), (kind, part, false));
                assert_eq!(fs::read(&arrived.path).unwrap(), bytes);
                assert_eq!(keys.folder().verify(kind, part).unwrap(), Some(arrived.file.clone()));
                let again = keys.arrive(&bytes, bytes.len()).unwrap();
                assert_eq!(again, Arrived { was_here: true, ..arrived });
                piece = piece * 31 + 1;
            }
        }
        assert!(!keys.names().contains(&"arriving.tmp".to_owned()));
        // What the files of a network are good for.
        open_verifier(&Config::new(keys.folder().dir()), &small()).unwrap();
    }

    #[test]
    fn anything_else_is_refused_and_leaves_nothing() {
        let keys = Keys::new();
        let (kind, part) = (CircuitKind::Window, KeyPart::Proving);
        let honest = keys.bytes(kind, part);
        let refused = |bytes: &[u8]| {
            let error = keys.arrive(bytes, 1_000).unwrap_err();
            assert_eq!(keys.names(), ["arriving.lock"]);
            match error {
                ArrivalError::Key(error) => error,
                other => panic!("{other}"),
            }
        };
        assert_eq!(refused(&[0; 5_000]), KeyError::Magic);
        assert_eq!(refused(&[]), KeyError::Length { got: 0, expected: HEAD_BYTES as u64 });
        assert!(matches!(refused(&honest[..HEAD_BYTES - 1]), KeyError::Length { .. }));
        assert_eq!(refused(&honest[..HEAD_BYTES]), KeyError::Hash);
        assert_eq!(refused(&honest[..honest.len() - 1]), KeyError::Hash);
        for at in [HEAD_BYTES, honest.len() / 2, honest.len() - 1] {
            let mut flipped = honest.clone();
            flipped[at] ^= 1;
            assert_eq!(refused(&flipped), KeyError::Hash, "byte {at}");
        }
        assert_eq!(refused(&[honest.clone(), vec![0]].concat()), KeyError::Hash);
        let mut other = honest.clone();
        other[30] ^= 1;
        assert_eq!(refused(&other), KeyError::Circuit);
        // The verifying key's points are decoded, whatever its hash says.
        let mut key = keys.bytes(kind, KeyPart::Verifying);
        let end = key.len() - HASH_BYTES;
        key[HEAD_BYTES + 40] ^= 1;
        let hash = *blake3::hash(&key[..end]).as_bytes();
        key[end..].copy_from_slice(&hash);
        assert_eq!(refused(&key), KeyError::Point);
        let error = keys.arrive(&[&key[..], &[0; 1 << 16]].concat(), 1_000).unwrap_err();
        assert!(matches!(error, ArrivalError::TooLong { max: VERIFYING_BYTES_MAX }), "{error}");
        // An insecure key for a network of value stops at its first bytes.
        let real = NetworkParams { name: "main".into(), ..small() };
        let mut arriving = Arriving::begin(&KeyFolder::new(keys.folder().dir(), &real).unwrap()).unwrap();
        let error = arriving.write(&honest[..HEAD_BYTES]).unwrap_err();
        assert!(matches!(error, ArrivalError::Key(KeyError::Insecure { .. })), "{error}");
    }

    #[test]
    fn a_good_key_is_not_replaced_a_damaged_one_is() {
        let keys = Keys::new();
        let (kind, part) = (CircuitKind::Window, KeyPart::Verifying);
        let honest = keys.bytes(kind, part);
        let path = keys.folder().path(kind, part);
        fs::create_dir_all(keys.folder().dir()).unwrap();
        // Another key of the same circuit: other matrices.
        let mut other = honest.clone();
        let end = other.len() - HASH_BYTES;
        other[24 + 4 + 32] ^= 1;
        let hash = *blake3::hash(&other[..end]).as_bytes();
        other[end..].copy_from_slice(&hash);
        fs::write(&path, &other).unwrap();
        let error = keys.arrive(&honest, 100).unwrap_err();
        assert!(matches!(&error, ArrivalError::Occupied { path: at } if *at == path), "{error}");
        assert_eq!(fs::read(&path).unwrap(), other);
        fs::write(&path, &other[..end]).unwrap();
        assert!(!keys.arrive(&honest, 100).unwrap().was_here);
        assert_eq!(fs::read(&path).unwrap(), honest);
    }

    #[test]
    fn one_file_arrives_at_a_time() {
        let keys = Keys::new();
        let first = Arriving::begin(&keys.folder()).unwrap();
        assert!(matches!(Arriving::begin(&keys.folder()), Err(ArrivalError::Busy { .. })));
        drop(first);
        Arriving::begin(&keys.folder()).unwrap();
    }
}
