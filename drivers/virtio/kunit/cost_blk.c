// SPDX-License-Identifier: GPL-2.0-only
/*
 * What reading from a disk costs with the driver that is loaded, in C or in Rust, or with one that
 * does nothing but what a virtqueue asks for, on simulated disks.
 *
 * A disk answers when it is told to, between two measurements: what counts is the way of a request
 * through block layer, driver and virtio core to the notification of the device, and the way back
 * from the interrupt to the end of the bio. It prints the fewest nanoseconds: no other interrupt
 * came then. Under "qemu -icount shift=0" a nanosecond is an instruction. For clocks that are
 * coarser than that, it also prints what both ways took together on average, without the longest
 * rounds.
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
#include <linux/gfp.h>
#include <linux/ktime.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/virtio.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_sim_disk.h>

#include "cost_blk.h"

#define COST_DISK_SIZE	SZ_4M
/* What one plug of the block layer holds for one queue. */
#define COST_PLUG	32
/* Segments of a request, at most; a segment is a page or more. */
#define COST_PIECES	64

static unsigned int depth = 1;
module_param(depth, uint, 0);
MODULE_PARM_DESC(depth, "requests in flight");

static unsigned int size = SZ_4K;
module_param(size, uint, 0);
MODULE_PARM_DESC(size, "bytes of a request");

static unsigned int queues = 1;
module_param(queues, uint, 0);
MODULE_PARM_DESC(queues, "queues, used by turns, one for each CPU");

static unsigned int devices = 1;
module_param(devices, uint, 0);
MODULE_PARM_DESC(devices, "disks, used by turns");

static unsigned int rounds = 1000;
module_param(rounds, uint, 0);
MODULE_PARM_DESC(rounds, "how often it is measured");

static bool empty;
module_param(empty, bool, 0);
MODULE_PARM_DESC(empty, "bring a driver that only uses the virtqueue");

struct cost_disk {
	struct virtio_sim *sim;
	struct virtio_sim_io *io;
};

struct cost {
	struct page *block;
	unsigned int order;
	u32 piece;
	u32 pieces;
	atomic_t pending;
	blk_status_t status;
	struct bio *bios;
	struct bio_vec *vecs;
	struct cost_empty_request *requests;
	struct scatterlist *sgs;
	s64 *took;
	/* of one disk, on average */
	s64 probe, remove;
	s64 memory;
	struct cost_disk *disks;
};

/* The fewest nanoseconds. */
struct cost_times {
	s64 submit;
	s64 complete;
	s64 device;
	s64 clock;
};

static void cost_end_io(struct bio *bio)
{
	struct cost *cost = bio->bi_private;

	if (bio->bi_status)
		cost->status = bio->bi_status;
	atomic_dec(&cost->pending);
}

static void cost_prepare(struct cost *cost, struct cost_disk *disk, u32 round)
{
	struct block_device *bdev = virtio_sim_io_bdev(disk->io);

	for (u32 i = 0; i < depth; i++) {
		struct bio *bio = &cost->bios[i];

		bio_init(bio, bdev, &cost->vecs[i * cost->pieces], cost->pieces,
			 REQ_OP_READ | REQ_NOMERGE);
		/* No two pieces are neighbours, or they were one segment. */
		for (u32 p = 0; p < cost->pieces; p++) {
			u32 at = (i * cost->pieces + p) * 2 * max(cost->piece, PAGE_SIZE);

			__bio_add_page(bio, cost->block + at / PAGE_SIZE, cost->piece, 0);
		}
		/* Not one after the other. */
		bio->bi_iter.bi_sector = (round + i * 24) * 8 %
			((COST_DISK_SIZE - size) / SECTOR_SIZE);
		bio->bi_private = cost;
		bio->bi_end_io = cost_end_io;
	}
}

static noinline void cost_submit(struct cost *cost)
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
static noinline void cost_interrupt(struct virtio_sim *sim, u32 queue)
{
	local_bh_disable();
	virtio_sim_notify(sim, queue);
	local_bh_enable();
}

static u32 cost_answer(struct virtio_sim *sim, u32 *queue)
{
	for (*queue = 0; *queue < queues; ++*queue) {
		u32 served = virtio_sim_answer(sim, *queue, U32_MAX);

		if (served)
			return served;
	}
	return 0;
}

static s64 cost_since(ktime_t start)
{
	return ktime_to_ns(ktime_sub(ktime_get(), start));
}

static int cost_compare(const void *a, const void *b)
{
	const s64 *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* The average, but for the longest ones: who is interrupted is not in it. */
static s64 cost_usual(struct cost *cost)
{
	u32 count = rounds - rounds / 16;
	s64 sum = 0;

	sort(cost->took, rounds, sizeof(*cost->took), cost_compare, NULL);
	for (u32 i = 0; i < count; i++)
		sum += cost->took[i];
	return div_s64(sum, count);
}

/* One round: returns 0 if all requests came back. */
static int cost_round(struct cost *cost, struct cost_disk *disk, u32 round, struct cost_times *t)
{
	struct virtio_device *vdev = virtio_sim_vdev(disk->sim);
	u32 queue, cpu = round % queues;
	ktime_t start;
	s64 took;
	int err;

	err = set_cpus_allowed_ptr(current, cpumask_of(cpu));
	if (err)
		return err;
	atomic_set(&cost->pending, depth);
	if (!empty)
		cost_prepare(cost, disk, round);

	start = ktime_get();
	took = cost_since(start);
	t->clock = min(t->clock, took);
	cost->took[round] = -2 * took;

	start = ktime_get();
	if (empty)
		err = cost_empty_submit(vdev, cpu, cost->requests, depth, COST_PLUG);
	else
		cost_submit(cost);
	took = cost_since(start);
	t->submit = min(t->submit, took);
	cost->took[round] += took;
	if (err)
		return err;

	start = ktime_get();
	if (cost_answer(disk->sim, &queue) != depth)
		return -EIO;
	t->device = min(t->device, cost_since(start));

	start = ktime_get();
	cost_interrupt(disk->sim, queue);
	took = cost_since(start);
	t->complete = min(t->complete, took);
	cost->took[round] += took;
	/* What comes later would not be measured. */
	return atomic_read(&cost->pending) ? -EPROTO : 0;
}

static int cost_measure(struct cost *cost, const char *driver)
{
	struct cost_times t = { S64_MAX, S64_MAX, S64_MAX, S64_MAX };
	int err = 0;

	for (u32 round = 0; !err && round < rounds; round++)
		err = cost_round(cost, &cost->disks[round % devices], round, &t);
	set_cpus_allowed_ptr(current, cpu_possible_mask);
	if (!err && cost->status)
		err = blk_status_to_errno(cost->status);
	if (err)
		return err;
	pr_info("%s submit %lld complete %lld device %lld usual %lld probe %lld remove %lld memory %lld\n",
		driver, t.submit - t.clock, t.complete - t.clock, t.device - t.clock,
		cost_usual(cost), cost->probe, cost->remove, cost->memory);
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
	filp_close(file, NULL);
	return ret < 0 ? ret : 0;
}

static int cost_open(struct cost_disk *disk)
{
	struct virtio_sim_io *io;

	if (empty && !cost_empty_is_bound(virtio_sim_vdev(disk->sim)))
		return -EBUSY;
	if (!empty) {
		io = virtio_sim_io_open(disk->sim);
		if (IS_ERR(io))
			return PTR_ERR(io);
		disk->io = io;
	}
	virtio_sim_set_mode(disk->sim, VIRTIO_SIM_ALL_QUEUES, VIRTIO_SIM_MANUAL);
	return empty ? 0 : cost_no_scheduler(virtio_sim_io_bdev(disk->io));
}

static void cost_close(struct cost_disk *disk)
{
	virtio_sim_set_mode(disk->sim, VIRTIO_SIM_ALL_QUEUES, VIRTIO_SIM_IN_KICK);
	/* What an error left. */
	for (u32 queue = 0; queue < queues; queue++) {
		virtio_sim_serve(disk->sim, queue, U32_MAX);
		virtio_sim_interrupt(disk->sim, queue);
	}
	if (disk->io)
		virtio_sim_io_close(disk->io);
	disk->io = NULL;
}

static s64 cost_free_memory(void)
{
	struct sysinfo info;

	/* What the last unbind frees late. */
	rcu_barrier();
	si_meminfo(&info);
	return (s64)info.freeram * PAGE_SIZE;
}

static void cost_unbind(struct cost *cost)
{
	ktime_t start = ktime_get();

	for (u32 i = 0; i < devices; i++)
		virtio_sim_unbind(cost->disks[i].sim);
	cost->remove = div_s64(cost_since(start), devices);
}

static int cost_bind(struct cost *cost)
{
	s64 before = cost_free_memory();
	ktime_t start = ktime_get();

	for (u32 i = 0; i < devices; i++) {
		int err = virtio_sim_bind(cost->disks[i].sim);

		if (err)
			return err;
	}
	cost->probe = div_s64(cost_since(start), devices);
	cost->memory = div_s64(before - cost_free_memory(), devices);
	return 0;
}

static int cost_with_driver(struct cost *cost)
{
	const char *driver;
	int err;

	/* The bus may have been told not to probe by itself, or not. */
	cost_unbind(cost);
	err = cost_bind(cost);
	if (err)
		return err;
	driver = virtio_sim_vdev(cost->disks[0].sim)->dev.driver->name;
	/* The first time takes what stays. */
	cost_unbind(cost);
	err = cost_bind(cost);
	for (u32 i = 0; !err && i < devices; i++)
		err = cost_open(&cost->disks[i]);
	if (!err)
		err = cost_measure(cost, driver);
	for (u32 i = 0; i < devices; i++)
		cost_close(&cost->disks[i]);
	/* Who breaks the rules is not compared. */
	for (u32 i = 0; !err && i < devices; i++)
		err = virtio_sim_driver_errors(cost->disks[i].sim) ? -EPROTO : 0;
	return err;
}

static int cost_with_disks(struct cost *cost)
{
	struct virtio_blk_config config = {
		.capacity = cpu_to_le64(COST_DISK_SIZE / SECTOR_SIZE),
		.seg_max = cpu_to_le32(254),
		.blk_size = cpu_to_le32(512),
		.num_queues = cpu_to_le16(queues),
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
		.nr_queues = queues,
		.queue_size = 256,
	};
	u32 count;
	int err = 0;

	for (count = 0; count < devices; count++) {
		struct virtio_sim *sim = virtio_sim_disk_create(&params, COST_DISK_SIZE);

		if (IS_ERR(sim)) {
			err = PTR_ERR(sim);
			break;
		}
		cost->disks[count].sim = sim;
	}
	if (!err)
		err = cost_with_driver(cost);
	while (count)
		virtio_sim_destroy(cost->disks[--count].sim);
	if (err == -ENODEV)
		pr_info("there is no driver for disks\n");
	return err == -ENODEV ? 0 : err;
}

static int cost_alloc(struct cost *cost)
{
	cost->pieces = clamp(size / SZ_4K, 1, COST_PIECES);
	cost->piece = size / cost->pieces;
	cost->order = get_order(2 * depth * cost->pieces * max(cost->piece, PAGE_SIZE));
	if (cost->order > MAX_PAGE_ORDER)
		return -EINVAL;
	cost->block = alloc_pages(GFP_KERNEL, cost->order);
	cost->disks = kzalloc_objs(*cost->disks, devices);
	cost->bios = kzalloc_objs(*cost->bios, depth);
	cost->vecs = kzalloc_objs(*cost->vecs, depth * cost->pieces);
	cost->requests = kzalloc_objs(*cost->requests, depth);
	cost->sgs = kzalloc_objs(*cost->sgs, depth * cost->pieces);
	cost->took = kvzalloc_objs(*cost->took, rounds);
	if (!cost->block || !cost->disks || !cost->bios || !cost->vecs || !cost->requests ||
	    !cost->sgs || !cost->took)
		return -ENOMEM;

	for (u32 i = 0; i < depth; i++) {
		struct scatterlist *data = &cost->sgs[i * cost->pieces];

		sg_init_table(data, cost->pieces);
		for (u32 p = 0; p < cost->pieces; p++) {
			u32 at = (i * cost->pieces + p) * 2 * max(cost->piece, PAGE_SIZE);

			sg_set_page(&data[p], cost->block + at / PAGE_SIZE, cost->piece, 0);
		}
		cost_empty_init(&cost->requests[i], data, &cost->pending);
	}
	return 0;
}

static void cost_free(struct cost *cost)
{
	if (cost->block)
		__free_pages(cost->block, cost->order);
	kfree(cost->disks);
	kfree(cost->bios);
	kfree(cost->vecs);
	kfree(cost->requests);
	kfree(cost->sgs);
	kvfree(cost->took);
	kfree(cost);
}

static int __init cost_init(void)
{
	struct cost *cost;
	int err;

	if (!rounds || !in_range(depth, 1, 256) || !in_range(devices, 1, 64) ||
	    !in_range(size, SECTOR_SIZE, SZ_1M) || !is_power_of_2(size) ||
	    !in_range(queues, 1, min(COST_QUEUES, num_online_cpus())))
		return -EINVAL;
	cost = kzalloc_obj(*cost);
	if (!cost)
		return -ENOMEM;
	err = cost_alloc(cost);
	if (!err && empty)
		err = cost_empty_register(queues);
	if (!err) {
		err = cost_with_disks(cost);
		if (empty)
			cost_empty_unregister();
	}
	cost_free(cost);
	return err;
}
module_init(cost_init);

static void __exit cost_exit(void)
{
}
module_exit(cost_exit);

MODULE_DESCRIPTION("Cost of reading from a virtio disk");
MODULE_LICENSE("GPL");
