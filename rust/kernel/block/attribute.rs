// SPDX-License-Identifier: GPL-2.0

//! Attributes of disks in sysfs.

use super::{
    disk::LiveDisk,
    operations::Operations, //
};
use crate::{
    bindings,
    fmt::{
        self,
        Write, //
    },
    page::PAGE_SIZE,
    prelude::*,
    str::as_char_ptr_in_const_context, //
};
use core::ptr::{
    null,
    null_mut, //
};

/// What an attribute shows.
pub struct Page<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl Page<'_> {
    /// Adds bytes.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if they do not fit.
    pub fn push(&mut self, bytes: &[u8]) -> Result {
        let end = self.len + bytes.len();
        self.bytes
            .get_mut(self.len..end)
            .ok_or(ENOSPC)?
            .copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }
}

impl Write for Page<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.push(s.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// Writes what an attribute shows. Process context; may sleep.
pub type Show<T> = fn(&LiveDisk<'_, T>, &mut Page<'_>) -> Result;

/// Takes what was written to an attribute, without the newline. Process context; may sleep.
pub type Store<T> = fn(&LiveDisk<'_, T>, &[u8]) -> Result;

/// An attribute of a disk: a file in its directory in sysfs.
///
/// C: `struct device_attribute`.
///
/// # Invariants
///
/// `attribute` has a name, and the functions of this type.
#[repr(C)]
pub struct Attribute<T: Operations> {
    attribute: bindings::device_attribute,
    show: Show<T>,
    store: Option<Store<T>>,
}

// SAFETY: The kernel only reads it.
unsafe impl<T: Operations> Sync for Attribute<T> {}

impl<T: Operations> Attribute<T> {
    /// One that can be read.
    pub const fn new(name: &'static CStr, show: Show<T>) -> Self {
        Self::with(name, 0o444, show, None)
    }

    /// One that can be read, and written by root.
    pub const fn writable(name: &'static CStr, show: Show<T>, store: Store<T>) -> Self {
        Self::with(name, 0o644, show, Some(store))
    }

    const fn with(
        name: &'static CStr,
        mode: bindings::umode_t,
        show: Show<T>,
        store: Option<Store<T>>,
    ) -> Self {
        let mut attribute: bindings::device_attribute = pin_init::zeroed();
        attribute.attr.name = as_char_ptr_in_const_context(name);
        attribute.attr.mode = mode;
        attribute.__bindgen_anon_1.show = Some(Self::show_callback);
        attribute.__bindgen_anon_2.store = Some(Self::store_callback);
        // INVARIANT: Just set.
        Self {
            attribute,
            show,
            store,
        }
    }

    pub(super) fn as_raw(&'static self) -> *mut bindings::attribute {
        (&raw const self.attribute.attr).cast_mut()
    }

    /// # Safety
    ///
    /// The arguments are those of a callback for an attribute that a
    /// [`Registration`](super::Registration) of this type added.
    unsafe fn context<'a>(
        dev: *mut bindings::device,
        attribute: *mut bindings::device_attribute,
    ) -> (&'a Self, LiveDisk<'a, T>) {
        // SAFETY: By the requirements of this function: it is the first field. Attributes are
        // removed, and calls waited for, before the disk is not live any more.
        unsafe { (&*attribute.cast::<Self>(), LiveDisk::from_device(dev)) }
    }

    extern "C" fn show_callback(
        dev: *mut bindings::device,
        attribute: *mut bindings::device_attribute,
        page: *mut c_char,
    ) -> isize {
        // SAFETY: This is a callback for an attribute with this function.
        let (this, disk) = unsafe { Self::context(dev, attribute) };
        // SAFETY: sysfs lends a page, which was zeroed, and wants its last byte to stay so.
        let bytes = unsafe { core::slice::from_raw_parts_mut(page.cast::<u8>(), PAGE_SIZE - 1) };
        let mut page = Page { bytes, len: 0 };
        match (this.show)(&disk, &mut page) {
            // CAST: It is at most the size of a page.
            Ok(()) => page.len as isize,
            Err(e) => e.to_errno() as isize,
        }
    }

    extern "C" fn store_callback(
        dev: *mut bindings::device,
        attribute: *mut bindings::device_attribute,
        bytes: *const c_char,
        len: usize,
    ) -> isize {
        // SAFETY: This is a callback for an attribute with this function.
        let (this, disk) = unsafe { Self::context(dev, attribute) };
        // SAFETY: sysfs passes what was written.
        let bytes = unsafe { core::slice::from_raw_parts(bytes.cast::<u8>(), len) };
        let stored = match this.store {
            Some(store) => store(&disk, bytes.strip_suffix(b"\n").unwrap_or(bytes)),
            None => Err(EIO),
        };
        match stored {
            // CAST: It is at most the size of a page.
            Ok(()) => len as isize,
            Err(e) => e.to_errno() as isize,
        }
    }
}

/// The attributes of a disk, as C wants them.
pub(super) struct Attributes {
    /// What `group` points to.
    _pointers: KVec<*mut bindings::attribute>,
    group: bindings::attribute_group,
    /// What the disk points to.
    groups: [*const bindings::attribute_group; 2],
}

// SAFETY: The pointers in there are to what this object owns, or to what is constant.
unsafe impl Send for Attributes {}

// SAFETY: As above.
unsafe impl Sync for Attributes {}

impl Attributes {
    /// `count` of them, by their number.
    pub(super) fn new(
        count: usize,
        attribute: &dyn Fn(usize) -> *mut bindings::attribute,
    ) -> Result<KBox<Self>> {
        let mut pointers = KVec::with_capacity(count + 1, GFP_KERNEL)?;
        for number in 0..count {
            pointers.push(attribute(number), GFP_KERNEL)?;
        }
        pointers.push(null_mut(), GFP_KERNEL)?;

        let mut group: bindings::attribute_group = pin_init::zeroed();
        group.__bindgen_anon_2.attrs = pointers.as_mut_ptr();
        let mut attributes = KBox::new(
            Self {
                _pointers: pointers,
                group,
                groups: [null(); 2],
            },
            GFP_KERNEL,
        )?;
        attributes.groups[0] = &raw const attributes.group;
        Ok(attributes)
    }

    pub(super) fn groups(&self) -> &[*const bindings::attribute_group; 2] {
        &self.groups
    }
}
