/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _DRIVERS_VIRTIO_VIRTIO_SIM_H
#define _DRIVERS_VIRTIO_VIRTIO_SIM_H

/*
 * The simulated device, inside: virtio_sim.c is the transport, virtio_sim_map.c the mapping of
 * buffers, virtio_sim_queue.c decides when a queue is served, virtio_sim_service.c how, and
 * virtio_sim_ring.c knows what a ring looks like to a device. virtio_sim_disk.c is one type of
 * device; without a type the device copies what it reads.
 */

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/cpumask.h>
#include <linux/hrtimer.h>
#include <linux/spinlock.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_sim.h>

/* Chains that are taken before the first of them is used. */
#define VSIM_BATCH		16

#define VSIM_PACKED_AVAIL	BIT(VRING_PACKED_DESC_F_AVAIL)
#define VSIM_PACKED_USED	BIT(VRING_PACKED_DESC_F_USED)

/* A buffer that the device has, by its id. */
struct vsim_taken {
	u64 serial;		/* zero: the device does not have it (any more) */
	u16 descs;		/* by how much a packed used ring moves on */
	bool pending;		/* scratch of vsim_set_next_flags() */
};

struct vsim_queue {
	struct virtio_sim *sim;
	struct virtqueue *vq;
	bool ring;		/* the ring memory exists */
	bool enabled;		/* the device may use it */
	enum virtio_sim_mode mode;
	struct hrtimer timer;
	bool slow;		/* the timer is that of VIRTIO_SIM_SLOW, and goes on */
	bool polling;		/* vsim_poll() has called the driver, */
	bool again;		/* and has to look once more after that */
	cpumask_t affinity;

	u64 kicks;
	u64 interrupts;
	u64 suppressed;

	enum virtio_sim_lie lie;
	u32 lie_value;
	u32 lie_times;

	bool packed;
	bool event_idx;
	u32 num;
	union {
		struct vring_desc *desc;
		struct vring_packed_desc *packed_desc;
	};
	union {
		struct vring_avail *avail;
		struct vring_packed_desc_event *driver_event;
	};
	union {
		struct vring_used *used;
		struct vring_packed_desc_event *device_event;
	};
	/* Split: free-running indexes. Packed: positions, with their wrap counters. */
	u16 avail_pos;
	u16 used_pos;
	bool avail_wrap;
	bool used_wrap;
	u16 unsignalled;	/* by how much used_pos moved since the driver was told */
	struct vsim_taken *taken;
};

/* What a type of device does. */
struct vsim_model {
	/*
	 * Answers a chain, with the lock held: writes no more than the first @limit writable bytes,
	 * but puts into @len how many an honest device reports. Returns whether there is an answer.
	 */
	bool (*answer)(struct virtio_sim *sim, const struct virtio_sim_chain *c, u32 limit,
		       u32 *len);
	void (*free)(void *data);
};

struct virtio_sim {
	struct virtio_device vdev;
	const struct vsim_model *model;
	void *model_data;
	/*
	 * Protects what the device side knows. Never held while the driver is called: its
	 * callbacks may kick, map, or read the configuration, which all comes back to us.
	 */
	spinlock_t lock;
	atomic_t callbacks;	/* calls of vring_interrupt() that have not returned */

	bool frozen;		/* this and the next: one task at a time */
	bool prepared;

	u64 offered[VIRTIO_FEATURES_U64S];
	u64 accepted[VIRTIO_FEATURES_U64S];
	u8 status;
	u32 generation;
	u32 config_len;
	u8 config[VIRTIO_SIM_CONFIG_MAX];
	u8 initial_config[VIRTIO_SIM_CONFIG_MAX];	/* what a reset brings back */
	u8 flip[VIRTIO_SIM_CONFIG_MAX];

	u32 lies;		/* bits of enum virtio_sim_device_lie */
	u32 lie_values[VIRTIO_SIM_NR_DEVICE_LIES];

	u32 driver_errors;
	u32 mapped;
	u64 mapped_sum;		/* over the mappings, to see what does not match */
	u32 maps_left;		/* until they fail; U32_MAX: they do not */

	u8 counter;		/* what is written beyond the loopback */
	struct virtio_sim_chain *batch;
	u32 queue_size;
	u32 nr_queues;
	struct vsim_queue queues[] __counted_by(nr_queues);
};

static inline struct virtio_sim *to_virtio_sim(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_sim, vdev);
}

static inline struct vsim_queue *vsim_queue(struct virtio_sim *sim, u32 queue)
{
	return queue < sim->nr_queues ? &sim->queues[queue] : NULL;
}

static inline bool vsim_lies(struct virtio_sim *sim, enum virtio_sim_device_lie lie)
{
	return sim->lies & BIT(lie);
}

/* Mappings are the identity, with and without VIRTIO_F_ACCESS_PLATFORM. */
static inline void *vsim_ptr(u64 addr)
{
	return phys_to_virt((phys_addr_t)addr);
}

/* virtio_sim.c */
struct virtio_sim *vsim_create(const struct virtio_sim_params *params,
			       const struct vsim_model *model, void *data);

/* virtio_sim_map.c */
extern const struct virtio_map_ops vsim_map_ops;

/* virtio_sim_ring.c, with the lock held */
void vsim_ring_attach(struct vsim_queue *q);
void vsim_advance_used(struct vsim_queue *q, u16 n);
bool vsim_wants_interrupt(struct vsim_queue *q);
u16 vsim_avail_count(struct vsim_queue *q);
u16 vsim_avail_head(struct vsim_queue *q, u16 pos);
bool vsim_next_chain(struct vsim_queue *q, struct virtio_sim_chain *c);
void vsim_push_used(struct vsim_queue *q, u32 id, u32 len);
void vsim_jump_used(struct vsim_queue *q, u32 by);
void vsim_move_used_back(struct vsim_queue *q, u32 by);
void vsim_forget(struct vsim_queue *q);

/* virtio_sim_service.c, with the lock held */
u32 vsim_copy(const struct virtio_sim_chain *c, bool writable, u32 offset, void *buf, u32 len);
u32 vsim_serve(struct vsim_queue *q, u32 max);

/* virtio_sim_queue.c, without the lock */
void vsim_queue_init(struct vsim_queue *q, struct virtio_sim *sim);
void vsim_enable_queue(struct vsim_queue *q);
void vsim_stop_queue(struct vsim_queue *q, bool keep_ring);
void vsim_late_interrupt(struct vsim_queue *q, u32 id);
u32 vsim_any_id(struct vsim_queue *q);
bool vsim_notify(struct virtqueue *vq);
void vsim_kicked(struct vsim_queue *q);
bool vsim_raise(struct vsim_queue *q, bool honest);
void vsim_synchronize(struct virtio_sim *sim);

#endif /* _DRIVERS_VIRTIO_VIRTIO_SIM_H */
