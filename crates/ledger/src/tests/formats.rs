//! Frozen encodings: a change here changes the chain.

use super::*;
use hpips_types::cbor;

#[test]
fn a_transfer_is_these_bytes() {
    let key = SecretKey::from_seed(&[1; 32]);
    let transaction = Transaction {
        v: TX_VERSION,
        chain: hpips_types::ChainId::new([2; 32]),
        from: key.account(),
        nonce: 3,
        expires: Height::new(400),
        tip: nano(5),
        max_fee: nano(6_000),
        ops: vec![Operation::Transfer { to: AccountId::new([7; 32]), amount: nano(8) }],
    };
    let signed = transaction.sign(&key);
    let bytes = signed.encode();
    assert_eq!(Signed::decode(&bytes).unwrap(), signed);
    assert_eq!(hex(&cbor::encode(&signed.body)), include_str!("transfer.hex").trim());
    assert_eq!(signed.id().to_string(), include_str!("transfer.id").trim());
}

#[test]
fn genesis_and_its_chain_id_are_frozen() {
    let genesis = Genesis {
        version: GENESIS_VERSION,
        params: NetworkParams::dev(),
        group_key: GroupKey::new([4; 96]),
        validators: vec![AccountId::new([5; 32])],
        accounts: vec![],
        salt: "frozen".into(),
    };
    assert_eq!(genesis.chain_id().to_string(), include_str!("genesis.id").trim());
    assert_eq!(cbor::decode::<Genesis>(&genesis.encode(), GENESIS_BYTES_MAX).unwrap(), genesis);
}

#[test]
fn a_body_is_these_bytes() {
    let set = SetId { provider: AccountId::new([1; 32]), number: 2 };
    let body = Body {
        beacons: vec![Beacon {
            opening: Height::new(3),
            view: View::new(5),
            signature: signature_of(View::new(5)),
        }],
        commitments: vec![Commitment {
            chain: hpips_types::ChainId::new([2; 32]),
            set,
            window: hpips_types::WindowIndex::new(6),
            leaf_commitment: element(7),
            signature: hpips_types::SignatureBytes::new([8; 64]),
        }],
        proofs: vec![WindowProof {
            set,
            window: hpips_types::WindowIndex::new(5),
            late: None,
            proof: good_proof(),
        }],
        transactions: vec![serde_bytes::ByteBuf::from(vec![9])],
    };
    assert_eq!(Body::decode(&body.encode()).unwrap(), body);
    assert_eq!(content::sha256(&body.encode()).to_string(), include_str!("body.sha256").trim());
}

/// Every operation survives the round trip and has one form.
#[test]
fn operations_round_trip() {
    let sim = Sim::new(NetworkParams::dev(), 1);
    let ops = vec![
        Operation::Transfer { to: sim.id(0), amount: nano(1) },
        Operation::Pledge(sim.pledge_terms(0, 2)),
        Operation::Unpledge {},
        Operation::PreCommit(PreCommit {
            set: 0,
            sectors: vec![Sector {
                number: 1,
                ticket: Height::new(2),
                comm_c: element(3),
                comm_k: element(4),
            }],
        }),
        Operation::Activate { batch: 0, proofs: vec![good_proof()] },
        Operation::DeclareLost { set: 0, records: vec![hpips_types::RecordIndex::new(3)] },
        Operation::Propose(sim.proposal_terms(1, 3, 6)),
        Operation::Replace { proposal: ProposalId::new(1), slot: SlotIndex::new(0), refusal: None },
        Operation::ClaimRepair { deal: DealId::new(1), slot: SlotIndex::new(1) },
        Operation::ProveEntry {
            deal: DealId::new(1),
            slot: SlotIndex::new(1),
            leaf_commitment: element(1),
            proof: bad_proof(),
        },
        Operation::Renew { deal: DealId::new(1), windows: 4, price_max: coins(1) },
        Operation::EndDeal { deal: DealId::new(1) },
    ];
    for op in &ops {
        assert_eq!(cbor::decode::<Operation>(&cbor::encode(op), 1 << 16).unwrap(), *op);
    }
    let signed = sim.transaction(0, ops).sign(&sim.keys[0]);
    let bytes = signed.encode();
    assert_eq!(Signed::decode(&bytes).unwrap(), signed);
    let mut numbers = numbers(1);
    for _ in 0..2_000 {
        let mut bad = bytes.clone();
        let at = numbers.choose(bad.len(), 1)[0];
        bad[at] ^= 1 << numbers.below(8);
        if let Ok(other) = Signed::decode(&bad) {
            assert_eq!(other.encode(), bad, "what decodes is canonical");
        }
        let _ = Signed::decode(&bytes[..at]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
