// SPDX-License-Identifier: GPL-2.0
/*
 * The queues of the simulated device: when they are served, and when the driver is interrupted.
 */
#include <linux/cleanup.h>
#include <linux/export.h>
#include <linux/irqflags.h>
#include <linux/minmax.h>
#include <linux/processor.h>

#include "virtio_sim.h"

/* How long after a kick a VIRTIO_SIM_DEFERRED queue is served. */
#define VSIM_DELAY_NS		(50 * NSEC_PER_USEC)

/* How long a VIRTIO_SIM_SLOW queue takes for each buffer. */
#define VSIM_SLOW_NS		(200 * NSEC_PER_MSEC)

/* Interrupts the driver; an honest device only while the queue is enabled. */
bool vsim_raise(struct vsim_queue *q, bool honest)
{
	struct virtio_sim *sim = q->sim;
	struct virtqueue *vq = NULL;
	unsigned long flags;
	bool handled;

	/* Callbacks are written for interrupts off. It also keeps us from sleeping in between. */
	local_irq_save(flags);
	scoped_guard(spinlock, &sim->lock) {
		if (honest ? q->enabled : q->ring) {
			vq = q->vq;
			q->interrupts++;
			atomic_inc(&sim->callbacks);
		}
	}
	handled = vq && vring_interrupt(0, vq) == IRQ_HANDLED;
	if (vq)
		atomic_dec_return_release(&sim->callbacks);
	local_irq_restore(flags);
	return handled;
}

/* Waits for callbacks that are running, as synchronize_irq() does. */
void vsim_synchronize(struct virtio_sim *sim)
{
	unsigned long flags;

	/* Who raises an interrupt takes the lock, and so sees what was written before. */
	spin_lock_irqsave(&sim->lock, flags);
	spin_unlock_irqrestore(&sim->lock, flags);
	while (atomic_read_acquire(&sim->callbacks))
		cpu_relax();
}

/* Serves a queue until nothing is available. A kick from a callback does not nest. */
static void vsim_poll(struct vsim_queue *q)
{
	struct virtio_sim *sim = q->sim;
	unsigned long flags;

	spin_lock_irqsave(&sim->lock, flags);
	q->again = true;
	while (!q->polling && q->again && q->enabled) {
		q->again = false;
		vsim_serve(q, U32_MAX);
		if (!vsim_wants_interrupt(q))
			break;
		q->polling = true;
		spin_unlock_irqrestore(&sim->lock, flags);
		vsim_raise(q, true);
		spin_lock_irqsave(&sim->lock, flags);
		q->polling = false;
	}
	spin_unlock_irqrestore(&sim->lock, flags);
}

static enum hrtimer_restart vsim_timer(struct hrtimer *timer)
{
	struct vsim_queue *q = container_of(timer, struct vsim_queue, timer);
	bool slow, raise = false;

	scoped_guard(spinlock_irqsave, &q->sim->lock) {
		slow = q->slow;
		if (slow) {
			q->slow = q->enabled && vsim_serve(q, 1);
			raise = q->slow && vsim_wants_interrupt(q);
		}
	}
	if (!slow) {
		vsim_poll(q);
		return HRTIMER_NORESTART;
	}
	if (raise)
		vsim_raise(q, true);

	guard(spinlock_irqsave)(&q->sim->lock);
	if (!q->slow)
		return HRTIMER_NORESTART;
	hrtimer_forward_now(timer, ns_to_ktime(VSIM_SLOW_NS));
	return HRTIMER_RESTART;
}

/* What is available before DRIVER_OK waits for that. */
void vsim_kicked(struct vsim_queue *q)
{
	enum virtio_sim_mode mode;

	scoped_guard(spinlock_irqsave, &q->sim->lock) {
		mode = VIRTIO_SIM_MANUAL;
		if (q->enabled && q->sim->status & VIRTIO_CONFIG_S_DRIVER_OK)
			mode = q->mode;
		/* Under the lock, so that no timer starts after the queue was stopped. */
		if (mode == VIRTIO_SIM_DEFERRED)
			hrtimer_start(&q->timer, ns_to_ktime(VSIM_DELAY_NS), HRTIMER_MODE_REL);
		if (mode == VIRTIO_SIM_SLOW && !q->slow) {
			q->slow = true;
			hrtimer_start(&q->timer, ns_to_ktime(VSIM_SLOW_NS), HRTIMER_MODE_REL);
		}
	}
	if (mode == VIRTIO_SIM_IN_KICK)
		vsim_poll(q);
}

bool vsim_notify(struct virtqueue *vq)
{
	struct vsim_queue *q = vq->priv;

	scoped_guard(spinlock_irqsave, &q->sim->lock)
		q->kicks++;
	vsim_kicked(q);
	return true;
}

void vsim_enable_queue(struct vsim_queue *q)
{
	guard(spinlock_irqsave)(&q->sim->lock);
	vsim_ring_attach(q);
	q->ring = true;
	q->enabled = true;
}

/* The device stops using the queue; without @keep_ring, its memory may go after that. */
void vsim_stop_queue(struct vsim_queue *q, bool keep_ring)
{
	scoped_guard(spinlock_irqsave, &q->sim->lock) {
		q->enabled = false;
		q->ring = q->ring && keep_ring;
		q->again = false;
		q->slow = false;
		vsim_forget(q);
	}
	hrtimer_cancel(&q->timer);
	vsim_synchronize(q->sim);
}

/* VIRTIO_SIM_IRQ_AFTER_RESET: a stopped queue goes on. */
void vsim_late_interrupt(struct vsim_queue *q, u32 id)
{
	scoped_guard(spinlock_irqsave, &q->sim->lock) {
		if (!q->ring || !vsim_lies(q->sim, VIRTIO_SIM_IRQ_AFTER_RESET))
			return;
		vsim_push_used(q, id, 0);
	}
	vsim_raise(q, false);
}

/* What to use late: a buffer that the device has, or could have; else any number does. */
u32 vsim_any_id(struct vsim_queue *q)
{
	guard(spinlock_irqsave)(&q->sim->lock);
	if (!q->enabled || !vsim_lies(q->sim, VIRTIO_SIM_IRQ_AFTER_RESET))
		return 0;
	for (u32 i = 0; i < q->num; i++) {
		if (q->taken[i].serial)
			return i;
	}
	return vsim_next_chain(q, q->sim->batch) ? q->sim->batch->id : 0;
}

void vsim_queue_init(struct vsim_queue *q, struct virtio_sim *sim)
{
	q->sim = sim;
	/* Runs in hard-interrupt context, except on PREEMPT_RT. */
	hrtimer_setup(&q->timer, vsim_timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
}

/**
 * virtio_sim_kicks() - how often the driver notified a queue
 * @sim: the device
 * @queue: index of the queue
 *
 * Return: the number of notifications since the device was created
 */
u64 virtio_sim_kicks(struct virtio_sim *sim, u32 queue)
{
	struct vsim_queue *q = vsim_queue(sim, queue);

	guard(spinlock_irqsave)(&sim->lock);
	return q ? q->kicks : 0;
}
EXPORT_SYMBOL_GPL(virtio_sim_kicks);

/**
 * virtio_sim_interrupts() - how often the device interrupted for a queue
 * @sim: the device
 * @queue: index of the queue
 *
 * Return: the number of interrupts since the device was created, with those that were not true
 */
u64 virtio_sim_interrupts(struct virtio_sim *sim, u32 queue)
{
	struct vsim_queue *q = vsim_queue(sim, queue);

	guard(spinlock_irqsave)(&sim->lock);
	return q ? q->interrupts : 0;
}
EXPORT_SYMBOL_GPL(virtio_sim_interrupts);

/**
 * virtio_sim_interrupts_suppressed() - how often the driver did not want an interrupt
 * @sim: the device
 * @queue: index of the queue
 *
 * Return: how often the device used buffers and did not interrupt, by the wish of the driver
 */
u64 virtio_sim_interrupts_suppressed(struct virtio_sim *sim, u32 queue)
{
	struct vsim_queue *q = vsim_queue(sim, queue);

	guard(spinlock_irqsave)(&sim->lock);
	return q ? q->suppressed : 0;
}
EXPORT_SYMBOL_GPL(virtio_sim_interrupts_suppressed);

/**
 * virtio_sim_has_affinity() - whether the interrupts of a queue may go to a CPU
 * @sim: the device
 * @queue: index of the queue
 * @cpu: the CPU
 *
 * Return: true if the last mask that the driver set contains @cpu
 */
bool virtio_sim_has_affinity(struct virtio_sim *sim, u32 queue, unsigned int cpu)
{
	struct vsim_queue *q = vsim_queue(sim, queue);

	guard(spinlock_irqsave)(&sim->lock);
	return q && cpu < nr_cpu_ids && cpumask_test_cpu(cpu, &q->affinity);
}
EXPORT_SYMBOL_GPL(virtio_sim_has_affinity);

/**
 * virtio_sim_set_mode() - what the device does when a queue is kicked
 * @sim: the device
 * @queue: index of the queue, or VIRTIO_SIM_ALL_QUEUES
 * @mode: from the next kick on, whether the queue exists already or not
 */
void virtio_sim_set_mode(struct virtio_sim *sim, u32 queue, enum virtio_sim_mode mode)
{
	guard(spinlock_irqsave)(&sim->lock);
	for (u32 i = 0; i < sim->nr_queues; i++) {
		if (queue == i || queue == VIRTIO_SIM_ALL_QUEUES)
			sim->queues[i].mode = mode;
	}
}
EXPORT_SYMBOL_GPL(virtio_sim_set_mode);

/**
 * virtio_sim_lie() - makes the service of a queue wrong
 * @sim: the device
 * @queue: index of the queue, or VIRTIO_SIM_ALL_QUEUES
 * @lie: what is wrong
 * @value: see &enum virtio_sim_lie
 * @times: for how many chains; VIRTIO_SIM_FOREVER is for all of them
 *
 * It concerns what the device serves on its own and virtio_sim_serve(), not virtio_sim_used().
 */
void virtio_sim_lie(struct virtio_sim *sim, u32 queue, enum virtio_sim_lie lie, u32 value,
		    u32 times)
{
	guard(spinlock_irqsave)(&sim->lock);
	for (u32 i = 0; i < sim->nr_queues; i++) {
		struct vsim_queue *q = &sim->queues[i];

		if (queue != i && queue != VIRTIO_SIM_ALL_QUEUES)
			continue;
		q->lie = lie;
		q->lie_value = value;
		q->lie_times = lie == VIRTIO_SIM_HONEST ? 0 : times;
	}
}
EXPORT_SYMBOL_GPL(virtio_sim_lie);

/**
 * virtio_sim_answer() - serves what the driver made available, and does not interrupt
 * @sim: the device
 * @queue: index of the queue
 * @max: serve no more chains than that
 *
 * An honest device of no type copies the readable bytes to the writable ones and fills the rest of
 * these with a running counter. See virtio_sim_notify() for the interrupt.
 *
 * Return: the number of chains that it took
 */
u32 virtio_sim_answer(struct virtio_sim *sim, u32 queue, u32 max)
{
	struct vsim_queue *q = vsim_queue(sim, queue);

	guard(spinlock_irqsave)(&sim->lock);
	return q && q->enabled ? vsim_serve(q, max) : 0;
}
EXPORT_SYMBOL_GPL(virtio_sim_answer);

/**
 * virtio_sim_serve() - serves what the driver made available
 * @sim: the device
 * @queue: index of the queue
 * @max: serve no more chains than that
 *
 * As virtio_sim_answer(), but it interrupts if the driver asked for it.
 *
 * Return: the number of chains that it took
 */
u32 virtio_sim_serve(struct virtio_sim *sim, u32 queue, u32 max)
{
	u32 served = virtio_sim_answer(sim, queue, max);

	virtio_sim_notify(sim, queue);
	return served;
}
EXPORT_SYMBOL_GPL(virtio_sim_serve);

/**
 * virtio_sim_take() - takes the next chain that the driver made available
 * @sim: the device
 * @queue: index of the queue
 * @chain: receives the chain
 *
 * Return: false if there is none
 */
bool virtio_sim_take(struct virtio_sim *sim, u32 queue, struct virtio_sim_chain *chain)
{
	struct vsim_queue *q = vsim_queue(sim, queue);

	guard(spinlock_irqsave)(&sim->lock);
	return q && q->enabled && vsim_next_chain(q, chain);
}
EXPORT_SYMBOL_GPL(virtio_sim_take);

/* Whether the buffer is still the device's, as far as the device knows. */
static bool vsim_has(struct virtio_sim *sim, const struct virtio_sim_chain *chain)
{
	struct vsim_queue *q = vsim_queue(sim, chain->queue);

	return q && q->enabled && chain->id < q->num && chain->serial &&
	       q->taken[chain->id].serial == chain->serial;
}

/**
 * virtio_sim_copy_out() - reads what the driver sent
 * @sim: the device
 * @chain: a chain that virtio_sim_take() took
 * @offset: where to start, in the readable bytes of @chain
 * @buf: receives the bytes
 * @len: how many
 *
 * Return: the number of bytes, less than @len if there are no more, or -ESTALE if the chain was
 *	used, or the queue reset, since
 */
int virtio_sim_copy_out(struct virtio_sim *sim, const struct virtio_sim_chain *chain, u32 offset,
			void *buf, u32 len)
{
	guard(spinlock_irqsave)(&sim->lock);
	if (!vsim_has(sim, chain))
		return -ESTALE;
	return vsim_copy(chain, false, offset, buf, min(len, INT_MAX));
}
EXPORT_SYMBOL_GPL(virtio_sim_copy_out);

/**
 * virtio_sim_write_in() - writes to the driver's buffer
 * @sim: the device
 * @chain: a chain that virtio_sim_take() took
 * @offset: where to start, in the writable bytes of @chain
 * @buf: the bytes
 * @len: how many
 *
 * Return: as virtio_sim_copy_out()
 */
int virtio_sim_write_in(struct virtio_sim *sim, const struct virtio_sim_chain *chain, u32 offset,
			const void *buf, u32 len)
{
	guard(spinlock_irqsave)(&sim->lock);
	if (!vsim_has(sim, chain))
		return -ESTALE;
	return vsim_copy(chain, true, offset, (void *)buf, min(len, INT_MAX));
}
EXPORT_SYMBOL_GPL(virtio_sim_write_in);

/**
 * virtio_sim_used() - writes a used entry, and does not interrupt
 * @sim: the device
 * @queue: index of the queue
 * @id: any number; that of a chain that virtio_sim_take() took, if the device is honest
 * @len: any number; how many bytes were written, if the device is honest
 *
 * Nothing is checked, and it works after a reset, too, for as long as the ring exists. The used
 * position of a packed ring moves on by the size of the last chain with that id, or by one.
 */
void virtio_sim_used(struct virtio_sim *sim, u32 queue, u32 id, u32 len)
{
	struct vsim_queue *q = vsim_queue(sim, queue);

	guard(spinlock_irqsave)(&sim->lock);
	if (q && q->ring)
		vsim_push_used(q, id, len);
}
EXPORT_SYMBOL_GPL(virtio_sim_used);

/**
 * virtio_sim_notify() - interrupts for what was used, if the driver asked for it
 * @sim: the device
 * @queue: index of the queue
 *
 * Return: whether there was an interrupt
 */
bool virtio_sim_notify(struct virtio_sim *sim, u32 queue)
{
	struct vsim_queue *q = vsim_queue(sim, queue);

	if (!q)
		return false;
	scoped_guard(spinlock_irqsave, &sim->lock) {
		if (!q->enabled || !vsim_wants_interrupt(q))
			return false;
	}
	vsim_raise(q, true);
	return true;
}
EXPORT_SYMBOL_GPL(virtio_sim_notify);

/**
 * virtio_sim_interrupt() - interrupts, whether the driver asked for it or not
 * @sim: the device
 * @queue: index of the queue
 *
 * As virtio_sim_used(), it works for as long as the ring exists.
 *
 * Return: whether vring_interrupt() found something used in the ring, or the queue broken
 */
bool virtio_sim_interrupt(struct virtio_sim *sim, u32 queue)
{
	struct vsim_queue *q = vsim_queue(sim, queue);

	return q && vsim_raise(q, false);
}
EXPORT_SYMBOL_GPL(virtio_sim_interrupt);

/**
 * virtio_sim_storm() - many interrupts, with nothing used for them
 * @sim: the device
 * @queue: index of the queue
 * @count: how many
 */
void virtio_sim_storm(struct virtio_sim *sim, u32 queue, u32 count)
{
	while (count--)
		virtio_sim_interrupt(sim, queue);
}
EXPORT_SYMBOL_GPL(virtio_sim_storm);
