#define STEPSIZE_ISA avx2
#include "kernels/table.h"
