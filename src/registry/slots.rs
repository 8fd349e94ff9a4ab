//! Generational slots: one for each request that is live in the worker.
//!
//! Even generation = free, odd = occupied. So neither zeroed memory nor a freed slot
//! matches a handle. A slot whose generation would wrap is retired, that is, never occupied
//! again.
//!
//! A [`Handle`] names one occupant of a slot. Slots never move, because nginx's pools link the
//! cleanups in them. Every field is a [`Cell`], so that a handler of nginx's that re-enters the
//! module finds nothing borrowed.

#![forbid(unsafe_code)]

use core::cell::Cell;
use core::mem::offset_of;

use crate::text::{Part, Writer, put};

/// Number of slots that are allocated at a time.
pub(crate) const CHUNK: usize = 512;
pub(crate) const CHUNKS: usize = 4096;
/// The most requests that can be live in one worker.
pub(crate) const MAX_LIVE: usize = CHUNK * CHUNKS;

/// The name of one occupant of one slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Handle {
    pub(crate) id: u32,
    /// Generation of the occupant, always odd.
    pub(crate) generation: u32,
}

impl Handle {
    /// A handle from the 64 bits that Lua keeps: the id in the low half, the generation in the
    /// high half.
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Handle { id: bits as u32, generation: (bits >> 32) as u32 }
    }

    /// A handle that names no request, for code that runs in a TLS handshake or in another context
    /// that lua-nginx-module makes a fake request for. `number` tells such handles apart.
    pub(crate) const fn fake(is_handshake: bool, number: u32) -> Self {
        Handle { id: u32::MAX, generation: number << 2 | if is_handshake { 1 } else { 3 } }
    }

    /// Whether it is such a handle.
    pub(crate) const fn is_fake(self) -> bool {
        self.id == u32::MAX
    }

    /// Whether such a handle was made in a TLS handshake.
    pub(crate) const fn is_of_handshake(self) -> bool {
        self.is_fake() && self.generation & 3 == 1
    }

    pub(crate) const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.id as u64
    }
}

impl Part for Handle {
    fn write(self, w: &mut Writer<'_>) {
        if self.is_fake() {
            put!(w; "no request");
        } else {
            put!(w; "request ", self.id, "/", self.generation);
        }
    }
}

/// What the registry knows of a live request. A free slot has only a generation, an id, a
/// link and `ended`.
#[repr(C)]
pub(crate) struct Slot {
    /// The cleanup of the request's pool that frees the slot, for nginx.
    pub(crate) cleanup: [Cell<usize>; 3],
    /// Address of the request; 0 while the slot is free.
    request: Cell<usize>,
    /// Address of the request's connection, as it was when the request was registered.
    connection: Cell<usize>,
    /// The next slot in a chain of the index or in the free list.
    pub(crate) link: Cell<Option<&'static Slot>>,
    /// Address of the values that `error_page.rs` stores before the first error page, or 0.
    original: Cell<usize>,
    /// Odd while the slot is occupied.
    generation: Cell<u32>,
    /// The slot's number; set when the slot is first occupied.
    id: Cell<u32>,
    /// The flags, such as [`Slot::FROM_ERROR_PAGE`].
    flags: Cell<u8>,
    /// What became of a lost `ngx.ctx`, a number of `restore.rs`; 0 at first.
    pub(crate) outcome: Cell<u8>,
    refused: Cell<u16>,
    /// `registry.ngx_lua_ctx_tables[ctx_ref]` is the request's `ngx.ctx`; below 1 if none is
    /// stashed.
    ctx_ref: Cell<i32>,
    /// The Lua VM whose registry has `ctx_ref`.
    ctx_vm: Cell<u32>,
    /// When the last occupant ended: `ngx_current_msec` modulo 2^32.
    ended: Cell<u32>,
}

/// How long ago the request of a handle ended, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// Exactly this long ago.
    Ago(u32),
    /// More than this: a later occupant of the slot ended then.
    Before(u32),
    /// No request that has ended ever had this handle, or its slot is retired.
    Never,
}

impl Slot {
    /// Flag: an `error_page` redirected the request.
    pub(crate) const FROM_ERROR_PAGE: u8 = 1;
    /// Flag: it was remembered where the handle was first made.
    pub(crate) const TRACED: u8 = 2;

    /// Offset of `generation`, for the gdb commands; so are the next six.
    pub(crate) const GENERATION: usize = offset_of!(Slot, generation);
    pub(crate) const CONNECTION: usize = offset_of!(Slot, connection);
    pub(crate) const REQUEST: usize = offset_of!(Slot, request);
    pub(crate) const FLAGS: usize = offset_of!(Slot, flags);
    pub(crate) const CTX_REF: usize = offset_of!(Slot, ctx_ref);
    pub(crate) const CTX_VM: usize = offset_of!(Slot, ctx_vm);
    pub(crate) const ENDED: usize = offset_of!(Slot, ended);

    pub(crate) fn handle(&self) -> Handle {
        Handle { id: self.id.get(), generation: self.generation.get() }
    }

    /// Address of the request; 0 if the slot is free.
    #[inline(always)]
    pub(crate) fn request(&self) -> usize {
        self.request.get()
    }

    /// Address of the connection that the request had when it was registered.
    #[inline(always)]
    pub(crate) fn connection(&self) -> usize {
        self.connection.get()
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags.get() & flag == flag
    }

    pub(crate) fn raise(&self, flag: u8) {
        self.flags.set(self.flags.get() | flag);
    }

    /// Counts a refusal while this request was running, up to 65535.
    pub(crate) fn count_refused(&self) {
        self.refused.set(self.refused.get().saturating_add(1));
    }

    pub(crate) fn refused(&self) -> u32 {
        self.refused.get().into()
    }

    /// The stashed `ngx.ctx`: its reference and the VM that has it. `None` if none is stashed.
    pub(crate) fn ctx(&self) -> Option<(i32, u32)> {
        let reference = self.ctx_ref.get();
        (reference > 0).then(|| (reference, self.ctx_vm.get()))
    }

    pub(crate) fn set_ctx(&self, reference: i32, vm: u32) {
        self.ctx_ref.set(reference);
        self.ctx_vm.set(vm);
    }

    /// Address of the values that were stored before the first error page; 0 if none were.
    pub(crate) fn original(&self) -> usize {
        self.original.get()
    }

    pub(crate) fn set_original(&self, address: usize) {
        self.original.set(address);
    }

    /// Sets the generation so that the current occupant, or the next one if the slot is free,
    /// is the slot's last.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn age(&self) {
        let occupied = self.generation.get() & 1;
        self.generation.set((u32::MAX - 1) | occupied);
    }
}

pub(crate) type Chunk = [Slot; CHUNK];

#[repr(C)]
pub(crate) struct Slots {
    /// The chunks that are allocated so far.
    chunks: [Cell<Option<&'static Chunk>>; CHUNKS],
    free: Cell<Option<&'static Slot>>,
    /// How many slots, from the first, were ever occupied.
    used: Cell<u32>,
    live: Cell<u32>,
    retired: Cell<u32>,
}

impl Slots {
    /// Offset of `chunks`, for the gdb commands; so are the next two.
    pub(crate) const CHUNKS: usize = offset_of!(Slots, chunks);
    pub(crate) const USED: usize = offset_of!(Slots, used);
    pub(crate) const LIVE: usize = offset_of!(Slots, live);

    pub(crate) const fn new() -> Self {
        Slots {
            chunks: [const { Cell::new(None) }; CHUNKS],
            free: Cell::new(None),
            used: Cell::new(0),
            live: Cell::new(0),
            retired: Cell::new(0),
        }
    }

    pub(crate) fn live(&self) -> u32 {
        self.live.get()
    }

    /// Number of slots that are allocated, for the test suite.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn allocated(&self) -> usize {
        self.chunks.iter().filter(|chunk| chunk.get().is_some()).count().saturating_mul(CHUNK)
    }

    pub(crate) fn retired(&self) -> u32 {
        self.retired.get()
    }

    /// The slot with this number, free or occupied.
    #[inline(always)]
    pub(crate) fn by_id(&self, id: u32) -> Option<&'static Slot> {
        let chunk = self.chunks.get(id as usize / CHUNK)?.get()?;
        chunk.get(id as usize % CHUNK)
    }

    /// The slot of the live request that `handle` names. The request of a free slot is 0, so
    /// that a made-up even generation is refused, too.
    #[inline(always)]
    pub(crate) fn get(&self, handle: Handle) -> Option<&'static Slot> {
        let slot = self.by_id(handle.id)?;
        (slot.generation.get() == handle.generation && slot.request() != 0).then_some(slot)
    }

    /// How long before `now`, in milliseconds, the request that `handle` named ended.
    pub(crate) fn ended(&self, handle: Handle, now: u32) -> Ended {
        let Some(slot) = self.by_id(handle.id) else {
            return Ended::Never;
        };
        let generation = slot.generation.get();
        let ago = now.wrapping_sub(slot.ended.get());
        // The end of an occupant adds one to the generation, and so does the next occupant.
        match generation.wrapping_sub(handle.generation) {
            _ if handle.generation & 1 == 0 || handle.generation >= generation => Ended::Never,
            1 | 2 => Ended::Ago(ago),
            _ => Ended::Before(ago),
        }
    }

    /// Occupies a slot for the request at `request`, with the connection at `connection`.
    ///
    /// `more` has to allocate a chunk of zero bytes. Returns `None` if it returns `None`,
    /// and if all slots are occupied or retired.
    #[inline(always)]
    pub(crate) fn acquire(
        &self,
        request: usize,
        connection: usize,
        more: impl FnOnce() -> Option<&'static Chunk>,
    ) -> Option<&'static Slot> {
        let slot = match self.free.get() {
            Some(slot) => {
                self.free.set(slot.link.get());
                slot
            }
            None => self.fresh(more)?,
        };
        slot.generation.set(slot.generation.get().wrapping_add(1));
        // The other fields were cleared by `release`, or never set.
        slot.request.set(request);
        slot.connection.set(connection);
        self.live.set(self.live.get().wrapping_add(1));
        Some(slot)
    }

    /// The first slot that was never occupied; `None` as for [`Slots::acquire`].
    #[cold]
    fn fresh(&self, more: impl FnOnce() -> Option<&'static Chunk>) -> Option<&'static Slot> {
        let id = self.used.get();
        let chunk = self.chunks.get(id as usize / CHUNK)?;
        if chunk.get().is_none() {
            chunk.set(Some(more()?));
        }
        let slot = self.by_id(id)?;
        slot.id.set(id);
        self.used.set(id.wrapping_add(1));
        Some(slot)
    }

    /// Frees an occupied slot. `now` is the time, in milliseconds. Returns true if that was its last
    /// generation, so that it is retired.
    #[inline(always)]
    pub(crate) fn release(&self, slot: &'static Slot, now: u32) -> bool {
        slot.request.set(0);
        slot.connection.set(0);
        slot.original.set(0);
        slot.flags.set(0);
        slot.outcome.set(0);
        slot.refused.set(0);
        slot.set_ctx(0, 0);
        slot.ended.set(now);
        self.live.set(self.live.get().wrapping_sub(1));
        match slot.generation.get().checked_add(1) {
            Some(next) => {
                slot.generation.set(next);
                slot.link.set(self.free.get());
                self.free.set(Some(slot));
                false
            }
            None => {
                slot.generation.set(0);
                slot.link.set(None);
                self.retired.set(self.retired.get().wrapping_add(1));
                true
            }
        }
    }
}
