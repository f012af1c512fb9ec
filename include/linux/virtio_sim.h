/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_VIRTIO_SIM_H
#define _LINUX_VIRTIO_SIM_H

/*
 * A simulated virtio device, for tests that run in the same kernel as the driver.
 *
 * The tests hold the device side: they decide when a buffer is used and when an interrupt comes,
 * and they can make the device lie. Unless a comment says otherwise, a function may be called in
 * any context but not from a callback of the driver under test, and a queue that does not exist
 * is ignored.
 */

#include <linux/limits.h>
#include <linux/types.h>
#include <linux/virtio_features.h>

struct virtio_device;
struct virtio_sim;

/* Bytes in the configuration space, at most. */
#define VIRTIO_SIM_CONFIG_MAX	256
/* Segments in one chain, at most. A longer chain counts as an error of the driver. */
#define VIRTIO_SIM_SEGMENTS	256
/* Names every queue, where the function says so. */
#define VIRTIO_SIM_ALL_QUEUES	U32_MAX
/* For virtio_sim_lie(): there is no end to it. */
#define VIRTIO_SIM_FOREVER	U32_MAX

/**
 * struct virtio_sim_params - what device to simulate
 * @features: the feature bits that the device offers
 * @config: content of the configuration space, copied; the rest is zero
 * @device_id: device type, VIRTIO_ID_*
 * @nr_queues: virtqueues that the device has
 * @queue_size: descriptors per queue, at most 32768; a power of two for a split ring
 * @config_len: bytes in the configuration space
 */
struct virtio_sim_params {
	u64 features[VIRTIO_FEATURES_U64S];
	const void *config;
	u32 device_id;
	u32 nr_queues;
	u32 queue_size;
	u32 config_len;
};

/**
 * enum virtio_sim_mode - what the device does when a queue is kicked
 * @VIRTIO_SIM_MANUAL: counts the kick; the test serves the queue
 * @VIRTIO_SIM_IN_KICK: serves all that is available and interrupts, before the kick returns; a
 *	driver whose callback makes buffers available without end keeps it from returning
 * @VIRTIO_SIM_DEFERRED: does the same a little later, in hard-interrupt context
 * @VIRTIO_SIM_SLOW: serves what is available one by one, each after 200 milliseconds
 */
enum virtio_sim_mode {
	VIRTIO_SIM_MANUAL,
	VIRTIO_SIM_IN_KICK,
	VIRTIO_SIM_DEFERRED,
	VIRTIO_SIM_SLOW,
};

/**
 * enum virtio_sim_lie - what can be wrong with the service of a chain
 * @VIRTIO_SIM_HONEST: nothing
 * @VIRTIO_SIM_LIE_ID: the used entry names the id `value`
 * @VIRTIO_SIM_LIE_DUPLICATE: the chain is used twice
 * @VIRTIO_SIM_LIE_LEN: the used length is `value`
 * @VIRTIO_SIM_LIE_UNWRITTEN: the full length is claimed, nothing is written
 * @VIRTIO_SIM_LIE_SHORT: no more than `value` bytes are written and claimed
 * @VIRTIO_SIM_LIE_IDX_JUMP: the used index then goes on by `value`; in a packed ring the next
 *	`value` descriptors are marked used
 * @VIRTIO_SIM_LIE_IDX_BACK: the chain is not returned, the used index goes back by `value`
 * @VIRTIO_SIM_LIE_NEXT_FLAG_ALL: VRING_DESC_F_NEXT is set on every descriptor of a split ring, but
 *	for those which the device has yet to read. The driver must not add buffers meanwhile.
 * @VIRTIO_SIM_LIE_NEXT_FLAG_ONE: the same, on the head of the chain only
 * @VIRTIO_SIM_LIE_DESC_REWRITE: the chain's descriptors in the ring become rubbish
 * @VIRTIO_SIM_LIE_NEVER: the chain is taken and never returned
 * @VIRTIO_SIM_LIE_NEWEST_FIRST: up to 16 chains are used in reverse order; the lie is counted once
 *	for all of them. Only with VIRTIO_F_IN_ORDER this is a lie.
 */
enum virtio_sim_lie {
	VIRTIO_SIM_HONEST,
	VIRTIO_SIM_LIE_ID,
	VIRTIO_SIM_LIE_DUPLICATE,
	VIRTIO_SIM_LIE_LEN,
	VIRTIO_SIM_LIE_UNWRITTEN,
	VIRTIO_SIM_LIE_SHORT,
	VIRTIO_SIM_LIE_IDX_JUMP,
	VIRTIO_SIM_LIE_IDX_BACK,
	VIRTIO_SIM_LIE_NEXT_FLAG_ALL,
	VIRTIO_SIM_LIE_NEXT_FLAG_ONE,
	VIRTIO_SIM_LIE_DESC_REWRITE,
	VIRTIO_SIM_LIE_NEVER,
	VIRTIO_SIM_LIE_NEWEST_FIRST,
};

/**
 * enum virtio_sim_device_lie - what can be wrong with the device as a whole
 * @VIRTIO_SIM_REFUSE_FEATURES_OK: FEATURES_OK does not stay set
 * @VIRTIO_SIM_GENERATION_UNSTABLE: the next `value` reads of the configuration generation return
 *	different values; C drivers do not end a read before that. U32_MAX means for ever.
 * @VIRTIO_SIM_CONFIG_FLIP: every second read of a configuration byte has its lowest bit inverted
 * @VIRTIO_SIM_IRQ_IN_FIND_VQS: all queues are interrupted before find_vqs returns; if `value` is
 *	not zero, with a used entry that is not true
 * @VIRTIO_SIM_IRQ_AFTER_RESET: all queues get a used entry and an interrupt at the end of a reset,
 *	and again when they are deleted
 * @VIRTIO_SIM_EXTRA_FEATURE: feature bit `value` is negotiated without being asked for. No device
 *	can do that, but a transport can.
 * @VIRTIO_SIM_FIND_VQS_FAILS: there is no memory for queue `value`
 * @VIRTIO_SIM_BREAK: all queues are marked broken, now. Process context.
 * @VIRTIO_SIM_NR_DEVICE_LIES: how many there are
 */
enum virtio_sim_device_lie {
	VIRTIO_SIM_REFUSE_FEATURES_OK,
	VIRTIO_SIM_GENERATION_UNSTABLE,
	VIRTIO_SIM_CONFIG_FLIP,
	VIRTIO_SIM_IRQ_IN_FIND_VQS,
	VIRTIO_SIM_IRQ_AFTER_RESET,
	VIRTIO_SIM_EXTRA_FEATURE,
	VIRTIO_SIM_FIND_VQS_FAILS,
	VIRTIO_SIM_BREAK,
	VIRTIO_SIM_NR_DEVICE_LIES,
};

/**
 * struct virtio_sim_segment - one piece of a buffer
 * @addr: where it lies; valid while the chain is in flight
 * @len: bytes
 * @writable: the device writes to it, if not, it reads from it
 */
struct virtio_sim_segment {
	void *addr;
	u32 len;
	bool writable;
};

/**
 * struct virtio_sim_chain - a buffer that the driver made available
 * @serial: tells this chain from every other one that any simulated device ever took
 * @queue: the queue it came from
 * @id: what the used entry has to name
 * @readable: bytes for the device to read
 * @writable: bytes for the device to write
 * @nr_segments: entries in @segments
 * @pos: packed ring: where it starts
 * @descs: descriptors that it occupies in the ring
 * @segments: the pieces, the readable ones first
 */
struct virtio_sim_chain {
	u64 serial;
	u32 queue;
	u32 id;
	u32 readable;
	u32 writable;
	u32 nr_segments;
	u16 pos;
	u16 descs;
	struct virtio_sim_segment segments[VIRTIO_SIM_SEGMENTS];
};

/* Process context, from here to virtio_sim_reset_done(). */
struct virtio_sim *virtio_sim_create(const struct virtio_sim_params *params);
void virtio_sim_destroy(struct virtio_sim *sim);
int virtio_sim_bind(struct virtio_sim *sim);
void virtio_sim_unbind(struct virtio_sim *sim);
int virtio_sim_freeze(struct virtio_sim *sim);
int virtio_sim_restore(struct virtio_sim *sim);
int virtio_sim_reset_prepare(struct virtio_sim *sim);
int virtio_sim_reset_done(struct virtio_sim *sim);

struct virtio_device *virtio_sim_vdev(struct virtio_sim *sim);
bool virtio_sim_is_bound(struct virtio_sim *sim);
u8 virtio_sim_status(struct virtio_sim *sim);
void virtio_sim_features(struct virtio_sim *sim, u64 *features);
u32 virtio_sim_driver_errors(struct virtio_sim *sim);
u32 virtio_sim_mapped(struct virtio_sim *sim);
void virtio_sim_fail_maps(struct virtio_sim *sim, u32 after_n);

u64 virtio_sim_kicks(struct virtio_sim *sim, u32 queue);
u64 virtio_sim_interrupts(struct virtio_sim *sim, u32 queue);
u64 virtio_sim_interrupts_suppressed(struct virtio_sim *sim, u32 queue);
bool virtio_sim_has_affinity(struct virtio_sim *sim, u32 queue, unsigned int cpu);

void virtio_sim_set_mode(struct virtio_sim *sim, u32 queue, enum virtio_sim_mode mode);
u32 virtio_sim_answer(struct virtio_sim *sim, u32 queue, u32 max);
u32 virtio_sim_serve(struct virtio_sim *sim, u32 queue, u32 max);
bool virtio_sim_take(struct virtio_sim *sim, u32 queue, struct virtio_sim_chain *chain);
int virtio_sim_copy_out(struct virtio_sim *sim, const struct virtio_sim_chain *chain, u32 offset,
			void *buf, u32 len);
int virtio_sim_write_in(struct virtio_sim *sim, const struct virtio_sim_chain *chain, u32 offset,
			const void *buf, u32 len);
void virtio_sim_used(struct virtio_sim *sim, u32 queue, u32 id, u32 len);
bool virtio_sim_notify(struct virtio_sim *sim, u32 queue);
bool virtio_sim_interrupt(struct virtio_sim *sim, u32 queue);
void virtio_sim_storm(struct virtio_sim *sim, u32 queue, u32 count);

int virtio_sim_get_config(struct virtio_sim *sim, u32 offset, void *buf, u32 len);
int virtio_sim_set_config(struct virtio_sim *sim, u32 offset, const void *buf, u32 len);
void virtio_sim_config_interrupt(struct virtio_sim *sim);
void virtio_sim_config_storm(struct virtio_sim *sim, u32 count);

void virtio_sim_lie(struct virtio_sim *sim, u32 queue, enum virtio_sim_lie lie, u32 value,
		    u32 times);
void virtio_sim_device_lie(struct virtio_sim *sim, enum virtio_sim_device_lie lie, u32 value);
void virtio_sim_be_honest(struct virtio_sim *sim);

bool virtio_sim_fail_nth(u32 n);
u32 virtio_sim_fail_nth_left(void);
void virtio_sim_set_killed(bool killed);

#endif /* _LINUX_VIRTIO_SIM_H */
