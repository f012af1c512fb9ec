/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_VIRTIO_SIM_DISK_H
#define _LINUX_VIRTIO_SIM_DISK_H

/*
 * A simulated virtio disk, see linux/virtio_sim.h, and I/O for the disk that a driver registered
 * for it: by tests that run in the kernel and see what any submitter sees.
 */

#include <linux/types.h>
#include <linux/virtio_sim.h>

struct blk_zone;
struct block_device;
struct hd_geometry;
struct virtio_sim_bio;
struct virtio_sim_io;

/* Names every command, where the function says so. */
#define VIRTIO_SIM_ALL_COMMANDS	U32_MAX

/**
 * enum virtio_sim_disk_lie - what can be wrong with the answer to a command
 * @VIRTIO_SIM_DISK_HONEST: nothing
 * @VIRTIO_SIM_DISK_LIE_STATUS: the status is `value`
 * @VIRTIO_SIM_DISK_LIE_NO_STATUS: the full length is claimed, and the status is not written
 * @VIRTIO_SIM_DISK_LIE_SHORT: no more than `value` bytes of the data are written and claimed
 * @VIRTIO_SIM_DISK_LIE_UNWRITTEN: the full length is claimed, no more than `value` bytes of the
 *	data are written
 * @VIRTIO_SIM_DISK_LIE_BYTE: the lower half of `value` is where in the data a byte is wrong, the
 *	upper half is the byte
 * @VIRTIO_SIM_DISK_LIE_NEVER: there is no answer
 */
enum virtio_sim_disk_lie {
	VIRTIO_SIM_DISK_HONEST,
	VIRTIO_SIM_DISK_LIE_STATUS,
	VIRTIO_SIM_DISK_LIE_NO_STATUS,
	VIRTIO_SIM_DISK_LIE_SHORT,
	VIRTIO_SIM_DISK_LIE_UNWRITTEN,
	VIRTIO_SIM_DISK_LIE_BYTE,
	VIRTIO_SIM_DISK_LIE_NEVER,
};

/* Process context. */
struct virtio_sim *virtio_sim_disk_create(const struct virtio_sim_params *params, size_t size);

/* Only for what virtio_sim_disk_create() returned. */
void virtio_sim_disk_lie(struct virtio_sim *sim, u32 command, enum virtio_sim_disk_lie lie,
			 u32 value, u32 times);
u64 virtio_sim_disk_commands(struct virtio_sim *sim, u32 command);
u64 virtio_sim_disk_ranges(struct virtio_sim *sim);
int virtio_sim_disk_read(struct virtio_sim *sim, u64 offset, void *buf, size_t len);
int virtio_sim_disk_write(struct virtio_sim *sim, u64 offset, const void *buf, size_t len);

/**
 * enum virtio_sim_op - what a test asks of a disk
 * @VIRTIO_SIM_READ: read
 * @VIRTIO_SIM_WRITE: write
 * @VIRTIO_SIM_FLUSH: write the cache back
 * @VIRTIO_SIM_DISCARD: discard
 * @VIRTIO_SIM_WRITE_ZEROES: write zeroes
 * @VIRTIO_SIM_SECURE_ERASE: erase
 * @VIRTIO_SIM_ZONE_APPEND: write where the zone was not written yet
 * @VIRTIO_SIM_ZONE_OPEN: open a zone
 * @VIRTIO_SIM_ZONE_CLOSE: close a zone
 * @VIRTIO_SIM_ZONE_FINISH: make a zone full
 * @VIRTIO_SIM_ZONE_RESET: make a zone empty
 * @VIRTIO_SIM_ZONE_RESET_ALL: make all zones empty
 */
enum virtio_sim_op {
	VIRTIO_SIM_READ,
	VIRTIO_SIM_WRITE,
	VIRTIO_SIM_FLUSH,
	VIRTIO_SIM_DISCARD,
	VIRTIO_SIM_WRITE_ZEROES,
	VIRTIO_SIM_SECURE_ERASE,
	VIRTIO_SIM_ZONE_APPEND,
	VIRTIO_SIM_ZONE_OPEN,
	VIRTIO_SIM_ZONE_CLOSE,
	VIRTIO_SIM_ZONE_FINISH,
	VIRTIO_SIM_ZONE_RESET,
	VIRTIO_SIM_ZONE_RESET_ALL,
};

/**
 * struct virtio_sim_io_info - what the block layer knows of a disk
 * @sectors: its size
 * @logical_block_size: in bytes
 * @physical_block_size: in bytes
 * @max_segments: segments in a request, at most
 * @max_segment_size: bytes in a segment, at most
 * @max_discard_segments: ranges in a discard, at most
 * @alignment_offset: bytes from the start of a physical block to that of the disk
 * @io_min: bytes that are written without reading before
 * @io_opt: bytes that are best in a request
 * @queues: hardware queues
 * @depth: requests per queue
 * @stopped: hardware queues that the driver stopped
 * @write_cache: whether there is a cache that needs to be flushed
 * @read_only: whether it cannot be written to
 */
struct virtio_sim_io_info {
	u64 sectors;
	u32 logical_block_size;
	u32 physical_block_size;
	u32 max_segments;
	u32 max_segment_size;
	u32 max_discard_segments;
	u32 alignment_offset;
	u32 io_min;
	u32 io_opt;
	u32 queues;
	u32 depth;
	u32 stopped;
	bool write_cache;
	bool read_only;
};

/* Process context, to the end. */
struct virtio_sim_io *virtio_sim_io_open(struct virtio_sim *sim);
void virtio_sim_io_close(struct virtio_sim_io *io);
struct block_device *virtio_sim_io_bdev(struct virtio_sim_io *io);
void virtio_sim_io_info(struct virtio_sim_io *io, struct virtio_sim_io_info *info);
void virtio_sim_io_set_timeout(struct virtio_sim_io *io, u32 ms);
int virtio_sim_io_geometry(struct virtio_sim_io *io, struct hd_geometry *geometry);
int virtio_sim_io_zones(struct virtio_sim_io *io, u64 sector, struct blk_zone *zones, u32 count);
ssize_t virtio_sim_io_show(struct virtio_sim_io *io, const char *attribute, void *page);
ssize_t virtio_sim_io_store(struct virtio_sim_io *io, const char *attribute, const void *text,
			    size_t len);

struct virtio_sim_bio *virtio_sim_bio_create(struct virtio_sim_io *io, enum virtio_sim_op op,
					     u64 sector, u32 len);
void virtio_sim_bio_put(struct virtio_sim_bio *sb);
int virtio_sim_bio_fill(struct virtio_sim_bio *sb, const void *buf, u32 len);
int virtio_sim_bio_data(struct virtio_sim_bio *sb, void *buf, u32 len);
int virtio_sim_bio_submit(struct virtio_sim_bio *const *bios, u32 count);
bool virtio_sim_bio_wait(struct virtio_sim_bio *sb, u32 ms);
int virtio_sim_bio_error(struct virtio_sim_bio *sb);
u64 virtio_sim_bio_sector(struct virtio_sim_bio *sb);

#endif /* _LINUX_VIRTIO_SIM_DISK_H */
