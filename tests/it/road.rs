//! The whole road: pledge, add, prove, be paid, lose two of six holders, lose nothing.

use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use hpips_api::ApiClient;
use hpips_api::view::{
    AddAnswer, AddRequest, BlockPage, DealInfo, Done, GetAnswer, GetRequest, PledgeInfo, PledgeRequest,
    ProfileRequest, QuoteAnswer, QuoteRequest, RootRequest, StoreAnswer, StoreRequest, Totals,
};
use hpips_ledger::Event;
use hpips_testnet::{Network, Options};
use hpips_types::{Height, NetworkParams, TokenAmount};

use crate::binary::hpips;

/// Longest wait for anything: a window is 16 s, a loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(240);
const SEALED: u64 = 256 * 1024;
/// Windows the object is stored for: more than the test takes.
const TERM_WINDOWS: u64 = 100;

/// Waits until a question has the answer looked for.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn post<B: serde::Serialize, T: serde::de::DeserializeOwned>(
    api: &ApiClient,
    path: &str,
    body: &B,
) -> T {
    api.post(path, body, PATIENCE).await.unwrap_or_else(|error| panic!("{path}: {error:?}"))
}

/// All events of the blocks after a height.
async fn events(api: &ApiClient, mut since: Height) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let page: BlockPage = api.get(&format!("/hpips/v0/blocks?since={since}")).await.expect("blocks");
        let Some(last) = page.blocks.last() else { return events };
        since = last.height;
        events.extend(page.blocks.into_iter().flat_map(|block| block.events));
    }
}

fn write_folder(folder: &Path) {
    fs::create_dir_all(folder.join("planets")).expect("a folder");
    fs::write(folder.join("planets/mars.txt"), "Hello Mars!\n").expect("a file");
    fs::write(folder.join("planets/venus.txt"), "Hello Venus!\n").expect("a file");
    for number in 0..5u32 {
        let bytes: Vec<u8> =
            (0..1_700_000u32).map(|i| ((i ^ number).wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        fs::write(folder.join(format!("photo-{number}.jpg")), bytes).expect("a file");
    }
}

fn assert_equal(a: &Path, b: &Path) {
    let names = |folder: &Path| -> BTreeSet<_> {
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect()
    };
    assert_eq!(names(a), names(b), "{} and {}", a.display(), b.display());
    for name in names(a) {
        let (a, b) = (a.join(&name), b.join(&name));
        if a.is_dir() {
            assert_equal(&a, &b);
        } else {
            assert!(
                fs::read(&a).expect("a file") == fs::read(&b).expect("a file"),
                "{} differs",
                a.display()
            );
        }
    }
}

#[test]
fn two_holders_die_and_nothing_is_lost() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(road());
}

async fn road() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options {
        program: hpips().to_owned(),
        // Half as fast again as the demo's blocks would be: proofs are in time on a loaded machine too.
        params: NetworkParams { block_ms: 1_500, ..NetworkParams::demo() },
        ..Options::new(folder.path().join("net")).expect("options")
    };
    let mut network = Network::start(options).await.expect("a network");
    let client = network.client().expect("a client").api().clone();

    for node in network.providers() {
        let request =
            PledgeRequest { sealed_bytes: SEALED, open_bytes: 64 << 20, ask: None, collateral_max: None };
        let _: Done = post(node.api(), "/hpips/v0/pledge", &request).await;
    }
    for node in network.providers() {
        until("a pledge to be sealed and proven", || async {
            let pledge: Option<PledgeInfo> = node.api().get("/hpips/v0/pledge").await.ok()?;
            pledge.filter(|pledge| pledge.sealed_bytes >= SEALED)
        })
        .await;
    }

    let source = folder.path().join("lake");
    write_folder(&source);
    let profile = ProfileRequest { cid_version: Some(0), ..ProfileRequest::default() };
    let planets =
        AddRequest { path: source.join("planets"), profile, hidden: false, nocopy: false, rehash: false };
    let planets: AddAnswer = post(&client, "/hpips/v0/add", &planets).await;
    assert_eq!(planets.root, "QmWSgS32xQEcXMeqd3YPJLrNBLSdsfYCep2U7CFkyrjXwY", "a published CID");

    let request = AddRequest {
        path: source.clone(),
        profile: ProfileRequest::default(),
        hidden: false,
        nocopy: false,
        rehash: false,
    };
    let added: AddAnswer = post(&client, "/hpips/v0/add", &request).await;
    let root = added.root;
    let quote: QuoteAnswer =
        post(&client, "/hpips/v0/quote", &QuoteRequest { root: root.clone(), windows: Some(TERM_WINDOWS) })
            .await;
    assert_eq!((quote.needed, quote.slots), (3, 6), "eight providers give 3 of 6");
    let request =
        StoreRequest { root: root.clone(), windows: Some(TERM_WINDOWS), price_max: quote.price_max };
    let stored: StoreAnswer = post(&client, "/hpips/v0/store", &request).await;
    assert_eq!(stored.deals.len(), 1);

    let deals = format!("/hpips/v0/deals?root={root}");
    let deal = || async {
        let deals: Vec<DealInfo> = client.get(&deals).await.ok()?;
        deals.into_iter().next()
    };
    let active = until("an active deal", deal).await;
    assert_eq!((active.k, active.n), (3, 6));
    until("a day with revenue", || async {
        let events = events(&client, Height::ZERO).await;
        events
            .iter()
            .any(|event| matches!(event, Event::Settled { revenue, .. } if *revenue > TokenAmount::ZERO))
            .then_some(())
    })
    .await;

    // Two holders, at most one of them a validator: four seats bear the loss of one.
    let holders: Vec<String> = active.slots.iter().filter_map(|slot| slot.provider.clone()).collect();
    let mut victims = Vec::new();
    for validators_too in [false, true] {
        for node in network.nodes().iter().filter(|node| holders.contains(&node.account.to_string())) {
            let is_second_validator =
                node.is_validator && victims.iter().any(|(_, is_validator, _)| *is_validator);
            if victims.len() < 2 && node.is_validator == validators_too && !is_second_validator {
                victims.push((node.index, node.is_validator, node.account));
            }
        }
    }
    assert_eq!(victims.len(), 2);
    for (index, _, _) in &victims {
        network.kill(*index).expect("a node that runs");
    }

    let _: serde_json::Value = post(&client, "/hpips/v0/forget", &RootRequest { root: root.clone() }).await;
    let target = folder.path().join("back");
    let request = GetRequest { path: root.clone(), target: target.clone(), offline: false };
    let got: GetAnswer = post(&client, "/hpips/v0/get", &request).await;
    assert_equal(&source, &target);
    assert!(got.fetched_bytes > 0, "it came from the network");

    let dead: Vec<String> = victims.iter().map(|(_, _, account)| account.to_string()).collect();
    until("both slots to be rebuilt", || async {
        let deal = deal().await?;
        let held = deal.slots.iter().filter(|slot| {
            slot.state == "held" && slot.provider.as_ref().is_some_and(|provider| !dead.contains(provider))
        });
        (held.count() == 6).then_some(())
    })
    .await;

    let totals: Totals = client.get("/hpips/v0/totals").await.expect("totals");
    assert_eq!(totals.coins, TokenAmount::SUPPLY, "coins are conserved to the unit");
    let mut revenue_days = 0;
    for event in events(&client, Height::ZERO).await {
        match event {
            Event::Settled { revenue, contributors, coin_holders, .. } => {
                assert_eq!(coin_holders.get(), revenue.get() / 10, "a tenth, rounded down");
                assert_eq!(contributors.get() + coin_holders.get(), revenue.get(), "90 and 10 are all");
                revenue_days += u64::from(revenue > TokenAmount::ZERO);
            }
            Event::Fined { provider, .. } | Event::SlotLost { provider, .. } => {
                assert!(dead.contains(&provider.to_string()), "an honest provider was fined");
            }
            _ => {}
        }
    }
    assert!(revenue_days > 0);
    network.stop();
}
