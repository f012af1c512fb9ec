// SPDX-License-Identifier: GPL-2.0
/*
 * I/O for the disk that a driver registered for a simulated device.
 */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/blk-mq.h>
#include <linux/cleanup.h>
#include <linux/completion.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hdreg.h>
#include <linux/highmem.h>
#include <linux/jiffies.h>
#include <linux/kref.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/virtio_sim_disk.h>

#include "virtio_sim.h"

struct virtio_sim_io {
	struct device *dev;	/* that the disk belongs to */
	struct file *file;
	struct block_device *bdev;
};

struct virtio_sim_bio {
	struct kref refs;	/* the caller, and the block layer while it has the bio */
	struct completion ended;
	bool submitted;
	blk_status_t status;
	u64 sector;		/* where it ended */
	struct bio *bio;
	u32 nr_pages;
	/* The first one of two, so that none follows another one in memory. */
	struct page *pages[] __counted_by(nr_pages);
};

#define VSIM_PAGE_ORDER		1

static const blk_opf_t vsim_ops[] = {
	[VIRTIO_SIM_READ]		= REQ_OP_READ | REQ_NOMERGE,
	[VIRTIO_SIM_WRITE]		= REQ_OP_WRITE | REQ_NOMERGE,
	[VIRTIO_SIM_FLUSH]		= REQ_OP_WRITE | REQ_PREFLUSH,
	[VIRTIO_SIM_DISCARD]		= REQ_OP_DISCARD,
	[VIRTIO_SIM_WRITE_ZEROES]	= REQ_OP_WRITE_ZEROES,
	[VIRTIO_SIM_SECURE_ERASE]	= REQ_OP_SECURE_ERASE,
	[VIRTIO_SIM_ZONE_APPEND]	= REQ_OP_ZONE_APPEND | REQ_NOMERGE,
	[VIRTIO_SIM_ZONE_OPEN]		= REQ_OP_ZONE_OPEN,
	[VIRTIO_SIM_ZONE_CLOSE]		= REQ_OP_ZONE_CLOSE,
	[VIRTIO_SIM_ZONE_FINISH]	= REQ_OP_ZONE_FINISH,
	[VIRTIO_SIM_ZONE_RESET]		= REQ_OP_ZONE_RESET,
	[VIRTIO_SIM_ZONE_RESET_ALL]	= REQ_OP_ZONE_RESET_ALL,
};

static int vsim_is_disk(struct device *dev, const void *data)
{
	return dev->class == &block_class;
}

/**
 * virtio_sim_io_open() - opens the disk that the driver of a device registered
 * @sim: the device
 *
 * It may stay open when the driver is unbound.
 *
 * Return: for virtio_sim_io_close(), or an error pointer; -ENODEV if there is no disk
 */
struct virtio_sim_io *virtio_sim_io_open(struct virtio_sim *sim)
{
	struct virtio_sim_io *io;
	struct device *dev;
	struct file *file;

	dev = device_find_child(&virtio_sim_vdev(sim)->dev, NULL, vsim_is_disk);
	if (!dev)
		return ERR_PTR(-ENODEV);
	file = bdev_file_open_by_dev(dev->devt, BLK_OPEN_READ | BLK_OPEN_WRITE, NULL, NULL);
	put_device(dev);
	if (IS_ERR(file))
		return ERR_CAST(file);
	io = kzalloc_obj(*io);
	if (!io) {
		bdev_fput(file);
		return ERR_PTR(-ENOMEM);
	}
	io->dev = get_device(&virtio_sim_vdev(sim)->dev);
	io->file = file;
	io->bdev = file_bdev(file);
	return io;
}
EXPORT_SYMBOL_GPL(virtio_sim_io_open);

/**
 * virtio_sim_io_close() - closes a disk
 * @io: not valid any more when this returns
 */
void virtio_sim_io_close(struct virtio_sim_io *io)
{
	bdev_fput(io->file);
	/*
	 * Kernel threads close files later. Until then, this one and those of the partition scan
	 * keep the module of the driver.
	 */
	flush_delayed_fput();
	put_device(io->dev);
	kfree(io);
}
EXPORT_SYMBOL_GPL(virtio_sim_io_close);

/**
 * virtio_sim_io_bdev() - the block device of a disk
 * @io: the disk
 *
 * Return: the block device, open as long as @io is
 */
struct block_device *virtio_sim_io_bdev(struct virtio_sim_io *io)
{
	return io->bdev;
}
EXPORT_SYMBOL_GPL(virtio_sim_io_bdev);

/**
 * virtio_sim_io_info() - asks the block layer about a disk
 * @io: the disk
 * @info: receives the answer
 */
void virtio_sim_io_info(struct virtio_sim_io *io, struct virtio_sim_io_info *info)
{
	struct request_queue *q = bdev_get_queue(io->bdev);
	struct blk_mq_hw_ctx *hctx;
	unsigned long i;

	*info = (struct virtio_sim_io_info) {
		.sectors = bdev_nr_sectors(io->bdev),
		.logical_block_size = queue_logical_block_size(q),
		.physical_block_size = queue_physical_block_size(q),
		.max_segments = queue_max_segments(q),
		.max_segment_size = queue_max_segment_size(q),
		.max_discard_segments = queue_max_discard_segments(q),
		.alignment_offset = q->limits.alignment_offset,
		.io_min = queue_io_min(q),
		.io_opt = queue_io_opt(q),
		.queues = q->nr_hw_queues,
		.depth = q->nr_requests,
		.write_cache = bdev_write_cache(io->bdev),
		.read_only = bdev_read_only(io->bdev),
	};
	queue_for_each_hw_ctx(q, hctx, i)
		info->stopped += test_bit(BLK_MQ_S_STOPPED, &hctx->state);
}
EXPORT_SYMBOL_GPL(virtio_sim_io_info);

/**
 * virtio_sim_io_set_timeout() - sets how long a request may take
 * @io: the disk
 * @ms: milliseconds
 */
void virtio_sim_io_set_timeout(struct virtio_sim_io *io, u32 ms)
{
	blk_queue_rq_timeout(bdev_get_queue(io->bdev), msecs_to_jiffies(ms));
}
EXPORT_SYMBOL_GPL(virtio_sim_io_set_timeout);

/**
 * virtio_sim_io_geometry() - asks for cylinders, as the ioctl HDIO_GETGEO does
 * @io: the disk
 * @geometry: receives the answer
 *
 * Return: what the driver returned, -ENOTTY if it has no answer
 */
int virtio_sim_io_geometry(struct virtio_sim_io *io, struct hd_geometry *geometry)
{
	struct gendisk *disk = io->bdev->bd_disk;

	return disk->fops->getgeo ? disk->fops->getgeo(disk, geometry) : -ENOTTY;
}
EXPORT_SYMBOL_GPL(virtio_sim_io_geometry);

static int vsim_copy_zone(struct blk_zone *zone, unsigned int i, void *zones)
{
	((struct blk_zone *)zones)[i] = *zone;
	return 0;
}

/**
 * virtio_sim_io_zones() - asks for zones
 * @io: the disk
 * @sector: in the first zone
 * @zones: receives the zones
 * @count: how many, at most
 *
 * Return: how many there were, or a negative error
 */
int virtio_sim_io_zones(struct virtio_sim_io *io, u64 sector, struct blk_zone *zones, u32 count)
{
	if (!IS_ENABLED(CONFIG_BLK_DEV_ZONED))
		return -EOPNOTSUPP;
	return blkdev_report_zones(io->bdev, sector, count, vsim_copy_zone, zones);
}
EXPORT_SYMBOL_GPL(virtio_sim_io_zones);

/* An attribute that the driver has for its disk. */
static struct device_attribute *vsim_attribute(struct device *dev, const char *name)
{
	for (const struct attribute_group **g = dev->groups; g && *g; g++) {
		for (struct attribute **a = (*g)->attrs; a && *a; a++) {
			if (!strcmp((*a)->name, name))
				return container_of(*a, struct device_attribute, attr);
		}
	}
	return NULL;
}

/**
 * virtio_sim_io_show() - reads an attribute that the driver has for its disk
 * @io: the disk
 * @attribute: its name
 * @page: receives the text; a page
 *
 * Return: the length of the text, or a negative error; -ENOENT if there is no such attribute,
 *	-ENODEV if there is no driver any more
 */
ssize_t virtio_sim_io_show(struct virtio_sim_io *io, const char *attribute, void *page)
{
	struct device *dev = disk_to_dev(io->bdev->bd_disk);
	struct device_attribute *attr;

	/* The driver, and so its disk, stays meanwhile. */
	guard(device)(io->dev);
	if (!disk_live(io->bdev->bd_disk))
		return -ENODEV;
	attr = vsim_attribute(dev, attribute);
	return attr && attr->show ? attr->show(dev, attr, page) : -ENOENT;
}
EXPORT_SYMBOL_GPL(virtio_sim_io_show);

/**
 * virtio_sim_io_store() - writes an attribute that the driver has for its disk
 * @io: the disk
 * @attribute: its name
 * @text: what to write, with a NUL behind it
 * @len: the length of the text
 *
 * Return: what the driver returned, -EACCES if that cannot be written; else as virtio_sim_io_show()
 */
ssize_t virtio_sim_io_store(struct virtio_sim_io *io, const char *attribute, const void *text,
			    size_t len)
{
	struct device *dev = disk_to_dev(io->bdev->bd_disk);
	struct device_attribute *attr;

	/* The driver, and so its disk, stays meanwhile. */
	guard(device)(io->dev);
	if (!disk_live(io->bdev->bd_disk))
		return -ENODEV;
	attr = vsim_attribute(dev, attribute);
	if (attr && !(attr->attr.mode & 0200))
		return -EACCES;
	return attr && attr->store ? attr->store(dev, attr, text, len) : -ENOENT;
}
EXPORT_SYMBOL_GPL(virtio_sim_io_store);

static void vsim_bio_release(struct kref *refs)
{
	struct virtio_sim_bio *sb = container_of(refs, struct virtio_sim_bio, refs);

	for (u32 i = 0; i < sb->nr_pages; i++) {
		if (sb->pages[i])
			__free_pages(sb->pages[i], VSIM_PAGE_ORDER);
	}
	if (sb->bio)
		bio_put(sb->bio);
	kfree(sb);
}

static void vsim_bio_end(struct bio *bio)
{
	struct virtio_sim_bio *sb = bio->bi_private;

	sb->status = bio->bi_status;
	sb->sector = bio->bi_iter.bi_sector;
	complete_all(&sb->ended);
	kref_put(&sb->refs, vsim_bio_release);
}

/**
 * virtio_sim_bio_create() - prepares an operation
 * @io: the disk, which must not be closed before virtio_sim_bio_submit()
 * @op: what to do
 * @sector: where
 * @len: how many bytes; for data, at most a megabyte, each page of it a segment of its own
 *
 * Return: for virtio_sim_bio_put(), or an error pointer
 */
struct virtio_sim_bio *virtio_sim_bio_create(struct virtio_sim_io *io, enum virtio_sim_op op,
					     u64 sector, u32 len)
{
	bool data = op == VIRTIO_SIM_READ || op == VIRTIO_SIM_WRITE ||
		    op == VIRTIO_SIM_ZONE_APPEND;
	u32 nr_pages = data ? DIV_ROUND_UP(len, PAGE_SIZE) : 0;
	struct virtio_sim_bio *sb;

	if (op >= ARRAY_SIZE(vsim_ops) || nr_pages > BIO_MAX_VECS)
		return ERR_PTR(-EINVAL);
	sb = kzalloc_flex(*sb, pages, nr_pages);
	if (!sb)
		return ERR_PTR(-ENOMEM);
	kref_init(&sb->refs);
	init_completion(&sb->ended);
	sb->nr_pages = nr_pages;
	sb->bio = bio_alloc(io->bdev, nr_pages, vsim_ops[op], GFP_KERNEL);
	sb->bio->bi_iter.bi_sector = sector;
	sb->bio->bi_private = sb;
	sb->bio->bi_end_io = vsim_bio_end;
	if (!data)
		sb->bio->bi_iter.bi_size = len;
	for (u32 i = 0; i < nr_pages; i++) {
		u32 n = min(len, PAGE_SIZE);

		sb->pages[i] = alloc_pages(GFP_KERNEL | __GFP_ZERO, VSIM_PAGE_ORDER);
		if (!sb->pages[i]) {
			kref_put(&sb->refs, vsim_bio_release);
			return ERR_PTR(-ENOMEM);
		}
		__bio_add_page(sb->bio, sb->pages[i], n, 0);
		len -= n;
	}
	return sb;
}
EXPORT_SYMBOL_GPL(virtio_sim_bio_create);

/**
 * virtio_sim_bio_put() - gives an operation up
 * @sb: not valid for the caller any more; what was submitted goes on
 */
void virtio_sim_bio_put(struct virtio_sim_bio *sb)
{
	kref_put(&sb->refs, vsim_bio_release);
}
EXPORT_SYMBOL_GPL(virtio_sim_bio_put);

/* The memory is ours before it was submitted, and after it ended. */
static int vsim_bio_check(struct virtio_sim_bio *sb, u32 len)
{
	if (READ_ONCE(sb->submitted) && !completion_done(&sb->ended))
		return -EBUSY;
	return len > sb->nr_pages * PAGE_SIZE ? -EINVAL : 0;
}

/**
 * virtio_sim_bio_fill() - sets what is in the memory of an operation
 * @sb: the operation
 * @buf: the bytes
 * @len: how many
 *
 * Return: 0, -EBUSY while it was submitted and has not ended, -EINVAL if it has less memory
 */
int virtio_sim_bio_fill(struct virtio_sim_bio *sb, const void *buf, u32 len)
{
	int err = vsim_bio_check(sb, len);

	for (u32 done = 0, n; !err && done < len; done += n) {
		n = min(len - done, PAGE_SIZE);
		memcpy(page_address(sb->pages[done / PAGE_SIZE]), buf + done, n);
	}
	return err;
}
EXPORT_SYMBOL_GPL(virtio_sim_bio_fill);

/**
 * virtio_sim_bio_data() - looks at the memory of an operation
 * @sb: the operation
 * @buf: receives the bytes
 * @len: how many
 *
 * Return: as virtio_sim_bio_fill()
 */
int virtio_sim_bio_data(struct virtio_sim_bio *sb, void *buf, u32 len)
{
	int err = vsim_bio_check(sb, len);

	for (u32 done = 0, n; !err && done < len; done += n) {
		n = min(len - done, PAGE_SIZE);
		memcpy(buf + done, page_address(sb->pages[done / PAGE_SIZE]), n);
	}
	return err;
}
EXPORT_SYMBOL_GPL(virtio_sim_bio_data);

/**
 * virtio_sim_bio_submit() - submits operations together
 * @bios: the operations; each can be submitted once
 * @count: how many
 *
 * Return: 0, or -EBUSY if one was submitted before, in which case none of them is
 */
int virtio_sim_bio_submit(struct virtio_sim_bio *const *bios, u32 count)
{
	struct blk_plug plug;

	for (u32 i = 0; i < count; i++) {
		if (bios[i]->submitted)
			return -EBUSY;
	}
	blk_start_plug(&plug);
	for (u32 i = 0; i < count; i++) {
		WRITE_ONCE(bios[i]->submitted, true);
		kref_get(&bios[i]->refs);
		submit_bio(bios[i]->bio);
	}
	blk_finish_plug(&plug);
	return 0;
}
EXPORT_SYMBOL_GPL(virtio_sim_bio_submit);

/**
 * virtio_sim_bio_wait() - waits for the end of an operation
 * @sb: the operation
 * @ms: for how long, in milliseconds
 *
 * Return: whether it ended
 */
bool virtio_sim_bio_wait(struct virtio_sim_bio *sb, u32 ms)
{
	return wait_for_completion_timeout(&sb->ended, msecs_to_jiffies(ms));
}
EXPORT_SYMBOL_GPL(virtio_sim_bio_wait);

/**
 * virtio_sim_bio_error() - how an operation ended
 * @sb: an operation that virtio_sim_bio_wait() saw the end of
 *
 * Return: 0 or a negative error
 */
int virtio_sim_bio_error(struct virtio_sim_bio *sb)
{
	return blk_status_to_errno(sb->status);
}
EXPORT_SYMBOL_GPL(virtio_sim_bio_error);

/**
 * virtio_sim_bio_sector() - where the data of an append went
 * @sb: the append
 *
 * Return: where it is if it ended without an error; U64_MAX if it did not end yet
 */
u64 virtio_sim_bio_sector(struct virtio_sim_bio *sb)
{
	return completion_done(&sb->ended) ? sb->sector : U64_MAX;
}
EXPORT_SYMBOL_GPL(virtio_sim_bio_sector);
