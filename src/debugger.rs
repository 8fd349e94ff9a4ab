//! What the module tells a debugger: the gdb commands that it carries, and the addresses and
//! offsets with which they read a core dump.
//!
//! A worker of a release build that died leaves a core dump without debug information of nginx,
//! LuaJIT or this module. The compilers know where the members of structures are, so that
//! knowledge is stored here for `gdb/*.py`. Nothing of this is used while nginx runs.

use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::null;

use crate::culprits;
use crate::culprits::table::{Culprit, ENTRIES};
use crate::layout::{self, Layout};
use crate::nginx::{
    self, SIGNATURE, ngx_connection_t, ngx_cycle_t, ngx_http_conf_ctx_t, ngx_http_request_t,
    ngx_module_t,
};
use crate::refusal::Refusal;
use crate::registry::slots::{CHUNK, MAX_LIVE, Slot, Slots};
use crate::registry::{Registry, registry};
use crate::statics::Shared;

/// The contents of the section in which gdb looks for scripts: each begins with a byte 4 and a
/// line with its name, and ends with a byte 0.
const TEXT: &str = concat!(
    "\u{4}lua_var.py\n",
    include_str!("gdb/lua_var.py"),
    "\0\u{4}lua_stack.py\n",
    include_str!("gdb/lua_stack.py"),
    "\0"
);

/// The section. rustc's `debugger_visualizer` makes one, too, but a release build drops it,
/// because nothing in a library refers to it. [`DebugInfo`] refers to this one. It is loaded
/// into memory, so that `strip` does not remove it as debug information.
#[unsafe(link_section = ".debug_gdb_scripts")]
static SCRIPTS: [u8; TEXT.len()] = match TEXT.as_bytes().first_chunk() {
    Some(text) => *text,
    None => [0; TEXT.len()],
};

/// The name and the value of a member of `LuaVarModule` in `gdb/lua_var.py`, or a text alone.
#[repr(C)]
#[derive(Clone, Copy)]
struct Fact {
    text: *const u8,
    len: usize,
    value: *const c_void,
}

impl Fact {
    const fn named(text: &'static [u8]) -> Self {
        Fact { text: text.as_ptr(), len: text.len(), value: null() }
    }
}

macro_rules! facts {
    ($type:ty: $($name:ident = $value:expr;)+) => {
        [$(Fact {
            value: $value as $type as *const c_void,
            ..Fact::named(stringify!($name).as_bytes())
        },)+]
    };
}

const NUMBERS: [Fact; 30] = facts! { usize:
    chunk = CHUNK;
    max_live = MAX_LIVE;
    slots = offset_of!(Registry, slots);
    slots_chunks = Slots::CHUNKS;
    slots_used = Slots::USED;
    slots_live = Slots::LIVE;
    slot_size = size_of::<Slot>();
    slot_generation = Slot::GENERATION;
    slot_connection = Slot::CONNECTION;
    slot_request = Slot::REQUEST;
    slot_flags = Slot::FLAGS;
    slot_ctx_ref = Slot::CTX_REF;
    slot_ctx_vm = Slot::CTX_VM;
    slot_ended = Slot::ENDED;
    from_error_page = Slot::FROM_ERROR_PAGE;
    layout_differs = Layout::Differs;
    http_signature = SIGNATURE;
    request_signature = offset_of!(ngx_http_request_t, signature);
    request_connection = offset_of!(ngx_http_request_t, connection);
    request_main = offset_of!(ngx_http_request_t, main);
    request_uri = offset_of!(ngx_http_request_t, uri);
    connection_number = offset_of!(ngx_connection_t, number);
    cycle_conf_ctx = offset_of!(ngx_cycle_t, conf_ctx);
    cycle_modules = offset_of!(ngx_cycle_t, modules);
    conf_ctx_main_conf = offset_of!(ngx_http_conf_ctx_t, main_conf);
    module_index = offset_of!(ngx_module_t, index);
    module_ctx_index = offset_of!(ngx_module_t, ctx_index);
    module_name = offset_of!(ngx_module_t, name);
    culprits = ENTRIES + 1;
    culprit_size = size_of::<Culprit>();
};

/// The sentences of refusals, in the order of their numbers.
const REASONS: [Fact; Refusal::ALL.len()] = [
    Fact::named(Refusal::ALL[0].reason()),
    Fact::named(Refusal::ALL[1].reason()),
    Fact::named(Refusal::ALL[2].reason()),
    Fact::named(Refusal::ALL[3].reason()),
    Fact::named(Refusal::ALL[4].reason()),
    Fact::named(Refusal::ALL[5].reason()),
];

/// The structure at `ngx_http_lua_var_debug`, whose members `gdb/lua_var.py` reads in this order.
///
/// Its page is part of a core dump because it has pointers, which were relocated. gdb would read
/// a page without pointers from the file, which may be of another build.
#[repr(C)]
pub(crate) struct DebugInfo {
    /// The address of this structure. A debugger with the wrong file finds another value here.
    pub(crate) own: *const Shared<DebugInfo>,
    /// `ngx_http_lua_var_module` of the same file.
    pub(crate) module: *const ngx_module_t,
    /// Everything else.
    pub(crate) facts: Facts,
}

/// The part of [`DebugInfo`] that does not depend on `lib.rs`.
#[repr(C)]
pub(crate) struct Facts {
    /// Ends with a version, to be raised when anything but the list of facts changes.
    magic: [u8; 16],
    scripts: *const u8,
    reason_count: usize,
    fact_count: usize,
    reasons: [Fact; REASONS.len()],
    numbers: [Fact; NUMBERS.len()],
    addresses: [Fact; 6],
}

/// The facts of this build.
pub(crate) const fn facts() -> Facts {
    Facts {
        magic: *b"lua_var debug 4\0",
        scripts: (&raw const SCRIPTS).cast(),
        reason_count: REASONS.len(),
        fact_count: NUMBERS.len().wrapping_add(6),
        reasons: REASONS,
        numbers: NUMBERS,
        addresses: facts! { *const c_void:
            http_module = nginx::http_module();
            cycle = nginx::cycle_address();
            registry = &raw const *registry();
            layout = layout::address();
            msec = nginx::msec_address();
            refusals = culprits::address();
        },
    }
}
