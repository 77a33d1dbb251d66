// Baselines of the benchmarks in the same process: memory traffic alone, and OpenBLAS if it is installed.
#include <dlfcn.h>
#include <napi.h>

#include <chrono>
#include <thread>
#include <vector>

namespace {

float* floatsOf(const Napi::Value& value) { return value.As<Napi::Float32Array>().Data(); }

double millisecondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

// AdamW's traffic with one addition: reads p, g, m and v, writes p, m and v.
#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
void traffic(float* __restrict__ p, const float* __restrict__ g, float* __restrict__ m, float* __restrict__ v,
             size_t count) {
  for (size_t i = 0; i < count; i++) {
    const float old = m[i];
    p[i] += g[i];
    m[i] = v[i];
    v[i] = old;
  }
}

// (p, g, m, v, threads, repeats) → milliseconds per pass
Napi::Value adamwTraffic(const Napi::CallbackInfo& info) {
  float* arrays[] = {floatsOf(info[0]), floatsOf(info[1]), floatsOf(info[2]), floatsOf(info[3])};
  const size_t count = info[0].As<Napi::Float32Array>().ElementLength();
  const auto threads = info[4].As<Napi::Number>().Uint32Value();
  const auto repeats = info[5].As<Napi::Number>().Uint32Value();
  const auto pass = [&](size_t thread) {
    const size_t from = count * thread / threads, to = count * (thread + 1) / threads;
    for (uint32_t r = 0; r < repeats; r++)
      traffic(arrays[0] + from, arrays[1] + from, arrays[2] + from, arrays[3] + from, to - from);
  };
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::thread> helpers;
  for (size_t t = 1; t < threads; t++) helpers.emplace_back(pass, t);
  pass(0);
  for (auto& helper : helpers) helper.join();
  return Napi::Number::New(info.Env(), millisecondsSince(begin) / repeats);
}

using Sgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int, float, float*, int);
using SetThreads = void (*)(int);

// Opened by its own name, because the distribution's BLAS alternatives may point elsewhere.
void* openblas() {
  static void* library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
  return library;
}

Napi::Value hasOpenblas(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), openblas() != nullptr);
}

// (n, a, b, c, threads, repeats) → milliseconds per product of square matrices
Napi::Value openblasGemm(const Napi::CallbackInfo& info) {
  const int n = info[0].As<Napi::Number>().Int32Value();
  const auto threads = info[4].As<Napi::Number>().Int32Value();
  const auto repeats = info[5].As<Napi::Number>().Int32Value();
  const auto gemm = reinterpret_cast<Sgemm>(dlsym(openblas(), "cblas_sgemm"));
  const auto setThreads = reinterpret_cast<SetThreads>(dlsym(openblas(), "openblas_set_num_threads"));
  setThreads(threads);
  constexpr int rowMajor = 101, plain = 111;
  const auto begin = std::chrono::steady_clock::now();
  for (int r = 0; r < repeats; r++)
    gemm(rowMajor, plain, plain, n, n, n, 1, floatsOf(info[1]), n, floatsOf(info[2]), n, 0, floatsOf(info[3]), n);
  return Napi::Number::New(info.Env(), millisecondsSince(begin) / repeats);
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  exports.Set("adamwTraffic", Napi::Function::New(env, adamwTraffic));
  exports.Set("hasOpenblas", Napi::Function::New(env, hasOpenblas));
  exports.Set("openblasGemm", Napi::Function::New(env, openblasGemm));
  return exports;
}

NODE_API_MODULE(baseline, initialise)

}  // namespace
