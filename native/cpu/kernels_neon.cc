#define STEPSIZE_ISA neon
#define STEPSIZE_NEON
#include "kernels/table.h"
