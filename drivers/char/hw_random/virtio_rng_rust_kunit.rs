// SPDX-License-Identifier: GPL-2.0

//! What readers get from devices that lie. Most tests have the reader in their own hands: the hwrng
//! core would read beside them.

use kernel::prelude::*;

#[kunit_tests(virtio_rng_rust_lies)]
mod tests {
    use crate::*;
    use core::mem::ManuallyDrop;
    use hwrng::Rng;
    use kernel::{
        driver,
        module::this_module,
        sync::atomic::{
            AtomicFlag,
            Relaxed, //
        },
        time::{
            delay::fsleep,
            Delta,
            Monotonic, //
        },
        virtio::{
            sim::{
                self,
                DeviceLie,
                Lie,
                Mode,
                Params,
                Sim,
                Task,
                FOREVER, //
            },
            Adapter, //
        }, //
    };

    /// Ends a test with an error, so that what it holds is dropped.
    macro_rules! check {
        ($condition:expr) => {
            if !$condition {
                pr_err!("line {}: not so: {}\n", line!(), stringify!($condition));
                return Err(EUCLEAN);
            }
        };
    }

    macro_rules! check_eq {
        ($left:expr, $right:expr) => {{
            let (left, right) = ($left, $right);
            if left != right {
                let what = stringify!($left);
                pr_err!("line {}: {what} is {left:?}, not {right:?}\n", line!());
                return Err(EUCLEAN);
            }
        }};
    }

    kernel::virtio_device_table!(TEST_TABLE, [virtio::DeviceId::new(0xff31)]);

    type Registration = hwrng::Registration<Reader>;

    /// Whether the driver under test registers a generator and forgets that.
    static REGISTER: AtomicFlag = AtomicFlag::new(false);

    /// What the driver under test gives to the test.
    struct Handover {
        reader: Arc<Reader>,
        forgotten: Option<ManuallyDrop<Registration>>,
    }

    /// The driver of this module, but for the registration with the hwrng core.
    struct Entropy;

    /// Stands for that: a reader is told when it ends.
    struct ClassDevice(Arc<Reader>);

    impl Drop for ClassDevice {
        fn drop(&mut self) {
            self.0.cancel();
        }
    }

    fn reader(vdev: &virtio::Device<Core<'_>>, data: &VirtioRng) -> Reader {
        Reader {
            queue: data.queue.clone(),
            dev: vdev.as_ref().into(),
        }
    }

    impl virtio::Driver for Entropy {
        type Features = NoFeatures;
        type Data<'bound> = VirtioRng;
        type ClassDevice<'bound> = Option<ClassDevice>;

        const ID_TABLE: virtio::IdTable = &TEST_TABLE;

        fn probe<'bound>(
            vdev: &'bound virtio::Device<Core<'_>>,
            features: Negotiated<NoFeatures>,
        ) -> impl PinInit<VirtioRng, Error> + 'bound {
            <VirtioRng as virtio::Driver>::probe(vdev, features)
        }

        fn register<'bound>(
            vdev: &'bound virtio::Device<Core<'_>>,
            data: Pin<&VirtioRng>,
        ) -> Result<Option<ClassDevice>> {
            let mut handover = Handover {
                reader: Arc::new(reader(vdev, &data), GFP_KERNEL)?,
                forgotten: None,
            };
            let mut class_device = None;
            if REGISTER.load(Relaxed) {
                handover.forgotten = Some(ManuallyDrop::new(VirtioRng::register(vdev, data)?));
            } else {
                class_device = Some(ClassDevice(handover.reader.clone()));
            }
            sim::hand_over(this_module::<DriverModule>(), handover)?;
            Ok(class_device)
        }
    }

    /// A simulated device, and who reads from it.
    struct Rig {
        reader: Arc<Reader>,
        sim: Sim,
        /// Dropped after the device.
        _driver: Pin<KBox<driver::Registration<Adapter<Entropy>>>>,
        _left: Left,
    }

    /// Takes over what nobody else did.
    struct Left;

    impl Drop for Left {
        fn drop(&mut self) {
            drop(sim::take_over::<Handover>());
        }
    }

    fn take_over() -> Result<Handover> {
        let handover = sim::take_over::<Handover>().ok_or(ENODEV)?;
        Ok(KBox::into_inner(handover))
    }

    impl Rig {
        fn new() -> Result<Self> {
            let _driver = KBox::pin_init(
                driver::Registration::new(c"virtio_rng_rust_kunit", this_module::<DriverModule>()),
                GFP_KERNEL,
            )?;
            let sim = Sim::new(Params::new(0xff31))?;
            if !sim.is_bound() {
                // The bus was told not to probe by itself.
                sim.bind()?;
            }
            let reader = take_over()?.reader;
            Ok(Self {
                reader,
                sim,
                _driver,
                _left: Left,
            })
        }

        /// With a device that answers at once.
        fn answering() -> Result<Self> {
            let rig = Self::new()?;
            rig.sim.set_mode(0, Mode::InKick);
            Ok(rig)
        }

        fn bind_again(&mut self) -> Result {
            self.sim.unbind();
            self.sim.be_honest();
            self.sim.set_mode(0, Mode::InKick);
            self.sim.bind()?;
            self.reader = take_over()?.reader;
            check_eq!(self.read(64, true)?.len(), 64);
            Ok(())
        }

        /// What a reader gets. The core hands out zeroed memory.
        fn read(&self, len: usize, wait: bool) -> Result<KVec<u8>> {
            let mut dst = KVec::from_elem(0, len, GFP_KERNEL)?;
            let got = self.reader.read(&mut dst, wait)?;
            check!(got <= len);
            // Nothing is written behind it.
            check!(dst[got..].iter().all(|&byte| byte == 0));
            dst.truncate(got);
            Ok(dst)
        }

        /// Reads `bytes` bytes, which have to be what an honest device sends: a counter.
        fn read_counter(&self, next: &mut u8, bytes: usize) -> Result {
            let mut done = 0;
            while done < bytes {
                let got = self.read(1 + (done * 7) % 100, true)?;
                check!(!got.is_empty());
                for &byte in &got {
                    check_eq!(byte, *next);
                    *next = next.wrapping_add(1);
                }
                done += got.len();
            }
            Ok(())
        }

        fn warned(&self) -> bool {
            self.reader.queue.with(|store, _| store.warned)
        }
    }

    /// Lets another task read, and returns when the device has its request.
    fn waiting_reader(rig: &Rig) -> Result<Task<Result<usize>>> {
        let reader = rig.reader.clone();
        let task = Task::spawn(move || reader.read(&mut [0; 64], true))?;
        for _ in 0..10_000 {
            if rig.sim.take(0)?.is_some() {
                return Ok(task);
            }
            fsleep(Delta::from_micros(50));
        }
        Err(ETIMEDOUT)
    }

    /// Reads of any size, more than all buffers hold: nothing is thrown away.
    #[test]
    fn partial_reads_lose_nothing() -> Result {
        let rig = Rig::answering()?;
        rig.read_counter(&mut 1, 100_000)?;
        check!(!rig.warned());
        Ok(())
    }

    #[test]
    fn length_huge() -> Result {
        // The first two requests are of 64 bytes, the largest of 4096.
        for (len, times) in [(65, 2), (4097, 1000), (0x8000_0000, 1000), (u32::MAX, 1000)] {
            let rig = Rig::answering()?;
            rig.sim.lie(0, Lie::Len(len), times);
            rig.read_counter(&mut 1, 10_000)?;
        }
        Ok(())
    }

    #[test]
    fn length_short() -> Result {
        let rig = Rig::answering()?;
        rig.sim.lie(0, Lie::Short(3), FOREVER);
        rig.read_counter(&mut 1, 1000)?;
        check!(!rig.warned());
        Ok(())
    }

    /// It is asked again.
    #[test]
    fn length_zero_once() -> Result {
        let rig = Rig::answering()?;
        rig.sim.lie(0, Lie::Short(0), 1);
        rig.read_counter(&mut 1, 1000)?;
        check!(!rig.warned());
        Ok(())
    }

    /// More often than fails, but not in a row.
    #[test]
    fn length_zero_now_and_then() -> Result {
        let rig = Rig::new()?;
        for _ in 0..3 * MAX_EMPTY {
            rig.sim.lie(0, Lie::Short(0), 1);
            for _ in 0..2 {
                check_eq!(rig.read(64, false)?.len(), 0);
                check_eq!(rig.sim.serve(0, 1), 1);
            }
            while !rig.read(64, false)?.is_empty() {}
        }
        check!(!rig.warned());
        Ok(())
    }

    /// Not for ever, and not in every line of the log. It gets another chance with each read.
    #[test]
    fn length_zero_always() -> Result {
        let rig = Rig::answering()?;
        rig.sim.lie(0, Lie::Short(0), FOREVER);
        for _ in 0..100 {
            check_eq!(rig.read(64, true).err(), Some(EIO));
        }
        check!(rig.warned());
        check!(rig.sim.kicks(0) <= u64::from(MAX_EMPTY) + 100);
        rig.sim.be_honest();
        let _ = rig.read(64, true);
        rig.read_counter(&mut 1, 1000)
    }

    /// What was read is not read again, nor anything else that lies around.
    #[test]
    fn nothing_written() -> Result {
        let rig = Rig::answering()?;
        rig.read_counter(&mut 1, 20_000)?;
        rig.sim.lie(0, Lie::Unwritten, FOREVER);
        // What the device wrote before is in store yet.
        let mut zeros = 0;
        let mut others = 0;
        while zeros < 100_000 {
            let got = rig.read(4000, true)?;
            check!(!got.is_empty());
            for byte in got {
                if byte == 0 {
                    zeros += 1;
                } else {
                    others += 1;
                }
            }
        }
        check!(others <= MAX_BUFFERS * pace::MAX_REQUEST as usize);
        check!(rig.read(4000, true)?.iter().all(|&byte| byte == 0));
        Ok(())
    }

    #[test]
    fn newest_first() -> Result {
        let rig = Rig::answering()?;
        rig.sim.lie(0, Lie::NewestFirst, FOREVER);
        let mut total = 0;
        while total < 20_000 {
            let got = rig.read(100, true)?.len();
            check!(got > 0);
            total += got;
        }
        check!(!rig.warned());
        Ok(())
    }

    /// What came before is not lost, and all later reads fail at once.
    #[test]
    fn broken_ring() -> Result {
        let mut rig = Rig::answering()?;
        rig.read_counter(&mut 1, 64)?;
        rig.sim.lie(0, Lie::Id(0xffff), FOREVER);
        let start = Instant::<Monotonic>::now();
        let mut in_store = 0;
        let error = loop {
            match rig.read(64, true) {
                Ok(bytes) => in_store += bytes.len(),
                Err(e) => break e,
            }
            check!(in_store < 100_000);
        };
        check_eq!(error, EIO);
        for _ in 0..100 {
            check_eq!(rig.read(64, true).err(), Some(EIO));
        }
        check!(start.elapsed() < Delta::from_secs(10));
        check!(rig.warned());
        rig.bind_again()
    }

    #[test]
    fn used_twice() -> Result {
        let mut rig = Rig::answering()?;
        rig.sim.lie(0, Lie::Duplicate, 1);
        let mut bytes = 0;
        let error = loop {
            match rig.read(64, true) {
                Ok(got) => bytes += got.len(),
                Err(e) => break e,
            }
            check!(bytes < 100_000);
        };
        check_eq!(error, EIO);
        // Two requests were made, and the reply to one came once.
        check!(bytes <= 128);
        rig.bind_again()
    }

    #[test]
    fn device_gives_up_while_a_reader_waits() -> Result {
        let mut rig = Rig::new()?;
        let task = waiting_reader(&rig)?;
        // Nobody is told: the reader finds out when it looks.
        rig.sim.device_lie(DeviceLie::Break);
        check_eq!(task.join()?, Err(EIO));
        check_eq!(rig.read(64, true).err(), Some(EIO));
        rig.bind_again()
    }

    /// The reader comes back, to be asked again by the core; another one does not wait at all.
    #[test]
    fn never_completes() -> Result {
        let mut rig = Rig::new()?;
        let start = Instant::<Monotonic>::now();
        check_eq!(rig.read(64, false)?.len(), 0);
        check!(start.elapsed() < Delta::from_millis(i64::from(WAIT)));

        let start = Instant::<Monotonic>::now();
        check_eq!(rig.read(64, true)?.len(), 0);
        let waited = start.elapsed();
        check!(waited > Delta::from_millis(i64::from(WAIT) / 2));
        check!(waited < Delta::from_secs(10));
        check!(!rig.warned());
        rig.bind_again()
    }

    /// However many readers come, no more is asked for than they may have.
    #[test]
    fn requests_are_bounded() -> Result {
        let rig = Rig::new()?;
        for _ in 0..100 {
            check_eq!(rig.read(64, false)?.len(), 0);
        }
        let (mut requests, mut bytes) = (0, 0);
        while let Some(chain) = rig.sim.take(0)? {
            requests += 1;
            bytes += chain.writable_len();
        }
        check_eq!((requests, bytes), (2, 128));
        Ok(())
    }

    /// The reader neither misses the answer nor returns without one.
    #[test]
    fn interrupts_without_an_answer() -> Result {
        let rig = Rig::new()?;
        let task = waiting_reader(&rig)?;
        rig.sim.storm(0, 10_000);
        check!(!task.has_result());
        rig.sim.lie(0, Lie::Short(5), 1);
        check!(rig.sim.serve(0, 1) == 1);
        check_eq!(task.join()?, Ok(5));
        Ok(())
    }

    /// The reader is sent away, and before its time is over; so is whoever comes later.
    #[test]
    fn cancelled_while_a_reader_waits() -> Result {
        let mut rig = Rig::new()?;
        let mut shortest = Delta::from_secs(1000);
        for _ in 0..4 {
            let task = waiting_reader(&rig)?;
            let start = Instant::<Monotonic>::now();
            rig.reader.cancel();
            check_eq!(task.join()?, Err(ENODEV));
            shortest = shortest.min(start.elapsed());

            rig.sim.serve(0, u32::MAX);
            check_eq!(rig.read(64, true).err(), Some(ENODEV));
            check_eq!(rig.read(64, false).err(), Some(ENODEV));
            check!(!rig.warned());
            rig.sim.unbind();
            rig.sim.bind()?;
            rig.reader = take_over()?.reader;
        }
        check!(shortest < Delta::from_millis(i64::from(WAIT) * 4 / 5));
        rig.bind_again()
    }

    #[test]
    fn removal_while_a_reader_waits() -> Result {
        let mut rig = Rig::new()?;
        for _ in 0..5 {
            let task = waiting_reader(&rig)?;
            rig.sim.unbind();
            check_eq!(task.join()?, Err(ENODEV));
            check_eq!(rig.read(64, true).err(), Some(ENODEV));
            rig.sim.bind()?;
            rig.reader = take_over()?.reader;
        }
        rig.bind_again()
    }

    /// The reader is sent away. What was in store is there afterwards.
    #[test]
    #[cfg(CONFIG_PM_SLEEP)]
    fn freeze_while_a_reader_waits() -> Result {
        let rig = Rig::new()?;
        for _ in 0..3 {
            let task = waiting_reader(&rig)?;
            rig.sim.freeze()?;
            check_eq!(task.join()?, Err(ENODEV));
            rig.sim.restore()?;
        }
        check!(!rig.warned());

        rig.sim.set_mode(0, Mode::InKick);
        let mut next = 1;
        rig.read_counter(&mut next, 1000)?;
        rig.sim.freeze()?;
        rig.sim.restore()?;
        rig.read_counter(&mut next, 10_000)
    }

    /// The driver core owns the registration: the end of the binding is its end, too, and the name
    /// is free again. The hwrng core reads meanwhile.
    #[test]
    fn forgotten_registration() -> Result {
        let rig = Rig::answering()?;
        REGISTER.store(true, Relaxed);
        let forget = || {
            rig.sim.unbind();
            rig.sim.bind()?;
            take_over()
        };
        let (first, second) = (forget(), forget());
        REGISTER.store(false, Relaxed);
        let (first, second) = (first?, second?);
        rig.sim.unbind();
        // What is forgotten is found again, so that nothing leaks; it makes no difference any more.
        for handover in [first, second] {
            let forgotten = handover.forgotten.ok_or(EINVAL)?;
            drop(ManuallyDrop::into_inner(forgotten));
        }
        Ok(())
    }

    /// The driver as it is, if the device is left to it, with the hwrng core as reader.
    #[test]
    fn whole_driver() -> Result {
        let sim = Sim::new(Params::new(4))?;
        for mode in [Mode::Manual, Mode::InKick, Mode::Deferred] {
            for _ in 0..5 {
                sim.unbind();
                sim.set_mode(0, mode);
                sim.bind()?;
                check!(sim.is_bound());
                sim.reset_prepare()?;
                sim.reset_done()?;
                fsleep(Delta::from_millis(1));
            }
        }
        check_eq!(sim.driver_errors(), 0);
        Ok(())
    }
}
