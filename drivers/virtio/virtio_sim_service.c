// SPDX-License-Identifier: GPL-2.0
/*
 * What the simulated device does with a buffer, honestly or not. All functions are called with the
 * lock held.
 */
#include <linux/minmax.h>
#include <linux/string.h>

#include "virtio_sim.h"

/* Copies from or to the readable or the writable bytes of @c. Returns how many there were. */
u32 vsim_copy(const struct virtio_sim_chain *c, bool writable, u32 offset, void *buf, u32 len)
{
	u32 done = 0;

	for (u32 i = 0; i < c->nr_segments && done < len; i++) {
		const struct virtio_sim_segment *s = &c->segments[i];
		u32 n;

		if (s->writable != writable)
			continue;
		if (offset >= s->len) {
			offset -= s->len;
			continue;
		}
		n = min(s->len - offset, len - done);
		if (writable)
			memcpy(s->addr + offset, buf + done, n);
		else
			memcpy(buf + done, s->addr + offset, n);
		done += n;
		offset = 0;
	}
	return done;
}

/* Writes the first @len writable bytes: what is readable, and then a running counter. */
static void vsim_loopback(struct virtio_sim *sim, const struct virtio_sim_chain *c, u32 len)
{
	u8 bounce[64];

	for (u32 done = 0, n; done < len; done += n) {
		n = min(len - done, sizeof(bounce));
		for (u32 i = vsim_copy(c, false, done, bounce, n); i < n; i++)
			bounce[i] = sim->counter++;
		vsim_copy(c, true, done, bounce, n);
	}
}

/* Which lie the next chain is served with. The order is a matter of the batch, not of the chain. */
static enum virtio_sim_lie vsim_next_lie(struct vsim_queue *q, bool batch)
{
	bool of_batch = q->lie == VIRTIO_SIM_LIE_NEWEST_FIRST;

	if (!q->lie_times || of_batch != batch)
		return VIRTIO_SIM_HONEST;
	if (q->lie_times != VIRTIO_SIM_FOREVER)
		q->lie_times--;
	return q->lie;
}

static void vsim_set_next_flag(struct vsim_queue *q, u16 i)
{
	__virtio16 next = cpu_to_virtio16(&q->sim->vdev, VRING_DESC_F_NEXT);

	WRITE_ONCE(q->desc[i].flags, READ_ONCE(q->desc[i].flags) | next);
}

/* Leaves out what the device has yet to read, or it would fool itself. */
static void vsim_set_next_flags(struct vsim_queue *q)
{
	struct virtio_device *vdev = &q->sim->vdev;
	u16 count = min(vsim_avail_count(q), q->num);

	for (u32 i = 0; i < q->num; i++)
		q->taken[i].pending = false;
	while (count--) {
		u16 i = vsim_avail_head(q, q->avail_pos + count);

		while (i < q->num && !q->taken[i].pending) {
			q->taken[i].pending = true;
			if (!(virtio16_to_cpu(vdev, q->desc[i].flags) & VRING_DESC_F_NEXT))
				break;
			i = virtio16_to_cpu(vdev, q->desc[i].next);
		}
	}
	for (u32 i = 0; i < q->num; i++) {
		if (!q->taken[i].pending)
			vsim_set_next_flag(q, i);
	}
}

static void vsim_rewrite_descs(struct vsim_queue *q, const struct virtio_sim_chain *c)
{
	struct virtio_device *vdev = &q->sim->vdev;
	u16 i = q->packed ? c->pos : c->id;

	for (u16 n = 0; n < c->descs && i < q->num; n++) {
		if (q->packed) {
			struct vring_packed_desc *d = &q->packed_desc[i];

			WRITE_ONCE(d->addr, cpu_to_le64(0xdead4ead00000000));
			WRITE_ONCE(d->len, cpu_to_le32(U32_MAX));
			i = i + 1 < q->num ? i + 1 : 0;
		} else {
			struct vring_desc *d = &q->desc[i];

			i = virtio16_to_cpu(vdev, READ_ONCE(d->next));
			WRITE_ONCE(d->addr, cpu_to_virtio64(vdev, 0xdead4ead00000000));
			WRITE_ONCE(d->len, cpu_to_virtio32(vdev, U32_MAX));
			WRITE_ONCE(d->next, cpu_to_virtio16(vdev, U16_MAX));
		}
	}
}

static void vsim_complete(struct vsim_queue *q, const struct virtio_sim_chain *c)
{
	enum virtio_sim_lie lie = vsim_next_lie(q, false);
	const struct vsim_model *model = q->sim->model;
	u32 len = c->writable;
	u32 limit = U32_MAX;
	u32 id = c->id;

	if (lie == VIRTIO_SIM_LIE_NEVER)
		return;
	if (lie == VIRTIO_SIM_LIE_SHORT)
		limit = q->lie_value;
	else if (lie == VIRTIO_SIM_LIE_UNWRITTEN)
		limit = 0;
	if (!model)
		vsim_loopback(q->sim, c, min(len, limit));
	else if (!model->answer(q->sim, c, limit, &len))
		return;

	switch (lie) {
	case VIRTIO_SIM_LIE_SHORT:
		len = min(len, limit);
		break;
	case VIRTIO_SIM_LIE_ID:
		id = q->lie_value;
		break;
	case VIRTIO_SIM_LIE_LEN:
		len = q->lie_value;
		break;
	case VIRTIO_SIM_LIE_NEXT_FLAG_ALL:
		if (!q->packed)
			vsim_set_next_flags(q);
		break;
	case VIRTIO_SIM_LIE_NEXT_FLAG_ONE:
		if (!q->packed)
			vsim_set_next_flag(q, c->id);
		break;
	case VIRTIO_SIM_LIE_DESC_REWRITE:
		vsim_rewrite_descs(q, c);
		break;
	case VIRTIO_SIM_LIE_IDX_BACK:
		vsim_move_used_back(q, q->lie_value);
		return;
	default:
		break;
	}

	vsim_push_used(q, id, len);
	if (lie == VIRTIO_SIM_LIE_DUPLICATE)
		vsim_push_used(q, id, len);
	else if (lie == VIRTIO_SIM_LIE_IDX_JUMP)
		vsim_jump_used(q, q->lie_value);
}

u32 vsim_serve(struct vsim_queue *q, u32 max)
{
	struct virtio_sim_chain *batch = q->sim->batch;
	u32 served = 0;
	u32 n;

	do {
		bool reverse;

		for (n = 0; n < VSIM_BATCH && served + n < max; n++) {
			if (!vsim_next_chain(q, &batch[n]))
				break;
		}
		reverse = n && vsim_next_lie(q, true);
		for (u32 i = 0; i < n; i++)
			vsim_complete(q, &batch[reverse ? n - 1 - i : i]);
		served += n;
	} while (n == VSIM_BATCH);
	return served;
}
