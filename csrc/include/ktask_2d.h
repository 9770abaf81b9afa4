/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ktask_2d.h: loops over the rows and columns of a matrix or a picture, in tiles that fit a cache.
 *
 * In place of
 *
 *         error = func(0, rows, 0, columns, arg);
 *
 * a program writes
 *
 *         struct ktask_grid grid = { rows, columns, 64, 64, func, NULL };
 *         error = ktask_run_2d(&grid, &ctl);
 *
 * Needs nothing but ktask.h, also with CONFIG_KTASK=0.
 */
#ifndef KTASK_2D_H
#define KTASK_2D_H

#include "ktask.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Does a rectangle, from row up to row_end and from column up to column_end. Returns like a ktask_thread_func. */
typedef int (*ktask_tile_func)(size_t row, size_t row_end, size_t column, size_t column_end, void *arg);

/* Gives back a tile that was done, as a ktask_undo_func does. */
typedef void (*ktask_undo_tile_func)(size_t row, size_t row_end, size_t column, size_t column_end, void *arg);

struct ktask_grid {
	size_t kg_rows;
	size_t kg_columns;
	size_t kg_tile_rows; /* at least 1; tiles at the lower and right edges may be smaller */
	size_t kg_tile_columns;
	ktask_tile_func kg_tile_func;
	ktask_undo_tile_func kg_undo_func; /* NULL: nothing is undone */
};

struct ktask_grid_task {
	const struct ktask_grid *grid;
	void *arg;
	size_t tiles_per_row;
};

struct ktask_tile {
	size_t row, row_end, column, column_end;
};

static inline struct ktask_tile ktask_tile_of(const struct ktask_grid_task *task, size_t number)
{
	const struct ktask_grid *g = task->grid;
	struct ktask_tile t;

	t.row = number / task->tiles_per_row * g->kg_tile_rows;
	t.column = number % task->tiles_per_row * g->kg_tile_columns;
	t.row_end = g->kg_rows - t.row > g->kg_tile_rows ? t.row + g->kg_tile_rows : g->kg_rows;
	t.column_end = g->kg_columns - t.column > g->kg_tile_columns ? t.column + g->kg_tile_columns : g->kg_columns;
	return t;
}

static inline void ktask_undo_tiles(void *first, void *end, void *task_)
{
	const struct ktask_grid_task *task = (const struct ktask_grid_task *)task_;

	for (size_t i = (size_t)(uintptr_t)first; i < (size_t)(uintptr_t)end; i++) {
		struct ktask_tile t = ktask_tile_of(task, i);

		task->grid->kg_undo_func(t.row, t.row_end, t.column, t.column_end, task->arg);
	}
}

/* A chunk is some tiles; if one fails, those before it in the chunk are undone here: a failed chunk leaves nothing. */
static inline int ktask_do_tiles(void *first, void *end, void *task_)
{
	const struct ktask_grid_task *task = (const struct ktask_grid_task *)task_;

	for (size_t i = (size_t)(uintptr_t)first; i < (size_t)(uintptr_t)end; i++) {
		struct ktask_tile t = ktask_tile_of(task, i);
		int error = task->grid->kg_tile_func(t.row, t.row_end, t.column, t.column_end, task->arg);

		if (error) {
			if (task->grid->kg_undo_func)
				ktask_undo_tiles(first, (void *)(uintptr_t)i, task_);
			return error;
		}
	}
	return KTASK_RETURN_SUCCESS;
}

/*
 * Runs the grid's function over all its tiles, row by row of tiles, each tile exactly once, many at a time; with what
 * ctl says of arg, the least number of tiles to give to a thread, threads, polling, report and trace. The ctl's own
 * functions are not used. Positions in reports and traces are the numbers of tiles.
 *
 * Returns as ktask_run does; -EINVAL (-22) also where a tile has no rows or columns.
 */
static inline int ktask_run_2d(const struct ktask_grid *grid, const struct ktask_ctl *ctl)
{
	struct ktask_grid_task task;
	struct ktask_ctl own;
	size_t down;

	if (!grid || !ctl || !grid->kg_tile_func || !grid->kg_tile_rows || !grid->kg_tile_columns ||
	    ctl->kc_struct_size != sizeof(own))
		return -22;
	own = *ctl;
	task.grid = grid;
	task.arg = own.kc_func_arg;
	task.tiles_per_row = grid->kg_columns / grid->kg_tile_columns + (grid->kg_columns % grid->kg_tile_columns != 0);
	down = grid->kg_rows / grid->kg_tile_rows + (grid->kg_rows % grid->kg_tile_rows != 0);
	if (task.tiles_per_row && down > KTASK_MAX_SIZE / task.tiles_per_row)
		return -75; /* -EOVERFLOW */

	own.kc_thread_func = ktask_do_tiles;
	own.kc_undo_func = grid->kg_undo_func ? ktask_undo_tiles : NULL;
	own.kc_iter_func = NULL;
	own.kc_func_arg = &task;
	if (!own.kc_identity) {
		union {
			ktask_tile_func func;
			const void *address;
		} tile;

		tile.func = grid->kg_tile_func;
		own.kc_identity = tile.address;
	}
	return ktask_run(NULL, down * task.tiles_per_row, &own);
}

#ifdef __cplusplus
}
#endif

#endif /* KTASK_2D_H */
