use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::AsyncReadExt;
use futures::executor::LocalPool;
use futures::task::LocalSpawnExt;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::*;

type Wire = Compat<tokio::io::DuplexStream>;
type Held = Rc<RefCell<Vec<Stream>>>;

/// The node's end: takes streams and opens `opens`, more than it may, reads up to `reads` bytes of each and then no
/// more.
async fn node(wire: Wire, opens: usize, reads: usize, held: Held) {
    let mut muxer = Config.muxer(wire, yamux::Mode::Server);
    let mut left = Vec::new();
    let mut opened = 0;
    let mut buffer = vec![0; 64 * 1024];
    poll_fn(|cx| {
        let mut streams = held.borrow_mut();
        let is_moving = Pin::new(&mut muxer).poll(cx).map(|event| event.is_err());
        if is_moving == Poll::Ready(true) {
            return Poll::Ready(());
        }
        while let Poll::Ready(Ok(stream)) = Pin::new(&mut muxer).poll_inbound(cx) {
            streams.push(stream);
        }
        while opened < opens
            && let Poll::Ready(Ok(mut stream)) = Pin::new(&mut muxer).poll_outbound(cx)
        {
            // The other end learns of a stream by its first byte.
            let _ = Pin::new(&mut stream).poll_write(cx, &[1]);
            streams.push(stream);
            opened += 1;
        }
        left.resize(streams.len(), reads);
        for (stream, left) in streams.iter_mut().zip(&mut left) {
            while *left > 0 {
                let most = buffer.len().min(*left);
                match Pin::new(&mut *stream).poll_read(cx, &mut buffer[..most]) {
                    Poll::Ready(Ok(count)) if count > 0 => *left -= count,
                    _ => break,
                }
            }
        }
        Poll::Pending
    })
    .await
}

/// The other end: opens as many streams as it can, and writes on them and on those opened by the node for as long
/// as bytes go in.
async fn attacker(wire: Wire) {
    let mut connection = yamux::Connection::new(wire, yamux::Config::default(), yamux::Mode::Client);
    let mut streams: Vec<yamux::Stream> = Vec::new();
    let bytes = [7; 16 * 1024];
    poll_fn(|cx| {
        loop {
            while streams.len() < 200
                && let Poll::Ready(Ok(stream)) = connection.poll_new_outbound(cx)
            {
                streams.push(stream);
            }
            for stream in &mut streams {
                while let Poll::Ready(Ok(_)) = Pin::new(&mut *stream).poll_write(cx, &bytes) {}
            }
            match connection.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(stream))) => streams.push(stream),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Streams and bytes that the node holds once nothing moves any more. `round_trip`: how long the attacker leaves the
/// node's first ping unanswered, which lets windows grow.
fn attack(opens: usize, reads: usize, round_trip: Duration) -> (usize, usize) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let held = Held::default();
    let mut pool = LocalPool::new();
    pool.spawner().spawn_local(node(near.compat(), opens, reads, held.clone())).unwrap();
    pool.run_until_stalled();
    let began = Instant::now();
    while began.elapsed() < round_trip {
        std::hint::spin_loop();
    }
    let attacker = pool.spawner().spawn_local_with_handle(attacker(far.compat())).unwrap();
    pool.run_until_stalled();
    drop(attacker);
    pool.run_until_stalled();
    let mut bytes = Vec::new();
    for stream in held.borrow_mut().iter_mut() {
        // Ends with the connection, in whatever way.
        let _ = futures::executor::block_on(stream.read_to_end(&mut bytes));
    }
    let streams = held.borrow().len();
    (streams, bytes.len())
}

#[test]
fn what_nobody_reads_is_bounded_by_connection() {
    for (opens, streams) in [(0, INBOUND_MAX), (OUTBOUND_MAX + 1, INBOUND_MAX + OUTBOUND_MAX)] {
        assert_eq!(attack(opens, 0, Duration::ZERO), (streams, streams * WINDOW_BYTES));
    }
}

#[test]
fn windows_that_grew_are_bounded_too() {
    let (streams, bytes) = attack(OUTBOUND_MAX, 1 << 20, Duration::from_millis(100));
    assert_eq!(streams, INBOUND_MAX + OUTBOUND_MAX);
    assert!(bytes <= CONNECTION_BYTES, "{bytes}");
    assert!(bytes > streams * WINDOW_BYTES / 2, "{bytes}");
}

#[test]
fn a_stream_that_ends_makes_room_for_another() {
    let count = Arc::<Count>::default();
    let mut places: Vec<Place> = (0..3).map_while(|_| count.take(2)).collect();
    assert_eq!(places.len(), 2);
    places.pop();
    assert!(count.take(2).is_some());
}
