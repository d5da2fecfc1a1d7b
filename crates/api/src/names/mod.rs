//! What names stand for: resolving, publishing, publishing again.
//!
//! A record is looked for in the repo, in the memory of this process and at the routers; the newest that holds counts,
//! and is remembered for as long as it says. What is published here is in the repo before anybody else hears of it, so
//! that its sequence goes on after a restart.

mod memory;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hpips_ipns::{Content, CreateError, Form, Moment, Name, NameError, Record, RecordError};
use tokio::sync::Mutex as Turn;
use zeroize::Zeroizing;

use crate::routing::{Reach, Routers, now};
use memory::Memory;

/// Names that point at names, one after the other (Kubo's limit).
const DEPTH_MAX: u32 = 32;
/// How long a record is remembered that does not say.
const REMEMBERED: Duration = Duration::from_secs(60);
/// No record is remembered for longer, whatever it says.
const REMEMBERED_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long routers are asked for a name that nothing is known of.
const WAIT: Duration = Duration::from_secs(30);
/// As long for one whose record is here: somebody else may hold the key as well.
const WAIT_KNOWN: Duration = Duration::from_secs(3);
/// How long a record holds that its publisher does not say more of (Kubo's default).
pub(crate) const LIFETIME: Duration = Duration::from_secs(48 * 3600);
/// How long a record asks to be remembered that its publisher does not say more of (Kubo's default).
pub(crate) const TTL: Duration = Duration::from_secs(300);
/// A record is not signed again for less than this.
const PROLONGED: Duration = Duration::from_secs(3600);
/// How often records are published again: routers drop them after a day or two (Kubo's default).
pub const REPUBLISH: Duration = Duration::from_secs(4 * 3600);

/// The records that a repo keeps.
pub trait Records: Send + Sync + 'static {
    /// The record of a name, as it was saved. Blocks.
    ///
    /// # Errors
    /// What the file system says.
    fn load(&self, name: &Name) -> io::Result<Option<Vec<u8>>>;

    /// Keeps a record in place of an older one; it is on disk when this returns. Blocks.
    ///
    /// # Errors
    /// What the file system says; the older one is still there then.
    fn save(&self, name: &Name, record: &[u8]) -> io::Result<()>;

    /// Names with a record, in no order. Blocks.
    ///
    /// # Errors
    /// What the file system says.
    fn list(&self) -> io::Result<Vec<Name>>;
}

/// Why a name is not resolved or published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NamingError {
    #[error("could not resolve name: nobody that was asked has a record of {0}")]
    NotFound(Name),
    #[error(
        "could not resolve name: the domain {0:?} (DNSLink) is not looked up by this version; use the name of a key, or the CID that the domain stands for"
    )]
    Domain(String),
    #[error("could not resolve name")]
    Name(#[from] NameError),
    #[error("could not resolve name: more than {DEPTH_MAX} names point at names")]
    TooDeep,
    #[error("could not resolve name: {name} points at {value:?}, which is neither /ipfs/CID nor /ipns/NAME")]
    Value { name: Name, value: String },
    #[error("the records of the repo cannot be used")]
    Records(#[from] io::Error),
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error("the record is refused")]
    Record(#[from] RecordError),
    #[error("sequence number {given} is not higher than {known}, which is published already")]
    Sequence { given: u64, known: u64 },
    #[error("a newer record of {0} is known here: sequence {1}. Nothing was changed")]
    Older(Name, u64),
}

/// Where a path below `/ipns` leads.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    /// `/ipfs/...`, or after one step only another path below `/ipns`.
    pub(crate) path: String,
    /// How long that may be remembered.
    pub(crate) ttl: Duration,
}

/// How a name is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Whom to ask besides the repo; nobody when absent.
    pub(crate) reach: Option<Reach>,
    /// Whether what is remembered will do.
    pub(crate) may_remember: bool,
}

/// What is published.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    /// The path.
    pub(crate) value: String,
    pub(crate) lifetime: Duration,
    pub(crate) ttl: Duration,
    /// The number of the record, if the publisher wants another than the next.
    pub(crate) sequence: Option<u64>,
    pub(crate) form: Form,
}

/// What came of publishing again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Republished {
    /// Records that hold.
    pub records: usize,
    /// Of these, records that no router took although there are routers.
    pub untold: usize,
}

/// Names of a node or of a repo. Clones share what is remembered.
#[derive(Clone)]
pub struct Names(Arc<Inner>);

struct Inner {
    records: Arc<dyn Records>,
    routers: Routers,
    memory: Mutex<Memory>,
    /// One change of a record at a time: a sequence number is read and then written.
    turn: Turn<()>,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("routers", &self.0.routers).finish_non_exhaustive()
    }
}

/// The path below `/ipns` in a text, with its namespace; `None` for a text in another.
pub(crate) fn named(text: &str) -> Option<&str> {
    text.strip_prefix("/ipns/").or_else(|| text.strip_prefix("ipns://"))
}

/// The name of a key in a path, or words about what is none.
pub(crate) fn parse_name(text: &str) -> Result<Name, NamingError> {
    text.parse().map_err(|error| match error {
        NameError::Malformed(text) if is_domain(&text) => NamingError::Domain(text),
        error => NamingError::Name(error),
    })
}

/// Whether a text is what people write for a domain, or its label in a subdomain.
fn is_domain(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    text.bytes().all(is_letter) && text.contains(['.', '-'])
}

impl Names {
    /// Names whose records lie here and at these routers.
    pub fn new(records: Arc<dyn Records>, routers: Routers) -> Self {
        let memory = Mutex::new(Memory::default());
        Self(Arc::new(Inner { records, routers, memory, turn: Turn::new(()) }))
    }

    /// The routers.
    pub(crate) fn routers(&self) -> &Routers {
        &self.0.routers
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows what stands behind `/ipns/` until it is content, or by one name only.
    pub(crate) async fn resolve(
        &self,
        named: &str,
        recursive: bool,
        ask: Ask,
    ) -> Result<Resolved, NamingError> {
        let mut path = named.trim_start_matches('/').to_owned();
        let mut ttl = REMEMBERED_MAX;
        for _ in 0..DEPTH_MAX {
            let (text, below) = path.split_once('/').unwrap_or((&path, ""));
            let name = parse_name(text)?;
            let record = self.record(&name, ask).await?;
            ttl = ttl.min(remembered(&record));
            let value = &record.content().value;
            let below = below.trim_end_matches('/');
            let target = if below.is_empty() {
                value.clone()
            } else {
                format!("{}/{below}", value.trim_end_matches('/'))
            };
            let rest = target.strip_prefix("/ipns/").map(str::to_owned);
            if rest.is_none() && !target.starts_with("/ipfs/") && !target.starts_with("/ipld/") {
                return Err(NamingError::Value { name, value: value.clone() });
            }
            match rest {
                Some(rest) if recursive => path = rest,
                _ => return Ok(Resolved { path: target, ttl }),
            }
        }
        Err(NamingError::TooDeep)
    }

    /// The newest record of a name that holds.
    pub(crate) async fn record(&self, name: &Name, ask: Ask) -> Result<Record, NamingError> {
        let remembered = self.memory().get(name, now());
        if let Some((record, is_fresh)) = &remembered
            && *is_fresh
            && ask.may_remember
        {
            return Ok(record.clone());
        }
        let saved = self.saved(name).await?.filter(|record| record.verify(name, now()).is_ok());
        let known = newer(saved, remembered.map(|(record, _)| record));
        let asked = match ask.reach {
            None => None,
            Some(reach) => {
                let wait = if known.is_some() { WAIT_KNOWN } else { WAIT };
                self.0.routers.record(name, reach, wait).await
            }
        };
        let record = newer(known, asked).ok_or(NamingError::NotFound(*name))?;
        self.memory().put(*name, &record, now());
        Ok(record)
    }

    async fn saved(&self, name: &Name) -> Result<Option<Record>, NamingError> {
        let (records, name) = (Arc::clone(&self.0.records), *name);
        let bytes = blocking(move || records.load(&name)).await?;
        // What is no record here was damaged; the next one replaces it.
        Ok(bytes.and_then(|bytes| Record::decode(&bytes).ok()))
    }

    async fn save(&self, name: Name, record: &Record) -> Result<(), NamingError> {
        let (records, bytes) = (Arc::clone(&self.0.records), record.bytes().to_vec());
        blocking(move || records.save(&name, &bytes)).await?;
        self.memory().put(name, record, now());
        Ok(())
    }

    /// Publishes; the record is in the repo when this returns. Returns it and how many routers took it.
    pub(crate) async fn publish(
        &self,
        seed: &Zeroizing<[u8; 32]>,
        publication: Publication,
        is_offline: bool,
    ) -> Result<(Name, usize), NamingError> {
        let _turn = self.0.turn.lock().await;
        let name = Name::of_seed(seed);
        // One that has ended counts: its number was used.
        let saved = self.saved(&name).await?.filter(|record| record.verify_signature(&name).is_ok());
        let asked =
            if is_offline { None } else { self.0.routers.record(&name, Reach::All, WAIT_KNOWN).await };
        let known = newer(newer(saved, self.memory().get(&name, now()).map(|(record, _)| record)), asked);
        let validity = now().after(publication.lifetime);
        let sequence = next_sequence(known.as_ref(), &publication, validity)?;
        let content = Content {
            value: publication.value,
            validity,
            sequence,
            ttl_nanoseconds: u64::try_from(publication.ttl.as_nanos()).unwrap_or(u64::MAX),
        };
        let record = Record::create(seed, &content, publication.form)?;
        self.save(name, &record).await?;
        let taken = if is_offline { 0 } else { self.0.routers.put_record(&name, &record, Reach::All).await };
        Ok((name, taken))
    }

    /// Takes a record that somebody signed, and hands it on to whom `reach` says. `is_kept` also saves it in the repo and
    /// publishes it again from then on. Returns how many routers took it.
    pub(crate) async fn take(
        &self,
        name: Name,
        record: &Record,
        is_kept: bool,
        reach: Option<Reach>,
    ) -> Result<usize, NamingError> {
        record.verify(&name, now())?;
        let _turn = self.0.turn.lock().await;
        let ask = Ask { reach: None, may_remember: false };
        match self.record(&name, ask).await {
            Ok(known) if known.is_newer_than(record) => {
                return Err(NamingError::Older(name, known.content().sequence));
            }
            Ok(_) | Err(NamingError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        // Another's record that is saved already stays the newest one.
        if is_kept || self.saved(&name).await?.is_some() {
            self.save(name, record).await?;
        } else {
            self.memory().put(name, record, now());
        }
        Ok(match reach {
            None => 0,
            Some(reach) => self.0.routers.put_record(&name, record, reach).await,
        })
    }

    /// Publishes every record of the repo again, those of these keys with a new end.
    ///
    /// # Errors
    /// When the repo cannot be read; one record that fails holds up no other.
    pub async fn republish(&self, seeds: Vec<Zeroizing<[u8; 32]>>) -> io::Result<Republished> {
        let seeds: BTreeMap<Name, _> = seeds.into_iter().map(|seed| (Name::of_seed(&seed), seed)).collect();
        let records = Arc::clone(&self.0.records);
        let mut done = Republished::default();
        for name in blocking(move || records.list()).await? {
            match self.republish_one(name, seeds.get(&name)).await {
                Ok(None) => {}
                Ok(Some(taken)) => {
                    done.records += 1;
                    done.untold += usize::from(taken == 0 && self.0.routers.can_tell());
                }
                Err(error) => {
                    let error = crate::error::chain_text(&error);
                    tracing::warn!(%name, error, "a name was not published again");
                }
            }
        }
        Ok(done)
    }

    async fn republish_one(
        &self,
        name: Name,
        seed: Option<&Zeroizing<[u8; 32]>>,
    ) -> Result<Option<usize>, NamingError> {
        let _turn = self.0.turn.lock().await;
        let Some(mut record) = self.saved(&name).await? else { return Ok(None) };
        let validity = now().after(LIFETIME);
        if let Some(seed) = seed
            && record.content().validity < now().after(LIFETIME - PROLONGED)
            && record.verify_signature(&name).is_ok()
        {
            let content = Content { validity, ..record.content().clone() };
            record = Record::create(seed, &content, record.form())?;
            self.save(name, &record).await?;
        }
        if record.verify(&name, now()).is_err() {
            return Ok(None);
        }
        Ok(Some(self.0.routers.put_record(&name, &record, Reach::All).await))
    }
}

fn next_sequence(
    known: Option<&Record>,
    publication: &Publication,
    validity: Moment,
) -> Result<u64, NamingError> {
    let Some(known) = known.map(Record::content) else { return Ok(publication.sequence.unwrap_or(0)) };
    match publication.sequence {
        Some(given) if given <= known.sequence => Err(NamingError::Sequence { given, known: known.sequence }),
        Some(given) => Ok(given),
        // The same value for longer is the same version, as with Kubo.
        None if known.value == publication.value && known.validity < validity => Ok(known.sequence),
        None => {
            known.sequence.checked_add(1).ok_or(NamingError::Sequence { given: 0, known: known.sequence })
        }
    }
}

fn newer(left: Option<Record>, right: Option<Record>) -> Option<Record> {
    match (left, right) {
        (Some(left), Some(right)) => Some(if right.is_newer_than(&left) { right } else { left }),
        (left, right) => left.or(right),
    }
}

/// How long a record may be remembered: as it says, and not beyond its end.
pub(crate) fn remembered(record: &Record) -> Duration {
    let content = record.content();
    let ttl = match content.ttl_nanoseconds {
        0 => REMEMBERED,
        nanoseconds => Duration::from_nanos(nanoseconds).min(REMEMBERED_MAX),
    };
    ttl.min(content.validity.since(now()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
pub(crate) mod tests;
