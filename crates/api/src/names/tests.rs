//! Names over records in memory, without routers.

use super::*;

/// Records that nobody keeps.
#[derive(Default)]
pub(crate) struct Unsaved(Mutex<BTreeMap<Name, Vec<u8>>>);

impl Records for Unsaved {
    fn load(&self, name: &Name) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }

    fn save(&self, name: &Name, record: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().insert(*name, record.to_vec());
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<Name>> {
        Ok(self.0.lock().unwrap().keys().copied().collect())
    }
}

const CID: &str = "/ipfs/bafkqaaa";
const LOCAL: Ask = Ask { reach: None, may_remember: true };

fn names() -> (Arc<Unsaved>, Names) {
    let records = Arc::new(Unsaved::default());
    (records.clone(), Names::new(records, Routers::none()))
}

fn seed(byte: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([byte; 32])
}

fn publication(value: &str) -> Publication {
    Publication { value: value.into(), lifetime: LIFETIME, ttl: TTL, sequence: None, form: Form::V1AndV2 }
}

async fn publish(names: &Names, byte: u8, value: &str) -> Name {
    names.publish(&seed(byte), publication(value), true).await.unwrap().0
}

async fn sequence(names: &Names, name: &Name) -> u64 {
    names.record(name, LOCAL).await.unwrap().content().sequence
}

#[tokio::test]
async fn the_sequence_goes_on_over_restarts() {
    let (records, first) = names();
    let name = publish(&first, 1, CID).await;
    assert_eq!(sequence(&first, &name).await, 0);
    publish(&first, 1, CID).await;
    assert_eq!(sequence(&first, &name).await, 0, "the same value is the same version");
    publish(&first, 1, "/ipfs/bafkqaa3b").await;
    assert_eq!(sequence(&first, &name).await, 1);
    let again = Names::new(records, Routers::none());
    assert_eq!(sequence(&again, &name).await, 1);
    publish(&again, 1, CID).await;
    assert_eq!(sequence(&again, &name).await, 2);
    let given = |sequence| Publication { sequence: Some(sequence), ..publication(CID) };
    let low = again.publish(&seed(1), given(2), true).await;
    assert!(matches!(low, Err(NamingError::Sequence { given: 2, known: 2 })));
    again.publish(&seed(1), given(10), true).await.unwrap();
    assert_eq!(sequence(&again, &name).await, 10);
    // A shorter life alone would lose against the record that is out there.
    let short = Publication { lifetime: Duration::from_secs(60), ..publication(CID) };
    again.publish(&seed(1), short, true).await.unwrap();
    assert_eq!(sequence(&again, &name).await, 11);
}

#[tokio::test]
async fn names_of_names_are_followed_so_far() {
    let (_, names) = names();
    let first = publish(&names, 0, CID).await;
    let mut last = first;
    for byte in 1..=32 {
        last = publish(&names, byte, &format!("/ipns/{last}/{byte}")).await;
    }
    let second = Name::of_seed(&seed(2));
    let resolved = names.resolve(&format!("{second}/x/"), true, LOCAL).await.unwrap();
    assert_eq!(resolved.path, format!("{CID}/1/2/x"));
    let once = names.resolve(&second.to_string(), false, LOCAL).await.unwrap();
    assert_eq!(once.path, format!("/ipns/{}/2", Name::of_seed(&seed(1))));
    assert!(resolved.ttl <= TTL && resolved.ttl > TTL / 2);
    assert!(matches!(names.resolve(&last.to_string(), true, LOCAL).await, Err(NamingError::TooDeep)));
    let absent = names.resolve(&Name::of_seed(&seed(99)).to_string(), true, LOCAL).await;
    assert!(matches!(absent, Err(NamingError::NotFound(_))));
    for domain in ["docs.ipfs.tech", "docs-ipfs-tech"] {
        let domain = names.resolve(domain, true, LOCAL).await;
        assert!(matches!(domain, Err(NamingError::Domain(_))), "{domain:?}");
    }
    let loops = publish(&names, 50, &format!("/ipns/{}", Name::of_seed(&seed(50)))).await;
    assert!(matches!(names.resolve(&loops.to_string(), true, LOCAL).await, Err(NamingError::TooDeep)));
}

#[tokio::test]
async fn records_of_others_are_taken_when_they_hold() {
    let (records, names) = names();
    let make = |sequence, lifetime| {
        let validity = now().after(lifetime);
        let content = Content { value: CID.into(), validity, sequence, ttl_nanoseconds: 0 };
        Record::create(&[9; 32], &content, Form::V2).unwrap()
    };
    let name = Name::of_seed(&[9; 32]);
    names.take(name, &make(5, LIFETIME), false, None).await.unwrap();
    assert_eq!(sequence(&names, &name).await, 5);
    assert!(records.list().unwrap().is_empty(), "another's is not kept unless asked to");
    let older = names.take(name, &make(4, LIFETIME), true, None).await;
    assert!(matches!(older, Err(NamingError::Older(_, 5))), "{older:?}");
    let ended = names.take(name, &make(6, Duration::ZERO), true, None).await;
    assert!(matches!(ended, Err(NamingError::Record(RecordError::Ended(_)))), "{ended:?}");
    let foreign = names.take(Name::of_seed(&[8; 32]), &make(6, LIFETIME), true, None).await;
    assert!(matches!(foreign, Err(NamingError::Record(RecordError::Signature))), "{foreign:?}");
    names.take(name, &make(6, LIFETIME), true, None).await.unwrap();
    assert_eq!(records.list().unwrap(), [name]);
}

#[tokio::test]
async fn republishing_prolongs_what_is_our_own() {
    let (records, names) = names();
    let short = Publication { lifetime: Duration::from_secs(60), ..publication(CID) };
    let (own, _) = names.publish(&seed(1), short.clone(), true).await.unwrap();
    let (other, _) = names.publish(&seed(2), short, true).await.unwrap();
    assert_eq!(names.republish(vec![seed(1)]).await.unwrap(), Republished { records: 2, untold: 0 });
    let lives = |name: Name| {
        let record = Record::decode(&records.load(&name).unwrap().unwrap()).unwrap();
        assert_eq!(record.content().sequence, 0);
        record.content().validity.since(now()) > Duration::from_secs(3600)
    };
    assert!(lives(own) && !lives(other));
}
