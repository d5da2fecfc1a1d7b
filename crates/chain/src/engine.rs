//! Runs the consensus engine of a validator on a thread of its own.
//!
//! The engine brings its own runtime, which cannot start inside another, and ends in a panic when an
//! invariant breaks. The thread is where both stay: the rest of the node sees a task that ended.

use std::num::{NonZeroU16, NonZeroU64, NonZeroUsize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use commonware_broadcast::buffered;
use commonware_consensus::marshal::resolver::p2p as block_resolver;
use commonware_consensus::marshal::standard::{Deferred, Standard};
use commonware_consensus::marshal::{self, core::Actor as Marshal};
use commonware_consensus::simplex::config::{Floor, ForwardPolicy, SkipBudget, SkipPolicy};
use commonware_consensus::simplex::elector::{Random, RandomVersion};
use commonware_consensus::simplex::{self, Engine};
use commonware_consensus::types::{Epoch, FixedEpocher, ViewDelta};
use commonware_consensus::{Reporters, types};
use commonware_cryptography::certificate::ConstantProvider;
use commonware_cryptography::{Digested, Sha256, sha256};
use commonware_p2p::max_message_size;
use commonware_parallel::Sequential;
use commonware_runtime::buffer::paged::CacheRef;
use commonware_runtime::tokio::{Config as RuntimeConfig, Context, Runner};
use commonware_runtime::{Runner as _, Supervisor as _};
use commonware_storage::archive::prunable;
use commonware_storage::translator::EightCap;
use commonware_utils::{Acknowledgement as _, NonZeroDuration};
use hpips_net::{AlreadyAccepted, Net};
use hpips_types::Height;
use tokio::sync::mpsc;
use tracing::{error, info};

use crate::application::{Delivery, Driver, Outlet, SeedTap};
use crate::block::Block;
use crate::finality::Announcer;
use crate::machine::Machine;
use crate::scheme::{Certificate, EPOCH, Scheme, public_key, to_digest};
use crate::stop::Stop;
use crate::transport::{CHANNELS, Committee, Inbox, Sender};

/// Finalized blocks that the engine hands on before it waits for their state to be on disk.
const BACKLOG: NonZeroUsize = NonZeroUsize::new(16).expect("not zero");
/// Threads of the engine's runtime: it mostly waits for network and disk.
const WORKERS: usize = 2;
/// Length of the only epoch, blocks: longer than any chain, so that no epoch ends.
const EPOCH_BLOCKS: NonZeroU64 = NonZeroU64::new(1 << 40).expect("not zero");
/// Views below the finalized one whose votes and certificates stay for peers that are behind.
const VIEWS_KEPT: ViewDelta = ViewDelta::new(64);
/// Time beyond the pace that a leader has for its proposal to arrive.
const LEADER_GRACE: Duration = Duration::from_millis(500);
/// Buffer of each journal, bytes.
const BUFFER_BYTES: NonZeroUsize = NonZeroUsize::new(64 * 1024).expect("not zero");
/// Messages that wait in a mailbox of the engine.
const MAILBOX: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// What the engine needs.
pub(crate) struct Setup {
    pub(crate) dir: PathBuf,
    pub(crate) machine: Arc<Machine>,
    pub(crate) scheme: Scheme,
    pub(crate) net: Net,
    pub(crate) announcer: Announcer,
}

type Channel = (Sender, Inbox);

/// The engine's thread. Ends when `stop` turns true, or with the returned reason.
pub(crate) fn spawn(
    setup: Setup,
    stop: Stop,
    ended: impl FnOnce(Option<String>) + Send + 'static,
) -> Result<std::thread::JoinHandle<()>, SpawnError> {
    let committee = Committee::new(setup.scheme.participants().clone());
    let seats = u32::try_from(setup.scheme.participants().len()).expect("a committee has at most 64 seats");
    let bytes_max = max_message_size(&[
        simplex::max_payload_size::<Scheme, sha256::Digest>(seats),
        marshal::max_payload_size::<Standard<Block>, Scheme>(seats, &()),
    ]);
    let bytes_max = usize::try_from(bytes_max).expect("a message fits into memory");
    let channels: Vec<Channel> = (0..CHANNELS)
        .map(|channel| committee.channel(&setup.net, channel, bytes_max))
        .collect::<Result<_, _>>()?;
    let runtime =
        RuntimeConfig::new().with_worker_threads(WORKERS).with_storage_directory(setup.dir.join("engine"));
    let thread = std::thread::Builder::new().name("chain".into()).spawn(move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            Runner::new(runtime).start(|context| run(context, setup, committee, channels, stop))
        }));
        let reason = match outcome {
            Ok(reason) => reason.map(str::to_owned),
            Err(panic) => Some(panic_text(&*panic)),
        };
        if let Some(reason) = &reason {
            error!(%reason, "the chain's engine ended");
        }
        ended(reason);
    })?;
    Ok(thread)
}

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Another part of the node uses the engine's channels.
    #[error("the engine's channels are taken")]
    Channels(#[from] AlreadyAccepted),
    /// No thread.
    #[error("cannot start the chain's thread")]
    Thread(#[from] std::io::Error),
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}

fn archive<C>(name: &str, cache: CacheRef, codec_config: C) -> prunable::Config<EightCap, C> {
    prunable::Config {
        translator: EightCap,
        metadata_partition: format!("{name}-meta"),
        key_partition: format!("{name}-key"),
        key_page_cache: cache,
        value_partition: format!("{name}-value"),
        compression: None,
        codec_config,
        items_per_section: NonZeroU64::new(1024).expect("not zero"),
        key_write_buffer: BUFFER_BYTES,
        value_write_buffer: BUFFER_BYTES,
        replay_buffer: BUFFER_BYTES,
    }
}

/// Wires the engine and runs it until it is stopped; `Some` reason when it ended by itself.
async fn run(
    context: Context,
    setup: Setup,
    committee: Committee,
    channels: Vec<Channel>,
    stop: Stop,
) -> Option<&'static str> {
    let Setup { machine, scheme, net, announcer, .. } = setup;
    let [votes, certificates, fetching, backfill, broadcast]: [Channel; 5] =
        channels.try_into().expect("as many channels as were opened");
    let me = public_key(&net.account()).expect("our own key is a key");
    let pace = Duration::from_millis(machine.params().block_ms);
    let cache =
        CacheRef::new(NonZeroU16::new(4096).expect("not zero"), NonZeroUsize::new(1024).expect("not zero"));
    let epocher = FixedEpocher::new(EPOCH_BLOCKS);
    let genesis = machine.genesis().clone();
    let genesis_digest = to_digest(genesis.digest());
    let retry = Duration::from_millis(100);
    let second = NonZeroDuration::new(Duration::from_secs(1)).expect("not zero");

    let resolver = block_resolver::init(
        context.child("blocks"),
        block_resolver::Config {
            public_key: me.clone(),
            peer_provider: committee.clone(),
            blocker: committee.clone(),
            mailbox_size: MAILBOX,
            fetch_timeout: second,
            fetch_retry_delay: retry,
            priority_requests: false,
            priority_responses: false,
        },
        backfill,
    );
    let (dissemination, buffer) = buffered::Engine::new(
        context.child("broadcast"),
        buffered::Config {
            public_key: me,
            mailbox_size: MAILBOX,
            deque_size: 16,
            priority: false,
            codec_config: (),
            peer_provider: committee.clone(),
            strategy: Sequential,
        },
    );
    dissemination.start(broadcast);
    let finalizations =
        prunable::Archive::init(context.child("finalizations"), archive("finalizations", cache.clone(), ()))
            .await
            .expect("the engine's storage opens");
    let blocks = prunable::Archive::init(context.child("archive"), archive("blocks", cache.clone(), ()))
        .await
        .expect("the engine's storage opens");
    let (actor, mailbox, _) = Marshal::init(
        context.child("marshal"),
        finalizations,
        blocks,
        marshal::Config {
            provider: ConstantProvider::<_, Epoch>::new(scheme.clone()),
            epocher: epocher.clone(),
            start: marshal::Start::Genesis(Digested::precomputed(genesis, genesis_digest)),
            partition_prefix: "marshal".into(),
            mailbox_size: MAILBOX,
            view_retention: VIEWS_KEPT,
            prunable_items_per_section: NonZeroU64::new(256).expect("not zero"),
            page_cache: cache.clone(),
            replay_buffer: BUFFER_BYTES,
            key_write_buffer: BUFFER_BYTES,
            value_write_buffer: BUFFER_BYTES,
            block_codec_config: (),
            max_repair: NonZeroUsize::new(20).expect("not zero"),
            max_pending_acks: BACKLOG,
            strategy: Sequential,
        },
    )
    .await;
    let driver = Driver::new(Arc::clone(&machine), pace);
    let automaton = Deferred::new(context.child("application"), driver, mailbox.clone(), epocher);
    let (deliveries, inbox) = mpsc::channel(4 * BACKLOG.get());
    let marshal = actor.start(Outlet(deliveries), buffer, resolver);

    let leader_timeout = pace + LEADER_GRACE;
    let certification_timeout = leader_timeout + LEADER_GRACE;
    let engine = Engine::new(
        context.child("simplex"),
        simplex::Config {
            scheme,
            elector: Random::<Sha256>::new(RandomVersion::V1),
            blocker: committee,
            automaton: automaton.clone(),
            relay: automaton.clone(),
            reporter: Reporters::from((automaton, SeedTap(Arc::clone(&machine)))),
            partition: "simplex".into(),
            mailbox_size: MAILBOX,
            epoch: EPOCH,
            floor: Floor::Genesis(genesis_digest),
            replay_buffer: BUFFER_BYTES,
            write_buffer: BUFFER_BYTES,
            leader_timeout,
            certification_timeout,
            timeout_retry: leader_timeout,
            fetch_timeout: second,
            fetch_retry_delay: retry,
            view_retention: VIEWS_KEPT,
            // Once a leader was silent for this long, its turns are passed over without waiting for it.
            skip: SkipPolicy::Enabled {
                timeout: certification_timeout + LEADER_GRACE,
                budget: SkipBudget::Participants,
            },
            page_cache: cache,
            strategy: Sequential,
            forward: ForwardPolicy::SilentVoters,
            track_historical_votes: false,
        },
    )
    .start(votes, certificates, fetching);
    info!(height = %machine.height(), "consensus started");

    tokio::select! {
        () = stop.wait() => None,
        _ = marshal => Some("the engine's block store ended"),
        _ = engine => Some("the engine ended"),
        () = deliver(&machine, mailbox, inbox, announcer) => Some("the engine delivers no more blocks"),
    }
}

/// Applies finalized blocks in order, then lets the engine forget and the followers know.
///
/// # Panics
/// When a finalized block contradicts our state: going on would fork.
async fn deliver(
    machine: &Arc<Machine>,
    mailbox: marshal::core::Mailbox<Scheme, Standard<Block>>,
    mut inbox: mpsc::Receiver<Delivery>,
    mut announcer: Announcer,
) {
    while let Some((delivered, acknowledgement)) = inbox.recv().await {
        let block = delivered.inner().clone();
        if block.height() > machine.height() {
            let height = types::Height::new(block.height().get());
            let certificate = mailbox.get_finalization(height).await.map(Certificate::new);
            let certificate = certificate.filter(|certificate| certificate.digest() == block.digest());
            let (machine, ours, own) = (Arc::clone(machine), block.clone(), certificate.clone());
            let applied = tokio::task::spawn_blocking(move || machine.finalize(&ours, own.as_ref())).await;
            match applied {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    panic!("finalized block {} contradicts the state: {error:?}", block.height())
                }
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => return,
            }
            acknowledgement.acknowledge();
            announcer.announce(block, certificate).await;
        } else {
            let known = block.height() == Height::ZERO || machine.is_final(&block);
            assert!(known, "the engine's storage holds another chain than the state's at {}", block.height());
            acknowledgement.acknowledge();
        }
    }
}
