/* Micro-operations (isa/native/records.py): each over all samples of a machine. They are DONE, or the
   machine is TRAPPED. */

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

/* Registers that n elements take. */
static int span(const Machine *m, int events, int n) {
    int width = events ? m->program->sizes.event_register : m->program->sizes.value_register;
    return n > width ? (n + width - 1) / width : 1;
}

/* Registers `reg` and on take a vector of n elements: no other lies there any more. TRAPPED if there
   are not as many. */
static int claim(Machine *m, int events, int reg, int n) {
    const Sizes *sizes = &m->program->sizes;
    int *size = events ? m->event_size : m->value_size, end = reg + span(m, events, n);
    if (end > (events ? sizes->event_count : sizes->value_count)) return TRAPPED;
    for (int r = 0; r < end; r++)
        if (r != reg && r + span(m, events, size[r]) > reg) size[r] = -1;
    size[reg] = n;
    if (events) m->phased[reg] = 0, m->version[reg]++;
    return DONE;
}

/* Numbers of the active elements of an event vector, from its bytes: of those from `from` on. */
static void list_active(Machine *m, int reg, int from, int n) {
    int width = m->program->sizes.event_width;
    for (int l = 0; l < m->used; l++) {
        size_t at = (size_t)l * width;
        int before = from ? m->actives[reg][l] : 0;
        uint16_t *list = m->active[reg] + at + before;
        int count = list_bytes(list, m->events[reg] + at + from, n - from);
        for (int k = 0; from && k < count; k++) list[k] += from;
        m->actives[reg][l] = before + count;
    }
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
    if (claim(m, events, op->x, n)) return TRAPPED;
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
    if (!events) return DONE;
    list_active(m, op->x, 0, n);
    memcpy(m->arriving, m->actives[op->x], m->used * sizeof(int32_t));
    return DONE;
}

static int write_events(Machine *m, const Micro *op) {
    int n = op->n, before = op->z, width = m->program->sizes.event_width, stride;
    if (before && m->event_size[op->x] != before) return TRAPPED;
    if (claim(m, 1, op->x, before + n)) return TRAPPED;
    const int32_t *from = operand(m, op->a, n, &stride);
    for (int l = 0; l < m->used; l++, from += stride) {
        uint8_t *to = m->events[op->x] + (size_t)l * width + before;
        for (int i = 0; i < n; i++) to[i] = from[i];
    }
    list_active(m, op->x, before, before + n);
    return DONE;
}

/* Events that were given before: those of as many times as the instruction has run. */
static int play_events(Machine *m, const Micro *op) {
    int64_t run = m->runs[m->pc] / m->used - 1;
    int n = op->n, before = op->z, width = m->program->sizes.event_width;
    if (run >= op->low || (before && m->event_size[op->x] != before)) return TRAPPED;
    if (claim(m, 1, op->x, before + n)) return TRAPPED;
    const uint8_t *from = (const uint8_t *)m->program->constants[-1 - op->a] + run * n;
    for (int l = 0; l < m->used; l++)
        memcpy(m->events[op->x] + (size_t)l * width + before, from + l * op->low * n, n);
    list_active(m, op->x, before, before + n);
    return DONE;
}

/* The first n events of register y into x. */
static int copy_events(Machine *m, const Micro *op) {
    int n = op->n, width = m->program->sizes.event_width, to = op->x, from = op->y;
    if (!readable(m->event_size, from, n)) return TRAPPED;
    if (to + span(m, 1, n) > m->program->sizes.event_count) return TRAPPED;
    for (int l = 0; l < m->used; l++) {
        size_t at = (size_t)l * width;
        int count = active_among(m, from, n, l);
        memmove(m->events[to] + at, m->events[from] + at, n);
        memmove(m->active[to] + at, m->active[from] + at, count * sizeof(uint16_t));
        m->actives[to][l] = count;
    }
    return claim(m, 1, to, n);
}

static int write_values(Machine *m, const Micro *op) {
    int n = op->n, before = op->z, width = m->program->sizes.value_width, stride;
    if (before && m->value_size[op->x] != before) return TRAPPED;
    if (claim(m, 0, op->x, before + n)) return TRAPPED;
    const void *from = operand(m, op->a, n, &stride);
    for (int l = 0; l < m->used; l++) {
        int32_t *to = m->values[op->x] + (size_t)l * width + before;
        if (op->y) for (int i = 0; i < n; i++) to[i] = ((const int64_t *)from)[l * stride + i];
        else memcpy(to, (const int32_t *)from + l * stride, n * sizeof *to);
    }
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

/* Sums of a kernel's rows into a temporary (bank -1) or to those of a bank; n: of all groups. */
static int convolve(Machine *m, const Micro *op) {
    int n = op->n, inputs = op->y, bank = op->w, events = op->low, wide = op->z;
    const Sizes *sizes = &m->program->sizes;
    if (!readable(events ? m->event_size : m->value_size, op->x, inputs)) return TRAPPED;
    const int32_t *rows = m->program->constants[-1 - op->a];
    const Kernel *k = kernel_at(m->program, op->b);
    uint8_t *to = bank < 0 ? temporary(m, op->dst) : open_sums(m, bank, !events, n);
    size_t bytes = (size_t)n * (wide ? 8 : 4);
    if (bank < 0) memset(to, 0, m->used * bytes);
    for (int l = 0; l < m->used; l++, to += bytes) {
        const uint16_t *list = m->active[op->x] + (size_t)l * sizes->event_width;
        const int32_t *values = m->values[op->x] + (size_t)l * sizes->value_width;
        int count = events ? active_among(m, op->x, inputs, l) : inputs;
        for (int e = 0; e < count; e++) {
            int j = events ? list[e] : e, value = events ? 1 : values[e];
            if (!value) continue;
            if (wide) convolve_64((int64_t *)to, n, k, rows, sizes->lanes, j, value);
            else convolve_32((int32_t *)to, n, k, rows, sizes->lanes, j, value);
        }
    }
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

/* Rows of memory y from z on become window x: two pages of w rows. */
static int set_aside(Machine *m, const Micro *op) {
    if (m->window[op->x].open) return TRAPPED;
    for (int w = 0; w < WINDOWS; w++) {
        const Window *other = &m->window[w];
        if (other->open && other->memory == op->y && op->z < other->at + 2 * other->size
            && other->at < op->z + 2 * op->w)
            return TRAPPED;
    }
    m->window[op->x] = (Window){.open = 1, .memory = op->y, .at = op->z, .size = op->w};
    return DONE;
}

/* Window x holds w rows of memory y from z on; of events in register `low` (of `high` inputs) or all. */
static int load(Machine *m, const Micro *op) {
    Window *window = &m->window[op->x];
    if (!window->open || window->memory != op->y || op->w > window->size) return TRAPPED;
    if (op->n && op->w < window->size) return TRAPPED;
    window->held = 1, window->row = op->z, window->rows = op->w;
    window->source = op->low, window->inputs = op->high;
    window->version = op->low < 0 ? 0 : m->version[op->low];
    return DONE;
}

/* Whether w rows of memory y from z on are in window x, or, without one, outside all of them. */
static int is_near(const Machine *m, const Micro *op) {
    for (int w = 0; op->x < 0 && w < WINDOWS; w++) {
        const Window *other = &m->window[w];
        if (other->open && other->memory == op->y && op->z < other->at + 2 * other->size
            && other->at < op->z + op->w)
            return TRAPPED;
    }
    if (op->x < 0) return DONE;
    const Window *held = &m->window[op->x];
    if (!held->held || held->memory != op->y || op->z < held->row) return TRAPPED;
    if (op->z + op->w > held->row + held->rows) return TRAPPED;
    if (held->source < 0) return DONE;
    int same = op->low == held->source && op->high == held->inputs && op->z == held->row
             && op->w == held->rows && m->version[held->source] == held->version;
    return same ? DONE : TRAPPED;
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
    case CONVOLVE: return convolve(m, op);
    case ACCUMULATE: return accumulate(m, op);
    case ADD_SUMS: return add_sums(m, op);
    case TAKE: return take(m, op);
    case SET_ASIDE: return set_aside(m, op);
    case LOAD: return load(m, op);
    case NEAR: return is_near(m, op);
    case PLAY_EVENTS: return play_events(m, op);
    case STEPS: {
        int64_t *to = temporary(m, op->dst), steps = m->steps > op->low ? m->steps - op->low : 0;
        for (int i = 0; i < m->used * op->n; i++) to[i] = steps;
        return DONE;
    }
    default: arithmetic(m, op); return DONE;
    }
}
