// SPDX-License-Identifier: GPL-2.0
/*
 * The mapping of buffers for a simulated device that offers VIRTIO_F_ACCESS_PLATFORM: addresses
 * are physical ones, but every mapping is counted, and can fail.
 */
#include <linux/cleanup.h>
#include <linux/dma-mapping.h>
#include <linux/export.h>
#include <linux/gfp.h>
#include <linux/mm.h>

#include "virtio_sim.h"

static struct virtio_sim *vsim_of_map(union virtio_map map)
{
	return to_virtio_sim(dev_to_virtio(map.dma_dev));
}

/* Mappings and their ends add up to zero if they match. */
static u64 vsim_map_weight(dma_addr_t addr, size_t size, enum dma_data_direction dir)
{
	return addr + ((u64)size << 32) + ((u64)dir << 24);
}

static dma_addr_t vsim_map_page(union virtio_map map, struct page *page, unsigned long offset,
				size_t size, enum dma_data_direction dir, unsigned long attrs)
{
	struct virtio_sim *sim = vsim_of_map(map);
	dma_addr_t addr = page_to_phys(page) + offset;

	guard(spinlock_irqsave)(&sim->lock);
	if (!sim->maps_left)
		return DMA_MAPPING_ERROR;
	if (sim->maps_left != U32_MAX)
		sim->maps_left--;
	sim->mapped++;
	sim->mapped_sum += vsim_map_weight(addr, size, dir);
	return addr;
}

static void vsim_unmap_page(union virtio_map map, dma_addr_t addr, size_t size,
			    enum dma_data_direction dir, unsigned long attrs)
{
	struct virtio_sim *sim = vsim_of_map(map);

	guard(spinlock_irqsave)(&sim->lock);
	if (!sim->mapped) {
		sim->driver_errors++;
		return;
	}
	sim->mapped--;
	sim->mapped_sum -= vsim_map_weight(addr, size, dir);
	/* What was unmapped is not what was mapped. */
	if (!sim->mapped && sim->mapped_sum) {
		sim->driver_errors++;
		sim->mapped_sum = 0;
	}
}

static void vsim_sync_single(union virtio_map map, dma_addr_t addr, size_t size,
			     enum dma_data_direction dir)
{
}

static void *vsim_alloc(union virtio_map map, size_t size, dma_addr_t *addr, gfp_t gfp)
{
	void *memory = alloc_pages_exact(PAGE_ALIGN(size), gfp);

	if (memory)
		*addr = virt_to_phys(memory);
	return memory;
}

static void vsim_free(union virtio_map map, size_t size, void *memory, dma_addr_t addr,
		      unsigned long attrs)
{
	free_pages_exact(memory, PAGE_ALIGN(size));
}

static bool vsim_need_sync(union virtio_map map, dma_addr_t addr)
{
	return false;
}

static int vsim_mapping_error(union virtio_map map, dma_addr_t addr)
{
	return addr == DMA_MAPPING_ERROR ? -ENOMEM : 0;
}

static size_t vsim_max_mapping_size(union virtio_map map)
{
	return SIZE_MAX;
}

const struct virtio_map_ops vsim_map_ops = {
	.map_page		= vsim_map_page,
	.unmap_page		= vsim_unmap_page,
	.sync_single_for_cpu	= vsim_sync_single,
	.sync_single_for_device	= vsim_sync_single,
	.alloc			= vsim_alloc,
	.free			= vsim_free,
	.need_sync		= vsim_need_sync,
	.mapping_error		= vsim_mapping_error,
	.max_mapping_size	= vsim_max_mapping_size,
};

/**
 * virtio_sim_mapped() - how many buffers are mapped
 * @sim: the device
 *
 * An indirect table counts as one, the rings do not count. When the last mapping ends and the
 * addresses, lengths or directions of maps and unmaps differ, that is an error of the driver.
 *
 * Return: the number of mappings; zero if VIRTIO_F_ACCESS_PLATFORM was not negotiated
 */
u32 virtio_sim_mapped(struct virtio_sim *sim)
{
	guard(spinlock_irqsave)(&sim->lock);
	return sim->mapped;
}
EXPORT_SYMBOL_GPL(virtio_sim_mapped);

/**
 * virtio_sim_fail_maps() - makes mappings fail
 * @sim: the device
 * @after_n: how many work before all others fail; U32_MAX if none is to fail
 */
void virtio_sim_fail_maps(struct virtio_sim *sim, u32 after_n)
{
	guard(spinlock_irqsave)(&sim->lock);
	sim->maps_left = after_n;
}
EXPORT_SYMBOL_GPL(virtio_sim_fail_maps);
