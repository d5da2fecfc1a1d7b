//! Which blocks an object has and how they are cut, for the providers there are now.

use std::collections::BTreeSet;

use hpips_dag::{DepthFirst, EnumerateError};
use hpips_erasure::Plan;
use hpips_ledger::{Market, Propose, StateView, query};
use hpips_placement::{Model, code_for, starting_code};
use hpips_store::{ReadError, Store};
use hpips_types::{Cid, Code, ExtentIndex, NetworkParams, TokenAmount};

use crate::quote::{QuoteError, StoreOptions};

/// Blocks of one object at most: some 200 bytes of memory each while it is planned.
const BLOCKS_MAX: usize = 1 << 22;

/// CID and length of every block of a DAG in the store, depth first, each once. Blocks.
pub(crate) fn list_blocks(store: &Store, root: Cid) -> Result<Vec<(Cid, u32)>, QuoteError> {
    let mut blocks = Vec::new();
    DepthFirst::new(root, BLOCKS_MAX).run::<ListError>(
        |cid| store.get(cid)?.ok_or(ListError(QuoteError::Missing(*cid))),
        |cid| {
            let bytes = store.size(cid).map_err(ReadError::from)?;
            blocks.push((*cid, bytes.ok_or(ListError(QuoteError::Missing(*cid)))?));
            Ok(())
        },
    )?;
    Ok(blocks)
}

struct ListError(QuoteError);

impl From<EnumerateError> for ListError {
    fn from(error: EnumerateError) -> Self {
        Self(QuoteError::Enumerate(error))
    }
}

impl From<ReadError> for ListError {
    fn from(error: ReadError) -> Self {
        Self(QuoteError::Read(error))
    }
}

impl From<ListError> for QuoteError {
    fn from(error: ListError) -> Self {
        error.0
    }
}

/// A plan that fits the market, and the price ceiling that goes with it.
#[derive(Debug)]
pub(crate) struct Fitted {
    pub(crate) plan: Plan,
    pub(crate) ask_max: TokenAmount,
    /// Operators with room for the largest piece.
    pub(crate) operators: u64,
}

/// Cuts the blocks for as many operators as have room for the pieces that come of it. Fewer slots make longer
/// pieces, for which fewer may have room: the number only goes down, so this ends.
pub(crate) fn fit(
    view: &dyn StateView,
    params: &NetworkParams,
    root: Cid,
    blocks: &[(Cid, u32)],
    options: &StoreOptions,
) -> Result<Fitted, QuoteError> {
    let ceiling = options.ask_max.unwrap_or_else(|| highest_ask(view));
    let mut eligible = operators(params, &market(view, 1, ceiling, Code::new(1, 1).expect("one of one")));
    loop {
        let code = match options.code {
            Some(code) => code,
            None => code_of(eligible, options)?,
        };
        let plan = hpips_erasure::plan(code, root, &[], blocks.iter().copied())?;
        let longest =
            plan.extents().iter().flat_map(|extent| extent.piece_bytes()).copied().max().unwrap_or(0);
        let market = market(view, longest, ceiling, code);
        let room = operators(params, &market);
        if room < u64::from(code.n()) && options.code.is_some() {
            return Err(QuoteError::TooFewProviders { have: room, need: code.n() });
        }
        if room >= eligible
            || options.code.is_some()
            || code_of(room, options).is_ok_and(|again| again == code)
        {
            let ask_max = options.ask_max.unwrap_or_else(|| least_ceiling(&market, code));
            return Ok(Fitted { plan, ask_max, operators: room });
        }
        eligible = room;
    }
}

fn code_of(eligible: u64, options: &StoreOptions) -> Result<Code, QuoteError> {
    let none = QuoteError::TooFewProviders { have: eligible, need: 1 };
    match options.yearly_loss_max {
        None => starting_code(eligible).ok_or(none),
        Some(_) if eligible == 0 => Err(none),
        Some(loss) => {
            code_for(eligible, &Model::default(), loss).ok_or(QuoteError::Durability { operators: eligible })
        }
    }
}

/// What a proposal of one extent says.
pub(crate) fn terms(plan: &Plan, extent: usize, term_windows: u64, ask_max: TokenAmount) -> Propose {
    let planned = &plan.extents()[extent];
    Propose {
        root: *plan.root(),
        extent: ExtentIndex::new(u32::try_from(extent).expect("extents are counted in 32 bits")),
        content_bytes: planned.content_bytes(),
        k: plan.code().k(),
        n: plan.code().n(),
        piece_bytes: planned.piece_bytes().to_vec(),
        term_windows,
        ask_max,
    }
}

fn market(view: &dyn StateView, bytes: u64, ask_max: TokenAmount, code: Code) -> Market {
    let probe = Propose {
        root: hpips_types::content::cid_v1(hpips_types::content::RAW, b""),
        extent: ExtentIndex::ZERO,
        content_bytes: bytes,
        k: code.k(),
        n: code.n(),
        piece_bytes: vec![bytes],
        term_windows: 1,
        ask_max,
    };
    let mut market = query::quote(view, &probe).market;
    market.offers.retain(|offer| offer.ask <= ask_max);
    market
}

fn operators(params: &NetworkParams, market: &Market) -> u64 {
    let offers = &market.offers;
    let count = if params.distinct_operators {
        offers.iter().map(|offer| offer.operator.as_str()).collect::<BTreeSet<_>>().len()
    } else {
        offers.len()
    };
    u64::try_from(count).expect("a count in memory fits 64 bits")
}

fn highest_ask(view: &dyn StateView) -> TokenAmount {
    let asks = query::providers(view).into_iter().filter_map(|id| Some(query::pledge(view, &id)?.terms.ask));
    asks.max().unwrap_or(TokenAmount::ZERO).max(TokenAmount::new(1))
}

/// The least ceiling that admits two thirds of the free capacity and enough offers for the slots and as many
/// spares as the ledger draws.
fn least_ceiling(market: &Market, code: Code) -> TokenAmount {
    let mut offers: Vec<_> = market.offers.iter().collect();
    offers.sort_by_key(|offer| offer.ask);
    let wanted = usize::from(code.n() + code.n().div_ceil(2)).min(offers.len());
    let mut admitted = 0u128;
    for (index, offer) in offers.iter().enumerate() {
        admitted += u128::from(offer.free_bytes);
        if index + 1 >= wanted && admitted * 3 >= market.free_bytes * 2 {
            return offer.ask.max(TokenAmount::new(1));
        }
    }
    offers.last().map_or(TokenAmount::new(1), |offer| offer.ask.max(TokenAmount::new(1)))
}

#[cfg(test)]
mod tests {
    use hpips_ledger::Offer;
    use hpips_types::AccountId;

    use super::*;

    fn market_of(offers: &[(u64, u64)]) -> Market {
        let offers: Vec<Offer> = (0u8..)
            .zip(offers)
            .map(|(id, (ask, free_bytes))| Offer {
                provider: AccountId::new([id; 32]),
                ask: TokenAmount::new(*ask),
                free_bytes: *free_bytes,
                operator: String::new(),
            })
            .collect();
        let free_bytes = offers.iter().map(|offer| u128::from(offer.free_bytes)).sum();
        Market { offers, free_bytes, admitted_bytes: 0 }
    }

    #[test]
    fn the_ceiling_is_the_least_that_admits_enough() {
        let code = Code::new(1, 2).unwrap();
        for (offers, expected) in [
            (&[(5, 10), (5, 10), (5, 10)][..], 5),
            (&[(1, 10), (2, 10), (3, 10), (9, 10)][..], 3),
            // One large and dear provider holds more than a third of the space.
            (&[(1, 10), (2, 10), (3, 10), (9, 90)][..], 9),
            (&[(7, 10)][..], 7),
            (&[][..], 1),
        ] {
            assert_eq!(least_ceiling(&market_of(offers), code).get(), expected, "{offers:?}");
        }
    }

    #[test]
    fn blocks_are_listed_depth_first_and_missing_ones_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), hpips_store::Config::default()).unwrap();
        let mut blocks = Vec::new();
        let mut builder = hpips_dag::FileBuilder::new(hpips_dag::Profile::default());
        let bytes: Vec<u8> = (0..3_000_000u32).map(|index| (index % 251) as u8).collect();
        builder.push(&bytes, &mut blocks);
        let root = builder.finish(&mut blocks).cid;
        let last = blocks[1].cid;
        store.put_built(blocks).unwrap();
        let listed = list_blocks(&store, root).unwrap();
        assert_eq!(listed[0].0, root);
        assert_eq!(listed.len(), 4);
        assert!(listed[1..].iter().map(|(_, bytes)| u64::from(*bytes)).sum::<u64>() == 3_000_000);
        store.delete(&last).unwrap();
        assert!(matches!(list_blocks(&store, root), Err(QuoteError::Missing(cid)) if cid == last));
    }
}
