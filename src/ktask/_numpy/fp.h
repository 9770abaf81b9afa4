/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fp.h: a thread's floating-point state, lent to another thread and back: its modes (rounding and the like) one way, the
 * flags that were raised the other.
 *
 * On x86-64, fegetenv() and its like take 60 ns each, since they save all of the old x87 unit. Here its modes are looked at,
 * and set only where they differ.
 */
#ifndef KTASK_FP_H
#define KTASK_FP_H

#include <fenv.h>

enum { FP_FLAGS = FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW | FE_UNDERFLOW };

#if defined(__x86_64__) && defined(__GNUC__)
#include <assert.h>
#include <immintrin.h>

static_assert(FE_INVALID == 1 && FE_DIVBYZERO == 4 && FE_UNDERFLOW == 16, "flags have the processor's numbers");

struct fp {
	unsigned sse;	    /* modes and flags */
	unsigned short x87; /* modes */
};

static inline unsigned short fp_x87_modes(void)
{
	unsigned short modes;

	__asm__ volatile("fnstcw %0" : "=m"(modes));
	return modes;
}

/* This thread's. */
static inline void fp_get(struct fp *fp)
{
	fp->sse = _mm_getcsr();
	fp->x87 = fp_x87_modes();
}

/* All that there are; <fenv.h> does not know that of denormal operands. */
enum { FP_ALL = 0x3f };

static inline unsigned fp_x87_flags(void)
{
	unsigned short status;

	__asm__ volatile("fnstsw %0" : "=a"(status));
	return status & FP_ALL;
}

/* Sets the modes; no flag is raised then, which with other modes might be fatal. */
static inline void fp_set_x87(unsigned short modes)
{
	if (fp_x87_flags())
		__asm__ volatile("fnclex");
	if (modes != fp_x87_modes())
		__asm__ volatile("fldcw %0" : : "m"(modes));
}

/* This thread gets the modes of another one, without flags; own is what it has had. */
static inline void fp_borrow(const struct fp *other, struct fp *own)
{
	fp_get(own);
	fp_set_x87(other->x87);
	_mm_setcsr(other->sse & ~(unsigned)FP_ALL);
}

/* It gets back what it has had, but for flags of the x87, which nobody asks a helper for. Returns the flags raised meanwhile. */
static inline int fp_give_back(const struct fp *own)
{
	int flags = (int)(_mm_getcsr() | fp_x87_flags()) & FP_FLAGS;

	fp_set_x87(own->x87);
	_mm_setcsr(own->sse);
	return flags;
}

#else

struct fp {
	fenv_t env;
};

static inline void fp_get(struct fp *fp)
{
	fegetenv(&fp->env);
}

static inline void fp_borrow(const struct fp *other, struct fp *own)
{
	fp_get(own);
	fesetenv(&other->env);
	feclearexcept(FE_ALL_EXCEPT);
}

static inline int fp_give_back(const struct fp *own)
{
	int flags = fetestexcept(FP_FLAGS);

	fesetenv(&own->env);
	return flags;
}

#endif

#endif
