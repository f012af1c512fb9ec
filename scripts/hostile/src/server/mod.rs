// SPDX-License-Identifier: MIT OR Apache-2.0

//! A vhost-user back end: one front end after the other, for as long as the
//! process lives.

mod front;
mod host;
mod queue;
mod storm;

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{recv, MsgFlags};
use vhost::vhost_user::BackendReqHandler;
use vmm_sys_util::sock_ctrl_msg::ScmSocket as _;

use host::Host;

use crate::model::Model;
pub use crate::ring::RING_PACKED;
use crate::ring::{EVENT_IDX, INDIRECT};
use crate::teller::Teller;

/// Feature bits of all devices.
pub const VERSION_1: u64 = 1 << 32;
/// Of the protocol itself.
const PROTOCOL_FEATURES: u64 = 1 << 30;

/// `VHOST_USER_SET_BACKEND_REQ_FD`.
const SET_BACKEND_REQ_FD: u32 = 21;
/// Of a message: that the sender waits for an answer.
const NEED_REPLY: u32 = 8;

/// Feature bits that a device has, or has not, by way of exception.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bits {
    pub added: u64,
    pub removed: u64,
}

/// Serves front ends until the process is ended; is honest to the first `after` drivers.
pub fn serve(
    listener: &UnixListener,
    model: Box<dyn Model>,
    teller: Teller,
    bits: Bits,
    after: u32,
) -> Result<()> {
    let common = VERSION_1 | INDIRECT | EVENT_IDX | PROTOCOL_FEATURES;
    let offered = (model.features() | common | bits.added) & !bits.removed;
    let host = Arc::new(Mutex::new(Host::new(model, teller, offered, after)));
    loop {
        let (stream, _) = listener.accept().context("accept")?;
        let ended = connection(&host, stream);
        lock(&host).hang_up();
        if let Err(error) = ended {
            eprintln!("{error:#}");
        }
    }
}

fn lock(host: &Mutex<Host>) -> MutexGuard<'_, Host> {
    host.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn connection(host: &Arc<Mutex<Host>>, stream: UnixStream) -> Result<()> {
    let handler_stream = stream.try_clone()?;
    let mut handler = BackendReqHandler::from_stream(handler_stream, host.clone());
    loop {
        let due = lock(host).tick();
        let (message, rung) = wait(host, &stream, due)?;
        for number in rung {
            let mut host = lock(host);
            host.queues[number].heard();
            host.run(number);
        }
        if message {
            lock(host).no_longer_early();
            match peek(&stream)? {
                None => return Ok(()),
                Some(SET_BACKEND_REQ_FD) => take_channel(host, &stream)?,
                Some(_) => handler.handle_request()?,
            }
            // A doorbell may have rung before its queue was enabled.
            let mut host = lock(host);
            (0..host.queues.len()).for_each(|number| host.run(number));
        }
        if std::mem::take(&mut lock(host).gone) {
            return Ok(());
        }
    }
}

/// Waits for a message, for doorbells, or until something is due.
fn wait(
    host: &Mutex<Host>,
    stream: &UnixStream,
    due: Option<Instant>,
) -> Result<(bool, Vec<usize>)> {
    let kicks: Vec<_> = {
        let host = lock(host);
        let queues = host.queues.iter().enumerate();
        let kicks = queues.filter_map(|(number, queue)| Some((number, queue.kick.clone()?)));
        kicks.collect()
    };
    let mut fds = vec![PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    fds.extend(
        kicks
            .iter()
            .map(|(_, kick)| PollFd::new(kick.as_fd(), PollFlags::POLLIN)),
    );
    let timeout = match due {
        None => PollTimeout::NONE,
        // Not beyond what is due; at worst it is looked at once more.
        Some(at) => {
            let left = at.saturating_duration_since(Instant::now());
            PollTimeout::try_from(Duration::from_millis(left.as_millis() as u64))?
        }
    };
    match poll(&mut fds, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => (),
        Err(error) => return Err(error).context("poll"),
    }
    let ready = |fd: &PollFd| fd.any().unwrap_or(false);
    let rung = kicks.iter().zip(&fds[1..]);
    let rung = rung
        .filter(|(_, fd)| ready(fd))
        .map(|((number, _), _)| *number);
    Ok((ready(&fds[0]), rung.collect()))
}

/// The request of the next message; none if the front end hung up.
fn peek(stream: &UnixStream) -> Result<Option<u32>> {
    let mut request = [0; 4];
    match recv(stream.as_raw_fd(), &mut request, MsgFlags::MSG_PEEK) {
        Ok(0) | Err(nix::errno::Errno::ECONNRESET) => Ok(None),
        Ok(_) => Ok(Some(u32::from_ne_bytes(request))),
        Err(error) => Err(error).context("recv"),
    }
}

/// The channel for what the device has to say by itself. The crate takes it, too,
/// but then has no words for a change of the configuration.
fn take_channel(host: &Mutex<Host>, stream: &UnixStream) -> Result<()> {
    let mut header = [0; 12];
    let (_, file) = stream.recv_with_fd(&mut header)?;
    let word = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
    if let Some(file) = &file {
        use nix::fcntl::{fcntl, FcntlArg, OFlag};
        fcntl(file.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    lock(host).to_guest = file;
    if word(4) & NEED_REPLY != 0 {
        // Version 1, a reply, 8 bytes that say success.
        let reply = [SET_BACKEND_REQ_FD, 5, 8, 0, 0].map(u32::to_ne_bytes);
        std::io::Write::write_all(&mut &*stream, &reply.concat())?;
    }
    Ok(())
}
