/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _DRIVERS_VIRTIO_KUNIT_COST_BLK_H
#define _DRIVERS_VIRTIO_KUNIT_COST_BLK_H

/*
 * A driver for disks that does nothing but what the virtqueue asks for: no block layer, no limits,
 * no errors. What it costs is what the virtqueue costs, with the same features.
 */

#include <linux/atomic.h>
#include <linux/scatterlist.h>
#include <linux/virtio.h>
#include <uapi/linux/virtio_blk.h>

#define COST_QUEUES	8

/* A request that is ready to be posted, again and again. */
struct cost_empty_request {
	struct virtio_blk_outhdr header;
	u8 status;
	struct scatterlist header_sg;
	struct scatterlist status_sg;
	struct scatterlist *data;
	atomic_t *pending;	/* counts down when it is back */
};

int cost_empty_register(unsigned int queues);
bool cost_empty_is_bound(struct virtio_device *vdev);
void cost_empty_unregister(void);
void cost_empty_init(struct cost_empty_request *request, struct scatterlist *data,
		     atomic_t *pending);
int cost_empty_submit(struct virtio_device *vdev, u32 queue, struct cost_empty_request *requests,
		      u32 count, u32 batch);

#endif /* _DRIVERS_VIRTIO_KUNIT_COST_BLK_H */
