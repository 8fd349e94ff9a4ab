//! Generational slots: one for each request that is live in the worker.
//!
//! Even generation = free, odd = occupied. So neither zeroed memory nor a freed slot
//! matches a handle. A slot whose generation would wrap is retired, that is, never occupied
//! again.
//!
//! A [`Handle`] names one occupant of a slot; the slot's number names the slot whoever is
//! in it. Slots never move, so that Lua can read them without a call. Every field is a
//! [`Cell`], so that a handler of nginx's that re-enters the module finds nothing borrowed.

#![forbid(unsafe_code)]

use core::cell::Cell;
use core::mem::offset_of;

/// Number of slots that are made writable at a time.
pub const CHUNK: usize = 1024;
/// The most requests that can be live in one worker. A power of two, because `handles.lua`
/// checks a slot's number with a mask.
pub const MAX_LIVE: usize = 4194304;

/// The name of one occupant of one slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle {
    /// Slot number.
    pub id: u32,
    /// Generation of the occupant, always odd.
    pub generation: u32,
}

impl Handle {
    /// A handle from the 64 bits of Lua's cdata (`ngx_http_lua_var_handle_t`): the id in the
    /// low half, the generation in the high half.
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

/// Offsets of the members of a [`Slot`], in bytes, and their types in C.
pub struct SlotOffsets {
    /// `uint32_t`
    pub generation: usize,
    /// `uintptr_t`
    pub readable: usize,
    /// `uintptr_t`
    pub connection: usize,
    /// `uintptr_t`
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

/// Offsets of the members of [`Slots`], in bytes; all but `all` are `uint32_t`.
pub struct SlotsOffsets {
    /// A slice: an address and a length, in the order that the compiler chooses.
    pub all: usize,
    /// See [`Slots`].
    pub used: usize,
    /// See [`Slots`].
    pub live: usize,
    /// See [`Slots`].
    pub retired: usize,
}

/// What the registry knows of a live request. A free slot has only a generation, an id, a
/// link and `ended`.
pub struct Slot {
    /// Odd while the slot is occupied.
    generation: Cell<u32>,
    /// The slot's number; set when the slot is first occupied.
    id: Cell<u32>,
    /// Address of the request if it may be read directly, because it has variables and
    /// nginx's layout is known; else 0.
    readable: Cell<usize>,
    /// Address of the request's connection, as it was when the request was registered.
    connection: Cell<usize>,
    /// Address of the request; 0 while the slot is free.
    request: Cell<usize>,
    /// The flags, such as [`Slot::FROM_ERROR_PAGE`], and two counts at higher bits.
    flags: Cell<u32>,
    /// The next slot in a chain of the index or in the free list: its number + 1, or 0 at
    /// the end.
    link: Cell<u32>,
    /// `registry.ngx_lua_ctx_tables[ctx_ref]` is the request's `ngx.ctx`; below 1 if none is
    /// stashed.
    ctx_ref: Cell<i32>,
    /// The Lua VM whose registry has `ctx_ref`.
    ctx_vm: Cell<u32>,
    /// Address of the values that `error_page.rs` stores before the first error page, or 0.
    original: Cell<usize>,
    /// When the last occupant ended: `ngx_current_msec` modulo 2^32.
    ended: Cell<u32>,
}

/// How long ago the request of a handle ended, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Exactly this long ago.
    Ago(u32),
    /// More than this: a later occupant of the slot ended then.
    Before(u32),
    /// No request that has ended ever had this handle.
    Never,
}

impl Slot {
    /// Flag: an `error_page` redirected the request.
    pub const FROM_ERROR_PAGE: u32 = 1;
    /// Flag: an `error_page` value was evaluated, see [`Slot::hook_changes`].
    pub const HOOKED: u32 = 1 << 1;
    /// The three bits of [`Slot::outcome`] begin at this bit of the flags.
    const OUTCOME_SHIFT: u32 = 2;
    /// The four bits of [`Slot::hook_changes`] begin at this bit of the flags.
    pub const HOOK_SHIFT: u32 = 8;
    /// The 16 bits of [`Slot::refused`] begin at this bit of the flags.
    const REFUSED_SHIFT: u32 = 16;

    /// Offsets of the members that the Lua library and the gdb commands read.
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

    /// A free slot. All its bytes are zero, so zeroed memory consists of free slots.
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

    /// The handle of the current occupant.
    pub fn handle(&self) -> Handle {
        Handle {
            id: self.id.get(),
            generation: self.generation.get(),
        }
    }

    /// Whether the slot has the generation in `handle`, which may be that of a free slot.
    #[inline(always)]
    fn is_of(&self, handle: Handle) -> bool {
        self.generation.get() == handle.generation
    }

    /// The slot's number.
    pub fn id(&self) -> u32 {
        self.id.get()
    }

    /// Address of the request; 0 if the slot is free.
    pub fn request(&self) -> usize {
        self.request.get()
    }

    /// Address of the connection that the request had when it was registered.
    pub fn connection(&self) -> usize {
        self.connection.get()
    }

    /// Marks the request as one that may be read directly, also by Lua without a call. The
    /// caller has checked that it has variables and that nginx's layout is known.
    pub fn allow_direct(&self) {
        self.readable.set(self.request.get());
    }

    /// Address of the request if it may be read directly; else 0.
    #[inline(always)]
    pub fn readable(&self) -> usize {
        self.readable.get()
    }

    /// Whether all bits of `flag` are set.
    pub fn has(&self, flag: u32) -> bool {
        self.flags.get() & flag == flag
    }

    /// Sets the bits of `flag`.
    pub fn raise(&self, flag: u32) {
        self.flags.set(self.flags.get() | flag);
    }

    /// Records that an `error_page` value was evaluated while `r->uri_changes` had this value.
    pub fn set_hooked(&self, uri_changes: u32) {
        let others = self.flags.get() & !(0xf << Self::HOOK_SHIFT);
        self.flags
            .set(others | Self::HOOKED | (uri_changes & 0xf) << Self::HOOK_SHIFT);
    }

    /// The value of `r->uri_changes` when an `error_page` value was last evaluated; `None` if
    /// none was.
    pub fn hook_changes(&self) -> Option<u32> {
        self.has(Self::HOOKED)
            .then(|| self.flags.get() >> Self::HOOK_SHIFT & 0xf)
    }

    /// What became of a lost `ngx.ctx`, a number of `restore.rs`; 0 at first.
    pub fn outcome(&self) -> u32 {
        self.flags.get() >> Self::OUTCOME_SHIFT & 7
    }

    /// Sets [`Slot::outcome`], a number below 8.
    pub fn set_outcome(&self, outcome: u32) {
        let others = self.flags.get() & !(7 << Self::OUTCOME_SHIFT);
        self.flags
            .set(others | (outcome & 7) << Self::OUTCOME_SHIFT);
    }

    /// Counts a refusal while this request was running, up to 65535.
    pub fn count_refused(&self) {
        if self.refused() < 0xffff {
            self.flags
                .set(self.flags.get().wrapping_add(1 << Self::REFUSED_SHIFT));
        }
    }

    /// How many accesses were refused while this request was running.
    pub fn refused(&self) -> u32 {
        self.flags.get() >> Self::REFUSED_SHIFT
    }

    /// The stashed `ngx.ctx`: its reference and the VM that has it. `None` if none is stashed.
    pub fn ctx(&self) -> Option<(i32, u32)> {
        let reference = self.ctx_ref.get();
        (reference > 0).then(|| (reference, self.ctx_vm.get()))
    }

    /// Stashes the reference of the request's `ngx.ctx` in this VM.
    pub fn set_ctx(&self, reference: i32, vm: u32) {
        self.ctx_ref.set(reference);
        self.ctx_vm.set(vm);
    }

    /// Address of the values that were stored before the first error page; 0 if none were.
    pub fn original(&self) -> usize {
        self.original.get()
    }

    /// Sets the address of those values, which must live as long as the request.
    pub fn set_original(&self, address: usize) {
        self.original.set(address);
    }

    /// Sets the time at which the occupant ends, in milliseconds.
    pub fn set_ended(&self, now: u32) {
        self.ended.set(now);
    }

    /// The next slot in this slot's chain: its number + 1, or 0 at the end.
    pub fn link(&self) -> u32 {
        self.link.get()
    }

    /// Sets the next slot in the chain: its number + 1, or 0.
    pub fn set_link(&self, link: u32) {
        self.link.set(link);
    }

    /// Sets the generation so that the current occupant, or the next one if the slot is free,
    /// is the slot's last.
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
    /// All slots that there can be. The memory is reserved but mapped read-only at first, so
    /// that slots that were never used read as free.
    all: Cell<&'static [Slot]>,
    /// How many of `all`, from the first, are writable.
    writable: Cell<u32>,
    /// How many of `all`, from the first, were ever occupied.
    used: Cell<u32>,
    /// Head of the free list: slot number + 1, or 0 if it is empty.
    free: Cell<u32>,
    /// Occupied slots.
    live: Cell<u32>,
    /// Slots that are never occupied again.
    retired: Cell<u32>,
}

impl Slots {
    /// Offsets of the members that the gdb commands read.
    pub const OFFSETS: SlotsOffsets = SlotsOffsets {
        all: offset_of!(Slots, all),
        used: offset_of!(Slots, used),
        live: offset_of!(Slots, live),
        retired: offset_of!(Slots, retired),
    };

    /// No slots, until [`Slots::place`] is called.
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

    /// Sets the memory of the slots, which must all be free. To be called once.
    pub fn place(&self, all: &'static [Slot]) {
        self.all.set(all);
    }

    /// All slots that there can be, including those that are not writable yet.
    #[inline(always)]
    pub fn all(&self) -> &'static [Slot] {
        self.all.get()
    }

    /// Number of occupied slots.
    pub fn live(&self) -> u32 {
        self.live.get()
    }

    /// Number of slots that are never occupied again because their generations ran out.
    pub fn retired(&self) -> u32 {
        self.retired.get()
    }

    /// Number of slots that are writable.
    pub fn capacity(&self) -> usize {
        self.writable.get() as usize
    }

    /// The slot with this number, occupied or not; `None` if the number is too large.
    #[inline(always)]
    pub fn by_id(&self, id: u32) -> Option<&'static Slot> {
        self.all().get(id as usize)
    }

    /// The slot of the live request that `handle` names; `None` if that has ended or never was.
    pub fn get(&self, handle: Handle) -> Option<&'static Slot> {
        let slot = self.by_id(handle.id)?;
        // A forged handle may have the even generation of a free slot.
        (slot.is_of(handle) && handle.generation & 1 == 1).then_some(slot)
    }

    /// The slot of the live request that `handle` names, if it may be read directly.
    #[inline(always)]
    pub fn readable(&self, handle: Handle) -> Option<&'static Slot> {
        let slot = self.by_id(handle.id)?;
        // `readable` is 0 in a free slot, so a forged even generation is refused, too.
        (slot.is_of(handle) && slot.readable.get() != 0).then_some(slot)
    }

    /// How long before `now`, in milliseconds, the request that `handle` named ended.
    pub fn ended(&self, handle: Handle, now: u32) -> Ended {
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
    /// `more` has to make the next [`CHUNK`] slots writable, and returns false if there is no
    /// memory. Returns `None` then, and if all slots are occupied or retired.
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
        // The other fields were cleared by `release`, or never set.
        slot.request.set(request);
        slot.connection.set(connection);
        slot.link.set(0);
        self.live.set(self.live.get().wrapping_add(1));
        Some(slot)
    }

    /// The first slot that was never occupied; `None` as for [`Slots::acquire`].
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

    /// Frees the slot of the live request that `handle` names. Returns false if there is none.
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
