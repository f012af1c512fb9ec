// SPDX-License-Identifier: GPL-2.0

//! Tasks beside a test.

use crate::{
    prelude::*,
    static_lock_class,
    sync::{
        Arc,
        Completion,
        LockClassKey,
        Mutex, //
    },
    workqueue, //
};

/// The lock class of all outcomes, and its name, which would be another one in each module.
#[inline(never)]
fn lock_class() -> (&'static CStr, Pin<&'static LockClassKey>) {
    (c"Task::result", static_lock_class!())
}

/// That a task ended.
#[pin_data]
struct End {
    #[pin]
    reached: Completion,
}

/// What a task does, once.
trait Job: Send {
    fn run(&mut self);
}

/// In the kernel once, as the lock class of the work item is. When the end is reached, nothing of
/// the module that has the job is called any more.
#[inline(never)]
fn spawn(mut job: KBox<dyn Job>) -> Result<Arc<End>> {
    let end = Arc::pin_init(
        pin_init!(End {
            reached <- Completion::new(),
        }),
        GFP_KERNEL,
    )?;
    let its = end.clone();
    workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
        job.run();
        drop(job);
        its.reached.complete_all();
    })?;
    Ok(end)
}

struct Work<F, R> {
    work: Option<F>,
    result: Arc<Mutex<Option<R>>>,
}

impl<F: FnOnce() -> R + Send, R: Send + Unpin> Job for Work<F, R> {
    fn run(&mut self) {
        // When this returned, all that `work` held is dropped.
        let result = self.work.take().map(|work| work());
        *self.result.lock() = result;
    }
}

/// A task beside the test. Dropping this waits for its end, in process context.
///
/// # Examples
///
/// ```
/// use kernel::virtio::sim::Task;
///
/// let task = Task::spawn(|| 6 * 7)?;
/// assert_eq!(task.join()?, 42);
/// # Ok::<(), Error>(())
/// ```
pub struct Task<R: Send + Unpin + 'static> {
    end: Arc<End>,
    result: Arc<Mutex<Option<R>>>,
}

impl<R: Send + Unpin + 'static> Task<R> {
    /// Lets another task do `work`. Process context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn spawn(work: impl FnOnce() -> R + Send + 'static) -> Result<Self> {
        let (name, key) = lock_class();
        let result = Arc::pin_init(Mutex::new(None, name, key), GFP_KERNEL)?;
        let work = Work {
            work: Some(work),
            result: result.clone(),
        };
        let end = spawn(KBox::new(work, GFP_KERNEL)?)?;
        Ok(Self { end, result })
    }

    /// Whether it has its result for [`join`](Self::join). Process context.
    pub fn has_result(&self) -> bool {
        self.result.lock().is_some()
    }

    /// Waits for its end, and returns what `work` did. Process context; may sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is nothing, which does not happen.
    pub fn join(self) -> Result<R> {
        self.end.reached.wait_for_completion();
        let result = self.result.lock().take();
        result.ok_or(EINVAL)
    }
}

impl<R: Send + Unpin + 'static> Drop for Task<R> {
    fn drop(&mut self) {
        self.end.reached.wait_for_completion();
    }
}
