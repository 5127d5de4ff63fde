// Binds the op to XLA: checks what XLA hands over, and says so in a sentence where it does not fit.
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "kernels/hardest_negatives.h"
#include "xla/ffi/api/ffi.h"

namespace mcss {
namespace {

namespace ffi = ::xla::ffi;
using Groups = ffi::BufferR1<ffi::S32>;
using Distances = ffi::BufferR1<ffi::F32>;

struct Results {
  ffi::Result<Groups> anchor_index;
  ffi::Result<Distances> anchor_distance;
  ffi::Result<Groups> positive_index;
  ffi::Result<Distances> positive_distance;

  Selection Selected() {
    return {anchor_index->typed_data(), anchor_distance->typed_data(), positive_index->typed_data(),
            positive_distance->typed_data()};
  }
};

std::string Shape(const ffi::AnyBuffer& buffer) {
  std::string text = "[";
  for (int64_t size : buffer.dimensions()) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

ffi::Error Check(const ffi::AnyBuffer& anchors, const ffi::AnyBuffer& positives, const Groups& row_groups,
                 const Groups& column_groups, Results& results) {
  const auto type = anchors.element_type();
  if (type != positives.element_type() || (type != ffi::F32 && type != ffi::BF16)) {
    return ffi::Error::InvalidArgument(
        "mcss_hardest_negatives needs anchors and positives of one type, float32 or bfloat16.");
  }
  const auto rows = anchors.dimensions(), columns = positives.dimensions();
  if (rows.size() != 2 || columns.size() != 2 || rows[1] != columns[1]) {
    return ffi::Error::InvalidArgument(
        "mcss_hardest_negatives needs anchors [num_anchors, dim] and positives [num_positives, dim]. Received: "
        "anchors " + Shape(anchors) + ", positives " + Shape(positives) + ".");
  }
  if (row_groups.dimensions()[0] != rows[0] || column_groups.dimensions()[0] != columns[0]) {
    return ffi::Error::InvalidArgument(
        "mcss_hardest_negatives needs one group for each embedding. Received: anchors " + Shape(anchors) + " with " +
        std::to_string(row_groups.dimensions()[0]) + " groups, positives " + Shape(positives) + " with " +
        std::to_string(column_groups.dimensions()[0]) + " groups.");
  }
  if (results.anchor_index->dimensions()[0] != rows[0] || results.anchor_distance->dimensions()[0] != rows[0] ||
      results.positive_index->dimensions()[0] != columns[0] ||
      results.positive_distance->dimensions()[0] != columns[0]) {
    return ffi::Error::InvalidArgument(
        "mcss_hardest_negatives returns one result for each embedding; the results it was given room for differ.");
  }
  if (rows[0] > INT32_MAX || columns[0] > INT32_MAX) {
    return ffi::Error::InvalidArgument("mcss_hardest_negatives returns int32 indices: at most 2^31 - 1 embeddings.");
  }
  return ffi::Error::Success();
}

Problem ProblemOf(const ffi::AnyBuffer& anchors, const ffi::AnyBuffer& positives, const Groups& row_groups,
                  const Groups& column_groups) {
  return {{anchors.untyped_data(), row_groups.typed_data(), anchors.dimensions()[0]},
          {positives.untyped_data(), column_groups.typed_data(), positives.dimensions()[0]},
          anchors.dimensions()[1],
          /*threshold=*/0.0f,
          anchors.element_type() == ffi::BF16};
}

ffi::Error OnCpu(ffi::ThreadPool thread_pool, ffi::AnyBuffer anchors, ffi::AnyBuffer positives,
                 ffi::BufferR0<ffi::F32> threshold, Groups row_groups, Groups column_groups, ffi::RemainingArgs,
                 ffi::Result<Groups> anchor_index, ffi::Result<Distances> anchor_distance,
                 ffi::Result<Groups> positive_index, ffi::Result<Distances> positive_distance) {
  Results results = {anchor_index, anchor_distance, positive_index, positive_distance};
  if (ffi::Error error = Check(anchors, positives, row_groups, column_groups, results); error.failure()) return error;
  Problem problem = ProblemOf(anchors, positives, row_groups, column_groups);
  problem.threshold = *threshold.typed_data();
  ThreadPool pool;
  pool.num_threads = thread_pool.num_threads();
  pool.schedule = [&](std::function<void()> task) { thread_pool.Schedule(std::move(task)); };
  HardestNegativesOnCpu(problem, results.Selected(), pool);
  return ffi::Error::Success();
}

// The operands and results shared by all devices, after what each takes from its context.
template <typename Binding>
auto BindBuffers(Binding binding) {
  return std::move(binding)
      .template Arg<ffi::AnyBuffer>()            // anchors [num_anchors, dim]
      .template Arg<ffi::AnyBuffer>()            // positives [num_positives, dim]
      .template Arg<ffi::BufferR0<ffi::F32>>()   // threshold
      .template Arg<Groups>()                    // row_groups [num_anchors]
      .template Arg<Groups>()                    // column_groups [num_positives]
      .RemainingArgs();                          // result shapes, for the compiler where they are not static
}

template <typename Binding>
auto BindResults(Binding binding) {
  return std::move(binding)
      .template Ret<Groups>()      // anchor_index [num_anchors]
      .template Ret<Distances>()   // anchor_distance [num_anchors]
      .template Ret<Groups>()      // positive_index [num_positives]
      .template Ret<Distances>();  // positive_distance [num_positives]
}

}  // namespace

extern "C" __attribute__((visibility("default"))) XLA_FFI_Error* McssHardestNegatives(XLA_FFI_CallFrame* call_frame);
XLA_FFI_DEFINE_HANDLER_SYMBOL(McssHardestNegatives, OnCpu,
                              BindResults(BindBuffers(ffi::Ffi::Bind().Ctx<ffi::ThreadPool>())));

#if defined(MCSS_TF_WITH_CUDA)
namespace {

ffi::Error OnCuda(void* stream, ffi::ScratchAllocator scratch, ffi::AnyBuffer anchors, ffi::AnyBuffer positives,
                  ffi::BufferR0<ffi::F32> threshold, Groups row_groups, Groups column_groups, ffi::RemainingArgs,
                  ffi::Result<Groups> anchor_index, ffi::Result<Distances> anchor_distance,
                  ffi::Result<Groups> positive_index, ffi::Result<Distances> positive_distance) {
  Results results = {anchor_index, anchor_distance, positive_index, positive_distance};
  if (ffi::Error error = Check(anchors, positives, row_groups, column_groups, results); error.failure()) return error;
  const Problem problem = ProblemOf(anchors, positives, row_groups, column_groups);
  const auto workspace = scratch.Allocate(CudaWorkspaceBytes(problem));
  if (!workspace) return ffi::Error(ffi::ErrorCode::kResourceExhausted, "mcss_hardest_negatives: no device memory.");
  const char* failure =
      HardestNegativesOnCuda(stream, problem, threshold.typed_data(), *workspace, results.Selected());
  return failure == nullptr ? ffi::Error::Success()
                            : ffi::Error::Internal(std::string("mcss_hardest_negatives on CUDA: ") + failure);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) XLA_FFI_Error* McssHardestNegativesCuda(
    XLA_FFI_CallFrame* call_frame);
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    McssHardestNegativesCuda, OnCuda,
    BindResults(BindBuffers(ffi::Ffi::Bind().Ctx<ffi::PlatformStream<void*>>().Ctx<ffi::ScratchAllocator>())));
#endif  // MCSS_TF_WITH_CUDA

namespace {

// Copies an error's sentence to `message` (of `size` bytes) and returns whether there was one.
bool Report(const XLA_FFI_Api* api, XLA_FFI_Error* error, char* message, int64_t size) {
  if (error == nullptr) return false;
  std::strncpy(message, ffi::internal::GetErrorMessage(api, error), size - 1);
  ffi::internal::DestroyError(api, error);
  return true;
}

}  // namespace

// Registers the handlers with the XLA runtime behind `api`. Returns 0, or 1 with a sentence in `message`.
extern "C" __attribute__((visibility("default"))) int McssRegister(const XLA_FFI_Api* api, char* message,
                                                                   int64_t size) {
  constexpr char kName[] = "mcss_hardest_negatives";
  if (Report(api, ffi::Ffi::RegisterStaticHandler(api, kName, "Host", McssHardestNegatives), message, size)) return 1;
#if defined(MCSS_TF_WITH_CUDA)
  if (Report(api, ffi::Ffi::RegisterStaticHandler(api, kName, "CUDA", McssHardestNegativesCuda), message, size)) {
    return 1;
  }
#endif
  return 0;
}

// Whether the CUDA handler is part of this library.
extern "C" __attribute__((visibility("default"))) int McssHasCuda() {
#if defined(MCSS_TF_WITH_CUDA)
  return 1;
#else
  return 0;
#endif
}

}  // namespace mcss
