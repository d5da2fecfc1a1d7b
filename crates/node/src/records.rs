//! The records of names that a repo keeps: a file each in the folder `ipns`, as they are sent (docs/formats/ipns.md).

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

use hpips_api::names::Records;
use hpips_ipns::{Name, RECORD_BYTES_MAX};

use crate::repo::{Repo, RepoError, write_file};

/// Folder of the records in a repo.
const FOLDER: &str = "ipns";

/// The records of a repo.
#[derive(Debug)]
pub(crate) struct RecordFolder {
    folder: PathBuf,
}

impl RecordFolder {
    /// The records of this repo.
    pub(crate) fn new(repo: &Repo) -> Result<Self, RepoError> {
        Ok(Self { folder: repo.folder(FOLDER)? })
    }

    /// A name in base36 is letters and digits: no path, and no other file's name.
    fn path(&self, name: &Name) -> PathBuf {
        self.folder.join(name.to_string())
    }
}

impl Records for RecordFolder {
    fn load(&self, name: &Name) -> io::Result<Option<Vec<u8>>> {
        let file = match fs::File::open(self.path(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        // One byte more than a record may have, so that a damaged file is no record.
        let bytes_max = u64::try_from(RECORD_BYTES_MAX + 1).unwrap_or(u64::MAX);
        file.take(bytes_max).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn save(&self, name: &Name, record: &[u8]) -> io::Result<()> {
        write_file(&self.path(name), record, 0o600)
    }

    fn list(&self) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            // What is no name, a file that was being written among it, is not looked at.
            names.extend(entry?.file_name().to_str().and_then(|name| name.parse::<Name>().ok()));
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::repo::Start;

    #[test]
    fn records_stay() {
        let folder = tempfile::tempdir().unwrap();
        let repo = Repo::init(folder.path(), &Config::default(), Start::default()).unwrap();
        let (one, two) = (Name::of_seed(&[1; 32]), Name::of_seed(&[2; 32]));
        let records = RecordFolder::new(&repo).unwrap();
        records.save(&one, b"first").unwrap();
        records.save(&one, b"second").unwrap();
        fs::write(folder.path().join(FOLDER).join(format!("{two}.new")), b"cut").unwrap();
        let records = RecordFolder::new(&repo).unwrap();
        assert_eq!(records.load(&one).unwrap().unwrap(), b"second");
        assert_eq!((records.load(&two).unwrap(), records.list().unwrap()), (None, vec![one]));
    }
}
