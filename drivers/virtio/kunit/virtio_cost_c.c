// SPDX-License-Identifier: GPL-2.0-only
/*
 * What posting and popping one buffer costs a C driver, to be compared with virtio_cost_rust.rs.
 *
 * Both modules do the same on a simulated device that does nothing by itself, and print the fewest
 * nanoseconds that an operation took: no interrupt came then. Under "qemu -icount shift=0" a
 * nanosecond is an instruction.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/device.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/ktime.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_sim.h>

#define COST_DEVICE	0xff40
#define COST_ROUNDS	10000

struct cost_request {
	u8 header[16];
	struct scatterlist data;
	u8 status;
};

struct cost {
	spinlock_t lock;	/* protects the queue and what is spare */
	struct virtqueue *vq;
	void *spare;
};

static void cost_used(struct virtqueue *vq)
{
	struct cost *cost = vq->vdev->priv;
	unsigned long flags;
	unsigned int len;
	void *buf;

	spin_lock_irqsave(&cost->lock, flags);
	do {
		virtqueue_disable_cb(vq);
		while ((buf = virtqueue_get_buf(vq, &len)))
			cost->spare = buf;
	} while (!virtqueue_enable_cb(vq));
	spin_unlock_irqrestore(&cost->lock, flags);
}

static noinline int cost_post_bytes(struct cost *cost, size_t len)
{
	struct scatterlist sg;
	unsigned long flags;
	bool notify = false;
	int err;

	spin_lock_irqsave(&cost->lock, flags);
	sg_init_one(&sg, cost->spare, len);
	err = virtqueue_add_outbuf(cost->vq, &sg, 1, cost->spare, GFP_ATOMIC);
	if (!err)
		notify = virtqueue_kick_prepare(cost->vq);
	spin_unlock_irqrestore(&cost->lock, flags);
	if (notify)
		virtqueue_notify(cost->vq);
	return err;
}

static noinline int cost_post_request(struct cost *cost, size_t unused)
{
	struct scatterlist header, status, *sgs[3];
	struct cost_request *request;
	unsigned long flags;
	bool notify = false;
	int err;

	spin_lock_irqsave(&cost->lock, flags);
	request = cost->spare;
	request->status = 0xff;
	sg_init_one(&header, request->header, sizeof(request->header));
	sg_init_one(&status, &request->status, sizeof(request->status));
	sgs[0] = &header;
	sgs[1] = &request->data;
	sgs[2] = &status;
	err = virtqueue_add_sgs(cost->vq, sgs, 1, 2, request, GFP_ATOMIC);
	if (!err)
		notify = virtqueue_kick_prepare(cost->vq);
	spin_unlock_irqrestore(&cost->lock, flags);
	if (notify)
		virtqueue_notify(cost->vq);
	return err;
}

static int cost_measure(struct virtio_sim *sim, const char *shape,
			int (*post)(struct cost *, size_t), size_t len)
{
	static struct virtio_sim_chain chain;
	struct cost *cost = virtio_sim_vdev(sim)->priv;
	s64 posting = S64_MAX, popping = S64_MAX, timing = S64_MAX;
	ktime_t start;
	int i, err;

	for (i = 0; i < COST_ROUNDS; i++) {
		start = ktime_get();
		timing = min(timing, ktime_to_ns(ktime_sub(ktime_get(), start)));

		start = ktime_get();
		err = post(cost, len);
		posting = min(posting, ktime_to_ns(ktime_sub(ktime_get(), start)));
		if (err)
			return err;

		/* The device is done, but does not interrupt. */
		if (!virtio_sim_take(sim, 0, &chain))
			return -EIO;
		virtio_sim_used(sim, 0, chain.id, chain.writable);

		start = ktime_get();
		cost_used(cost->vq);
		popping = min(popping, ktime_to_ns(ktime_sub(ktime_get(), start)));
	}
	pr_info("c %s post %lld pop %lld\n", shape, posting - timing, popping - timing);
	return 0;
}

static int cost_probe(struct virtio_device *vdev)
{
	struct cost *cost;

	cost = devm_kzalloc(&vdev->dev, sizeof(*cost), GFP_KERNEL);
	if (!cost)
		return -ENOMEM;
	spin_lock_init(&cost->lock);
	vdev->priv = cost;
	cost->vq = virtio_find_single_vq(vdev, cost_used, "cost");
	return PTR_ERR_OR_ZERO(cost->vq);
}

static void cost_remove(struct virtio_device *vdev)
{
	virtio_reset_device(vdev);
	vdev->config->del_vqs(vdev);
}

static const struct virtio_device_id cost_ids[] = {
	{ COST_DEVICE, VIRTIO_DEV_ANY_ID },
	{ }
};

static struct virtio_driver cost_driver = {
	.driver.name = KBUILD_MODNAME,
	.id_table = cost_ids,
	.probe = cost_probe,
	.remove = cost_remove,
};

static int cost_shapes(struct virtio_sim *sim)
{
	struct cost *cost = virtio_sim_vdev(sim)->priv;
	struct cost_request *request;
	struct page *page;
	void *bytes;
	int err;

	bytes = kzalloc(64, GFP_KERNEL);
	if (!bytes)
		return -ENOMEM;
	cost->spare = bytes;
	err = cost_measure(sim, "bytes", cost_post_bytes, 64);
	kfree(bytes);
	if (err)
		return err;

	request = kzalloc_obj(*request);
	page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (request && page) {
		sg_init_table(&request->data, 1);
		sg_set_page(&request->data, page, PAGE_SIZE, 0);
		cost->spare = request;
		err = cost_measure(sim, "request", cost_post_request, 0);
	} else {
		err = -ENOMEM;
	}
	if (page)
		__free_page(page);
	kfree(request);
	return err;
}

static int __init cost_init(void)
{
	struct virtio_sim_params params = {
		.features = { BIT_ULL(VIRTIO_F_VERSION_1) },
		.device_id = COST_DEVICE,
		.nr_queues = 1,
		.queue_size = 256,
	};
	struct virtio_sim *sim;
	int err;

	err = register_virtio_driver(&cost_driver);
	if (err)
		return err;
	sim = virtio_sim_create(&params);
	if (IS_ERR(sim)) {
		err = PTR_ERR(sim);
	} else {
		/* The bus may have been told not to probe by itself. */
		if (!virtio_sim_is_bound(sim))
			err = virtio_sim_bind(sim);
		if (!err)
			err = cost_shapes(sim);
		virtio_sim_destroy(sim);
	}
	unregister_virtio_driver(&cost_driver);
	return err;
}
module_init(cost_init);

static void __exit cost_exit(void)
{
}
module_exit(cost_exit);

MODULE_DESCRIPTION("Cost of posting and popping one virtio buffer in C");
MODULE_LICENSE("GPL");
