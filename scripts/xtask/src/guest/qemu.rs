// SPDX-License-Identifier: MIT OR Apache-2.0

//! QEMU's machines, entropy devices and disks.

use std::path::{Path, PathBuf};

use hostile::model::Device;
use serde_json::{json, Value};

use super::accel::Accel;
use super::{clock, disk, liar, uml, Bootable};
use crate::command::Command;
use crate::doctor::Toolchain;
use crate::scenario::{self, Boot, Disk, Liar, Platform};

/// The guest, its serial line not yet connected.
pub fn command(
    tools: &Toolchain,
    bootable: &Bootable,
    boot: &Boot,
    accel: &Accel,
    dir: &Path,
) -> Command {
    let mut command = Command::new(program(tools, boot.platform))
        .args(machine(boot.platform))
        .args(processor(boot, accel))
        .args(["-m", memory(boot), "-nodefaults", "-no-user-config"])
        .args(["-display", "none", "-monitor", "none", "-no-reboot"])
        .arg("-kernel")
        .arg(&bootable.kernel.image)
        .arg("-initrd")
        .arg(bootable.initramfs(boot))
        .args(["-append", &command_line(boot, accel)]);
    for (number, device) in boot.devices.iter().enumerate() {
        command = command.args(entropy_device(boot.platform, number, device));
    }
    for (number, disk) in boot.disks.iter().enumerate() {
        command = command.args(disk_args(boot.platform, number, disk, dir));
    }
    if !boot.liars.is_empty() || boot.disks.iter().any(|disk| disk.served) {
        // So that another process can reach the guest's memory.
        let memory = format!(
            "memory-backend-memfd,id=shared,share=on,size={}",
            memory(boot)
        );
        command = command.args(["-object", &memory, "-machine", "memory-backend=shared"]);
    }
    for (number, liar) in boot.liars.iter().enumerate() {
        command = command.args(liar_args(number, liar, dir));
    }
    if !boot.disks.is_empty() {
        let monitor = monitor(dir);
        command = command
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", monitor.display()));
    }
    if boot.disks.iter().any(|disk| disk.pluggable) {
        // The guest has no ACPI: slots are to tell it themselves.
        let by_acpi = "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off";
        command = command.args(["-global", by_acpi]);
    }
    if let Some(counting) = &boot.counting {
        let (plugin, counts) = (counting.plugin.display(), counting.counts.display());
        // Two guests are to differ by nothing but what they are told to do.
        command = command
            .args(["-plugin", &format!("{plugin},out={counts}")])
            .args(["-seed", "1", "-rtc", "base=2026-01-01,clock=vm"]);
    }
    command
}

/// The socket of the guest's monitor.
pub fn monitor(dir: &Path) -> PathBuf {
    dir.join("qmp")
}

/// What the monitor calls the device that a disk is.
pub fn device_id(number: usize) -> String {
    format!("blk{number}")
}

/// What the monitor calls the part of it that is the same on all buses.
pub fn backend_path(number: usize) -> String {
    format!("/machine/peripheral/{}/virtio-backend", device_id(number))
}

/// A device that another process plays.
fn liar_args(number: usize, liar: &Liar, dir: &Path) -> [String; 4] {
    let packed = if liar.packed { "on" } else { "off" };
    let socket = liar::socket(dir, number);
    let queues = match liar.device {
        Device::Blk => ",num-queues=1",
        Device::Rng => "",
    };
    // As with disks of QEMU's own.
    let bounced = match liar.bounced {
        true => ",iommu_platform=on,disable-legacy=on",
        false => "",
    };
    [
        "-chardev".into(),
        format!("socket,id=liar{number},path={}", socket.display()),
        "-device".into(),
        format!(
            "vhost-user-{}-pci,chardev=liar{number},packed={packed}{queues}{bounced}",
            liar.device.name()
        ),
    ]
}

/// A disk that another process plays, which may go away and come back.
fn served_disk_args(number: usize, disk: &Disk, dir: &Path) -> Vec<String> {
    let (id, socket) = (device_id(number), uml::socket(dir, number));
    vec![
        "-chardev".into(),
        format!(
            "socket,id=served{number},path={},reconnect-ms=100",
            socket.display()
        ),
        "-device".into(),
        format!(
            "vhost-user-blk-pci,id={id},chardev=served{number},num-queues={}",
            disk.queues
        ),
    ]
}

fn disk_args(platform: Platform, number: usize, disk: &Disk, dir: &Path) -> Vec<String> {
    if disk.served {
        return served_disk_args(number, disk, dir);
    }
    let mut args = vec!["-blockdev".into(), disk::blockdev(dir, number, disk)];
    if disk.pluggable {
        // No other slot has the number.
        let slot = number + 1;
        args.push("-device".into());
        args.push(format!(
            "pcie-root-port,id=port{number},chassis={slot},slot={slot}"
        ));
    }
    args.push("-device".into());
    args.push(disk_device(platform, number, disk).to_string());
    args
}

/// The properties of the device, as the monitor and the command line know them.
pub fn disk_device(platform: Platform, number: usize, disk: &Disk) -> Value {
    let driver = match platform.is_mmio() {
        true => "virtio-blk-device",
        false => "virtio-blk-pci",
    };
    let mut device = json!({
        "driver": driver,
        "id": device_id(number),
        "drive": disk::name(number),
        "serial": disk::name(number),
        "num-queues": disk.queues,
        "packed": disk.packed,
        "logical_block_size": disk.block,
        "physical_block_size": disk.block,
    });
    if disk.bounced {
        device["iommu_platform"] = Value::from(true);
        // Devices of before Virtio 1.0 know nothing of that.
        device["disable-legacy"] = Value::from("on");
    }
    if disk.pluggable {
        device["bus"] = Value::from(format!("port{number}"));
    }
    if platform == Platform::Arm64Mmio {
        device["bus"] = Value::from(mmio_bus(number));
    }
    device
}

/// The programs for disks stay in memory, with all their libraries.
fn memory(boot: &Boot) -> &'static str {
    match boot.disks.is_empty() {
        true => "256M",
        false => "512M",
    }
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

fn processor(boot: &Boot, accel: &Accel) -> Vec<String> {
    let model = match boot.platform.is_arm64() {
        true => "cortex-a57",
        false => "qemu64",
    };
    let (accel, model, cpus) = match accel {
        // An instruction takes a nanosecond, and nobody waits for the time to pass.
        _ if boot.counted => ("tcg,thread=single", model, boot.cpus),
        Accel::Kvm => ("kvm", "host", boot.cpus),
        Accel::Tcg { .. } | Accel::None => ("tcg,thread=multi", model, boot.cpus),
    };
    // The firmware's table of processors, which is all that a guest without ACPI
    // has to go by on q35, lists only the first of each socket.
    let cpus = format!("{cpus},sockets={cpus}");
    let mut args = vec!["-accel", accel, "-cpu", model, "-smp", &cpus];
    if boot.counted {
        args.extend(["-icount", "shift=0,sleep=off"]);
    }
    args.into_iter().map(str::to_owned).collect()
}

fn command_line(boot: &Boot, accel: &Accel) -> String {
    // With -no-reboot, a reset ends the machine: at once on a panic (panic=-1).
    let of_machine = match boot.platform.is_arm64() {
        // Its firmware interface can reset and power off.
        true => "console=ttyAMA0 panic=-1",
        // A triple fault resets every machine, also when the guest asks for it.
        false => "console=ttyS0 panic=-1 reboot=t guest.end=restart",
    };
    // The kernel does not trust the counters of several CPUs to agree; these are one.
    let mut clock = String::new();
    if (boot.counted || boot.timed) && boot.cpus > 1 {
        clock += " tsc=reliable";
    }
    // An accelerator tells it how fast they are.
    if let (true, Accel::Tcg { .. }, Some(khz)) = (boot.timed, accel, clock::khz()) {
        clock += &format!(" tsc_early_khz={khz}");
    }
    // To find out how fast that timer runs, the kernel asks for the time again and again for
    // a tenth of a second, which takes half a minute where instructions are counted.
    let timer = match boot.counted {
        true => " nolapic_timer",
        false => "",
    };
    let is_bounced =
        boot.disks.iter().any(|disk| disk.bounced) || boot.liars.iter().any(|liar| liar.bounced);
    let bounce = match is_bounced {
        true => " swiotlb=force",
        false => "",
    };
    format!("{of_machine}{clock}{timer}{bounce} {}", boot.command_line())
}

/// By itself the first device would take the slot with the highest address.
fn mmio_bus(number: usize) -> String {
    format!("virtio-mmio-bus.{number}")
}

fn entropy_device(platform: Platform, number: usize, device: &scenario::Device) -> Vec<String> {
    let kind = match platform.is_mmio() {
        true => "virtio-rng-device",
        false => "virtio-rng-pci",
    };
    let file = device.entropy.file();
    let mut options = format!("{kind},rng=rng{number}");
    if platform == Platform::Arm64Mmio {
        options += &format!(",bus={}", mmio_bus(number));
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

    #[test]
    fn disks_have_their_own_numbers_and_slots() {
        let disk = Disk {
            queues: 4,
            packed: true,
            pluggable: true,
            ..Disk::new(64)
        };
        let args = disk_args(Platform::Qemu, 2, &disk, Path::new("/d"));
        assert_eq!(args[3], "pcie-root-port,id=port2,chassis=3,slot=3");
        let device: Value = serde_json::from_str(&args[5]).unwrap();
        assert_eq!(device["driver"], "virtio-blk-pci");
        assert_eq!(device["num-queues"], 4);
        assert_eq!(device["bus"], "port2");
        let mmio = disk_device(Platform::QemuMmio, 0, &Disk::new(64));
        assert_eq!(mmio["driver"], "virtio-blk-device");
        assert_eq!(mmio["bus"], Value::Null);
    }

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
