// Launches the example kernels for nvcc: a test compiles this for real devices if nvcc is installed, and never runs it.
#include "examples.cuh"

namespace stepsize::examples {

void launchAll(cudaStream_t stream, const float* in, float* out, unsigned* finished, int n) {
  using cuda::launch;
  launch(addVectors, 1, kThreads, 0, stream, in, in, out, n);
  launch(sumBlocks, 1, kThreads, 0, stream, in, n, out);
  launch(sumAll, 1, kThreads, 0, stream, in, n, out, finished, out);
  launch(transpose, dim3(1, 2), dim3(kTile, kTile), 0, stream, in, out, n, n);
  launch(reverseStretches<float>, 1, 64, 64 * sizeof(float), stream, in, out);
  launch(reverseStretches<double>, 1, 64, 64 * sizeof(double), stream, static_cast<const double*>(nullptr),
         static_cast<double*>(nullptr));
#if defined(STEPSIZE_PLANT_WARNING)
  int unused;
#endif
}

}  // namespace stepsize::examples
