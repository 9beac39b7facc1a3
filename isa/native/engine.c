/* The fast engine: runs a program that was recorded in microcode (isa/engines/microcode.py).

   It says nothing of its own about what an instruction does: micro-operations are the primitives of
   isa/machine.py and isa/arithmetic.py. Where the machine traps it stops and says so; what the trap
   says is the reference engine's to tell. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "program.h"
#include "kernels.h"

static void *zeroed(size_t count, size_t size) { return calloc(count + 1, size); }

#define LANES 1
#include "timing.h"
#undef LANES
#define LANES 16
#include "timing.h"
#undef LANES
_Static_assert(LOCKSTEP == 16, "names like Timing_16 are made of the number itself");
#include "machine.h"
#include "convolve.h"
#include "micro.h"

/* -- one instruction after the other --------------------------------------------------------------- */

static int enter_loop(Machine *m, const Instr *op) {
    int end = m->pc + 1 + op->length;
    if (!op->length || m->loops >= m->program->sizes.loops) return TRAPPED;
    if (m->loops && end > m->loop[m->loops - 1].end) return TRAPPED;
    if (op->counter == COUNT_SAMPLES && (m->loops || op->value || op->drain)) return TRAPPED;
    int steps = op->counter == COUNT_STEPS;
    int64_t count = steps ? m->steps : op->counter == COUNT_SAMPLES ? 1 : op->value;
    if (count + op->drain <= 0) m->pc = end - 1;
    else m->loop[m->loops++] = (Loop){m->pc + 1, end, steps, count + op->drain, 0};
    return DONE;
}

static void advance(Machine *m) {
    m->pc++;
    while (m->loops && m->pc == m->loop[m->loops - 1].end) {
        Loop *loop = &m->loop[m->loops - 1];
        if (++loop->iteration < loop->iterations) {
            m->pc = loop->start;
            break;
        }
        m->loops--;
    }
}

/* How many of the inputs whose rows a bank may read are in each phase (isa/layout.py), summed over
   all phases before one, twice around: [2 * PERIOD + 1][lanes]. */
static const int32_t *phases(Machine *m, const Instr *op) {
    int lanes = m->lanes, reg = op->active, all = op->every_row || reg == NO_EVENTS, n = op->inputs;
    int32_t *before = all ? m->scratch : m->phases[reg];
    if (!all && m->phased[reg] == n + 1) return before;
    int32_t by_phase[PERIOD * LOCKSTEP] = {0};
    for (int l = 0; l < lanes; l++) {
        uint16_t by_input[PERIOD] = {0};
        int i = 0;
        if (all) {                            /* alike in all samples */
            for (int j = 0; j < PERIOD; j++) by_input[j] = n / PERIOD + (j < n % PERIOD);
        } else if (l < m->used) {
            const uint8_t *bytes = m->events[reg] + (size_t)l * m->program->sizes.event_width;
            for (; i + PERIOD <= n; i += PERIOD)
                for (int j = 0; j < PERIOD; j++) by_input[j] += bytes[i + j];
            for (; i < n; i++) by_input[i % PERIOD] += bytes[i];
        }
        for (int j = 0; j < PERIOD; j++) by_phase[STRIDE * j % PERIOD * lanes + l] = by_input[j];
    }
    for (int p = 0; p < 2 * PERIOD; p++, before += lanes)
        for (int l = 0; l < lanes; l++) before[lanes + l] = before[l] + by_phase[p % PERIOD * lanes + l];
    if (!all) m->phased[reg] = n + 1;
    return before - 2 * PERIOD * lanes;
}

/* Rows that a bank reads for each group of a kernel: [period][lanes]; and in all. */
static void kernel_rows(Machine *m, const Instr *op, int32_t *rows, int64_t *total) {
    int lanes = m->lanes, all = op->every_row || op->active == NO_EVENTS;
    const Kernel *k = kernel_at(m->program, op->kernel);
    const int32_t *every = (const int32_t *)k + k->every;
    memset(rows, 0, (size_t)op->period * lanes * sizeof *rows);
    for (int l = 0; l < m->used; l++) {
        const uint16_t *list = all ? NULL : m->active[op->active] + (size_t)l * m->program->sizes.event_width;
        int count = all ? 0 : active_among(m, op->active, op->inputs, l);
        for (int e = 0; e < count; e++) count_reached(k, list[e], rows, lanes, l);
        for (int g = 0; g < op->groups; g++) {
            if (all) rows[(size_t)g * lanes + l] = every[g];
            *total += rows[(size_t)g * lanes + l];
        }
    }
}

/* Rows that a bank reads for each group, by group modulo the period: [period][lanes]; and in all. */
static void bank_rows(Machine *m, const Instr *op, int32_t *restrict rows, int64_t *total) {
    int lanes = m->lanes;
    if (op->kernel) {
        kernel_rows(m, op, rows, total);
        return;
    }
    if (op->share == PERIOD) {
        int all = op->every_row || op->active == NO_EVENTS;
        for (int l = 0; l < m->used; l++) {
            rows[l] = all ? op->inputs : active_among(m, op->active, op->inputs, l);
            *total += (int64_t)rows[l] * op->groups;
        }
        return;
    }
    const int32_t *before = phases(m, op);
    int32_t sums[LOCKSTEP] = {0};
    for (int g = 0; g < PERIOD; g++, rows += lanes) {
        int from = (op->first - g + PERIOD) % PERIOD, times = op->groups / PERIOD + (g < op->groups % PERIOD);
        const int32_t *low = before + from * lanes, *high = low + op->share * lanes;
        for (int l = 0; l < lanes; l++) rows[l] = high[l] - low[l], sums[l] += rows[l] * times;
    }
    for (int l = 0; l < m->used; l++) *total += sums[l];
}

/* What an instruction asks of its unit, counted: its cycles, or its rows by group. */
static void demand(Machine *m, const Instr *op, int pc) {
    m->runs[pc] += m->used;
    if (op->kind == KIND_BANK) {
        bank_rows(m, op, m->demand, &m->row_sum[pc]);
        int spilled = m->joined[op->bank] == BEGAN && m->spilled[op->bank];
        if (op->spill && !spilled) m->spills[pc] += m->used;
        return;
    }
    for (int l = 0; l < m->used; l++) {
        int active = op->active == NO_EVENTS ? 0
                   : op->active == ARRIVING ? m->arriving[l]
                   : active_among(m, op->active, op->active_size, l);
        m->active_sum[pc] += active;
        int cycles = op->cycles_fixed + op->cycles_active * active;
        m->demand[l] = cycles > op->at_least ? cycles : op->at_least;
    }
}

static void keep(Machine *m, int pc) {
    const Sizes *sizes = &m->program->sizes;
    for (int w = 0; w < sizes->watches; w++) {
        const Watch *watch = &m->program->watch[w];
        Kept *kept = &m->kept[w];
        if (watch->pc != pc) continue;
        int kind = watch->kind, memory = kind == WATCH_READOUT ? MEMORY_READOUT : MEMORY_NEURON;
        int bytes = kind == WATCH_EVENTS ? 1 : kind == WATCH_READOUT ? 8 : 4;
        int n = kind == WATCH_EVENTS ? m->event_size[watch->number]
              : kind == WATCH_VALUES ? m->value_size[watch->number]
              : state_rows(m, memory, watch->number, watch->rows, 1) ? 0 : watch->rows * sizes->lanes;
        n = n > 0 ? n : 0;                        /* of what nothing was written to yet */
        if (kept->times && kept->width != n) kept->width = -1;  /* not what one array can hold */
        if (kept->times && kept->width < 0) continue;
        int64_t size = (int64_t)n * bytes, all = size * m->used;
        if (kept->size + all > kept->room) {
            kept->room = 2 * (kept->size + all);
            kept->data = realloc(kept->data, kept->room);
        }
        kept->width = n;
        for (int l = 0; l < m->used; l++) {
            const uint8_t *from =
                kind == WATCH_EVENTS ? m->events[watch->number] + (size_t)l * sizes->event_width
                : kind == WATCH_VALUES ? (uint8_t *)(m->values[watch->number] + (size_t)l * sizes->value_width)
                : m->state[memory] + ((size_t)l * m->rows[memory] + watch->number) * m->row_bytes[memory];
            memcpy(kept->data + kept->size, from, size);
            kept->size += size;
        }
        kept->times++;
    }
}

/* Whether an instruction takes a timestep that has not arrived, or asks how many there will be. */
static int starves(const Machine *m, const Instr *op) {
    for (int k = 0; k < op->codes; k++) {
        int what = m->program->micro[op->code + k].op;
        if (what == STEPS || (what == INPUT && m->timestep >= m->arrived)) return 1;
    }
    return 0;
}

/* Whether an instruction that counts timesteps runs in this one. */
static int is_due(const Instr *op, int64_t timestep) {
    return timestep >= op->since && (timestep - op->since) % op->every == 0;
}

/* Run until the program halts (DONE), traps, has run `budget` instructions (PAUSED), or needs a
   timestep that has not arrived yet (STARVED). */
int dmpc_run(Machine *m, int64_t budget) {
    const Program *program = m->program;
    while (!m->halted) {
        Loop *loop = m->loops ? &m->loop[m->loops - 1] : NULL;
        int counts = loop && loop->counts_steps;
        if (counts && !m->closed && m->pc == loop->start && loop->iteration >= m->arrived) return STARVED;
        if (budget-- == 0) return PAUSED;
        if (m->pc >= program->sizes.instructions) return TRAPPED;
        int pc = m->pc;
        const Instr *op = &program->code[pc];
        int64_t timestep = counts ? loop->iteration - op->stage : -1;
        if (!counts && (op->stage || op->every >= 0)) return TRAPPED;
        int enabled = !counts || (timestep >= 0 && timestep < m->steps);
        if (enabled && op->every == 0) return TRAPPED;
        int runs = enabled && (op->every < 0 || is_due(op, timestep));
        if (runs && !m->closed && starves(m, op)) return STARVED;
        m->instructions += m->used;
        int works = runs && op->kind >= KIND_STRETCH && op->kind <= KIND_GROUP;
        if (runs) {
            if (op->kind == KIND_TRAP) return TRAPPED;
            int before = works && op->active != ARRIVING;
            if (before && op->active >= 0 && !readable(m->event_size, op->active, op->active_size))
                return TRAPPED;
            if (before) demand(m, op, pc);
            for (int k = 0; k < op->codes; k++)
                if (micro(m, &program->micro[op->code + k], timestep)) return TRAPPED;
            if (works && !before) demand(m, op, pc);
            if (op->kind == KIND_LOOP && enter_loop(m, op)) return TRAPPED;
            if (op->kind == KIND_HALT) {
                for (int b = 0; b < MOST_BANKS; b++) if (m->joined[b]) return TRAPPED;
                m->halted = 1;
                break;
            }
        }
        static const Instr slot = {.kind = KIND_SLOT, .write = -1};
        const Instr *issued = works || op->kind == KIND_SYNC ? op : &slot;
        int status = m->lanes == 1 ? issue_1(m->timing, issued, pc, (Time_1 *)m->demand)
                                   : issue_16(m->timing, issued, pc, (Time_16 *)m->demand);
        if (status) return TRAPPED;
        if (enabled && program->sizes.watches) keep(m, pc);
        advance(m);
        if (m->pc <= pc || (works && (int64_t)op->inputs * op->groups > 1 << 20)) {
            if (m->lanes == 1) rebase_1(m->timing); else rebase_16(m->timing);
        }
    }
    return DONE;
}

/* -- what has been done, and where the machine stands ------------------------------------------------ */

/* Cycles until every unit is idle, of each sample. */
void dmpc_cycles(Machine *m, int64_t *cycles) {
    if (m->lanes == 1) {
        Time_1 end;
        end_1(m->timing, end);
        cycles[0] = end[0] + ((Timing_1 *)m->timing)->base;
    } else {
        Time_16 end;
        end_16(m->timing, end);
        for (int l = 0; l < m->used; l++) cycles[l] = end[l] + ((Timing_16 *)m->timing)->base;
    }
}

/* Add what units did since `dmpc_begin`, by instruction: [instructions][1 + CAUSES], cycles of work and
   of waiting by cause, over all samples. */
void dmpc_spent(Machine *m, int64_t *spent) {
    if (m->lanes == 1) add_spent_1(m->timing, spent);
    else add_spent_16(m->timing, spent);
}

/* No more timesteps will arrive: loops over timesteps end after those that have. */
void dmpc_finish(Machine *m) {
    for (int k = 0; k < m->loops; k++)
        if (m->loop[k].counts_steps) m->loop[k].iterations += m->arrived - m->steps;
    m->steps = m->arrived, m->closed = 1;
    Loop *loop = m->loops ? &m->loop[m->loops - 1] : NULL;
    if (loop && loop->counts_steps && m->pc == loop->start && loop->iteration >= loop->iterations) {
        m->pc = loop->end - 1, m->loops--;    /* it waited for an iteration that never comes */
        advance(m);
    }
}

/* `count` timesteps more of one sample, whose input now lies here from timestep `first` on: those before
   it have been taken. Run until it needs others, and tell how many were taken so far. */
int dmpc_push(Machine *m, const uint8_t *input, int64_t first, int64_t count, int64_t *taken) {
    m->input[0] = input - (size_t)first * m->width * (m->wide_input ? 4 : 1);
    m->arrived += count;
    int status = dmpc_run(m, INT64_MAX);
    *taken = m->timestep;
    return status;
}

/* What a sample says if it ends here, and what each watch saw since the last answer. What it will see
   again, as the sample goes on, is `ahead`. */
typedef struct {
    int64_t cycles, output_count;
    const int64_t *outputs;
} Answer;

typedef struct {
    const void *data;
    int64_t times, ahead, width;
} Seen;

int dmpc_answer(Machine *m, Machine *stream, Answer *answer, Seen *seen) {
    int watches = m->program->sizes.watches;
    dmpc_copy(m, stream);
    dmpc_finish(m);
    int status = dmpc_run(m, INT64_MAX);
    dmpc_cycles(m, &answer->cycles);
    answer->outputs = m->outputs, answer->output_count = m->output_count;
    for (int w = 0; w < watches; w++) {
        const Kept *kept = &m->kept[w];
        seen[w] = (Seen){kept->data, kept->times, kept->times - stream->kept[w].times, kept->width};
    }
    dmpc_forget(stream);
    return status;
}

/* Where the machine stands, for those who look at it. */
typedef struct {
    int32_t pc, halted, loops, unused;
    int64_t timestep, arrived, steps, instructions, output_count, issued;
    int64_t iteration[MOST_LOOPS];
    const int64_t *outputs, *runs, *active_sum, *row_sum, *spills, *saturated;
    const uint8_t *events[REGISTERS];
    const int32_t *values[REGISTERS];
    int32_t event_size[REGISTERS], value_size[REGISTERS];
    const uint8_t *state[MEMORIES], *written[MEMORIES];
    const Span *spans;
    const Interval *intervals;
    int64_t span_count, interval_count;
} View;

void dmpc_view(const Machine *m, View *v) {
    memset(v, 0, sizeof *v);
    v->pc = m->pc, v->halted = m->halted, v->loops = m->loops;
    v->timestep = m->timestep, v->arrived = m->arrived, v->steps = m->steps;
    v->instructions = m->instructions, v->output_count = m->output_count;
    for (int k = 0; k < m->loops; k++) v->iteration[k] = m->loop[k].iteration;
    v->outputs = m->outputs, v->runs = m->runs, v->active_sum = m->active_sum;
    v->row_sum = m->row_sum, v->spills = m->spills, v->saturated = m->saturated;
    for (int r = 0; r < REGISTERS; r++) {
        v->events[r] = m->events[r], v->values[r] = m->values[r];
        v->event_size[r] = m->event_size[r], v->value_size[r] = m->value_size[r];
    }
    for (int s = 0; s < MEMORIES; s++) v->state[s] = m->state[s], v->written[s] = m->written[s];
    if (m->lanes == 1) {
        const Timing_1 *t = m->timing;
        v->issued = t->issued[0] + t->base;
        v->spans = t->spans, v->span_count = t->span_count;
        v->intervals = t->intervals, v->interval_count = t->interval_count;
    }
}

/* What a watch kept: its bytes, [times][samples][elements]; how often, and how many elements. */
const void *dmpc_kept(const Machine *m, int watch, int64_t *times, int32_t *elements) {
    *times = m->kept[watch].times, *elements = m->kept[watch].width;
    return m->kept[watch].data;
}

#include "timeline.h"

/* Whether this processor, and the system, run the library that was built for AVX2. Asked of the
   processor itself: the runtime of zig does not answer `__builtin_cpu_supports`. */
int dmpc_has_avx2(void) {
#ifdef __x86_64__
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_FMA) || !(c & bit_OSXSAVE)) return 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 6) != 6) return 0;             /* the system does not keep wide registers */
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_AVX2 && b & bit_BMI2;
#else
    return 0;
#endif
}
