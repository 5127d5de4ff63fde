// The CPU implementation against a naive float64 loop, on every instruction set this processor has, with pools that
// run tasks at once, on other threads, late, or never. Also what the sanitizer builds run.
#include "kernels/hardest_negatives.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using mcss::InstructionSet;

int num_failures = 0;

void Check(bool is_true, const std::string& what) {
  if (is_true) return;
  ++num_failures;
  std::printf("FAILED: %s\n", what.c_str());
}

struct Case {
  std::string name;
  int num_rows, num_columns, dim;
  float threshold;
  std::vector<float> rows, columns;
  std::vector<int32_t> row_groups, column_groups;
};

struct Outcome {
  std::vector<int32_t> row_index, column_index;
  std::vector<float> row_distance, column_distance;

  bool operator==(const Outcome& other) const {
    return row_index == other.row_index && column_index == other.column_index &&
           row_distance == other.row_distance && column_distance == other.column_distance;
  }
};

Outcome Empty(const Case& test) {
  const float infinity = std::numeric_limits<float>::infinity();
  return {std::vector<int32_t>(test.num_rows, -1), std::vector<int32_t>(test.num_columns, -1),
          std::vector<float>(test.num_rows, infinity), std::vector<float>(test.num_columns, infinity)};
}

Outcome Naive(const Case& test) {
  Outcome outcome = Empty(test);
  for (int i = 0; i < test.num_rows; ++i) {
    for (int j = 0; j < test.num_columns; ++j) {
      double squared = 0;
      for (int d = 0; d < test.dim; ++d) {
        squared += std::pow(static_cast<double>(test.rows[i * test.dim + d]) - test.columns[j * test.dim + d], 2);
      }
      const float distance = static_cast<float>(std::sqrt(squared));
      if (test.row_groups[i] == test.column_groups[j] || !(distance > test.threshold) || !std::isfinite(distance)) {
        continue;
      }
      if (distance < outcome.row_distance[i]) {
        outcome.row_distance[i] = distance;
        outcome.row_index[i] = j;
      }
      if (distance < outcome.column_distance[j]) {
        outcome.column_distance[j] = distance;
        outcome.column_index[j] = i;
      }
    }
  }
  return outcome;
}

Outcome Run(const Case& test, InstructionSet set, const mcss::ThreadPool& pool) {
  Outcome outcome = Empty(test);
  mcss::HardestNegativesOnCpu({{test.rows.data(), test.row_groups.data(), test.num_rows},
                               {test.columns.data(), test.column_groups.data(), test.num_columns},
                               test.dim,
                               test.threshold,
                               /*is_bfloat16=*/false},
                              {outcome.row_index.data(), outcome.row_distance.data(), outcome.column_index.data(),
                               outcome.column_distance.data()},
                              pool, set);
  return outcome;
}

// Values of a quarter-step lattice: float64 sums of their squares are exact, so outcomes must agree to the bit.
std::vector<float> Lattice(std::mt19937& random, int num, int dim) {
  std::vector<float> values(num * dim);
  for (float& value : values) value = static_cast<float>(static_cast<int>(random() % 9) - 4) / 4;
  return values;
}

std::vector<Case> Cases() {
  std::mt19937 random(0);
  std::vector<Case> cases;
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  for (const auto& [num_rows, num_columns, dim] : std::vector<std::array<int, 3>>{
           {0, 0, 4}, {0, 5, 4}, {5, 0, 4}, {1, 1, 1}, {3, 4, 0}, {12, 32, 16}, {13, 33, 17}, {64, 64, 128},
           {5, 700, 3}, {700, 5, 3}, {481, 130, 20}, {130, 1025, 20}, {300, 300, 128}}) {
    for (float threshold : {-1.0f, 0.0f, 1.5f, 1e9f, nan}) {
      for (int num_groups : {0, 1, 5}) {
        Case test = {std::to_string(num_rows) + " x " + std::to_string(num_columns) + " x " + std::to_string(dim) +
                         ", threshold " + std::to_string(threshold) + ", groups " + std::to_string(num_groups),
                     num_rows, num_columns, dim, threshold, Lattice(random, num_rows, dim),
                     Lattice(random, num_columns, dim), {}, {}};
        for (int i = 0; i < num_rows; ++i) test.row_groups.push_back(num_groups ? random() % num_groups : i);
        for (int j = 0; j < num_columns; ++j) test.column_groups.push_back(num_groups ? random() % num_groups : j);
        cases.push_back(test);
        if (test.rows.empty() || test.columns.empty()) continue;
        test.name += ", not finite";
        test.rows[random() % test.rows.size()] = nan;
        test.columns[random() % test.columns.size()] = -infinity;
        cases.push_back(test);
        test.name += ", huge";
        for (float& value : test.rows) value *= 0x1p120f;
        for (float& value : test.columns) value *= 0x1p120f;
        test.threshold *= 0x1p120f;
        cases.push_back(test);
      }
    }
  }
  return cases;
}

// A pool of real threads, joined when it goes out of scope.
struct Threads {
  explicit Threads(int num_threads) {
    pool.num_threads = num_threads;
    pool.schedule = [this](std::function<void()> task) { threads.emplace_back(std::move(task)); };
  }
  ~Threads() {
    for (std::thread& thread : threads) thread.join();
  }
  mcss::ThreadPool pool;
  std::vector<std::thread> threads;
};

void CheckCase(const Case& test, InstructionSet set, const std::string& name) {
  const Outcome expected = Naive(test);
  Check(Run(test, set, {}) == expected, name + ", one thread: " + test.name);
  {
    Threads threads(4);
    Check(Run(test, set, threads.pool) == expected, name + ", four threads: " + test.name);
  }
  mcss::ThreadPool at_once = {3, [](std::function<void()> task) { task(); }};
  Check(Run(test, set, at_once) == expected, name + ", in the calling thread: " + test.name);
  std::vector<std::function<void()>> kept;
  mcss::ThreadPool late = {3, [&](std::function<void()> task) { kept.push_back(std::move(task)); }};
  Check(Run(test, set, late) == expected, name + ", a pool that is busy: " + test.name);
  for (const auto& task : kept) task();  // after the call has returned and its memory is gone
}

void CheckBfloat16() {
  const std::vector<float> values = {0.0f, 1.0f, 3.0f, -2.0f};
  std::vector<uint16_t> halves;
  for (float value : values) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    halves.push_back(static_cast<uint16_t>(bits >> 16));
  }
  const std::vector<int32_t> groups = {0, 1, 2, 3};
  std::vector<int32_t> index(4), column_index(4);
  std::vector<float> distance(4), column_distance(4);
  mcss::HardestNegativesOnCpu({{halves.data(), groups.data(), 4}, {halves.data(), groups.data(), 4}, 1, 1.0f, true},
                              {index.data(), distance.data(), column_index.data(), column_distance.data()}, {});
  Check(index == std::vector<int32_t>({3, 2, 1, 0}), "bfloat16 index");
  Check(distance == std::vector<float>({2, 2, 2, 2}), "bfloat16 distance");
}

}  // namespace

int main() {
  const std::vector<std::pair<InstructionSet, std::string>> sets = {
      {InstructionSet::kPortable, "portable"}, {InstructionSet::kAvx2, "AVX2"}, {InstructionSet::kAvx512, "AVX-512"}};
  const std::vector<Case> cases = Cases();
  for (const auto& [set, name] : sets) {
    if (!mcss::IsSupported(set)) {
      std::printf("SKIPPED: this processor has no %s.\n", name.c_str());
      continue;
    }
    for (const Case& test : cases) CheckCase(test, set, name);
    std::printf("%s: %zu cases\n", name.c_str(), cases.size());
  }
  CheckBfloat16();
  std::printf(num_failures == 0 ? "passed\n" : "%d failures\n", num_failures);
  return num_failures == 0 ? 0 : 1;
}
