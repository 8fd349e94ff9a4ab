//! Generational slots: one for each request the worker knows to be live.
//!
//! A slot is found again in two ways: by a [`Handle`], which names one occupant
//! and no other, and by its number. Slots have their places for good, so growing
//! touches nothing that is in use. Every field is a [`Cell`]: a nginx handler that
//! re-enters the module cannot find the registry borrowed.
//!
//! A generation is odd while the slot is occupied and even while it is free, so
//! that neither zeroed memory nor a freed slot matches any handle. A slot whose
//! generation would wrap is retired: it is never handed out again.

#![forbid(unsafe_code)]

use core::cell::Cell;
use core::mem::offset_of;

/// Slots that get memory at a time.
pub const CHUNK: usize = 1024;
/// Requests that can be live in one worker. A power of two: readers in Lua mask with it.
pub const MAX_LIVE: usize = 4194304;

/// Names one occupant of one slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle {
    /// Slot number.
    pub id: u32,
    /// Generation of the occupant, always odd.
    pub generation: u32,
}

impl Handle {
    /// The handle as Lua's cdata lays it out: id in the low half, generation in the high.
    pub const fn from_bits(bits: u64) -> Self {
        Handle {
            id: bits as u32,
            generation: (bits >> 32) as u32,
        }
    }

    /// The same 64 bits.
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.id as u64
    }
}

/// Offsets of members of a [`Slot`], in bytes.
pub struct SlotOffsets {
    /// `uint32_t`
    pub generation: usize,
    /// An address.
    pub readable: usize,
    /// An address.
    pub connection: usize,
    /// An address.
    pub request: usize,
    /// `uint32_t`
    pub flags: usize,
    /// `int32_t`
    pub ctx_ref: usize,
    /// `uint32_t`
    pub ctx_vm: usize,
    /// `uint32_t`
    pub ended: usize,
}

/// Offsets of members of [`Slots`], in bytes; all but the first are `uint32_t`.
pub struct SlotsOffsets {
    /// An address and a number.
    pub all: usize,
    /// Slots ever handed out.
    pub used: usize,
    /// Occupied ones.
    pub live: usize,
    /// Those given up.
    pub retired: usize,
}

/// What the registry knows of a live request.
pub struct Slot {
    generation: Cell<u32>,
    id: Cell<u32>,
    /// Address of the request, if it has variables that may be read directly; else 0.
    readable: Cell<usize>,
    /// Address of the request's connection when it was registered.
    connection: Cell<usize>,
    /// Address of the request; 0 while the slot is free.
    request: Cell<usize>,
    /// [`Slot::FROM_ERROR_PAGE`] and the other flags.
    flags: Cell<u32>,
    /// Next slot in an index chain, or in the free list; number + 1, 0 ends it.
    link: Cell<u32>,
    /// `registry.ngx_lua_ctx_tables[ctx_ref]` is the request's `ngx.ctx`; below 1: none.
    ctx_ref: Cell<i32>,
    /// The Lua VM whose registry `ctx_ref` belongs to.
    ctx_vm: Cell<u32>,
    /// Address of what `error_page.rs` keeps of the request as it was; 0: nothing.
    original: Cell<usize>,
    /// When the last occupant ended, in milliseconds of a clock that wraps.
    ended: Cell<u32>,
}

/// How long ago the request of a handle ended, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// So long.
    Ago(u32),
    /// Longer: a later occupant of its slot ended then.
    Before(u32),
    /// The handle names no request that ever was.
    Never,
}

impl Slot {
    /// The request reached where it is by an `error_page` redirect.
    pub const FROM_ERROR_PAGE: u32 = 1;
    /// An `error_page` value was evaluated; [`Slot::hook_changes`] says when.
    pub const HOOKED: u32 = 1 << 1;
    /// It got its `ngx.ctx` back after an `error_page`.
    pub const RESTORED_ERROR_PAGE: u32 = 1 << 2;
    /// Or after another internal redirect.
    pub const RESTORED_OTHER: u32 = 1 << 3;
    /// Where [`Slot::hook_changes`] keeps its four bits.
    pub const HOOK_SHIFT: u32 = 8;
    /// Where [`Slot::refused`] has its 16 bits.
    const REFUSED_SHIFT: u32 = 16;

    /// Where readers in Lua, and debuggers, find the members that they need.
    pub const OFFSETS: SlotOffsets = SlotOffsets {
        generation: offset_of!(Slot, generation),
        readable: offset_of!(Slot, readable),
        connection: offset_of!(Slot, connection),
        request: offset_of!(Slot, request),
        flags: offset_of!(Slot, flags),
        ctx_ref: offset_of!(Slot, ctx_ref),
        ctx_vm: offset_of!(Slot, ctx_vm),
        ended: offset_of!(Slot, ended),
    };

    /// A free slot. All its bytes are zero, so zeroed memory is a free slot.
    pub const fn new() -> Self {
        Slot {
            generation: Cell::new(0),
            id: Cell::new(0),
            readable: Cell::new(0),
            connection: Cell::new(0),
            request: Cell::new(0),
            flags: Cell::new(0),
            link: Cell::new(0),
            ctx_ref: Cell::new(0),
            ctx_vm: Cell::new(0),
            original: Cell::new(0),
            ended: Cell::new(0),
        }
    }

    /// The handle of the present occupant.
    pub fn handle(&self) -> Handle {
        Handle {
            id: self.id.get(),
            generation: self.generation.get(),
        }
    }

    /// Whether it is at the generation of `handle`, occupied or not.
    #[inline(always)]
    fn is_of(&self, handle: Handle) -> bool {
        self.generation.get() == handle.generation
    }

    /// Number of the slot.
    pub fn id(&self) -> u32 {
        self.id.get()
    }

    /// Address of the request, 0 when the slot is free.
    pub fn request(&self) -> usize {
        self.request.get()
    }

    /// Address of the connection the request was registered with.
    pub fn connection(&self) -> usize {
        self.connection.get()
    }

    /// Lets readers in Lua read the request without asking the module: it has
    /// variables, and its layout is known.
    pub fn allow_direct(&self) {
        self.readable.set(self.request.get());
    }

    /// Address of the request if it may be read directly, else 0.
    #[inline(always)]
    pub fn readable(&self) -> usize {
        self.readable.get()
    }

    /// Whether every bit of `flag` is set.
    pub fn has(&self, flag: u32) -> bool {
        self.flags.get() & flag == flag
    }

    /// Sets the bits of `flag`.
    pub fn raise(&self, flag: u32) {
        self.flags.set(self.flags.get() | flag);
    }

    /// Notes that an `error_page` value was evaluated at this `r->uri_changes`.
    pub fn set_hooked(&self, uri_changes: u32) {
        let others = self.flags.get() & !(0xf << Self::HOOK_SHIFT);
        self.flags
            .set(others | Self::HOOKED | (uri_changes & 0xf) << Self::HOOK_SHIFT);
    }

    /// `r->uri_changes` when an `error_page` value was last evaluated.
    pub fn hook_changes(&self) -> Option<u32> {
        self.has(Self::HOOKED)
            .then(|| self.flags.get() >> Self::HOOK_SHIFT & 0xf)
    }

    /// Counts what was refused while this request was running, up to 65535.
    pub fn count_refused(&self) {
        if self.refused() < 0xffff {
            self.flags
                .set(self.flags.get().wrapping_add(1 << Self::REFUSED_SHIFT));
        }
    }

    /// How often something was refused while this request was running.
    pub fn refused(&self) -> u32 {
        self.flags.get() >> Self::REFUSED_SHIFT
    }

    /// The stashed `ngx.ctx`: its reference and the VM it belongs to.
    pub fn ctx(&self) -> Option<(i32, u32)> {
        let reference = self.ctx_ref.get();
        (reference > 0).then(|| (reference, self.ctx_vm.get()))
    }

    /// Stashes a reference to the request's `ngx.ctx`.
    pub fn set_ctx(&self, reference: i32, vm: u32) {
        self.ctx_ref.set(reference);
        self.ctx_vm.set(vm);
    }

    /// Address of what is kept of the request as it was before the first error page; 0:
    /// nothing.
    pub fn original(&self) -> usize {
        self.original.get()
    }

    /// Notes it. It has to stay there as long as the request.
    pub fn set_original(&self, address: usize) {
        self.original.set(address);
    }

    /// Notes when the occupant ends, which is now.
    pub fn set_ended(&self, now: u32) {
        self.ended.set(now);
    }

    /// The next slot of the chain this one is in, as number + 1; 0 ends the chain.
    pub fn link(&self) -> u32 {
        self.link.get()
    }

    /// Chains the slot to another, given as number + 1.
    pub fn set_link(&self, link: u32) {
        self.link.set(link);
    }

    /// Makes the slot's present occupant its last, or the next one when it is free.
    #[cfg(any(test, feature = "testing"))]
    pub fn age(&self) {
        let occupied = self.generation.get() & 1;
        self.generation.set((u32::MAX - 1) | occupied);
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self::new()
    }
}

/// The slots of one worker.
pub struct Slots {
    /// All that there can be, one after another; where they do not have memory of their own
    /// yet they read as free.
    all: Cell<&'static [Slot]>,
    /// How many of them may be written to.
    writable: Cell<u32>,
    /// Slots ever handed out; those below were used at least once.
    used: Cell<u32>,
    /// Head of the free list, number + 1; 0 when it is empty.
    free: Cell<u32>,
    live: Cell<u32>,
    retired: Cell<u32>,
}

impl Slots {
    /// Where debuggers find the members that they need.
    pub const OFFSETS: SlotsOffsets = SlotsOffsets {
        all: offset_of!(Slots, all),
        used: offset_of!(Slots, used),
        live: offset_of!(Slots, live),
        retired: offset_of!(Slots, retired),
    };

    /// None yet.
    pub const fn new() -> Self {
        Slots {
            all: Cell::new(&[]),
            writable: Cell::new(0),
            used: Cell::new(0),
            free: Cell::new(0),
            live: Cell::new(0),
            retired: Cell::new(0),
        }
    }

    /// Says where the slots are, all of them free. To be called once.
    pub fn place(&self, all: &'static [Slot]) {
        self.all.set(all);
    }

    /// All slots that there can be.
    #[inline(always)]
    pub fn all(&self) -> &'static [Slot] {
        self.all.get()
    }

    /// Occupied slots.
    pub fn live(&self) -> u32 {
        self.live.get()
    }

    /// Slots given up because their generation ran out.
    pub fn retired(&self) -> u32 {
        self.retired.get()
    }

    /// Slots that have memory.
    pub fn capacity(&self) -> usize {
        self.writable.get() as usize
    }

    /// The slot of this number, occupied or not; `None` beyond the last that there can be.
    #[inline(always)]
    pub fn by_id(&self, id: u32) -> Option<&'static Slot> {
        self.all().get(id as usize)
    }

    /// The slot whose present occupant is the one that `handle` names.
    pub fn get(&self, handle: Handle) -> Option<&'static Slot> {
        let slot = self.by_id(handle.id)?;
        // Even generations are free slots, so a forged even one must not match.
        (slot.is_of(handle) && handle.generation & 1 == 1).then_some(slot)
    }

    /// The same, if the request may be read directly.
    #[inline(always)]
    pub fn readable(&self, handle: Handle) -> Option<&'static Slot> {
        let slot = self.by_id(handle.id)?;
        // A free slot has no request to read, so that a forged even generation gets none.
        (slot.is_of(handle) && slot.readable.get() != 0).then_some(slot)
    }

    /// How long ago the request that `handle` named ended.
    pub fn ended(&self, handle: Handle, now: u32) -> Ended {
        let Some(slot) = self.by_id(handle.id) else {
            return Ended::Never;
        };
        let generation = slot.generation.get();
        let ago = now.wrapping_sub(slot.ended.get());
        // A generation more for the end of each occupant, and one for the next.
        match generation.wrapping_sub(handle.generation) {
            _ if handle.generation & 1 == 0 || handle.generation >= generation => Ended::Never,
            1 | 2 => Ended::Ago(ago),
            _ => Ended::Before(ago),
        }
    }

    /// Occupies a slot for the request at `request`.
    ///
    /// `more` makes slots writable that are not yet, a [`CHUNK`] of them; false without
    /// memory. `None` then, and when a request is live in every slot.
    pub fn acquire(
        &self,
        request: usize,
        connection: usize,
        more: impl FnOnce(&'static [Slot]) -> bool,
    ) -> Option<&'static Slot> {
        let slot = match self.by_id(self.free.get().wrapping_sub(1)) {
            Some(slot) if self.free.get() != 0 => {
                self.free.set(slot.link.get());
                slot
            }
            _ => self.fresh(more)?,
        };
        slot.generation.set(slot.generation.get().wrapping_add(1));
        // All else was cleared by `release`, or never set.
        slot.request.set(request);
        slot.connection.set(connection);
        slot.link.set(0);
        self.live.set(self.live.get().wrapping_add(1));
        Some(slot)
    }

    /// The lowest slot that was never occupied.
    fn fresh(&self, more: impl FnOnce(&'static [Slot]) -> bool) -> Option<&'static Slot> {
        let id = self.used.get();
        if id == self.writable.get() {
            let (chunk, _) = self.all().get(id as usize..)?.split_at_checked(CHUNK)?;
            if !more(chunk) {
                return None;
            }
            self.writable.set(id.saturating_add(CHUNK as u32));
        }
        let slot = self.by_id(id)?;
        slot.id.set(id);
        self.used.set(id.wrapping_add(1));
        Some(slot)
    }

    /// Frees the slot that `handle` names; false when it names none.
    pub fn release(&self, handle: Handle) -> bool {
        let Some(slot) = self.get(handle) else {
            return false;
        };
        slot.readable.set(0);
        slot.request.set(0);
        slot.connection.set(0);
        slot.flags.set(0);
        slot.original.set(0);
        slot.set_ctx(0, 0);
        self.live.set(self.live.get().wrapping_sub(1));
        match slot.generation.get().checked_add(1) {
            Some(next) => {
                slot.generation.set(next);
                slot.link.set(self.free.get());
                self.free.set(slot.id.get().wrapping_add(1));
            }
            None => {
                slot.generation.set(0);
                slot.link.set(0);
                self.retired.set(self.retired.get().wrapping_add(1));
            }
        }
        true
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self::new()
    }
}
