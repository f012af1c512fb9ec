// SPDX-License-Identifier: GPL-2.0
/*
 * A transport on the virtio bus whose device side is plain code in the same kernel, for tests.
 *
 * The driver side is the one of every transport: struct virtio_config_ops over vring. The device
 * side reads and writes the ring memory as a real device does, at the addresses that the core
 * reports, and it keeps to the specification unless a test asks it to lie.
 */
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/log2.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "virtio_sim.h"

/* The parent: drivers expect that a virtio device has one. */
static struct device *vsim_root;

static void vsim_get(struct virtio_device *vdev, unsigned int offset, void *buf, unsigned int len)
{
	struct virtio_sim *sim = to_virtio_sim(vdev);
	u8 *to = buf;

	guard(spinlock_irqsave)(&sim->lock);
	for (; len; len--, offset++, to++) {
		*to = offset < sim->config_len ? sim->config[offset] : 0;
		if (vsim_lies(sim, VIRTIO_SIM_CONFIG_FLIP) && offset < sizeof(sim->flip)) {
			*to ^= sim->flip[offset];
			sim->flip[offset] ^= 1;
		}
	}
}

static void vsim_set(struct virtio_device *vdev, unsigned int offset, const void *buf,
		     unsigned int len)
{
	struct virtio_sim *sim = to_virtio_sim(vdev);
	const u8 *from = buf;

	guard(spinlock_irqsave)(&sim->lock);
	for (; len && offset < sim->config_len; len--, offset++, from++)
		sim->config[offset] = *from;
}

static u32 vsim_generation(struct virtio_device *vdev)
{
	struct virtio_sim *sim = to_virtio_sim(vdev);
	u32 *left = &sim->lie_values[VIRTIO_SIM_GENERATION_UNSTABLE];

	guard(spinlock_irqsave)(&sim->lock);
	if (vsim_lies(sim, VIRTIO_SIM_GENERATION_UNSTABLE) && *left) {
		sim->generation++;
		if (*left != U32_MAX)
			--*left;
	}
	return sim->generation;
}

static u8 vsim_get_status(struct virtio_device *vdev)
{
	return virtio_sim_status(to_virtio_sim(vdev));
}

static void vsim_set_status(struct virtio_device *vdev, u8 status)
{
	struct virtio_sim *sim = to_virtio_sim(vdev);
	bool start;

	scoped_guard(spinlock_irqsave, &sim->lock) {
		if (vsim_lies(sim, VIRTIO_SIM_REFUSE_FEATURES_OK))
			status &= ~VIRTIO_CONFIG_S_FEATURES_OK;
		start = status & ~sim->status & VIRTIO_CONFIG_S_DRIVER_OK;
		sim->status = status;
	}
	for (u32 i = 0; start && i < sim->nr_queues; i++)
		vsim_kicked(&sim->queues[i]);
}

static void vsim_reset(struct virtio_device *vdev)
{
	struct virtio_sim *sim = to_virtio_sim(vdev);

	scoped_guard(spinlock_irqsave, &sim->lock) {
		sim->status = 0;
		/* What the driver wrote is forgotten. */
		memcpy(sim->config, sim->initial_config, sim->config_len);
	}
	for (u32 i = 0; i < sim->nr_queues; i++) {
		struct vsim_queue *q = &sim->queues[i];
		u32 id = vsim_any_id(q);

		vsim_stop_queue(q, true);
		vsim_late_interrupt(q, id);
	}
}

static void vsim_del_vqs(struct virtio_device *vdev)
{
	struct virtqueue *vq, *next;

	list_for_each_entry_safe(vq, next, &vdev->vqs, list) {
		struct vsim_queue *q = vq->priv;

		vsim_late_interrupt(q, 0);
		vsim_stop_queue(q, false);
		q->vq = NULL;
		vring_del_virtqueue(vq);
	}
}

static struct virtqueue *vsim_setup_vq(struct virtio_sim *sim, u32 index,
				       const struct virtqueue_info *info)
{
	struct vsim_queue *q = vsim_queue(sim, index);
	struct virtqueue *vq;

	if (!q)
		return ERR_PTR(-ENOENT);
	if (vsim_lies(sim, VIRTIO_SIM_FIND_VQS_FAILS) &&
	    sim->lie_values[VIRTIO_SIM_FIND_VQS_FAILS] == index)
		return ERR_PTR(-ENOMEM);

	vq = vring_create_virtqueue_map(index, sim->queue_size, SMP_CACHE_BYTES, &sim->vdev, true,
					false, info->ctx, vsim_notify, info->callback, info->name,
					sim->vdev.vmap);
	if (!vq)
		return ERR_PTR(-ENOMEM);
	vq->num_max = sim->queue_size;
	vq->priv = q;
	q->vq = vq;
	vsim_enable_queue(q);
	return vq;
}

static int vsim_find_vqs(struct virtio_device *vdev, unsigned int nvqs, struct virtqueue *vqs[],
			 struct virtqueue_info vqs_info[], struct irq_affinity *desc)
{
	struct virtio_sim *sim = to_virtio_sim(vdev);
	u32 index = 0;

	/* The driver would lose those it has if this failed. */
	if (!list_empty(&vdev->vqs))
		return -EBUSY;
	for (unsigned int i = 0; i < nvqs; i++) {
		vqs[i] = NULL;
		if (!vqs_info[i].name)
			continue;
		vqs[i] = vsim_setup_vq(sim, index++, &vqs_info[i]);
		if (IS_ERR(vqs[i])) {
			vsim_del_vqs(vdev);
			return PTR_ERR(vqs[i]);
		}
	}

	if (vsim_lies(sim, VIRTIO_SIM_IRQ_IN_FIND_VQS)) {
		for (u32 i = 0; i < index; i++) {
			if (sim->lie_values[VIRTIO_SIM_IRQ_IN_FIND_VQS])
				virtio_sim_used(sim, i, 0, 0);
			vsim_raise(&sim->queues[i], false);
		}
	}
	return 0;
}

static void vsim_synchronize_cbs(struct virtio_device *vdev)
{
	vsim_synchronize(to_virtio_sim(vdev));
}

static void vsim_get_features(struct virtio_device *vdev, u64 *features)
{
	virtio_features_copy(features, to_virtio_sim(vdev)->offered);
}

static int vsim_finalize_features(struct virtio_device *vdev)
{
	struct virtio_sim *sim = to_virtio_sim(vdev);
	bool ring_reset = __virtio_test_bit(vdev, VIRTIO_F_RING_RESET);

	vring_transport_features(vdev);
	/* Not a matter of the ring, so it was cleared. */
	if (ring_reset)
		__virtio_set_bit(vdev, VIRTIO_F_RING_RESET);

	guard(spinlock_irqsave)(&sim->lock);
	if (vsim_lies(sim, VIRTIO_SIM_EXTRA_FEATURE))
		__virtio_set_bit(vdev, sim->lie_values[VIRTIO_SIM_EXTRA_FEATURE]);
	virtio_features_copy(sim->accepted, vdev->features_array);
	return 0;
}

static const char *vsim_bus_name(struct virtio_device *vdev)
{
	return dev_name(vdev->dev.parent);
}

static int vsim_set_vq_affinity(struct virtqueue *vq, const struct cpumask *mask)
{
	struct vsim_queue *q = vq->priv;

	guard(spinlock_irqsave)(&q->sim->lock);
	if (mask)
		cpumask_copy(&q->affinity, mask);
	else
		cpumask_clear(&q->affinity);
	return 0;
}

static const struct cpumask *vsim_get_vq_affinity(struct virtio_device *vdev, int index)
{
	struct vsim_queue *q = vsim_queue(to_virtio_sim(vdev), index);

	return q && !cpumask_empty(&q->affinity) ? &q->affinity : NULL;
}

static int vsim_disable_vq_and_reset(struct virtqueue *vq)
{
	if (!virtio_has_feature(vq->vdev, VIRTIO_F_RING_RESET))
		return -ENOENT;
	if (IS_ENABLED(CONFIG_VIRTIO_HARDEN_NOTIFICATION))
		__virtqueue_break(vq);
	vsim_stop_queue(vq->priv, false);
	vq->reset = true;
	return 0;
}

static int vsim_enable_vq_after_reset(struct virtqueue *vq)
{
	if (!vq->reset)
		return -EBUSY;
	vsim_enable_queue(vq->priv);
	if (IS_ENABLED(CONFIG_VIRTIO_HARDEN_NOTIFICATION))
		__virtqueue_unbreak(vq);
	vq->reset = false;
	return 0;
}

static const struct virtio_config_ops vsim_config_ops = {
	.get			= vsim_get,
	.set			= vsim_set,
	.generation		= vsim_generation,
	.get_status		= vsim_get_status,
	.set_status		= vsim_set_status,
	.reset			= vsim_reset,
	.find_vqs		= vsim_find_vqs,
	.del_vqs		= vsim_del_vqs,
	.synchronize_cbs	= vsim_synchronize_cbs,
	.get_extended_features	= vsim_get_features,
	.finalize_features	= vsim_finalize_features,
	.bus_name		= vsim_bus_name,
	.set_vq_affinity	= vsim_set_vq_affinity,
	.get_vq_affinity	= vsim_get_vq_affinity,
	.disable_vq_and_reset	= vsim_disable_vq_and_reset,
	.enable_vq_after_reset	= vsim_enable_vq_after_reset,
};

static void vsim_free_device(struct virtio_sim *sim)
{
	if (sim->model)
		sim->model->free(sim->model_data);
	for (u32 i = 0; i < sim->nr_queues; i++)
		kvfree(sim->queues[i].taken);
	kvfree(sim->batch);
	kfree(sim);
}

static void vsim_release(struct device *dev)
{
	vsim_free_device(to_virtio_sim(dev_to_virtio(dev)));
}

static bool vsim_params_valid(const struct virtio_sim_params *params)
{
	u32 size = params->queue_size;

	if (!size || size > BIT(15))
		return false;
	if (!is_power_of_2(size) &&
	    !virtio_features_test_bit(params->features, VIRTIO_F_RING_PACKED))
		return false;
	return params->config_len <= VIRTIO_SIM_CONFIG_MAX;
}

static struct virtio_sim *vsim_alloc_device(const struct virtio_sim_params *params)
{
	struct virtio_sim *sim = kzalloc_flex(*sim, queues, params->nr_queues);

	if (!sim)
		return NULL;
	sim->nr_queues = params->nr_queues;
	sim->batch = kvzalloc_objs(*sim->batch, VSIM_BATCH);
	if (!sim->batch)
		goto err;
	for (u32 i = 0; i < sim->nr_queues; i++) {
		struct vsim_queue *q = &sim->queues[i];

		vsim_queue_init(q, sim);
		q->taken = kvzalloc_objs(*q->taken, params->queue_size);
		if (!q->taken)
			goto err;
	}
	return sim;

err:
	vsim_free_device(sim);
	return NULL;
}

/* As virtio_sim_create(), for a type of device. Frees @data with the device, or when this fails. */
struct virtio_sim *vsim_create(const struct virtio_sim_params *params,
			       const struct vsim_model *model, void *data)
{
	struct virtio_sim *sim = NULL;
	int err = 0;

	if (!vsim_params_valid(params))
		err = -EINVAL;
	else if (IS_ERR_OR_NULL(vsim_root))
		err = -ENODEV;
	else
		sim = vsim_alloc_device(params);
	if (!sim) {
		if (model)
			model->free(data);
		return ERR_PTR(err ?: -ENOMEM);
	}

	spin_lock_init(&sim->lock);
	sim->model = model;
	sim->model_data = data;
	virtio_features_copy(sim->offered, params->features);
	if (params->config_len) {
		memcpy(sim->config, params->config, params->config_len);
		memcpy(sim->initial_config, params->config, params->config_len);
	}
	sim->config_len = params->config_len;
	sim->queue_size = params->queue_size;
	sim->maps_left = U32_MAX;
	sim->counter = 1;
	if (model)
		virtio_sim_set_mode(sim, VIRTIO_SIM_ALL_QUEUES, VIRTIO_SIM_IN_KICK);

	sim->vdev.id.device = params->device_id;
	sim->vdev.config = &vsim_config_ops;
	sim->vdev.dev.parent = vsim_root;
	sim->vdev.dev.release = vsim_release;
	/* The core asks for it only with VIRTIO_F_ACCESS_PLATFORM. */
	sim->vdev.map = &vsim_map_ops;
	sim->vdev.vmap.dma_dev = &sim->vdev.dev;

	err = register_virtio_device(&sim->vdev);
	if (err) {
		put_device(&sim->vdev.dev);
		return ERR_PTR(err);
	}
	return sim;
}

/**
 * virtio_sim_create() - makes a device and registers it on the virtio bus
 * @params: what device
 *
 * A driver that matches is probed before this returns, unless it asked for asynchronous probing.
 * All queues start in VIRTIO_SIM_MANUAL mode.
 *
 * Return: the device, for virtio_sim_destroy(), or an error pointer
 */
struct virtio_sim *virtio_sim_create(const struct virtio_sim_params *params)
{
	return vsim_create(params, NULL, NULL);
}
EXPORT_SYMBOL_GPL(virtio_sim_create);

/**
 * virtio_sim_destroy() - unregisters a device, which unbinds its driver, and frees it
 * @sim: the device; not valid any more when this returns
 *
 * If it is prepared for a reset, that is done first, so this is for the task that prepared it.
 */
void virtio_sim_destroy(struct virtio_sim *sim)
{
	struct device *dev = get_device(&sim->vdev.dev);

	virtio_sim_reset_done(sim);
	unregister_virtio_device(&sim->vdev);
	/* A driver that leaves its queues behind must not leave us a timer, too. */
	for (u32 i = 0; i < sim->nr_queues; i++)
		vsim_stop_queue(&sim->queues[i], true);
	WARN_ON(!list_empty(&sim->vdev.vqs));
	put_device(dev);
}
EXPORT_SYMBOL_GPL(virtio_sim_destroy);

/**
 * virtio_sim_bind() - probes a driver that matches
 * @sim: the device
 *
 * A device that was left in the state FAILED is reset before, or that state would stay.
 *
 * Return: 0 if a driver is bound, -ENODEV or another error if not; -EBUSY if the device is frozen,
 *	since the driver core binds nothing while the system sleeps
 */
int virtio_sim_bind(struct virtio_sim *sim)
{
	int ret;

	if (sim->frozen)
		return -EBUSY;
	if (!device_is_bound(&sim->vdev.dev) &&
	    virtio_sim_status(sim) & VIRTIO_CONFIG_S_FAILED) {
		virtio_reset_device(&sim->vdev);
		virtio_add_status(&sim->vdev, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	}
	ret = device_attach(&sim->vdev.dev);
	if (ret < 0)
		return ret;
	return ret ? 0 : -ENODEV;
}
EXPORT_SYMBOL_GPL(virtio_sim_bind);

/**
 * virtio_sim_unbind() - removes the driver from the device, if there is one
 * @sim: the device
 */
void virtio_sim_unbind(struct virtio_sim *sim)
{
	device_release_driver(&sim->vdev.dev);
}
EXPORT_SYMBOL_GPL(virtio_sim_unbind);

/**
 * virtio_sim_freeze() - does what a transport does when the system is suspended
 * @sim: the device
 *
 * Return: that of virtio_device_freeze(); -EBUSY if the device is frozen, or prepared for a reset;
 *	-EOPNOTSUPP without CONFIG_PM_SLEEP
 */
int virtio_sim_freeze(struct virtio_sim *sim)
{
#ifdef CONFIG_PM_SLEEP
	int ret;

	guard(device)(&sim->vdev.dev);
	if (sim->frozen || sim->prepared)
		return -EBUSY;
	ret = virtio_device_freeze(&sim->vdev);
	sim->frozen = !ret;
	return ret;
#else
	return -EOPNOTSUPP;
#endif
}
EXPORT_SYMBOL_GPL(virtio_sim_freeze);

/**
 * virtio_sim_restore() - does what a transport does when the system is resumed
 * @sim: the device
 *
 * Return: that of virtio_device_restore(); -EINVAL if the device is not frozen
 */
int virtio_sim_restore(struct virtio_sim *sim)
{
#ifdef CONFIG_PM_SLEEP
	guard(device)(&sim->vdev.dev);
	if (sim->frozen) {
		sim->frozen = false;
		return virtio_device_restore(&sim->vdev);
	}
#endif
	return -EINVAL;
}
EXPORT_SYMBOL_GPL(virtio_sim_restore);

/**
 * virtio_sim_reset_prepare() - does what a transport does before it resets the device itself
 * @sim: the device
 *
 * The lock of the device is held until virtio_sim_reset_done(), which the same task has to call:
 * nobody is bound or unbound meanwhile.
 *
 * Return: that of virtio_device_reset_prepare(), so -EBUSY if the device is frozen, or also if it
 *	is prepared already
 */
int virtio_sim_reset_prepare(struct virtio_sim *sim)
{
	int ret;

	if (sim->prepared)
		return -EBUSY;
	ret = virtio_device_reset_prepare(&sim->vdev);
	sim->prepared = !ret;
	return ret;
}
EXPORT_SYMBOL_GPL(virtio_sim_reset_prepare);

/**
 * virtio_sim_reset_done() - does what a transport does after it reset the device itself
 * @sim: the device
 *
 * Return: that of virtio_device_reset_done(); -EINVAL if the device is not prepared for it
 */
int virtio_sim_reset_done(struct virtio_sim *sim)
{
	if (!sim->prepared)
		return -EINVAL;
	sim->prepared = false;
	return virtio_device_reset_done(&sim->vdev);
}
EXPORT_SYMBOL_GPL(virtio_sim_reset_done);

/**
 * virtio_sim_vdev() - the device on the virtio bus
 * @sim: the device
 *
 * Return: the virtio device, which lives until virtio_sim_destroy(), and longer for who holds a
 *	reference
 */
struct virtio_device *virtio_sim_vdev(struct virtio_sim *sim)
{
	return &sim->vdev;
}
EXPORT_SYMBOL_GPL(virtio_sim_vdev);

/**
 * virtio_sim_is_bound() - whether a driver drives the device
 * @sim: the device
 *
 * Return: true if a driver is bound, set DRIVER_OK, and did not set FAILED
 */
bool virtio_sim_is_bound(struct virtio_sim *sim)
{
	u8 status = virtio_sim_status(sim);

	return device_is_bound(&sim->vdev.dev) && status & VIRTIO_CONFIG_S_DRIVER_OK &&
	       !(status & VIRTIO_CONFIG_S_FAILED);
}
EXPORT_SYMBOL_GPL(virtio_sim_is_bound);

/**
 * virtio_sim_status() - the status byte
 * @sim: the device
 *
 * Return: bits VIRTIO_CONFIG_S_*
 */
u8 virtio_sim_status(struct virtio_sim *sim)
{
	guard(spinlock_irqsave)(&sim->lock);
	return sim->status;
}
EXPORT_SYMBOL_GPL(virtio_sim_status);

/**
 * virtio_sim_features() - what the driver accepted
 * @sim: the device
 * @features: receives VIRTIO_FEATURES_U64S words
 */
void virtio_sim_features(struct virtio_sim *sim, u64 *features)
{
	guard(spinlock_irqsave)(&sim->lock);
	virtio_features_copy(features, sim->accepted);
}
EXPORT_SYMBOL_GPL(virtio_sim_features);

/**
 * virtio_sim_driver_errors() - how often the driver side broke the rules
 * @sim: the device
 *
 * Return: the number of chains that make no sense and were left out, and of unmaps that do not
 *	match
 */
u32 virtio_sim_driver_errors(struct virtio_sim *sim)
{
	guard(spinlock_irqsave)(&sim->lock);
	return sim->driver_errors;
}
EXPORT_SYMBOL_GPL(virtio_sim_driver_errors);

static bool vsim_in_config(struct virtio_sim *sim, u32 offset, u32 len)
{
	return offset <= sim->config_len && len <= sim->config_len - offset;
}

/**
 * virtio_sim_get_config() - reads the configuration space, as the driver may have left it
 * @sim: the device
 * @offset: where to start, in bytes
 * @buf: receives the bytes
 * @len: how many
 *
 * Return: 0, or -EINVAL if that is not in the configuration space
 */
int virtio_sim_get_config(struct virtio_sim *sim, u32 offset, void *buf, u32 len)
{
	guard(spinlock_irqsave)(&sim->lock);
	if (!vsim_in_config(sim, offset, len))
		return -EINVAL;
	memcpy(buf, sim->config + offset, len);
	return 0;
}
EXPORT_SYMBOL_GPL(virtio_sim_get_config);

/**
 * virtio_sim_set_config() - changes the configuration space, and its generation
 * @sim: the device
 * @offset: where to start, in bytes
 * @buf: the bytes
 * @len: how many
 *
 * The driver is not told, see virtio_sim_config_interrupt().
 *
 * Return: 0, or -EINVAL if that is not in the configuration space
 */
int virtio_sim_set_config(struct virtio_sim *sim, u32 offset, const void *buf, u32 len)
{
	guard(spinlock_irqsave)(&sim->lock);
	if (!vsim_in_config(sim, offset, len))
		return -EINVAL;
	memcpy(sim->config + offset, buf, len);
	memcpy(sim->initial_config + offset, buf, len);
	sim->generation++;
	return 0;
}
EXPORT_SYMBOL_GPL(virtio_sim_set_config);

/**
 * virtio_sim_config_interrupt() - tells the driver that the configuration changed
 * @sim: the device
 */
void virtio_sim_config_interrupt(struct virtio_sim *sim)
{
	virtio_config_changed(&sim->vdev);
}
EXPORT_SYMBOL_GPL(virtio_sim_config_interrupt);

/**
 * virtio_sim_config_storm() - many configuration interrupts, for nothing
 * @sim: the device
 * @count: how many
 */
void virtio_sim_config_storm(struct virtio_sim *sim, u32 count)
{
	while (count--)
		virtio_config_changed(&sim->vdev);
}
EXPORT_SYMBOL_GPL(virtio_sim_config_storm);

/**
 * virtio_sim_device_lie() - makes the device as a whole wrong
 * @sim: the device
 * @lie: what is wrong
 * @value: see &enum virtio_sim_device_lie
 *
 * It stays until virtio_sim_be_honest().
 */
void virtio_sim_device_lie(struct virtio_sim *sim, enum virtio_sim_device_lie lie, u32 value)
{
	if (lie >= VIRTIO_SIM_NR_DEVICE_LIES)
		return;
	if (lie == VIRTIO_SIM_EXTRA_FEATURE && value >= VIRTIO_FEATURES_BITS)
		return;
	if (lie == VIRTIO_SIM_BREAK) {
		virtio_break_device(&sim->vdev);
		return;
	}
	guard(spinlock_irqsave)(&sim->lock);
	sim->lies |= BIT(lie);
	sim->lie_values[lie] = value;
}
EXPORT_SYMBOL_GPL(virtio_sim_device_lie);

/**
 * virtio_sim_be_honest() - ends all lies, of the device and of its queues
 * @sim: the device
 *
 * What was done is not undone: a queue that the core marked broken stays so.
 */
void virtio_sim_be_honest(struct virtio_sim *sim)
{
	virtio_sim_lie(sim, VIRTIO_SIM_ALL_QUEUES, VIRTIO_SIM_HONEST, 0, 0);
	guard(spinlock_irqsave)(&sim->lock);
	sim->lies = 0;
	memset(sim->flip, 0, sizeof(sim->flip));
}
EXPORT_SYMBOL_GPL(virtio_sim_be_honest);

/**
 * virtio_sim_fail_nth() - makes an allocation of this task fail
 * @n: which one, counted from now on: 1 is the next one; 0 is none
 *
 * Only what failslab may fail counts; see its ignore-gfp-wait in debugfs for what may sleep.
 *
 * Return: false if the kernel was built without CONFIG_FAILSLAB
 */
bool virtio_sim_fail_nth(u32 n)
{
#ifdef CONFIG_FAILSLAB
	WRITE_ONCE(current->fail_nth, n);
	return true;
#else
	return false;
#endif
}
EXPORT_SYMBOL_GPL(virtio_sim_fail_nth);

/**
 * virtio_sim_fail_nth_left() - how many allocations there are until one fails
 *
 * Return: what is left of the count, 0 if the allocation failed or there is none to fail
 */
u32 virtio_sim_fail_nth_left(void)
{
#ifdef CONFIG_FAILSLAB
	return READ_ONCE(current->fail_nth);
#else
	return 0;
#endif
}
EXPORT_SYMBOL_GPL(virtio_sim_fail_nth_left);

/**
 * virtio_sim_set_killed() - makes this task one that was killed, or not any more
 * @killed: whether it was
 *
 * For kernel threads, to which nobody else can do this.
 */
void virtio_sim_set_killed(bool killed)
{
	guard(spinlock_irq)(&current->sighand->siglock);
	if (killed)
		sigaddset(&current->pending.signal, SIGKILL);
	else
		sigdelset(&current->pending.signal, SIGKILL);
	recalc_sigpending();
}
EXPORT_SYMBOL_GPL(virtio_sim_set_killed);

static int __init vsim_init(void)
{
	vsim_root = root_device_register("virtio-sim");
	return PTR_ERR_OR_ZERO(vsim_root);
}
device_initcall(vsim_init);
