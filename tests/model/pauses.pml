/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pauses.pml: helpers that go home because somebody else wants their CPU, and the pause that follows, as told at the top
 * of csrc/retreat.c and with the step numbers used there. Checked: a pause begins when the one before is over, and
 * lasts twice as long, or the shortest time if there was none for a while; it ends at most the longest time after
 * that; and its room is the least that one of those left who went home in it. That while is as long as the pause was, or
 * until it was quiet since the first helper beyond its room came in time, if that is sooner.
 *
 * Times are small: the shortest pause is 1, the longest 3, and it has to be quiet for 1. Time goes on whenever it likes.
 *
 * CONFIG two helpers, twice each: -DHELPERS=2 -DRETREATS=2 -DCOMES=0 -DTIME=7
 * CONFIG three helpers: -DHELPERS=3 -DRETREATS=1 -DCOMES=0 -DTIME=4
 * CONFIG one helper, three times, and one that comes twice: -DHELPERS=1 -DRETREATS=3 -DCOMES=2 -DTIME=7
 * CONFIG two helpers, and one that comes: -DHELPERS=2 -DRETREATS=1 -DCOMES=2 -DTIME=5
 *
 * BUG 1: end, length and room are words of their own, and the room is written last (3)
 * BUG 2: each of several that go for the same reason begins a pause (2)
 * BUG 3: whoever finds the pause lasting sets the room, also to more than it is (2)
 * BUG 4: nothing is the longest pause (3)
 * BUG 5: who finds the word changed leaves it at that (4)
 * BUG 6: the word is stored, whatever it has become (4)
 * BUG 7: a pause doubles however long ago the one before was (3)
 * BUG 8: who comes in time ends a pause that lasts (5)
 * BUG 9: who had room comes as well (5)
 * BUG 10: who comes in time stores the word, whatever it has become (5)
 * BUG 11: who comes in time may put off when the pause is forgotten (5)
 */
#define SHORTEST 1
#define QUIET 1
#define LONGEST 3

/* The word. */
#define room_of(word) ((word) & 3)
#define doubled_of(word) (((word) >> 2) & 3)
#define CAME 16
#define end_of(word) ((word) >> 5)
#define MOST_ROOM 1
#if BUG == 4
#define MOST_DOUBLED 3
#define length_of(doubled) (SHORTEST << (doubled))
#else
#define MOST_DOUBLED 2
#define length_of(doubled) ((SHORTEST << (doubled)) < LONGEST -> (SHORTEST << (doubled)) : LONGEST)
#endif

#define forgotten_at(word) (end_of(word) + (((word) & CAME) -> QUIET : length_of(doubled_of(word))))
#define lasts(word) (looked < end_of(word) && !((word) & CAME))

int pause;
byte now = LONGEST; /* it is long since there was a pause */
byte real_end, real_length, real_room; /* of the pause, as it should be, */
byte real_came;			       /* and when somebody first came in time, or 0 */

#define is_forgotten (looked > real_end + real_length || (real_came && looked > real_came + QUIET))

/* In the step that changes the word, when somebody goes home. */
inline check(word)
{
	if
	:: looked < real_end && !real_came -> /* it goes home in that pause */
		real_room = (room < real_room -> room : real_room)
	:: else ->
		if
		:: is_forgotten -> real_length = SHORTEST
		:: else -> real_length = (2 * real_length < LONGEST -> 2 * real_length : LONGEST)
		fi;
		real_end = looked + real_length;
		real_room = room;
		real_came = 0
	fi;
	assert(end_of(word) == real_end && length_of(doubled_of(word)) == real_length);
	assert(end_of(word) <= now + LONGEST);
	assert(BUG == 1 || room_of(word) == real_room)
}

proctype helper()
{
	byte retreats, looked, room, doubled;
	int word, next;
	bool ok;

	do
	:: retreats < RETREATS ->
		select(room : 0 .. MOST_ROOM);
		looked = now; /* step 1 */
		word = pause;
step_2:
		if
#if BUG == 2
		:: false
#else
		:: lasts(word) ->
#if BUG == 3
			next = (word & ~3) | room
#else
			if
			:: room >= room_of(word) -> goto gone
			:: else -> next = (word & ~3) | room
			fi
#endif
#endif
		:: else -> /* step 3 */
			d_step {
#if BUG == 7
				doubled = (word -> doubled_of(word) + 1 : 0);
#else
				doubled = (looked > forgotten_at(word) -> 0 : doubled_of(word) + 1);
#endif
				doubled = (doubled < MOST_DOUBLED -> doubled : MOST_DOUBLED);
				next = ((looked + length_of(doubled)) << 5) | (doubled << 2) | room;
#if BUG == 1
				next = (next & ~3) | room_of(word);
#endif
			}
		fi;
		d_step { /* step 4 */
			ok = BUG == 6 || pause == word;
			if
			:: ok -> pause = next; check(next)
			:: else ->
				word = pause;
				assert(BUG != 5 || looked >= end_of(word) || room >= room_of(word))
			fi
		};
#if BUG == 1
		if
		:: ok && looked >= end_of(word) ->
			d_step { pause = (pause & ~3) | room; assert(room_of(pause) == real_room) }
		:: else
		fi;
#endif
		if
		:: ok || BUG == 5
		:: else -> goto step_2
		fi;
gone:		skip;
		d_step { retreats++; looked = 0; room = 0; doubled = 0; word = 0; next = 0; ok = false }
	:: else -> break
	od
}

/* One that is woken, and comes in time. */
proctype comer()
{
	byte comes, looked, running;
	int word;

	do
	:: comes < COMES ->
		select(running : 1 .. MOST_ROOM + 1);
		looked = now;
		word = pause; /* step 5 */
		if
#if BUG != 8
		:: looked < end_of(word) -> skip
#endif
#if BUG != 9
		:: running <= room_of(word) -> skip
#endif
#if BUG != 11
		:: looked + QUIET >= forgotten_at(word) -> skip
#endif
		:: word == 0 -> skip
		:: else ->
			d_step {
				if
				:: BUG == 10 || pause == word ->
					assert(looked >= real_end && running > real_room && real_came == 0);
					assert(pause == word);
					pause = (looked << 5) | CAME | (word & (CAME - 1));
					real_came = looked
				:: else
				fi
			}
		fi;
		d_step { comes++; looked = 0; running = 0; word = 0 }
	:: else -> break
	od
}

init {
	byte i;

	atomic {
		do
		:: i < HELPERS -> run helper(); i++
		:: else -> break
		od;
		run comer()
	};
	do
	:: now < LONGEST + TIME -> now++
	:: true -> break
	od
}
