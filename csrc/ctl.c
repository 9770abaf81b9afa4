/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl.h"

#include "hot.h"
#include "pool.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

HOT int take_ctl(struct ktask_ctl *to, const struct ktask_ctl *from)
{
	size_t size;

	if (!from)
		return -EINVAL;
	size = from->kc_struct_size;
	if (size < offsetof(struct ktask_ctl, kc_iter_func))
		return -EINVAL; /* not made by the initializer */
	for (size_t i = sizeof(*to); i < size; i++)
		if (((const char *)from)[i])
			return -E2BIG; /* made by a newer one, with a feature in use that is not known here */
	if (size == sizeof(*to)) {
		*to = *from; /* nearly always, and several times as fast */
	} else {
		memset(to, 0, sizeof(*to));
		memcpy(to, from, size < sizeof(*to) ? size : sizeof(*to));
	}
	if (!to->kc_iter_func)
		to->kc_iter_func = ktask_iter_range;
	return to->kc_thread_func && to->kc_min_chunk_size ? 0 : -EINVAL;
}

HOT int check_nodes(const struct ktask_node *nodes, size_t nr_nodes)
{
	if (nr_nodes > KTASK_MAX_NODES)
		return -E2BIG;
	if (nr_nodes && !nodes)
		return -EINVAL;
	for (size_t i = 0; i < nr_nodes; i++) {
		if (nodes[i].kn_nid == NUMA_NO_NODE)
			continue;
		pool_start(); /* reads the topology, also where there is no pool to be had */
		if (topology_of_nid(pool_topology(), nodes[i].kn_nid) < 0)
			return -EINVAL;
	}
	return 0;
}
