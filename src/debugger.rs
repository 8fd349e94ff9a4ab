//! What the module tells a debugger: the gdb commands that it carries, and where these
//! find things in a release build.
//!
//! A worker that died leaves a core dump, and no debug information of nginx, of LuaJIT
//! or of this module. `gdb/*.py` reads it all the same: nginx's compiler and rustc know
//! where members are, so it is noted here. Nothing of this is used while nginx runs.

use core::cell::Cell;
use core::ffi::c_void;
use core::mem::offset_of;

use crate::mode::{self, Mode};
use crate::nginx::{
    self, SIGNATURE, ngx_connection_t, ngx_cycle_t, ngx_http_conf_ctx_t, ngx_http_request_t,
    ngx_module_t,
};
use crate::refused;
use crate::registry::slots::{MAX_LIVE, Slot, Slots};
use crate::registry::{Registry, registry};
use crate::request::Refusal;
use crate::statics::Shared;

/// Where gdb looks for scripts in a file: each begins with a 4 and a line that names it,
/// and a 0 ends it.
const TEXT: &str = concat!(
    "\u{4}lua_var.py\n",
    include_str!("gdb/lua_var.py"),
    "\0\u{4}lua_stack.py\n",
    include_str!("gdb/lua_stack.py"),
    "\0"
);

/// rustc's `debugger_visualizer` would make the same of them, but nothing refers to it in a
/// library, and a release build drops it. [`DebugInfo`] refers to this one. It is loaded
/// with the rest, so that `strip` does not take it for debug information.
#[unsafe(link_section = ".debug_gdb_scripts")]
static SCRIPTS: [u8; TEXT.len()] = match TEXT.as_bytes().first_chunk() {
    Some(text) => *text,
    None => [0; TEXT.len()],
};

/// What `gdb/lua_var.py` reads of `ngx_http_lua_var_debug`, in this order. It has pointers,
/// which are relocated, so that its page is part of a core dump. A page without them would
/// be read from the file, which may be another build.
#[repr(C)]
pub struct DebugInfo {
    /// Another number when anything of what follows changes.
    magic: [u8; 16],
    /// Where this is, so that a debugger can tell whether it has the right file.
    own: *const Shared<DebugInfo>,
    scripts: *const u8,
    module: *const ngx_module_t,
    http_module: *const ngx_module_t,
    cycle: *const *mut ngx_cycle_t,
    registry: *const Registry,
    mode: *const Cell<Mode>,
    uri_changes: *const ngx_http_request_t,
    msec: *const c_void,
    refusals: *const c_void,
    reasons: [*const u8; Refusal::ALL.len()],
    reason_lengths: [u32; Refusal::ALL.len()],
    numbers: [u32; 34],
}

impl DebugInfo {
    /// What is at `own`, in the file that has this `module`.
    pub(crate) const fn new(own: *const Shared<DebugInfo>, module: *const ngx_module_t) -> Self {
        DebugInfo {
            magic: *b"lua_var debug 1\0",
            own,
            scripts: (&raw const SCRIPTS).cast(),
            module,
            http_module: nginx::http_module(),
            cycle: nginx::cycle_address(),
            registry: registry(),
            mode: mode::address(),
            uri_changes: nginx::uri_changes_probe(),
            msec: nginx::msec_address(),
            refusals: refused::ring(),
            reasons: [
                Refusal::ALL[0].reason().as_ptr(),
                Refusal::ALL[1].reason().as_ptr(),
                Refusal::ALL[2].reason().as_ptr(),
                Refusal::ALL[3].reason().as_ptr(),
                Refusal::ALL[4].reason().as_ptr(),
            ],
            reason_lengths: [
                Refusal::ALL[0].reason().len() as u32,
                Refusal::ALL[1].reason().len() as u32,
                Refusal::ALL[2].reason().len() as u32,
                Refusal::ALL[3].reason().len() as u32,
                Refusal::ALL[4].reason().len() as u32,
            ],
            numbers: [
                MAX_LIVE as u32,
                offset_of!(Registry, slots) as u32,
                Slots::OFFSETS.all as u32,
                Slots::OFFSETS.used as u32,
                Slots::OFFSETS.live as u32,
                Slots::OFFSETS.retired as u32,
                size_of::<Slot>() as u32,
                Slot::OFFSETS.generation as u32,
                Slot::OFFSETS.connection as u32,
                Slot::OFFSETS.request as u32,
                Slot::OFFSETS.flags as u32,
                Slot::OFFSETS.ctx_ref as u32,
                Slot::OFFSETS.ctx_vm as u32,
                Slot::OFFSETS.ended as u32,
                Slot::FROM_ERROR_PAGE,
                Slot::HOOKED,
                Slot::HOOK_SHIFT,
                Mode::Handlers as u32,
                SIGNATURE,
                size_of::<ngx_http_request_t>() as u32,
                offset_of!(ngx_http_request_t, signature) as u32,
                offset_of!(ngx_http_request_t, connection) as u32,
                offset_of!(ngx_http_request_t, main) as u32,
                offset_of!(ngx_http_request_t, uri) as u32,
                offset_of!(ngx_connection_t, number) as u32,
                offset_of!(ngx_connection_t, fd) as u32,
                offset_of!(ngx_cycle_t, conf_ctx) as u32,
                offset_of!(ngx_cycle_t, modules) as u32,
                offset_of!(ngx_http_conf_ctx_t, main_conf) as u32,
                offset_of!(ngx_module_t, index) as u32,
                offset_of!(ngx_module_t, ctx_index) as u32,
                offset_of!(ngx_module_t, name) as u32,
                refused::NAME as u32,
                refused::SOURCE as u32,
            ],
        }
    }
}
