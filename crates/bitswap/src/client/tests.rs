use proptest::prelude::*;

use super::*;
use hpips_types::content::{RAW, cid_v1};

const SECOND: Duration = Duration::from_secs(1);

fn cid(index: u32) -> Cid {
    cid_v1(RAW, &index.to_le_bytes())
}

fn cids(range: core::ops::Range<u32>) -> Vec<(Cid, Vec<u8>)> {
    range.map(|index| (cid(index), Vec::new())).collect()
}

fn client() -> Client<u8> {
    Client::new(ClientLimits::default())
}

/// Lines sent: peer, CID, what.
fn sent(effects: &[Effect<u8>]) -> Vec<(u8, Cid, &'static str)> {
    let mut lines = Vec::new();
    for effect in effects {
        let Effect::Send { peer, entries } = effect else { continue };
        for entry in entries {
            let what = match (entry.cancel, entry.want_type) {
                (true, _) => "cancel",
                (false, WantType::Have) => "have?",
                (false, WantType::Block) => "block!",
            };
            lines.push((*peer, entry.cid, what));
        }
    }
    lines
}

#[test]
fn one_candidate_is_asked_for_the_block_at_once() {
    let mut client = client();
    client.connected(1, Duration::ZERO);
    let session = client.open_session(Some(vec![1]));
    let request = client.request(session, cids(0..1), Duration::ZERO);
    assert_eq!(sent(&client.drain()), [(1, cid(0), "block!")]);
    assert_eq!(client.block(1, cid(0), 100, SECOND), Verdict::Wanted);
    assert_eq!(client.drain(), [Effect::Deliver { request, cid: cid(0) }, Effect::Done(request)]);
    assert_eq!(client.block(1, cid(0), 100, SECOND), Verdict::Late);
    assert_eq!(client.block(1, cid(1), 100, SECOND), Verdict::Unwanted);
    assert!(client.is_idle());
}

#[test]
fn several_are_probed_and_the_first_holder_sends() {
    let mut client = client();
    for peer in 1..=3 {
        client.connected(peer, Duration::ZERO);
    }
    let session = client.open_session(Some(vec![1, 2, 3]));
    let request = client.request(session, cids(0..1), Duration::ZERO);
    let probes = [(1, cid(0), "have?"), (2, cid(0), "have?"), (3, cid(0), "have?")];
    assert_eq!(sent(&client.drain()), probes);
    client.presence(1, cid(0), Presence::DontHave, SECOND);
    assert!(client.drain().is_empty());
    client.presence(3, cid(0), Presence::Have, SECOND);
    assert_eq!(sent(&client.drain()), [(3, cid(0), "block!")]);
    client.presence(2, cid(0), Presence::Have, SECOND);
    client.disconnected(3, SECOND);
    assert_eq!(
        sent(&client.drain()),
        [(2, cid(0), "block!")],
        "the second holder replaces a dead one at once"
    );
    client.block(2, cid(0), 1, SECOND);
    let effects = client.drain();
    assert_eq!(effects[..2], [Effect::Deliver { request, cid: cid(0) }, Effect::Done(request)]);
    assert_eq!(sent(&effects), [(1, cid(0), "cancel")], "it remembers what it could not answer");
}

#[test]
fn known_holders_are_asked_first_and_replaced() {
    let mut client = client();
    for peer in 1..=3 {
        client.connected(peer, Duration::ZERO);
    }
    let session = client.open_session(Some(vec![1, 2, 3]));
    client.request(session, vec![(cid(0), vec![3])], Duration::ZERO);
    assert_eq!(sent(&client.drain()), [(3, cid(0), "block!")]);
    client.presence(3, cid(0), Presence::DontHave, SECOND);
    assert_eq!(sent(&client.drain()), [(1, cid(0), "have?"), (2, cid(0), "have?")]);
}

#[test]
fn silence_is_passed_over_and_forgiven_twice() {
    let mut client = client();
    client.connected(1, Duration::ZERO);
    let session = client.open_session(Some(vec![1]));
    let request = client.request(session, cids(0..1), Duration::ZERO);
    client.drain();
    let mut asked = 0;
    let mut now = Duration::ZERO;
    loop {
        now += SECOND;
        client.tick(now);
        let effects = client.drain();
        asked += sent(&effects).iter().filter(|(_, _, what)| *what != "cancel").count();
        if effects.contains(&Effect::NotFound { request, cid: cid(0), asked: 1 }) {
            break;
        }
        assert!(now < 60 * SECOND);
    }
    assert_eq!((asked, now), (2, 15 * SECOND));
}

#[test]
fn a_slow_peer_is_not_a_silent_one() {
    let mut client = client();
    client.connected(1, Duration::ZERO);
    client.connected(2, Duration::ZERO);
    let session = client.open_session(Some(vec![1, 2]));
    client.request(session, vec![(cid(0), vec![1])], Duration::ZERO);
    client.drain();
    for second in 1..60 {
        client.heard(1, second * SECOND);
        client.tick(second * SECOND);
        assert!(client.drain().is_empty(), "{second}");
    }
    client.tick(60 * SECOND);
    let lines = sent(&client.drain());
    assert_eq!(lines, [(1, cid(0), "cancel"), (2, cid(0), "have?")], "dripping bytes for ever does not help");
}

#[test]
fn a_liar_loses_everything_it_was_asked_for() {
    let mut client = client();
    client.connected(1, Duration::ZERO);
    client.connected(2, Duration::ZERO);
    let session = client.open_session(Some(vec![1, 2]));
    client.request(session, vec![(cid(0), vec![1]), (cid(1), vec![1])], Duration::ZERO);
    client.drain();
    assert_eq!(client.block(1, cid(9), 10, SECOND), Verdict::Unwanted);
    client.lied(1, SECOND);
    let lines = sent(&client.drain());
    for line in [(1, cid(0), "cancel"), (1, cid(1), "cancel"), (2, cid(0), "have?"), (2, cid(1), "have?")] {
        assert!(lines.contains(&line), "{lines:?}");
    }
}

#[test]
fn what_is_not_read_is_not_asked_for() {
    let limits = ClientLimits::default();
    let mut client = client();
    client.connected(1, Duration::ZERO);
    let session = client.open_session(Some(vec![1]));
    let request = client.request(session, cids(0..1000), Duration::ZERO);
    let mut asked: Vec<Cid> = sent(&client.drain()).into_iter().map(|line| line.1).collect();
    assert_eq!(asked.len(), 128);
    // Blocks are larger than expected: the window shrinks to the budget.
    let mut unread = 0u64;
    let mut at = 0;
    while at < asked.len() {
        client.block(1, asked[at], 2 << 20, SECOND);
        unread += 2 << 20;
        at += 1;
        asked.extend(sent(&client.drain()).into_iter().filter(|line| line.2 == "block!").map(|line| line.1));
    }
    assert_eq!(unread, 128 * (2 << 20), "the first window at most, then nothing");
    client.consumed(request, 128, unread, SECOND);
    let lines = sent(&client.drain());
    assert_eq!(lines.len() as u64, limits.request_bytes_max / (2 << 20));
}

#[test]
fn nobody_to_ask_is_told_at_once_and_for_any_number() {
    let mut client = client();
    let session = client.open_session(Some(vec![]));
    let request = client.request(session, cids(0..100_000), Duration::ZERO);
    let effects = client.drain();
    assert_eq!(effects.len(), 100_001);
    assert_eq!(effects[0], Effect::NotFound { request, cid: cid(0), asked: 0 });
    assert_eq!(effects[100_000], Effect::Done(request));
}

#[test]
fn unreachable_candidates_are_dialed_once_and_given_up() {
    let mut client = client();
    let session = client.open_session(Some(vec![1, 2]));
    let request = client.request(session, cids(0..10), Duration::ZERO);
    assert_eq!(client.drain(), [Effect::Connect(1), Effect::Connect(2)]);
    client.connect_failed(1, SECOND);
    assert!(client.drain().is_empty());
    client.connect_failed(2, SECOND);
    assert_eq!(client.drain().len(), 11);
    client.request(session, cids(0..1), SECOND);
    assert!(matches!(client.drain()[0], Effect::NotFound { asked: 2, .. }), "not dialed again so soon");
    let _ = request;
}

#[test]
fn a_session_over_everyone_asks_whoever_is_connected() {
    let mut client = client();
    let session = client.open_session(None);
    client.connected(1, Duration::ZERO);
    client.connected(2, Duration::ZERO);
    client.request(session, cids(0..1), Duration::ZERO);
    client.connected(3, Duration::ZERO);
    let probes = [(1, cid(0), "have?"), (2, cid(0), "have?"), (3, cid(0), "have?")];
    assert_eq!(sent(&client.drain()), probes);
}

#[test]
fn closing_takes_everything_back() {
    let mut client = client();
    client.connected(1, Duration::ZERO);
    let session = client.open_session(Some(vec![1]));
    let first = client.request(session, cids(0..3), Duration::ZERO);
    client.request(session, cids(2..5), Duration::ZERO);
    client.drain();
    client.close_request(first, SECOND);
    assert_eq!(sent(&client.drain()).len(), 2, "the block of both stays wanted");
    client.close_session(session, SECOND);
    assert_eq!(sent(&client.drain()).len(), 3);
    assert!(client.is_idle());
    assert_eq!(client.block(1, cid(3), 10, SECOND), Verdict::Late, "late blocks are no lies");
}

#[test]
fn peers_of_old_versions_are_asked_one_at_a_time() {
    let mut client = client();
    for peer in 1..=3 {
        client.connected(peer, Duration::ZERO);
        client.speaks(peer, Protocol::V1_1, Duration::ZERO);
    }
    let session = client.open_session(Some(vec![1, 2, 3]));
    let request = client.request(session, cids(0..1), Duration::ZERO);
    assert_eq!(sent(&client.drain()), [(1, cid(0), "block!")]);
    client.tick(5 * SECOND);
    assert_eq!(sent(&client.drain()), [(1, cid(0), "cancel"), (2, cid(0), "block!")]);
    assert_eq!(client.block(2, cid(0), 1, 6 * SECOND), Verdict::Wanted);
    assert_eq!(client.drain(), [Effect::Deliver { request, cid: cid(0) }, Effect::Done(request)]);
    assert!(client.involved.is_empty());
}

#[test]
fn a_version_that_becomes_known_late_changes_what_was_asked() {
    let mut client = client();
    client.connected(1, Duration::ZERO);
    client.connected(2, Duration::ZERO);
    let session = client.open_session(Some(vec![1, 2]));
    let old = hpips_types::content::cid_v0(b"old");
    client.request(session, vec![(old, vec![]), (cid(0), vec![])], Duration::ZERO);
    assert_eq!(client.drain().len(), 2, "probes");
    client.presence(2, old, Presence::DontHave, SECOND);
    client.presence(2, cid(0), Presence::DontHave, SECOND);
    client.speaks(1, Protocol::V1_0, SECOND);
    let effects = client.drain();
    let is_missing =
        |effect: &Effect<u8>| matches!(effect, Effect::NotFound { cid: it, .. } if *it == cid(0));
    assert!(effects.iter().any(is_missing), "1.0.0 cannot send it: {effects:?}");
    client.tick(3 * SECOND);
    assert_eq!(client.wantlist(), [old], "it was asked for the block already");
    assert_eq!(client.block(1, old, 3, 4 * SECOND), Verdict::Wanted);
    assert!(client.is_idle());
}

/// How a peer of the simulation behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Honest,
    /// Never answers.
    Mute,
    /// Says it has everything and sends other blocks.
    Liar,
    /// Honest until its connection dies at this step.
    Dies(u8),
    /// Cannot be dialed.
    Absent,
}

fn manner() -> impl Strategy<Value = Manner> {
    prop_oneof![
        3 => Just(Manner::Honest),
        1 => Just(Manner::Mute),
        1 => Just(Manner::Liar),
        1 => (0..60u8).prop_map(Manner::Dies),
        1 => Just(Manner::Absent),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever peers do, every block gets exactly one outcome, and what an honest peer has is found.
    #[test]
    fn every_block_has_one_outcome(
        peers in prop::collection::vec((manner(), prop::collection::vec(any::<bool>(), 40)), 1..8),
        connected: [bool; 8],
        order: u64,
    ) {
        let mut client = client();
        let mut up = vec![false; peers.len()];
        let name = |index: usize| u8::try_from(index).unwrap();
        for (index, (manner, _)) in peers.iter().enumerate() {
            if connected[index] && *manner != Manner::Absent {
                client.connected(name(index), Duration::ZERO);
                up[index] = true;
            }
        }
        let session = client.open_session(Some((0..peers.len()).map(name).collect()));
        let request = client.request(session, cids(0..40), Duration::ZERO);
        let mut outcome: BTreeMap<Cid, bool> = BTreeMap::new();
        // What peers are about to do, in an order drawn from `order`.
        let mut todo: Vec<(u8, Option<Entry>)> = Vec::new();
        let mut random = order | 1;
        let mut now = Duration::ZERO;
        let mut done = false;
        for step in 0..20_000u32 {
            for effect in client.drain() {
                match effect {
                    Effect::Send { peer, entries } => {
                        todo.extend(entries.into_iter().filter(|e| !e.cancel).map(|e| (peer, Some(e))));
                    }
                    Effect::Connect(peer) => todo.push((peer, None)),
                    Effect::Deliver { cid, .. } => prop_assert!(outcome.insert(cid, true).is_none()),
                    Effect::NotFound { cid, .. } => prop_assert!(outcome.insert(cid, false).is_none()),
                    Effect::Done(id) => {
                        prop_assert_eq!(id, request);
                        done = true;
                    }
                }
            }
            if done {
                break;
            }
            for (index, (manner, _)) in peers.iter().enumerate() {
                if *manner == Manner::Dies(u8::try_from(step.min(255)).unwrap()) && up[index] {
                    up[index] = false;
                    todo.retain(|(peer, _)| *peer != name(index));
                    client.disconnected(name(index), now);
                }
            }
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if todo.is_empty() {
                now += SECOND;
                client.tick(now);
                continue;
            }
            let pick = usize::try_from(random >> 33).unwrap() % todo.len();
            let (peer, entry) = todo.swap_remove(pick);
            let (manner, has) = &peers[usize::from(peer)];
            let dead = matches!(manner, Manner::Dies(at) if u32::from(*at) <= step);
            let Some(entry) = entry else {
                if dead || *manner == Manner::Absent {
                    client.connect_failed(peer, now);
                } else {
                    up[usize::from(peer)] = true;
                    client.connected(peer, now);
                }
                continue;
            };
            if !up[usize::from(peer)] {
                continue;
            }
            let index = (0..40).find(|index| cid(*index) == entry.cid).unwrap();
            let has = has[usize::try_from(index).unwrap()];
            match (manner, entry.want_type) {
                (Manner::Mute, _) => {}
                (Manner::Liar, WantType::Have) => client.presence(peer, entry.cid, Presence::Have, now),
                (Manner::Liar, WantType::Block) => {
                    prop_assert_eq!(client.block(peer, cid(1_000_000), 5, now), Verdict::Unwanted);
                    client.lied(peer, now);
                }
                (_, _) if !has => client.presence(peer, entry.cid, Presence::DontHave, now),
                (_, WantType::Have) => client.presence(peer, entry.cid, Presence::Have, now),
                (_, WantType::Block) => {
                    client.block(peer, entry.cid, 1000, now);
                    client.consumed(request, 1, 1000, now);
                }
            }
        }
        prop_assert!(done, "{} outcomes", outcome.len());
        prop_assert_eq!(outcome.len(), 40);
        for index in 0..40u32 {
            let honest = peers.iter().any(|(m, has)| *m == Manner::Honest && has[usize::try_from(index).unwrap()]);
            if honest {
                prop_assert!(outcome[&cid(index)], "{}", index);
            }
        }
        prop_assert!(client.is_idle() && client.involved.is_empty());
    }
}
