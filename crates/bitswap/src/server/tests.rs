use super::*;
use hpips_types::content::{RAW, cid_v1};

fn cid(index: u32) -> Cid {
    cid_v1(RAW, &index.to_le_bytes())
}

fn want(index: u32) -> Entry {
    Entry::want(cid(index), WantType::Block)
}

fn all_found(server: &mut Server<u8>, lookups: Vec<Cid>, size: u32) {
    server.looked_up(1, lookups.into_iter().map(|cid| (cid, Some(size))).collect());
}

/// What is to be sent to the only peer; loading takes no time.
fn next(server: &mut Server<u8>) -> Option<Answer> {
    let (peer, answer) = server.next_answer()?;
    assert_eq!(peer, 1);
    if !answer.blocks.is_empty() {
        server.loaded();
    }
    Some(answer)
}

fn blocks(answer: Option<Answer>) -> (usize, u64) {
    match answer {
        Some(Answer { blocks, bytes, .. }) => (blocks.len(), bytes),
        None => (0, 0),
    }
}

#[test]
fn presence_and_absence_are_told_as_asked() {
    let mut server = Server::<u8>::new(ServerLimits::default());
    let mut silent = want(4);
    silent.send_dont_have = false;
    let entries =
        vec![Entry::want(cid(1), WantType::Have), Entry::want(cid(2), WantType::Have), want(3), silent];
    let lookups = server.receive(1, false, entries);
    let sizes = [Some(5000), Some(500), None, None];
    server.looked_up(1, lookups.into_iter().zip(sizes).collect());
    let Some(Answer { blocks, presences, bytes }) = next(&mut server) else { panic!() };
    assert_eq!(blocks, [cid(2)], "a small block is sent in place of a HAVE");
    assert_eq!(bytes, 500);
    assert_eq!(presences, [(cid(1), Presence::Have), (cid(3), Presence::DontHave)]);
    assert_eq!(next(&mut server), None);
}

#[test]
fn outstanding_bytes_are_bounded_for_each_peer() {
    let mut server = Server::<u8>::new(ServerLimits::default());
    let lookups = server.receive(1, false, (0..20).map(want).collect());
    all_found(&mut server, lookups, 400 << 10);
    let mut loaded = 0;
    while let (1, bytes) = blocks(next(&mut server)) {
        loaded += bytes;
    }
    assert_eq!(loaded, 3 * (400 << 10), "loading goes on while less than a MiB is outstanding");
    server.sent(1, 400 << 10);
    assert_eq!(blocks(next(&mut server)), (1, 400 << 10));
    assert_eq!(blocks(next(&mut server)).0, 0);
}

#[test]
fn small_blocks_travel_together() {
    let mut server = Server::<u8>::new(ServerLimits::default());
    let lookups = server.receive(1, false, (0..100).map(want).collect());
    all_found(&mut server, lookups, 4096);
    assert_eq!(blocks(next(&mut server)), (64, 256 << 10));
    assert_eq!(blocks(next(&mut server)).0, 36);
}

#[test]
fn floods_are_dropped_and_cancels_work_at_every_stage() {
    let mut server = Server::<u8>::new(ServerLimits::default());
    let lookups = server.receive(1, false, (0..5000).map(want).collect());
    assert_eq!(lookups.len(), WANTS_MAX);
    assert_eq!(server.dropped(), 5000 - WANTS_MAX as u64);
    server.receive(1, false, vec![Entry::cancel(cid(0))]);
    all_found(&mut server, lookups, 2000);
    server.receive(1, false, (1..1000).map(|index| Entry::cancel(cid(index))).collect());
    assert_eq!(blocks(next(&mut server)).0, WANTS_MAX - 1000);
    // Wanting and cancelling for ever leaves nothing.
    for round in 0..100 {
        let lookups = server.receive(1, false, (0..1000).map(|i| want(round * 1000 + i)).collect());
        all_found(&mut server, lookups, 2000);
        server.receive(1, false, (0..1000).map(|i| Entry::cancel(cid(round * 1000 + i))).collect());
    }
    assert!(server.peers[&1].queue.len() + server.peers[&1].wants.len() <= WANTS_MAX);
    server.disconnected(1);
    assert_eq!(next(&mut server), None);
}

#[test]
fn a_want_for_the_block_overtakes_one_for_its_presence() {
    let mut server = Server::<u8>::new(ServerLimits::default());
    let lookups = server.receive(1, false, vec![Entry::want(cid(1), WantType::Have)]);
    assert!(server.receive(1, false, vec![want(1)]).is_empty(), "looked up once");
    all_found(&mut server, lookups, 5000);
    assert_eq!(blocks(next(&mut server)), (1, 5000));
}

#[test]
fn a_full_wantlist_replaces_the_old_one() {
    let mut server = Server::<u8>::new(ServerLimits::default());
    let lookups = server.receive(1, false, vec![want(1), want(2)]);
    all_found(&mut server, lookups, 2000);
    let lookups = server.receive(1, true, vec![want(3)]);
    all_found(&mut server, lookups, 2000);
    let Some(Answer { blocks, .. }) = next(&mut server) else { panic!() };
    assert_eq!(blocks, [cid(3)]);
}

#[test]
fn larger_priorities_go_first_and_equal_ones_in_order() {
    let mut server = Server::<u8>::new(ServerLimits::default());
    let with = |index, priority| Entry { priority, ..want(index) };
    let lookups = server.receive(1, false, vec![with(0, 1), with(1, 5), with(2, 1), with(3, 5), with(4, -1)]);
    all_found(&mut server, lookups, 2000);
    let Some(Answer { blocks, .. }) = next(&mut server) else { panic!() };
    assert_eq!(blocks, [1, 3, 0, 2, 4].map(cid));
}

#[test]
fn peers_take_turns_by_bytes() {
    let mut server = Server::<u8>::new(ServerLimits::default());
    // The first asks for large blocks and came first, the others for small ones.
    for (peer, size) in [(1, 1 << 20), (2, 256 << 10), (3, 64 << 10)] {
        let lookups = server.receive(peer, false, (0..1000).map(want).collect());
        server.looked_up(peer, lookups.into_iter().map(|cid| (cid, Some(size))).collect());
    }
    let mut bytes = BTreeMap::<u8, u64>::new();
    for _ in 0..300 {
        let (peer, answer) = server.next_answer().unwrap();
        server.loaded();
        server.sent(peer, answer.bytes);
        *bytes.entry(peer).or_default() += answer.bytes;
    }
    let (most, least) = (*bytes.values().max().unwrap(), *bytes.values().min().unwrap());
    assert!(most - least <= 2 << 20, "{bytes:?}");
}

#[test]
fn loads_are_bounded_over_all_peers() {
    let limits = ServerLimits::default();
    let mut server = Server::<u8>::new(limits);
    for peer in 1..=50 {
        let lookups = server.receive(peer, false, (0..10).map(want).collect());
        server.looked_up(peer, lookups.into_iter().map(|cid| (cid, Some(200 << 10))).collect());
    }
    let mut served = BTreeSet::new();
    while let Some((peer, _)) = server.next_answer() {
        served.insert(peer);
    }
    assert_eq!(served.len(), limits.loads_max, "each a different peer");
    server.loaded();
    assert!(server.next_answer().is_some_and(|(peer, _)| served.insert(peer)));
}

#[test]
fn a_want_that_cannot_be_answered_is_answered_when_the_block_comes() {
    let mut server = Server::<u8>::new(ServerLimits::default());
    let lookups = server.receive(1, false, vec![want(1), want(2)]);
    server.looked_up(1, lookups.into_iter().map(|cid| (cid, None)).collect());
    let absent = next(&mut server).unwrap().presences;
    assert_eq!(absent, [(cid(1), Presence::DontHave), (cid(2), Presence::DontHave)]);
    assert_eq!(server.waiting(), 2);
    assert_eq!(server.wantlist_for(1).len(), 2);
    assert_eq!(server.arrived(&[cid(2), cid(9)]), [(1, vec![cid(2)])]);
    server.looked_up(1, vec![(cid(2), Some(5000))]);
    assert_eq!(next(&mut server).unwrap().blocks, [cid(2)]);
    server.receive(1, false, vec![Entry::cancel(cid(1))]);
    assert_eq!(server.waiting(), 0);
    assert!(server.arrived(&[cid(1)]).is_empty());
}

#[test]
fn a_block_that_arrives_while_it_is_looked_up_is_not_missed() {
    let mut server = Server::<u8>::new(ServerLimits::default());
    server.receive(1, false, vec![want(1)]);
    assert!(server.arrived(&[cid(1)]).is_empty());
    assert_eq!(server.looked_up(1, vec![(cid(1), None)]), [cid(1)]);
    assert!(server.looked_up(1, vec![(cid(1), Some(5000))]).is_empty());
    assert_eq!(next(&mut server).unwrap().blocks, [cid(1)]);
}

#[test]
fn remembered_wants_make_room_for_new_ones() {
    let mut server = Server::<u8>::new(ServerLimits::default());
    let mut absent = |range: core::ops::Range<u32>| {
        let lookups = server.receive(1, false, range.map(want).collect());
        server.looked_up(1, lookups.into_iter().map(|cid| (cid, None)).collect());
        server.next_answer();
        server.waiting()
    };
    for round in 0..10 {
        assert!(absent(round * 1000..(round + 1) * 1000) <= WANTS_MAX);
    }
    assert_eq!(server.dropped(), 0);
    assert!(!server.arrived(&[cid(9999)]).is_empty());
    assert!(server.arrived(&[cid(0)]).is_empty(), "the oldest are forgotten");
    server.disconnected(1);
    assert_eq!(server.waiting(), 0);
}

#[test]
fn identities_are_not_sent() {
    let mut server = Server::<u8>::new(ServerLimits::default());
    let identity = hpips_types::content::cid_v1_with(RAW, IDENTITY, b"here it is").unwrap();
    assert!(server.receive(1, false, vec![Entry::want(identity, WantType::Block)]).is_empty());
    assert!(next(&mut server).is_none());
}

#[test]
fn ledgers_outlive_connections() {
    let mut server = Server::<u8>::new(ServerLimits::default());
    server.gave(1, 2, 300);
    server.disconnected(1);
    server.got(1, 1, 50);
    let ledger = server.ledger(1).unwrap();
    assert_eq!((ledger.blocks_sent, ledger.bytes_sent), (2, 300));
    assert_eq!((ledger.blocks_received, ledger.bytes_received, ledger.exchanges), (1, 50, 2));
    assert_eq!(server.ledger(2), None);
}
