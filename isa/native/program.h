/* A program as the engine runs it; its records are those of isa.native.records.py. */
#include "records.h"

enum { PERIOD = 16, LOCKSTEP = 16, COLUMNS = 16, MOST_QUEUE = 64, MOST_SLOTS = 64, MOST_GROUPS = 1024, MOST_READS = 32 };

typedef struct {
    Sizes sizes;
    int32_t latency[UNITS];                   /* of the banks by number, then of the other units */
    const Instr *code;
    const Micro *micro;
    const void *const *constants;
    const Watch *watch;
} Program;
