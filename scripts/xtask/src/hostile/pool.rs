// SPDX-License-Identifier: MIT OR Apache-2.0

//! Several guests at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;

/// Does `work` for each number below `count`, in order, so many at once. Begins nothing
/// more after an error, which is returned.
pub fn each(count: usize, workers: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let worker = || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return Ok(());
        }
        work(number).inspect_err(|_| next.store(count, Ordering::Relaxed))?;
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use anyhow::bail;

    use super::*;

    #[test]
    fn all_is_done_once() {
        let done = Mutex::new(Vec::new());
        each(20, 3, |number| {
            done.lock().unwrap().push(number);
            Ok(())
        })
        .unwrap();
        let mut done = done.into_inner().unwrap();
        done.sort_unstable();
        assert_eq!(done, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn an_error_ends_it() {
        let count = AtomicUsize::new(0);
        let ended = each(1000, 1, |number| {
            count.fetch_add(1, Ordering::Relaxed);
            match number {
                3 => bail!("no"),
                _ => Ok(()),
            }
        });
        assert!(ended.is_err());
        assert_eq!(count.into_inner(), 4);
    }
}
