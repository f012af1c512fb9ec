// SPDX-License-Identifier: GPL-2.0

//! What the device says about its zones, Virtio 1.3, section 5.2.6.

use super::{
    command::Command,
    VirtioBlk, //
};
use kernel::{
    bindings,
    block::{
        LiveDisk,
        Sectors,
        Zone,
        ZoneReport,
        ZoneState, //
    },
    prelude::*, //
};

/// How much is asked for at a time, in bytes.
const REPORT_LEN: u32 = 4096;

/// What a report starts with: a number, and nothing else.
const HEADER_LEN: usize = 64;

const DESCRIPTOR_LEN: usize = 64;

/// Asks the device for zones.
pub(super) fn report(disk: &LiveDisk<'_, VirtioBlk>, report: &mut ZoneReport<'_>) -> Result {
    let modern = disk.data().version_1();
    let number = |bytes: &[u8]| match bytes.first_chunk() {
        Some(bytes) if modern => u64::from_le_bytes(*bytes),
        Some(bytes) => u64::from_ne_bytes(*bytes),
        None => 0,
    };
    let reply = disk.read_by_driver(REPORT_LEN, |data| {
        *data.header_mut() = Command::ZoneReport.header(0, report.next(), modern);
    })?;
    let (header, descriptors) = reply.split_at_checked(HEADER_LEN).ok_or(EIO)?;
    // What the device did not write is zero, and no zone.
    let count = usize::try_from(number(header)).unwrap_or(usize::MAX);
    for bytes in descriptors.chunks_exact(DESCRIPTOR_LEN).take(count) {
        if report.is_full() {
            break;
        }
        let (kind, state) = (bytes[24], bytes[25]);
        let Some(state) = state_of(kind, state) else {
            dev_err!(
                disk.parent().as_ref(),
                "no zone is of type {kind} in state {state}\n"
            );
            return Err(EIO);
        };
        report.push(&Zone {
            capacity: Sectors(number(bytes)),
            start: Sectors(number(&bytes[8..])),
            write_pointer: Sectors(number(&bytes[16..])),
            state,
        })?;
    }
    Ok(())
}

/// Zones that should be written in order, but need not be, are not known to the block layer.
fn state_of(kind: u8, state: u8) -> Option<ZoneState> {
    Some(match (u32::from(kind), u32::from(state)) {
        (bindings::VIRTIO_BLK_ZT_CONV, bindings::VIRTIO_BLK_ZS_NOT_WP) => ZoneState::Conventional,
        (bindings::VIRTIO_BLK_ZT_SWR, state) => match state {
            bindings::VIRTIO_BLK_ZS_EMPTY => ZoneState::Empty,
            bindings::VIRTIO_BLK_ZS_IOPEN => ZoneState::ImplicitlyOpen,
            bindings::VIRTIO_BLK_ZS_EOPEN => ZoneState::ExplicitlyOpen,
            bindings::VIRTIO_BLK_ZS_CLOSED => ZoneState::Closed,
            bindings::VIRTIO_BLK_ZS_RDONLY => ZoneState::ReadOnly,
            bindings::VIRTIO_BLK_ZS_FULL => ZoneState::Full,
            bindings::VIRTIO_BLK_ZS_OFFLINE => ZoneState::Offline,
            _ => return None,
        },
        _ => return None,
    })
}
