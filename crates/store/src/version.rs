//! Versions of the format, and the way from older ones to this.

use std::io;
use std::path::Path;

use crate::error::OpenError;
use crate::layer::{Disk, Layer};
use crate::lock::Lock;
use crate::store::Store;

/// Version of the format that this program reads and writes.
pub const VERSION: u32 = 1;
/// What the file `version` says before the number.
const PREFIX: &str = "hpips-store ";

/// One step: what makes a store of version `from` one of the next version. Doing half of it and then all of it again
/// has to be as good as doing it once.
struct Step {
    from: u32,
    run: fn(&dyn Layer, &Path) -> io::Result<()>,
}

/// All steps, in order. There is one version so far.
const STEPS: &[Step] = &[];

/// What [`Store::migrate`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// Version before.
    pub from: u32,
    /// Version now.
    pub to: u32,
}

impl Store {
    /// Brings the store in a folder to this program's version of the format; does nothing where it has that already.
    /// Interrupted, it can be run again.
    ///
    /// # Errors
    /// [`OpenError::Locked`] while a process has it open, [`OpenError::Newer`] and [`OpenError::Version`] for what
    /// this program does not know, and failures of the disk.
    pub fn migrate(dir: impl AsRef<Path>) -> Result<Migrated, OpenError> {
        let dir = dir.as_ref();
        let _lock = Lock::take(dir)?;
        migrate(&Disk, dir, STEPS, VERSION)
    }
}

fn migrate(layer: &dyn Layer, dir: &Path, steps: &[Step], to: u32) -> Result<Migrated, OpenError> {
    let Some(from) = read(layer, dir)? else {
        write(layer, dir, to)?;
        return Ok(Migrated { from: to, to });
    };
    if from > to {
        return Err(OpenError::Newer { path: dir.to_owned(), found: from, known: to });
    }
    for step in steps.iter().filter(|step| (from..to).contains(&step.from)) {
        (step.run)(layer, dir).map_err(|source| OpenError::Io { path: dir.to_owned(), source })?;
        write(layer, dir, step.from + 1)?;
    }
    Ok(Migrated { from, to })
}

/// Lets a store of this version pass, and makes a new one of it where there is none: the version file is written
/// before anything else, so a store without one is new.
pub(crate) fn check(layer: &dyn Layer, dir: &Path) -> Result<(), OpenError> {
    let path = || dir.to_owned();
    match read(layer, dir)? {
        None => write(layer, dir, VERSION),
        Some(VERSION) => Ok(()),
        Some(found) if found > VERSION => Err(OpenError::Newer { path: path(), found, known: VERSION }),
        Some(found) => Err(OpenError::Older { path: path(), found, known: VERSION }),
    }
}

fn read(layer: &dyn Layer, dir: &Path) -> Result<Option<u32>, OpenError> {
    let path = dir.join("version");
    let io = |source| OpenError::Io { path: path.clone(), source };
    let Some(file) = layer.open_read(&path).map_err(io)? else { return Ok(None) };
    let len = usize::try_from(file.len().map_err(io)?.min(64)).expect("at most 64");
    let mut found = vec![0; len];
    file.read_exact_at(&mut found, 0).map_err(io)?;
    let found = String::from_utf8_lossy(&found).into_owned();
    match found.strip_prefix(PREFIX).and_then(|number| number.strip_suffix('\n')?.parse().ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(OpenError::Version { path: dir.to_owned(), found }),
    }
}

fn write(layer: &dyn Layer, dir: &Path, version: u32) -> Result<(), OpenError> {
    let temporary = dir.join("version.new");
    let io = |source| OpenError::Io { path: temporary.clone(), source };
    let file = layer.create(&temporary).map_err(io)?;
    file.write_all_at(format!("{PREFIX}{version}\n").as_bytes(), 0).map_err(io)?;
    file.sync().map_err(io)?;
    layer.rename(&temporary, &dir.join("version")).map_err(io)?;
    layer.sync_dir(dir).map_err(io)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::mocks::{Fault, MemoryDisk};

    fn mark(layer: &dyn Layer, dir: &Path, name: &str) -> io::Result<()> {
        layer.create(&dir.join(name)).map(drop)
    }

    #[test]
    fn every_step_is_taken_once_and_an_interrupted_one_again() {
        let steps = [
            Step { from: 1, run: |layer, dir| mark(layer, dir, "one") },
            Step { from: 2, run: |layer, dir| mark(layer, dir, "two") },
        ];
        let dir = PathBuf::from("/store");
        for cut in 0..20 {
            let disk = MemoryDisk::new(cut);
            check(&disk, &dir).unwrap();
            disk.set_fault(Some(Fault::CutAfter(cut)));
            let done = migrate(&disk, &dir, &steps, 3).is_ok();
            let disk = disk.boot();
            let version = read(&disk, &dir).unwrap().unwrap();
            assert!(!done || version == 3, "cut {cut}");
            assert_eq!(migrate(&disk, &dir, &steps, 3).unwrap(), Migrated { from: version, to: 3 });
            let names = disk.list(&dir).unwrap();
            assert!(done || names.contains(&"two".to_owned()), "cut {cut}: {names:?}");
            assert!(matches!(check(&disk, &dir), Err(OpenError::Newer { found: 3, known: 1, .. })));
            assert!(matches!(migrate(&disk, &dir, &[], 2), Err(OpenError::Newer { .. })));
        }
    }
}
