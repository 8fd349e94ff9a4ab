//! Variables: their definitions, and `ngx_http_variable_value_t`.

use core::mem::offset_of;
use core::ptr;

use ngx::ffi::{
    self, NGX_HTTP_VAR_CHANGEABLE, NGX_HTTP_VAR_INDEXED, NGX_HTTP_VAR_NOCACHEABLE, ngx_hash_elt_t,
    ngx_http_variable_t,
};

use super::array::Elements;
use super::string::bytes;
use super::{
    Foreign, GetHandler, ngx_http_core_main_conf_t, ngx_http_variable_value_t, ngx_str_t, shim,
};

/// `ngx_http_variable_value_t`, whose flags and length share one word.
///
/// bindgen's accessors go through that word bit by bit, at each variable read.
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
    const LEN: u32 = (1 << 28) - 1;
    const VALID: u32 = 1 << 28;
    const NO_CACHEABLE: u32 = 1 << 29;
    const NOT_FOUND: u32 = 1 << 30;

    /// A value that nothing has filled in yet.
    pub(crate) const EMPTY: Self = VarValue {
        word: 0,
        data: ptr::null_mut(),
    };

    /// The value that there is none.
    pub(crate) const NOT_THERE: Self = VarValue {
        word: Self::NOT_FOUND,
        data: ptr::null_mut(),
    };

    /// A valid value. The bytes have to live as long as who it is given to keeps it.
    pub(crate) fn found(text: &[u8]) -> Self {
        VarValue {
            word: text.len() as u32 & Self::LEN | Self::VALID,
            data: text.as_ptr().cast_mut(),
        }
    }

    /// The same, no-cacheable: nginx asks the handler again.
    pub(crate) fn no_cacheable(self) -> Self {
        VarValue {
            word: self.word | Self::NO_CACHEABLE,
            ..self
        }
    }

    /// An empty text whose address is null, as that of a string that was never set.
    pub(crate) const NULL: Self = VarValue {
        word: Self::VALID,
        data: ptr::null_mut(),
    };

    /// Whether nginx takes this value instead of asking the handler
    /// (`ngx_http_get_flushed_variable`).
    #[inline]
    pub(crate) fn is_cached(&self) -> bool {
        self.word & (Self::VALID | Self::NOT_FOUND) != 0 && self.word & Self::NO_CACHEABLE == 0
    }

    /// The text; `None` when the variable is not found.
    ///
    /// # Safety
    /// The value was filled by a handler or by nginx, and its text lives during `'a`.
    #[inline]
    pub(crate) unsafe fn text<'a>(&self) -> Option<&'a [u8]> {
        if self.word & Self::NOT_FOUND != 0 {
            return None;
        }
        let text = ngx_str_t {
            len: (self.word & Self::LEN) as usize,
            data: self.data,
        };
        // SAFETY: by the contract above, a text that a handler or nginx gave.
        Some(unsafe { bytes(text) })
    }

    /// Whether the C compiler lays the word out like this.
    pub(crate) fn layout_agrees() -> bool {
        // SAFETY: a C function of numbers.
        let theirs = unsafe { shim::lua_var_value_word(5, 1, 0, 1) };
        theirs == 5 | Self::VALID | Self::NOT_FOUND
    }
}

/// Fills the value that nginx passes to a get handler: `text`, no-cacheable.
///
/// # Safety
/// `v` is null or the value that nginx passed; `text` lives as long as the request.
pub(crate) unsafe fn fill(v: *mut ngx_http_variable_value_t, text: &[u8]) {
    // SAFETY: by the caller's word; both types have one layout, see above.
    if let Some(v) = unsafe { v.cast::<VarValue>().as_mut() } {
        *v = VarValue::found(text).no_cacheable();
    }
}

/// A get handler and the data that nginx calls it with.
#[derive(Clone, Copy)]
pub(crate) struct Getter {
    handler: Option<GetHandler>,
    data: usize,
}

impl PartialEq for Getter {
    fn eq(&self, other: &Self) -> bool {
        self.is_same_handler(*other) && self.data == other.data
    }
}

impl Getter {
    /// Of a variable that has none.
    pub(crate) const NONE: Self = Getter {
        handler: None,
        data: 0,
    };

    /// What nginx calls.
    pub(super) fn parts(self) -> Option<(GetHandler, usize)> {
        Some((self.handler?, self.data))
    }

    /// The handler's data: of some handlers, the offset in the request of what they show.
    pub(crate) fn data(self) -> usize {
        self.data
    }

    /// The handler of a prefix, for a name that begins with it.
    ///
    /// # Safety
    /// `name` must stay where it is for as long as the result is used.
    pub(crate) unsafe fn of_prefixed(self, name: &ngx_str_t) -> Self {
        Getter {
            data: ptr::from_ref(name) as usize,
            ..self
        }
    }

    /// Whether both are the same function, whatever they are called with.
    pub(crate) fn is_same_handler(self, other: Self) -> bool {
        let address = |getter: Self| getter.handler.map(|handler| handler as usize);
        address(self) == address(other)
    }
}

/// A variable of a configuration, which lives as long as that.
#[derive(Clone, Copy)]
pub(crate) struct Variable<'a>(&'a ngx_http_variable_t);

impl<'a> Variable<'a> {
    /// The name, in lower case.
    pub(crate) fn name(self) -> &'a [u8] {
        // SAFETY: nginx keeps the name for as long as the variable.
        unsafe { bytes(self.0.name) }
    }

    pub(crate) fn getter(self) -> Getter {
        Getter {
            handler: self.0.get_handler,
            data: self.0.data,
        }
    }

    fn has_flag(self, flag: u32) -> bool {
        self.0.flags & flag as usize != 0
    }

    /// Its place in `r->variables`, if the configuration uses it by index.
    pub(crate) fn index(self) -> Option<u32> {
        self.has_flag(NGX_HTTP_VAR_INDEXED)
            .then_some(self.0.index as u32)
    }

    /// Whether nginx may keep its first value.
    pub(crate) fn is_cacheable(self) -> bool {
        !self.has_flag(NGX_HTTP_VAR_NOCACHEABLE)
    }

    pub(crate) fn is_changeable(self) -> bool {
        self.has_flag(NGX_HTTP_VAR_CHANGEABLE)
    }

    pub(crate) fn has_set_handler(self) -> bool {
        self.0.set_handler.is_some()
    }

    /// nginx's own view of it.
    pub(super) fn raw(self) -> &'a ngx_http_variable_t {
        self.0
    }

    /// # Safety
    /// `variable` is null or a variable that lives during `'a`.
    pub(super) unsafe fn from_raw(variable: *const ngx_http_variable_t) -> Option<Self> {
        // SAFETY: null, or a variable that lives during `'a`, by the contract above.
        unsafe { variable.as_ref() }.map(Variable)
    }
}

/// The variables that stand for all names with a prefix.
pub(crate) fn prefixes(
    cmcf: &ngx_http_core_main_conf_t,
) -> Result<impl Iterator<Item = Variable<'_>>, Foreign> {
    // SAFETY: an array of variables, complete once the configuration has been read, and
    // extended before only by nginx, which does not run meanwhile.
    let prefixes = unsafe { Elements::of(&raw const cmcf.prefix_variables) }?;
    Ok(prefixes.read().map(Variable))
}

/// The variables that are defined so far, while the configuration is read: nginx has
/// not made its hash of them yet.
pub(crate) fn defined(
    cmcf: &ngx_http_core_main_conf_t,
) -> Result<impl Iterator<Item = Variable<'_>>, Foreign> {
    // SAFETY: nginx makes the list in preconfiguration and drops it after
    // postconfiguration; null at other times.
    let keys = unsafe { cmcf.variables_keys.as_ref() }.ok_or(Foreign)?;
    // SAFETY: an array of keys, which nginx extends, but not meanwhile.
    let keys = unsafe { Elements::<ffi::ngx_hash_key_t>::of(&raw const keys.keys) }?;
    // SAFETY: the values of this list are variables, which live as long as `cmcf`.
    Ok(keys
        .read()
        .filter_map(|key| unsafe { Variable::from_raw(key.value.cast()) }))
}

/// The variables that the configuration uses by index.
pub(crate) fn indexed(
    cmcf: &ngx_http_core_main_conf_t,
) -> Result<impl Iterator<Item = Variable<'_>>, Foreign> {
    // SAFETY: an array of variables, complete once the configuration has been read.
    let variables = unsafe { Elements::of(&raw const cmcf.variables) }?;
    Ok(variables.read().map(Variable))
}

/// Calls `each` with the variables in the hash that nginx makes of a complete configuration.
pub(crate) fn each_in_hash<'a>(
    cmcf: &'a ngx_http_core_main_conf_t,
    mut each: impl FnMut(Variable<'a>),
) {
    let hash = &cmcf.variables_hash;
    for bucket in 0..hash.size {
        // SAFETY: `ngx_hash_init` made `size` buckets.
        let bucket = unsafe { hash.buckets.add(bucket) };
        // SAFETY: one of the `size` buckets, which holds a pointer.
        let mut element = unsafe { *bucket };
        if element.is_null() {
            continue;
        }
        loop {
            // SAFETY: a bucket is a run of elements that ends at one without a value.
            let &ngx_hash_elt_t { value, len, .. } = unsafe { &*element };
            // SAFETY: the values of this hash are variables, which live with the cycle.
            let Some(variable) = (unsafe { Variable::from_raw(value.cast()) }) else {
                break;
            };
            each(variable);
            // `ngx_hash_find`: the next element begins pointer-aligned after the name.
            let size = offset_of!(ngx_hash_elt_t, name)
                .wrapping_add(usize::from(len))
                .next_multiple_of(size_of::<usize>());
            // SAFETY: as above, there is another element.
            element = unsafe { element.byte_add(size) };
        }
    }
}
