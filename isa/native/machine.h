/* What a machine holds: made, begun, copied. */

typedef struct { int start, end, counts_steps; int64_t iterations, iteration; } Loop;
typedef struct { uint8_t *data; int64_t size, room, times; int width; } Kept;

/* Rows set aside in a memory, and the external rows that are there: `held`, or none. */
typedef struct { int open, memory, at, size, held, row, rows, source, inputs; int64_t version; } Window;

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
    int64_t version[REGISTERS];               /* how often events were written */
    Window window[WINDOWS];
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
    int32_t *demand;                          /* [period][lanes] */
    int32_t scratch[(2 * PERIOD + 1) * LOCKSTEP];
} Machine;

enum { BEGAN = 1, WAITS = 2 };

/* -- memory -------------------------------------------------------------------------------------- */

void dmpc_close(Machine *m) {
    if (!m) return;
    for (int r = 0; r < REGISTERS; r++)
        free(m->events[r]), free(m->active[r]), free(m->actives[r]), free(m->values[r]),
        free(m->phases[r]);
    for (int s = 0; s < MEMORIES; s++) free(m->state[s]), free(m->written[s]);
    for (int b = 0; b < MOST_BANKS; b++) free(m->sums[b][0]), free(m->sums[b][1]);
    for (int w = 0; m->kept && w < m->program->sizes.watches; w++) free(m->kept[w].data);
    if (m->timing && m->lanes == 1) timing_close_1(m->timing);
    else if (m->timing) timing_close_16(m->timing);
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
    MAKE(m->demand, (size_t)sizes->period * lanes, 4);
    MAKE(m->timing, 1, lanes == 1 ? sizeof(Timing_1) : sizeof(Timing_16));
#undef MAKE
    if (m->timing) ok &= lanes == 1 ? timing_open_1(m->timing, program) : timing_open_16(m->timing, program);
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
    memset(m->version, 0, sizeof m->version);
    memset(m->window, 0, sizeof m->window);
    m->output_count = 0;
    dmpc_forget(m);
    if (m->lanes == 1) {
        ((Timing_1 *)m->timing)->trace = trace;
        timing_reset_1(m->timing, m->program, used);
    } else {
        timing_reset_16(m->timing, m->program, used);
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
    memcpy(to->version, from->version, sizeof to->version);
    memcpy(to->window, from->window, sizeof to->window);
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
