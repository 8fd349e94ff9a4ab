//! Random sequences of steps, on the registry and on a simple model; both have to agree after
//! each step.

use std::collections::HashMap;

use proptest::prelude::*;

use super::many;
use super::side_table::{SideTable, connection_of, request_address};
use crate::registry::slots::{Ended, Handle};

#[derive(Clone, Debug)]
enum Op {
    /// Requests begin, at the next free addresses from `from` on.
    Register { from: usize, count: usize },
    /// Every `every`th live request ends, from the oldest or the newest on.
    Free { every: usize, count: usize, newest: bool },
    /// A live request's `ngx.ctx` is stashed.
    Stash { which: usize, reference: i32, vm: u32 },
    /// A live request gets the last generation of its slot.
    Age { which: usize },
    /// From now on, memory for so many chunks.
    Memory { chunks: usize },
}

fn op() -> impl Strategy<Value = Op> {
    let free = (1usize..7, 1usize..900, any::<bool>());
    prop_oneof![
        // Few addresses, so that they are used again; many requests, so that chunks fill up.
        6 => (0usize..60, 1usize..4).prop_map(|(from, count)| Op::Register { from, count }),
        2 => (0usize..3000, 1..many(1500, 20)).prop_map(|(from, count)| Op::Register { from, count }),
        6 => free.prop_map(|(every, count, newest)| Op::Free { every, count, newest }),
        3 => (any::<usize>(), any::<i32>(), 0u32..3)
            .prop_map(|(which, reference, vm)| Op::Stash { which, reference, vm }),
        2 => any::<usize>().prop_map(|which| Op::Age { which }),
        1 => (0usize..3).prop_map(|chunks| Op::Memory { chunks }),
        1 => Just(Op::Memory { chunks: usize::MAX }),
    ]
}

/// A live request.
#[derive(Clone, Debug, PartialEq)]
struct Live {
    address: usize,
    handle: Handle,
    ctx: Option<(i32, u32)>,
}

/// The model: live requests in the order they began, and all stale handles.
#[derive(Default)]
struct Model {
    live: Vec<Live>,
    dead: Vec<Handle>,
    retired: Vec<u32>,
}

impl Model {
    fn pick(&self, which: usize) -> Option<usize> {
        (!self.live.is_empty()).then(|| which % self.live.len())
    }

    fn by_address(&self, address: usize) -> Option<&Live> {
        self.live.iter().find(|live| live.address == address)
    }
}

fn apply(op: &Op, table: &SideTable, model: &mut Model) {
    match *op {
        Op::Register { from, count } => {
            for address in (from..from + count).map(request_address) {
                if model.by_address(address).is_none() {
                    register(address, table, model);
                }
            }
        }
        Op::Free { every, count, newest } => {
            let mut at: Vec<usize> = (0..model.live.len()).step_by(every).collect();
            if newest {
                at.reverse();
            }
            at.truncate(count);
            for &i in &at {
                let live = &model.live[i];
                let is_last = live.handle.generation == u32::MAX;
                assert_eq!(table.forget(live.handle), is_last);
                model.dead.push(live.handle);
                if is_last {
                    model.retired.push(live.handle.id);
                } else {
                    let later = table.now.get().wrapping_add(5);
                    assert_eq!(table.slots.ended(live.handle, later), Ended::Ago(5));
                }
            }
            at.sort_unstable();
            for i in at.into_iter().rev() {
                model.live.remove(i);
            }
        }
        Op::Stash { which, reference, vm } => {
            if let Some(i) = model.pick(which) {
                let live = &mut model.live[i];
                table.slots.get(live.handle).unwrap().set_ctx(reference, vm);
                live.ctx = (reference > 0).then_some((reference, vm));
            }
        }
        Op::Age { which } => {
            if let Some(i) = model.pick(which) {
                let live = &mut model.live[i];
                let slot = table.slots.get(live.handle).unwrap();
                slot.age();
                if slot.handle() != live.handle {
                    model.dead.push(live.handle);
                }
                live.handle = slot.handle();
            }
        }
        Op::Memory { chunks } => {
            table.chunks.set(chunks);
        }
    }
}

fn register(address: usize, table: &SideTable, model: &mut Model) {
    let before = table.slots.live();
    match table.register(address) {
        Some(slot) => {
            let handle = slot.handle();
            assert_eq!(handle.generation & 1, 1, "an occupant's generation is odd");
            assert!(!model.retired.contains(&handle.id), "a retired slot is handed out");
            assert!(!model.dead.contains(&handle), "a handle names a second request");
            assert_eq!(slot.ctx(), None, "the last occupant's ngx.ctx");
            model.live.push(Live { address, handle, ctx: None });
        }
        None => {
            let empty = table.chunks.get() == 0;
            assert!(empty, "refused with memory left");
            assert_eq!(table.slots.live(), before);
        }
    }
}

/// The checks after each step, which do not cover all requests.
fn check_counts(table: &SideTable, model: &Model) {
    assert_eq!(table.slots.live() as usize, model.live.len());
    assert_eq!(table.slots.retired() as usize, model.retired.len());
}

fn check_all(table: &SideTable, model: &Model) {
    assert_eq!(table.index.count(), model.live.len());
    let mut by_handle = HashMap::new();
    for live in &model.live {
        let slot = table.slots.get(live.handle).expect("a live request's handle");
        assert_eq!(slot.request(), live.address);
        assert_eq!(slot.connection(), connection_of(live.address));
        assert_eq!(slot.ctx(), live.ctx);
        assert_eq!(table.slots.ended(live.handle, 0), Ended::Never);
        let found = table.find(live.address).expect("a live request's address");
        assert!(core::ptr::eq(found, slot));
        assert!(by_handle.insert(live.handle.id, live).is_none(), "two in one slot");
    }
    for handle in &model.dead {
        assert!(table.slots.get(*handle).is_none(), "{handle:?} has ended");
        let is_unknown = table.slots.ended(*handle, 0) == Ended::Never;
        assert_eq!(is_unknown, model.retired.contains(&handle.id));
    }
    for id in &model.retired {
        let slot = table.slots.by_id(*id).expect("its memory stays");
        assert_eq!(slot.request(), 0);
        assert!(slot.link.get().is_none());
    }
    for n in (0..4600).step_by(many(1, 40)) {
        let address = request_address(n);
        assert_eq!(table.find(address).is_some(), model.by_address(address).is_some());
        // An address inside a request is not its address.
        assert!(table.find(address + 8).is_none());
    }
    assert!(table.find(0).is_none());
}

/// Handles that were never returned.
fn check_forged(table: &SideTable, model: &Model) {
    for live in model.live.iter().step_by(1 + model.live.len() / 20) {
        let Handle { id, generation } = live.handle;
        for bit in 0..32 {
            let other = Handle { id, generation: generation ^ 1 << bit };
            assert!(table.slots.get(other).is_none(), "{other:?} is forged");

            let elsewhere = Handle { id: id ^ 1 << bit, generation };
            let known = model.live.iter().any(|live| live.handle == elsewhere);
            assert_eq!(table.slots.get(elsewhere).is_some(), known);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(many(150, 2) as u32) })]

    #[test]
    fn side_table_is_its_model(ops in prop::collection::vec(op(), 1..many(80, 20))) {
        let table = SideTable::new();
        let mut model = Model::default();
        for op in &ops {
            apply(op, &table, &mut model);
            check_counts(&table, &model);
        }
        check_all(&table, &model);
        check_forged(&table, &model);

        // All requests end.
        apply(&Op::Free { every: 1, count: usize::MAX, newest: true }, &table, &mut model);
        check_counts(&table, &model);
        check_all(&table, &model);
    }
}
