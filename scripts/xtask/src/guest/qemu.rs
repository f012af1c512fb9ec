// SPDX-License-Identifier: MIT OR Apache-2.0

//! QEMU's machines and entropy devices.

use super::accel::Accel;
use super::Bootable;
use crate::command::Command;
use crate::doctor::Toolchain;
use crate::scenario::{Boot, Device, Platform};

/// The guest, its serial line not yet connected.
pub fn command(tools: &Toolchain, bootable: &Bootable, boot: &Boot, accel: &Accel) -> Command {
    let mut command = Command::new(&tools.qemu_x86)
        .args(machine(boot.platform))
        .args(processor(boot, accel))
        .args(["-m", "256M", "-nodefaults", "-no-user-config"])
        .args(["-display", "none", "-monitor", "none", "-no-reboot"])
        .arg("-kernel")
        .arg(&bootable.kernel.image)
        .arg("-initrd")
        .arg(&bootable.initramfs)
        .args(["-append", &command_line(boot)]);
    for (number, device) in boot.devices.iter().enumerate() {
        command = command.args(entropy_device(boot.platform, number, device));
    }
    command
}

fn machine(platform: Platform) -> Vec<&'static str> {
    match platform {
        Platform::QemuMmio => vec![
            "-machine",
            "microvm,acpi=off,auto-kernel-cmdline=on",
            // The devices of virtio 1.0 and later, not those of before.
            "-global",
            "virtio-mmio.force-legacy=false",
        ],
        _ => vec!["-machine", "q35"],
    }
}

fn processor(boot: &Boot, accel: &Accel) -> Vec<&'static str> {
    match accel {
        // An instruction takes a nanosecond, and nobody waits for the time to pass.
        _ if boot.counted => vec![
            "-accel",
            "tcg,thread=single",
            "-cpu",
            "qemu64",
            "-icount",
            "shift=0,sleep=off",
            "-smp",
            "1",
        ],
        Accel::Kvm => vec!["-accel", "kvm", "-cpu", "host", "-smp", "2"],
        Accel::Tcg { .. } | Accel::None => {
            vec!["-accel", "tcg,thread=multi", "-cpu", "qemu64", "-smp", "2"]
        }
    }
}

fn command_line(boot: &Boot) -> String {
    // A triple fault resets every machine, and -no-reboot makes that an end:
    // at once on a panic (panic=-1), and when the guest asks for it.
    format!(
        "console=ttyS0 panic=-1 reboot=t guest.end=restart {}",
        boot.command_line()
    )
}

fn entropy_device(platform: Platform, number: usize, device: &Device) -> Vec<String> {
    let kind = match platform {
        Platform::QemuMmio => "virtio-rng-device",
        _ => "virtio-rng-pci",
    };
    let file = device.entropy.file();
    let mut options = format!("{kind},rng=rng{number}");
    if let Some(rate) = device.rate {
        let period = rate.period.as_millis();
        options += &format!(",max-bytes={},period={period}", rate.bytes);
    }
    vec![
        "-object".into(),
        format!("rng-random,id=rng{number},filename={file}"),
        "-device".into(),
        options,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    #[test]
    fn devices_sit_on_the_bus_of_the_machine() {
        let boot = scenario::slow(Platform::Qemu);
        let pci = entropy_device(Platform::Qemu, 1, &boot.devices[1]);
        assert_eq!(pci[1], "rng-random,id=rng1,filename=/dev/urandom");
        assert_eq!(pci[3], "virtio-rng-pci,rng=rng1,max-bytes=256,period=60000");
        let boot = scenario::rng(Platform::QemuMmio);
        let mmio = entropy_device(Platform::QemuMmio, 1, &boot.devices[1]);
        assert_eq!(mmio[1], "rng-random,id=rng1,filename=/dev/zero");
        assert_eq!(mmio[3], "virtio-rng-device,rng=rng1");
    }
}
