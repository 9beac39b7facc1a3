/* The fast engine: runs a program that was recorded in microcode (isa/engines/microcode.py).

   It says nothing of its own about what an instruction does: micro-operations are the primitives of
   isa/machine.py and isa/arithmetic.py. Where the machine traps it stops and says so; what the trap
   says is the reference engine's to tell. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"
#include "kernels.h"

#define LANES 1
#include "timing.h"
#undef LANES
#define LANES 16
#include "timing.h"
#undef LANES

typedef struct { int start, end, counts_steps; int64_t iterations, iteration; } Loop;
typedef struct { uint8_t *data; int64_t size, room, times; int width; } Kept;

typedef struct {
    const Program *program;
    int lanes, used;                          /* 1 or 16 in lockstep; how many of them count */
    /* input */
    const uint8_t **input;                    /* of each sample: [steps, width] */
    int width, wide_input;                    /* bytes, or 32-bit integers */
    int64_t steps, arrived, timestep;         /* steps of the sample; those at hand; those taken */
    int closed;                               /* no more will arrive */
    /* control */
    int pc, halted, loops;
    Loop loop[MOST_LOOPS];
    /* vector registers */
    uint8_t *events[REGISTERS];               /* [lanes][width] */
    uint16_t *active[REGISTERS];              /* [lanes][width]: numbers of the active ones */
    int32_t *actives[REGISTERS];              /* [lanes]: how many */
    int32_t *values[REGISTERS];
    int event_size[REGISTERS], value_size[REGISTERS];
    int32_t *phases[REGISTERS];               /* [2 * PERIOD + 1][lanes]: see bank_rows */
    int phased[REGISTERS];                    /* of how many inputs they are; 0: of none */
    int32_t *arriving;                        /* events in the input just taken, of each sample */
    /* state */
    uint8_t *state[MEMORIES], *written[MEMORIES];
    int row_bytes[MEMORIES], rows[MEMORIES];
    /* sums of bursts that wait for their consumers: [lanes][groups * lanes of a row] */
    uint8_t *sums[MOST_BANKS][2];
    int groups[MOST_BANKS], joined[MOST_BANKS], spilled[MOST_BANKS], filled[MOST_BANKS][2];
    uint8_t *temporary;
    size_t temporary_bytes;
    int64_t *outputs, output_count, output_room;
    Kept *kept;
    /* what was done, by program counter; elements that saturated, by place in the program */
    int64_t *runs, *active_sum, *row_sum, *spills, *saturated, instructions;
    void *timing;
    int32_t *demand;                          /* [PERIOD][lanes] */
    int32_t scratch[(2 * PERIOD + 1) * LOCKSTEP];
} Machine;

enum { BEGAN = 1, WAITS = 2 };

/* -- memory -------------------------------------------------------------------------------------- */

static void *zeroed(size_t count, size_t size) { return calloc(count + 1, size); }

void dmpc_close(Machine *m) {
    if (!m) return;
    for (int r = 0; r < REGISTERS; r++)
        free(m->events[r]), free(m->active[r]), free(m->actives[r]), free(m->values[r]),
        free(m->phases[r]);
    for (int s = 0; s < MEMORIES; s++) free(m->state[s]), free(m->written[s]);
    for (int b = 0; b < MOST_BANKS; b++) free(m->sums[b][0]), free(m->sums[b][1]);
    for (int w = 0; m->kept && w < m->program->sizes.watches; w++) free(m->kept[w].data);
    if (m->timing && m->lanes == 1) {
        free(((Timing_1 *)m->timing)->spans), free(((Timing_1 *)m->timing)->intervals);
    }
    free(m->kept), free(m->temporary), free(m->outputs), free(m->arriving), free(m->input);
    free(m->runs), free(m->active_sum), free(m->row_sum), free(m->spills), free(m->saturated);
    free(m->timing), free(m->demand), free(m);
}

/* A machine for `lanes` samples in lockstep, 1 or 16. NULL if memory is short. */
Machine *dmpc_open(const Program *program, int lanes) {
    const Sizes *sizes = &program->sizes;
    Machine *m = zeroed(1, sizeof *m);
    if (!m) return NULL;
    m->program = program, m->lanes = lanes;
    int ok = 1;
#define MAKE(what, count, size) (ok &= ((what) = zeroed((count), (size))) != NULL)
    for (int r = 0; r < sizes->event_count; r++) {
        MAKE(m->events[r], (size_t)lanes * sizes->event_width, 1);
        MAKE(m->active[r], (size_t)lanes * sizes->event_width, 2);
        MAKE(m->actives[r], lanes, 4);
        MAKE(m->phases[r], (size_t)(2 * PERIOD + 1) * lanes, 4);
    }
    for (int r = 0; r < sizes->value_count; r++)
        MAKE(m->values[r], (size_t)lanes * sizes->value_width, 4);
    const int rows[MEMORIES] = {sizes->neuron_rows, sizes->readout_rows, sizes->ring_rows};
    const int bytes[MEMORIES] = {4 * sizes->lanes, 8 * sizes->lanes, sizes->ring_lanes};
    for (int s = 0; s < MEMORIES; s++) {
        m->rows[s] = rows[s], m->row_bytes[s] = bytes[s];
        MAKE(m->state[s], (size_t)lanes * rows[s], bytes[s]);
        MAKE(m->written[s], rows[s], 1);
    }
    for (int b = 0; b < sizes->banks; b++)
        for (int k = 0; k < 2; k++)
            MAKE(m->sums[b][k], (size_t)lanes * sizes->temporary_size + COLUMNS, sizes->wide ? 8 : 4);
    m->temporary_bytes = (((size_t)lanes * sizes->temporary_size + COLUMNS) * 8 + 63) / 64 * 64;
    MAKE(m->temporary, sizes->temporaries, m->temporary_bytes);
    MAKE(m->kept, sizes->watches + 1, sizeof *m->kept);
    MAKE(m->arriving, lanes, 4);
    MAKE(m->input, lanes, sizeof *m->input);
    MAKE(m->runs, sizes->instructions, 8);
    MAKE(m->active_sum, sizes->instructions, 8);
    MAKE(m->row_sum, sizes->instructions, 8);
    MAKE(m->spills, sizes->instructions, 8);
    MAKE(m->saturated, sizes->saturations + 1, 8);
    MAKE(m->demand, (size_t)PERIOD * lanes, 4);
    MAKE(m->timing, 1, lanes == 1 ? sizeof(Timing_1) : sizeof(Timing_16));
#undef MAKE
    if (!ok) {
        dmpc_close(m);
        return NULL;
    }
    return m;
}

/* What watches kept so far is of no more use. */
void dmpc_forget(Machine *m) {
    for (int w = 0; w < m->program->sizes.watches; w++) m->kept[w].size = m->kept[w].times = 0;
}

/* The start of a sample: every register and row is unwritten. Counts go on. */
void dmpc_begin(Machine *m, int used, const void **input, int width, int wide_input,
                int64_t arrived, int64_t steps, int closed, int trace) {
    m->used = used, m->width = width, m->wide_input = wide_input;
    memcpy(m->input, input, used * sizeof *input);
    m->steps = steps, m->arrived = arrived, m->closed = closed, m->timestep = 0;
    m->pc = m->halted = m->loops = 0;
    for (int r = 0; r < REGISTERS; r++) m->event_size[r] = m->value_size[r] = -1;
    for (int s = 0; s < MEMORIES; s++) memset(m->written[s], 0, m->rows[s]);
    memset(m->joined, 0, sizeof m->joined);
    memset(m->spilled, 0, sizeof m->spilled);
    memset(m->filled, 0, sizeof m->filled);
    m->output_count = 0;
    dmpc_forget(m);
    if (m->lanes == 1) {
        ((Timing_1 *)m->timing)->trace = trace;
        timing_reset_1(m->timing, m->program, used);
    } else {
        timing_reset_16(m->timing, m->program, used);
    }
}

/* -- micro-operations ----------------------------------------------------------------------------- */

static void *temporary(Machine *m, int number) {
    return m->temporary + number * m->temporary_bytes;
}

/* An operand, and its stride from sample to sample. */
static const void *operand(Machine *m, int number, int n, int *stride) {
    *stride = number < 0 ? 0 : n;
    return number < 0 ? m->program->constants[-1 - number]
         : number >= SUMS ? m->sums[(number - SUMS) / 2][number % 2] : temporary(m, number);
}

static int state_rows(const Machine *m, int memory, int row, int rows, int must_be_written) {
    if (rows == 0 || row + rows > m->rows[memory]) return TRAPPED;
    for (int r = row; must_be_written && r < row + rows; r++)
        if (!m->written[memory][r]) return TRAPPED;
    return DONE;
}

/* Numbers of the active elements of an event register, from its bytes. */
static void list_active(Machine *m, int reg, int n) {
    int width = m->program->sizes.event_width;
    for (int l = 0; l < m->used; l++) {
        size_t at = (size_t)l * width;
        m->actives[reg][l] = list_bytes(m->active[reg] + at, m->events[reg] + at, n);
    }
    m->phased[reg] = 0;
    m->event_size[reg] = n;
}

/* How many of the first n elements of an event register are active in a sample. */
static int active_among(const Machine *m, int reg, int n, int l) {
    int count = m->actives[reg][l];
    if (n >= m->event_size[reg]) return count;
    const uint16_t *list = m->active[reg] + (size_t)l * m->program->sizes.event_width;
    while (count && list[count - 1] >= n) count--;
    return count;
}

static int readable(const int *size, int reg, int n) { return size[reg] >= 0 && n <= size[reg]; }

static int input_step(Machine *m, const Micro *op) {
    int n = op->n, events = op->y;
    if (m->timestep >= m->steps || n != m->width) return TRAPPED;
    int event_width = m->program->sizes.event_width, value_width = m->program->sizes.value_width;
    int limit = events ? m->program->sizes.event_count : m->program->sizes.value_count;
    if (op->x >= limit || n > (events ? event_width : value_width)) return TRAPPED;
    for (int l = 0; l < m->used; l++) {
        size_t at = (size_t)m->timestep * n;
        const uint8_t *bytes = m->input[l] + at;
        const int32_t *words = (const int32_t *)m->input[l] + at;
        uint8_t *event = m->events[op->x] + (size_t)l * event_width;
        int32_t *value = m->values[op->x] + (size_t)l * value_width;
        int fits = events ? m->wide_input ? word_events(event, words, n, op->low, op->high)
                                          : byte_events(event, bytes, n, op->low, op->high)
                          : m->wide_input ? word_values(value, words, n, op->low, op->high)
                                          : byte_values(value, bytes, n, op->low, op->high);
        if (!fits) return TRAPPED;
    }
    m->timestep++;
    if (!events) {
        m->value_size[op->x] = n;
        return DONE;
    }
    list_active(m, op->x, n);
    memcpy(m->arriving, m->actives[op->x], m->used * sizeof(int32_t));
    return DONE;
}

static int write_events(Machine *m, const Micro *op) {
    int n = op->n, width = m->program->sizes.event_width, stride;
    if (op->x >= m->program->sizes.event_count || n > width) return TRAPPED;
    const int32_t *from = operand(m, op->a, n, &stride);
    for (int l = 0; l < m->used; l++, from += stride) {
        uint8_t *to = m->events[op->x] + (size_t)l * width;
        for (int i = 0; i < n; i++) to[i] = from[i];
    }
    list_active(m, op->x, n);
    return DONE;
}

/* The first n events of register y into x. */
static int copy_events(Machine *m, const Micro *op) {
    int n = op->n, width = m->program->sizes.event_width, to = op->x, from = op->y;
    if (to >= m->program->sizes.event_count || n > width || !readable(m->event_size, from, n))
        return TRAPPED;
    for (int l = 0; l < m->used; l++) {
        size_t at = (size_t)l * width;
        int count = active_among(m, from, n, l);
        memmove(m->events[to] + at, m->events[from] + at, n);
        memmove(m->active[to] + at, m->active[from] + at, count * sizeof(uint16_t));
        m->actives[to][l] = count;
    }
    m->event_size[to] = n, m->phased[to] = 0;
    return DONE;
}

static int write_values(Machine *m, const Micro *op) {
    int n = op->n, width = m->program->sizes.value_width, stride;
    if (op->x >= m->program->sizes.value_count || n > width) return TRAPPED;
    const void *from = operand(m, op->a, n, &stride);
    for (int l = 0; l < m->used; l++) {
        int32_t *to = m->values[op->x] + (size_t)l * width;
        if (op->y) for (int i = 0; i < n; i++) to[i] = ((const int64_t *)from)[l * stride + i];
        else memcpy(to, (const int32_t *)from + l * stride, n * sizeof *to);
    }
    m->value_size[op->x] = n;
    return DONE;
}

static int read_state(Machine *m, const Micro *op) {
    int memory = op->x, row = op->y, rows = op->z;
    if (state_rows(m, memory, row, rows, 1)) return TRAPPED;
    size_t bytes = (size_t)rows * m->row_bytes[memory], all = (size_t)m->rows[memory] * m->row_bytes[memory];
    uint8_t *to = temporary(m, op->dst);
    for (int l = 0; l < m->used; l++)
        memcpy(to + l * bytes, m->state[memory] + l * all + (size_t)row * m->row_bytes[memory], bytes);
    return DONE;
}

static int write_state(Machine *m, const Micro *op) {
    int memory = op->x, row = op->y, rows = op->z, stride;
    if (state_rows(m, memory, row, rows, 0)) return TRAPPED;
    size_t bytes = (size_t)rows * m->row_bytes[memory], all = (size_t)m->rows[memory] * m->row_bytes[memory];
    const uint8_t *from = op->op == FILL_STATE ? NULL : operand(m, op->a, op->n, &stride);
    for (int l = 0; l < m->used; l++) {
        uint8_t *to = m->state[memory] + l * all + (size_t)row * m->row_bytes[memory];
        if (from) memcpy(to, from + (stride ? l * bytes : 0), bytes);
        else if (memory == MEMORY_NEURON) for (int i = 0; i < op->n; i++) ((int32_t *)to)[i] = op->low;
        else if (memory == MEMORY_READOUT) for (int i = 0; i < op->n; i++) ((int64_t *)to)[i] = op->low;
        else memset(to, op->low, bytes);
    }
    memset(m->written[memory] + row, 1, rows);
    return DONE;
}

/* Events wait in a ring of z timesteps of w rows from row y on; the present one's leave. */
static int delay_events(Machine *m, const Micro *op, int64_t timestep) {
    int n = op->n, reg = op->x, length = op->z;
    if (timestep < 0) return TRAPPED;         /* outside a loop over timesteps there is none */
    if (!readable(m->event_size, reg, n) || state_rows(m, MEMORY_RING, op->y, length * op->w, 1))
        return TRAPPED;
    const int32_t *delays = m->program->constants[-1 - op->a];
    size_t all = (size_t)m->rows[MEMORY_RING] * m->row_bytes[MEMORY_RING];
    size_t step = (size_t)op->w * m->row_bytes[MEMORY_RING];
    int32_t *to = temporary(m, op->dst);
    for (int l = 0; l < m->used; l++, to += n) {
        uint8_t *ring = m->state[MEMORY_RING] + l * all + (size_t)op->y * m->row_bytes[MEMORY_RING];
        const uint16_t *list = m->active[reg] + (size_t)l * m->program->sizes.event_width;
        int count = active_among(m, reg, n, l);
        for (int k = 0; k < count; k++)
            ring[(timestep + delays[list[k]]) % length * step + list[k]] = 1;
        uint8_t *present = ring + timestep % length * step;
        for (int i = 0; i < n; i++) to[i] = present[i];
        memset(present, 0, step);
    }
    return DONE;
}

/* Where to add to the sums of a bank, which are zero if nothing has been added yet. */
static void *open_sums(Machine *m, int bank, int kind, int n) {
    void *sums = m->sums[bank][kind];
    if (!m->filled[bank][kind]) memset(sums, 0, (size_t)m->used * n * (m->program->sizes.wide ? 8 : 4));
    m->filled[bank][kind] = 1;
    return sums;
}

/* Sums of rows into a temporary (bank -1) or to those of a bank; n: columns of the table. */
static int sum_rows(Machine *m, const Micro *op) {
    int n = op->n, inputs = op->y, bank = op->w, events = op->op == ADD_ROWS, wide = op->z;
    int together = op->low, size = op->high;
    const Sizes *sizes = &m->program->sizes;
    if (!readable(events ? m->event_size : m->value_size, op->x, inputs)) return TRAPPED;
    const void *rows = m->program->constants[-1 - op->a];
    uint8_t *to = bank < 0 ? temporary(m, op->dst) : open_sums(m, bank, !events, size);
    size_t bytes = (size_t)size * (wide ? 8 : 4);
    if (bank < 0) memset(to, 0, m->used * bytes);
#define ADD_UP(what, ...) (wide ? what##_64((int64_t *)to, __VA_ARGS__) : what##_32((int32_t *)to, __VA_ARGS__))
    for (int l = 0; l < m->used; l++, to += bytes) {
        if (events) {
            const uint16_t *list = m->active[op->x] + (size_t)l * sizes->event_width;
            int count = active_among(m, op->x, inputs, l);
            if (!together) ADD_UP(add_ints, rows, n, list, count);
            for (int k = 0; together && k < count; k += together)
                ADD_UP(add_shorts, rows, n, list + k, count - k < together ? count - k : together);
        } else {
            const int32_t *values = m->values[op->x] + (size_t)l * sizes->value_width;
            if (together) ADD_UP(multiply_pairs, rows, n, values, inputs);
            else ADD_UP(multiply_ints, rows, n, values, inputs);
        }
    }
#undef ADD_UP
    return DONE;
}

/* Begin or join the burst of bank x, of y groups; z: join, w: spill. */
static int accumulate(Machine *m, const Micro *op) {
    int bank = op->x;
    if (!m->joined[bank]) m->groups[bank] = op->y, m->spilled[bank] = 0;
    else if (m->joined[bank] == WAITS || m->groups[bank] != op->y) return TRAPPED;
    m->joined[bank] = op->z ? BEGAN : WAITS;
    m->spilled[bank] |= op->w;
    return DONE;
}

static void add(void *to, const void *from, int n, int wide) {
    if (wide) for (int i = 0; i < n; i++) ((int64_t *)to)[i] += ((const int64_t *)from)[i];
    else for (int i = 0; i < n; i++) ((int32_t *)to)[i] += ((const int32_t *)from)[i];
}

/* Add a temporary to the sums of bank x: of events (y 0) or of values (y 1). */
static int add_sums(Machine *m, const Micro *op) {
    int stride, n = op->n, wide = m->program->sizes.wide, bytes = wide ? 8 : 4;
    const uint8_t *from = operand(m, op->a, n, &stride);
    uint8_t *to = open_sums(m, op->x, op->y, n);
    for (int l = 0; l < m->used; l++, to += n * bytes, from += stride * bytes) add(to, from, n, wide);
    return DONE;
}

/* Bring the sums of the banks in x, of y groups, together in the first of them. */
static int take(Machine *m, const Micro *op) {
    int banks = m->program->sizes.banks, first = __builtin_ctz(op->x | 1 << banks);
    if (op->x >> banks) return TRAPPED;
    for (int b = 0; b < banks; b++)
        if (op->x >> b & 1 && (m->joined[b] != WAITS || m->groups[b] != op->y)) return TRAPPED;
    for (int k = 0; k < 2 && first < banks; k++) {
        void *to = open_sums(m, first, k, op->n);
        for (int b = first + 1; b < banks; b++)
            if (op->x >> b & 1 && m->filled[b][k])
                add(to, m->sums[b][k], m->used * op->n, m->program->sizes.wide);
    }
    for (int b = 0; b < banks; b++)
        if (op->x >> b & 1) m->joined[b] = m->filled[b][0] = m->filled[b][1] = 0;
    return DONE;
}

static int emit(Machine *m, const Micro *op) {
    int stride;
    int64_t count = 1 + (int64_t)m->used * op->n;  /* how many of each sample, and they */
    if (m->output_count + count > m->output_room) {
        int64_t room = 2 * (m->output_count + count);
        int64_t *outputs = realloc(m->outputs, room * sizeof *outputs);
        if (!outputs) return TRAPPED;
        m->outputs = outputs, m->output_room = room;
    }
    m->outputs[m->output_count] = op->n;
    memcpy(m->outputs + m->output_count + 1, operand(m, op->a, op->n, &stride), (count - 1) * sizeof(int64_t));
    m->output_count += count;
    return DONE;
}

static int read_register(Machine *m, const Micro *op) {
    int n = op->n, events = op->op == READ_EVENTS;
    if (!readable(events ? m->event_size : m->value_size, op->x, n)) return TRAPPED;
    int width = events ? m->program->sizes.event_width : m->program->sizes.value_width;
    int32_t *to = temporary(m, op->dst);
    for (int l = 0; l < m->used; l++, to += n) {
        const uint8_t *bytes = m->events[op->x] + (size_t)l * width;
        if (events) for (int i = 0; i < n; i++) to[i] = bytes[i];
        else memcpy(to, m->values[op->x] + (size_t)l * width, n * sizeof *to);
    }
    return DONE;
}

static void arithmetic(Machine *m, const Micro *op) {
    int n = op->n, lanes = m->used, sa, sb, sc, wide = op->x;
    void *to = temporary(m, op->dst);
    const void *a = operand(m, op->a, n, &sa), *b = operand(m, op->b, n, &sb);
    const void *c = operand(m, op->c, n, &sc);
#define TWO(name) wide ? name##64(to, a, sa, b, sb, n, lanes) : name##32(to, a, sa, b, sb, n, lanes)
#define THREE(name) \
    wide ? name##64(to, a, sa, b, sb, c, sc, n, lanes) : name##32(to, a, sa, b, sb, c, sc, n, lanes)
#define ONE(name) \
    wide ? name##64(to, a, sa, n, lanes, op->low, op->high) : name##32(to, a, sa, n, lanes, op->low, op->high)
    switch (op->op) {
    case WIDEN: widen(to, a, n * lanes); break;
    case NARROW: narrow(to, a, n * lanes); break;
    case ADD: TWO(add); break;
    case SUBTRACT: TWO(subtract); break;
    case MULTIPLY: TWO(multiply); break;
    case LARGER: TWO(larger); break;
    case REACHED: TWO(reached); break;
    case SELECT: THREE(select); break;
    case SHIFTS: THREE(shifts); break;
    case RIGHT: ONE(right); break;
    case LEFT: ONE(left); break;
    case SATURATE: m->saturated[op->y] += ONE(saturate); break;
    }
#undef ONE
#undef TWO
#undef THREE
}

static int micro(Machine *m, const Micro *op, int64_t timestep) {
    switch (op->op) {
    case CHECK_REGISTER:
        return readable(op->y ? m->event_size : m->value_size, op->x, op->n) ? DONE : TRAPPED;
    case READ_EVENTS: case READ_VALUES: return read_register(m, op);
    case WRITE_EVENTS: return write_events(m, op);
    case WRITE_VALUES: return write_values(m, op);
    case COPY_EVENTS: return copy_events(m, op);
    case INPUT: return input_step(m, op);
    case EMIT: return emit(m, op);
    case READ_STATE: return read_state(m, op);
    case WRITE_STATE: case FILL_STATE: return write_state(m, op);
    case DELAY_EVENTS: return delay_events(m, op, timestep);
    case ADD_ROWS: case MULTIPLY_ROWS: return sum_rows(m, op);
    case ACCUMULATE: return accumulate(m, op);
    case ADD_SUMS: return add_sums(m, op);
    case TAKE: return take(m, op);
    case STEPS:
        for (int i = 0; i < m->used * op->n; i++) ((int64_t *)temporary(m, op->dst))[i] = m->steps;
        return DONE;
    default: arithmetic(m, op); return DONE;
    }
}

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

/* How many of the inputs whose rows a bank may read are in each phase (isa/sharing.py), summed over
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
        for (int j = 0; j < PERIOD; j++) by_phase[7 * j % PERIOD * lanes + l] = by_input[j];
    }
    for (int p = 0; p < 2 * PERIOD; p++, before += lanes)
        for (int l = 0; l < lanes; l++) before[lanes + l] = before[l] + by_phase[p % PERIOD * lanes + l];
    if (!all) m->phased[reg] = n + 1;
    return before - 2 * PERIOD * lanes;
}

/* Rows that a bank reads for each group, by group modulo the period: [PERIOD][lanes]; and in all. */
static void bank_rows(Machine *m, const Instr *op, int32_t *restrict rows, int64_t *total) {
    int lanes = m->lanes;
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
              : kind == WATCH_VALUES ? m->value_size[watch->number] : watch->rows * sizes->lanes;
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
        int runs = enabled && (op->every < 0 || timestep % op->every == 0);
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
        if (m->pc <= pc) {
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

/* Add what units did since `dmpc_begin`: busy [UNITS], stalls [UNITS][CAUSES], over all samples. */
void dmpc_units(Machine *m, int64_t *busy, int64_t *stalls) {
#define ADD_UP(lanes)                                                                               \
    Timing_##lanes *t = m->timing;                                                                  \
    settle_##lanes(t);                                                                              \
    for (int u = 0; u < UNITS; u++) {                                                               \
        busy[u] += t->unit[u].busy_sum;                                                             \
        for (int c = 0; c < CAUSES; c++) stalls[u * CAUSES + c] += t->unit[u].stall_sums[c];        \
    }
    if (m->lanes == 1) { ADD_UP(1) } else { ADD_UP(16) }
#undef ADD_UP
}

/* Append `count` timesteps to the input of each sample, which now lies here from timestep `first` on:
   those before it have been taken. */
void dmpc_feed(Machine *m, const void **input, int64_t first, int64_t count) {
    size_t before = (size_t)first * m->width * (m->wide_input ? 4 : 1);
    for (int l = 0; l < m->used; l++) m->input[l] = (const uint8_t *)input[l] - before;
    m->arrived += count;
}

int64_t dmpc_taken(const Machine *m) { return m->timestep; }

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

/* A copy of the first `bytes` of each sample's part of a table. */
static void copy_parts(void *to, const void *from, size_t part, size_t bytes, int samples) {
    for (int l = 0; l < samples; l++)
        memcpy((uint8_t *)to + l * part, (const uint8_t *)from + l * part, bytes);
}

static void copy_state(Machine *to, const Machine *from, int memory) {
    const uint8_t *written = from->written[memory];
    int rows = from->rows[memory], first = 0, last = rows;
    while (first < rows && !written[first]) first++;
    while (last > first && !written[last - 1]) last--;
    memcpy(to->written[memory], written, rows);
    size_t row = from->row_bytes[memory], skipped = first * row;
    copy_parts(to->state[memory] + skipped, from->state[memory] + skipped, rows * row,
               (last - first) * row, from->used);
}

/* Make a machine of the same program, lanes and watches stand where another one does, with its counts.
   Only what is in use is copied: a stream does this at every answer. */
void dmpc_copy(Machine *to, const Machine *from) {
    const Sizes *sizes = &from->program->sizes;
    int lanes = from->lanes, used = from->used;
    for (int r = 0; r < sizes->event_count; r++) {
        size_t width = sizes->event_width, size = from->event_size[r] < 0 ? 0 : from->event_size[r];
        copy_parts(to->events[r], from->events[r], width, size, used);
        copy_parts(to->active[r], from->active[r], width * 2, size * 2, used);
        memcpy(to->actives[r], from->actives[r], lanes * 4);
    }
    for (int r = 0; r < sizes->value_count; r++)
        if (from->value_size[r] > 0)
            copy_parts(to->values[r], from->values[r], (size_t)sizes->value_width * 4,
                       (size_t)from->value_size[r] * 4, used);
    for (int s = 0; s < MEMORIES; s++) copy_state(to, from, s);
    for (int b = 0; b < sizes->banks; b++)
        for (int k = 0; k < 2; k++)
            if (from->filled[b][k])
                memcpy(to->sums[b][k], from->sums[b][k],
                       (size_t)lanes * sizes->temporary_size * (sizes->wide ? 8 : 4));
    memcpy(to->input, from->input, from->used * sizeof *from->input);
    memcpy(to->arriving, from->arriving, lanes * 4);
    to->used = from->used, to->width = from->width, to->wide_input = from->wide_input;
    to->steps = from->steps, to->arrived = from->arrived, to->timestep = from->timestep;
    to->closed = from->closed, to->pc = from->pc, to->halted = from->halted, to->loops = from->loops;
    memcpy(to->loop, from->loop, sizeof to->loop);
    memcpy(to->event_size, from->event_size, sizeof to->event_size);
    memcpy(to->value_size, from->value_size, sizeof to->value_size);
    memcpy(to->groups, from->groups, sizeof to->groups);
    memcpy(to->joined, from->joined, sizeof to->joined);
    memcpy(to->spilled, from->spilled, sizeof to->spilled);
    memcpy(to->runs, from->runs, sizes->instructions * sizeof *to->runs);
    memcpy(to->active_sum, from->active_sum, sizes->instructions * sizeof *to->active_sum);
    memcpy(to->row_sum, from->row_sum, sizes->instructions * sizeof *to->row_sum);
    memcpy(to->spills, from->spills, sizes->instructions * sizeof *to->spills);
    memcpy(to->saturated, from->saturated, sizes->saturations * sizeof *to->saturated);
    to->instructions = from->instructions;
    for (int w = 0; w < sizes->watches; w++) {
        Kept *kept = &to->kept[w];
        const Kept *other = &from->kept[w];
        if (kept->room < other->size) {
            kept->room = 2 * other->size;
            kept->data = realloc(kept->data, kept->room);
        }
        if (other->size) memcpy(kept->data, other->data, other->size);
        kept->size = other->size, kept->times = other->times, kept->width = other->width;
    }
    memcpy(to->filled, from->filled, sizeof to->filled);
    memset(to->phased, 0, sizeof to->phased);
    to->output_count = 0;
    if (from->output_count) {
        if (to->output_room < from->output_count) {
            to->outputs = realloc(to->outputs, from->output_count * sizeof(int64_t));
            to->output_room = from->output_count;
        }
        memcpy(to->outputs, from->outputs, from->output_count * sizeof(int64_t));
        to->output_count = from->output_count;
    }
    if (lanes == 1) timing_copy_1(to->timing, from->timing);
    else timing_copy_16(to->timing, from->timing);
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

/* -- times alone ----------------------------------------------------------------------------------- */

/* The timing of a batch whose semantics somebody else works out: [samples], in blocks of 16. */
typedef struct { int samples, blocks; const Program *program; Timing_1 *one; Timing_16 *many; int32_t *demand; } Timeline;

void dmpc_timeline_close(Timeline *t) {
    if (!t) return;
    if (t->one) free(t->one->spans), free(t->one->intervals);
    free(t->one), free(t->many), free(t->demand), free(t);
}

Timeline *dmpc_timeline(const Program *program, int samples, int trace) {
    Timeline *t = zeroed(1, sizeof *t);
    if (!t) return NULL;
    t->samples = samples, t->program = program;
    t->blocks = samples == 1 ? 0 : (samples + 15) / 16;
    t->demand = zeroed(PERIOD * 16, 4);
    if (samples == 1) t->one = zeroed(1, sizeof *t->one);
    else t->many = zeroed(t->blocks, sizeof *t->many);
    if (!t->demand || (samples == 1 ? (void *)t->one : (void *)t->many) == NULL) {
        dmpc_timeline_close(t);
        return NULL;
    }
    if (t->one) {
        t->one->trace = trace;
        timing_reset_1(t->one, program, 1);
    }
    for (int b = 0; b < t->blocks; b++)
        timing_reset_16(&t->many[b], program, samples - 16 * b < 16 ? samples - 16 * b : 16);
    return t;
}

/* Issue an instruction; `demand` [samples][PERIOD] are its rows by group, or its cycles first. */
int dmpc_timeline_issue(Timeline *t, const Instr *op, int pc, const int32_t *demand) {
    if (t->one) {
        rebase_1(t->one);
        return issue_1(t->one, op, pc, (Time_1 *)demand);
    }
    int status = DONE;
    for (int b = 0; b < t->blocks; b++) {
        for (int g = 0; g < PERIOD; g++)
            for (int l = 0; l < 16; l++)
                t->demand[g * 16 + l] = l < t->many[b].used ? demand[(16 * b + l) * PERIOD + g] : 0;
        rebase_16(&t->many[b]);
        status |= issue_16(&t->many[b], op, pc, (Time_16 *)t->demand);
    }
    return status;
}

/* The cycle of the latest issue, and the first in which all is idle, of each sample. */
void dmpc_timeline_times(const Timeline *t, int64_t *issued, int64_t *end) {
    if (t->one) {
        Time_1 at;
        end_1(t->one, at);
        issued[0] = t->one->issued[0] + t->one->base, end[0] = at[0] + t->one->base;
    }
    for (int b = 0; b < t->blocks; b++) {
        Time_16 at;
        end_16(&t->many[b], at);
        for (int l = 0; l < t->many[b].used; l++) {
            issued[16 * b + l] = t->many[b].issued[l] + t->many[b].base;
            end[16 * b + l] = at[l] + t->many[b].base;
        }
    }
}

void dmpc_timeline_units(Timeline *t, int64_t *busy, int64_t *stalls) {
    for (int b = 0; b < (t->one ? 1 : t->blocks); b++) {
        if (t->one) settle_1(t->one); else settle_16(&t->many[b]);
        for (int u = 0; u < UNITS; u++) {
            busy[u] += t->one ? t->one->unit[u].busy_sum : t->many[b].unit[u].busy_sum;
            for (int c = 0; c < CAUSES; c++)
                stalls[u * CAUSES + c] += t->one ? t->one->unit[u].stall_sums[c]
                                                 : t->many[b].unit[u].stall_sums[c];
        }
    }
}

void dmpc_timeline_log(const Timeline *t, View *v) {
    memset(v, 0, sizeof *v);
    if (!t->one) return;
    v->spans = t->one->spans, v->span_count = t->one->span_count;
    v->intervals = t->one->intervals, v->interval_count = t->one->interval_count;
}

/* Whether this processor runs the library that was built for AVX2. */
int dmpc_has_avx2(void) {
#ifdef __x86_64__
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#else
    return 0;
#endif
}
