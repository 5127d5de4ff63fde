// Measures what the cores can do at most: independent fused multiply-adds in registers, on `argv[1]` threads.
// Prints GFLOP/s. (Chains start from different values, or the compiler would keep only one.) The instruction set is the widest of this processor, as in the op.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

constexpr long kSteps = 20'000'000;
constexpr int kChains = 12;
volatile float sink;

#if defined(__x86_64__)
__attribute__((target("avx512f"))) void Avx512() {
  __m512 sums[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = _mm512_set1_ps(c);
  const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.5f);
  for (long i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sums[c] = _mm512_fmadd_ps(sums[c], a, b);
  }
  for (const __m512& sum : sums) sink = sink + _mm512_cvtss_f32(sum);
}

__attribute__((target("avx2,fma"))) void Avx2() {
  __m256 sums[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = _mm256_set1_ps(c);
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.5f);
  for (long i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sums[c] = _mm256_fmadd_ps(sums[c], a, b);
  }
  for (const __m256& sum : sums) sink = sink + _mm256_cvtss_f32(sum);
}
#endif

void Portable() {
  typedef float Vector __attribute__((vector_size(16)));
  Vector sums[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = Vector{} + static_cast<float>(c);
  const Vector a = {0.999f, 0.999f, 0.999f, 0.999f}, b = {0.5f, 0.5f, 0.5f, 0.5f};
  for (long i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sums[c] = sums[c] * a + b;
  }
  for (const Vector& sum : sums) sink = sink + sum[0];
}

}  // namespace

int main(int argc, char** argv) {
  const int num_threads = argc > 1 ? std::atoi(argv[1]) : 1;
  void (*kernel)() = Portable;
  int lanes = 4;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    kernel = Avx512;
    lanes = 16;
  } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    kernel = Avx2;
    lanes = 8;
  }
#endif
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < num_threads; ++i) threads.emplace_back(kernel);
  for (std::thread& thread : threads) thread.join();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::printf("%.1f\n", 2.0 * num_threads * kSteps * kChains * lanes / seconds.count() / 1e9);
}
