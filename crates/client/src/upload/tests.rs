use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use hpips_crypto::sign::SecretKey;
use hpips_ledger::{PieceReceipt, Refusal};
use hpips_net::piece::{Accepted, Refused};
use hpips_net::{Config, Incoming, NoBlocks, Stream};
use hpips_proofs::{CommP, Element};
use hpips_types::content::{RAW, cid_v1};
use serde_bytes::ByteBuf;

use super::*;

const PROTOCOL: &str = "/hpips/test-upload/piece/1";

/// How the provider of a test behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Signed, for want of space.
    Full,
    /// Refuses with a refusal signed for another slot.
    FullElsewhere,
    /// Ends the first conversation in the middle of the bytes.
    Cut,
    /// Signs another length.
    Liar,
    /// Signs with another key.
    Forger,
}

struct Committing(CommP, usize);

impl bulk::PieceSink for Committing {
    fn take(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.1 = self.1.saturating_sub(bytes.len());
        if self.1 == 0 {
            return Err(std::io::Error::other("cut"));
        }
        self.0.push(bytes).map_err(std::io::Error::other)
    }
}

async fn provide(mut incoming: Incoming, seed: [u8; 32], manner: Manner, target: std::path::PathBuf) {
    let conversations = AtomicUsize::new(0);
    while let Some((_, stream)) = incoming.next().await {
        let turn = conversations.fetch_add(1, Ordering::Relaxed);
        converse(stream, &seed, manner, turn, &target).await;
    }
}

async fn converse(mut stream: Stream, seed: &[u8; 32], manner: Manner, turn: usize, target: &Path) {
    let key = SecretKey::from_seed(seed);
    let Request::Upload(asked) = piece::receive(&mut stream).await.unwrap() else { panic!("no upload") };
    assert_eq!(asked.blocks.len(), 1);
    if matches!(manner, Manner::Full | Manner::FullElsewhere) {
        let slot = if manner == Manner::Full { asked.slot } else { SlotIndex::new(asked.slot.get() + 1) };
        let refusal = Refusal { chain: chain(), proposal: asked.proposal, slot, provider: key.account() };
        let signed = ByteBuf::from(cbor::encode(&refusal.sign(&key)));
        let refused = Refused { code: RefusalCode::NoSpace, reason: "full".into(), signed };
        piece::send(&mut stream, &Reply::Refused(refused)).await.unwrap();
        return;
    }
    let accepted = Accepted { bytes: asked.bytes, blake3: asked.blake3 };
    piece::send(&mut stream, &Reply::Accepted(accepted)).await.unwrap();
    let spec = Spec { hash: asked.blake3, bytes: asked.bytes };
    let limit = if manner == Manner::Cut && turn == 0 { 3 << 20 } else { usize::MAX };
    let Ok(sink) = bulk::receive_piece(&mut stream, &spec, target, Committing(CommP::new(), limit)).await
    else {
        return;
    };
    let receipt = PieceReceipt {
        chain: chain(),
        proposal: asked.proposal,
        slot: asked.slot,
        provider: key.account(),
        comm_p: sink.0.finish().comm_p(),
        blake3: asked.blake3,
        bytes: asked.bytes + u64::from(manner == Manner::Liar),
    };
    let signer = if manner == Manner::Forger { SecretKey::from_seed(&[99; 32]) } else { key };
    let reply = Reply::Receipt(ByteBuf::from(cbor::encode(&receipt.sign(&signer))));
    piece::send(&mut stream, &reply).await.unwrap();
}

fn chain() -> ChainId {
    ChainId::new([5; 32])
}

/// Uploads until the outcome is final, as a slot does. Returns it and the attempts it took.
async fn run(manner: Manner) -> (Result<Element, UploadError>, usize, Element) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("piece");
    let bytes: Vec<u8> = (0..5_000_000u32).map(|index| (index % 253) as u8).collect();
    std::fs::write(&path, &bytes).unwrap();
    let ours = crate::encode::commit(&path).unwrap();
    let seed = [2; 32];
    let client = Net::start(Config::loopback([1; 32]), Arc::new(NoBlocks)).await.unwrap();
    let provider = Net::start(Config::loopback(seed), Arc::new(NoBlocks)).await.unwrap();
    client.address_book(provider.account(), provider.listen_addrs()).await;
    let incoming = provider.accept(PROTOCOL).unwrap();
    let serving = tokio::spawn(provide(incoming, seed, manner, folder.path().join("received")));
    let manifest = cid_v1(RAW, b"manifest");
    let order = Order {
        chain: chain(),
        protocol: PROTOCOL.into(),
        proposal: ProposalId::new(4),
        extent: ExtentIndex::ZERO,
        slot: SlotIndex::new(1),
        manifest,
        beside: Arc::new(vec![NamedBlock { cid: manifest, data: ByteBuf::from(b"manifest".to_vec()) }]),
        outboard: Arc::new(Outboard::of_file(&path).unwrap()),
        path,
    };
    let mut attempts = 0;
    let outcome = loop {
        attempts += 1;
        match upload(&client, provider.account(), &order).await {
            Err(error) if error.is_transient() && attempts < 10 => {}
            outcome => break outcome.map(|signed| signed.receipt.comm_p),
        }
    };
    serving.abort();
    client.shutdown().await;
    provider.shutdown().await;
    (outcome, attempts, ours)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_is_brought_and_both_commit_to_the_same() {
    let (outcome, attempts, ours) = run(Manner::Honest).await;
    assert_eq!((outcome.unwrap(), attempts), (ours, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_upload_goes_on() {
    let (outcome, attempts, ours) = run(Manner::Cut).await;
    assert_eq!((outcome.unwrap(), attempts), (ours, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_count_only_when_they_are_for_this_slot() {
    let (outcome, attempts, _) = run(Manner::Full).await;
    assert_eq!(attempts, 1);
    assert!(outcome.unwrap_err().into_refusal().is_some());
    let (outcome, _, _) = run(Manner::FullElsewhere).await;
    assert!(outcome.unwrap_err().into_refusal().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_are_final() {
    for manner in [Manner::Liar, Manner::Forger] {
        let (outcome, attempts, _) = run(manner).await;
        assert!(matches!(outcome, Err(UploadError::Foreign)), "{manner:?}: {outcome:?}");
        assert_eq!(attempts, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_transient() {
    let client = Net::start(Config::loopback([1; 32]), Arc::new(NoBlocks)).await.unwrap();
    let nobody = SecretKey::from_seed(&[7; 32]).account();
    let error = client.open(nobody, PROTOCOL).await.map(|_| ()).unwrap_err();
    assert!(UploadError::from(error).is_transient());
    client.shutdown().await;
}
