use std::sync::Arc;

use hpips_net::bulk::{BulkError, Outboard, receive_piece, send_piece};
use hpips_net::piece::{self, Accepted, Read, Reply, Request};
use hpips_types::{DealId, ExtentIndex, SlotIndex};

use crate::support::{Memory, eventually, join, node, within};

fn noise(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    blake3::Hasher::new().update(b"piece").finalize_xof().fill(&mut bytes);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_piece_goes_over_in_spite_of_a_cut_connection() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("target"));
    let bytes = noise(64 << 20);
    std::fs::write(&source, &bytes).unwrap();
    let outboard = Arc::new(Outboard::of_file(&source).unwrap());
    let spec = outboard.spec();

    let client = node(110, Memory::default()).await;
    let provider = node(111, Memory::default()).await;
    join(&client, &provider).await;
    let protocol = piece::protocol("test-it");
    let mut incoming = provider.accept(&protocol).unwrap();

    // The provider cuts the connection once it has a third, then takes the rest.
    let (to, from) = (target.clone(), client.account());
    let cutter = provider.clone();
    let receiving = tokio::spawn(async move {
        let mut outcomes = Vec::new();
        for round in 0..2 {
            let (account, mut stream) = incoming.next().await.unwrap();
            assert_eq!(account, from);
            let (third, mut reached) = tokio::sync::mpsc::channel(1);
            let mut hasher = blake3::Hasher::new();
            let mut seen = 0;
            let sink = move |bytes: &[u8]| {
                hasher.update(bytes);
                seen += bytes.len();
                if round == 0 && seen > 20 << 20 {
                    let _ = third.try_send(());
                }
                if seen == 64 << 20 {
                    assert_eq!(hasher.finalize().as_bytes(), spec.hash.as_bytes());
                }
                Ok(())
            };
            let cut = async {
                if reached.recv().await.is_some() {
                    cutter.disconnect(from).await;
                }
                std::future::pending::<()>().await;
            };
            let outcome = tokio::select! {
                outcome = receive_piece(&mut stream, &spec, &to, sink) => outcome.map(|_| ()),
                () = cut => unreachable!(),
            };
            outcomes.push(outcome);
            if round == 1 {
                // The receipt.
                piece::send(&mut stream, &Reply::Receipt(serde_bytes::ByteBuf::from(vec![7]))).await.unwrap();
            }
        }
        outcomes
    });

    let mut stream = within(client.open(provider.account(), &protocol)).await.unwrap();
    let first = within(send_piece(&mut stream, &source, &outboard)).await;
    drop(stream);
    if let Ok(sent) = first {
        panic!("sent all {sent} bytes over a cut connection");
    }
    eventually("both see the cut", || client.connected().is_empty() && provider.connected().is_empty()).await;
    join(&client, &provider).await;
    let mut stream = within(client.open(provider.account(), &protocol)).await.unwrap();
    let sent = within(send_piece(&mut stream, &source, &outboard)).await.unwrap();
    assert!(sent < 45 << 20, "resumed: {sent}");
    let reply: Reply = within(piece::receive(&mut stream)).await.unwrap();
    assert!(matches!(reply, Reply::Receipt(_)));
    let outcomes = within(receiving).await.unwrap();
    assert!(matches!(outcomes[0], Err(BulkError::Cut { .. })), "{outcomes:?}");
    outcomes[1].as_ref().unwrap();
    assert!(std::fs::read(&target).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_is_read_back_by_request() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("piece");
    let bytes = noise(5_000_000);
    std::fs::write(&path, &bytes).unwrap();
    let outboard = Arc::new(Outboard::of_file(&path).unwrap());
    let holder = node(112, Memory::default()).await;
    let rebuilder = node(113, Memory::default()).await;
    join(&rebuilder, &holder).await;
    let mut incoming = holder.accept(&piece::protocol("test-it")).unwrap();
    tokio::spawn(async move {
        let (_, mut stream) = incoming.next().await.unwrap();
        let Request::Read(read) = piece::receive(&mut stream).await.unwrap() else { panic!() };
        let spec = outboard.spec();
        let accepted = Reply::Accepted(Accepted { bytes: spec.bytes, blake3: spec.hash });
        piece::send(&mut stream, &accepted).await.unwrap();
        hpips_net::bulk::send_range(&mut stream, &path, &outboard, read.start..read.end).await.unwrap();
        // Until the reader is done.
        let _ = piece::receive::<_, Request>(&mut stream).await;
    });
    let mut stream = within(rebuilder.open(holder.account(), &piece::protocol("test-it"))).await.unwrap();
    let read = Read {
        deal: DealId::new(1),
        extent: ExtentIndex::ZERO,
        slot: SlotIndex::ZERO,
        start: 1_234_567,
        end: 4_321_000,
    };
    within(piece::send(&mut stream, &Request::Read(read))).await.unwrap();
    let Reply::Accepted(accepted) = within(piece::receive(&mut stream)).await.unwrap() else { panic!() };
    let spec = hpips_net::bulk::Spec { hash: accepted.blake3, bytes: accepted.bytes };
    let mut got = Vec::new();
    let take = |part: &[u8]| {
        got.extend_from_slice(part);
        Ok(())
    };
    within(hpips_net::bulk::receive_range(&mut stream, &spec, 1_234_567..4_321_000, take)).await.unwrap();
    assert!(got == bytes[1_234_567..4_321_000]);
}
