// SPDX-License-Identifier: GPL-2.0

//! Confidential computing.
//!
//! C header: [`include/linux/cc_platform.h`](srctree/include/linux/cc_platform.h).

use crate::bindings;

/// Whether this is a guest whose memory the host cannot read, but for what is shared with it.
///
/// Any context.
///
/// C: `cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT)`.
///
/// # Examples
///
/// ```
/// use kernel::cc_platform;
///
/// let how = match cc_platform::guest_memory_is_encrypted() {
///     true => "by bouncing",
///     false => "directly",
/// };
/// pr_info!("devices reach memory {how}\n");
/// ```
pub fn guest_memory_is_encrypted() -> bool {
    // SAFETY: This may be called at any time.
    unsafe { bindings::cc_platform_has(bindings::cc_attr_CC_ATTR_GUEST_MEM_ENCRYPT) }
}
