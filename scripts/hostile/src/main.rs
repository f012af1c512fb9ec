// SPDX-License-Identifier: MIT OR Apache-2.0

//! Plays a virtio device over vhost-user.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use hostile::case::{self, Case};
use hostile::fuzz::Fuzz;
use hostile::model::Device;
use hostile::server::{self, Bits, RING_PACKED};
use hostile::teller::{Plan, Teller};

/// A virtio device over vhost-user that is honest, or lies as it is told.
#[derive(Parser)]
#[command(name = "hostile", version)]
struct Args {
    /// Where to listen
    #[arg(long)]
    socket: PathBuf,
    #[arg(long, value_enum)]
    device: Device,
    /// What a disk holds
    #[arg(long)]
    image: Option<PathBuf>,
    /// Entropy that looks like some, in the place of words that tell which they are
    #[arg(long)]
    random: bool,
    /// Offer the packed ring
    #[arg(long)]
    packed: bool,
    /// Lie as this case does
    #[arg(long, conflicts_with = "seed")]
    case: Option<String>,
    /// Cases of your own, instead of those that are known
    #[arg(long, requires = "case")]
    cases: Option<PathBuf>,
    /// Lie by chance
    #[arg(long)]
    seed: Option<u64>,
    /// Be honest to so many drivers first: firmware reads from disks
    #[arg(long, default_value_t = 0)]
    after: u32,
    /// Where to write down each lie that was told, a line each
    #[arg(long)]
    log: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let cases = match &args.cases {
        Some(path) => case::read(path)?,
        None => case::all()?,
    };
    let case = match &args.case {
        Some(name) => Some(find(&cases, name)?),
        None => None,
    };
    let mut bits = case.map_or(Bits::default(), |case| case.bits.as_bits());
    if args.packed {
        bits.added |= RING_PACKED;
    }
    let plan = match (case, args.seed) {
        (Some(case), _) => Plan::Rules(case.rules.clone()),
        (None, Some(seed)) => Plan::Fuzz(Fuzz {
            seed,
            device: args.device,
            packed: args.packed,
        }),
        (None, None) => Plan::Rules(Vec::new()),
    };
    let teller = Teller::new(plan, args.log.as_deref())?;
    let model = args.device.make(args.image.as_deref(), args.random)?;
    let listener = UnixListener::bind(&args.socket);
    let listener = listener.with_context(|| args.socket.display().to_string())?;
    server::serve(&listener, model, teller, bits, args.after)
}

fn find<'a>(cases: &'a [Case], name: &str) -> Result<&'a Case> {
    let found = cases.iter().find(|case| case.name == name);
    found.with_context(|| format!("there is no case {name}"))
}
