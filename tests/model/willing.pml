/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * willing.pml: callers that lend their priority to a helper (will_one in csrc/team.c), and the helper that leaves
 * (leave in csrc/pool.c) or is sent home (dismiss) meanwhile. Checked: when all is over, every helper is back at its own
 * nice, and it is so whenever it is nobody's and no caller is about to will or restore: so nothing lent is kept.
 *
 * How helpers are called is in pool.pml; here a call, an answer and a dismissal are one step each.
 *
 * It is not checked that a willed helper keeps what it was lent until it leaves, since that does not hold: a caller that
 * found the helper gone restores it, and by then it may have been called by another team and willed anew. That caller
 * looks again within POLL_NS and wills it once more.
 *
 * CONFIG two callers, one helper: -DCALLERS=2 -DHELPERS=1 -DRUNS=2
 * CONFIG one caller, two helpers: -DCALLERS=1 -DHELPERS=2 -DRUNS=2
 * CONFIG three callers, one helper: -DCALLERS=3 -DHELPERS=1 -DRUNS=1
 * CONFIG members of a team call helpers too: -DCALLERS=1 -DHELPERS=2 -DRUNS=1 -DMEMBERS_CALL
 *
 * BUG 1: the caller does not look whether the helper has left
 * BUG 2: the helper takes the mark first and clears its bit in team->called then
 * BUG 3: dismiss does not take the mark
 * BUG 4: a caller that found the helper gone takes the mark away again
 * BUG 5: the caller marks first, looks whether the helper has left, and gives the priority then
 */
#define OWN_NICE 19
#define LENT_NICE 0

typedef helper_t {
	bool called, running, willed;
	byte team;
	byte nice = OWN_NICE
};

helper_t helper[HELPERS];
byte called[CALLERS]; /* team->called */
byte here[CALLERS];   /* team->here */
byte idle = (1 << HELPERS) - 1;
byte real_willing; /* callers between their priority_will and their last word on it */
byte finished;

#define bit(h) (1 << (h))

inline call(t)
{
	atomic {
		h = 0;
		do
		:: h < HELPERS && (idle & bit(h)) ->
			assert(helper[h].nice == OWN_NICE || real_willing > 0);
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
			d_step { mine = helper[h].willed; helper[h].willed = false };
			if
			:: mine -> helper[h].nice = OWN_NICE
			:: else
			fi;
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
#if BUG == 5
		helper[h].willed = true;
		if
		:: called[t] & bit(h) -> helper[h].nice = LENT_NICE; real_willing--; break
		:: else -> real_willing--; h++
		fi
#else
		helper[h].nice = LENT_NICE;
		helper[h].willed = true;
#if BUG == 1
		real_willing--;
		break
#else
		if
		:: called[t] & bit(h) -> real_willing--; break
		:: else -> helper[h].nice = OWN_NICE;
#if BUG == 4
			helper[h].willed = false;
#endif
			real_willing--;
			h++
		fi
#endif
#endif
	od;
	atomic { h = 0; bits = 0 }
}

proctype caller(byte me)
{
	byte runs, h, bits;
	bool mine;

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
	byte team, h;
	bool willed;

end_await_call:
	do
	:: atomic { helper[me].called -> helper[me].called = false; helper[me].running = true; team = helper[me].team };
#ifdef MEMBERS_CALL
		if
		:: call(team)
		:: skip
		fi;
#endif
		/* leave */
#if BUG == 2
		d_step { willed = helper[me].willed; helper[me].willed = false };
		called[team] = called[team] & ~bit(me);
#else
		called[team] = called[team] & ~bit(me);
		d_step { willed = helper[me].willed; helper[me].willed = false };
#endif
		if
		:: willed -> helper[me].nice = OWN_NICE
		:: else
		fi;
		here[team]--;
		helper[me].running = false;
		atomic { idle = idle | bit(me); team = 0; willed = false }
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
	:: i < HELPERS -> assert(helper[i].nice == OWN_NICE && idle == (1 << HELPERS) - 1); i++
	:: else -> break
	od
}
