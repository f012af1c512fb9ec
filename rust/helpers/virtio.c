// SPDX-License-Identifier: GPL-2.0

#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/scatterlist.h>
#include <linux/spinlock.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>

#if IS_BUILTIN(CONFIG_VIRTIO)

__rust_helper int rust_helper_virtio_find_vqs(struct virtio_device *vdev,
					      unsigned int nvqs,
					      struct virtqueue *vqs[],
					      struct virtqueue_info vqs_info[],
					      struct irq_affinity *desc)
{
	return virtio_find_vqs(vdev, nvqs, vqs, vqs_info, desc);
}

__rust_helper void rust_helper_virtio_device_ready(struct virtio_device *dev)
{
	virtio_device_ready(dev);
}

__rust_helper unsigned long rust_helper_spin_lock_irqsave(spinlock_t *lock)
{
	unsigned long flags;

	spin_lock_irqsave(lock, flags);
	return flags;
}

__rust_helper bool rust_helper_spin_trylock_irqsave(spinlock_t *lock,
						    unsigned long *flags)
{
	return spin_trylock_irqsave(lock, *flags);
}

__rust_helper void rust_helper_spin_unlock_irqrestore(spinlock_t *lock,
						      unsigned long flags)
{
	spin_unlock_irqrestore(lock, flags);
}

/*
 * Unlocks the lock of a queue and notifies the device after that, if it wants to
 * know. False if the device cannot be reached. Who deletes the queue waits for a
 * grace period between the last time it was locked and that.
 */
__rust_helper bool rust_helper_virtqueue_unlock_and_kick(struct virtqueue *vq,
							 spinlock_t *lock,
							 unsigned long flags)
{
	bool notify, sent = true;

	rcu_read_lock();
	notify = virtqueue_kick_prepare(vq);
	spin_unlock_irqrestore(lock, flags);
	if (notify)
		sent = virtqueue_notify(vq);
	rcu_read_unlock();
	return sent;
}

__rust_helper void rust_helper_sg_set_page(struct scatterlist *sg,
					   struct page *page, unsigned int len,
					   unsigned int offset)
{
	sg_set_page(sg, page, len, offset);
}

#ifndef CONFIG_MODULE_UNLOAD
__rust_helper bool rust_helper_try_module_get(struct module *module)
{
	return try_module_get(module);
}

__rust_helper void rust_helper_module_put(struct module *module)
{
	module_put(module);
}
#endif

#endif
