/* Times alone. */

/* The timing of a batch whose semantics somebody else works out: [samples], in blocks of 16. */
typedef struct { int samples, blocks; const Program *program; Timing_1 *one; Timing_16 *many; int32_t *demand; } Timeline;

void dmpc_timeline_close(Timeline *t) {
    if (!t) return;
    if (t->one) timing_close_1(t->one);
    for (int b = 0; t->many && b < t->blocks; b++) timing_close_16(&t->many[b]);
    free(t->one), free(t->many), free(t->demand), free(t);
}

Timeline *dmpc_timeline(const Program *program, int samples, int trace) {
    Timeline *t = zeroed(1, sizeof *t);
    if (!t) return NULL;
    t->samples = samples, t->program = program;
    t->blocks = samples == 1 ? 0 : (samples + 15) / 16;
    t->demand = zeroed((size_t)program->sizes.period * LOCKSTEP, 4);
    if (samples == 1) t->one = zeroed(1, sizeof *t->one);
    else t->many = zeroed(t->blocks, sizeof *t->many);
    int ok = t->demand && (samples == 1 ? (void *)t->one : (void *)t->many);
    if (ok && t->one) ok = timing_open_1(t->one, program);
    for (int b = 0; ok && b < t->blocks; b++) ok = timing_open_16(&t->many[b], program);
    if (!ok) {
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

/* Issue an instruction; `demand` [samples][columns] are its rows by group, or its cycles first. */
int dmpc_timeline_issue(Timeline *t, const Instr *op, int pc, const int32_t *demand, int columns) {
    int status = DONE, period = op->period < columns ? op->period : columns;
    memset(t->demand, 0, (size_t)op->period * LOCKSTEP * sizeof *t->demand);
    if (t->one) {
        memcpy(t->demand, demand, period * sizeof *demand);
        rebase_1(t->one);
        return issue_1(t->one, op, pc, (Time_1 *)t->demand);
    }
    for (int b = 0; b < t->blocks; b++) {
        for (int g = 0; g < period; g++)
            for (int l = 0; l < 16; l++)
                t->demand[g * 16 + l] = l < t->many[b].used ? demand[(16 * b + l) * columns + g] : 0;
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

void dmpc_timeline_spent(Timeline *t, int64_t *spent) {
    if (t->one) add_spent_1(t->one, spent);
    for (int b = 0; b < t->blocks; b++) add_spent_16(&t->many[b], spent);
}

void dmpc_timeline_log(const Timeline *t, View *v) {
    memset(v, 0, sizeof *v);
    if (!t->one) return;
    v->spans = t->one->spans, v->span_count = t->one->span_count;
    v->intervals = t->one->intervals, v->interval_count = t->one->interval_count;
}
