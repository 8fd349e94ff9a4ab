//! nginx's variables: their values (`ngx_http_variable_value_t`), their definitions
//! (`ngx_http_variable_t`), and iterators over the variables of a configuration.

use core::mem::offset_of;
use core::ptr;

use ngx::ffi::{
    self, NGX_HTTP_VAR_CHANGEABLE, NGX_HTTP_VAR_INDEXED, NGX_HTTP_VAR_NOCACHEABLE,
    ngx_http_variable_t,
};

use super::array::Elements;
use super::request::Request;
use super::string::bytes;
use super::{
    ERROR, Foreign, OK, ngx_http_core_main_conf_t, ngx_http_request_t, ngx_http_variable_value_t,
    ngx_int_t, ngx_str_t, shim,
};

/// `ngx_http_variable_value_t`, in which the length and the flags are bitfields of one word.
///
/// This type accesses the word as a whole, because bindgen's accessors read and write each
/// bit by itself, which is slow. [`VarValue::layout_agrees`] checks the order of the bits.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct VarValue {
    word: u32,
    data: *mut u8,
}

const _: () = assert!(size_of::<VarValue>() == size_of::<ngx_http_variable_value_t>());
const _: () =
    assert!(offset_of!(VarValue, data) == core::mem::offset_of!(ngx_http_variable_value_t, data));

impl VarValue {
    // The bits of the word: the length, and above it the flags.
    const LEN: u32 = (1 << 28) - 1;
    const VALID: u32 = 1 << 28;
    const NO_CACHEABLE: u32 = 1 << 29;
    const NOT_FOUND: u32 = 1 << 30;

    /// A value that is not set: neither valid nor not found.
    pub(crate) const EMPTY: Self = VarValue { word: 0, data: ptr::null_mut() };

    pub(crate) const NOT_THERE: Self = VarValue { word: Self::NOT_FOUND, data: ptr::null_mut() };

    /// A valid value. The text must live as long as the request, if nginx stores the value.
    pub(crate) fn found(text: &[u8]) -> Self {
        VarValue {
            word: text.len() as u32 & Self::LEN | Self::VALID,
            data: text.as_ptr().cast_mut(),
        }
    }

    /// The value with the flag `no_cacheable`, so that nginx calls the handler at each read.
    pub(crate) fn no_cacheable(self) -> Self {
        VarValue { word: self.word | Self::NO_CACHEABLE, ..self }
    }

    /// A valid, empty value whose `data` is null.
    pub(crate) const NULL: Self = VarValue { word: Self::VALID, data: ptr::null_mut() };

    /// Whether nginx takes this value instead of calling the handler
    /// (`ngx_http_get_flushed_variable`).
    #[inline]
    pub(crate) fn is_cached(&self) -> bool {
        self.word & (Self::VALID | Self::NOT_FOUND) != 0 && self.word & Self::NO_CACHEABLE == 0
    }

    pub(super) fn is_missing(&self) -> bool {
        self.word & Self::NOT_FOUND != 0
    }

    /// The text; `None` if the variable is not found.
    ///
    /// # Safety
    /// A handler or nginx must have filled the value, and its text must live during `'a`.
    #[inline]
    pub(crate) unsafe fn text<'a>(&self) -> Option<&'a [u8]> {
        if self.is_missing() {
            return None;
        }
        let text = ngx_str_t { len: (self.word & Self::LEN) as usize, data: self.data };
        // SAFETY: `data` is valid for `len` bytes during `'a`, by the contract above.
        Some(unsafe { bytes(text) })
    }

    /// Whether the C compiler puts the length and the flags at the bits that this type uses.
    pub(crate) fn layout_agrees() -> bool {
        // SAFETY: the function takes and returns only numbers.
        let theirs = unsafe { shim::lua_var_value_word(5, 1, 0, 1) };
        theirs == 5 | Self::VALID | Self::NOT_FOUND
    }
}

/// Variables that the module defines. They are no-cacheable, and may be read in any phase.
pub(crate) trait Defined {
    /// Whether `set` and Lua may assign one.
    const IS_CHANGEABLE: bool = false;

    /// The value in a request; `None` if there is no memory. `which` tells these variables apart.
    fn value<'a>(r: Request<'a>, which: usize) -> Option<&'a [u8]>;

    /// Assigns a text, or unsets the variable.
    fn assign<'a>(_r: Request<'a>, _text: Option<&'a [u8]>) {}
}

/// The get handler of [`Defined`] variables.
///
/// # Safety
/// `r` must be a live request, and `v` a value to fill, as nginx passes them.
pub(super) unsafe extern "C" fn get<T: Defined>(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    which: usize,
) -> ngx_int_t {
    // SAFETY: it is the request that nginx evaluates the variable for.
    let Some(text) = T::value(unsafe { Request::from_nginx(r) }, which) else {
        return ERROR;
    };
    // SAFETY: it is a value to fill, whose type has the same layout.
    unsafe { v.cast::<VarValue>().write(VarValue::found(text).no_cacheable()) };
    OK
}

/// The set handler of [`Defined`] variables.
///
/// # Safety
/// `r` must be a live request, and `v` the value to assign, as nginx passes them.
pub(super) unsafe extern "C" fn set<T: Defined>(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    _which: usize,
) {
    // SAFETY: it is the request that nginx sets the variable for.
    let r = unsafe { Request::from_nginx(r) };
    // SAFETY: it is a value, whose type has the same layout.
    let value = unsafe { v.cast::<VarValue>().read() };
    // SAFETY: nginx or Lua made the text, in memory that lives as long as the request.
    T::assign(r, unsafe { value.text() });
}

/// A get handler, and the data that nginx passes to it.
#[derive(Clone, Copy)]
pub(crate) struct Getter {
    pub(super) handler: ffi::ngx_http_get_variable_pt,
    data: usize,
}

impl PartialEq for Getter {
    fn eq(&self, other: &Self) -> bool {
        self.is_same_handler(*other) && self.data == other.data
    }
}

impl Getter {
    pub(crate) const NONE: Self = Getter { handler: None, data: 0 };

    /// The handler's data. For some handlers it is the offset of a member of
    /// `ngx_http_request_t`.
    pub(crate) fn data(self) -> usize {
        self.data
    }

    pub(super) fn with_data(self, data: usize) -> Self {
        Getter { data, ..self }
    }

    /// Whether both are the same function; their data may differ.
    pub(crate) fn is_same_handler(self, other: Self) -> bool {
        let address = |getter: Self| getter.handler.map(|handler| handler as usize);
        address(self) == address(other)
    }
}

/// A variable's definition, which lives as long as its configuration.
#[derive(Clone, Copy)]
pub(crate) struct Variable<'a>(&'a ngx_http_variable_t);

impl<'a> Variable<'a> {
    /// The name, in lower case.
    pub(crate) fn name(self) -> &'a [u8] {
        // SAFETY: the name is in the configuration's pool, and lives as long as the variable.
        unsafe { bytes(self.0.name) }
    }

    /// The address of the definition, which tells it from all others of its configuration.
    pub(crate) fn as_ptr(self) -> *const ngx_http_variable_t {
        self.0
    }

    pub(crate) fn getter(self) -> Getter {
        Getter { handler: self.0.get_handler, data: self.0.data }
    }

    fn has_flag(self, flag: u32) -> bool {
        self.0.flags & flag as usize != 0
    }

    /// The index in `r->variables`, if the configuration uses the variable by index.
    pub(crate) fn index(self) -> Option<u32> {
        self.has_flag(NGX_HTTP_VAR_INDEXED).then_some(self.0.index as u32)
    }

    pub(crate) fn is_cacheable(self) -> bool {
        !self.has_flag(NGX_HTTP_VAR_NOCACHEABLE)
    }

    pub(crate) fn is_changeable(self) -> bool {
        self.has_flag(NGX_HTTP_VAR_CHANGEABLE)
    }

    pub(crate) fn has_set_handler(self) -> bool {
        self.0.set_handler.is_some()
    }

    pub(super) fn raw(self) -> &'a ngx_http_variable_t {
        self.0
    }

    /// `None` if `variable` is null.
    ///
    /// # Safety
    /// `variable` must be null or a variable that lives during `'a`.
    pub(crate) unsafe fn from_raw(variable: *const ngx_http_variable_t) -> Option<Self> {
        // SAFETY: `variable` is null or lives during `'a`, by the contract above.
        unsafe { variable.as_ref() }.map(Variable)
    }
}

/// The prefixes that the configuration defines, such as `http_`. A prefix is a variable that
/// stands for all names that begin with its name. [`Foreign`] if nginx's layout differs.
pub(crate) fn prefixes(
    cmcf: &ngx_http_core_main_conf_t,
) -> Result<impl Iterator<Item = Variable<'_>>, Foreign> {
    // SAFETY: it is an array of variables, which only nginx extends, and only while it reads a
    // directive. No caller keeps the iterator until then.
    let prefixes = unsafe { Elements::of(&raw const cmcf.prefix_variables) }?;
    Ok(prefixes.read().map(Variable))
}

/// The variables that are defined so far, while nginx reads the configuration and has not
/// built its hash yet. [`Foreign`] at other times, and if nginx's layout differs.
pub(crate) fn defined(
    cmcf: &ngx_http_core_main_conf_t,
) -> Result<impl Iterator<Item = Variable<'_>>, Foreign> {
    // SAFETY: nginx creates `variables_keys` in preconfiguration and sets it to null after
    // postconfiguration.
    let keys = unsafe { cmcf.variables_keys.as_ref() }.ok_or(Foreign)?;
    // SAFETY: it is an array of keys, which only nginx extends, when a variable is defined. No
    // caller defines one while it uses the iterator.
    let keys = unsafe { Elements::<ffi::ngx_hash_key_t>::of(&raw const keys.keys) }?;
    // SAFETY: the value of each key is a variable, which lives as long as `cmcf`.
    Ok(keys.read().filter_map(|key| unsafe { Variable::from_raw(key.value.cast()) }))
}
