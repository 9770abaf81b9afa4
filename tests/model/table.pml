/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * table.pml: processes that come into the table, take seats in it, clear up after each other and are killed, as told at
 * the top of csrc/table.c (but for coming back, 7) and with the names and step numbers used there. A process may die at any step; the kernel takes
 * its memory then, and its locks later. Checked: no two living processes have a helper on the same CPU, nobody loses a
 * seat that it has, no more of them have a helper at work than a quota allows (limits.c, steps 6 and 7; one CPU, for all
 * processes), what the dead have left is free once a survivor has cleared up, and nobody is kept out but for want of a
 * row, or by processes of another namespace, whose segment cannot be attached. Nobody ever waits: every lock is only tried.
 *
 * A thread of each process stands for all of them, since limits.c lets one at a time clear up or come in. A compare-and-swap
 * is one step, and so is each try for a lock, attaching a segment, and its vanishing with the last process that had it.
 *
 * CONFIG three processes, two rows, one dies: -DPROCESSES=3 -DROWS=2 -DSEATS=1 -DSITS=1 -DKILLS=1
 * CONFIG two processes, both may die: -DPROCESSES=2 -DROWS=2 -DSEATS=2 -DSITS=2 -DKILLS=2
 * CONFIG three processes, one row, two die: -DPROCESSES=3 -DROWS=1 -DSEATS=1 -DSITS=1 -DKILLS=2
 * CONFIG three processes under a quota of one CPU: -DPROCESSES=3 -DROWS=3 -DSEATS=2 -DSITS=1 -DKILLS=0 -DQUOTA=1
 * CONFIG two processes under a quota, one dies: -DPROCESSES=2 -DROWS=2 -DSEATS=2 -DSITS=2 -DKILLS=1 -DQUOTA=1
 * CONFIG one of three is in another IPC namespace: -DPROCESSES=3 -DROWS=2 -DSEATS=1 -DSITS=1 -DKILLS=1 -DFOREIGN
 *
 * BUG 1: whoever comes in unlocks byte 0 before it has a row (2, 5)
 * BUG 2 in one of three is in another IPC namespace: whoever cannot attach a segment makes another one, whether or not somebody has a row (4)
 * BUG 3: clearing up does not ask whether the row is locked (6)
 * BUG 4: clearing up unlocks the row before it empties its seats (6)
 * BUG 5: a row is taken with the seats that the last one left in it (5)
 * BUG 6: a seat is seen free and taken in two steps
 * BUG 7: a seat is taken first, and who has it is written then
 * BUG 8: coming in empties the row's seats before it has locked it (5)
 * BUG 9: the kernel's lock of a row goes when somebody else has cleared up after its process, not when that dies
 * BUG 10 in three processes under a quota of one CPU: the seats of those under the quota are counted first, and one is taken then (limits.c, 6 and 7)
 * BUG 11 in three processes under a quota of one CPU: a seat that is one too many under the quota is kept (limits.c, 7)
 * BUG 12: whoever comes in while the last one is on its way out keeps out for good (4)
 */
#define SEGMENTS PROCESSES
#define NO_ROW 127 /* a seat that is taken, but nobody knows by whom */
#define bit(p) (1 << (p))

#ifdef FOREIGN
#define NAMESPACE (me == 0 -> 1 : 0)
#else
#define NAMESPACE 0
#endif
#define IS_FOREIGN (record > 0 && segment[(record > 0 -> record - 1 : 0)].namespace != NAMESPACE)

typedef segment_t {
	byte namespace; /* where it can be attached; stands in the record, too */
	byte attached; /* by which processes; 0: there is no such segment */
	byte seats[SEATS]; /* 0, or the row's number plus 1 */
};

/* The door: its record and its locks. */
byte record; /* the segment's number plus 1 */
byte coming_in; /* byte 0: the process plus 1 that has it */
byte writer[ROWS]; /* likewise */
byte readers[ROWS]; /* which processes */

segment_t segment[SEGMENTS];
byte real_sits[SEATS]; /* which living processes have a helper there, in whatever segment */
bool killed[PROCESSES];
byte kills = KILLS;
byte made, finished, dead;
#ifdef QUOTA
byte real_works; /* which living processes keep a seat under the quota */
#endif

inline empty_seats(number)
{
	i = 0;
	do
	:: i < SEATS -> /* a compare-and-swap */
		d_step {
			if
			:: segment[mine].seats[i] == number -> segment[mine].seats[i] = 0
			:: else
			fi;
			i++
		}
	:: else -> break
	od;
	i = 0
}

/* Step 6. */
inline reclaim()
{
	cpu = 0;
	do
	:: cpu < SEATS ->
		seen = segment[mine].seats[cpu];
		if
		:: seen == 0 || seen == row + 1
		:: seen == NO_ROW -> empty_seats(NO_ROW)
		:: else ->
#if BUG == 3
			ok = true;
#else
			d_step {
				ok = writer[seen - 1] == 0;
				if
				:: ok -> readers[seen - 1] = readers[seen - 1] | bit(me)
				:: else
				fi
			};
#endif
			if
			:: ok ->
#if BUG == 4
				readers[seen - 1] = readers[seen - 1] & ~bit(me);
				empty_seats(seen)
#else
				empty_seats(seen);
				readers[seen - 1] = readers[seen - 1] & ~bit(me)
#endif
			:: else
			fi
		fi;
		d_step { cpu++; seen = 0; ok = false }
	:: else -> break
	od;
	cpu = 0
}

/* Under a quota: too many? */
inline count_seats()
{
	d_step { seen = 0; i = 0 };
	do
	:: i < SEATS -> d_step { seen = seen + (segment[mine].seats[i] != 0 -> 1 : 0); i++ }
	:: else -> break
	od;
	i = 0
}

inline sit_and_stand()
{
	cpu = 0;
#if defined(QUOTA) && BUG == 10
	count_seats();
#endif
	do
	:: cpu < SEATS ->
#if BUG == 6
		ok = segment[mine].seats[cpu] == 0;
#endif
		d_step {
#if BUG != 6
			ok = segment[mine].seats[cpu] == 0;
#endif
			if
			:: ok ->
#if BUG == 7
				segment[mine].seats[cpu] = NO_ROW;
#else
				segment[mine].seats[cpu] = row + 1;
#endif
				assert(real_sits[cpu] == 0);
				real_sits[cpu] = real_sits[cpu] | bit(me)
			:: else
			fi
		};
#if BUG == 7
		if
		:: ok -> segment[mine].seats[cpu] = row + 1
		:: else
		fi;
#endif
		if
		:: ok -> break
		:: else -> cpu++
		fi
	:: else -> break
	od;
#ifdef QUOTA
	if
	:: cpu < SEATS ->
#if BUG == 10
		seen++;
#else
		count_seats();
#endif
		if
		:: seen <= QUOTA || BUG == 11 -> d_step { assert(real_works == 0); real_works = real_works | bit(me) }
		:: else
		fi;
		seen = 0
	:: else -> seen = 0
	fi;
#endif
	if
	:: cpu < SEATS ->
		d_step {
#ifdef QUOTA
			real_works = real_works & ~bit(me);
#endif
			assert(segment[mine].seats[cpu] == row + 1);
			segment[mine].seats[cpu] = 0;
			real_sits[cpu] = real_sits[cpu] & ~bit(me)
		}
	:: else -> reclaim()
	fi;
	d_step { cpu = 0; ok = false }
}

proctype process(byte me)
{
	byte mine = SEGMENTS, row = ROWS, i, cpu, seen, sits;
	bool ok;

	{
	skip;
again:	skip;
	/* Step 2. Who comes back later might as well come in later. */
	d_step { coming_in == 0 -> coming_in = me + 1 };

	/* Step 3. */
	seen = record;
	d_step {
		ok = seen > 0 && segment[(seen > 0 -> seen - 1 : 0)].attached != 0 &&
			segment[(seen > 0 -> seen - 1 : 0)].namespace == NAMESPACE;
		if
		:: ok -> mine = seen - 1; segment[mine].attached = segment[mine].attached | bit(me)
		:: else
		fi;
		seen = 0
	};
#if BUG == 1
	coming_in = 0;
#endif

	/* Step 4. */
	if
	:: ok
	:: else ->
		i = 0;
		do
#if BUG != 2
#if BUG == 12
		:: i < ROWS && writer[i] != 0 -> goto out
#else
		:: i < ROWS && writer[i] != 0 && IS_FOREIGN -> goto out
		:: i < ROWS && writer[i] != 0 && !IS_FOREIGN ->
			/* There is no such segment any more. */
			d_step { i = 0; coming_in = (coming_in == me + 1 -> 0 : coming_in) };
			goto again
#endif
		:: i < ROWS && writer[i] == 0 -> i++
#endif
		:: i == ROWS || BUG == 2 -> i = 0; break
		od;
		skip;
		d_step { mine = made; made++; segment[mine].attached = bit(me); segment[mine].namespace = NAMESPACE };
		record = mine + 1
	fi;

	/* Step 5. */
	seen = 0;
	do
	:: seen < ROWS ->
#if BUG == 8
		if
		:: writer[seen] == 0 -> empty_seats(seen + 1)
		:: else
		fi;
#endif
		d_step {
			ok = writer[seen] == 0 && readers[seen] == 0;
			if
			:: ok -> writer[seen] = me + 1
			:: else -> seen++
			fi
		};
		if
		:: ok -> break
		:: else
		fi
	:: else -> goto out
	od;
	skip;
#if BUG != 5 && BUG != 8
	empty_seats(seen + 1);
#endif
	d_step { row = seen; seen = 0; ok = false };
#if BUG != 1
	coming_in = 0;
#endif

	do
	:: sits < SITS -> sit_and_stand(); sits++
	:: else -> break
	od;
	finished++;
	finished + dead == PROCESSES;
	reclaim();
	do
	:: cpu < SEATS -> assert(segment[mine].seats[cpu] == 0); cpu++
	:: else -> goto end_done
	od;
out:	skip; /* there is none to be had */
	assert(seen == ROWS || IS_FOREIGN);
	d_step {
		if
		:: coming_in == me + 1 -> coming_in = 0
		:: else
		fi;
		if
		:: mine < SEGMENTS -> segment[mine].attached = segment[mine].attached & ~bit(me)
		:: else
		fi
	};
	finished++;
end_done:
	false
	} unless {
		atomic {
			killed[me] ->
			if
			:: mine < SEGMENTS -> segment[mine].attached = segment[mine].attached & ~bit(me)
			:: else
			fi;
			mine = 0; row = 0; cpu = 0; seen = 0; sits = 0; ok = false
		};
		d_step { /* the kernel closes its files */
			coming_in = (coming_in == me + 1 -> 0 : coming_in);
			i = 0;
			do
			:: i < ROWS ->
#if BUG == 9
				readers[i] = readers[i] & ~bit(me);
#else
				writer[i] = (writer[i] == me + 1 -> 0 : writer[i]);
				readers[i] = readers[i] & ~bit(me);
#endif
				i++
			:: else -> break
			od;
			dead++
		};
end_dead:
		false
	}
}

/* SIGKILL. Who has finished is not worth it. */
active proctype killer()
{
	byte victim, i;

end:	do
	:: atomic { kills > 0 && finished == 0 ->
			select(victim : 0 .. PROCESSES - 1);
			if
			:: !killed[victim] ->
				killed[victim] = true;
				kills--;
#ifdef QUOTA
				real_works = real_works & ~bit(victim);
#endif
				i = 0;
				do
				:: i < SEATS -> real_sits[i] = real_sits[i] & ~bit(victim); i++
				:: else -> break
				od
			:: else
			fi;
			victim = 0; i = 0
		}
	od
}

init {
	byte i;

	atomic {
		do
		:: i < PROCESSES -> run process(i); i++
		:: else -> break
		od
	}
}
