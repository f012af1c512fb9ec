// SPDX-License-Identifier: GPL-2.0-only
/*
 * Simulated entropy devices, for as long as the module is loaded, to measure what reading from
 * /dev/hwrng costs with the driver that is loaded, in C or in Rust, and what a device takes.
 *
 * With empty=1 the module brings a driver of its own, which does nothing but what a virtqueue asks
 * for, and prints how many nanoseconds the same read takes with that, on average. Under
 * "qemu -icount shift=0" a nanosecond is an instruction. The device answers within the
 * notification, so what it does itself is counted, too.
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
#include <linux/rcupdate.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_sim.h>

#define COST_DEVICES	32

static unsigned int size = SZ_4K;
module_param(size, uint, 0);
MODULE_PARM_DESC(size, "bytes to read");

static unsigned int devices = 1;
module_param(devices, uint, 0);
MODULE_PARM_DESC(devices, "devices, one of which is read from");

static unsigned int rounds = 1000;
module_param(rounds, uint, 0);
MODULE_PARM_DESC(rounds, "how often it is measured");

static bool empty;
module_param(empty, bool, 0);
MODULE_PARM_DESC(empty, "bring a driver that only uses the virtqueue");

static struct virtio_sim *cost_sims[COST_DEVICES];

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

	/* What the last unbind frees late. */
	rcu_barrier();
	si_meminfo(&info);
	return (s64)info.freeram * PAGE_SIZE;
}

static s64 cost_unbind(void)
{
	ktime_t start = ktime_get();

	for (u32 i = 0; i < devices; i++)
		virtio_sim_unbind(cost_sims[i]);
	return div_s64(cost_since(start), devices);
}

static int cost_bind(s64 *took)
{
	ktime_t start = ktime_get();

	for (u32 i = 0; i < devices; i++) {
		int err = virtio_sim_bind(cost_sims[i]);

		if (err)
			return err;
		if (empty && virtio_sim_vdev(cost_sims[i])->dev.driver != &cost_empty_driver.driver)
			return -EBUSY;
	}
	*took = div_s64(cost_since(start), devices);
	return 0;
}

static int cost_of_device(void)
{
	s64 probe, remove, memory;
	int err;

	/* The bus may have been told not to probe by itself, or not. */
	cost_unbind();
	err = cost_bind(&probe);
	if (err)
		return err;
	/* The first time takes what stays. */
	remove = cost_unbind();
	memory = cost_free_memory();
	err = cost_bind(&probe);
	if (err)
		return err;
	memory -= cost_free_memory();
	pr_info("%s probe %lld remove %lld memory %lld\n",
		virtio_sim_vdev(cost_sims[0])->dev.driver->name, probe, remove,
		div_s64(memory, devices));
	return 0;
}

static int cost_measure(void *buf)
{
	struct virtqueue *vq = virtio_sim_vdev(cost_sims[0])->priv;
	s64 timing = S64_MAX, sum = 0;

	for (u32 round = 0; round < rounds; round++) {
		ktime_t start = ktime_get();
		int err;

		timing = min(timing, cost_since(start));
		start = ktime_get();
		err = cost_empty_read(vq, buf);
		sum += cost_since(start);
		if (err)
			return err;
	}
	pr_info("empty read %lld\n", div_s64(sum, rounds) - timing);
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

static void cost_destroy(void)
{
	for (u32 i = 0; i < devices && cost_sims[i]; i++) {
		/* Who breaks the rules is not compared. */
		if (virtio_sim_driver_errors(cost_sims[i]))
			pr_err("the driver broke the rules\n");
		virtio_sim_destroy(cost_sims[i]);
		cost_sims[i] = NULL;
	}
}

static int cost_create(const struct virtio_sim_params *params)
{
	for (u32 i = 0; i < devices; i++) {
		struct virtio_sim *sim = virtio_sim_create(params);

		if (IS_ERR(sim))
			return PTR_ERR(sim);
		virtio_sim_set_mode(sim, 0, VIRTIO_SIM_IN_KICK);
		cost_sims[i] = sim;
	}
	return 0;
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

	if (!size || size > SZ_1M || !rounds || !in_range(devices, 1, COST_DEVICES))
		return -EINVAL;
	if (empty) {
		err = register_virtio_driver(&cost_empty_driver);
		if (err)
			return err;
	}
	err = cost_create(&params);
	if (!err)
		err = cost_of_device();
	if (!err && empty)
		err = cost_without_driver();
	if (err)
		cost_destroy();
	if (err == -ENODEV) {
		pr_info("there is no driver for entropy devices\n");
		return 0;
	}
	if (err && empty)
		unregister_virtio_driver(&cost_empty_driver);
	return err;
}
module_init(cost_init);

static void __exit cost_exit(void)
{
	cost_destroy();
	if (empty)
		unregister_virtio_driver(&cost_empty_driver);
}
module_exit(cost_exit);

MODULE_DESCRIPTION("Cost of reading from a virtio entropy device");
MODULE_LICENSE("GPL");
