#define STEPSIZE_ISA portable
#include "kernels/table.h"
