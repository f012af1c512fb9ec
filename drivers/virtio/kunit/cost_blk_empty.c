// SPDX-License-Identifier: GPL-2.0-only
#include <linux/device.h>
#include <linux/gfp.h>
#include <linux/minmax.h>
#include <linux/spinlock.h>
#include <linux/virtio_config.h>

#include "cost_blk.h"

struct cost_empty_queue {
	spinlock_t lock;	/* of the virtqueue */
	struct virtqueue *vq;
};

struct cost_empty {
	struct cost_empty_queue queues[COST_QUEUES];
};

static unsigned int cost_empty_queues;

static void cost_empty_used(struct virtqueue *vq)
{
	struct cost_empty *empty = vq->vdev->priv;
	struct cost_empty_queue *q = &empty->queues[vq->index];
	struct cost_empty_request *request;
	unsigned long flags;
	unsigned int len;

	spin_lock_irqsave(&q->lock, flags);
	do {
		virtqueue_disable_cb(vq);
		while ((request = virtqueue_get_buf(vq, &len)))
			atomic_dec(request->pending);
	} while (!virtqueue_enable_cb(vq));
	spin_unlock_irqrestore(&q->lock, flags);
}

/* Each of them can be posted again once it is back. */
void cost_empty_init(struct cost_empty_request *request, struct scatterlist *data,
		     atomic_t *pending)
{
	request->header.type = cpu_to_le32(VIRTIO_BLK_T_IN);
	sg_init_one(&request->header_sg, &request->header, sizeof(request->header));
	sg_init_one(&request->status_sg, &request->status, sizeof(request->status));
	request->data = data;
	request->pending = pending;
}

static int cost_empty_add(struct virtqueue *vq, struct cost_empty_request *request)
{
	struct scatterlist *sgs[] = { &request->header_sg, request->data, &request->status_sg };

	return virtqueue_add_sgs(vq, sgs, 1, 2, request, GFP_ATOMIC);
}

/* The device is notified once for @batch of them. */
int cost_empty_submit(struct virtio_device *vdev, u32 queue, struct cost_empty_request *requests,
		      u32 count, u32 batch)
{
	struct cost_empty *empty = vdev->priv;
	struct cost_empty_queue *q = &empty->queues[queue];
	int err = 0;

	for (u32 done = 0; !err && done < count; done += batch) {
		unsigned long flags;
		bool notify;

		spin_lock_irqsave(&q->lock, flags);
		for (u32 i = done; !err && i < min(done + batch, count); i++)
			err = cost_empty_add(q->vq, &requests[i]);
		notify = virtqueue_kick_prepare(q->vq);
		spin_unlock_irqrestore(&q->lock, flags);
		if (notify)
			virtqueue_notify(q->vq);
	}
	return err;
}

static int cost_empty_probe(struct virtio_device *vdev)
{
	struct virtqueue_info infos[COST_QUEUES] = {};
	struct virtqueue *vqs[COST_QUEUES];
	struct cost_empty *empty;
	int err;

	empty = devm_kzalloc(&vdev->dev, sizeof(*empty), GFP_KERNEL);
	if (!empty)
		return -ENOMEM;
	for (u32 i = 0; i < cost_empty_queues; i++) {
		spin_lock_init(&empty->queues[i].lock);
		infos[i].name = "requests";
		infos[i].callback = cost_empty_used;
	}
	vdev->priv = empty;
	err = virtio_find_vqs(vdev, cost_empty_queues, vqs, infos, NULL);
	if (err)
		return err;
	for (u32 i = 0; i < cost_empty_queues; i++)
		empty->queues[i].vq = vqs[i];
	return 0;
}

static void cost_empty_remove(struct virtio_device *vdev)
{
	virtio_reset_device(vdev);
	vdev->config->del_vqs(vdev);
}

static const struct virtio_device_id cost_empty_ids[] = {
	{ VIRTIO_ID_BLOCK, VIRTIO_DEV_ANY_ID },
	{ }
};

static struct virtio_driver cost_empty_driver = {
	.driver.name = "empty",
	.id_table = cost_empty_ids,
	.probe = cost_empty_probe,
	.remove = cost_empty_remove,
};

/* For disks that no other driver takes. */
int cost_empty_register(unsigned int queues)
{
	cost_empty_queues = queues;
	return register_virtio_driver(&cost_empty_driver);
}

/* Or somebody else has it. */
bool cost_empty_is_bound(struct virtio_device *vdev)
{
	return vdev->dev.driver == &cost_empty_driver.driver;
}

void cost_empty_unregister(void)
{
	unregister_virtio_driver(&cost_empty_driver);
}
