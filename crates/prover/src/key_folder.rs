//! What key files there are, for people: read and checked here, never made or replaced.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use hpips_circuits::keys::{HASH_BYTES, HEAD_BYTES};
use hpips_circuits::{CircuitId, KeyError, KeyOf, ProvingKey, VerifyingKey, circuit};
use hpips_proofs::shape::ShapeError;
use hpips_proofs::{CircuitKind, Shape};
use hpips_types::{Blake3Hash, NetworkParams};

use crate::key_store::{KeyStoreError, OpenKey, file_name, io_error};

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// Which of a circuit's two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// Checks proofs.
    Verifying,
    /// Makes proofs.
    Proving,
}

impl KeyPart {
    /// The ending of its file.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Verifying => "vk",
            Self::Proving => "pk",
        }
    }
}

/// A key file, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// What it belongs to.
    pub of: KeyOf,
    /// Its length.
    pub bytes: u64,
    /// The hash that it ends with: BLAKE3 of all bytes before, if it is not damaged.
    pub hash: Blake3Hash,
}

/// The folder of a network's keys.
#[derive(Clone, Debug)]
pub struct KeyFolder {
    dir: PathBuf,
    params: NetworkParams,
    shape: Shape,
}

impl KeyFolder {
    /// Names a folder, which need not be there.
    ///
    /// # Errors
    /// [`ShapeError`] when the parameters give no circuits.
    pub fn new(dir: &Path, params: &NetworkParams) -> Result<Self, ShapeError> {
        Ok(Self { dir: dir.to_owned(), params: params.clone(), shape: Shape::of(params)? })
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The network whose keys it has.
    pub(crate) fn params(&self) -> &NetworkParams {
        &self.params
    }

    /// Where a file lies or belongs.
    pub fn path(&self, kind: CircuitKind, part: KeyPart) -> PathBuf {
        self.dir.join(file_name(kind, &self.shape, part.extension()))
    }

    /// The id of a circuit on this network.
    pub fn circuit(&self, kind: CircuitKind) -> CircuitId {
        circuit::id(kind, &self.shape)
    }

    /// Reads the ends of a file; `None` when there is none. Whether the middle is whole is not known.
    ///
    /// # Errors
    /// [`KeyStoreError::Io`], or [`KeyStoreError::Refused`] where it is no key of this network.
    pub fn find(&self, kind: CircuitKind, part: KeyPart) -> Result<Option<KeyFile>, KeyStoreError> {
        let path = self.path(kind, part);
        let read = |source| io_error("read", &path, source);
        let Some((mut file, bytes)) = open(&path)? else { return Ok(None) };
        let mut head = Vec::new();
        file.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(read)?;
        let refused = |source| KeyStoreError::Refused { path: path.clone(), source };
        let id = self.circuit(kind);
        let of = match part {
            KeyPart::Verifying => VerifyingKey::head(&head, id, &self.params),
            KeyPart::Proving => ProvingKey::head(&head, id, &self.params),
        }
        .map_err(refused)?;
        let mut hash = [0; HASH_BYTES];
        let end = file.seek(SeekFrom::End(-(HASH_BYTES as i64))).and_then(|_| file.read_exact(&mut hash));
        end.map_err(read)?;
        Ok(Some(KeyFile { of, bytes, hash: Blake3Hash::new(hash) }))
    }

    /// Reads a whole file and compares it with the hash that it ends with; `None` when there is none. About a second
    /// a gigabyte, in a mebibyte of memory.
    ///
    /// # Errors
    /// As [`Self::find`]; [`KeyStoreError::Refused`] also for a file that is damaged or cut.
    pub fn verify(&self, kind: CircuitKind, part: KeyPart) -> Result<Option<KeyFile>, KeyStoreError> {
        let Some(found) = self.find(kind, part)? else { return Ok(None) };
        let path = self.path(kind, part);
        let Some((mut file, bytes)) = open(&path)? else { return Ok(None) };
        let mut left = bytes.saturating_sub(HASH_BYTES as u64);
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; READ_BYTES];
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(READ_BYTES).min(READ_BYTES);
            let part = &mut buffer[..want];
            file.read_exact(part).map_err(|source| io_error("read", &path, source))?;
            hasher.update_rayon(part);
            left -= want as u64;
        }
        if hasher.finalize().as_bytes() == found.hash.as_bytes() {
            Ok(Some(found))
        } else {
            Err(KeyStoreError::Refused { path, source: KeyError::Hash })
        }
    }

    /// The verifying key of a circuit, every point checked; `None` when there is no file.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verifying_key(&self, kind: CircuitKind) -> Result<Option<VerifyingKey>, KeyStoreError> {
        let path = self.path(kind, KeyPart::Verifying);
        let Some(file) = OpenKey::open(&path)? else { return Ok(None) };
        let key = file.verifying_key(self.circuit(kind), &self.params);
        key.map(Some).map_err(|source| KeyStoreError::Refused { path, source })
    }
}

fn open(path: &Path) -> Result<Option<(File, u64)>, KeyStoreError> {
    let opened = File::open(path).and_then(|file| {
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    });
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error("read", path, source)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::num::NonZeroUsize;

    use hpips_circuits::Origin;

    use super::*;
    use crate::{Config, open_verifier};

    const KIND: CircuitKind = CircuitKind::Window;

    fn small() -> NetworkParams {
        NetworkParams { sector_height: 2, set_depth: 1, window_challenges: 1, ..NetworkParams::dev() }
    }

    #[test]
    fn files_are_found_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let missing = KeyFolder::new(&dir.path().join("none"), &small()).unwrap();
        for part in [KeyPart::Verifying, KeyPart::Proving] {
            assert_eq!(missing.verify(KIND, part).unwrap(), None);
        }
        assert!(missing.verifying_key(KIND).unwrap().is_none());
        assert!(!dir.path().join("none").exists(), "looking makes no folder");

        let config = Config::new(dir.path()).threads(NonZeroUsize::new(2).unwrap());
        open_verifier(&config, &small()).unwrap();
        let folder = KeyFolder::new(dir.path(), &small()).unwrap();
        let key = folder.verifying_key(KIND).unwrap().unwrap();
        for part in [KeyPart::Verifying, KeyPart::Proving] {
            let file = folder.verify(KIND, part).unwrap().unwrap();
            assert_eq!(folder.find(KIND, part).unwrap(), Some(file.clone()));
            assert_eq!(file.of, *key.of());
            assert_eq!(file.of.origin, Origin::InsecureTest);
            assert_eq!(file.bytes, fs::metadata(folder.path(KIND, part)).unwrap().len());
        }

        let path = folder.path(KIND, KeyPart::Proving);
        let honest = fs::read(&path).unwrap();
        let check = |bytes: &[u8], finds: bool| {
            fs::write(&path, bytes).unwrap();
            assert_eq!(folder.find(KIND, KeyPart::Proving).is_ok(), finds);
            let refused = folder.verify(KIND, KeyPart::Proving).unwrap_err();
            assert!(refused.to_string().contains(&path.display().to_string()), "{refused}");
            refused
        };
        let refused = check(&honest[..honest.len() / 2], true);
        assert!(matches!(refused, KeyStoreError::Refused { source: KeyError::Hash, .. }), "{refused:?}");
        let mut flipped = honest.clone();
        flipped[honest.len() / 2] ^= 1;
        let refused = check(&flipped, true);
        assert!(matches!(refused, KeyStoreError::Refused { source: KeyError::Hash, .. }), "{refused:?}");
        let refused = check(&honest[..50], false);
        assert!(matches!(refused, KeyStoreError::Refused { source: KeyError::Length { .. }, .. }));
        check(&[], false);
        // Another network's key under this one's name.
        let other = fs::read(folder.path(CircuitKind::Activation, KeyPart::Proving)).unwrap();
        let refused = check(&other, false);
        assert!(matches!(refused, KeyStoreError::Refused { source: KeyError::Circuit, .. }), "{refused:?}");
    }

    #[test]
    fn a_test_key_is_refused_on_a_real_network() {
        let dir = tempfile::tempdir().unwrap();
        open_verifier(&Config::new(dir.path()), &small()).unwrap();
        let real = NetworkParams { name: "main".into(), ..small() };
        let folder = KeyFolder::new(dir.path(), &real).unwrap();
        for refused in [
            folder.find(KIND, KeyPart::Proving).map(drop).unwrap_err(),
            folder.verify(KIND, KeyPart::Verifying).map(drop).unwrap_err(),
            folder.verifying_key(KIND).map(drop).unwrap_err(),
        ] {
            assert!(
                matches!(refused, KeyStoreError::Refused { source: KeyError::Insecure { .. }, .. }),
                "{refused:?}"
            );
        }
    }
}
