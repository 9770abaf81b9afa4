/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loops in two dimensions: each cell is done exactly once, in tiles of the size asked for; what was done is undone when
 * one fails. Also compiled with CONFIG_KTASK=0.
 */
#include "check.h"
#include "ktask_2d.h"

#include <errno.h>
#include <stdatomic.h>

enum { ROWS = 57, COLUMNS = 83 };

struct picture {
	atomic_int done[ROWS][COLUMNS];
	size_t tile_rows, tile_columns;
	size_t bad_row, bad_column;
	atomic_int tiles;
};

static int paint(size_t row, size_t row_end, size_t column, size_t column_end, struct picture *p)
{
	CHECK(row % p->tile_rows == 0 && column % p->tile_columns == 0);
	CHECK(row_end == (row + p->tile_rows < ROWS ? row + p->tile_rows : ROWS));
	CHECK(column_end == (column + p->tile_columns < COLUMNS ? column + p->tile_columns : COLUMNS));
	if (row <= p->bad_row && p->bad_row < row_end && column <= p->bad_column && p->bad_column < column_end)
		return 42;
	p->tiles++;
	for (size_t r = row; r < row_end; r++)
		for (size_t c = column; c < column_end; c++)
			p->done[r][c]++;
	return KTASK_RETURN_SUCCESS;
}

static int paint_tile(size_t row, size_t row_end, size_t column, size_t column_end, void *p)
{
	return paint(row, row_end, column, column_end, p);
}

static void wipe_tile(size_t row, size_t row_end, size_t column, size_t column_end, void *arg)
{
	struct picture *p = arg;

	for (size_t r = row; r < row_end; r++)
		for (size_t c = column; c < column_end; c++)
			CHECK(p->done[r][c]-- == 1);
}

static void all_cells_are(const struct picture *p, int n)
{
	for (size_t r = 0; r < ROWS; r++)
		for (size_t c = 0; c < COLUMNS; c++)
			CHECK(p->done[r][c] == n);
}

static void every_cell_once(size_t tile_rows, size_t tile_columns)
{
	struct picture p = { .tile_rows = tile_rows, .tile_columns = tile_columns, .bad_row = SIZE_MAX };
	struct ktask_grid grid = { ROWS, COLUMNS, tile_rows, tile_columns, paint_tile, NULL };
	struct ktask_ctl ctl = KTASK_CTL_INITIALIZER(NULL, &p, 1);
	size_t down = (ROWS + tile_rows - 1) / tile_rows, across = (COLUMNS + tile_columns - 1) / tile_columns;

	CHECK(ktask_run_2d(&grid, &ctl) == KTASK_RETURN_SUCCESS);
	all_cells_are(&p, 1);
	CHECK((size_t)p.tiles == down * across);
}

static void failures_are_undone(size_t min_tiles, size_t bad_row, size_t bad_column)
{
	struct picture p = { .tile_rows = 8, .tile_columns = 8, .bad_row = bad_row, .bad_column = bad_column };
	struct ktask_grid grid = { ROWS, COLUMNS, 8, 8, paint_tile, wipe_tile };
	struct ktask_ctl ctl = KTASK_CTL_INITIALIZER(NULL, &p, min_tiles);

	CHECK(ktask_run_2d(&grid, &ctl) == 42);
	all_cells_are(&p, 0);
}

static void what_cannot_be_is_refused(void)
{
	struct picture p = { .tile_rows = 1, .tile_columns = 1 };
	struct ktask_grid grid = { ROWS, COLUMNS, 8, 8, paint_tile, NULL }, wrong;
	struct ktask_ctl ctl = KTASK_CTL_INITIALIZER(NULL, &p, 1);

	CHECK(ktask_run_2d(NULL, &ctl) == -EINVAL);
	CHECK(ktask_run_2d(&grid, NULL) == -EINVAL);
	wrong = grid;
	wrong.kg_tile_rows = 0;
	CHECK(ktask_run_2d(&wrong, &ctl) == -EINVAL);
	wrong = grid;
	wrong.kg_tile_columns = 0;
	CHECK(ktask_run_2d(&wrong, &ctl) == -EINVAL);
	wrong = grid;
	wrong.kg_tile_func = NULL;
	CHECK(ktask_run_2d(&wrong, &ctl) == -EINVAL);
	ctl.kc_struct_size--;
	CHECK(ktask_run_2d(&grid, &ctl) == -EINVAL);
	ctl.kc_struct_size++;
	wrong = (struct ktask_grid){ SIZE_MAX, SIZE_MAX, 1, 1, paint_tile, NULL };
	CHECK(ktask_run_2d(&wrong, &ctl) == -EOVERFLOW);
	wrong = (struct ktask_grid){ 0, COLUMNS, 1, 1, paint_tile, NULL };
	CHECK(ktask_run_2d(&wrong, &ctl) == KTASK_RETURN_SUCCESS);
	wrong = (struct ktask_grid){ ROWS, 0, 1, 1, paint_tile, NULL };
	CHECK(ktask_run_2d(&wrong, &ctl) == KTASK_RETURN_SUCCESS);
	all_cells_are(&p, 0);
}

int main(void)
{
	const size_t sizes[] = { 1, 2, 7, 8, 57, 83, 100, SIZE_MAX };

	use_helpers(3);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++)
			if (sizes[i] < SIZE_MAX - ROWS && sizes[j] < SIZE_MAX - COLUMNS)
				every_cell_once(sizes[i], sizes[j]);
	for (size_t min_tiles = 1; min_tiles < 100; min_tiles += 30)
		for (size_t row = 0; row < ROWS; row += 14)
			for (size_t column = 0; column < COLUMNS; column += 20)
				failures_are_undone(min_tiles, row, column);
	what_cannot_be_is_refused();
	return 0;
}
