// SPDX-License-Identifier: GPL-2.0

//! Values that the device side chose.

use crate::prelude::*;

/// A value that was read from the device and has not been checked yet.
///
/// The only way to the value is [`Untrusted::validate`], or [`Untrusted::sanitize`] where nothing
/// can fail, so that there is one read and one check, and everything behind the check works on a
/// plain value. It has no `Debug` and no comparison on
/// purpose: these would be ways around the check.
///
/// # Examples
///
/// ```
/// use kernel::virtio::Untrusted;
///
/// fn block_size(raw: Untrusted<u32>) -> Result<u32> {
///     raw.validate(|v| {
///         if v.is_power_of_two() && (512..=4096).contains(&v) {
///             Ok(v)
///         } else {
///             Err(EINVAL)
///         }
///     })
/// }
///
/// assert_eq!(block_size(Untrusted::new(4096)), Ok(4096));
/// assert_eq!(block_size(Untrusted::new(513)), Err(EINVAL));
/// # Ok::<(), Error>(())
/// ```
#[must_use]
pub struct Untrusted<T>(T);

impl<T> Untrusted<T> {
    /// Marks `value` as chosen by the device side.
    #[inline]
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Gives the value to `check`, and returns what `check` makes of it.
    ///
    /// # Errors
    ///
    /// Whatever `check` returns.
    #[inline]
    pub fn validate<U, E>(self, check: impl FnOnce(T) -> Result<U, E>) -> Result<U, E> {
        check(self.0)
    }

    /// Gives the value to `check`, which can make something harmless of any value: that limits it,
    /// or notes what is wrong with it.
    #[inline]
    pub fn sanitize<U>(self, check: impl FnOnce(T) -> U) -> U {
        check(self.0)
    }
}
