//! The named keys of a repo: a file each in the folder `keystore`, readable by the owner only.
//!
//! A file is named `key_` and the key's name in base32, as Kubo names its own, so that no name of a key can be a path;
//! it holds libp2p's protobuf of the secret.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cid::multibase::Base;
use hpips_api::rpc::{KeyError, Keys, NamedKey};
use hpips_crypto::sign::SecretKey;
use zeroize::Zeroizing;

use crate::repo::{Repo, RepoError, write_file};

/// Folder of the keys in a repo.
const FOLDER: &str = "keystore";
/// What a key's file begins with.
const FILE: &str = "key_";
/// Bytes in a key's name at most: its file's name must fit into 255.
const NAME_BYTES_MAX: usize = 128;
/// Type ed25519, then 64 bytes of data.
const PROTOBUF: &[u8] = &[0x08, 0x01, 0x12, 0x40];

/// The keys of a repo.
#[derive(Debug)]
pub(crate) struct KeyFolder {
    folder: PathBuf,
    own: NamedKey,
    repo: Repo,
    /// One change at a time.
    turn: Mutex<()>,
}

impl KeyFolder {
    /// The keys of this repo; `peer_id` is the node's own name.
    pub(crate) fn new(repo: &Repo, peer_id: String) -> Result<Self, RepoError> {
        let own = NamedKey { name: "self".into(), peer_id };
        Ok(Self { folder: repo.folder(FOLDER)?, own, repo: repo.clone(), turn: Mutex::new(()) })
    }

    fn path(&self, name: &str) -> Result<PathBuf, KeyError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(['/', '\0']) {
            return Err(KeyError::Name(name.to_owned()));
        }
        Ok(self.folder.join(format!("{FILE}{}", Base::Base32Lower.encode(name))))
    }

    fn read(path: &Path) -> Result<Option<Zeroizing<[u8; 32]>>, KeyError> {
        let failed = |source| KeyError::Io { path: path.to_owned(), source };
        let file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(128));
        file.take(128).read_to_end(&mut bytes).map_err(failed)?;
        let seed = bytes
            .strip_prefix(PROTOBUF)
            .filter(|key| key.len() == 64)
            .and_then(|key| key.first_chunk::<32>());
        let seed = seed.ok_or(KeyError::Malformed("the file in the keystore is damaged"))?;
        Ok(Some(Zeroizing::new(*seed)))
    }

    fn key(name: &str, seed: &[u8; 32]) -> NamedKey {
        NamedKey { name: name.to_owned(), peer_id: crate::peer_id(&SecretKey::from_seed(seed).account()) }
    }

    fn get(&self, name: &str) -> Result<(PathBuf, Zeroizing<[u8; 32]>), KeyError> {
        let path = self.path(name)?;
        let seed = Self::read(&path)?.ok_or_else(|| KeyError::Missing(name.to_owned()))?;
        Ok((path, seed))
    }
}

impl Keys for KeyFolder {
    fn list(&self) -> Result<Vec<NamedKey>, KeyError> {
        let failed = |source| KeyError::Io { path: self.folder.clone(), source };
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let file = entry.map_err(failed)?;
            let name = file.file_name();
            // What is no key, a file that was being written among it, is not looked at.
            let Some(code) = name.to_str().and_then(|name| name.strip_prefix(FILE)) else { continue };
            let Some(name) =
                Base::Base32Lower.decode(code).ok().and_then(|name| String::from_utf8(name).ok())
            else {
                continue;
            };
            if let Some(seed) = Self::read(&file.path())? {
                keys.push(Self::key(&name, &seed));
            }
        }
        keys.sort_by(|left, right| left.name.cmp(&right.name));
        keys.insert(0, self.own.clone());
        Ok(keys)
    }

    fn add(&self, name: &str, seed: Option<Zeroizing<[u8; 32]>>) -> Result<NamedKey, KeyError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(name)?;
        if name == self.own.name || path.exists() {
            return Err(KeyError::Exists(name.to_owned()));
        }
        let seed = match seed {
            Some(seed) => seed,
            None => {
                let mut seed = Zeroizing::new([0; 32]);
                getrandom::fill(seed.as_mut()).map_err(|_| KeyError::Randomness)?;
                seed
            }
        };
        let account = SecretKey::from_seed(&seed).account();
        let file = Zeroizing::new([PROTOBUF, &seed[..], account.as_bytes()].concat());
        write_file(&path, &file, 0o600).map_err(|source| KeyError::Io { path, source })?;
        Ok(Self::key(name, &seed))
    }

    fn rename(&self, from: &str, to: &str, force: bool) -> Result<(NamedKey, bool), KeyError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (old, seed) = self.get(from)?;
        let new = self.path(to)?;
        let is_there = from != to && new.exists();
        if is_there && !force {
            return Err(KeyError::Exists(to.to_owned()));
        }
        fs::rename(&old, &new).map_err(|source| KeyError::Io { path: old, source })?;
        Ok((Self::key(to, &seed), is_there))
    }

    fn remove(&self, name: &str) -> Result<NamedKey, KeyError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (path, seed) = self.get(name)?;
        fs::remove_file(&path).map_err(|source| KeyError::Io { path, source })?;
        Ok(Self::key(name, &seed))
    }

    fn seed(&self, name: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        if name == self.own.name {
            let path = self.repo.path().to_owned();
            let failed = |error| KeyError::Io { path, source: io::Error::other(error) };
            return self.repo.seed().map_err(failed);
        }
        Ok(self.get(name)?.1)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::Config;
    use crate::repo::Start;

    #[test]
    fn keys_are_kept_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let repo = Repo::init(folder.path(), &Config::default(), Start::default()).unwrap();
        let keys = KeyFolder::new(&repo, "me".into()).unwrap();
        let made = keys.add("../\u{e4} b", None);
        assert!(matches!(made, Err(KeyError::Name(_))));
        let made = keys.add("\u{e4} b", Some(Zeroizing::new([5; 32]))).unwrap();
        assert!(matches!(keys.add("\u{e4} b", None), Err(KeyError::Exists(_))));
        assert!(matches!(keys.add("self", None), Err(KeyError::Exists(_))));
        let mode = fs::metadata(keys.path("\u{e4} b").unwrap()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let names =
            |keys: &KeyFolder| keys.list().unwrap().into_iter().map(|key| key.name).collect::<Vec<_>>();
        assert_eq!(names(&keys), ["self", "\u{e4} b"]);
        keys.add("c", None).unwrap();
        assert!(matches!(keys.rename("c", "\u{e4} b", false), Err(KeyError::Exists(_))));
        assert_eq!(keys.rename("\u{e4} b", "c", true).unwrap().0.peer_id, made.peer_id);
        assert_eq!(*keys.seed("c").unwrap(), [5; 32]);
        keys.remove("c").unwrap();
        assert!(matches!(keys.remove("c"), Err(KeyError::Missing(_))));
        assert_eq!(names(&keys), ["self"]);
    }
}
