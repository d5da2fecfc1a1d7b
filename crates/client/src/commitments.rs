//! Our own commitments to the pieces, computed beside the upload and compared with what holders sign.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hpips_proofs::Element;
use tokio::sync::mpsc;

use crate::encode::{EncodeError, commit};
use crate::outgoing::Outgoing;

/// Results that wait to be asked for; the thread waits when there are more.
const AHEAD: usize = 64;

type Place = (usize, usize);

/// The commitments of all pieces, as they come. Dropping it stops the thread after the piece at hand.
#[derive(Debug)]
pub(crate) struct Commitments {
    known: BTreeMap<Place, Element>,
    inbox: mpsc::Receiver<(Place, Result<Element, EncodeError>)>,
}

impl Commitments {
    /// Starts a thread for those that the check-point does not have.
    pub(crate) fn start(outgoing: &Outgoing) -> Self {
        let mut known = BTreeMap::new();
        let mut missing: Vec<(Place, PathBuf)> = Vec::new();
        let pieces = outgoing.state.encoded.as_ref().map_or(&[][..], |encoded| &encoded.pieces);
        for (extent, marks) in pieces.iter().enumerate() {
            for (slot, mark) in marks.iter().enumerate() {
                match mark.comm_p {
                    Some(comm_p) => drop(known.insert((extent, slot), comm_p)),
                    None => missing.push(((extent, slot), outgoing.piece(extent, slot))),
                }
            }
        }
        let (sender, inbox) = mpsc::channel(AHEAD);
        tokio::task::spawn_blocking(move || {
            for (place, path) in missing {
                if sender.blocking_send((place, commit(&path))).is_err() {
                    return;
                }
            }
        });
        Self { known, inbox }
    }

    /// The commitment of a piece, once it is computed; noted in the check-point.
    pub(crate) async fn of(
        &mut self,
        outgoing: &mut Outgoing,
        extent: usize,
        slot: usize,
    ) -> Result<Element, EncodeError> {
        loop {
            if let Some(comm_p) = self.known.get(&(extent, slot)) {
                return Ok(*comm_p);
            }
            let (place, computed) = self.inbox.recv().await.ok_or(EncodeError::Stopped)?;
            let computed = computed?;
            self.known.insert(place, computed);
            if let Some(encoded) = &mut outgoing.state.encoded {
                encoded.pieces[place.0][place.1].comm_p = Some(computed);
            }
        }
    }
}
