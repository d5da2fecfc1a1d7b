//! One question, one answer, on a stream of their own.

use std::sync::Arc;
use std::time::Duration;

use hpips_types::AccountId;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use crate::net::Net;
use crate::streams::{AlreadyAccepted, OpenError};
use crate::wire::{FrameError, read_frame, write_frame};

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The stream did not open.
    #[error("no stream to the peer")]
    Open(#[from] OpenError),
    /// Question or answer failed on the way, or was too long.
    #[error("question or answer failed on the way")]
    Frame(#[from] FrameError),
    /// The peer ended the stream without an answer.
    #[error("the peer gave no answer")]
    NoAnswer,
    /// The deadline passed.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
}

/// Bounds of a service.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Longest question taken, bytes.
    pub question_bytes_max: usize,
    /// Longest answer given, bytes.
    pub answer_bytes_max: usize,
    /// Questions answered at once; more wait.
    pub parallel: usize,
    /// Time for one question from its stream's opening to the last byte of the answer.
    pub deadline: Duration,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            question_bytes_max: 1 << 20,
            answer_bytes_max: 4 << 20,
            parallel: 64,
            deadline: Duration::from_secs(30),
        }
    }
}

/// Asks a peer. Dropping the future takes the question back.
///
/// # Errors
/// [`RpcError`] by variant.
pub async fn request(
    net: &Net,
    to: AccountId,
    protocol: &str,
    question: &[u8],
    answer_bytes_max: usize,
    deadline: Duration,
) -> Result<Vec<u8>, RpcError> {
    let ask = async {
        let mut stream = net.open(to, protocol).await?;
        write_frame(&mut stream, question, question.len()).await?;
        let answer = read_frame(&mut stream, answer_bytes_max).await?.ok_or(RpcError::NoAnswer)?;
        Ok(Vec::from(answer))
    };
    tokio::time::timeout(deadline, ask).await.unwrap_or(Err(RpcError::Deadline(deadline)))
}

/// Answers questions until the network shuts down. `answer` gets who asks and the question; `None` ends the
/// stream without an answer.
///
/// # Errors
/// [`AlreadyAccepted`] when the protocol is served in another place.
pub fn serve<A, F>(net: &Net, protocol: &str, service: Service, answer: A) -> Result<(), AlreadyAccepted>
where
    A: Fn(AccountId, Vec<u8>) -> F + Send + Sync + 'static,
    F: Future<Output = Option<Vec<u8>>> + Send + 'static,
{
    let mut incoming = net.accept(protocol)?;
    let slots = Arc::new(Semaphore::new(service.parallel));
    let answer = Arc::new(answer);
    let tasks = net.tasks();
    net.tasks().spawn(async move {
        while let Ok(slot) = slots.clone().acquire_owned().await {
            let Some((from, mut stream)) = incoming.next().await else { return };
            let answer = answer.clone();
            tasks.spawn(async move {
                let serve = async {
                    let question = read_frame(&mut stream, service.question_bytes_max).await?;
                    let Some(question) = question else { return Ok(()) };
                    if let Some(answer) = answer(from, Vec::from(question)).await {
                        write_frame(&mut stream, &answer, service.answer_bytes_max).await?;
                        stream.shutdown().await?;
                    }
                    Ok::<_, FrameError>(())
                };
                match tokio::time::timeout(service.deadline, serve).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%from, %error, "question failed"),
                    Err(_) => tracing::debug!(%from, "question took too long"),
                }
                drop(slot);
            });
        }
    });
    Ok(())
}
