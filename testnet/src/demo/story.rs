//! The steps, in order. Each waits for a condition, checks it, and prints what was measured.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hpips_api::view::{
    AddAnswer, AddRequest, BlockPage, ChainInfo, DealInfo, Done, Forgotten, GetAnswer, GetRequest,
    MountRequest, PledgeInfo, PledgeRequest, QuoteAnswer, QuoteRequest, RootRequest, StoreAnswer,
    StoreRequest, Totals,
};
use hpips_ledger::{Event, PayReason};
use hpips_types::{AccountId, ByteCount, DayIndex, DealId, NetworkParams, TokenAmount, WindowIndex};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::place::Place;
use super::tell::{Teller, duration, grouped, nodes};
use super::watch::Watch;
use super::{DemoError, DemoOptions, Facts};
use crate::network::{Network, Node, Options};

/// Providers of the demo; with them the planner takes three of six slots and leaves two spare.
const PROVIDERS: usize = 8;
/// Machines that are lost.
const KILLED: usize = 2;
/// Windows the object is stored for.
const TERM_WINDOWS: u64 = 40;
/// What providers ask, coins per GiB and 720 windows: chosen so that tens of megabytes cost tenths of a coin
/// and the tenth of a window shows.
const ASK_COINS: u64 = 45;
/// Coins of the operations fund for every account.
const COINS_EACH: u64 = 1_000;
/// Blocks until the chain counts as running.
const FIRST_BLOCKS: u64 = 5;
/// How long one answer of a node may take.
const ANSWER: Duration = Duration::from_secs(120);
/// How long the chain may take for a step. Ten times what an idle machine needs: a demo ends by being right or wrong,
/// not by being slow.
const STEP: Duration = Duration::from_secs(300);

/// Why a holder may be missing before any was killed: its proofs came too late.
const BUSY: &str = "every slot has a holder. This machine was too busy to prove eight providers' windows in time: \
                    close other programs and try again";

/// A value once it is not absent; otherwise the check that failed.
fn checked<T>(value: Option<T>, what: &str) -> Result<T, DemoError> {
    value.ok_or_else(|| DemoError::Check(what.into()))
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), DemoError> {
    if holds { Ok(()) } else { Err(DemoError::Check(what())) }
}

struct Story<'a, 'b> {
    place: &'a Place,
    teller: &'a mut Teller<'b>,
    network: Network,
    watch: Watch,
    params: NetworkParams,
    facts: Facts,
    /// Slots of the object, once quoted.
    slots: usize,
}

/// Tells all of it. The network ends with the future.
pub(super) async fn tell(
    options: &DemoOptions,
    place: &Place,
    teller: &mut Teller<'_>,
) -> Result<Facts, DemoError> {
    teller.plain(format_args!(
        "A private network on this machine: {PROVIDERS} providers, 1 client, test coins. Ctrl-C cleans up.\n"
    ))?;
    let params = NetworkParams::demo();
    let network = Network::start(Options {
        dir: place.dir.clone(),
        program: options.program.clone(),
        providers: PROVIDERS,
        clients: 1,
        params: params.clone(),
        coins_each: TokenAmount::from_coins(COINS_EACH),
        keys: None,
        end_with_us: !options.keep,
    })
    .await?;
    let watch = Watch::new(network.client()?.api().clone());
    let mut story = Story { place, teller, network, watch, params, facts: Facts::default(), slots: 0 };
    let coins = story.chain().await?;
    story.pledge().await?;
    let quote = story.add().await?;
    let deal = story.store(&quote).await?;
    story.prove(deal).await?;
    let lost = story.kill(deal).await?;
    story.read().await?;
    story.repair(deal, &lost).await?;
    story.pay().await?;
    story.mount().await?;
    story.end(coins, &lost, options.keep).await
}

async fn get<T: DeserializeOwned>(node: &Node, doing: &'static str, path: &str) -> Result<T, DemoError> {
    node.api().get_within(path, ANSWER).await.map_err(|source| DemoError::Call { doing, source })
}

async fn post<B: Serialize, T: DeserializeOwned>(
    node: &Node,
    doing: &'static str,
    path: &str,
    body: &B,
) -> Result<T, DemoError> {
    node.api().post(path, body, STEP).await.map_err(|source| DemoError::Call { doing, source })
}

impl Story<'_, '_> {
    fn client(&self) -> Result<&Node, DemoError> {
        Ok(self.network.client()?)
    }

    fn index_of(&self, account: &AccountId) -> Result<usize, DemoError> {
        checked(self.network.node_of(account).map(|node| node.index), "an account that is none of the nodes")
    }

    fn index_of_address(&self, address: &str) -> Result<usize, DemoError> {
        let account = address.parse().map_err(|_| DemoError::Check(format!("{address} is no account")))?;
        self.index_of(&account)
    }

    async fn totals(&self) -> Result<TokenAmount, DemoError> {
        let totals: Totals = get(self.client()?, "adding up coins", "/hpips/v0/totals").await?;
        Ok(totals.coins)
    }

    async fn chain(&mut self) -> Result<TokenAmount, DemoError> {
        let wanted = FIRST_BLOCKS;
        self.watch
            .until("the first blocks", STEP, |watch| (watch.height().get() >= wanted).then_some(()))
            .await?;
        let validator = checked(self.network.nodes().iter().find(|node| node.is_validator), "a committee")?;
        let info: ChainInfo = get(validator, "asking for the chain", "/hpips/v0/chain").await?;
        // A validator may be a moment behind the client, which heard of the block from another one.
        let path = format!("/hpips/v0/blocks?since={}&wait_ms=20000", wanted - 1);
        let page: BlockPage = get(validator, "asking for blocks", &path).await?;
        let block = checked(page.blocks.first(), "the block just seen")?;
        let proposer = self.index_of_address(&block.proposer)?;
        let finality = block.finality_ms.or(info.finality_p50_ms);
        let finality = checked(finality, "a measured time to finality")?;
        self.teller.step(
            "chain",
            format_args!(
                "committee of {}; block {} by node {proposer}, drawn at random, final in {:.2} s",
                info.committee.len(),
                block.height,
                seconds(finality)
            ),
        )?;
        let coins = self.totals().await?;
        check(coins == TokenAmount::SUPPLY, || format!("{coins} coins instead of {}", TokenAmount::SUPPLY))?;
        Ok(coins)
    }

    async fn pledge(&mut self) -> Result<(), DemoError> {
        let sealed_bytes = self.params.ticket_bytes;
        let open_bytes = sealed_bytes * self.params.open_per_sealed;
        let ask = TokenAmount::from_coins(ASK_COINS);
        let request = PledgeRequest { sealed_bytes, open_bytes, ask: Some(ask), collateral_max: None };
        let pledging = self
            .network
            .providers()
            .map(|node| post::<_, Done>(node, "pledging", "/hpips/v0/pledge", &request));
        futures::future::try_join_all(pledging).await?;
        let providers: BTreeSet<AccountId> = self.network.providers().map(|node| node.account).collect();
        self.watch
            .until("the sealing of all pledges", STEP, |watch| {
                let mut missing = providers.clone();
                for (_, event) in watch.events() {
                    if let Event::Activated { set, .. } = event {
                        missing.remove(&set.provider);
                    }
                }
                missing.is_empty().then_some(())
            })
            .await?;
        let mut sealed = Vec::new();
        for node in self.network.providers() {
            // The client is asked: its state is at least as new as the events just seen.
            let path = format!("/hpips/v0/pledge?address={}", node.account);
            let pledge: Option<PledgeInfo> = get(self.client()?, "asking for a pledge", &path).await?;
            sealed.push(pledge.map_or(0, |pledge| pledge.sealed_bytes));
        }
        check(sealed.iter().all(|bytes| *bytes == sealed_bytes), || format!("sealed bytes are {sealed:?}"))?;
        self.teller.step(
            "pledge",
            format_args!(
                "{PROVIDERS} x {} sealed and proven (CPU), {} open each",
                ByteCount::new(sealed_bytes).to_short(),
                ByteCount::new(open_bytes).to_short()
            ),
        )?;
        Ok(())
    }

    async fn add(&mut self) -> Result<QuoteAnswer, DemoError> {
        let request = AddRequest {
            path: self.place.path.clone(),
            profile: Default::default(),
            hidden: true,
            nocopy: false,
            rehash: false,
        };
        let added: AddAnswer = post(self.client()?, "adding files", "/hpips/v0/add", &request).await?;
        check(added.bytes == self.place.tree.bytes(), || {
            format!("{} bytes were added of {}", added.bytes, self.place.tree.bytes())
        })?;
        let files = if added.files == 1 { "1 file".to_owned() } else { format!("{} files", added.files) };
        let size = ByteCount::new(added.bytes).to_short();
        self.teller.step("add", format_args!("{files}, {size} -> {}", added.root))?;
        let request = QuoteRequest { root: added.root.clone(), windows: Some(TERM_WINDOWS) };
        let quote: QuoteAnswer = post(self.client()?, "quoting", "/hpips/v0/quote", &request).await?;
        self.teller.step(
            "quote",
            format_args!(
                "{} slots, any {} restore; {} stored ({:.2} x); {} HPIPS for {} windows",
                quote.slots,
                quote.needed,
                ByteCount::new(quote.stored_bytes).to_short(),
                quote.expansion,
                money(quote.price_max),
                quote.windows
            ),
        )?;
        self.facts.files = added.files;
        self.facts.bytes = added.bytes;
        self.facts.root = added.root;
        self.facts.stored_bytes = quote.stored_bytes;
        self.slots = usize::from(quote.slots);
        Ok(quote)
    }

    async fn store(&mut self, quote: &QuoteAnswer) -> Result<DealId, DemoError> {
        let root = self.facts.root.clone();
        let request = StoreRequest { root, windows: Some(TERM_WINDOWS), price_max: quote.price_max };
        let stored: StoreAnswer = post(self.client()?, "storing", "/hpips/v0/store", &request).await?;
        let id = checked(stored.deals.first().copied(), "a deal")?;
        check(stored.held == stored.slots, || format!("{} of {} slots are held", stored.held, stored.slots))?;
        let deal = self.deal(id).await?;
        let holders: BTreeSet<&String> =
            deal.slots.iter().filter_map(|slot| slot.provider.as_ref()).collect();
        check(holders.len() == usize::from(deal.n), || {
            format!("{} slots on {} providers", deal.n, holders.len())
        })?;
        self.teller.step(
            "store",
            format_args!(
                "{} slots on {} providers, every commitment checked twice, deal {id} active",
                stored.held,
                holders.len()
            ),
        )?;
        Ok(id)
    }

    async fn deal(&self, id: DealId) -> Result<DealInfo, DemoError> {
        let deals: Vec<DealInfo> =
            get(self.client()?, "asking for the deal", &format!("/hpips/v0/deals?deal={id}")).await?;
        checked(deals.into_iter().next(), "the deal on chain")
    }

    /// The first window that opened for every set after the deal was active: it covers the pieces.
    async fn prove(&mut self, deal: DealId) -> Result<(), DemoError> {
        let providers: BTreeSet<AccountId> = self.network.providers().map(|node| node.account).collect();
        let window = self
            .watch
            .until("a window proven by all", STEP, |watch| {
                let active = watch.events().find_map(|(height, event)| match event {
                    Event::DealActive { deal: active, .. } if *active == deal => Some(height),
                    _ => None,
                })?;
                let opened = |window: WindowIndex| {
                    watch
                        .events()
                        .filter(|(height, _)| *height > active)
                        .filter_map(|(_, event)| match event {
                            Event::WindowOpened { set, window: opened } if *opened == window => {
                                Some(set.provider)
                            }
                            _ => None,
                        })
                        .collect::<BTreeSet<_>>()
                };
                let proven = |window: WindowIndex| {
                    watch
                        .events()
                        .filter_map(|(_, event)| match event {
                            Event::Proven { set, window: proven, late: false } if *proven == window => {
                                Some(set.provider)
                            }
                            _ => None,
                        })
                        .collect::<BTreeSet<_>>()
                };
                let windows: BTreeSet<WindowIndex> = watch
                    .events()
                    .filter_map(|(_, event)| match event {
                        Event::Proven { window, .. } => Some(*window),
                        _ => None,
                    })
                    .collect();
                windows
                    .into_iter()
                    .find(|window| opened(*window) == providers && proven(*window) == providers)
            })
            .await?;
        let mut slowest = None;
        for node in self.network.providers() {
            let pledge: Option<PledgeInfo> = get(node, "asking for a pledge", "/hpips/v0/pledge").await?;
            slowest = slowest.max(pledge.and_then(|pledge| pledge.work).and_then(|work| work.proof_ms));
        }
        let slowest = checked(slowest, "a measured proof")?;
        self.teller.step(
            "prove",
            format_args!(
                "window {window}: {PROVIDERS} of {PROVIDERS} proven; a proof took {:.1} s at most, is {} bytes",
                seconds(slowest),
                hpips_proofs::ProofBytes::LEN
            ),
        )?;
        Ok(())
    }

    /// Two holders, one of them with a seat where that is possible: the committee of four bears the loss of one.
    async fn kill(&mut self, deal: DealId) -> Result<Lost, DemoError> {
        let deal = self.deal(deal).await?;
        let mut holders = Vec::new();
        for slot in &deal.slots {
            let provider = checked(slot.provider.as_ref(), BUSY)?;
            holders.push(self.index_of_address(provider)?);
        }
        holders.sort_unstable();
        let is_seat = |index: &usize| self.network.node(*index).is_ok_and(|node| node.is_validator);
        let (seats, others): (Vec<usize>, Vec<usize>) = holders.into_iter().partition(is_seat);
        let mut victims: Vec<usize> = seats.first().copied().into_iter().collect();
        victims.extend(others.iter().take(KILLED - victims.len()));
        victims.sort_unstable();
        check(victims.len() == KILLED, || "too few holders to kill".into())?;
        let killed_seats = victims.iter().filter(|index| is_seat(index)).count();
        let accounts = victims
            .iter()
            .map(|index| Ok(self.network.node(*index)?.account))
            .collect::<Result<_, DemoError>>()?;
        for index in &victims {
            self.network.kill(*index)?;
        }
        self.teller.step(
            "kill",
            format_args!(
                "{} with kill -9: {KILLED} of the {} slots ({killed_seats} of the committee)",
                nodes(&victims),
                deal.n
            ),
        )?;
        self.facts.killed = victims;
        Ok(Lost { accounts, at: Instant::now() })
    }

    async fn read(&mut self) -> Result<(), DemoError> {
        let client = self.client()?;
        let root = self.facts.root.clone();
        // The client's own copy would answer every question: it goes first.
        let forgotten: Forgotten = post(
            client,
            "removing the client's copy",
            "/hpips/v0/forget",
            &RootRequest { root: root.clone() },
        )
        .await?;
        check(forgotten.blocks > 0, || "the client had no copy to remove".into())?;
        let target = self.place.dir.join("read");
        let request = GetRequest { path: root, target: target.clone(), offline: false };
        let got: GetAnswer = post(client, "reading the files back", "/hpips/v0/get", &request).await?;
        self.place.tree.equals(&target)?;
        check(got.bytes == self.facts.bytes, || format!("{} bytes came back", got.bytes))?;
        check(got.fetched_bytes > 0, || "nothing came from the network".into())?;
        let left = self.slots - KILLED;
        let part = got.rebuilt_bytes.saturating_mul(100) / got.bytes.max(1);
        self.teller.step(
            "read",
            format_args!(
                "{} from the {left} left, {part} % rebuilt from parity: every byte equal, {:.2} s",
                ByteCount::new(got.bytes).to_short(),
                seconds(got.milliseconds)
            ),
        )?;
        self.facts.rebuilt_bytes = got.rebuilt_bytes;
        self.facts.read_ms = got.milliseconds;
        Ok(())
    }

    async fn repair(&mut self, deal: DealId, lost: &Lost) -> Result<(), DemoError> {
        let rebuilders = self
            .watch
            .until("the repair of the lost slots", STEP, |watch| {
                let repaired: Vec<AccountId> = watch
                    .events()
                    .filter_map(|(_, event)| match event {
                        Event::SlotRepaired { deal: of, provider, .. } if *of == deal => Some(*provider),
                        _ => None,
                    })
                    .collect();
                (repaired.len() >= KILLED).then_some(repaired)
            })
            .await?;
        let repair = lost.at.elapsed();
        let info = self.deal(deal).await?;
        check(info.healthy == info.n, || format!("{} of {} slots are healthy", info.healthy, info.n))?;
        let mut by =
            rebuilders.iter().map(|account| self.index_of(account)).collect::<Result<Vec<_>, _>>()?;
        by.sort_unstable();
        by.dedup();
        check(by.iter().all(|index| !self.facts.killed.contains(index)), || "a dead node repaired".into())?;
        self.teller.step(
            "repair",
            format_args!(
                "{KILLED} slots rebuilt by {}, commitments equal to the chain's: {} of {}",
                nodes(&by),
                info.healthy,
                info.n
            ),
        )?;
        self.facts.repaired_by = by;
        self.facts.repair_ms = u64::try_from(repair.as_millis()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Closed days, whatever paid in them: each is split exactly, and what contributors got is what the day says.
    async fn pay(&mut self) -> Result<(), DemoError> {
        let days = self
            .watch
            .until("the close of a paid day", STEP, |watch| {
                let days = paid_days(watch);
                (!days.is_empty()).then_some(days)
            })
            .await?;
        let (mut revenue, mut contributors, mut coin_holders) = (0u64, 0u64, 0u64);
        for day in &days {
            let tenth = day.revenue.get() / 10;
            check(day.coin_holders.get() == tenth, || {
                format!("day {}: the coin holders' part is not a tenth", day.day)
            })?;
            check(day.contributors.get() == day.revenue.get() - tenth, || {
                format!("day {}: the contributors' part is not nine tenths", day.day)
            })?;
            check(day.paid == day.contributors, || {
                format!("day {}: what was paid is not what was earned", day.day)
            })?;
            revenue += day.revenue.get();
            contributors += day.contributors.get();
            coin_holders += day.coin_holders.get();
        }
        let counts: Vec<String> = days.iter().map(|day| day.slot_windows.to_string()).collect();
        let length = self.params.window_blocks * self.params.day_windows * self.params.block_ms / 1_000;
        let closed =
            if days.len() == 1 { "day closed".to_owned() } else { format!("{} days closed", days.len()) };
        self.teller.step(
            "pay",
            format_args!(
                "{closed} ({length} s here): revenue {} ({} slot windows)",
                TokenAmount::new(revenue),
                counts.join(" + ")
            ),
        )?;
        self.teller.more(format_args!(
            "{} contributors (90 %) + {} coin holders (10 %)",
            TokenAmount::new(contributors),
            TokenAmount::new(coin_holders)
        ))?;
        self.facts.revenue = revenue;
        self.facts.contributors = contributors;
        self.facts.coin_holders = coin_holders;
        Ok(())
    }

    async fn mount(&mut self) -> Result<(), DemoError> {
        let path = self.place.dir.join("mnt");
        std::fs::create_dir_all(&path)
            .map_err(|source| super::PlaceError::Io { path: path.clone(), source })?;
        self.network.remember_mount(&path)?;
        let request = MountRequest { path: path.clone() };
        let client = self.client()?;
        let mounted = post::<_, Done>(client, "mounting", "/hpips/v0/mount", &request).await;
        if let Err(DemoError::Call { source, .. }) = mounted {
            let reason = hpips_api::chain_text(&source);
            self.teller.step("mount", format_args!("skipped: {reason}"))?;
            return Ok(());
        }
        let tree = self.place.tree.clone();
        let shown = path.join("ipfs").join(&self.facts.root);
        // Reading a mount blocks this thread in the kernel until the node answers.
        let compared = tokio::task::spawn_blocking(move || tree.equals_by_sum(&shown)).await;
        let files = compared.map_err(|error| DemoError::Check(error.to_string()))??;
        let count = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
        self.teller.step("mount", format_args!("{}: {count}, sha256 of all equal", home(&path)))?;
        let _: Done = post(self.client()?, "unmounting", "/hpips/v0/unmount", &Done {}).await?;
        self.facts.mounted_files = Some(files);
        Ok(())
    }

    async fn end(mut self, coins: TokenAmount, lost: &Lost, keep: bool) -> Result<Facts, DemoError> {
        let after = self.totals().await?;
        check(coins == after, || format!("{coins} coins before, {after} after"))?;
        let fines: u64 = self
            .watch
            .events()
            .map(|(_, event)| match event {
                Event::Fined { provider, amount, .. } if !lost.accounts.contains(provider) => amount.get(),
                _ => 0,
            })
            .sum();
        check(fines == 0, || format!("honest nodes were fined {}", TokenAmount::new(fines)))?;
        let elapsed = self.teller.elapsed();
        self.teller.plain(format_args!(
            "\nOK in {}. Coins before = after = {}. Honest nodes fined: {fines}.",
            duration(elapsed),
            grouped(after)
        ))?;
        self.facts.coins = after.get();
        self.facts.honest_fines = fines;
        self.facts.total_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        if keep {
            let dir = self.network.detach()?;
            self.teller.plain(format_args!(
                "It goes on: hpips testnet status --dir {0}      End it: hpips testnet down --dir {0}",
                dir.display()
            ))?;
            self.facts.kept = Some(dir);
        } else {
            self.teller.plain("Keep one running: hpips demo --keep      Next: hpips init")?;
        }
        Ok(self.facts)
    }
}

/// Who was killed, and when.
struct Lost {
    accounts: Vec<AccountId>,
    at: Instant,
}

/// A closed day with revenue.
struct PaidDay {
    day: DayIndex,
    revenue: TokenAmount,
    contributors: TokenAmount,
    coin_holders: TokenAmount,
    /// What contributors' accounts got for slots, added up from the payments.
    paid: TokenAmount,
    slot_windows: usize,
}

fn paid_days(watch: &Watch) -> Vec<PaidDay> {
    let settled = watch.events().filter_map(|(_, event)| match *event {
        Event::Settled { day, revenue, contributors, coin_holders, .. } if revenue > TokenAmount::ZERO => {
            Some((day, revenue, contributors, coin_holders))
        }
        _ => None,
    });
    settled
        .map(|(day, revenue, contributors, coin_holders)| {
            let payments: Vec<TokenAmount> = watch
                .events()
                .filter_map(|(_, event)| match *event {
                    Event::Paid { amount, reason: PayReason::Storage { day: of, .. }, .. } if of == day => {
                        Some(amount)
                    }
                    _ => None,
                })
                .collect();
            let slot_windows = payments.len();
            PaidDay {
                day,
                revenue,
                contributors,
                coin_holders,
                paid: payments.into_iter().sum(),
                slot_windows,
            }
        })
        .collect()
}

/// Seconds of milliseconds, for people.
#[allow(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1_000.0
}

/// Money to three decimals, or exactly where that would show nothing.
fn money(amount: TokenAmount) -> String {
    if amount.get() >= 10_000_000 || amount == TokenAmount::ZERO {
        amount.to_short()
    } else {
        amount.to_exact()
    }
}

/// A path as people write it.
fn home(path: &std::path::Path) -> String {
    let home = std::env::var_os("HOME").map(std::path::PathBuf::from);
    match home.and_then(|home| path.strip_prefix(home).ok().map(ToOwned::to_owned)) {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}
