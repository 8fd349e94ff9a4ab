//! The state of one worker: side table, variables, and how requests are read.
//!
//! A static, because nginx gives a variable handler, a pool cleanup or a function
//! called over FFI no other way to it. All of it is [`Cell`]s, so a handler that
//! nginx calls while another is running finds nothing borrowed.

use core::cell::Cell;
use core::ffi::c_void;

use crate::index::{HeadChunk, Index};
use crate::slots::{CHUNK, Chunk, Handle, MAX_CHUNKS, Slot, Slots};
use crate::sys::{self, Request, ngx_pool_t, ngx_str_t};
use crate::table::Table;
use crate::value;

/// How the worker reads variables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// No request has been seen yet on which to compare the layout.
    Unchecked,
    /// Straight from the request.
    Direct,
    /// Through nginx's handlers only: the module was built for another layout.
    Handlers,
}

/// The state of a worker process.
pub struct Worker {
    /// The live requests.
    pub slots: Slots,
    /// Where the slots are, one after another: slot 0's address. All of that may be
    /// read, for a slot that has no memory yet is all zeroes.
    pub slots_at: Cell<usize>,
    index: Index,
    /// The variables of the newest configuration.
    pub table: Cell<Option<&'static Table>>,
    /// How many tables there have been, so that numbers of one are not taken for another's.
    pub epoch: Cell<u16>,
    /// How variables are read.
    pub mode: Cell<Mode>,
    /// Number of the newest VM that serves one request only (`lua_code_cache off`).
    pub vms: Cell<u32>,
    /// Whether the configuration is being read, when Lua VMs are made that serve the worker.
    pub configuring: Cell<bool>,
    /// Stands for the slot of a request that no memory could be had to register.
    pub outside: Slot,
    /// The text of the variable that was written out last.
    written: Cell<[u8; value::TEXT]>,
    /// Handles refused, for the soak test's figures.
    pub refused: Cell<u64>,
    /// Contexts restored, likewise.
    pub restored: Cell<u64>,
}

// SAFETY: nginx runs a worker's requests in one thread; threads of its thread
// pools never call the module.
unsafe impl Sync for Worker {}

static WORKER: Worker = Worker {
    slots: Slots::new(),
    slots_at: Cell::new(0),
    index: Index::new(),
    table: Cell::new(None),
    epoch: Cell::new(0),
    mode: Cell::new(Mode::Unchecked),
    vms: Cell::new(0),
    configuring: Cell::new(false),
    outside: Slot::new(),
    written: Cell::new([0; value::TEXT]),
    refused: Cell::new(0),
    restored: Cell::new(0),
};

/// The state of this process.
#[inline]
pub fn worker() -> &'static Worker {
    &WORKER
}

/// The pool cleanup of every request in the table; `data` is its slot's number.
///
/// # Safety
/// Only nginx calls it, once for each successful [`Worker::register`].
unsafe extern "C" fn forget(data: *mut c_void) {
    worker().forget(data as usize as u32);
}

fn more_heads() -> Option<&'static HeadChunk> {
    // SAFETY: a `Cell<u32>` is valid when zeroed.
    unsafe { sys::zeroed_forever() }
}

impl Worker {
    /// Reserves the addresses of all slots that there can be, in the process that
    /// reads the first configuration: Lua that is loaded then knows them too. False
    /// when the process may not have so many.
    pub fn reserve(&self) -> bool {
        if self.slots_at.get() == 0 {
            self.slots_at.set(sys::reserve(Self::RESERVED));
        }
        self.slots_at.get() != 0
    }

    /// Bytes of address space for all slots.
    pub const RESERVED: usize = size_of::<Chunk>() * MAX_CHUNKS;

    /// The next chunk of slots.
    fn more_slots(&self) -> Option<&'static Chunk> {
        let chunks = self.slots.capacity() / CHUNK;
        let start = self.slots_at.get();
        if start == 0 || chunks >= MAX_CHUNKS {
            return None;
        }
        let at = start.wrapping_add(chunks.wrapping_mul(size_of::<Chunk>()));
        // SAFETY: a slot is valid when zeroed, see `Slot::new`; the place is the one
        // after the chunks that there are, within what was reserved.
        unsafe { sys::zeroed_at(at) }
    }

    /// The slot of the live request at this address, which is not dereferenced.
    #[inline]
    pub fn find(&self, address: usize) -> Option<&'static Slot> {
        self.index.find(&self.slots, address)
    }

    /// Puts a request into the table, where it stays until its pool is destroyed.
    ///
    /// Allocate, then everything that can fail, then publish: a request is in the
    /// index only if its cleanup is sure to take it out again. `None` without memory.
    pub(crate) fn register(&self, r: Request) -> Option<&'static Slot> {
        if let Some(slot) = self.find(r.address()) {
            return Some(slot);
        }
        // Where nginx has another layout, what is read as the pool may be anything. A
        // main request is the first thing in its pool (`ngx_http_alloc_request`), so
        // that is the pool if it ends where the request begins.
        if self.mode.get() == Mode::Handlers
            && r.address().wrapping_sub(r.pool() as usize) != size_of::<ngx_pool_t>()
        {
            return None;
        }
        let flags = if r.is_fake() { Slot::FAKE } else { 0 };
        let connection = r.get().connection as usize;
        let slot = self
            .slots
            .acquire(r.address(), connection, flags, || self.more_slots())?;
        let handle = slot.handle();
        if self.index.insert(&self.slots, slot, more_heads) {
            if r.on_pool_cleanup(forget, slot.id() as usize) {
                if self.mode.get() == Mode::Direct {
                    slot.allow_direct();
                }
                return Some(slot);
            }
            self.index.remove(&self.slots, slot);
        }
        self.slots.release(handle);
        None
    }

    /// A copy of a text, of at most [`value::TEXT`] bytes, that is good until the next call.
    pub fn keep_written(&self, text: &[u8]) -> ngx_str_t {
        let mut copy = [0; value::TEXT];
        for (to, from) in copy.iter_mut().zip(text) {
            *to = *from;
        }
        self.written.set(copy);
        ngx_str_t {
            len: text.len().min(copy.len()),
            data: self.written.as_ptr().cast(),
        }
    }

    /// Takes the occupant of a slot out of the table.
    pub fn forget(&self, id: u32) {
        if let Some(slot) = self.slots.by_id(id) {
            let handle: Handle = slot.handle();
            self.index.remove(&self.slots, slot);
            self.slots.release(handle);
        }
    }
}
