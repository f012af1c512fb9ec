// SPDX-License-Identifier: GPL-2.0-or-later

//! A plugin of QEMU's that counts how often each instruction of the kernel is
//! executed, and writes that down when QEMU ends: a line for each, with its
//! address and the count. The one argument is `out=FILE`.
//!
//! Counting comes first, execution second: an instruction that faults counts again
//! when it is restarted. A string instruction counts once for each element and once
//! more, as it does on a machine that counts instructions as time.
//!
//! QEMU could count by itself, in a scoreboard, and faster. But QEMU 10 spoils a
//! constant of the translated code for that, and with it the guest, where one thread
//! plays several processors.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use qemu_plugin::{
    qemu_plugin_register_atexit_cb, register, Args, HasCallbacks, Info, PluginId, Register, Result,
    TranslationBlock,
};

/// The kernel's half of the addresses.
const KERNEL: u64 = 1 << 63;

/// One for each address, however often that is translated.
type Counters = BTreeMap<u64, Arc<AtomicU64>>;

#[derive(Default)]
struct Profile(Arc<Mutex<Counters>>);

impl Register for Profile {
    fn register(&mut self, id: PluginId, args: &Args, _: &Info) -> Result<()> {
        let named = args.raw.iter().find_map(|arg| arg.strip_prefix("out="));
        let path = PathBuf::from(named.context("out=FILE is missing")?);
        let counters = self.0.clone();
        qemu_plugin_register_atexit_cb(id, move |_| {
            if let Err(error) = write(&lock(&counters), &path) {
                eprintln!("profile: {}: {error}", path.display());
            }
        })
    }
}

impl HasCallbacks for Profile {
    fn on_translation_block_translate(&mut self, _: PluginId, tb: TranslationBlock) -> Result<()> {
        let mut counters = lock(&self.0);
        for instruction in tb.instructions() {
            let address = instruction.vaddr();
            if address >= KERNEL {
                let counter = counters.entry(address).or_default().clone();
                instruction.register_execute_callback(move |_| {
                    counter.fetch_add(1, Ordering::Relaxed);
                });
            }
        }
        Ok(())
    }
}

fn lock(counters: &Mutex<Counters>) -> MutexGuard<'_, Counters> {
    counters.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(counters: &Counters, path: &Path) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for (address, counter) in counters {
        let count = counter.load(Ordering::Relaxed);
        if count > 0 {
            writeln!(out, "{address:x} {count}")?;
        }
    }
    out.flush()
}

register!(Profile::default());
