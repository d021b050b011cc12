/*
 * How workers write each record of one partition to PostgreSQL exactly once.
 *
 * Two workers, one partition, RECORDS records. Whatever can happen between two steps may happen: a worker
 * crashes or sleeps, the answer to a COMMIT is lost, a session is terminated, Kafka gives the partition to the
 * other worker with or without notice. `// is:` names the function that a step stands for.
 *
 * A name such as NO_EPOCH takes one guard out; each must then give a counterexample (check.py).
 * What is left out, and why: docs/model.md.
 */

#ifndef RECORDS
#define RECORDS 3
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef SLEEPS
#define SLEEPS 1
#endif
#ifndef LOST_ANSWERS
#define LOST_ANSWERS 1
#endif
#ifndef KILLED_SESSIONS
#define KILLED_SESSIONS 1
#endif
#ifndef DOUBTS
#define DOUBTS 1
#endif
#ifndef REBALANCES
#define REBALANCES 1
#endif

#define WORKERS 2
#define PENDING 2           // is: cryptometrics.pipeline.writer.MAX_PENDING
#ifndef SESSIONS
#define SESSIONS 6          /* that may exist at once; an assertion holds it against need */
#endif
#define NOBODY 255
#define PREFIX(r) ((1 << ((r) + 1)) - 1)   /* the records up to r, as a set */

/* A session of PostgreSQL, with the transaction that its client has sent. */
#ifdef NO_EPOCH
#define RIGHT_EPOCH(s) (1)
#else
#define RIGHT_EPOCH(s) (session[s].epoch == epoch)
#endif
#ifdef NO_EXPECTED
#define RIGHT_OFFSET(s) (1)
#else
#define RIGHT_OFFSET(s) (session[s].expected == next_offset)
#endif
#ifdef NO_TERMINATION
#define MAY_TERMINATE (0)
#else
#define MAY_TERMINATE (backend != NOBODY && session[backend].state != ENDED)
#endif
mtype = { UNUSED, READY, ASKED, HELD, SENT, HALF, COMMITTED, FENCED, ENDED };
typedef Session {
    mtype state = UNUSED;
    bit gone;               /* its client has crashed, or has given it up */
    byte epoch, expected, record, seen;
    byte claim;             /* which claim it writes for */
}
Session session[SESSIONS];

/* The row of consumer_offsets. */
byte claims;                /* how many there have been; the workers do not see this */
byte epoch, next_offset, backend = NOBODY, locked_by = NOBODY;
/* What the rows of the batches say. */
byte outcomes[RECORDS];     /* per record: how many outcomes are stored */
byte stored_seen;           /* the records that the stored extremes cover */

/* Kafka: who has the partition, and the offset that was committed there for lag tools. */
byte holder = NOBODY, kafka_offset;
mtype = { NOTHING, ASSIGNED, REVOKED, LOST };
mtype notice[WORKERS] = NOTHING;   /* what the worker hears at its next poll */

/* A worker's memory. */
bit up[WORKERS], awake[WORKERS], assigned[WORKERS], opened[WORKERS];
byte mine[WORKERS];         /* which session writes */
byte held_epoch[WORKERS];   /* 0: none */
byte claimed[WORKERS];      /* the claim that it believes to hold */
byte position[WORKERS];     /* the next record to calculate */
byte expected[WORKERS];     /* the stored offset before the oldest pending batch */
byte seen[WORKERS];         /* the records in the extremes as calculated */
byte pending[WORKERS];      /* batches of one record each, accepted but not known to be committed */
typedef Queue { byte seen[PENDING]; byte record[PENDING]; }
Queue queue[WORKERS];

byte crashes = CRASHES, sleeps = SLEEPS, lost_answers = LOST_ANSWERS, kills = KILLED_SESSIONS;
byte doubts = DOUBTS, rebalances = REBALANCES;

#define IS_FREE(s) (s != backend && (session[s].state == UNUSED || (session[s].state == ENDED && session[s].gone)))

inline connect(w) {         // is: cryptometrics.pipeline.worker_sessions.Database.connect
    /* A number is used again only when nothing refers to it: process id and start time tell sessions apart. */
    mine[w] = 0;
    do
    :: mine[w] < SESSIONS && !IS_FREE(mine[w]) -> mine[w]++
    :: else -> break
    od;
    assert(mine[w] < SESSIONS);
    session[mine[w]].state = READY; session[mine[w]].gone = 0;
    session[mine[w]].epoch = 0; session[mine[w]].expected = 0; session[mine[w]].record = 0; session[mine[w]].seen = 0; session[mine[w]].claim = 0
}

inline hang_up(w) {         // is: cryptometrics.pipeline.worker_sessions.Database.close
    session[mine[w]].gone = 1;
    if
    :: session[mine[w]].state == READY || session[mine[w]].state == COMMITTED || session[mine[w]].state == FENCED ->
        session[mine[w]].state = ENDED       /* without a transaction, closing is all */
    :: else
    fi
}

inline forget(w) {          // is: cryptometrics.pipeline.worker.Worker._reset
    hang_up(w);
    pending[w] = 0; opened[w] = 0;
    queue[w].seen[0] = 0; queue[w].seen[1] = 0; queue[w].record[0] = 0; queue[w].record[1] = 0;
    position[w] = 0; expected[w] = 0;
#ifndef KEEP_EXTREMES
    seen[w] = 0
#endif
}

inline start_over(w) {      // is: cryptometrics.pipeline.worker.Worker._start_over
    forget(w);
    connect(w)
}

inline read_stored(w) {     /* what a claim returns, and what the calculator then loads */
    expected[w] = next_offset;
    position[w] = next_offset;
#ifdef KEEP_EXTREMES
    seen[w] = seen[w] | stored_seen;
#else
    seen[w] = stored_seen;  // is: cryptometrics.pipeline.calculator.Calculator.own
#endif
#ifdef KAFKA_FIRST
    if :: kafka_offset > next_offset -> position[w] = kafka_offset :: else fi;
#endif
    opened[w] = 1
}

inline calculate(w) {       // is: cryptometrics.pipeline.calculator.Calculator.calculate
    do
    :: pending[w] < PENDING && position[w] < RECORDS ->
        seen[w] = seen[w] | (1 << position[w]);
        queue[w].seen[pending[w]] = seen[w];
        queue[w].record[pending[w]] = position[w];
        pending[w]++;
        position[w]++
    :: else -> break
    od;
#ifdef KAFKA_FIRST
    kafka_offset = position[w];
#endif
    skip
}

inline end_session(s) {
    if
    :: session[s].state != UNUSED ->
        session[s].state = ENDED;
        session[s].epoch = 0; session[s].expected = 0; session[s].record = 0; session[s].seen = 0; session[s].claim = 0
    :: else
    fi;
    if :: locked_by == s -> locked_by = NOBODY :: else fi
}

proctype Worker(byte w) {
end:
    do
    /* Poll. */
    :: d_step { up[w] && awake[w] && notice[w] == ASSIGNED ->      // is: cryptometrics.pipeline.worker.Worker._on_assign
        notice[w] = NOTHING; assigned[w] = 1 }
    :: d_step { up[w] && awake[w] && notice[w] == REVOKED && pending[w] == 0 ->  // is: cryptometrics.pipeline.worker.Worker._on_revoke
        notice[w] = NOTHING; assigned[w] = 0; opened[w] = 0; held_epoch[w] = 0; claimed[w] = 0;
        position[w] = 0; expected[w] = 0; seen[w] = 0; holder = NOBODY }
    :: d_step { up[w] && awake[w] && notice[w] == REVOKED && pending[w] > 0 ->   /* not drained in time */
        notice[w] = NOTHING; assigned[w] = 0; held_epoch[w] = 0; claimed[w] = 0; holder = NOBODY; start_over(w) }
    :: d_step { up[w] && awake[w] && notice[w] == LOST ->          // is: cryptometrics.pipeline.worker.Worker._on_lost
        notice[w] = NOTHING; assigned[w] = 0; held_epoch[w] = 0; claimed[w] = 0; start_over(w) }

    /* Claim, or renew after a doubt. Both need the row's lock. */
    :: d_step { up[w] && awake[w] && notice[w] == NOTHING && assigned[w] && !opened[w] && locked_by == NOBODY ->
        if
        :: held_epoch[w] != 0 && held_epoch[w] == epoch ->         // is: cryptometrics.store.partition_claims.renew
#ifndef STALE_BACKEND
            backend = mine[w];
#endif
            skip
        :: else ->                                                 // is: cryptometrics.store.partition_claims.claim
#ifdef SAME_EPOCH
            if :: epoch == 0 -> epoch = 1 :: else fi;
#else
            epoch++;
#endif
            claims++; claimed[w] = claims;
            held_epoch[w] = epoch;
            backend = mine[w]
        fi;
        read_stored(w);
        calculate(w) }
    :: d_step { up[w] && awake[w] && notice[w] == NOTHING && assigned[w] && !opened[w] && locked_by != NOBODY && MAY_TERMINATE ->
        end_session(backend) }                                     // is: cryptometrics.store.partition_claims._not_stalled

    /* Write. */
    :: d_step { up[w] && awake[w] && pending[w] > 0 && session[mine[w]].state == READY ->  // is: cryptometrics.store.batch_transaction.write
        session[mine[w]].epoch = held_epoch[w];
        session[mine[w]].claim = claimed[w];
        session[mine[w]].expected = expected[w];
        session[mine[w]].record = queue[w].record[0];
        session[mine[w]].seen = queue[w].seen[0];
        session[mine[w]].state = ASKED }
    :: d_step { up[w] && awake[w] && session[mine[w]].state == HELD -> session[mine[w]].state = SENT }
    :: d_step { up[w] && awake[w] && session[mine[w]].state == COMMITTED && pending[w] > 0 ->  // is: cryptometrics.pipeline.writer.BatchWriter._run
        session[mine[w]].state = READY;
        session[mine[w]].epoch = 0; session[mine[w]].expected = 0; session[mine[w]].record = 0; session[mine[w]].seen = 0; session[mine[w]].claim = 0;
        expected[w] = queue[w].record[0] + 1;
        queue[w].record[0] = queue[w].record[1]; queue[w].seen[0] = queue[w].seen[1];
        queue[w].record[1] = 0; queue[w].seen[1] = 0;
        pending[w]--;
        if :: notice[w] != REVOKED -> calculate(w) :: else fi }
#ifdef NO_REREAD
    /* After a doubt: a new session, and on as if nothing had been committed. */
    :: d_step { up[w] && awake[w] && (session[mine[w]].state == FENCED || session[mine[w]].state == ENDED) ->
        hang_up(w); connect(w) }
#else
    :: d_step { up[w] && awake[w] && (session[mine[w]].state == FENCED || session[mine[w]].state == ENDED) ->
        start_over(w) }
#endif
    /* A doubt while a transaction is still running: a time-out, an error of Kafka. */
    :: d_step { up[w] && awake[w] && doubts > 0 && opened[w] -> doubts--; start_over(w) }
    od
}

/* Runs what clients have sent, in any order between sessions. */
proctype Server(byte s) {
end:
    do
    /* The guard: the row's lock, the epoch, and the offset. */
    :: d_step { session[s].state == ASKED && locked_by == NOBODY ->
        if
        :: RIGHT_EPOCH(s) && RIGHT_OFFSET(s) ->                    // is: cryptometrics.store.batch_transaction._ADVANCE
#ifndef NO_LOCK
            locked_by = s;
#endif
            session[s].state = HELD
        :: else -> session[s].state = FENCED;
            session[s].epoch = 0; session[s].expected = 0; session[s].record = 0; session[s].seen = 0; session[s].claim = 0 // is: cryptometrics.store.batch_transaction.FencedError
        fi }
    /* A client that is gone: its transaction ends, or the thread that was given up still sends the rest. */
    :: d_step { session[s].gone && (session[s].state == HELD || session[s].state == ASKED || session[s].state == SENT) ->
        end_session(s) }
    :: d_step { session[s].gone && session[s].state == HELD -> session[s].state = SENT }   // is: cryptometrics.pipeline.writer.BatchWriter.retire
#ifdef SPLIT_TRANSACTION
    :: d_step { session[s].state == SENT ->
        outcomes[session[s].record]++;
        assert(outcomes[session[s].record] == 1);
        locked_by = NOBODY;
        session[s].state = HALF }
    :: d_step { session[s].state == HALF && session[s].gone -> session[s].state = ENDED }
    :: atomic { session[s].state == HALF ->
        stored_seen = session[s].seen;
        next_offset = session[s].record + 1;
        session[s].state = COMMITTED }
#else
    :: atomic { session[s].state == SENT ->
        assert(session[s].claim == claims);                       /* no older claim writes after a newer one */
        assert(session[s].record == next_offset);                 /* none is skipped, none is repeated */
        assert(outcomes[session[s].record] == 0);                 /* one outcome for each record */
        assert(session[s].seen == PREFIX(session[s].record));     /* extremes cover just what came before */
        outcomes[session[s].record]++;
        stored_seen = session[s].seen;
        next_offset = session[s].record + 1;
        if :: locked_by == s -> locked_by = NOBODY :: else fi;
        if
        :: session[s].gone -> end_session(s)
        :: !session[s].gone && lost_answers > 0 -> lost_answers--; end_session(s)
        :: !session[s].gone -> session[s].state = COMMITTED
        fi }
#endif
    od
}

/* Kafka's coordinator of the group. */
proctype Coordinator() {
    byte w;
end:
    do
    :: d_step { holder == NOBODY && up[0] && notice[0] == NOTHING && !assigned[0] && awake[0] -> holder = 0; notice[0] = ASSIGNED }
    :: d_step { holder == NOBODY && up[1] && notice[1] == NOTHING && !assigned[1] && awake[1] -> holder = 1; notice[1] = ASSIGNED }
    :: d_step { rebalances > 0 && holder != NOBODY && notice[holder] == NOTHING && assigned[holder] ->
        rebalances--; notice[holder] = REVOKED }
    :: d_step { rebalances > 0 && holder != NOBODY && notice[holder] == NOTHING && assigned[holder] ->
        rebalances--; notice[holder] = LOST; holder = NOBODY }
    :: d_step { holder != NOBODY && (!awake[holder] || !up[holder]) ->      /* its session with Kafka has expired */
        if :: up[holder] -> notice[holder] = LOST :: else -> notice[holder] = NOTHING fi;
        holder = NOBODY }
    od
}

inline crash(w) {
    crashes--; up[w] = 0; awake[w] = 1;
    forget(w); seen[w] = 0;
    assigned[w] = 0; held_epoch[w] = 0; claimed[w] = 0
}

proctype Faults() {
end:
    do
    :: d_step { crashes > 0 && up[0] -> crash(0) }
    :: d_step { crashes > 0 && up[1] -> crash(1) }
    :: d_step { sleeps > 0 && up[0] && awake[0] -> sleeps--; awake[0] = 0 }
    :: d_step { sleeps > 0 && up[1] && awake[1] -> sleeps--; awake[1] = 0 }
    :: d_step { kills > 0 && backend != NOBODY && session[backend].state != ENDED -> kills--; end_session(backend) }
    od
}

/* Wakes a sleeper at any time, perhaps never. */
proctype Waker() {
end:
    do
    :: d_step { !awake[0] -> awake[0] = 1 }
    :: d_step { !awake[1] -> awake[1] = 1 }
    :: !awake[0] || !awake[1] -> break
    od
}

inline restart(w) {
    notice[w] = NOTHING;
    if :: holder == w -> holder = NOBODY :: else fi;
    up[w] = 1; awake[w] = 1;
    connect(w)
}

/* Starts a worker that has crashed. */
proctype Supervisor() {
end:
    do
    :: d_step { !up[0] -> restart(0) }
    :: d_step { !up[1] -> restart(1) }
    od
}

init {
    byte i = 0;
    atomic {
        do :: i < SESSIONS -> run Server(i); i++ :: else -> break od;
        i = 0;
        do
        :: i < WORKERS -> up[i] = 1; awake[i] = 1; connect(i); run Worker(i); i++
        :: else -> break
        od;
        run Coordinator(); run Faults(); run Waker(); run Supervisor()
    }
}

ltl finishes { <> (next_offset == RECORDS) }
