// SPDX-License-Identifier: GPL-2.0-only
/*
 * What reading a block costs with the driver that is loaded, in C or in Rust, on a simulated disk.
 *
 * The disk answers when it is told to, between two measurements: what counts is the way of a
 * request through block layer, driver and virtio core to the notification of the device, and the
 * way back from the interrupt to the end of the bio. It prints the fewest nanoseconds: no other
 * interrupt came then. Under "qemu -icount shift=0" a nanosecond is an instruction.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/bottom_half.h>
#include <linux/cpumask.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_sim_disk.h>

#define COST_ROUNDS	1000
#define COST_DEPTH	32
#define COST_SECTORS	SZ_16K

struct cost {
	struct virtio_sim *sim;
	struct block_device *bdev;
	u32 queues;
	atomic_t pending;
	blk_status_t status;
	struct page *pages[COST_DEPTH];
	struct bio bios[COST_DEPTH];
	struct bio_vec vecs[COST_DEPTH];
};

static void cost_end_io(struct bio *bio)
{
	struct cost *cost = bio->bi_private;

	if (bio->bi_status)
		cost->status = bio->bi_status;
	atomic_dec(&cost->pending);
}

static void cost_prepare(struct cost *cost, u32 depth, u32 round)
{
	for (u32 i = 0; i < depth; i++) {
		struct bio *bio = &cost->bios[i];

		bio_init(bio, cost->bdev, &cost->vecs[i], 1, REQ_OP_READ | REQ_NOMERGE);
		__bio_add_page(bio, cost->pages[i], PAGE_SIZE, 0);
		/* Not one after the other. */
		bio->bi_iter.bi_sector = (round + i * 24) * 8 % COST_SECTORS;
		bio->bi_private = cost;
		bio->bi_end_io = cost_end_io;
	}
	atomic_set(&cost->pending, depth);
}

static noinline void cost_submit(struct cost *cost, u32 depth)
{
	struct blk_plug plug;

	if (depth == 1) {
		submit_bio(&cost->bios[0]);
		return;
	}
	blk_start_plug(&plug);
	for (u32 i = 0; i < depth; i++)
		submit_bio(&cost->bios[i]);
	blk_finish_plug(&plug);
}

/* What the block layer leaves to a softirq comes at the end, as behind a real interrupt. */
static noinline void cost_interrupt(struct cost *cost, u32 queue)
{
	local_bh_disable();
	virtio_sim_notify(cost->sim, queue);
	local_bh_enable();
}

static int cost_measure(struct cost *cost, const char *driver, u32 depth)
{
	s64 there = S64_MAX, back = S64_MAX, device = S64_MAX, timing = S64_MAX;
	ktime_t start;

	for (u32 round = 0; round < COST_ROUNDS; round++) {
		u32 queue, served = 0;

		set_cpus_allowed_ptr(current, cpumask_of(round % cost->queues));
		cost_prepare(cost, depth, round);

		start = ktime_get();
		timing = min(timing, ktime_to_ns(ktime_sub(ktime_get(), start)));

		start = ktime_get();
		cost_submit(cost, depth);
		there = min(there, ktime_to_ns(ktime_sub(ktime_get(), start)));

		for (queue = 0; queue < cost->queues; queue++) {
			start = ktime_get();
			served = virtio_sim_answer(cost->sim, queue, U32_MAX);
			if (served) {
				device = min(device, ktime_to_ns(ktime_sub(ktime_get(), start)));
				break;
			}
		}
		if (served != depth)
			return -EIO;

		start = ktime_get();
		cost_interrupt(cost, queue);
		back = min(back, ktime_to_ns(ktime_sub(ktime_get(), start)));
		/* It could be on another CPU. */
		while (atomic_read(&cost->pending))
			cpu_relax();
	}
	set_cpus_allowed_ptr(current, cpu_possible_mask);
	if (cost->status)
		return blk_status_to_errno(cost->status);
	pr_info("%s q%u-d%u submit %lld complete %lld device %lld per %u\n", driver, cost->queues,
		depth, there - timing, back - timing, device - timing, depth);
	return 0;
}

/* A scheduler would cost more than all the rest, and is the same for both. */
static int cost_no_scheduler(struct block_device *bdev)
{
	char path[64];
	struct file *file;
	loff_t pos = 0;
	ssize_t ret;

	snprintf(path, sizeof(path), "/sys/block/%s/queue/scheduler", bdev->bd_disk->disk_name);
	file = filp_open(path, O_WRONLY, 0);
	if (IS_ERR(file))
		return PTR_ERR(file);
	ret = kernel_write(file, "none", 4, &pos);
	fput(file);
	return ret < 0 ? ret : 0;
}

static int cost_with_disk(struct cost *cost)
{
	const char *driver = virtio_sim_vdev(cost->sim)->dev.driver->name;
	struct virtio_sim_io *io = virtio_sim_io_open(cost->sim);
	int err;

	if (IS_ERR(io))
		return PTR_ERR(io);
	cost->bdev = virtio_sim_io_bdev(io);
	virtio_sim_set_mode(cost->sim, VIRTIO_SIM_ALL_QUEUES, VIRTIO_SIM_MANUAL);
	err = cost_no_scheduler(cost->bdev);
	if (!err)
		err = cost_measure(cost, driver, 1);
	if (!err)
		err = cost_measure(cost, driver, COST_DEPTH);
	virtio_sim_set_mode(cost->sim, VIRTIO_SIM_ALL_QUEUES, VIRTIO_SIM_IN_KICK);
	virtio_sim_io_close(io);
	/* Who breaks the rules is not compared. */
	return err ?: virtio_sim_driver_errors(cost->sim) ? -EPROTO : 0;
}

static int cost_with_queues(struct cost *cost)
{
	struct virtio_blk_config config = {
		.capacity = cpu_to_le64(COST_SECTORS),
		.seg_max = cpu_to_le32(254),
		.blk_size = cpu_to_le32(512),
		.num_queues = cpu_to_le16(cost->queues),
		.wce = 1,
	};
	/* What a disk of QEMU offers, but for what is not measured. */
	struct virtio_sim_params params = {
		.features = {
			BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) |
			BIT_ULL(VIRTIO_RING_F_EVENT_IDX) | BIT_ULL(VIRTIO_BLK_F_SEG_MAX) |
			BIT_ULL(VIRTIO_BLK_F_BLK_SIZE) | BIT_ULL(VIRTIO_BLK_F_FLUSH) |
			BIT_ULL(VIRTIO_BLK_F_CONFIG_WCE) | BIT_ULL(VIRTIO_BLK_F_TOPOLOGY) |
			BIT_ULL(VIRTIO_BLK_F_MQ)
		},
		.config = &config,
		.config_len = sizeof(config),
		.nr_queues = cost->queues,
		.queue_size = 256,
	};
	int err = 0;

	cost->sim = virtio_sim_disk_create(&params, COST_SECTORS * SECTOR_SIZE);
	if (IS_ERR(cost->sim))
		return PTR_ERR(cost->sim);
	/* The bus may have been told not to probe by itself. */
	if (!virtio_sim_is_bound(cost->sim))
		err = virtio_sim_bind(cost->sim);
	if (err == -ENODEV)
		pr_info("there is no driver for disks\n");
	else if (!err)
		err = cost_with_disk(cost);
	virtio_sim_destroy(cost->sim);
	return err == -ENODEV ? 0 : err;
}

static void cost_free(struct cost *cost)
{
	for (u32 i = 0; i < COST_DEPTH; i++) {
		if (cost->pages[i])
			__free_page(cost->pages[i]);
	}
	kfree(cost);
}

static int __init cost_init(void)
{
	struct cost *cost = kzalloc_obj(*cost);
	int err = 0;

	if (!cost)
		return -ENOMEM;
	for (u32 i = 0; i < COST_DEPTH; i++) {
		cost->pages[i] = alloc_page(GFP_KERNEL);
		if (!cost->pages[i])
			err = -ENOMEM;
	}
	for (u32 queues = 1; !err && queues <= min(2, num_online_cpus()); queues++) {
		cost->queues = queues;
		err = cost_with_queues(cost);
	}
	cost_free(cost);
	return err;
}
module_init(cost_init);

static void __exit cost_exit(void)
{
}
module_exit(cost_exit);

MODULE_DESCRIPTION("Cost of reading a block from a virtio disk");
MODULE_LICENSE("GPL");
