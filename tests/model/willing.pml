/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * willing.pml: callers that lend their priority and their CPU to a helper (will_one in csrc/will.c), and the helper that
 * leaves (leave in csrc/helper.c) or is sent home (dismiss) meanwhile. Checked: when all is over, every helper is back at
 * its own nice, and it is so whenever it is nobody's and no caller is about to will or restore: so no priority is kept. And
 * whoever is called is on its own CPUs, unless a caller is just about to lend it another, or to mark it: then it has the mark
 * by which it will be placed anew the time after. Where members of teams share a lock, no helper is found back at the usual
 * nice while it works, unless a caller is about to will or restore.
 *
 * How helpers are called is in pool.pml; here a call, an answer and a dismissal are one step each.
 *
 * It is not checked that a willed helper keeps what it was lent until it leaves, since that does not hold: a caller that
 * found the helper gone restores it, and by then it may have been called by another team and willed anew. That caller
 * looks again within POLL_NS and wills it once more. What the helper has given itself it keeps.
 *
 * CONFIG two callers, one helper: -DCALLERS=2 -DHELPERS=1 -DRUNS=2
 * CONFIG one caller, two helpers: -DCALLERS=1 -DHELPERS=2 -DRUNS=2
 * CONFIG three callers, one helper: -DCALLERS=3 -DHELPERS=1 -DRUNS=1
 * CONFIG two callers that lend their CPUs only: -DCALLERS=2 -DHELPERS=1 -DRUNS=2 -DUNPRIVILEGED
 * CONFIG two callers, one helper, that share a lock: -DCALLERS=2 -DHELPERS=1 -DRUNS=2 -DSHARES_LOCK
 * CONFIG members of a team call helpers too: -DCALLERS=1 -DHELPERS=2 -DRUNS=1 -DMEMBERS_CALL
 *
 * BUG 1: the caller does not look whether the helper has left
 * BUG 2: the helper takes the mark first and clears its bit in team->called then
 * BUG 3 in members of a team call helpers too: dismiss does not take the mark
 * BUG 4: a caller that found the helper gone takes the mark away again
 * BUG 5: the caller marks first, looks whether the helper has left, and gives the priority then
 * BUG 6: who takes the mark of a lent CPU does not have the helper placed anew
 * BUG 7: a mark takes the place of the one that was there
 * BUG 8: who calls a helper does not look whether a mark is left
 * BUG 9 in two callers, one helper, that share a lock: to restore is to give the usual nice, whatever the helper has given itself
 * BUG 10 in two callers, one helper, that share a lock: who restores does not look whether the helper has changed its nice meanwhile
 * BUG 11 in two callers, one helper, that share a lock: the helper gives itself its nice first and writes it then
 */
#define OWN_NICE 19
#define LENT_NICE 0
#define CALLERS_NICE 5 /* what a helper gives itself where all share a lock */

/* helper->lent */
#define LENT_PRIORITY 1
#define LENT_CPU 2

typedef helper_t {
	bool called, running;
	byte team, lent;
	byte own = OWN_NICE; /* helper->nice */
	byte nice = OWN_NICE;
	bool placed;	 /* helper->placed: it need not be placed at the next call */
	bool real_strays /* on a CPU that was lent to it */
};

helper_t helper[HELPERS];
byte called[CALLERS]; /* team->called */
byte here[CALLERS];   /* team->here */
byte idle = (1 << HELPERS) - 1;
byte real_willing; /* callers between their priority_will and their last word on it */
byte finished;

#define bit(h) (1 << (h))

#define at_home(h) (helper[h].nice == OWN_NICE && \
	(!helper[h].real_strays || !helper[h].placed || (helper[h].lent & LENT_CPU)))

/* Step 11. Relies on "own". */
#if BUG == 9
#define restore(h) helper[h].nice = OWN_NICE
#elif BUG == 10
#define restore(h) own = helper[h].own; d_step { helper[h].nice = own; own = 0 }
#else
#define restore(h) \
	own = helper[h].own; \
	do \
	:: helper[h].nice = own; \
		if \
		:: helper[h].own == own -> break \
		:: else -> own = helper[h].own \
		fi \
	od; \
	own = 0
#endif

#if BUG == 11
#define change_nice(h, n) helper[h].nice = n; helper[h].own = n
#else
#define change_nice(h, n) helper[h].own = n; helper[h].nice = n
#endif

/* What is in "lent", which is forgotten. */
#if BUG == 6
#define NOT_PLACED skip
#else
#define NOT_PLACED helper[h].placed = helper[h].placed && !(lent & LENT_CPU)
#endif
#define take_back(h) \
	if \
	:: lent & LENT_PRIORITY -> restore(h) \
	:: else \
	fi; \
	d_step { NOT_PLACED; lent = 0 }

/* Relies on "lent". */
#define lend(h) \
	if \
	:: lent & LENT_CPU -> helper[h].real_strays = true \
	:: else \
	fi; \
	if \
	:: lent & LENT_PRIORITY -> helper[h].nice = LENT_NICE \
	:: else \
	fi

#if BUG == 7
#define mark(h) helper[h].lent = lent
#else
#define mark(h) helper[h].lent = helper[h].lent | lent
#endif

inline call(t)
{
	atomic {
		h = 0;
		do
		:: h < HELPERS && (idle & bit(h)) ->
			assert(real_willing > 0 || at_home(h));
#if BUG != 8
			d_step { lent = helper[h].lent; helper[h].lent = 0 };
			take_back(h);
#endif
			helper[h].real_strays = helper[h].real_strays && helper[h].placed;
			helper[h].placed = true;
			assert(real_willing > 0 || !helper[h].real_strays);
			idle = idle & ~bit(h);
			here[t]++;
			called[t] = called[t] | bit(h);
			helper[h].team = t;
			helper[h].called = true;
			break
		:: h < HELPERS && !(idle & bit(h)) -> h++
		:: h == HELPERS -> break
		od;
		h = 0
	}
}

inline dismiss(t)
{
	h = 0;
	do
	:: h == HELPERS -> break
	:: h < HELPERS ->
		atomic {
			mine = (called[t] & bit(h)) && helper[h].called && helper[h].team == t;
			helper[h].called = helper[h].called && !mine
		};
		if
		:: mine ->
			called[t] = called[t] & ~bit(h);
#if BUG != 3
			d_step { lent = helper[h].lent; helper[h].lent = 0 };
			take_back(h);
#endif
			here[t]--;
			idle = idle | bit(h)
		:: else
		fi;
		h++
	od;
	h = 0
}

inline will_one(t)
{
	bits = called[t];
	h = 0;
	do
	:: h == HELPERS -> break
	:: h < HELPERS && (!(bits & bit(h)) || !helper[h].running) -> h++
	:: h < HELPERS && (bits & bit(h)) && helper[h].running ->
		real_willing++;
		if
#ifdef UNPRIVILEGED
		:: lent = LENT_CPU
#else
		:: lent = LENT_PRIORITY
		:: lent = LENT_PRIORITY | LENT_CPU /* it starves */
#endif
		fi;
#if BUG != 5
		lend(h);
#endif
		mark(h);
#if BUG == 1
		ok = true;
#else
		ok = called[t] & bit(h);
#endif
#if BUG == 5
		if
		:: ok -> lend(h)
		:: else
		fi;
#endif
		if
		:: ok
		:: else ->
#if BUG == 4
			helper[h].lent = 0;
#endif
			if
			:: lent & LENT_PRIORITY -> restore(h)
			:: else
			fi
		fi;
		d_step { real_willing--; lent = 0 };
		if
		:: ok -> break
		:: else -> h++
		fi
	od;
	atomic { h = 0; bits = 0; ok = false }
}

proctype caller(byte me)
{
	byte runs, h, bits, lent, own;
	bool mine, ok;

	do
	:: runs < RUNS ->
		call(me);
		if
		:: call(me)
		:: skip
		fi;
		do /* team_gather, as often as there is news or POLL_NS has passed */
		:: here[me] == 0 -> break
		:: here[me] != 0 -> dismiss(me); will_one(me)
		od;
		runs++
	:: else -> break
	od;
	finished++
}

proctype helper_main(byte me)
{
	byte team, h, lent, own;

end_await_call:
	do
	:: atomic { helper[me].called -> helper[me].called = false; helper[me].running = true; team = helper[me].team };
#ifdef SHARES_LOCK
		change_nice(me, CALLERS_NICE);
		assert(real_willing > 0 || helper[me].nice != OWN_NICE);
#endif
#ifdef MEMBERS_CALL
		if
		:: call(team)
		:: skip
		fi;
#endif
#ifdef SHARES_LOCK
		assert(real_willing > 0 || helper[me].nice != OWN_NICE);
#endif
		/* leave */
#if BUG == 2
		d_step { lent = helper[me].lent; helper[me].lent = 0 };
		called[team] = called[team] & ~bit(me);
		here[team]--;
#else
		called[team] = called[team] & ~bit(me);
		here[team]--;
		d_step { lent = helper[me].lent; helper[me].lent = 0 };
#endif
		h = me;
		take_back(h);
		h = 0;
#ifdef SHARES_LOCK
		change_nice(me, OWN_NICE);
#endif
		helper[me].running = false;
		atomic { idle = idle | bit(me); team = 0 }
	od
}

init {
	byte i;

	atomic {
		do
		:: i < CALLERS -> run caller(i); i++
		:: else -> break
		od;
		i = 0;
		do
		:: i < HELPERS -> run helper_main(i); i++
		:: else -> break
		od;
		i = 0
	};
	finished == CALLERS;
	timeout;
	do
	:: i < HELPERS -> assert(at_home(i) && idle == (1 << HELPERS) - 1); i++
	:: else -> break
	od
}
