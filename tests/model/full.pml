/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * full.pml: callers that do not look for a seat where there was none just now, as told at the top of csrc/limits.c and
 * with the step numbers used there. Checked: a caller is turned away only for so long after somebody has looked; a mark
 * that was there when a seat was given back is gone then, unless another one has been made since; and in the end who
 * asks looks, and the seat is free.
 *
 * There is one seat. Another process takes it, too, and takes off no mark of this one. The time that a mark lasts is 2.
 *
 * CONFIG two callers: -DCALLERS=2 -DTRIES=2 -DTIME=5
 * CONFIG three callers: -DCALLERS=3 -DTRIES=1 -DTIME=3
 *
 * BUG 1: who is turned away says again that there is no seat (1)
 * BUG 2: who gives a seat back leaves the mark (5)
 * BUG 3: the mark is taken off before the seat is free (4, 5)
 * BUG 4: a mark counts for ever (1)
 * BUG 5: each that finds no seat makes the time longer (3)
 */
#define FULL 2
#define OTHERS 100

byte seat;	 /* who has it */
byte full_until; /* limits_full() */
byte now = 1;
byte looked = 0; /* when somebody last found no seat, of this process; */
byte real_marks; /* and how many have said so */
byte finished;


proctype caller(byte me)
{
	byte tries, until, seen, marks;
	bool ok;

	do
	:: tries < TRIES ->
		/* Step 1. */
		until = full_until;
		d_step {
			ok = until != 0 && (now < until || BUG == 4);
			assert(!ok || now < looked + FULL)
		};
		if
		:: ok ->
#if BUG == 1
			seen = now; full_until = seen + FULL
#else
			skip
#endif
		:: else ->
			/* Step 2. */
			d_step { ok = seat == 0; seat = (ok -> me : seat) };
			if
			:: ok ->
#if BUG == 3
				full_until = 0;
#endif
				d_step { seat = 0; marks = real_marks }; /* step 4 */
#if BUG != 2 && BUG != 3
				if /* step 5 */
				:: full_until != 0 -> full_until = 0
				:: else
				fi;
#endif
				assert(full_until == 0 || real_marks != marks)
			:: else -> /* step 3 */
				d_step { seen = now; looked = now };
#if BUG == 5
				d_step { full_until = (full_until > seen -> full_until : seen) + FULL; real_marks++ }
#else
				d_step { full_until = seen + FULL; real_marks++ }
#endif
			fi
		fi;
		d_step { tries++; until = 0; seen = 0; marks = 0; ok = false }
	:: else -> break
	od;
	finished++
}

active proctype another_process()
{
	do
	:: d_step { seat == 0 -> seat = OTHERS }; seat = 0
	:: true -> break
	od;
	finished++
}

init {
	byte i = 1;

	atomic {
		do
		:: i <= CALLERS -> run caller(i); i++
		:: else -> break
		od;
		i = 0
	};
	do
	:: now <= TIME -> now++
	:: true -> break
	od;
	finished == CALLERS + 1;
	assert(seat == 0 && full_until <= looked + FULL)
}
