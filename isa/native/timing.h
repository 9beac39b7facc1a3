/* When each instruction starts and ends: docs/microarchitecture.md, burst by burst.

   The sequencer issues one instruction a cycle, in order, into the queue of its unit. It holds an
   instruction back while that queue is full or while the older page of a register that the
   instruction writes is still being read (registers have two pages). A unit starts the head of its
   queue when its operands are complete. Banks hand sums to their consumer group by group through a
   few accumulator slots, so banks and neuron unit work on neighbouring groups at the same time.

   Included once for each number of samples in lockstep, LANES: they run the same instructions and
   differ in activity, so that every rule is one loop over samples. Times are 32-bit and relative;
   `rebase` moves their origin. */

#ifndef N
/* What an instruction reads: stretches of registers, and one of them. Of each, one bit says in which of
   its two pages it lies. */
typedef uint64_t Parity[3];
typedef struct { int stretch, at; } Read;

static inline int next_read(const Instr *op, Read *p) {
    const int32_t *count = &op->count0;
    while (p->stretch < op->reads && p->at == count[p->stretch]) p->stretch++, p->at = 0;
    return p->stretch < op->reads;
}

static inline int register_of(const Instr *op, Read p) { return (&op->read0)[p.stretch] + p.at; }

static inline int page_of(const Instr *op, const Parity pages, Read p) {
    return 2 * register_of(op, p) + (pages[p.stretch] >> p.at & 1);
}

#define N2(name, lanes) name##_##lanes
#define N1(name, lanes) N2(name, lanes)
#define N(name) N1(name, LANES)
#endif
#define EACH for (int l = 0; l < LANES; l++)
#define EACH_READ(op, p) for (Read p = {0, 0}; next_read(op, &p); p.at++)

typedef int32_t N(Time)[LANES];
#define Time N(Time)

/* One version of a register: when it is complete, and when its last reader is done; `held` counts
   readers in bursts of which that is not known yet. */
typedef struct { Time ready, released; int held; } N(Page);
#define Page N(Page)

/* An issued instruction on a bank, waiting for the consumer of its burst. */
typedef struct {
    int pc, spill, period;
    const Instr *op;
    Parity pages;                             /* of what it reads */
    Time issued, operands, *rows;             /* rows[period] */
} N(Segment);
#define Segment N(Segment)

/* The joined instructions on one bank that feed a consumer. Its groups are worked out as soon as
   there are slots for them, the rest as the consumer takes sums and leaves slots behind. */
typedef struct {
    int segments, groups, spilled, known, ended, period;
    int looks, sums;                          /* whether it looks ahead; sums that a group takes */
    Segment segment[MOST_QUEUE];
    Time *cycles;                             /* of each group, by its number modulo the period */
    Time first, ready[MOST_SUMS];             /* of groups that wait in their slots, a ring */
    Time look;                                /* when the next group can be looked at */
} N(Burst);
#define Burst N(Burst)

typedef struct {
    Time free, drained;                       /* first free cycle; last result in place */
    Time starts[MOST_QUEUE];                  /* of the latest instructions, a ring */
    int oldest, started, unknown;             /* the last `unknown` have not started */
    Time read[MOST_READS];                    /* the latest row reads of group work, a ring */
    int row[MOST_READS], first_read, reading, most_reads, hold;
    Time sum[MOST_SUMS];                      /* cycles from which sums can be used, a ring */
    int first_sum, free_sums;
    int has_burst, waits;                     /* whether `behind` is to be charged */
    int64_t behind[LANES];                    /* how far `free` lay before the origin */
    Burst burst;
} N(Unit);
#define Unit N(Unit)

/* What a unit's cycles were spent on for one instruction: work, and waiting by cause. A burst's first
   instruction waits for its issue and its slots, its last one has the cycles that belong to no row. */
typedef struct { Time busy, stalls[CAUSES]; } N(Spent);
#define Spent N(Spent)

typedef struct {
    const Sizes *sizes;
    const int32_t *latency;
    int used;                                 /* samples that count */
    Time issued;
    int64_t base;
    Unit unit[UNITS];
    Page page[2 * PAGED];                     /* two of each register and window */
    int newest[PAGED], pages[PAGED];
    Spent *spent;                             /* of each instruction, since it was last settled */
    int64_t (*sums)[1 + CAUSES];              /* over samples, of what was settled */
    Time *rows;                               /* room for what bursts keep: see rows_of */
    int trace;                                /* keep spans and intervals, of the first sample */
    Span *spans; int64_t span_count, span_room;
    Interval *intervals; int64_t interval_count, interval_room;
} N(Timing);
#define Timing N(Timing)

/* Room of a bank for the cycles of its burst (part 0), and the rows of each of its segments. */
static Time *N(rows_of)(const Timing *t, int bank, int part) {
    return t->rows + (size_t)(bank * (t->sizes->queue + 1) + part) * t->sizes->period;
}

static int N(timing_open)(Timing *t, const Program *program) {
    const Sizes *sizes = &program->sizes;
    t->sizes = sizes;
    t->rows = zeroed((size_t)sizes->banks * (sizes->queue + 1) * sizes->period, sizeof *t->rows);
    t->spent = zeroed(sizes->instructions, sizeof *t->spent);
    t->sums = zeroed(sizes->instructions, sizeof *t->sums);
    return t->rows && t->spent && t->sums;
}

static void N(timing_close)(Timing *t) {
    free(t->spans), free(t->intervals), free(t->rows), free(t->spent), free(t->sums);
}

static void N(timing_reset)(Timing *t, const Program *program, int used) {
    for (int u = 0; u < UNITS; u++) {         /* all but the large tables of bursts */
        Unit *unit = &t->unit[u];
        memset(unit, 0, offsetof(Unit, burst));
        unit->most_reads = program->latency[u] / 2;
        unit->free_sums = 2 * program->sizes.slots;
        unit->burst.segments = 0;
    }
    t->sizes = &program->sizes, t->latency = program->latency, t->used = used, t->base = 0;
    EACH t->issued[l] = -1;
    memset(t->newest, 0, sizeof t->newest);
    memset(t->pages, 0, sizeof t->pages);
    memset(t->spent, 0, t->sizes->instructions * sizeof *t->spent);
    memset(t->sums, 0, t->sizes->instructions * sizeof *t->sums);
    t->span_count = t->interval_count = 0;
}

/* Take over a bank's burst, with what lies in its room. */
static void N(burst_copy)(Timing *t, int bank, const Timing *from) {
    Burst *burst = &t->unit[bank].burst;
    *burst = from->unit[bank].burst;
    size_t parts = burst->segments + 1;
    memcpy(N(rows_of)(t, bank, 0), N(rows_of)(from, bank, 0), parts * t->sizes->period * sizeof(Time));
    burst->cycles = N(rows_of)(t, bank, 0);
    for (int s = 0; s < burst->segments; s++) burst->segment[s].rows = N(rows_of)(t, bank, s + 1);
}

/* Stand where another timing of the program does, without what it traced. */
static void N(timing_copy)(Timing *t, const Timing *from) {
    for (int u = 0; u < UNITS; u++) {         /* of the large tables of bursts, those in use */
        const Unit *unit = &from->unit[u];
        memcpy(&t->unit[u], unit, offsetof(Unit, burst));
        if (unit->has_burst) N(burst_copy)(t, u, from);
    }
    t->sizes = from->sizes, t->latency = from->latency, t->used = from->used, t->base = from->base;
    memcpy(t->issued, from->issued, sizeof t->issued);
    memcpy(t->page, from->page, sizeof t->page);
    memcpy(t->newest, from->newest, sizeof t->newest);
    memcpy(t->pages, from->pages, sizeof t->pages);
    memcpy(t->spent, from->spent, t->sizes->instructions * sizeof *t->spent);
    memcpy(t->sums, from->sums, t->sizes->instructions * sizeof *t->sums);
    t->trace = 0;
}

/* -- accounting ---------------------------------------------------------------------------------- */

static void N(interval)(Timing *t, int unit, int why, int since, int until, int pc) {
    if (until <= since) return;
    if (t->interval_count == t->interval_room) {
        t->interval_room = t->interval_room ? 2 * t->interval_room : 1024;
        t->intervals = realloc(t->intervals, t->interval_room * sizeof *t->intervals);
    }
    t->intervals[t->interval_count++] =
        (Interval){unit, why, pc, 0, t->base + since, t->base + until};
}

static void N(span)(Timing *t, int pc, int unit, int issued, int start, int end) {
    if (t->span_count == t->span_room) {
        t->span_room = t->span_room ? 2 * t->span_room : 1024;
        t->spans = realloc(t->spans, t->span_room * sizeof *t->spans);
    }
    t->spans[t->span_count++] =
        (Span){pc, unit, t->base + issued, t->base + start, t->base + end};
}

static inline void N(later)(Time at, const Time until) {
    EACH at[l] = at[l] > until[l] ? at[l] : until[l];
}

/* The later of two cycles in `at`, with the wait charged to its cause. */
static inline void N(wait)(Timing *t, int unit, int pc, int cause, Time at, const Time until) {
    int32_t *stall = t->spent[pc].stalls[cause];
    if (LANES == 1 && t->trace) N(interval)(t, unit, cause, at[0], until[0], pc);
    EACH {
        int32_t later = at[l] > until[l] ? at[l] : until[l];
        stall[l] += later - at[l];
        at[l] = later;
    }
}

/* `cycles` of work from `at`, which moves behind them. */
static inline void N(work)(Timing *t, int unit, int pc, Time at, const Time cycles) {
    if (LANES == 1 && t->trace) N(interval)(t, unit, -1, at[0], at[0] + cycles[0], pc);
    EACH at[l] += cycles[l];
}

/* The first cycle in which every unit is idle and every result in place. */
static void N(end)(const Timing *t, Time end) {
    EACH end[l] = t->issued[l] + 1;
    for (int u = 0; u < UNITS; u++)
        N(later)(end, t->unit[u].drained);
}

/* A unit waits for the sequencer: from its true beginning, if that lies before the origin. */
static inline void N(wait_for_issue)(Timing *t, int number, int pc, const Time until) {
    Unit *unit = &t->unit[number];
    if (unit->waits) {
        for (int l = 0; l < t->used; l++) t->sums[pc][1 + CAUSE_ISSUE] += unit->behind[l];
        memset(unit->behind, 0, sizeof unit->behind);
        unit->waits = 0;
    }
    N(wait)(t, number, pc, CAUSE_ISSUE, unit->free, until);
}

/* -- bursts -------------------------------------------------------------------------------------- */

/* The newest pages of all that an instruction reads. */
static void N(pages_read)(const Timing *t, const Instr *op, Parity pages) {
    memset(pages, 0, sizeof(Parity));
    EACH_READ(op, p) pages[p.stretch] |= (uint64_t)t->newest[register_of(op, p)] << p.at;
}

/* The cycle in which all that an instruction reads is complete. */
static void N(operands)(const Timing *t, const Instr *op, const Parity pages, Time complete) {
    EACH complete[l] = 0;
    EACH_READ(op, p) N(later)(complete, t->page[page_of(op, pages, p)].ready);
}

/* What an instruction reads is of no more use to it from a cycle on. */
static void N(release)(Timing *t, const Instr *op, const Parity pages, const Time from) {
    EACH_READ(op, p) N(later)(t->page[page_of(op, pages, p)].released, from);
}

/* The queue entries of a burst's instructions are free from now on. */
static void N(leave_queue)(Unit *unit, int queue) {
    memcpy(unit->burst.first, unit->free, sizeof(Time));
    for (int k = unit->started - unit->unknown; k < unit->started; k++)
        memcpy(unit->starts[(unit->oldest + k) % queue], unit->free, sizeof(Time));
    unit->unknown = 0;
}

/* The last group is done: release the operands. */
static void N(burst_end)(Timing *t, int number) {
    Unit *unit = &t->unit[number];
    Burst *burst = &unit->burst;
    burst->ended = 1;
    memcpy(unit->drained, burst->ready[(burst->known - 1) % MOST_SUMS], sizeof(Time));
    for (int s = 0; s < burst->segments; s++) {
        Segment *segment = &burst->segment[s];
        if (LANES == 1 && t->trace)
            N(span)(t, segment->pc, number, segment->issued[0], burst->first[0], unit->free[0]);
        EACH_READ(segment->op, p) t->page[page_of(segment->op, segment->pages, p)].held--;
        N(release)(t, segment->op, segment->pages, unit->free);
    }
}

/* Work through a group whose instructions start or are traced one by one. */
static void N(group_of_segments)(Timing *t, int number, const Time slot) {
    Unit *unit = &t->unit[number];
    Burst *burst = &unit->burst;
    int group = burst->known;
    N(wait)(t, number, burst->segment[0].pc, CAUSE_SLOT, unit->free, slot);
    if (group == 0 && !burst->spilled) N(leave_queue)(unit, t->sizes->queue);
    Time rows = {0}, last;
    for (int s = 0; s < burst->segments; s++) {
        Segment *segment = &burst->segment[s];
        if (segment->spill) continue;
        if (group == 0) N(wait)(t, number, segment->pc, CAUSE_OPERAND, unit->free, segment->operands);
        int32_t *of_group = segment->rows[group & (segment->period - 1)];
        EACH rows[l] += of_group[l];
        N(work)(t, number, segment->pc, unit->free, of_group);
    }
    const int32_t *cycles = burst->cycles[group & (burst->period - 1)];
    EACH last[l] = cycles[l] - rows[l];
    N(work)(t, number, burst->segment[burst->segments - 1].pc, unit->free, last);
}

/* Look at the next group once it has a sum, ahead of the rows that are read: one without rows is
   passed over, in a cycle of its own only where there is no row to read. */
static inline void N(look_ahead)(Timing *t, int number, const Time sum, Time ready) {
    Unit *unit = &t->unit[number];
    Burst *burst = &unit->burst;
    int closing = burst->segment[burst->segments - 1].pc;
    Time seen, passed;
    memcpy(seen, burst->look, sizeof(Time));
    N(later)(seen, sum);
    N(wait)(t, number, burst->segment[0].pc, CAUSE_SLOT, unit->free, sum);
    const int32_t *cycles = burst->cycles[burst->known];
    EACH passed[l] = (cycles[l] == 0) & (seen[l] == unit->free[l]);
    if (LANES == 1 && t->trace) {
        for (int s = 0; s < burst->segments; s++)
            N(work)(t, number, burst->segment[s].pc, unit->free, burst->segment[s].rows[burst->known]);
    } else
        EACH unit->free[l] += cycles[l];
    N(work)(t, number, closing, unit->free, passed);
    EACH {
        t->spent[closing].busy[l] += passed[l];
        burst->look[l] = seen[l] + 1;
        ready[l] = (cycles[l] ? unit->free[l] : seen[l] + 1) - 1 + t->latency[number];
    }
}

/* When the sums that a group takes can be used. */
static inline void N(take_sums)(const Timing *t, Unit *unit, Time from) {
    int all = 2 * t->sizes->slots;
    memcpy(from, unit->sum[unit->first_sum], sizeof(Time));
    for (int s = 0; s < unit->burst.sums; s++) {
        N(later)(from, unit->sum[unit->first_sum]);
        unit->first_sum = unit->first_sum + 1 == all ? 0 : unit->first_sum + 1;
    }
    unit->free_sums -= unit->burst.sums;
}

/* Work through the next group, in the next slot. */
static inline void N(next_group)(Timing *t, int number) {
    Unit *unit = &t->unit[number];
    Burst *burst = &unit->burst;
    int group = burst->known, latency = t->latency[number];
    Time slot;
    N(take_sums)(t, unit, slot);
    int32_t *restrict ready = burst->ready[group % MOST_SUMS];
    if (group && burst->looks) {
        N(look_ahead)(t, number, slot, ready);
    } else if (group == 0 || (LANES == 1 && t->trace)) {
        N(group_of_segments)(t, number, slot);
        EACH ready[l] = unit->free[l] - 1 + latency;
        memcpy(burst->look, unit->free, sizeof(Time));
    } else {                                  /* the same at once */
        const int32_t *cycles = burst->cycles[group & (burst->period - 1)];
        int32_t *restrict free = unit->free;
        int32_t *restrict stall = t->spent[burst->segment[0].pc].stalls[CAUSE_SLOT];
        EACH {
            int32_t at = free[l] > slot[l] ? free[l] : slot[l];
            stall[l] += at - free[l];
            free[l] = at + cycles[l];
            ready[l] = at + cycles[l] - 1 + latency;
        }
    }
    burst->known++;
    if (burst->known == burst->groups) N(burst_end)(t, number);
}

/* How many of a burst's groups have a number that is `g` modulo the period. */
static inline int N(groups_like)(int g, int period, int groups) {
    return groups / period + (g < groups % period);
}

/* The bank is free and the whole burst issued; instructions that spill go first. */
static void N(burst_begin)(Timing *t, int number) {
    Unit *unit = &t->unit[number];
    Burst *burst = &unit->burst;
    Segment *closing = &burst->segment[burst->segments - 1];
    Time after;
    EACH after[l] = closing->issued[l] + 1;
    N(wait_for_issue)(t, number, burst->segment[0].pc, after);
    int alike = burst->looks ? 1 : burst->period;
    for (int g = 0; g < alike; g++) {         /* an empty group, or partial sums brought back */
        int times = N(groups_like)(g, burst->period, burst->groups);
        EACH {
            int more = burst->spilled | (burst->cycles[g][l] == 0);
            burst->cycles[g][l] += more;
            t->spent[closing->pc].busy[l] += more * times;
        }
    }
    if (burst->spilled) N(leave_queue)(unit, t->sizes->queue);
    for (int s = 0; s < burst->segments; s++) {
        Segment *segment = &burst->segment[s];
        if (!segment->spill) continue;
        N(wait)(t, number, segment->pc, CAUSE_OPERAND, unit->free, segment->operands);
        Time cycles = {0};                    /* a row is read and written: two on a single port */
        for (int g = 0; g < burst->groups; g++)
            EACH cycles[l] += 2 * segment->rows[g & (segment->period - 1)][l];
        N(work)(t, number, segment->pc, unit->free, cycles);
    }
    int ahead = 2 * t->sizes->slots / burst->sums;
    for (int g = 0; g < ahead && g < burst->groups; g++) N(next_group)(t, number);
}

/* -- the two kinds of other units ----------------------------------------------------------------- */

/* One stretch of cycles; on a unit with row reads in flight, after they are done. */
static void N(stretch)(Timing *t, const Instr *op, int pc, const Time cycles, const Parity pages) {
    Unit *unit = &t->unit[op->unit];
    Time after, operands;
    EACH after[l] = t->issued[l] + 1;
    N(operands)(t, op, pages, operands);
    N(wait_for_issue)(t, op->unit, pc, after);
    N(wait)(t, op->unit, pc, CAUSE_OPERAND, unit->free, operands);
    if (unit->reading) N(wait)(t, op->unit, pc, CAUSE_PORT, unit->free, unit->drained);
    unit->reading = 0;
    memcpy(unit->starts[(unit->oldest + unit->started - 1) % t->sizes->queue], unit->free,
           sizeof(Time));
    int start = unit->free[0];
    N(work)(t, op->unit, pc, unit->free, cycles);
    EACH t->spent[pc].busy[l] += cycles[l];
    if (LANES == 1 && t->trace) N(span)(t, pc, op->unit, t->issued[0], start, unit->free[0]);
    int latency = t->latency[op->unit];
    EACH unit->drained[l] = unit->free[l] - 1 + latency;
    N(release)(t, op, pages, unit->free);
}

/* A row in the pipeline is read when it is written; any row, when the single port is free. With an
   even latency it always is: a row to be written waits in a register while another is read. */
static inline void N(avoid_writes)(Timing *t, Unit *unit, int number, int pc, int row, int latency,
                                   Time start) {
    Time until;
    for (int r = 0, at = unit->first_read; r < unit->reading; r++) {
        if (unit->row[at] == row) {
            EACH until[l] = unit->read[at][l] + latency + 1;
            N(wait)(t, number, pc, CAUSE_PORT, start, until);
        }
        at = at + 1 == unit->most_reads ? 0 : at + 1;
    }
    for (int r = 0, at = unit->first_read; r < unit->reading && latency % 2; r++) {
        EACH until[l] = start[l] + (start[l] == unit->read[at][l] + latency);
        N(wait)(t, number, pc, CAUSE_PORT, start, until);
        at = at + 1 == unit->most_reads ? 0 : at + 1;
    }
}

/* A consumer and the bursts that feed it, group by group: a read and a write of a row for each state.
   Sums are taken with the first of a group's rows. */
static void N(group_work)(Timing *t, const Instr *op, int pc, const Parity pages) {
    const Sizes *sizes = t->sizes;
    Unit *unit = &t->unit[op->unit];
    int latency = t->latency[op->unit] + op->hold;
    Time start, two;
    EACH start[l] = t->issued[l] + 1, two[l] = 2;
    N(wait_for_issue)(t, op->unit, pc, start);
    if (op->reads) {                          /* windows of its rows */
        N(operands)(t, op, pages, start);
        N(wait)(t, op->unit, pc, CAUSE_OPERAND, unit->free, start);
    }
    if (unit->hold != op->hold) {             /* writes of both might fall together */
        unit->hold = op->hold, unit->reading = unit->first_read = 0, unit->most_reads = latency / 2;
    }
    if (!unit->reading) N(wait)(t, op->unit, pc, CAUSE_PORT, unit->free, unit->drained);
    int first = 0;
    for (int visit = 0; visit < op->groups * op->states; visit++) {
        int group = visit / op->states, state = visit % op->states;
        int row = op->row + group + state * op->apart, consumes = state ? 0 : op->consumes;
        Time ready = {0};
        for (int b = 0; b < sizes->banks; b++) {
            if (!(consumes >> b & 1)) continue;
            Burst *burst = &t->unit[b].burst;
            while (burst->known <= group) N(next_group)(t, b);
            N(later)(ready, burst->ready[group % MOST_SUMS]);
        }
        memcpy(start, unit->free, sizeof(Time));
        N(wait)(t, op->unit, pc, CAUSE_SUMS, start, ready);
        N(avoid_writes)(t, unit, op->unit, pc, row, latency, start);
        if (unit->most_reads) {
            int at = unit->first_read + unit->reading;
            if (at >= unit->most_reads) at -= unit->most_reads;
            if (unit->reading < unit->most_reads) unit->reading++;
            else unit->first_read = unit->first_read + 1 == unit->most_reads ? 0 : unit->first_read + 1;
            unit->row[at] = row;
            memcpy(unit->read[at], start, sizeof(Time));
        }
        if (visit == 0) {
            int newest = (unit->oldest + unit->started - 1) % sizes->queue;
            memcpy(unit->starts[newest], start, sizeof(Time));
            first = start[0];
        }
        for (int b = 0; b < sizes->banks; b++) {
            if (!(consumes >> b & 1)) continue;
            Unit *bank = &t->unit[b];
            for (int s = 0; s < bank->burst.sums; s++) {
                int at = (bank->first_sum + bank->free_sums++) % (2 * sizes->slots);
                EACH bank->sum[at][l] = start[l] + 1;
            }
        }
        memcpy(unit->free, start, sizeof(Time));
        N(work)(t, op->unit, pc, unit->free, two);
    }
    if (LANES == 1 && t->trace) N(span)(t, pc, op->unit, t->issued[0], first, unit->free[0]);
    EACH t->spent[pc].busy[l] += 2 * op->groups * op->states;
    EACH unit->drained[l] = start[l] + latency + 1;
    N(release)(t, op, pages, unit->drained);  /* the last row has been written */
    for (int b = 0; b < sizes->banks; b++)
        if (op->consumes >> b & 1) t->unit[b].has_burst = 0;
}

/* -- issue --------------------------------------------------------------------------------------- */

static int N(sync)(Timing *t) {
    for (int b = 0; b < t->sizes->banks; b++)
        if (t->unit[b].has_burst && !t->unit[b].burst.ended) return OPEN_BURST + b;
    Time end;
    N(end)(t, end);
    EACH t->issued[l] = end[l] > t->issued[l] + 1 ? end[l] : t->issued[l] + 1;
    return DONE;
}

/* Add an instruction on a bank to its burst; the last one of a burst starts it. */
static void N(bank_work)(Timing *t, const Instr *op, int pc, Time *rows, const Parity pages) {
    Unit *unit = &t->unit[op->unit];
    Burst *burst = &unit->burst;
    unit->unknown++;
    if (!unit->has_burst) {
        unit->has_burst = 1;
        burst->segments = burst->spilled = burst->known = burst->ended = 0;
        burst->groups = op->groups, burst->period = burst->looks = burst->sums = 1;
        burst->cycles = N(rows_of)(t, op->unit, 0);
        EACH burst->cycles[0][l] = 0;
    }
    Segment *segment = &burst->segment[burst->segments++];
    segment->rows = N(rows_of)(t, op->unit, burst->segments);
    segment->pc = pc, segment->spill = op->spill, segment->op = op;
    memcpy(segment->pages, pages, sizeof(Parity));
    segment->period = op->period;
    memcpy(segment->issued, t->issued, sizeof(Time));
    N(operands)(t, op, pages, segment->operands);
    EACH_READ(op, p) t->page[page_of(op, pages, p)].held++;
    burst->spilled |= op->spill;
    if (!op->kernel || op->every_row) burst->looks = 0, burst->sums = 2;
    /* only their sums are needed later on, but where a group's instructions are told apart */
    int apart = op->spill || (LANES == 1 && t->trace) ? segment->period : 1;
    for (int g = 0; g < apart; g++) memcpy(segment->rows[g], rows[g], sizeof(Time));
    for (; burst->period < segment->period; burst->period *= 2)
        memcpy(burst->cycles[burst->period], burst->cycles[0], burst->period * sizeof(Time));
    for (int g = 0; g < segment->period; g++) {
        int times = N(groups_like)(g, segment->period, burst->groups) << op->spill;
        EACH t->spent[pc].busy[l] += rows[g][l] * times;
    }
    for (int g = 0; g < burst->period && !op->spill; g++) {
        const int32_t *of_group = rows[g & (segment->period - 1)];
        EACH burst->cycles[g][l] += of_group[l];
    }
    if (!op->join) N(burst_begin)(t, op->unit);
}

/* The next instruction in program order; `demand` is its cycles, or its rows by group. A deadlock
   if what it waits for never comes. */
static int N(issue)(Timing *t, const Instr *op, int pc, Time *demand) {
    const Sizes *sizes = t->sizes;
    if (op->kind == KIND_SYNC) return N(sync)(t);
    int works = op->kind >= KIND_STRETCH && op->kind <= KIND_GROUP, writes = works ? op->writes : 0;
    Unit *unit = &t->unit[works ? op->unit : 0];
    int full = works && unit->started == sizes->queue;
    if (full && unit->unknown == sizes->queue) return LONG_BURST;
    for (int r = op->write; r < op->write + writes; r++)
        if (t->pages[r] == 2 && t->page[2 * r + !t->newest[r]].held) return HELD_PAGE;
    EACH t->issued[l]++;
    if (!works) return DONE;
    if (full) N(later)(t->issued, unit->starts[unit->oldest]);
    for (int r = op->write; r < op->write + writes; r++)
        if (t->pages[r] == 2) N(later)(t->issued, t->page[2 * r + !t->newest[r]].released);
    if (full)
        unit->oldest = unit->oldest + 1 == sizes->queue ? 0 : unit->oldest + 1;
    else
        unit->started++;
    Parity pages;
    N(pages_read)(t, op, pages);
    if (op->kind == KIND_BANK) N(bank_work)(t, op, pc, demand, pages);
    else if (op->kind == KIND_GROUP) N(group_work)(t, op, pc, pages);
    else N(stretch)(t, op, pc, demand[0], pages);
    if (op->append >= 0) {                    /* to be complete it takes this, too */
        Page *page = &t->page[2 * op->append + t->newest[op->append]];
        N(later)(page->ready, unit->drained);
        N(later)(page->released, unit->drained);
    }
    for (int r = op->write; r < op->write + writes; r++) {
        t->newest[r] = t->pages[r] ? !t->newest[r] : 0;
        if (t->pages[r] < 2) t->pages[r]++;
        Page *page = &t->page[2 * r + t->newest[r]];
        memcpy(page->ready, unit->drained, sizeof(Time));
        memcpy(page->released, unit->drained, sizeof(Time));
        page->held = 0;
    }
    return DONE;
}

/* Sums over the samples that count, of what has been charged since the last call. */
static void N(settle)(Timing *t) {
    for (int pc = 0; pc < t->sizes->instructions; pc++) {
        const Spent *spent = &t->spent[pc];
        for (int l = 0; l < t->used; l++) {
            t->sums[pc][0] += spent->busy[l];
            for (int c = 0; c < CAUSES; c++) t->sums[pc][1 + c] += spent->stalls[c][l];
        }
    }
    memset(t->spent, 0, t->sizes->instructions * sizeof *t->spent);
}

/* Add what was settled to [instructions][1 + CAUSES]. */
static void N(add_spent)(Timing *t, int64_t *spent) {
    N(settle)(t);
    for (int k = 0; k < t->sizes->instructions * (1 + CAUSES); k++) spent[k] += t->sums[0][k];
}

static inline void N(earlier)(Time at, int by) { EACH at[l] = at[l] < by ? 0 : at[l] - by; }

/* Move the origin of times to a cycle that all of them have passed. What lies further back than
   the origin bounds nothing any more, but reads in the pipeline keep their distance. */
static void N(rebase)(Timing *t) {
    int32_t by = t->issued[0];
    for (int l = 1; l < t->used; l++) by = t->issued[l] < by ? t->issued[l] : by;
    if (by < 1 << 28) return;
    for (int l = t->used; l < LANES; l++) t->issued[l] = by;
    N(settle)(t);
    t->base += by;
    EACH t->issued[l] -= by;
    for (int u = 0; u < UNITS; u++) {
        Unit *unit = &t->unit[u];
        EACH {
            int32_t before = unit->free[l] < by ? by - unit->free[l] : 0;
            unit->behind[l] += before;
            unit->free[l] += before - by;
        }
        unit->waits = 1;
        N(earlier)(unit->drained, by);
        for (int k = 0; k < MOST_QUEUE; k++) N(earlier)(unit->starts[k], by);
        for (int k = 0; k < MOST_READS; k++) EACH unit->read[k][l] -= by;
        for (int k = 0; k < MOST_SUMS; k++) N(earlier)(unit->sum[k], by);
        if (!unit->has_burst) continue;
        N(earlier)(unit->burst.first, by);
        for (int s = 0; s < unit->burst.segments; s++) {
            EACH unit->burst.segment[s].issued[l] -= by;
            N(earlier)(unit->burst.segment[s].operands, by);
        }
        for (int g = 0; g < MOST_SUMS; g++) N(earlier)(unit->burst.ready[g], by);
        N(earlier)(unit->burst.look, by);
    }
    for (int p = 0; p < 2 * PAGED; p++) {
        N(earlier)(t->page[p].ready, by);
        N(earlier)(t->page[p].released, by);
    }
}
#undef Time
#undef Page
#undef Segment
#undef Burst
#undef Unit
#undef Spent
#undef Timing
#undef EACH
#undef EACH_READ
