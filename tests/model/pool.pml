/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool.pml: calling, answering, leaving, sending home and gathering, as told at the top of csrc/pool.c and with the
 * names and step numbers used there. Checked: nobody waits for ever, a helper has one owner at a time, a call is
 * answered by the helper it was made to and for the team it was made for, no team is touched once its caller has gone,
 * every unit is done before that, and in the end all helpers are idle, asleep and given back to the limits.
 *
 * Teams lie on stacks: a caller's next run has the same team again, at the same address. A wake-up that is late
 * therefore hits that one. A compare-and-swap in a loop is one step here, since those that fail change nothing.
 *
 * CONFIG one caller, one helper, three runs: -DCALLERS=1 -DHELPERS=1 -DRUNS=3 -DUNITS=1
 * CONFIG helpers go home early: -DCALLERS=1 -DHELPERS=1 -DRUNS=2 -DUNITS=2 -DRETREATS
 * CONFIG thread functions end their threads: -DCALLERS=1 -DHELPERS=1 -DRUNS=2 -DUNITS=2 -DENDS
 * CONFIG helpers survey the machine, and anybody forks: -DCALLERS=1 -DHELPERS=1 -DRUNS=2 -DUNITS=1 -DSURVEYS -DFORKS
 * CONFIG a thread function that runs tasks forks: -DCALLERS=1 -DHELPERS=1 -DRUNS=1 -DUNITS=2 -DFORKS -DNESTED
 * CONFIG one caller, two helpers: -DCALLERS=1 -DHELPERS=2 -DRUNS=1 -DUNITS=2
 * CONFIG two callers, one helper: -DCALLERS=2 -DHELPERS=1 -DRUNS=1 -DUNITS=1
 * CONFIG helpers may be refused, waits time out: -DCALLERS=1 -DHELPERS=2 -DRUNS=1 -DUNITS=1 -DREFUSED=1 -DTIMEOUTS=1
 * CONFIG one is refused, another one lingers: -DCALLERS=1 -DHELPERS=2 -DRUNS=2 -DUNITS=1 -DREFUSED=1 -DCOLD
 * CONFIG helpers run tasks too: -DCALLERS=1 -DHELPERS=2 -DRUNS=1 -DUNITS=1 -DNESTED
 * CONFIG thread functions end their threads, two callers: -DCALLERS=2 -DHELPERS=1 -DRUNS=1 -DUNITS=1 -DENDS
 * CONFIG helpers survey the machine: -DCALLERS=2 -DHELPERS=1 -DRUNS=1 -DUNITS=1 -DSURVEYS
 * CONFIG a thread function forks: -DCALLERS=1 -DHELPERS=2 -DRUNS=1 -DUNITS=1 -DFORKS
 * CONFIG anybody forks: -DCALLERS=2 -DHELPERS=1 -DRUNS=1 -DUNITS=1 -DFORKS
 *
 * BUG 1: the helper looks at its word and falls asleep in two steps (4)
 * BUG 2: the caller wakes first and adds CALLED then (3)
 * BUG 3 in helpers survey the machine, and anybody forks: helper->team is written after CALLED is added (2, 3)
 * BUG 4 in two callers, one helper: the word does not count the calls (8)
 * BUG 5 in two callers, one helper: dismiss looks at helper->team first and at the word then (8)
 * BUG 6 in two callers, one helper: dismiss does not look at helper->team (8)
 * BUG 7: the helper clears its bit in team->called after it has subtracted from team->here (6)
 * BUG 8: the idle bit is set before the word (7)
 * BUG 9: the caller says that it sleeps, and sleeps, whatever team->here has become (9)
 * BUG 10: the helper looks whether the caller sleeps before it subtracts (6)
 * BUG 11: dismiss takes CALLED off and leaves the helper's place in the team (8)
 * BUG 12: a helper that has waited awake says that it is asleep though somebody has taken it (7)
 * BUG 13 in helpers survey the machine, and anybody forks: a child does not reset the idle bits
 * BUG 14 in helpers survey the machine, and anybody forks: a child does not reset the helpers' words
 * BUG 15 in helpers survey the machine, and anybody forks: a child does not reset the limits
 * BUG 16 in helpers survey the machine, and anybody forks: a caller in a child gathers the helpers of before the fork
 * BUG 17 in a thread function that runs tasks forks: a child calls helpers into a team of before the fork
 * BUG 18 in helpers survey the machine, and anybody forks: a helper's child goes on as a helper
 * BUG 19 in thread functions end their threads: a helper whose thread ends is nobody's before it says that it is to be born again
 * BUG 20 in thread functions end their threads: a helper whose thread ends does not leave the team
 * BUG 21 in helpers survey the machine, and anybody forks: a helper that has surveyed the machine is taken from the limits
 * BUG 22 in helpers survey the machine, and anybody forks: the surveyors' place stays taken where no helper was idle
 * BUG 23 in helpers survey the machine, and anybody forks: a child does not reset the surveyors
 * BUG 24: a helper that has waited awake goes to sleep with what it has kept
 * BUG 25: it gives back what it has kept though somebody has taken it
 * BUG 26: who calls a helper that has kept its place counts it again
 * BUG 27 in one is refused, another one lingers: who was refused one and calls another that has kept its place is counted for both
 *
 * A fork is explored from the child's side, since in the parent nothing changes: all threads but one are no more,
 * wherever they were (FORKS).
 */
#ifndef REFUSED
#define REFUSED 0
#endif
#ifndef TIMEOUTS
#define TIMEOUTS 0
#endif

/* helper->word */
#define PARKED 0
#define LINGERING 1
#define RUNNING 2
#define STATE 3
#define CALLED 4
#if BUG == 4
#define ONE_CALL 0
#else
#define ONE_CALL 8
#endif

/* team->here */
#define CALLER_SLEEPS 128

/* Who owns a helper; only asserted, as all that begins with real_. */
#define NOBODY 0
#define A_CALLER 1
#define THE_CALL 2
#define ITSELF 3

typedef helper_t {
	byte word = PARKED;
	byte team;
	bool asleep; /* in futex_wait */
	bool keeps;  /* it is idle, and counted in the limits */
#ifdef ENDS
	bool unborn;
#endif
	byte real_owner = NOBODY;
	byte real_team, real_run /* that it was called for */
};

/* One for each caller, then one for each helper, for the tasks that it runs itself, then the surveyors. */
typedef team_t {
	byte here, called, todo, forks;
	bool asleep, hot;
	bool real_lives;
	byte real_run, real_done
};

#ifdef SURVEYS
#define SURVEYORS (CALLERS + HELPERS)
#define TEAMS (SURVEYORS + 1)
#else
#define TEAMS (CALLERS + HELPERS)
#endif

helper_t helper[HELPERS];
team_t team[TEAMS];
byte idle = (1 << HELPERS) - 1;
byte running; /* what the limits count */
byte refused = REFUSED, timeouts = TIMEOUTS;
byte finished;
byte forks;	   /* pool_forks() */
byte real_threads; /* of before the fork, by their process numbers: 1 to so many */
byte real_forker;
byte real_gone;    /* how many of them have ended */

/* Threads end where they are when another one forks. What they knew is forgotten, since it makes no difference. */
#ifdef FORKS
#define UNLESS_GONE(forget) \
	unless { atomic { forks > 0 && _pid != real_forker && _pid <= real_threads -> \
				forget; real_gone++ } \
		 end_gone: false }
#else
#define UNLESS_GONE(forget)
#endif

#define bit(h) (1 << (h))

/* Every access to a team goes with this. */
inline touch(t, nr)
{
	assert(team[t].real_lives && team[t].real_run == nr)
}

inline set_idle(h, owner)
{
	d_step {
		assert(helper[h].real_owner == owner);
		helper[h].real_owner = NOBODY;
		idle = idle | bit(h)
	}
}

#define orphaned(t) (team[t].forks != forks && (team[t].here & (CALLER_SLEEPS - 1)) > 0)

/* Its thread; it starts at 4. */
inline be_born(h)
{
#ifdef ENDS
	if
	:: h < HELPERS -> helper[h].unborn = false
	:: else
	fi
#else
	skip
#endif
}

/* Steps 2 and 3. */
inline call(t, nr)
{
	d_step { touch(t, nr); team[t].called = team[t].called | bit(h) };
#if BUG == 2
	helper[h].asleep = false;
#endif
	old = helper[h].word; /* nobody else writes it before it has CALLED */
#if BUG != 3
	helper[h].team = t;
#endif
	d_step {
		assert(helper[h].real_owner == A_CALLER && !(old & CALLED));
		helper[h].real_owner = THE_CALL;
		helper[h].real_team = t;
		helper[h].real_run = nr;
		helper[h].word = (old + ONE_CALL) | CALLED
	};
#if BUG == 3
	helper[h].team = t;
#endif
	if
#if BUG != 2
	:: (old & STATE) == PARKED -> helper[h].asleep = false
#endif
	:: else
	fi
}

/* By its owner. */
inline give_back_kept(h)
{
	d_step {
		running = running - (helper[h].keeps -> 1 : 0);
		helper[h].keeps = false
	}
}

/* Steps 1 to 3. */
inline team_call(t, nr)
{
	d_step { /* take_place */
		touch(t, nr);
#if !defined(FORKS) || BUG == 17
		ok = (team[t].here & (CALLER_SLEEPS - 1)) < HELPERS;
#else
		ok = team[t].forks == forks && (team[t].here & (CALLER_SLEEPS - 1)) < HELPERS;
#endif
		team[t].here = team[t].here + (ok -> 1 : 0)
	};
	if
	:: !ok
	:: else ->
		h = 0;
		do
		:: true -> /* one node after the other */
			do
			:: h == HELPERS -> break
			:: d_step { h < HELPERS && (idle & bit(h)) ->
				assert(helper[h].real_owner == NOBODY);
				idle = idle & ~bit(h);
				helper[h].real_owner = A_CALLER };
				break
			:: d_step { h < HELPERS && !(idle & bit(h)) -> h++ }
			od;
			if
			:: h == HELPERS -> break
			:: h < HELPERS && helper[h].keeps && (helper[h].word & STATE) == LINGERING ->
				helper[h].keeps = false; /* it has all that it needs */
#if BUG == 26
				running++;
#elif BUG != 27
				running = running - (counted -> 1 : 0);
#endif
				break
			:: else ->
				give_back_kept(h);
				running = running + (counted -> 0 : 1);
				counted = true
			fi;
			be_born(h);
			if
			:: refused > 0 -> /* no thread, or no CPU for it */
				refused--;
				set_idle(h, A_CALLER);
				h++
			:: true -> break
			fi
		od;
		if
		:: h == HELPERS ->
			running = running - (counted -> 1 : 0);
			d_step { touch(t, nr); team[t].here-- }
		:: else -> call(t, nr)
		fi
	fi;
	d_step { h = 0; old = 0; ok = false; counted = false }
}

#ifdef SURVEYS
/* pool_look_again */
inline maybe_survey()
{
	if
	:: d_step { team[SURVEYORS].here == 0 -> team[SURVEYORS].here = 1 };
		h = 0;
		do
		:: h == HELPERS -> break
		:: d_step { h < HELPERS && (idle & bit(h)) ->
			assert(helper[h].real_owner == NOBODY);
			idle = idle & ~bit(h);
			helper[h].real_owner = A_CALLER };
			break
		:: d_step { h < HELPERS && !(idle & bit(h)) -> h++ }
		od;
		if
		:: h < HELPERS ->
			give_back_kept(h);
			call(SURVEYORS, 0)
		:: else ->
#if BUG != 22
			team[SURVEYORS].here--
#else
			skip
#endif
		fi;
		d_step { h = 0; old = 0 }
	:: skip
	fi
}
#define MAYBE_SURVEY maybe_survey();
#else
#define SURVEYORS 255
#define MAYBE_SURVEY
#endif

/* Step 8. */
inline dismiss(t, nr)
{
	d_step { bits = team[t].called; h = 0 };
	do
	:: h == HELPERS -> break
	:: h < HELPERS && !(bits & bit(h)) -> h++
	:: h < HELPERS && (bits & bit(h)) ->
#if BUG == 5
		ok = helper[h].team == t;
		word = helper[h].word;
#else
		word = helper[h].word;
#if BUG == 6
		ok = true;
#else
		ok = helper[h].team == t;
#endif
#endif
		if
		:: (word & CALLED) && ok ->
			d_step {
				ok = helper[h].word == word;
				if
				:: ok ->
					assert(helper[h].real_owner == THE_CALL);
					assert(helper[h].real_team == t && helper[h].real_run == nr);
					helper[h].real_owner = A_CALLER;
					helper[h].word = (team[t].hot -> (word & ~(CALLED | STATE)) | LINGERING
								       : word & ~CALLED)
				:: else
				fi
			}
		:: else -> ok = false
		fi;
		if
		:: ok ->
			team[t].called = team[t].called & ~bit(h);
			running--;
#if BUG != 11
			team[t].here--;
#endif
			set_idle(h, A_CALLER)
		:: else
		fi;
		h++
	od;
	atomic { bits = 0; h = 0; word = 0; ok = false }
}

/* Step 9. */
inline team_gather(t, nr)
{
#if !defined(FORKS) || BUG == 16
#define gone(t) (team[t].here == 0)
#else
#define gone(t) (team[t].here == 0 || orphaned(t))
#endif
	if
	:: gone(t)
	:: else -> dismiss(t, nr)
	fi;
	do
	:: gone(t) -> break
	:: else ->
		dismiss(t, nr);
		old = team[t].here;
		if
		:: old != 0 ->
			d_step {
#if BUG == 9
				ok = true; old = team[t].here;
				team[t].here = old | CALLER_SLEEPS
#else
				ok = team[t].here == old;
				team[t].here = (ok -> old | CALLER_SLEEPS : team[t].here)
#endif
			};
			if
			:: ok ->
				d_step {
#if BUG == 9
					team[t].asleep = true
#else
					team[t].asleep = team[t].here == (old | CALLER_SLEEPS)
#endif
				};
				if
				:: !team[t].asleep
				:: timeouts > 0 -> d_step { timeouts--; team[t].asleep = false }
				fi
			:: else
			fi
		:: else
		fi;
		team[t].here = team[t].here & ~CALLER_SLEEPS
	od;
	atomic { old = 0; ok = false }
}

inline maybe_call(t, nr)
{
	if
	:: team[t].todo > 0 -> team_call(t, nr)
	:: skip
	fi
}

#ifdef FORKS
/* after_fork_in_child */
inline maybe_fork(t)
{
	if
	:: atomic {
		forks == 0 ->
		forks++;
		real_forker = _pid;
		real_threads = CALLERS + HELPERS;
		real_gone == real_threads - 1;
		h = 0;
		do
		:: h == CALLERS + HELPERS -> break
		:: else ->
			if
			:: h != t && h != mine -> /* forgotten, too */
				team[h].here = 0; team[h].called = 0; team[h].todo = 0; team[h].real_lives = false;
				team[h].real_run = 0; team[h].real_done = 0; team[h].asleep = false; team[h].hot = false
			:: else
			fi;
			h++
		od;
		h = 0;
		do
		:: h == HELPERS -> break
		:: else ->
#if BUG != 13
			idle = idle | bit(h);
#endif
#if BUG != 14
			helper[h].word = PARKED;
#endif
			helper[h].asleep = false;
			helper[h].keeps = false;
			helper[h].team = 0;
			helper[h].real_owner = NOBODY;
			helper[h].real_team = 0;
			helper[h].real_run = 0;
			run helper_main(h); /* born when it is called; until then it might as well be asleep */
			h++
		od;
#if BUG != 15
		running = 0;
#endif
#if defined(SURVEYS) && BUG != 23
		team[SURVEYORS].here = 0;
		team[SURVEYORS].called = 0;
#endif
		h = 0;
		real_gone = 0;
		finished = CALLERS - 1 }
	:: skip
	fi
}
#define MAYBE_FORK(t) maybe_fork(t);
#define GOES_ON(t) (!orphaned(t))

#else
#define MAYBE_FORK(t)
#define GOES_ON(t) true
#endif

/* Between chunks a helper finds that somebody wants its CPU; or the thread function has ended the thread. */
#if defined(RETREATS)
#define MAYBE_LEAVE(is_helper) if :: is_helper -> break :: true fi;
#elif defined(ENDS)
#define MAYBE_LEAVE(is_helper) if :: is_helper -> ended = true; break :: true fi;
#else
#define MAYBE_LEAVE(is_helper)
#endif

/* Chunk after chunk; now and then somebody finds that a helper is worth it. */
inline work(t, nr, is_helper)
{
	do
	:: atomic { team[t].todo > 0 && GOES_ON(t) -> touch(t, nr); team[t].todo-- }
		MAYBE_FORK(t)
		d_step { touch(t, nr); team[t].real_done++ };
		MAYBE_LEAVE(is_helper)
		maybe_call(t, nr)
	:: team[t].todo == 0 || !GOES_ON(t) -> break
	od
}

inline begin_run(t, is_hot)
{
	d_step {
		team[t].real_run++;
		team[t].real_lives = true;
		team[t].real_done = 0;
		team[t].here = 0;
		team[t].called = 0;
		team[t].hot = is_hot;
		team[t].forks = forks;
		team[t].todo = UNITS
	}
}

inline end_run(t)
{
	d_step { /* an orphaned run fails with -ECHILD */
		assert(orphaned(t) || (team[t].here == 0 && team[t].called == 0 && team[t].real_done == UNITS));
		team[t].real_lives = false
	}
}

proctype caller(byte me)
{
	byte runs, h, old, word, bits, mine = me;
	bool ok, ended, counted;

	{
	do
	:: runs < RUNS + forks -> /* one more in a child */
#if defined(NESTED) || defined(FORKS) || defined(COLD)
		begin_run(me, false); /* no team is hot: that is explored without them, and doubles the states */
#else
		if
		:: begin_run(me, false)
		:: begin_run(me, true)
		fi;
#endif
		maybe_call(me, team[me].real_run);
		work(me, team[me].real_run, false);
		team_gather(me, team[me].real_run);
		end_run(me);
		MAYBE_FORK(me)
		MAYBE_SURVEY
		runs++
	:: else -> break
	od;
	finished++;
end_done:
	false
	} UNLESS_GONE(runs = 0; h = 0; old = 0; word = 0; bits = 0; ok = false; ended = false; counted = false)
}

proctype helper_main(byte me)
{
	byte h, old, word, bits, mine, nr, mine_forks = forks;
	bool ok, ended, counted, lingers;

	{
	skip;
await_call: /* steps 4 and 5 */
	word = helper[me].word;
	if
	:: word & CALLED ->
		d_step {
			ok = helper[me].word == word;
			if
			:: ok ->
				assert(helper[me].real_owner == THE_CALL);
				helper[me].real_owner = ITSELF;
				helper[me].word = (word & ~(STATE | CALLED)) | RUNNING
			:: else
			fi
		};
		if
		:: ok
		:: else -> goto await_call
		fi
	:: !(word & CALLED) && (word & STATE) == LINGERING ->
		if
		:: helper[me].word & CALLED
		:: true -> /* park */
			d_step {
				ok = (idle & bit(me)) != 0;
				if
				:: ok ->
					assert(helper[me].real_owner == NOBODY);
					idle = idle & ~bit(me);
					helper[me].real_owner = ITSELF
				:: else
				fi
			};
			if
			:: ok ->
#if BUG != 24
				give_back_kept(me);
#endif
				helper[me].word = word ^ (LINGERING ^ PARKED);
				set_idle(me, ITSELF)
			:: else -> /* it is called in a moment, or left */
#if BUG == 25
				give_back_kept(me)
#elif BUG == 12
				d_step {
					if
					:: helper[me].word == word -> helper[me].word = word ^ (LINGERING ^ PARKED)
					:: else
					fi
				}
#else
				skip
#endif
			fi
		fi;
		goto await_call
	:: else ->
#if BUG == 1
		if
		:: helper[me].word == word -> helper[me].asleep = true
		:: else
		fi;
#else
		d_step { helper[me].asleep = helper[me].word == word };
#endif
end_asleep:
		!helper[me].asleep;
		goto await_call
	fi;

	d_step {
		word = 0; ok = false;
		mine = helper[me].team;
		nr = helper[me].real_run;
		assert(mine == helper[me].real_team);
		touch(mine, nr)
	};
	maybe_call(mine, nr);
#ifdef NESTED
	if
	:: team[mine].todo > 0 ->
		begin_run(CALLERS + me, false);
		maybe_call(CALLERS + me, team[CALLERS + me].real_run);
		work(CALLERS + me, team[CALLERS + me].real_run, false);
		team_gather(CALLERS + me, team[CALLERS + me].real_run);
		end_run(CALLERS + me)
	:: skip
	fi;
#endif
#ifdef RETREATS
	if
	:: work(mine, nr, true)
	:: true /* it came late */
	fi;
#else
	work(mine, nr, true);
#endif
#if defined(FORKS) && BUG != 18
	if
	:: forks != mine_forks -> finished++; goto end_exit /* with all the process */
	:: else
	fi;
#endif

#ifdef ENDS
	if
	:: ended ->
#if BUG != 19
		helper[me].unborn = true;
#endif
#if BUG == 20
		goto step_7
#endif
	:: else
	fi;
#endif

	/* Step 6. */
#if BUG != 7
	atomic { touch(mine, nr); team[mine].called = team[mine].called & ~bit(me) };
#endif
	helper[me].keeps = mine != SURVEYORS || BUG == 21;
	if
	:: give_back_kept(me)
	:: !ended -> lingers = true
	fi;
#if BUG == 10
	old = team[mine].here;
#endif
	d_step {
		touch(mine, nr);
#if BUG != 10
		old = team[mine].here;
#endif
		team[mine].here--
	};
#if BUG == 7
	d_step { touch(mine, nr); team[mine].called = team[mine].called & ~bit(me) };
#endif
	if
	:: old == (CALLER_SLEEPS | 1) -> team[mine].asleep = false /* whose team that is by now */
	:: else
	fi;

step_7:
#if BUG == 8
	set_idle(me, ITSELF);
#endif
	old = helper[me].word;
	helper[me].word = (old & ~STATE) | (lingers -> LINGERING : PARKED);
#if BUG != 8
	set_idle(me, ITSELF);
#endif
#ifdef ENDS
	if
	:: ended ->
#if BUG == 19
		assert(helper[me].real_owner == NOBODY);
		helper[me].unborn = true;
#endif
end_unborn:
		!helper[me].unborn;
		ended = false
	:: else
	fi;
#endif
	d_step { old = 0; mine = 0; nr = 0; lingers = false };
	goto await_call;
end_exit:
	skip
	} UNLESS_GONE(h = 0; old = 0; word = 0; bits = 0; mine = 0; nr = 0; ok = false; ended = false; counted = false; lingers = false)
}

#ifdef ENDS
#define IS_UNBORN(h) helper[h].unborn
#else
#define IS_UNBORN(h) false
#endif

init {
	byte i;

	atomic {
#ifdef SURVEYS
		team[SURVEYORS].real_lives = true;
#endif
		i = 0;
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
	timeout; /* when nobody can do anything any more */
	assert(idle == (1 << HELPERS) - 1 && running == 0);
#ifdef SURVEYS
	assert(team[SURVEYORS].here == 0);
#endif
	do
	:: i < HELPERS -> assert((helper[i].word & (STATE | CALLED)) == PARKED && (helper[i].asleep || IS_UNBORN(i))); i++
	:: else -> break
	od;
	do /* for ever, so that those who are no more do not count as waiting */
	:: i = 1 - i % 2
	od
}
