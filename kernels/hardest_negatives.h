// Fused pairwise distances with thresholded hardest-negative selection: the contract, for every device.
//
//   D(i, j) = ||a_i - p_j||, the Euclidean distance evaluated in float64 and rounded once to float32
//   (i, j) is admissible if row_groups[i] != column_groups[j], D(i, j) is finite and D(i, j) > threshold
//   anchor_index[i]   = the lowest j of the smallest D(i, j) over the admissible pairs of row i
//   positive_index[j] = the lowest i of the smallest D(i, j) over the admissible pairs of column j
//
// Where no pair is admissible the index is -1 and the distance +inf. A NaN threshold admits nothing.
// The outcome does not depend on the number of threads, their order, or the instruction set. Inputs below the
// smallest normal float32 may count as zero (the host program decides that for its threads).
//
// How it is fast and still exact: a tiled matrix product in float32 or bfloat16 gives every pair an interval that
// certainly holds -D^2/2 (error bound in hardest_negatives_cpu.cc). Only pairs whose interval could still change a
// minimum are evaluated in float64, a handful of the N candidates of a row. No N x N buffer exists at any time.
#ifndef MCSS_TF_KERNELS_HARDEST_NEGATIVES_H_
#define MCSS_TF_KERNELS_HARDEST_NEGATIVES_H_

#include <cstdint>
#include <functional>

namespace mcss {

// Row-major, contiguous; nothing is owned.
struct Embeddings {
  const void* values;     // [num, dim], float32 or bfloat16
  const int32_t* groups;  // [num]
  int64_t num;
};

struct Problem {
  Embeddings rows;     // anchors
  Embeddings columns;  // positives
  int64_t dim;
  float threshold;
  bool is_bfloat16;
};

// One entry per row (anchor) and one per column (positive).
struct Selection {
  int32_t* row_index;
  float* row_distance;
  int32_t* column_index;
  float* column_distance;
};

// Where tasks may run besides the calling thread, which always takes part and never waits for a task to start.
struct ThreadPool {
  int64_t num_threads = 1;
  std::function<void(std::function<void()>)> schedule;
};

enum class InstructionSet { kBest, kPortable, kAvx2, kAvx512, kAvx512Bfloat16, kAmx };

// True if this processor can run it.
bool IsSupported(InstructionSet instruction_set);

void HardestNegativesOnCpu(const Problem& problem, const Selection& selection, const ThreadPool& pool,
                           InstructionSet instruction_set = InstructionSet::kBest);

// Returns null, or a sentence that says what failed. `workspace` holds CudaWorkspaceBytes(problem) bytes on the
// device and `threshold` points to device memory; problem.threshold is not used.
int64_t CudaWorkspaceBytes(const Problem& problem);
const char* HardestNegativesOnCuda(void* stream, const Problem& problem, const float* threshold, void* workspace,
                                   const Selection& selection);

}  // namespace mcss

#endif  // MCSS_TF_KERNELS_HARDEST_NEGATIVES_H_
