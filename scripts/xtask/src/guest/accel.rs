// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether KVM works here. `/dev/kvm` may be there and still not run a guest,
//! or hang, so only a boot tells.

use std::fs::OpenOptions;
use std::time::Duration;

use anyhow::Result;

use super::console::End;
use super::Lab;
use crate::scenario::{self, Boot, Platform};

const LIMIT: Duration = Duration::from_secs(20);
const DEVICE: &str = "/dev/kvm";

/// How x86-64 guests run.
#[derive(Clone, Debug, PartialEq)]
pub enum Accel {
    Kvm,
    /// Interpreted, because `why`.
    Tcg {
        why: String,
    },
    /// Nothing to accelerate.
    None,
}

impl Accel {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Tcg { .. } => "TCG",
            Self::None => "native",
        }
    }
}

/// Boots a guest that powers off at once.
pub fn probe(lab: &Lab) -> Result<Accel> {
    let stage = lab.ctx.ui.stage("acceleration");
    let why = match OpenOptions::new().read(true).write(true).open(DEVICE) {
        Err(error) => Some(format!("{DEVICE}: {error}")),
        Ok(_) => {
            stage.message("booting a guest with KVM");
            why_not(lab, &stage)?
        }
    };
    let (accel, summary) = match why {
        None => (Accel::Kvm, "KVM".to_owned()),
        Some(why) => {
            let summary = format!("TCG, as KVM does not work here: {why}");
            (Accel::Tcg { why }, summary)
        }
    };
    stage.finish(&summary);
    Ok(accel)
}

fn why_not(lab: &Lab, stage: &crate::ui::Stage) -> Result<Option<String>> {
    let boot = Boot {
        limit: LIMIT,
        params: vec![("probe", "kvm".into())],
        ..scenario::smoke(Platform::Qemu)
    };
    let dir = super::temporary()?;
    let transcript = lab.watch(&boot, &Accel::Kvm, Some(stage), dir.path())?;
    let last = transcript.lines.last().cloned().unwrap_or_default();
    Ok(match (transcript.done, transcript.end) {
        (true, _) => None,
        (false, End::Silent(_) | End::Endless(_)) => {
            Some(format!("a guest hangs, its last line: {last:?}"))
        }
        (false, _) => Some(format!("a guest ends early: {last}")),
    })
}
