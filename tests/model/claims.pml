/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * claims.pml: how units are given away (cut_claim in csrc/chunk.c) and what becomes of them when a chunk fails (work in
 * csrc/run.c, csrc/undo.c). Checked: each unit is given to one thread; without a failure all are done; with one, the
 * claimed units without the holes are exactly the finished ones, there is room for the holes, the result is the first
 * failure in time, and who comes into the team after a failure claims nothing.
 *
 * Helpers come and go: each is called anew as often as there is a place in the team. How, and how they are waited for,
 * is in pool.pml.
 *
 * The caller may claim its first chunk by a store, before it calls anybody (claim_ahead in csrc/heartbeat.c).
 *
 * CONFIG one addition for a claim: -DUNITS=5 -DMOST=2 -DTHREADS=3 -DPLACES=2 -DCALLS=3
 * CONFIG an iterator, under its lock: -DUNITS=4 -DMOST=2 -DTHREADS=3 -DPLACES=2 -DCALLS=3 -DITER
 * CONFIG fewer places than threads: -DUNITS=4 -DMOST=2 -DTHREADS=3 -DPLACES=1 -DCALLS=4
 *
 * BUG 1: a claim loads next and stores it
 * BUG 2: a thread does not look for a failure before it claims
 * BUG 3: what was claimed when the failure came is no hole
 * BUG 4: a helper leaves and reports its hole then
 * BUG 5: a helper leaves and reports the failure then
 * BUG 6: the last failure is the result
 * BUG 7 in an iterator, under its lock: the iterator's position is stored after the lock is given back
 * BUG 8 in an iterator, under its lock: what is left is looked up before the lock is taken
 * BUG 9: a claim that goes beyond the end is given all that it asked for
 * BUG 10: the caller claims its first chunk by a store after it has called a helper
 * BUG 11: what the caller claimed before it called is forgotten where a helper has failed meanwhile
 */
#define CALLER 1

/* What became of a unit. */
#define NOBODY 0
#define BEGUN 1
#define DONE 2
#define FAILED 3

byte next;	   /* cursor->next */
byte position;	   /* cursor->position, with an iterator */
bool locked;
byte error;	   /* run->error: which thread, 0 for none */
byte nr_holes;
bool hole[UNITS];  /* the units of run->holes */
byte here;	   /* team->here */
byte calls = CALLS; /* that may still be made, */
byte called;	   /* and those that no thread has answered yet */
byte real_first;   /* who failed first */
byte state[UNITS + MOST];

/* A chunk of from to to is begun, or ends. */
inline set_all(what, before)
{
	d_step {
		i = from;
		do
		:: i < to -> assert(i < UNITS && state[i] == before); state[i] = what; i++
		:: else -> break
		od;
		i = 0
	}
}

inline add_hole()
{
	d_step {
		nr_holes++;
		assert(nr_holes <= PLACES + 1);
		i = from;
		do
		:: i < to -> hole[i] = true; i++
		:: else -> break
		od;
		i = 0
	}
}

#define least(a, b) ((a) < (b) -> (a) : (b))

/* Leaves from == to where nothing is left. */
inline claim()
{
	if
	:: size = 1
	:: size = MOST
	fi;
#ifdef ITER
#if BUG == 8
	size = least(size, UNITS - next);
#endif
	atomic { !locked -> locked = true };
	from = next;
#if BUG != 8
	size = least(size, UNITS - from);
#endif
	to = from + size;
	if
	:: size > 0 ->
		assert(position == from);
#if BUG == 7
		next = to;
		locked = false;
		position = to
#else
		position = to;
		next = to;
		locked = false
#endif
	:: else -> locked = false
	fi;
#else
	if
	:: next >= UNITS -> from = UNITS
	:: else ->
#if BUG == 1
		from = next;
		next = from + size
#else
		d_step { from = next; next = next + size }
#endif
	fi;
	atomic {
#if BUG == 9
		to = (from < UNITS -> from + size : from)
#else
		from = least(from, UNITS);
		to = least(from + size, UNITS)
#endif
	};
#endif
	size = 0
}

/* cut_claim_first */
inline claim_first()
{
#ifndef ITER
	if
	:: size = 1
	:: size = MOST
	fi;
	from = next;
	next = from + size;
	atomic { to = least(from + size, UNITS); from = least(from, UNITS); ahead = true; size = 0 }
#else
	skip
#endif
}

#if BUG == 6
#define fail(me) error = me
#else
#define fail(me) error = (error -> error : me)
#endif

inline report_failure(me)
{
	d_step { real_first = (real_first -> real_first : me); fail(me) }
}

inline maybe_call()
{
	if
	:: atomic { calls > 0 && here < PLACES -> here++; calls--; called++ }
	:: skip
	fi
}

/* What a bug has put off until after the thread has left. */
inline report_late(me)
{
#if BUG == 4 || BUG == 5
	if
	:: failing ->
#if BUG == 4
		add_hole()
#else
		fail(me)
#endif
	:: else
	fi
#else
	skip
#endif
}

/* work in run.c */
inline work(me)
{
	joined_late = error != 0 && !ahead;
	do
#if BUG == 2
	:: true ->
#elif BUG == 11
	:: error != 0 -> break
	:: error == 0 ->
#else
	:: error != 0 && !ahead -> break
	:: error == 0 || ahead ->
#endif
		if
		:: ahead -> ahead = false
		:: else -> claim()
		fi;
		if
		:: from == to -> break
		:: else
		fi;
		assert(!joined_late);
		if
		:: error != 0 ->
#if BUG != 3
			add_hole();
#endif
			break
		:: else
		fi;
		set_all(BEGUN, NOBODY);
		if
		:: set_all(DONE, BEGUN)
		:: set_all(FAILED, BEGUN);
#if BUG == 5
			failing = true;
			real_first = (real_first -> real_first : me);
#else
			report_failure(me);
#endif
#if BUG == 4
			failing = true;
#else
			add_hole();
#endif
			break
		fi;
		maybe_call();
		if
		:: me != CALLER -> break /* it only waited */
		:: skip
		fi
	od
}

proctype helper(byte me)
{
	byte i, from, to, size;
	bool joined_late, failing, ahead;

end_await_call:
	do
	:: atomic { called > 0 -> called-- };
		failing = false;
		work(me);
		here--;
		report_late(me);
		atomic { from = 0; to = 0; failing = false; joined_late = false }
	od
}

init {
	byte i, from, to, size;
	bool joined_late, failing, ahead;

	atomic {
		i = 2;
		do
		:: i <= THREADS -> run helper(i); i++
		:: else -> break
		od;
		i = 0
	};
#if BUG == 10
	maybe_call();
#endif
	if
	:: claim_first()
	:: skip
	fi;
#if BUG != 10
	maybe_call();
#endif
	work(CALLER);
	report_late(CALLER);
	here == 0; /* team_gather */
	assert(error == real_first);
	d_step {
		i = 0;
		do
		:: i == UNITS -> break
		:: else ->
			assert(error || state[i] == DONE);
			assert((i < next && !hole[i]) == (state[i] == DONE));
			i++
		od
	}
}
