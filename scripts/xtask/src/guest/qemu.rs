// SPDX-License-Identifier: MIT OR Apache-2.0

//! QEMU's machines and entropy devices.

use std::path::Path;

use super::accel::Accel;
use super::Bootable;
use crate::command::Command;
use crate::doctor::Toolchain;
use crate::scenario::{Boot, Device, Platform};

/// The guest, its serial line not yet connected.
pub fn command(tools: &Toolchain, bootable: &Bootable, boot: &Boot, accel: &Accel) -> Command {
    let mut command = Command::new(program(tools, boot.platform))
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

fn program(tools: &Toolchain, platform: Platform) -> &Path {
    match platform.is_arm64() {
        true => &tools.arm64.qemu,
        false => &tools.qemu_x86,
    }
}

fn machine(platform: Platform) -> Vec<&'static str> {
    let machine = match platform {
        Platform::QemuMmio => "microvm,acpi=off,auto-kernel-cmdline=on",
        Platform::Arm64 | Platform::Arm64Mmio => "virt",
        _ => "q35",
    };
    let mut args = vec!["-machine", machine];
    if platform.is_mmio() {
        // The devices of virtio 1.0 and later, not those of before.
        args.extend(["-global", "virtio-mmio.force-legacy=false"]);
    }
    args
}

fn processor(boot: &Boot, accel: &Accel) -> Vec<&'static str> {
    let model = match boot.platform.is_arm64() {
        true => "cortex-a57",
        false => "qemu64",
    };
    match accel {
        // An instruction takes a nanosecond, and nobody waits for the time to pass.
        _ if boot.counted => vec![
            "-accel",
            "tcg,thread=single",
            "-cpu",
            model,
            "-icount",
            "shift=0,sleep=off",
            "-smp",
            "1",
        ],
        Accel::Kvm => vec!["-accel", "kvm", "-cpu", "host", "-smp", "2"],
        Accel::Tcg { .. } | Accel::None => {
            vec!["-accel", "tcg,thread=multi", "-cpu", model, "-smp", "2"]
        }
    }
}

fn command_line(boot: &Boot) -> String {
    // With -no-reboot, a reset ends the machine: at once on a panic (panic=-1).
    let of_machine = match boot.platform.is_arm64() {
        // Its firmware interface can reset and power off.
        true => "console=ttyAMA0 panic=-1",
        // A triple fault resets every machine, also when the guest asks for it.
        false => "console=ttyS0 panic=-1 reboot=t guest.end=restart",
    };
    format!("{of_machine} {}", boot.command_line())
}

fn entropy_device(platform: Platform, number: usize, device: &Device) -> Vec<String> {
    let kind = match platform.is_mmio() {
        true => "virtio-rng-device",
        false => "virtio-rng-pci",
    };
    let file = device.entropy.file();
    let mut options = format!("{kind},rng=rng{number}");
    if platform == Platform::Arm64Mmio {
        // By itself the first device takes the slot with the highest address.
        options += &format!(",bus=virtio-mmio-bus.{number}");
    }
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
        let virt = entropy_device(Platform::Arm64Mmio, 1, &boot.devices[1]);
        assert_eq!(virt[3], "virtio-rng-device,rng=rng1,bus=virtio-mmio-bus.1");
    }
}
