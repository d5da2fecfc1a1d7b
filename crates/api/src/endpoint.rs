//! Where a running node listens, and the secret that shows a caller may read its repo.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Name of the endpoint's file in a repo.
pub const ENDPOINT_FILE: &str = "api";
/// An endpoint file is a few hundred bytes; more is not one.
const ENDPOINT_BYTES_MAX: u64 = 4096;

/// A running node's address. The file that carries it is readable by the owner only, so whoever can
/// present the token could also have read the repo's key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Loopback address of the HTTP server.
    pub address: SocketAddr,
    /// Secret sent with every request, 64 hexadecimal digits.
    pub token: String,
    /// Process that serves it.
    pub pid: u32,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.address)
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

/// Why an endpoint file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The file system refused.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// Not an endpoint file.
    #[error("{path} is not the address of a node")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

impl Endpoint {
    /// The endpoint of the node that runs on this repo, or `None` when none says so. A node that was
    /// killed leaves its file behind: whoever connects finds out.
    ///
    /// # Errors
    /// [`EndpointError`] when there is a file and it cannot be used.
    pub fn read(repo: &Path) -> Result<Option<Self>, EndpointError> {
        let path = repo.join(ENDPOINT_FILE);
        let text = match fs::metadata(&path) {
            Ok(meta) if meta.len() > ENDPOINT_BYTES_MAX => return Err(EndpointError::Malformed { path }),
            Ok(_) => fs::read_to_string(&path),
            Err(error) => Err(error),
        };
        match text {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|_| EndpointError::Malformed { path }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(EndpointError::Io { path, source }),
        }
    }

    /// Writes the file, readable by the owner only, all at once.
    ///
    /// # Errors
    /// [`EndpointError::Io`].
    pub fn write(&self, repo: &Path) -> Result<(), EndpointError> {
        let path = repo.join(ENDPOINT_FILE);
        let temporary = repo.join(format!("{ENDPOINT_FILE}.new"));
        let write = || {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            let text = serde_json::to_string(self).map_err(std::io::Error::other)?;
            file.write_all(text.as_bytes())?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|source| EndpointError::Io { path: path.clone(), source })
    }

    /// Removes the file; a missing one is fine.
    pub fn remove(repo: &Path) {
        let _ = fs::remove_file(repo.join(ENDPOINT_FILE));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn written_and_read_by_the_owner_only() {
        let repo = tempfile::tempdir().unwrap();
        assert_eq!(Endpoint::read(repo.path()).unwrap(), None);
        let endpoint =
            Endpoint { address: "127.0.0.1:5001".parse().unwrap(), token: "ab".repeat(32), pid: 7 };
        endpoint.write(repo.path()).unwrap();
        assert_eq!(Endpoint::read(repo.path()).unwrap(), Some(endpoint.clone()));
        let mode = fs::metadata(repo.path().join(ENDPOINT_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{endpoint:?}").contains("abab"), "the token is a secret");
        for bad in ["", "{}", &"x".repeat(5000)] {
            fs::write(repo.path().join(ENDPOINT_FILE), bad).unwrap();
            assert!(Endpoint::read(repo.path()).is_err(), "{}", bad.len());
        }
    }
}
