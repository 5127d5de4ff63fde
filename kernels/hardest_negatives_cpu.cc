// The CPU implementation: preparation, threads, instruction sets. The inner loops are in hardest_negatives_tile.inc.
//
// Error bound. Let x, y be a row and a column, centred and scaled in float64, u = 2^-24, n = dim. The tiles compute
//   h = -|x|^2/2 - |y|^2/2 + x.y = -|x - y|^2/2
// in float32, as n fused steps from the start value. Each step rounds a number of at most |x|^2 + |y|^2; rounding x
// and y themselves moves h by at most 2u(|x|^2 + |y|^2), the start value by u(|x|^2 + |y|^2). So the error is below
//   e = (n + 8) u (|x|^2 + |y|^2) + underflow,
// the sum of a share of the row and one of the column. (Unfused steps round twice: 2n.) Where products are taken of
// bfloat16 x' = x - r and y' = y - s, they miss r.y + x.s - r.s, which by Cauchy and Schwarz, and |a||b| <= (|a|^2 / k
// + k |b|^2) / 2 for any k > 0, is at most
//   (k |x|^2 + (1/k + 1) |r|^2) / 2 + (k |y|^2 + (1/k + 1) |s|^2) / 2,
// again a share of each, with the residuals as they are and k = |r|/|x| of typical embeddings. Products of two
// bfloat16 are exact in float32, so each still costs one rounding; tile registers add them in another order, and the
// start value last.
//
// With the shares added to the start values the tiles hold upper bounds of h, and a pair matters only if its bound
// exceeds what its row or its column has for certain, and lies below -threshold^2/2 + 2e. What a row has for certain is
// the -D^2/2 of its best pair evaluated so far, or the lower bound h - 2e of one that is surely admissible: so a pair
// that matters is put off until its block is through, when few of those are left. The common centre keeps e small when
// all embeddings lie close together, the power of two `scale` keeps squares in range.
#include "kernels/hardest_negatives.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#if (defined(__clang__) && __clang_major__ >= 9) || (!defined(__clang__) && __GNUC__ >= 10)
#define MCSS_WITH_AVX512_BFLOAT16
#endif
#if defined(__linux__) && ((defined(__clang__) && __clang_major__ >= 12) || (!defined(__clang__) && __GNUC__ >= 11))
#define MCSS_WITH_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace mcss {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr uint64_t kNone = ~uint64_t{0};
// Makes a number that is not positive lower by more than float32 rounds D or D^2/2.
constexpr float kLower = 1 + 0x1p-20f;
// A multiple of the height and the width of every tile.
constexpr int64_t kTileMultiple = 96;
// Rows that a block's columns are multiplied with in turn: their packed values stay in the first-level cache.
constexpr int64_t kStripRows = kTileMultiple;
// Of the dimension that embeddings are padded to.
constexpr int64_t kDimMultiple = 32;
// What is kept of a call's memory for the next: enough for N = 8192 at dimension 128.
constexpr int64_t kMaxKeptFloats = int64_t{1} << 22;
// Rows and columns of one block, whose bounds a task keeps on its stack, and the pairs it puts off: 85 KB in all.
constexpr int64_t kMaxBlockRows = 11 * kTileMultiple;
constexpr int64_t kMaxBlockColumns = 22 * kTileMultiple;
constexpr int kMaxCandidates = 4096;
// A block finds its columns' bounds anew, so few large blocks are less work, and more of them even out the threads.
constexpr int64_t kBlocksPerThread = 2;
// What a task that packs takes.
constexpr int64_t kPackedAtOnce = 2 * kTileMultiple;
// The values of a candidate are fetched while those so many before it are evaluated.
constexpr int kAhead = 3;
// Up to this many hits of a tile are looked at one by one; of more, most are superfluous once floors are raised.
constexpr int kFewHits = 6;
// Below this many multiply-adds another thread takes longer to wake than to help.
constexpr double kMinParallelWork = 1.6e7;
// The typical |r|/|x| of rounding to bfloat16, for the error bound above.
constexpr double kBfloat16Residual = 1.5 * 0x1p-10;
// A filter with bfloat16 is given up by a task that evaluates more pairs than this, and more than this share of those
// it has seen: evaluating a pair costs as much as filtering 30 pairs in float32 instead of bfloat16.
constexpr int64_t kFreeEvaluations = 1024;
constexpr int64_t kPairsForEvaluation = 16;

// One side (anchors or positives), prepared for the tiled product.
struct Side {
  const float* values;          // [num, padded_dim], as given
  float* copy;                  // where `values` are, if those given are not float32 of padded dimension; else null
  const int32_t* groups;        // [num]
  int64_t num;
  float* packed;                // tile by tile, centred and scaled; 0 where padded or not finite
  float* start;                 // -|x|^2/2 + error; -inf where padded or not finite
  float* error;                 // this side's share of the error bound
  std::atomic<uint64_t>* best;  // [num], distance bits << 32 | index in the other side; kNone at first
};

struct Plan {
  Side rows, columns;
  int64_t dim, padded_dim;  // padded_dim: a multiple of kDimMultiple
  float threshold;
  float certainly_far;   // a pair whose upper bound of -D^2/2 is below this is above the threshold
  const double* centre;  // [padded_dim]
  double scale;
};

// One implementation for each instruction set.
struct Kernels {
  // Fills packed, start and error of the tiles that hold [begin, end), and returns the largest finite |x|^2.
  double (*pack_rows)(const Plan& plan, int64_t begin, int64_t end);
  double (*pack_columns)(const Plan& plan, int64_t begin, int64_t end);
  // Offers every pair that may matter, of a range of rows x a range of columns.
  // Returns false if it gave up because too many may matter.
  bool (*select)(const Plan& plan, int64_t row_begin, int64_t row_end, int64_t column_begin, int64_t column_end);
  const Kernels* finer;  // those that never give up, where these can
};

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t RoundUp(int64_t a, int64_t multiple) { return CeilDiv(a, multiple) * multiple; }

// `residual_bound`: what rounding to bfloat16 adds.
void SetBounds(const Plan& plan, double squared_norm, double residual_bound, float* start, float* error) {
  const double roundings = 2.0 * static_cast<double>(plan.dim) + 8;
  const double underflow = (static_cast<double>(plan.dim) + 2) * 0x1p-124;
  const double bound = roundings * 0x1p-24 * squared_norm + residual_bound;
  // What equals the centre is exact: embeddings that are all equal are then told apart from near duplicates.
  *error = squared_norm == 0 ? 0 : static_cast<float>(bound * (1 + 0x1p-20) + underflow);
  *start = static_cast<float>(-squared_norm / 2 + *error);
}

// An embedding's share of what rounding to bfloat16 adds to the error bound; it needs the norm even where the residual
// is zero, since the other side's may not be.
double ResidualBound(double squared_norm, double squared_residual) {
  return 0.5 * (kBfloat16Residual * squared_norm + (1 / kBfloat16Residual + 1) * squared_residual);
}

void Lower(std::atomic<uint64_t>& best, uint64_t candidate) {
  uint64_t current = best.load(std::memory_order_relaxed);
  while (candidate < current && !best.compare_exchange_weak(current, candidate, std::memory_order_relaxed)) {
  }
}

// Distances are not negative, so their bits order like the numbers, and ties go to the lowest index.
uint64_t Key(float distance, int64_t index) {
  uint32_t bits;
  std::memcpy(&bits, &distance, sizeof(bits));
  return uint64_t{bits} << 32 | static_cast<uint64_t>(index);
}

float DistanceOf(uint64_t key) {
  const uint32_t bits = static_cast<uint32_t>(key >> 32);
  float distance;
  std::memcpy(&distance, &bits, sizeof(distance));
  return distance;
}

// Offers a pair of different groups, at float64 distance^2 `squared`, to the minima of its row and its column.
void Offer(const Plan& plan, int64_t row, int64_t column, double squared) {
  const float distance = static_cast<float>(std::sqrt(squared));
  if (!(distance > plan.threshold) || !(distance < kInfinity)) return;
  Lower(plan.rows.best[row], Key(distance, column));
  Lower(plan.columns.best[column], Key(distance, row));
}

// A pair whose upper bound of -D^2/2 is not above this, and whose index is not below `next`, can neither beat `best`
// nor, with a lower index, tie with it.
float FloorOf(const Plan& plan, const std::atomic<uint64_t>& best, int64_t next) {
  const uint64_t key = best.load(std::memory_order_relaxed);
  if (key == kNone) return -kInfinity;
  if (key < Key(0, next)) return kInfinity;  // a distance of 0, and a lower index
  const double distance = DistanceOf(key) * plan.scale;
  return static_cast<float>(-0.5 * kLower * distance * distance - 0x1p-124);
}

// A pair whose upper bound of -D^2/2 is above this, plus twice the column's error, is surely not above the threshold.
float CeilingOf(const Plan& plan, float error) {
  if (plan.threshold < 0) return kInfinity;
  if (std::isnan(plan.threshold)) return -kInfinity;
  const double distance = plan.threshold * plan.scale;
  const double underflow = error == 0 ? -0x1p-124 : 0x1p-124;  // of two that equal the centre D is 0 for certain
  return static_cast<float>(-0.5 / kLower / kLower * distance * distance + 2.0 * kLower * error + underflow);
}

float CertainlyFar(float threshold, double scale) {
  const double distance = threshold * scale;
  return threshold < 0 ? kInfinity : static_cast<float>(-0.5 * kLower * kLower * distance * distance - 0x1p-124);
}

typedef double Doubles __attribute__((vector_size(64)));
typedef float EightFloats __attribute__((vector_size(32)));

// What holds for an instruction set unless it says otherwise.
struct Common {
  static constexpr bool kIsBfloat16 = false, kHasTiles = false;
  static inline void Configure() {}
  static inline void Release() {}
  template <typename Vector>
  __attribute__((always_inline)) static inline float LargestOf(Vector a, int width) {
    float largest = a[0];
    for (int i = 1; i < width; ++i) largest = a[i] > largest ? a[i] : largest;
    return largest;
  }
  __attribute__((always_inline)) static inline Doubles Widen(EightFloats x) {
    return __builtin_convertvector(x, Doubles);
  }
  __attribute__((always_inline)) static inline EightFloats Narrow(Doubles x) {
    return __builtin_convertvector(x, EightFloats);
  }
};

namespace portable {
struct Isa : Common {
  typedef float Vector __attribute__((vector_size(16)));
  static constexpr int kWidth = 4, kRows = 4, kVectors = 2;
  static inline Vector Broadcast(float x) { return Vector{x, x, x, x}; }
  static inline Vector Load(const float* x) {
    Vector v;
    __builtin_memcpy(&v, x, sizeof(v));
    return v;
  }
  static inline Vector Fma(Vector a, Vector b, Vector sum) { return a * b + sum; }
  static inline Vector Min(Vector a, Vector b) { return a < b ? a : b; }
  static inline Vector Max(Vector a, Vector b) { return a > b ? a : b; }
  static inline float Largest(Vector a) { return LargestOf(a, kWidth); }
  static inline uint32_t Greater(Vector a, Vector b) {
    const auto is_greater = a > b;
    return (is_greater[0] & 1) | (is_greater[1] & 2) | (is_greater[2] & 4) | (is_greater[3] & 8);
  }
};
constexpr const Kernels* kFiner = nullptr;
#include "kernels/hardest_negatives_tile.inc"
}  // namespace portable

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
namespace avx2 {
struct Isa : Common {
  typedef __m256 Vector;
  static constexpr int kWidth = 8, kRows = 6, kVectors = 2;
  static inline Vector Broadcast(float x) { return _mm256_set1_ps(x); }
  static inline Vector Load(const float* x) { return _mm256_loadu_ps(x); }
  static inline Vector Fma(Vector a, Vector b, Vector sum) { return _mm256_fmadd_ps(a, b, sum); }
  static inline Vector Min(Vector a, Vector b) { return _mm256_min_ps(a, b); }
  static inline Vector Max(Vector a, Vector b) { return _mm256_max_ps(a, b); }
  static inline float Largest(Vector a) { return LargestOf(a, kWidth); }
  static inline uint32_t Greater(Vector a, Vector b) { return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)); }
};
constexpr const Kernels* kFiner = nullptr;
#include "kernels/hardest_negatives_tile.inc"
}  // namespace avx2
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx2,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx2,fma")
#endif
namespace avx512 {
struct Isa : Common {
  typedef __m512 Vector;
  static constexpr int kWidth = 16, kRows = 12, kVectors = 2;
  static inline Vector Broadcast(float x) { return _mm512_set1_ps(x); }
  static inline Vector Load(const float* x) { return _mm512_loadu_ps(x); }
  static inline Vector Fma(Vector a, Vector b, Vector sum) { return _mm512_fmadd_ps(a, b, sum); }
  static inline Vector Min(Vector a, Vector b) { return _mm512_min_ps(a, b); }
  static inline Vector Max(Vector a, Vector b) { return _mm512_max_ps(a, b); }
  static inline float Largest(Vector a) { return _mm512_reduce_max_ps(a); }
  static inline uint32_t Greater(Vector a, Vector b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
  // Compilers convert the halves one by one.
  static inline Doubles Widen(EightFloats x) { return (Doubles)_mm512_cvtps_pd((__m256)x); }
  static inline EightFloats Narrow(Doubles x) { return (EightFloats)_mm512_cvtpd_ps((__m512d)x); }
};
constexpr const Kernels* kFiner = nullptr;
#include "kernels/hardest_negatives_tile.inc"
}  // namespace avx512
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#if defined(MCSS_WITH_AVX512_BFLOAT16)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma")
#endif
namespace avx512_bfloat16 {
struct Isa : avx512::Isa {
  static constexpr bool kIsBfloat16 = true;
  // Each lane of a and b is two bfloat16; twice the multiply-adds of float32 in the same time.
  static inline Vector Fma(Vector a, Vector b, Vector sum) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }
};
constexpr const Kernels* kFiner = &avx512::kKernels;
#include "kernels/hardest_negatives_tile.inc"
}  // namespace avx512_bfloat16
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif  // MCSS_WITH_AVX512_BFLOAT16
#if defined(MCSS_WITH_AMX)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("amx-tile,amx-bf16,avx512f,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("amx-tile,amx-bf16,avx512f,avx2,fma")
#endif
namespace amx {
// Eight tile registers of 16 rows x 64 bytes, as the processor reads it.
struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileConfiguration kTileConfiguration;

struct Isa : avx512::Isa {
  static constexpr int kRows = 32;
  static constexpr bool kIsBfloat16 = true, kHasTiles = true;
  static inline void Configure() { _tile_loadconfig(&kTileConfiguration); }
  static inline void Release() { _tile_release(); }
  // products = a b, of a [kRows][steps] and b [steps][2 * kWidth], whose lanes are two bfloat16 each.
  static inline void Multiply(const float* a, const float* b, int64_t steps, Vector (&products)[kRows][kVectors]) {
    constexpr int kStride = 16 * sizeof(float), kRowStride = kVectors * kStride;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t step = 0; step < steps; step += 16, a += 16 * kRows, b += 16 * kVectors * kWidth) {
      _tile_loadd(4, a, kStride);
      _tile_loadd(5, a + 16 * 16, kStride);
      _tile_loadd(6, b, kRowStride);
      _tile_loadd(7, b + kWidth, kRowStride);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, &products[0][0], kRowStride);
    _tile_stored(1, &products[0][1], kRowStride);
    _tile_stored(2, &products[16][0], kRowStride);
    _tile_stored(3, &products[16][1], kRowStride);
  }
};
constexpr const Kernels* kFiner = &avx512::kKernels;
#include "kernels/hardest_negatives_tile.inc"
}  // namespace amx
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

// Whether the kernel lets this process use the tile registers, which it must be asked for.
bool HasTilePermission() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool is_granted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return is_granted;
}

// __builtin_cpu_supports knows of AMX only in newer compilers.
bool HasAmx() {
  constexpr unsigned kAmxBfloat16 = 1u << 22, kAmxTile = 1u << 24;
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kAmxBfloat16) && (d & kAmxTile) &&
         __builtin_cpu_supports("avx512f") && HasTilePermission();
}
#endif  // MCSS_WITH_AMX
#endif  // __x86_64__

InstructionSet Best() {
  for (InstructionSet set : {InstructionSet::kAmx, InstructionSet::kAvx512Bfloat16, InstructionSet::kAvx512,
                             InstructionSet::kAvx2}) {
#if defined(__x86_64__)
    // Intel's cores take longer for two products of bfloat16 than for one of float32, except in tiles.
    if (set == InstructionSet::kAvx512Bfloat16 && __builtin_cpu_is("intel")) continue;
#endif
    if (IsSupported(set)) return set;
  }
  return InstructionSet::kPortable;
}

const Kernels& KernelsOf(InstructionSet instruction_set) {
#if defined(MCSS_WITH_AMX)
  if (instruction_set == InstructionSet::kAmx) return amx::kKernels;
#endif
#if defined(MCSS_WITH_AVX512_BFLOAT16)
  if (instruction_set == InstructionSet::kAvx512Bfloat16) return avx512_bfloat16::kKernels;
#endif
#if defined(__x86_64__)
  if (instruction_set == InstructionSet::kAvx512) return avx512::kKernels;
  if (instruction_set == InstructionSet::kAvx2) return avx2::kKernels;
#endif
  return portable::kKernels;
}

// Runs task(0) ... task(num_tasks - 1) on the pool and the calling thread, and returns when all have run.
// A helper that the pool starts late finds nothing left and never touches `task`, so a busy pool cannot block us.
void ParallelFor(const ThreadPool& pool, int64_t num_tasks, const std::function<void(int64_t)>& task) {
  struct Progress {
    std::atomic<int64_t> next{0};
    std::mutex mutex;
    std::condition_variable all_done;
    int64_t num_done = 0;
  };
  const auto progress = std::make_shared<Progress>();
  const auto work = [progress, num_tasks, &task] {
    int64_t num_done = 0;
    for (int64_t i; (i = progress->next.fetch_add(1)) < num_tasks; ++num_done) task(i);
    if (num_done == 0) return;
    std::lock_guard<std::mutex> lock(progress->mutex);
    progress->num_done += num_done;
    if (progress->num_done == num_tasks) progress->all_done.notify_all();
  };
  const int64_t num_helpers = std::min(pool.num_threads, num_tasks) - 1;
  for (int64_t i = 0; i < num_helpers; ++i) pool.schedule(work);
  work();
  std::unique_lock<std::mutex> lock(progress->mutex);
  progress->all_done.wait(lock, [&] { return progress->num_done == num_tasks; });
}

// The memory of one call, aligned to a cache line and not initialised. That of a small call is kept for the next, since
// the system takes half as long to map fresh pages as packing takes to fill them.
class Workspace {
 public:
  explicit Workspace(int64_t num_floats) : block_(kept.exchange(nullptr)) {
    if (block_ != nullptr && block_->num_floats >= num_floats) return;
    Free(block_);
    block_ = new (::operator new(sizeof(Block) + num_floats * sizeof(float), std::align_val_t{64})) Block{num_floats};
  }
  ~Workspace() { Free(block_->num_floats <= kMaxKeptFloats ? kept.exchange(block_) : block_); }
  Workspace(const Workspace&) = delete;
  float* values() { return reinterpret_cast<float*>(block_ + 1); }

 private:
  struct alignas(64) Block {
    int64_t num_floats;
  };
  static void Free(Block* block) { ::operator delete(block, std::align_val_t{64}); }

  static std::atomic<Block*> kept;  // null while a call uses it
  Block* block_;
};
std::atomic<Workspace::Block*> Workspace::kept{nullptr};

// Whether the embeddings have to be copied to be float32 of padded dimension.
bool IsCopied(const Problem& problem) { return problem.is_bfloat16 || problem.dim % kDimMultiple != 0; }

// The memory of one side: O(num * dim), and a multiple of a cache line.
int64_t FloatsOf(const Embeddings& given, const Problem& problem) {
  const int64_t num_copies = IsCopied(problem) ? 2 : 1;
  return RoundUp(given.num, kTileMultiple) * (num_copies * RoundUp(problem.dim, kDimMultiple) + 4);
}

// One side's arrays in `memory`, with nothing found yet.
Side Layout(const Embeddings& given, const Problem& problem, float* memory) {
  const int64_t num = RoundUp(given.num, kTileMultiple), size = num * RoundUp(problem.dim, kDimMultiple);
  Side side = {};
  side.copy = IsCopied(problem) ? memory + size + 4 * num : nullptr;
  side.values = IsCopied(problem) ? side.copy : static_cast<const float*>(given.values);
  side.groups = given.groups;
  side.num = given.num;
  side.packed = memory;
  side.start = memory + size;
  side.error = side.start + num;
  side.best = reinterpret_cast<std::atomic<uint64_t>*>(side.error + num);
  for (int64_t i = 0; i < given.num; ++i) new (&side.best[i]) std::atomic<uint64_t>(kNone);
  return side;
}

float Bfloat16At(const void* values, int64_t i) {
  const uint32_t bits = uint32_t{static_cast<const uint16_t*>(values)[i]} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// Coordinate-wise median of three embeddings: embeddings that lie close together then have small norms, and one
// outlier does no harm. Any centre gives the same outcome; a good one leaves fewer pairs to evaluate in float64.
std::vector<double> Centre(const Plan& plan) {
  std::vector<double> centre(plan.padded_dim, 0.0);
  const int64_t num = plan.rows.num + plan.columns.num;
  if (num == 0) return centre;
  const auto at = [&](int64_t i) {
    return i < plan.rows.num ? plan.rows.values + i * plan.padded_dim
                             : plan.columns.values + (i - plan.rows.num) * plan.padded_dim;
  };
  const float *a = at(0), *b = at(num / 2), *c = at(num - 1);
  for (int64_t d = 0; d < plan.dim; ++d) {
    const float median = std::max(std::min(a[d], b[d]), std::min(std::max(a[d], b[d]), c[d]));
    centre[d] = std::isfinite(median) ? median : 0.0;
  }
  return centre;
}

// Largest |x - centre| of the finite values.
double Spread(const Plan& plan) {
  double spread = 0;
  for (const Side* side : {&plan.rows, &plan.columns}) {
    for (int64_t i = 0; i < side->num * plan.padded_dim; ++i) {
      const double distance = std::fabs(side->values[i] - plan.centre[i % plan.padded_dim]);
      if (std::isfinite(distance)) spread = std::max(spread, distance);
    }
  }
  return spread;
}

// Calls work(is_row, begin, end) for parts of both sides that hold whole tiles, on all threads.
template <typename Work>
void ForEmbeddings(const ThreadPool& pool, const Plan& plan, Work work) {
  const int64_t num_row_tasks = CeilDiv(plan.rows.num, kPackedAtOnce);
  ParallelFor(pool, num_row_tasks + CeilDiv(plan.columns.num, kPackedAtOnce), [&](int64_t i) {
    const bool is_row = i < num_row_tasks;
    const int64_t begin = (is_row ? i : i - num_row_tasks) * kPackedAtOnce;
    work(is_row, begin, std::min(begin + kPackedAtOnce, is_row ? plan.rows.num : plan.columns.num));
  });
}

// Fills the copies of both sides: float32 of padded dimension.
void Copy(const ThreadPool& pool, const Plan& plan, const Problem& problem) {
  ForEmbeddings(pool, plan, [&](bool is_row, int64_t begin, int64_t end) {
    const void* given = (is_row ? problem.rows : problem.columns).values;
    for (int64_t i = begin; i < end; ++i) {
      float* copy = (is_row ? plan.rows : plan.columns).copy + i * plan.padded_dim;
      for (int64_t d = 0; d < plan.dim; ++d) {
        const int64_t at = i * plan.dim + d;
        copy[d] = problem.is_bfloat16 ? Bfloat16At(given, at) : static_cast<const float*>(given)[at];
      }
      std::fill(copy + plan.dim, copy + plan.padded_dim, 0.0f);
    }
  });
}

// Packs both sides and returns the largest finite |x|^2.
double Pack(const ThreadPool& pool, const Plan& plan, const Kernels& kernels) {
  std::mutex mutex;
  double largest = 0;
  ForEmbeddings(pool, plan, [&](bool is_row, int64_t begin, int64_t end) {
    const double here = (is_row ? kernels.pack_rows : kernels.pack_columns)(plan, begin, end);
    std::lock_guard<std::mutex> lock(mutex);
    largest = std::max(largest, here);
  });
  return largest;
}

// Centres and packs both sides, and scales them where squares would leave float32's range.
void Prepare(const ThreadPool& pool, Plan& plan, const Kernels& kernels) {
  const double largest = Pack(pool, plan, kernels);
  if (largest == 0 || (largest > 0x1p-60 && largest < 0x1p100)) return;
  const double spread = Spread(plan);
  if (spread > 0) plan.scale = std::ldexp(1.0, -std::ilogb(spread));
  Pack(pool, plan, kernels);
}

// Decides all pairs, block by block.
void Select(const ThreadPool& pool, const Plan& plan, const Kernels& kernels) {
  const int64_t num_rows = plan.rows.num, num_columns = plan.columns.num;
  const int64_t block_rows = std::clamp(RoundUp(CeilDiv(num_rows, kBlocksPerThread * pool.num_threads), kTileMultiple),
                                        kTileMultiple, kMaxBlockRows);
  const int64_t num_row_blocks = CeilDiv(num_rows, block_rows);
  const int64_t num_column_blocks = CeilDiv(num_columns, kMaxBlockColumns);
  // Blocks that are not decided yet; each is written by one task.
  std::vector<char> is_open(num_row_blocks * num_column_blocks, true);
  std::atomic<bool> is_too_coarse{false};
  const auto select = [&](const Kernels& kernels) {
    ParallelFor(pool, num_row_blocks * num_column_blocks, [&](int64_t i) {
      if (!is_open[i] || is_too_coarse.load(std::memory_order_relaxed)) return;
      const int64_t row = i / num_column_blocks * block_rows, column = i % num_column_blocks * kMaxBlockColumns;
      is_open[i] = !kernels.select(plan, row, std::min(row + block_rows, num_rows), column,
                                   std::min(column + kMaxBlockColumns, num_columns));
      if (is_open[i]) is_too_coarse.store(true, std::memory_order_relaxed);
    });
  };
  select(kernels);
  if (is_too_coarse.exchange(false)) {
    // What was found so far are exact distances, so they stay.
    Pack(pool, plan, *kernels.finer);
    select(*kernels.finer);
  }
}

void Write(const Side& side, int32_t* index, float* distance) {
  for (int64_t i = 0; i < side.num; ++i) {
    const uint64_t key = side.best[i].load(std::memory_order_relaxed);
    index[i] = key == kNone ? -1 : static_cast<int32_t>(key & 0xffffffff);
    distance[i] = key == kNone ? kInfinity : DistanceOf(key);
  }
}

}  // namespace

bool IsSupported(InstructionSet instruction_set) {
#if defined(MCSS_WITH_AMX)
  if (instruction_set == InstructionSet::kAmx) return HasAmx();
#endif
#if defined(MCSS_WITH_AVX512_BFLOAT16)
  if (instruction_set == InstructionSet::kAvx512Bfloat16) {
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
  }
#endif
#if defined(__x86_64__)
  if (instruction_set == InstructionSet::kAvx512) return __builtin_cpu_supports("avx512f");
  if (instruction_set == InstructionSet::kAvx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return instruction_set == InstructionSet::kBest || instruction_set == InstructionSet::kPortable;
}

void HardestNegativesOnCpu(const Problem& problem, const Selection& selection, const ThreadPool& pool,
                           InstructionSet instruction_set) {
  static const InstructionSet best = Best();
  const Kernels& kernels = KernelsOf(instruction_set == InstructionSet::kBest ? best : instruction_set);
  Workspace workspace(FloatsOf(problem.rows, problem) + FloatsOf(problem.columns, problem));
  Plan plan = {Layout(problem.rows, problem, workspace.values()),
               Layout(problem.columns, problem, workspace.values() + FloatsOf(problem.rows, problem)),
               problem.dim,
               RoundUp(problem.dim, kDimMultiple),
               problem.threshold,
               0.0f,
               nullptr,
               1.0};
  const double work = static_cast<double>(problem.rows.num) * problem.columns.num * problem.dim;
  const ThreadPool alone;
  const ThreadPool& threads = work < kMinParallelWork ? alone : pool;
  if (IsCopied(problem)) Copy(threads, plan, problem);
  const std::vector<double> centre = Centre(plan);
  plan.centre = centre.data();
  Prepare(threads, plan, kernels);
  plan.certainly_far = CertainlyFar(plan.threshold, plan.scale);
  Select(threads, plan, kernels);
  Write(plan.rows, selection.row_index, selection.row_distance);
  Write(plan.columns, selection.column_index, selection.column_distance);
}

}  // namespace mcss
