// SPDX-License-Identifier: GPL-2.0
/*
 * A simulated disk: the commands of virtio 1.3, section 5.2.6, on a piece of memory. What a driver
 * must not do counts as an error of the driver.
 */
#include <linux/blk_types.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_sim_disk.h>
#include <linux/vmalloc.h>

#include "virtio_sim.h"

/* More than any test needs. */
#define VSIM_MAX_ZONES		4096

static const char vsim_disk_id[VIRTIO_BLK_ID_BYTES] = "virtio-sim-disk";

struct vsim_disk_request {
	struct virtio_sim *sim;
	struct vsim_disk *disk;
	const struct virtio_sim_chain *c;
	u64 sector;
	u32 out;		/* bytes of data from the driver */
	u32 in;			/* and for it */
	u32 limit;		/* how much of that may be written */
};

/* One for each command that the disk knows. */
struct vsim_disk_command {
	u32 type;
	int feature;		/* that it needs, or none if negative */
	u8 (*serve)(struct vsim_disk_request *r);
};

static u8 vsim_disk_in(struct vsim_disk_request *r);
static u8 vsim_disk_out(struct vsim_disk_request *r);
static u8 vsim_disk_flush(struct vsim_disk_request *r);
static u8 vsim_disk_get_id(struct vsim_disk_request *r);
static u8 vsim_disk_discard(struct vsim_disk_request *r);
static u8 vsim_disk_write_zeroes(struct vsim_disk_request *r);
static u8 vsim_disk_secure_erase(struct vsim_disk_request *r);
static u8 vsim_zone_report(struct vsim_disk_request *r);
static u8 vsim_zone_append(struct vsim_disk_request *r);
static u8 vsim_zone_open(struct vsim_disk_request *r);
static u8 vsim_zone_close(struct vsim_disk_request *r);
static u8 vsim_zone_finish(struct vsim_disk_request *r);
static u8 vsim_zone_reset(struct vsim_disk_request *r);
static u8 vsim_zone_reset_all(struct vsim_disk_request *r);

static const struct vsim_disk_command vsim_disk_table[] = {
	{ VIRTIO_BLK_T_IN, -1, vsim_disk_in },
	{ VIRTIO_BLK_T_OUT, -1, vsim_disk_out },
	{ VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_F_FLUSH, vsim_disk_flush },
	{ VIRTIO_BLK_T_GET_ID, -1, vsim_disk_get_id },
	{ VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_F_DISCARD, vsim_disk_discard },
	{ VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_F_WRITE_ZEROES, vsim_disk_write_zeroes },
	{ VIRTIO_BLK_T_SECURE_ERASE, VIRTIO_BLK_F_SECURE_ERASE, vsim_disk_secure_erase },
	{ VIRTIO_BLK_T_ZONE_REPORT, VIRTIO_BLK_F_ZONED, vsim_zone_report },
	{ VIRTIO_BLK_T_ZONE_APPEND, VIRTIO_BLK_F_ZONED, vsim_zone_append },
	{ VIRTIO_BLK_T_ZONE_OPEN, VIRTIO_BLK_F_ZONED, vsim_zone_open },
	{ VIRTIO_BLK_T_ZONE_CLOSE, VIRTIO_BLK_F_ZONED, vsim_zone_close },
	{ VIRTIO_BLK_T_ZONE_FINISH, VIRTIO_BLK_F_ZONED, vsim_zone_finish },
	{ VIRTIO_BLK_T_ZONE_RESET, VIRTIO_BLK_F_ZONED, vsim_zone_reset },
	{ VIRTIO_BLK_T_ZONE_RESET_ALL, VIRTIO_BLK_F_ZONED, vsim_zone_reset_all },
};

struct vsim_zone {
	u64 start;
	u64 end;
	u64 wp;
	u8 type;
	u8 state;
};

/* The first zone can be written anywhere, the others from their start to their end. */
struct vsim_zones {
	u32 sectors;		/* of a zone */
	u32 count;
	struct vsim_zone zone[] __counted_by(count);
};

struct vsim_disk {
	u8 *store;
	u64 size;
	struct vsim_zones *zones;	/* NULL if there are none */
	u64 ranges;		/* that came in commands with ranges */
	u64 commands[ARRAY_SIZE(vsim_disk_table)];

	enum virtio_sim_disk_lie lie;
	u32 lie_command;
	u32 lie_value;
	u32 lie_times;
};

static u8 vsim_disk_refuse(struct vsim_disk_request *r)
{
	r->sim->driver_errors++;
	return VIRTIO_BLK_S_IOERR;
}

/* Where the @len bytes from @sector on are, NULL if that is not on the disk. */
static u8 *vsim_disk_at(struct vsim_disk *disk, u64 sector, u64 len)
{
	u64 sectors = disk->size >> SECTOR_SHIFT;

	if (sector > sectors || len > (sectors - sector) << SECTOR_SHIFT)
		return NULL;
	return disk->store + (sector << SECTOR_SHIFT);
}

/* What the driver was told to stay below; 0 is no limit. */
static u32 vsim_disk_max(struct vsim_disk_request *r, __virtio32 field)
{
	return virtio32_to_cpu(&r->sim->vdev, field) ?: U32_MAX;
}

/* What the driver was told about the shape of requests. */
static bool vsim_disk_shape_ok(struct vsim_disk_request *r)
{
	const struct virtio_blk_config *config = (const void *)r->sim->config;

	/* The others are header and status. */
	if (virtio_features_test_bit(r->sim->accepted, VIRTIO_BLK_F_SEG_MAX) &&
	    r->c->nr_segments - 2 > vsim_disk_max(r, config->seg_max))
		return false;
	if (virtio_features_test_bit(r->sim->accepted, VIRTIO_BLK_F_SIZE_MAX)) {
		for (u32 i = 0; i < r->c->nr_segments; i++) {
			if (r->c->segments[i].len > vsim_disk_max(r, config->size_max))
				return false;
		}
	}
	return !((r->in | r->out) % SECTOR_SIZE);
}

static struct vsim_zone *vsim_zone_of(struct vsim_zones *zones, u64 sector)
{
	u64 i = sector >> ilog2(zones->sectors);

	return i < zones->count ? &zones->zone[i] : NULL;
}

/* Moves the write pointer. */
static u8 vsim_zone_write(struct vsim_zones *zones, u64 sector, u64 sectors)
{
	struct vsim_zone *zone = vsim_zone_of(zones, sector);

	if (!zone || sectors > zone->end - sector)
		return VIRTIO_BLK_S_ZONE_INVALID_CMD;
	if (zone->type == VIRTIO_BLK_ZT_CONV)
		return VIRTIO_BLK_S_OK;
	if (sector != zone->wp || zone->state == VIRTIO_BLK_ZS_FULL)
		return VIRTIO_BLK_S_ZONE_UNALIGNED_WP;
	zone->wp += sectors;
	if (zone->wp == zone->end)
		zone->state = VIRTIO_BLK_ZS_FULL;
	else if (zone->state != VIRTIO_BLK_ZS_EOPEN)
		zone->state = VIRTIO_BLK_ZS_IOPEN;
	return VIRTIO_BLK_S_OK;
}

static u8 vsim_disk_in(struct vsim_disk_request *r)
{
	u8 *at = vsim_disk_at(r->disk, r->sector, r->in);

	if (r->out || !vsim_disk_shape_ok(r))
		return vsim_disk_refuse(r);
	if (!at)
		return VIRTIO_BLK_S_IOERR;
	vsim_copy(r->c, true, 0, at, min(r->in, r->limit));
	return VIRTIO_BLK_S_OK;
}

static u8 vsim_disk_out(struct vsim_disk_request *r)
{
	u8 *at = vsim_disk_at(r->disk, r->sector, r->out);

	if (r->in || !vsim_disk_shape_ok(r))
		return vsim_disk_refuse(r);
	if (!at || virtio_features_test_bit(r->sim->accepted, VIRTIO_BLK_F_RO))
		return VIRTIO_BLK_S_IOERR;
	if (r->disk->zones) {
		u8 status = vsim_zone_write(r->disk->zones, r->sector, r->out >> SECTOR_SHIFT);

		if (status != VIRTIO_BLK_S_OK)
			return status;
	}
	vsim_copy(r->c, false, sizeof(struct virtio_blk_outhdr), at, r->out);
	return VIRTIO_BLK_S_OK;
}

static u8 vsim_disk_flush(struct vsim_disk_request *r)
{
	return r->in || r->out || r->sector ? vsim_disk_refuse(r) : VIRTIO_BLK_S_OK;
}

static u8 vsim_disk_get_id(struct vsim_disk_request *r)
{
	if (r->out || r->in != VIRTIO_BLK_ID_BYTES)
		return vsim_disk_refuse(r);
	vsim_copy(r->c, true, 0, (void *)vsim_disk_id, min(r->in, r->limit));
	return VIRTIO_BLK_S_OK;
}

/* Discards, zeroes and erases alike, within what the driver was told, with no flags but @flags. */
static u8 vsim_disk_clear(struct vsim_disk_request *r, u32 max_ranges, u32 max_sectors, u32 flags)
{
	struct virtio_blk_discard_write_zeroes range;
	u32 count = r->out / sizeof(range);

	if (r->in || !count || count > max_ranges || r->out % sizeof(range))
		return vsim_disk_refuse(r);
	for (u32 i = 0; i < count; i++) {
		u64 len;
		u8 *at;

		vsim_copy(r->c, false, sizeof(struct virtio_blk_outhdr) + i * sizeof(range),
			  &range, sizeof(range));
		if (le32_to_cpu(range.num_sectors) > max_sectors)
			return vsim_disk_refuse(r);
		len = (u64)le32_to_cpu(range.num_sectors) << SECTOR_SHIFT;
		at = vsim_disk_at(r->disk, le64_to_cpu(range.sector), len);
		if (le32_to_cpu(range.flags) & ~flags)
			return VIRTIO_BLK_S_UNSUPP;
		if (!at)
			return VIRTIO_BLK_S_IOERR;
		/* That would have to move a write pointer. */
		if (r->disk->zones)
			return VIRTIO_BLK_S_UNSUPP;
		memset(at, 0, len);
		r->disk->ranges++;
	}
	return VIRTIO_BLK_S_OK;
}

static u8 vsim_disk_discard(struct vsim_disk_request *r)
{
	const struct virtio_blk_config *config = (const void *)r->sim->config;

	return vsim_disk_clear(r, vsim_disk_max(r, config->max_discard_seg),
			       vsim_disk_max(r, config->max_discard_sectors), 0);
}

static u8 vsim_disk_write_zeroes(struct vsim_disk_request *r)
{
	const struct virtio_blk_config *config = (const void *)r->sim->config;

	return vsim_disk_clear(r, vsim_disk_max(r, config->max_write_zeroes_seg),
			       vsim_disk_max(r, config->max_write_zeroes_sectors),
			       VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
}

static u8 vsim_disk_secure_erase(struct vsim_disk_request *r)
{
	const struct virtio_blk_config *config = (const void *)r->sim->config;

	return vsim_disk_clear(r, vsim_disk_max(r, config->max_secure_erase_seg),
			       vsim_disk_max(r, config->max_secure_erase_sectors), 0);
}

/* NULL if @sector is not the start of a zone that has a write pointer. */
static struct vsim_zone *vsim_zone_at(struct vsim_disk *disk, u64 sector)
{
	struct vsim_zone *zone = disk->zones ? vsim_zone_of(disk->zones, sector) : NULL;

	if (!zone || zone->start != sector || zone->type != VIRTIO_BLK_ZT_SWR)
		return NULL;
	return zone;
}

static u8 vsim_zone_report(struct vsim_disk_request *r)
{
	struct vsim_zones *zones = r->disk->zones;
	struct virtio_blk_zone_descriptor desc;
	struct virtio_blk_zone_report head = {};
	u32 first, count, at = sizeof(head);

	if (!zones || r->out || r->in < sizeof(head) + sizeof(desc))
		return vsim_disk_refuse(r);
	first = min(r->sector >> ilog2(zones->sectors), zones->count);
	count = min((r->in - sizeof(head)) / sizeof(desc), zones->count - first);
	head.nr_zones = cpu_to_virtio64(&r->sim->vdev, count);
	vsim_copy(r->c, true, 0, &head, min(at, r->limit));
	for (u32 i = first; i < first + count && at < r->limit; i++) {
		const struct vsim_zone *zone = &zones->zone[i];

		desc = (struct virtio_blk_zone_descriptor) {
			.z_cap = cpu_to_virtio64(&r->sim->vdev, zone->end - zone->start),
			.z_start = cpu_to_virtio64(&r->sim->vdev, zone->start),
			.z_wp = cpu_to_virtio64(&r->sim->vdev, zone->wp),
			.z_type = zone->type,
			.z_state = zone->state,
		};
		vsim_copy(r->c, true, at, &desc, min(sizeof(desc), r->limit - at));
		at += sizeof(desc);
	}
	return VIRTIO_BLK_S_OK;
}

static u8 vsim_zone_append(struct vsim_disk_request *r)
{
	const struct virtio_blk_config *config = (const void *)r->sim->config;
	struct vsim_zone *zone = vsim_zone_at(r->disk, r->sector);
	__virtio64 where;
	u8 status;

	if (r->in != sizeof(where) || !r->out || r->out % SECTOR_SIZE ||
	    r->out >> SECTOR_SHIFT > vsim_disk_max(r, config->zoned.max_append_sectors))
		return vsim_disk_refuse(r);
	if (virtio_features_test_bit(r->sim->accepted, VIRTIO_BLK_F_RO))
		return VIRTIO_BLK_S_IOERR;
	if (!zone || zone->state == VIRTIO_BLK_ZS_FULL)
		return VIRTIO_BLK_S_ZONE_INVALID_CMD;
	where = cpu_to_virtio64(&r->sim->vdev, zone->wp);
	r->sector = zone->wp;
	status = vsim_zone_write(r->disk->zones, r->sector, r->out >> SECTOR_SHIFT);
	if (status != VIRTIO_BLK_S_OK)
		return status;
	vsim_copy(r->c, false, sizeof(struct virtio_blk_outhdr),
		  vsim_disk_at(r->disk, r->sector, r->out), r->out);
	vsim_copy(r->c, true, 0, &where, min(sizeof(where), r->limit));
	return VIRTIO_BLK_S_OK;
}

/* Open, close and finish. */
static u8 vsim_zone_change(struct vsim_disk_request *r, u8 state)
{
	struct vsim_zone *zone = vsim_zone_at(r->disk, r->sector);

	if (r->in || r->out)
		return vsim_disk_refuse(r);
	if (!zone || (zone->state == VIRTIO_BLK_ZS_FULL && state != VIRTIO_BLK_ZS_FULL))
		return VIRTIO_BLK_S_ZONE_INVALID_CMD;
	if (state == VIRTIO_BLK_ZS_FULL)
		zone->wp = zone->end;
	if (state == VIRTIO_BLK_ZS_CLOSED && zone->wp == zone->start)
		state = VIRTIO_BLK_ZS_EMPTY;
	zone->state = state;
	return VIRTIO_BLK_S_OK;
}

static u8 vsim_zone_open(struct vsim_disk_request *r)
{
	return vsim_zone_change(r, VIRTIO_BLK_ZS_EOPEN);
}

static u8 vsim_zone_close(struct vsim_disk_request *r)
{
	return vsim_zone_change(r, VIRTIO_BLK_ZS_CLOSED);
}

static u8 vsim_zone_finish(struct vsim_disk_request *r)
{
	return vsim_zone_change(r, VIRTIO_BLK_ZS_FULL);
}

static void vsim_zone_empty(struct vsim_disk *disk, struct vsim_zone *zone)
{
	memset(disk->store + (zone->start << SECTOR_SHIFT), 0,
	       (zone->end - zone->start) << SECTOR_SHIFT);
	zone->wp = zone->start;
	zone->state = VIRTIO_BLK_ZS_EMPTY;
}

static u8 vsim_zone_reset(struct vsim_disk_request *r)
{
	struct vsim_zone *zone = vsim_zone_at(r->disk, r->sector);

	if (r->in || r->out)
		return vsim_disk_refuse(r);
	if (!zone)
		return VIRTIO_BLK_S_ZONE_INVALID_CMD;
	vsim_zone_empty(r->disk, zone);
	return VIRTIO_BLK_S_OK;
}

static u8 vsim_zone_reset_all(struct vsim_disk_request *r)
{
	struct vsim_zones *zones = r->disk->zones;

	if (r->in || r->out || r->sector || !zones)
		return vsim_disk_refuse(r);
	for (u32 i = 0; i < zones->count; i++) {
		if (zones->zone[i].type == VIRTIO_BLK_ZT_SWR)
			vsim_zone_empty(r->disk, &zones->zone[i]);
	}
	return VIRTIO_BLK_S_OK;
}

static int vsim_disk_find(u32 type)
{
	for (u32 i = 0; i < ARRAY_SIZE(vsim_disk_table); i++) {
		if (vsim_disk_table[i].type == type)
			return i;
	}
	return -ENOENT;
}

static u8 vsim_disk_serve(struct vsim_disk_request *r, u32 type)
{
	const struct vsim_disk_command *command;
	int i = vsim_disk_find(type);

	if (i < 0)
		return VIRTIO_BLK_S_UNSUPP;
	command = &vsim_disk_table[i];
	r->disk->commands[i]++;
	if (command->feature >= 0 &&
	    !virtio_features_test_bit(r->sim->accepted, command->feature)) {
		r->sim->driver_errors++;
		return VIRTIO_BLK_S_UNSUPP;
	}
	return command->serve(r);
}

static enum virtio_sim_disk_lie vsim_disk_next_lie(struct vsim_disk *disk, u32 type)
{
	if (!disk->lie_times ||
	    (disk->lie_command != type && disk->lie_command != VIRTIO_SIM_ALL_COMMANDS))
		return VIRTIO_SIM_DISK_HONEST;
	if (disk->lie_times != VIRTIO_SIM_FOREVER)
		disk->lie_times--;
	return disk->lie;
}

static void vsim_disk_wrong_byte(struct vsim_disk_request *r)
{
	u32 at = r->disk->lie_value & U16_MAX;
	u8 byte = r->disk->lie_value >> 16;

	if (at < min(r->in, r->limit))
		vsim_copy(r->c, true, at, &byte, sizeof(byte));
}

static bool vsim_disk_answer(struct virtio_sim *sim, const struct virtio_sim_chain *c, u32 limit,
			     u32 *len)
{
	struct vsim_disk *disk = sim->model_data;
	struct vsim_disk_request r = { .sim = sim, .disk = disk, .c = c, .limit = limit };
	struct virtio_blk_outhdr header;
	enum virtio_sim_disk_lie lie;
	u32 type;
	u8 status;

	*len = c->writable;
	if (!c->writable ||
	    vsim_copy(c, false, 0, &header, sizeof(header)) != sizeof(header)) {
		sim->driver_errors++;
		return true;
	}
	type = virtio32_to_cpu(&sim->vdev, header.type);
	r.sector = virtio64_to_cpu(&sim->vdev, header.sector);
	r.out = c->readable - sizeof(header);
	r.in = c->writable - sizeof(status);

	lie = vsim_disk_next_lie(disk, type);
	if (lie == VIRTIO_SIM_DISK_LIE_NEVER)
		return false;
	if (lie == VIRTIO_SIM_DISK_LIE_SHORT || lie == VIRTIO_SIM_DISK_LIE_UNWRITTEN)
		r.limit = min(r.limit, disk->lie_value);
	status = vsim_disk_serve(&r, type);
	if (lie == VIRTIO_SIM_DISK_LIE_STATUS)
		status = disk->lie_value;
	else if (lie == VIRTIO_SIM_DISK_LIE_SHORT)
		*len = min(r.in, disk->lie_value) + sizeof(status);
	else if (lie == VIRTIO_SIM_DISK_LIE_BYTE)
		vsim_disk_wrong_byte(&r);
	if (lie != VIRTIO_SIM_DISK_LIE_NO_STATUS && limit > r.in)
		vsim_copy(c, true, r.in, &status, sizeof(status));
	return true;
}

static void vsim_disk_free(void *data)
{
	struct vsim_disk *disk = data;

	kvfree(disk->zones);
	vfree(disk->store);
	kfree(disk);
}

static const struct vsim_model vsim_disk_model = {
	.answer = vsim_disk_answer,
	.free = vsim_disk_free,
};

static struct vsim_zones *vsim_zones_create(const struct virtio_sim_params *params, u64 sectors)
{
	const struct virtio_blk_config *config = params->config;
	struct vsim_zones *zones;
	u32 size, count;

	if (params->config_len < sizeof(*config) || config->zoned.model != VIRTIO_BLK_Z_HM)
		return NULL;
	/* Disks with zones are as of Virtio 1.0. */
	size = le32_to_cpu((__force __le32)config->zoned.zone_sectors);
	if (!is_power_of_2(size) || sectors > (u64)size * VSIM_MAX_ZONES)
		return NULL;
	count = DIV_ROUND_UP_ULL(sectors, size);
	zones = kvzalloc_flex(*zones, zone, count);
	if (!zones)
		return ERR_PTR(-ENOMEM);
	zones->count = count;
	zones->sectors = size;
	for (u32 i = 0; i < count; i++) {
		struct vsim_zone *zone = &zones->zone[i];

		zone->start = (u64)i * size;
		zone->end = min(zone->start + size, sectors);
		zone->wp = zone->start;
		zone->type = i ? VIRTIO_BLK_ZT_SWR : VIRTIO_BLK_ZT_CONV;
		zone->state = i ? VIRTIO_BLK_ZS_EMPTY : VIRTIO_BLK_ZS_NOT_WP;
	}
	return zones;
}

/**
 * virtio_sim_disk_create() - makes a disk and registers it on the virtio bus
 * @params: what device; the type is that of a disk, and the configuration space is a &struct
 *	virtio_blk_config, whatever is in there
 * @size: how many bytes it really has, a multiple of 512
 *
 * As virtio_sim_create(), but all queues start in VIRTIO_SIM_IN_KICK mode: the block layer reads
 * from a disk while the driver is being bound.
 *
 * An honest disk does what the commands ask for. What is outside of @size is an I/O error. What is
 * discarded or erased becomes zero. If the configuration space says that the host manages zones, of
 * a size that can be, there are zones, the first of them a conventional one.
 *
 * Return: the device, for virtio_sim_destroy(), or an error pointer
 */
struct virtio_sim *virtio_sim_disk_create(const struct virtio_sim_params *params, size_t size)
{
	struct virtio_sim_params disk_params = *params;
	struct vsim_disk *disk;

	if (size % SECTOR_SIZE || !size)
		return ERR_PTR(-EINVAL);
	disk = kzalloc_obj(*disk);
	if (!disk)
		return ERR_PTR(-ENOMEM);
	disk->size = size;
	disk->store = vzalloc(size);
	if (!disk->store) {
		kfree(disk);
		return ERR_PTR(-ENOMEM);
	}
	disk->zones = vsim_zones_create(params, size >> SECTOR_SHIFT);
	if (IS_ERR(disk->zones)) {
		struct vsim_zones *err = disk->zones;

		vfree(disk->store);
		kfree(disk);
		return ERR_CAST(err);
	}
	disk_params.device_id = VIRTIO_ID_BLOCK;
	return vsim_create(&disk_params, &vsim_disk_model, disk);
}
EXPORT_SYMBOL_GPL(virtio_sim_disk_create);

/**
 * virtio_sim_disk_lie() - makes the answers to a command wrong
 * @sim: the disk
 * @command: which, VIRTIO_BLK_T_* or VIRTIO_SIM_ALL_COMMANDS
 * @lie: what is wrong; it takes the place of the lie before
 * @value: see &enum virtio_sim_disk_lie
 * @times: for how many commands; VIRTIO_SIM_FOREVER is for all of them
 *
 * This is besides what virtio_sim_lie() does.
 */
void virtio_sim_disk_lie(struct virtio_sim *sim, u32 command, enum virtio_sim_disk_lie lie,
			 u32 value, u32 times)
{
	struct vsim_disk *disk = sim->model_data;

	guard(spinlock_irqsave)(&sim->lock);
	disk->lie = lie;
	disk->lie_command = command;
	disk->lie_value = value;
	disk->lie_times = lie == VIRTIO_SIM_DISK_HONEST ? 0 : times;
}
EXPORT_SYMBOL_GPL(virtio_sim_disk_lie);

/**
 * virtio_sim_disk_commands() - how many commands of a kind came
 * @sim: the disk
 * @command: which, VIRTIO_BLK_T_*
 *
 * Return: the number since the disk was created; without those that were not answered
 */
u64 virtio_sim_disk_commands(struct virtio_sim *sim, u32 command)
{
	struct vsim_disk *disk = sim->model_data;
	int i = vsim_disk_find(command);

	guard(spinlock_irqsave)(&sim->lock);
	return i < 0 ? 0 : disk->commands[i];
}
EXPORT_SYMBOL_GPL(virtio_sim_disk_commands);

/**
 * virtio_sim_disk_ranges() - how many ranges were discarded, zeroed or erased
 * @sim: the disk
 *
 * Return: the number since the disk was created
 */
u64 virtio_sim_disk_ranges(struct virtio_sim *sim)
{
	struct vsim_disk *disk = sim->model_data;

	guard(spinlock_irqsave)(&sim->lock);
	return disk->ranges;
}
EXPORT_SYMBOL_GPL(virtio_sim_disk_ranges);

static bool vsim_on_disk(struct vsim_disk *disk, u64 offset, size_t len)
{
	return offset <= disk->size && len <= disk->size - offset;
}

/**
 * virtio_sim_disk_read() - looks at what is on the disk
 * @sim: the disk
 * @offset: where to start, in bytes
 * @buf: receives the bytes
 * @len: how many
 *
 * Return: 0, or -EINVAL if that is not on the disk
 */
int virtio_sim_disk_read(struct virtio_sim *sim, u64 offset, void *buf, size_t len)
{
	struct vsim_disk *disk = sim->model_data;

	guard(spinlock_irqsave)(&sim->lock);
	if (!vsim_on_disk(disk, offset, len))
		return -EINVAL;
	memcpy(buf, disk->store + offset, len);
	return 0;
}
EXPORT_SYMBOL_GPL(virtio_sim_disk_read);

/**
 * virtio_sim_disk_write() - changes what is on the disk
 * @sim: the disk
 * @offset: where to start, in bytes
 * @buf: the bytes
 * @len: how many
 *
 * Return: 0, or -EINVAL if that is not on the disk
 */
int virtio_sim_disk_write(struct virtio_sim *sim, u64 offset, const void *buf, size_t len)
{
	struct vsim_disk *disk = sim->model_data;

	guard(spinlock_irqsave)(&sim->lock);
	if (!vsim_on_disk(disk, offset, len))
		return -EINVAL;
	memcpy(disk->store + offset, buf, len);
	return 0;
}
EXPORT_SYMBOL_GPL(virtio_sim_disk_write);
