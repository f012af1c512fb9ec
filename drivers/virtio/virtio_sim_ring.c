// SPDX-License-Identifier: GPL-2.0
/*
 * The rings of the simulated device: what the driver made available, what the device used, and
 * who wants to be told. All functions are called with the lock held.
 */
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/string.h>

#include "virtio_sim.h"

static atomic64_t vsim_serial = ATOMIC64_INIT(0);

/* Moves a ring position on by @n, at most the ring size if that is packed. */
static void vsim_advance(struct vsim_queue *q, u16 *pos, bool *wrap, u16 n)
{
	u32 next = *pos + n;

	if (q->packed && next >= q->num) {
		next -= q->num;
		*wrap = !*wrap;
	}
	*pos = next;
}

void vsim_advance_used(struct vsim_queue *q, u16 n)
{
	vsim_advance(q, &q->used_pos, &q->used_wrap, n);
	q->unsignalled += n;
}

static u16 vsim_packed_event(u16 pos, bool wrap)
{
	return pos | wrap << VRING_PACKED_EVENT_F_WRAP_CTR;
}

/* Without EVENT_IDX the flags in the ring stay zero, and every kick comes. */
static void vsim_ask_for_kick(struct vsim_queue *q)
{
	if (!q->event_idx)
		return;
	if (q->packed) {
		u16 event = vsim_packed_event(q->avail_pos, q->avail_wrap);

		WRITE_ONCE(q->device_event->off_wrap, cpu_to_le16(event));
		/* The flags say that the offset is valid. */
		smp_wmb();
		WRITE_ONCE(q->device_event->flags, cpu_to_le16(VRING_PACKED_EVENT_FLAG_DESC));
	} else {
		__virtio16 *avail_event = (__virtio16 *)&q->used->ring[q->num];

		WRITE_ONCE(*avail_event, cpu_to_virtio16(&q->sim->vdev, q->avail_pos));
	}
	/* The driver must see the event before we look at the ring again, or a kick is lost. */
	smp_mb();
}

bool vsim_wants_interrupt(struct vsim_queue *q)
{
	struct virtio_device *vdev = &q->sim->vdev;
	u16 moved = q->unsignalled;
	u16 event, flags;
	bool wanted;

	if (!moved)
		return false;
	q->unsignalled = 0;
	/* What was used must be visible before the driver's wish is read, or it may see neither. */
	smp_mb();

	if (q->packed) {
		flags = le16_to_cpu(READ_ONCE(q->driver_event->flags));
		/* The offset is valid if the flags say so. */
		smp_rmb();
		event = le16_to_cpu(READ_ONCE(q->driver_event->off_wrap));
		if (flags != VRING_PACKED_EVENT_FLAG_DESC) {
			wanted = flags != VRING_PACKED_EVENT_FLAG_DISABLE;
		} else {
			bool wrap = event >> VRING_PACKED_EVENT_F_WRAP_CTR;

			event &= ~BIT(VRING_PACKED_EVENT_F_WRAP_CTR);
			if (wrap != q->used_wrap)
				event -= q->num;
			wanted = vring_need_event(event, q->used_pos, q->used_pos - moved);
		}
	} else if (q->event_idx) {
		event = virtio16_to_cpu(vdev, READ_ONCE(q->avail->ring[q->num]));
		wanted = vring_need_event(event, q->used_pos, q->used_pos - moved);
	} else {
		flags = virtio16_to_cpu(vdev, READ_ONCE(q->avail->flags));
		wanted = !(flags & VRING_AVAIL_F_NO_INTERRUPT);
	}
	if (!wanted)
		q->suppressed++;
	return wanted;
}

static bool vsim_add_segment(struct virtio_sim_chain *c, u64 addr, u32 len, bool writable)
{
	u32 *total = writable ? &c->writable : &c->readable;
	void *start = vsim_ptr(addr);

	if (c->nr_segments == VIRTIO_SIM_SEGMENTS || !len || (!writable && c->writable) ||
	    check_add_overflow(*total, len, total) ||
	    !virt_addr_valid(start) || !virt_addr_valid(start + len - 1))
		return false;
	c->segments[c->nr_segments++] = (struct virtio_sim_segment) { start, len, writable };
	return true;
}

/* Adds the chain that starts at @i of a split table; counts its descriptors if it is the ring. */
static bool vsim_walk_split(struct vsim_queue *q, struct virtio_sim_chain *c,
			    const struct vring_desc *table, u32 num, u16 i)
{
	struct virtio_device *vdev = &q->sim->vdev;
	u32 seen = 0;
	u16 flags;

	do {
		const struct vring_desc *d = &table[i];
		u64 addr;
		u32 len;

		/* A chain that is longer than its table runs in circles. */
		if (i >= num || seen++ == num)
			return false;
		flags = virtio16_to_cpu(vdev, READ_ONCE(d->flags));
		addr = virtio64_to_cpu(vdev, READ_ONCE(d->addr));
		len = virtio32_to_cpu(vdev, READ_ONCE(d->len));
		i = virtio16_to_cpu(vdev, READ_ONCE(d->next));
		if (table == q->desc)
			c->descs++;
		if (flags & VRING_DESC_F_INDIRECT) {
			/* Only one level, and nothing behind it. */
			return table == q->desc && !(flags & VRING_DESC_F_NEXT) &&
			       len && !(len % sizeof(*d)) && virt_addr_valid(vsim_ptr(addr)) &&
			       vsim_walk_split(q, c, vsim_ptr(addr), len / sizeof(*d), 0);
		}
		if (!vsim_add_segment(c, addr, len, flags & VRING_DESC_F_WRITE))
			return false;
	} while (flags & VRING_DESC_F_NEXT);
	return true;
}

u16 vsim_avail_count(struct vsim_queue *q)
{
	return virtio16_to_cpu(&q->sim->vdev, READ_ONCE(q->avail->idx)) - q->avail_pos;
}

u16 vsim_avail_head(struct vsim_queue *q, u16 pos)
{
	return virtio16_to_cpu(&q->sim->vdev, READ_ONCE(q->avail->ring[pos & (q->num - 1)]));
}

/* Returns 1 for a chain, 0 if there is none, -EPROTO for one that makes no sense. */
static int vsim_read_split(struct vsim_queue *q, struct virtio_sim_chain *c)
{
	u16 count = vsim_avail_count(q);

	if (!count)
		return 0;
	if (count > q->num) {
		q->avail_pos += count;
		return -EPROTO;
	}
	/* The index comes before what it makes available. */
	smp_rmb();
	c->id = vsim_avail_head(q, q->avail_pos++);
	return vsim_walk_split(q, c, q->desc, q->num, c->id) ? 1 : -EPROTO;
}

static bool vsim_add_packed(struct virtio_sim_chain *c, const struct vring_packed_desc *d,
			    u16 flags)
{
	return vsim_add_segment(c, le64_to_cpu(READ_ONCE(d->addr)), le32_to_cpu(READ_ONCE(d->len)),
			       flags & VRING_DESC_F_WRITE);
}

static bool vsim_walk_packed_indirect(struct virtio_sim_chain *c, const struct vring_packed_desc *d)
{
	const struct vring_packed_desc *table = vsim_ptr(le64_to_cpu(READ_ONCE(d->addr)));
	u32 len = le32_to_cpu(READ_ONCE(d->len));
	u32 i;

	if (!len || len % sizeof(*table) || !virt_addr_valid(table))
		return false;
	for (i = 0; i < len / sizeof(*table); i++) {
		if (!vsim_add_packed(c, &table[i], le16_to_cpu(READ_ONCE(table[i].flags))))
			return false;
	}
	return true;
}

/* As vsim_read_split(). */
static int vsim_read_packed(struct vsim_queue *q, struct virtio_sim_chain *c)
{
	const struct vring_packed_desc *d = &q->packed_desc[q->avail_pos];
	u16 flags = le16_to_cpu(READ_ONCE(d->flags));
	bool ok = true;

	if (!!(flags & VSIM_PACKED_AVAIL) != q->avail_wrap ||
	    !!(flags & VSIM_PACKED_USED) == q->avail_wrap)
		return 0;
	/* The flags of the head come before the rest of the chain. */
	smp_rmb();
	c->pos = q->avail_pos;
	do {
		d = &q->packed_desc[q->avail_pos];
		flags = le16_to_cpu(READ_ONCE(d->flags));
		/* That of the last descriptor counts. */
		c->id = le16_to_cpu(READ_ONCE(d->id));
		if (!(flags & VRING_DESC_F_INDIRECT))
			ok = ok && vsim_add_packed(c, d, flags);
		else
			ok = ok && !c->descs && !(flags & VRING_DESC_F_NEXT) &&
			     vsim_walk_packed_indirect(c, d);
		vsim_advance(q, &q->avail_pos, &q->avail_wrap, 1);
	} while (++c->descs < q->num && flags & VRING_DESC_F_NEXT);
	return ok && c->id < q->num ? 1 : -EPROTO;
}

/* Takes the next chain that the driver made available. */
bool vsim_next_chain(struct vsim_queue *q, struct virtio_sim_chain *c)
{
	int ret;

	do {
		c->queue = q - q->sim->queues;
		c->readable = 0;
		c->writable = 0;
		c->nr_segments = 0;
		c->pos = 0;
		c->descs = 0;
		ret = q->packed ? vsim_read_packed(q, c) : vsim_read_split(q, c);
		if (!ret)
			return false;
		vsim_ask_for_kick(q);
		if (ret < 0)
			q->sim->driver_errors++;
	} while (ret < 0);

	c->serial = atomic64_inc_return(&vsim_serial);
	q->taken[c->id] = (struct vsim_taken) { .serial = c->serial, .descs = c->descs };
	return true;
}

/* From here on the driver may own what was taken: the chains are no longer ours to touch. */
void vsim_forget(struct vsim_queue *q)
{
	for (u32 i = 0; i < q->num; i++)
		q->taken[i].serial = 0;
}

void vsim_push_used(struct vsim_queue *q, u32 id, u32 len)
{
	struct virtio_device *vdev = &q->sim->vdev;
	u16 step = 1;

	/* After a used entry that is not true, nobody knows what the driver takes back. */
	if (id >= q->num || !q->taken[id].serial)
		vsim_forget(q);
	else
		q->taken[id].serial = 0;

	if (q->packed) {
		struct vring_packed_desc *d = &q->packed_desc[q->used_pos];
		u16 flags = q->used_wrap ? VSIM_PACKED_AVAIL | VSIM_PACKED_USED : 0;

		if (id < q->num && q->taken[id].descs)
			step = q->taken[id].descs;
		WRITE_ONCE(d->id, cpu_to_le16(id));
		WRITE_ONCE(d->len, cpu_to_le32(len));
		/* The flags make it used. */
		smp_wmb();
		WRITE_ONCE(d->flags, cpu_to_le16(flags | (len ? VRING_DESC_F_WRITE : 0)));
	} else {
		vring_used_elem_t *elem = &q->used->ring[q->used_pos & (q->num - 1)];

		WRITE_ONCE(elem->id, cpu_to_virtio32(vdev, id));
		WRITE_ONCE(elem->len, cpu_to_virtio32(vdev, len));
		/* The index makes it used. */
		smp_wmb();
		WRITE_ONCE(q->used->idx, cpu_to_virtio16(vdev, q->used_pos + 1));
	}
	vsim_advance_used(q, step);
}

void vsim_jump_used(struct vsim_queue *q, u32 by)
{
	u16 flags;

	vsim_forget(q);
	if (!q->packed) {
		vsim_advance_used(q, by);
		WRITE_ONCE(q->used->idx, cpu_to_virtio16(&q->sim->vdev, q->used_pos));
		return;
	}
	for (by = min(by, q->num); by; by--) {
		flags = q->used_wrap ? VSIM_PACKED_AVAIL | VSIM_PACKED_USED : 0;
		WRITE_ONCE(q->packed_desc[q->used_pos].flags, cpu_to_le16(flags));
		vsim_advance_used(q, 1);
	}
}

/* A packed ring has no index to move; there the next entry lands where the driver was before. */
void vsim_move_used_back(struct vsim_queue *q, u32 by)
{
	vsim_forget(q);
	if (q->packed) {
		/* Once around the ring flips the counter, so back is on and a flip. */
		vsim_advance(q, &q->used_pos, &q->used_wrap, q->num - min(by, q->num));
		q->used_wrap = !q->used_wrap;
	} else {
		q->used_pos -= by;
		WRITE_ONCE(q->used->idx, cpu_to_virtio16(&q->sim->vdev, q->used_pos));
	}
	q->unsignalled += by;
}

/* Starts with the fresh ring of q->vq. */
void vsim_ring_attach(struct vsim_queue *q)
{
	struct virtio_device *vdev = &q->sim->vdev;

	q->packed = virtio_has_feature(vdev, VIRTIO_F_RING_PACKED);
	q->event_idx = virtio_has_feature(vdev, VIRTIO_RING_F_EVENT_IDX);
	q->num = virtqueue_get_vring_size(q->vq);
	q->desc = vsim_ptr(virtqueue_get_desc_addr(q->vq));
	q->avail = vsim_ptr(virtqueue_get_avail_addr(q->vq));
	q->used = vsim_ptr(virtqueue_get_used_addr(q->vq));
	q->avail_pos = 0;
	q->used_pos = 0;
	q->avail_wrap = true;
	q->used_wrap = true;
	q->unsignalled = 0;
	memset(q->taken, 0, q->num * sizeof(*q->taken));
	vsim_ask_for_kick(q);
}
