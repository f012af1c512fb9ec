// SPDX-License-Identifier: GPL-2.0

//! Names of disks.

use crate::{
    bindings,
    new_mutex,
    prelude::*,
    sync::{
        Mutex,
        SetOnce, //
    }, //
};
use core::ptr::null;

pub(super) type Name = [c_char; bindings::DISK_NAME_LEN as usize];

/// Names that were chosen, of disks that are being added. Made when it is needed first.
fn names() -> Result<&'static Mutex<KVec<Name>>> {
    static NAMES: SetOnce<Pin<KBox<Mutex<KVec<Name>>>>> = SetOnce::new();

    loop {
        if let Some(names) = NAMES.as_ref() {
            return Ok(names);
        }
        // Somebody else may be faster.
        NAMES.populate(KBox::pin_init(
            new_mutex!(KVec::new(), "block_names"),
            GFP_KERNEL,
        )?);
    }
}

/// A name that no disk has, nor any other disk that is being added, as long as this exists.
pub(super) struct ChosenName(Name);

impl ChosenName {
    /// The first one that is free: `prefix` and letters.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EINVAL` if it would be too long.
    pub(super) fn new(prefix: &CStr) -> Result<Self> {
        let mut chosen = names()?.lock();
        let mut name: Name = [0; bindings::DISK_NAME_LEN as usize];
        for index in 0.. {
            write_name(&mut name, prefix.to_bytes(), index)?;
            if !chosen.contains(&name) && !is_taken(&name) {
                break;
            }
        }
        chosen.push(name, GFP_KERNEL)?;
        Ok(Self(name))
    }

    pub(super) fn get(&self) -> &Name {
        &self.0
    }
}

impl Drop for ChosenName {
    fn drop(&mut self) {
        if let Ok(names) = names() {
            names.lock().retain(|other| *other != self.0);
        }
    }
}

/// Whether there is a disk, or a partition, of this name.
fn is_taken(name: &Name) -> bool {
    // SAFETY: The name ends with a NUL; the class is one.
    let found = unsafe {
        bindings::class_find_device(
            &raw const bindings::block_class,
            null(),
            name.as_ptr().cast(),
            Some(bindings::device_match_name),
        )
    };
    // SAFETY: We got a reference to it, if there is one.
    unsafe { bindings::put_device(found) };
    !found.is_null()
}

/// `prefix` and letters: a to z, aa to zz, and so on.
fn write_name(name: &mut Name, prefix: &[u8], index: usize) -> Result {
    let mut letters = [0_u8; 8];
    let mut start = letters.len();
    let mut left = index + 1;
    while left > 0 {
        start = start.checked_sub(1).ok_or(EINVAL)?;
        // CAST: It is less than 26.
        letters[start] = b'a' + ((left - 1) % 26) as u8;
        left = (left - 1) / 26;
    }
    let parts = [prefix, &letters[start..], &[0]];
    let mut slots = name.iter_mut();
    for byte in parts.into_iter().flatten() {
        *slots.next().ok_or(EINVAL)? = *byte as c_char;
    }
    Ok(())
}
