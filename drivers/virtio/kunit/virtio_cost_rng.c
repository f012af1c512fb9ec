// SPDX-License-Identifier: GPL-2.0-only
/*
 * A simulated entropy device, for as long as the module is loaded, to measure what reading from
 * /dev/hwrng costs with the driver that is loaded, in C or in Rust.
 *
 * With empty=1 the module brings a driver of its own, which does nothing but what a virtqueue asks
 * for, and prints what the same read costs with that: the fewest nanoseconds, as no other interrupt
 * came then. Under "qemu -icount shift=0" a nanosecond is an instruction. The device answers within
 * the notification, so what it does itself is counted, too.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/device.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/ktime.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_sim.h>

static unsigned int size = SZ_4K;
module_param(size, uint, 0);
MODULE_PARM_DESC(size, "bytes to read");

static unsigned int rounds = 1000;
module_param(rounds, uint, 0);
MODULE_PARM_DESC(rounds, "how often it is measured");

static bool empty;
module_param(empty, bool, 0);
MODULE_PARM_DESC(empty, "bring a driver that only uses the virtqueue");

static struct virtio_sim *cost_sim;

static noinline int cost_empty_read(struct virtqueue *vq, void *buf)
{
	struct scatterlist sg;
	unsigned int len;
	int err;

	sg_init_one(&sg, buf, size);
	err = virtqueue_add_inbuf(vq, &sg, 1, buf, GFP_KERNEL);
	if (err)
		return err;
	virtqueue_kick(vq);
	return virtqueue_get_buf(vq, &len) && len == size ? 0 : -EIO;
}

static void cost_empty_used(struct virtqueue *vq)
{
}

static int cost_empty_probe(struct virtio_device *vdev)
{
	vdev->priv = virtio_find_single_vq(vdev, cost_empty_used, "input");
	return PTR_ERR_OR_ZERO(vdev->priv);
}

static void cost_empty_remove(struct virtio_device *vdev)
{
	virtio_reset_device(vdev);
	vdev->config->del_vqs(vdev);
}

static const struct virtio_device_id cost_empty_ids[] = {
	{ VIRTIO_ID_RNG, VIRTIO_DEV_ANY_ID },
	{ }
};

static struct virtio_driver cost_empty_driver = {
	.driver.name = "empty",
	.id_table = cost_empty_ids,
	.probe = cost_empty_probe,
	.remove = cost_empty_remove,
};

static s64 cost_since(ktime_t start)
{
	return ktime_to_ns(ktime_sub(ktime_get(), start));
}

static s64 cost_free_memory(void)
{
	struct sysinfo info;

	si_meminfo(&info);
	return (s64)info.freeram * PAGE_SIZE;
}

static int cost_bind(void)
{
	s64 probe, remove = 0, memory;

	/* The first time takes what stays, and the bus may have bound it or not. */
	for (int i = 0; i < 2; i++) {
		ktime_t start = ktime_get();
		int err;

		virtio_sim_unbind(cost_sim);
		remove = cost_since(start);

		memory = cost_free_memory();
		start = ktime_get();
		err = virtio_sim_bind(cost_sim);
		if (err)
			return err;
		probe = cost_since(start);
		memory -= cost_free_memory();
	}
	pr_info("%s probe %lld remove %lld memory %lld\n",
		virtio_sim_vdev(cost_sim)->dev.driver->name, probe, remove, memory);
	return 0;
}

static int cost_measure(void *buf)
{
	struct virtqueue *vq = virtio_sim_vdev(cost_sim)->priv;
	s64 took = S64_MAX, timing = S64_MAX;

	for (u32 round = 0; round < rounds; round++) {
		ktime_t start = ktime_get();
		int err;

		timing = min(timing, cost_since(start));
		start = ktime_get();
		err = cost_empty_read(vq, buf);
		took = min(took, cost_since(start));
		if (err)
			return err;
	}
	pr_info("empty read %lld\n", took - timing);
	return 0;
}

static int cost_without_driver(void)
{
	void *buf = kzalloc(size, GFP_KERNEL);
	int err;

	if (!buf)
		return -ENOMEM;
	err = cost_measure(buf);
	kfree(buf);
	return err;
}

static int __init cost_init(void)
{
	struct virtio_sim_params params = {
		.features = {
			BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) |
			BIT_ULL(VIRTIO_RING_F_EVENT_IDX)
		},
		.device_id = VIRTIO_ID_RNG,
		.nr_queues = 1,
		.queue_size = 8,
	};
	int err;

	if (!size || size > SZ_1M)
		return -EINVAL;
	if (empty) {
		err = register_virtio_driver(&cost_empty_driver);
		if (err)
			return err;
	}
	cost_sim = virtio_sim_create(&params);
	err = PTR_ERR_OR_ZERO(cost_sim);
	if (!err) {
		virtio_sim_set_mode(cost_sim, 0, VIRTIO_SIM_IN_KICK);
		err = cost_bind();
		if (!err && empty)
			err = cost_without_driver();
		if (err)
			virtio_sim_destroy(cost_sim);
	}
	if (err && empty)
		unregister_virtio_driver(&cost_empty_driver);
	return err;
}
module_init(cost_init);

static void __exit cost_exit(void)
{
	/* Who breaks the rules is not compared. */
	if (virtio_sim_driver_errors(cost_sim))
		pr_err("the driver broke the rules\n");
	virtio_sim_destroy(cost_sim);
	if (empty)
		unregister_virtio_driver(&cost_empty_driver);
}
module_exit(cost_exit);

MODULE_DESCRIPTION("Cost of reading from a virtio entropy device");
MODULE_LICENSE("GPL");
