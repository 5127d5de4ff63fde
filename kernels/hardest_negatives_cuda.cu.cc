// The CUDA implementation (sm_80 and newer): the contract in hardest_negatives.h, the error bound in
// hardest_negatives_cpu.cc. Here q = D^2/2, scaled, is at least 0, so its bits order like the numbers.
//
// Prepare    centres and scales the embeddings into padded float32 rows, with q's share of norm and error
// Select     one block per 128 x 128 tile: float32 product in registers, then
//            1. pairs that are certainly admissible lower the cut (an upper bound of the best q) of row and column
//            2. pairs whose lower bound is not above the cut are listed and evaluated in float64, a warp each
//            3. packed (distance, index) minima: the order of the blocks cannot matter, ties go to the lowest index
// Finish     unpacks the minima
#include <cstdint>

#include "kernels/hardest_negatives.h"

namespace mcss {
namespace {

constexpr int kTile = 128, kDepth = 16, kThreads = 256, kWarp = 32;
constexpr int kSub = 8;  // a thread owns 8 x 8 pairs, 16 apart
constexpr unsigned kInfinityBits = 0x7f800000u;
constexpr unsigned long long kNone = ~0ull;

struct Side {
  const void* values;
  const int32_t* groups;
  int num;
  float* packed;              // [padded_num, padded_dim]
  float* start;               // [padded_num], |x|^2/2 - error; +inf where padded or not finite
  float* error;               // [padded_num]
  unsigned* cut;              // [padded_num], bits of an upper bound of the best q
  unsigned long long* best;   // [padded_num], distance bits << 32 | index
};

struct Plan {
  Side rows, columns;
  int dim, padded_dim;
  bool is_bfloat16;
  const float* threshold;
  unsigned* spread;  // bits of the largest |x - centre|
};

int64_t PadTo(int64_t size, int64_t multiple) { return (size + multiple - 1) / multiple * multiple; }

__device__ float ValueAt(const void* values, bool is_bfloat16, int64_t i) {
  return is_bfloat16 ? __uint_as_float(static_cast<unsigned>(static_cast<const uint16_t*>(values)[i]) << 16)
                     : static_cast<const float*>(values)[i];
}

// The first anchor (or positive, where there is none): embeddings that lie close together then have small norms.
__device__ double CentreAt(const Plan& plan, int d) {
  const Side& side = plan.rows.num > 0 ? plan.rows : plan.columns;
  const float value = ValueAt(side.values, plan.is_bfloat16, d);
  return isfinite(value) ? value : 0.0;
}

__device__ double Scale(const Plan& plan) {
  const float spread = __uint_as_float(*plan.spread);
  return spread > 0 ? ldexp(1.0, -ilogbf(spread)) : 1.0;
}

__device__ double WarpSum(double value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(~0u, value, step);
  return value;
}

// One warp for each embedding of either side, in both kernels below.
__device__ const Side* WarpSide(const Plan& plan, int64_t* index) {
  const int64_t warp = (blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x) / kWarp;
  const int64_t padded_rows = (plan.rows.num + kTile - 1) / kTile * kTile;
  const int64_t padded_columns = (plan.columns.num + kTile - 1) / kTile * kTile;
  *index = warp < padded_rows ? warp : warp - padded_rows;
  return warp < padded_rows ? &plan.rows : *index < padded_columns ? &plan.columns : nullptr;
}

__global__ void Spread(Plan plan) {
  int64_t i;
  const Side* side = WarpSide(plan, &i);
  if (side == nullptr || i >= side->num) return;
  float largest = 0;
  bool is_finite = true;
  for (int d = threadIdx.x % kWarp; d < plan.dim; d += kWarp) {
    const float x = ValueAt(side->values, plan.is_bfloat16, i * plan.dim + d);
    is_finite &= isfinite(x);
    largest = fmaxf(largest, static_cast<float>(fmin(fabs(x - CentreAt(plan, d)), 3.0e38)));
  }
  if (__all_sync(~0u, is_finite)) atomicMax(plan.spread, __float_as_uint(largest));
}

__global__ void Prepare(Plan plan) {
  int64_t i;
  const Side* side = WarpSide(plan, &i);
  if (side == nullptr) return;
  const double scale = Scale(plan);
  double squares = 0;
  bool is_finite = i < side->num;
  for (int d = threadIdx.x % kWarp; d < plan.padded_dim; d += kWarp) {
    float centred = 0;
    if (i < side->num && d < plan.dim) {
      const float x = ValueAt(side->values, plan.is_bfloat16, i * plan.dim + d);
      is_finite &= isfinite(x);
      centred = isfinite(x) ? static_cast<float>((x - CentreAt(plan, d)) * scale) : 0.0f;
    }
    squares += static_cast<double>(centred) * centred;
    side->packed[i * plan.padded_dim + d] = centred;
  }
  squares = WarpSum(squares);
  is_finite = __all_sync(~0u, is_finite);
  if (threadIdx.x % kWarp != 0) return;
  const double error = (plan.dim + 8.0) * 0x1p-24 * squares * (1 + 0x1p-20) + (plan.dim + 2.0) * 0x1p-124;
  side->error[i] = static_cast<float>(error);
  side->start[i] = is_finite ? static_cast<float>(squares / 2 - error) : __uint_as_float(kInfinityBits);
  side->cut[i] = kInfinityBits;
  side->best[i] = kNone;
}

// kTile rows x kDepth dimensions, transposed into shared memory.
__device__ void LoadTile(const float* packed, int64_t first, int padded_dim, int depth, float (*tile)[kTile]) {
  for (int i = threadIdx.x; i < kTile * kDepth / 4; i += kThreads) {
    const int row = i % kTile, d = i / kTile * 4;
    const float4 x = *reinterpret_cast<const float4*>(packed + (first + row) * padded_dim + depth + d);
    tile[d][row] = x.x;
    tile[d + 1][row] = x.y;
    tile[d + 2][row] = x.z;
    tile[d + 3][row] = x.w;
  }
}

// float64 D^2 of a pair, by one warp, from the embeddings as given.
__device__ double SquaredDistance(const Plan& plan, int64_t row, int64_t column) {
  double sum = 0;
  for (int d = threadIdx.x % kWarp; d < plan.dim; d += kWarp) {
    const double difference =
        static_cast<double>(ValueAt(plan.rows.values, plan.is_bfloat16, row * plan.dim + d)) -
        static_cast<double>(ValueAt(plan.columns.values, plan.is_bfloat16, column * plan.dim + d));
    sum += difference * difference;
  }
  return WarpSum(sum);
}

__global__ void __launch_bounds__(kThreads) Select(Plan plan) {
  // First the two operand tiles, then the list of pairs to evaluate.
  __shared__ union {
    float operands[2][kDepth][kTile];
    uint16_t pairs[kTile * kTile];
  } shared;
  __shared__ unsigned row_cut[kTile], column_cut[kTile];
  __shared__ int num_pairs;
  const int64_t first_row = static_cast<int64_t>(blockIdx.y) * kTile;
  const int64_t first_column = static_cast<int64_t>(blockIdx.x) * kTile;
  const int ty = threadIdx.x / 16, tx = threadIdx.x % 16;
  float q[kSub][kSub];
#pragma unroll
  for (int r = 0; r < kSub; ++r) {
#pragma unroll
    for (int c = 0; c < kSub; ++c) {
      q[r][c] = plan.rows.start[first_row + ty + 16 * r] + plan.columns.start[first_column + tx + 16 * c];
    }
  }
  for (int depth = 0; depth < plan.padded_dim; depth += kDepth) {
    LoadTile(plan.rows.packed, first_row, plan.padded_dim, depth, shared.operands[0]);
    LoadTile(plan.columns.packed, first_column, plan.padded_dim, depth, shared.operands[1]);
    __syncthreads();
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      float a[kSub], b[kSub];
#pragma unroll
      for (int k = 0; k < kSub; ++k) {
        a[k] = -shared.operands[0][d][ty + 16 * k];
        b[k] = shared.operands[1][d][tx + 16 * k];
      }
#pragma unroll
      for (int r = 0; r < kSub; ++r) {
#pragma unroll
        for (int c = 0; c < kSub; ++c) q[r][c] = fmaf(a[r], b[c], q[r][c]);
      }
    }
    __syncthreads();
  }

  if (threadIdx.x < kTile) {
    row_cut[threadIdx.x] = plan.rows.cut[first_row + threadIdx.x];
    column_cut[threadIdx.x] = plan.columns.cut[first_column + threadIdx.x];
  }
  if (threadIdx.x == 0) num_pairs = 0;
  __syncthreads();

  const float threshold = *plan.threshold;
  const double half = 0.5 * threshold * Scale(plan) * threshold * Scale(plan);
  // Certainly above the threshold if the lower bound of q is above `far`; certainly not if the upper is below `near`.
  const float far = threshold < 0 ? -1.0f : static_cast<float>(half * (1 + 0x1p-19) + 0x1p-124);
  const float near = threshold < 0 ? -1.0f : static_cast<float>(half * (1 - 0x1p-19) - 0x1p-124);
  float row_slack[kSub], column_slack[kSub];
  unsigned column_upper[kSub];
#pragma unroll
  for (int k = 0; k < kSub; ++k) {
    row_slack[k] = 2 * plan.rows.error[first_row + ty + 16 * k];
    column_slack[k] = 2 * plan.columns.error[first_column + tx + 16 * k];
    column_upper[k] = kInfinityBits;
  }
#pragma unroll
  for (int r = 0; r < kSub; ++r) {
    const int64_t row = first_row + ty + 16 * r;
    unsigned row_upper = kInfinityBits;
#pragma unroll
    for (int c = 0; c < kSub; ++c) {
      const int64_t column = first_column + tx + 16 * c;
      const bool is_other = row < plan.rows.num && column < plan.columns.num &&
                            plan.rows.groups[row] != plan.columns.groups[column];
      if (!is_other) q[r][c] = __uint_as_float(kInfinityBits);
      if (!(q[r][c] > far) || !isfinite(q[r][c])) continue;
      const float slack = row_slack[r] + column_slack[c];
      const unsigned upper = __float_as_uint(fmaxf(q[r][c] + slack, 0.0f) * (1 + 0x1p-20f) + 0x1p-124f);
      row_upper = min(row_upper, upper);
      column_upper[c] = min(column_upper[c], upper);
    }
    atomicMin(&row_cut[ty + 16 * r], row_upper);
  }
#pragma unroll
  for (int c = 0; c < kSub; ++c) atomicMin(&column_cut[tx + 16 * c], column_upper[c]);
  __syncthreads();
  if (threadIdx.x < kTile) {
    atomicMin(&plan.rows.cut[first_row + threadIdx.x], row_cut[threadIdx.x]);
    atomicMin(&plan.columns.cut[first_column + threadIdx.x], column_cut[threadIdx.x]);
  }
#pragma unroll
  for (int r = 0; r < kSub; ++r) {
#pragma unroll
    for (int c = 0; c < kSub; ++c) {
      const unsigned cut = max(row_cut[ty + 16 * r], column_cut[tx + 16 * c]);
      const float upper = q[r][c] + row_slack[r] + column_slack[c];
      // A NaN threshold makes `near` NaN: nothing is listed.
      if (!isfinite(q[r][c]) || q[r][c] > __uint_as_float(cut) || !(upper >= near)) continue;
      shared.pairs[atomicAdd(&num_pairs, 1)] = static_cast<uint16_t>((ty + 16 * r) * kTile + tx + 16 * c);
    }
  }
  __syncthreads();
  for (int i = threadIdx.x / kWarp; i < num_pairs; i += kThreads / kWarp) {
    const int64_t row = first_row + shared.pairs[i] / kTile, column = first_column + shared.pairs[i] % kTile;
    const float distance = static_cast<float>(sqrt(SquaredDistance(plan, row, column)));
    if (threadIdx.x % kWarp != 0 || !(distance > threshold) || !isfinite(distance)) continue;
    const unsigned long long bits = static_cast<unsigned long long>(__float_as_uint(distance)) << 32;
    atomicMin(&plan.rows.best[row], bits | static_cast<unsigned long long>(column));
    atomicMin(&plan.columns.best[column], bits | static_cast<unsigned long long>(row));
  }
}

__global__ void Finish(Side side, int32_t* index, float* distance) {
  const int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
  if (i >= side.num) return;
  const unsigned long long best = side.best[i];
  index[i] = best == kNone ? -1 : static_cast<int32_t>(best & 0xffffffffu);
  distance[i] = __uint_as_float(best == kNone ? kInfinityBits : static_cast<unsigned>(best >> 32));
}

// Carves one side's arrays out of the workspace, each aligned for float4.
Side SideOf(const Embeddings& given, int64_t padded_dim, char** workspace) {
  const int64_t num = PadTo(given.num, kTile);
  const auto take = [&](int64_t bytes) {
    char* const start = *workspace;
    *workspace += PadTo(bytes, 256);
    return start;
  };
  Side side = {given.values, given.groups, static_cast<int>(given.num), nullptr, nullptr, nullptr, nullptr, nullptr};
  side.packed = reinterpret_cast<float*>(take(num * padded_dim * sizeof(float)));
  side.start = reinterpret_cast<float*>(take(num * sizeof(float)));
  side.error = reinterpret_cast<float*>(take(num * sizeof(float)));
  side.cut = reinterpret_cast<unsigned*>(take(num * sizeof(unsigned)));
  side.best = reinterpret_cast<unsigned long long*>(take(num * sizeof(unsigned long long)));
  return side;
}

Plan PlanOf(const Problem& problem, char** workspace) {
  Plan plan = {};
  plan.dim = static_cast<int>(problem.dim);
  plan.padded_dim = static_cast<int>(PadTo(problem.dim, kDepth));
  plan.is_bfloat16 = problem.is_bfloat16;
  plan.spread = reinterpret_cast<unsigned*>(*workspace);
  *workspace += 256;
  plan.rows = SideOf(problem.rows, plan.padded_dim, workspace);
  plan.columns = SideOf(problem.columns, plan.padded_dim, workspace);
  return plan;
}

}  // namespace

int64_t CudaWorkspaceBytes(const Problem& problem) {
  char* end = nullptr;
  PlanOf(problem, &end);
  return end - static_cast<char*>(nullptr);
}

const char* HardestNegativesOnCuda(void* stream_pointer, const Problem& problem, const float* threshold,
                                   void* workspace, const Selection& selection) {
  const auto stream = static_cast<cudaStream_t>(stream_pointer);
  char* next = static_cast<char*>(workspace);
  Plan plan = PlanOf(problem, &next);
  plan.threshold = threshold;
  const int64_t row_tiles = PadTo(plan.rows.num, kTile) / kTile, column_tiles = PadTo(plan.columns.num, kTile) / kTile;
  if (row_tiles > 65535) return "at most 8388480 anchors fit into one launch.";

  cudaError_t error = cudaMemsetAsync(plan.spread, 0, sizeof(unsigned), stream);
  if (error != cudaSuccess) return cudaGetErrorString(error);
  const int64_t num_blocks = (row_tiles + column_tiles) * kTile / (kThreads / kWarp);
  if (num_blocks > 0) {
    Spread<<<num_blocks, kThreads, 0, stream>>>(plan);
    if ((error = cudaGetLastError()) != cudaSuccess) return cudaGetErrorString(error);
    Prepare<<<num_blocks, kThreads, 0, stream>>>(plan);
    if ((error = cudaGetLastError()) != cudaSuccess) return cudaGetErrorString(error);
  }
  if (row_tiles > 0 && column_tiles > 0) {
    Select<<<dim3(column_tiles, row_tiles), kThreads, 0, stream>>>(plan);
    if ((error = cudaGetLastError()) != cudaSuccess) return cudaGetErrorString(error);
  }
  if (row_tiles > 0) {
    Finish<<<row_tiles, kTile, 0, stream>>>(plan.rows, selection.row_index, selection.row_distance);
    if ((error = cudaGetLastError()) != cudaSuccess) return cudaGetErrorString(error);
  }
  if (column_tiles > 0) {
    Finish<<<column_tiles, kTile, 0, stream>>>(plan.columns, selection.column_index, selection.column_distance);
    if ((error = cudaGetLastError()) != cudaSuccess) return cudaGetErrorString(error);
  }
  return nullptr;
}

}  // namespace mcss
