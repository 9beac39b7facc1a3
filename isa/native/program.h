/* A program as the engine runs it; its records are those of isa.native.records.py. */
#include "records.h"

typedef struct {
    Sizes sizes;
    int32_t latency[UNITS];                   /* of the banks by number, then of the other units */
    const Instr *code;
    const Micro *micro;
    const void *const *constants;
    const Watch *watch;
} Program;
