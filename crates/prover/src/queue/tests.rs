use std::time::Duration;

use proptest::prelude::*;

use super::*;

const PRIORITIES: [Priority; 3] = [Priority::Window, Priority::Activation, Priority::Bench];

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn urgent_kinds_then_early_deadlines_then_first_come() {
    let start = Instant::now();
    let mut queue = Queue::new(10);
    let orders = [
        ("bench", Order::before(Priority::Bench, after(start, 1))),
        ("debt", Order::whenever(Priority::Window)),
        ("activation", Order::before(Priority::Activation, after(start, 5))),
        ("window late", Order::before(Priority::Window, after(start, 90))),
        ("window soon", Order::before(Priority::Window, after(start, 30))),
        ("window soon, too", Order::before(Priority::Window, after(start, 30))),
    ];
    let turns: Vec<Turn> =
        orders.iter().map(|(name, order)| queue.push(*order, start, *name).unwrap()).collect();
    let places: Vec<_> = turns.iter().map(|turn| queue.place(*turn)).collect();
    assert_eq!(places, [Some(6), Some(4), Some(5), Some(3), Some(1), Some(2)]);
    let mut done = Vec::new();
    while let Some(Next::Start(turn, name)) = queue.next(start) {
        assert_eq!(queue.place(turn), None);
        done.push(name);
    }
    assert_eq!(done, ["window soon", "window soon, too", "window late", "debt", "activation", "bench"]);
}

#[test]
fn a_deadline_that_has_passed_is_no_start() {
    let start = Instant::now();
    let order = Order::before(Priority::Window, after(start, 10));
    let mut queue = Queue::new(1);
    assert_eq!(queue.push(order, after(start, 10), ()), Err(Refused::Late));
    queue.push(order, after(start, 9), ()).unwrap();
    assert_eq!(queue.next(after(start, 10)), Some(Next::Late(())));
    assert_eq!(queue.next(after(start, 10)), None);
}

#[test]
fn full_is_said_and_room_is_made_by_cancelling() {
    let start = Instant::now();
    let order = Order::whenever(Priority::Activation);
    let mut queue = Queue::new(2);
    let first = queue.push(order, start, 1).unwrap();
    queue.push(order, start, 2).unwrap();
    assert_eq!(queue.push(Order::whenever(Priority::Window), start, 3), Err(Refused::Full));
    assert_eq!(queue.cancel(first), Some(1));
    assert_eq!(queue.cancel(first), None);
    queue.push(order, start, 4).unwrap();
    queue.clear();
    assert_eq!(queue.next(start), None);
}

/// What may happen to a queue.
#[derive(Clone, Debug)]
enum Act {
    Push(usize, Option<u64>),
    Next,
    Cancel(usize),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..3usize, proptest::option::of(0..40u64)).prop_map(|(kind, due)| Act::Push(kind, due)),
        2 => Just(Act::Next),
        1 => (0..30usize).prop_map(Act::Cancel),
        1 => (0..5u64).prop_map(Act::Pass),
    ]
}

proptest! {
    /// Beside a list that is searched for its least: the same jobs in the same order, never more than fit, and
    /// none started late.
    #[test]
    fn it_is_a_sorted_list(acts in proptest::collection::vec(act(), 0..80), jobs_max in 1..6usize) {
        let start = Instant::now();
        let mut now = 0;
        let mut queue = Queue::new(jobs_max);
        let mut turns = Vec::new();
        // Kind, whether without deadline, deadline, number.
        let mut model: Vec<(usize, bool, u64, usize)> = Vec::new();
        for act in acts {
            match act {
                Act::Pass(seconds) => now += seconds,
                Act::Push(kind, due) => {
                    let order = Order { priority: PRIORITIES[kind], deadline: due.map(|due| after(start, due)) };
                    let number = turns.len();
                    let pushed = queue.push(order, after(start, now), number);
                    if due.is_some_and(|due| due <= now) {
                        prop_assert_eq!(pushed, Err(Refused::Late));
                    } else if model.len() == jobs_max {
                        prop_assert_eq!(pushed, Err(Refused::Full));
                    } else {
                        turns.push(pushed.unwrap());
                        model.push((kind, due.is_none(), due.unwrap_or(0), number));
                        model.sort_unstable();
                    }
                }
                Act::Next => {
                    let expected = (!model.is_empty()).then(|| model.remove(0));
                    match (queue.next(after(start, now)), expected) {
                        (None, None) => {}
                        (Some(Next::Start(turn, job)), Some((_, open, due, number))) => {
                            prop_assert!(open || due > now);
                            prop_assert_eq!((turn, job), (turns[number], number));
                        }
                        (Some(Next::Late(job)), Some((_, open, due, number))) => {
                            prop_assert!(!open && due <= now);
                            prop_assert_eq!(job, number);
                        }
                        (found, expected) => prop_assert!(false, "{found:?} for {expected:?}"),
                    }
                }
                Act::Cancel(index) => {
                    let Some(turn) = turns.get(index) else { continue };
                    let at = model.iter().position(|item| item.3 == index);
                    prop_assert_eq!(queue.place(*turn), at.map(|at| at + 1));
                    prop_assert_eq!(queue.cancel(*turn), at.map(|at| model.remove(at).3));
                }
            }
        }
    }
}
