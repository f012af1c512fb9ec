// SPDX-License-Identifier: MIT OR Apache-2.0

//! An interactive guest with the series in it.

use anyhow::Result;

use crate::assemble;
use crate::bail_help;
use crate::build::{self, Variant};
use crate::context::Context;
use crate::doctor::{self, Need};
use crate::guest::{qemu, uml, Lab};
use crate::scenario::{self, Platform};
use crate::source;

pub fn run(ctx: &Context, variant: Variant) -> Result<()> {
    let Some(platform) = Platform::of(variant) else {
        bail_help!(
            format!("{} is no kernel to boot", variant.name()),
            "choose x86_64, uml, uml-debug or arm64-boot"
        );
    };
    let machine = match platform {
        _ if platform.is_uml() => Need::Uml,
        _ if platform.is_arm64() => Need::Arm64,
        _ => Need::Qemu,
    };
    let tools = doctor::ensure(ctx, &[Need::Source, Need::Kernel, Need::Guest, machine])?;
    let source = source::ensure(ctx)?;
    let tree = assemble::ensure(ctx, &source)?;
    let mut lab = Lab::new(ctx, &tools, "shell");
    lab.add(build::ensure(ctx, &tools, &tree, variant)?)?;
    let mut boot = scenario::shell(platform);
    if let Ok(term) = std::env::var("TERM") {
        boot.params.push(("term", term));
    }
    if platform.is_uml() {
        in_uml(&lab, &boot)
    } else {
        in_qemu(&mut lab, &boot)
    }
}

fn in_uml(lab: &Lab, boot: &scenario::Boot) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("guest-").tempdir()?;
    let (_backends, sockets) = uml::start_backends(lab, dir.path(), boot)?;
    let bootable = lab.bootable(boot.platform.variant())?;
    let command = uml::on_terminal(uml::command(bootable, dir.path(), boot, &sockets));
    lab.ctx.ui.note("a UML guest; `exit` ends it");
    lab.ctx.ui.suspend(|| command.foreground())?;
    Ok(())
}

fn in_qemu(lab: &mut Lab, boot: &scenario::Boot) -> Result<()> {
    let accel = lab.accel_of(boot.platform)?;
    let bootable = lab.bootable(boot.platform.variant())?;
    // The keys that end QEMU stay with QEMU, all others go to the guest.
    let dir = tempfile::Builder::new().prefix("guest-").tempdir()?;
    let command = qemu::command(lab.tools, bootable, boot, &accel, dir.path()).args([
        "-chardev",
        "stdio,id=console,mux=on,signal=off",
        "-serial",
        "chardev:console",
    ]);
    let note = format!(
        "a QEMU guest ({}); `exit` or Ctrl-A x ends it",
        accel.name()
    );
    lab.ctx.ui.note(&note);
    lab.ctx.ui.suspend(|| command.foreground())?;
    Ok(())
}
