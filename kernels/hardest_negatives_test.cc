// The CPU implementation against a naive float64 loop, on every instruction set this processor has, with pools that
// run tasks at once, on other threads, late, or never. Also what the sanitizer builds run.
#include "kernels/hardest_negatives.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

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

// Sanitizers slow the arithmetic of this test down most: they run fewer cases of a kind, but every kind, instruction
// set and pool.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kIsSanitized = true;
#else
constexpr bool kIsSanitized = false;
#endif

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
        const double difference = static_cast<double>(test.rows[i * test.dim + d]) - test.columns[j * test.dim + d];
        squared += difference * difference;
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

// Embeddings in 1/1024, whose distances are exact as above, but which bfloat16 rounds (to 1/128 from 1 to 2).
using Embed = std::function<float(std::mt19937& random, int embedding, int d)>;

// Four tight clusters far apart: no centre makes the rounding small, and all candidates of a row nearly tie.
float Clustered(std::mt19937& random, int embedding, int d) {
  const int cluster = embedding % 4;
  return static_cast<float>((cluster * 2741 + d * 1571) % 8192 - 4096 + static_cast<int>(random() % 3)) / 1024;
}

// All values of an embedding are rounded the same way, so the errors of the products add up as far as they can: the
// bound is reached to a quarter.
float Aligned(std::mt19937& random, int embedding, int) {
  const int towards = embedding % 2 ? 1027 : 1029;
  return static_cast<float>(random() % 16 ? towards : 1028) / 1024;
}

// Exact in bfloat16: then only the other side's rounding counts.
float Coarse(std::mt19937& random, int, int) { return static_cast<float>(static_cast<int>(random() % 2) + 128) / 128; }

// For rows of much larger norm: every second one is rounded, by little, the others hardly farther and not at all. The
// bound must then count the row's norm though the row itself is not rounded.
float Far(std::mt19937& random, int embedding, int d) { return 8 * Coarse(random, embedding, d); }
float Slight(std::mt19937& random, int embedding, int) {
  return (embedding % 2 ? 1025 : random() % 16 ? 1024.0f : 1032.0f) / 1024;
}

void AddNearTies(std::mt19937& random, std::vector<Case>& cases) {
  const std::vector<std::pair<std::string, std::pair<Embed, Embed>>> kinds = {
      {"clustered", {Clustered, Clustered}}, {"aligned", {Aligned, Aligned}},
      {"exact rows", {Coarse, Aligned}},     {"exact columns", {Aligned, Coarse}},
      {"exact rows far away", {Far, Slight}}};
  const std::vector<int> dims = kIsSanitized ? std::vector<int>{33} : std::vector<int>{1, 2, 33, 128};
  const std::vector<float> magnitudes = kIsSanitized ? std::vector<float>{1.0f, 0x1p-70f}
                                                     : std::vector<float>{1.0f, 0x1p-70f, 0x1p-40f, 0x1p40f, 0x1p60f};
  for (const auto& [kind, embed] : kinds) {
    for (int dim : dims) {
      for (float threshold : {0.0f, 3.0f / 1024, 10.0f / 1024}) {
        for (float magnitude : magnitudes) {
          Case test = {"near ties, " + kind + ", dim " + std::to_string(dim) + ", threshold " +
                           std::to_string(threshold) + ", magnitude " + std::to_string(std::ilogb(magnitude)),
                       60, 70, dim, threshold * magnitude, {}, {}, {}, {}};
          // The first row and the last column are 0, and so is the median that the sides are centred with.
          for (int i = 0; i < 60 * dim; ++i) {
            test.rows.push_back(i < dim ? 0 : magnitude * embed.first(random, i / dim, i % dim));
          }
          for (int i = 0; i < 70 * dim; ++i) {
            test.columns.push_back(i >= 69 * dim ? 0 : magnitude * embed.second(random, i / dim, i % dim));
          }
          for (int i = 0; i < 60; ++i) test.row_groups.push_back(i);
          for (int j = 0; j < 70; ++j) test.column_groups.push_back(j);
          cases.push_back(std::move(test));
        }
      }
    }
  }
}

// So many near ties that a filter with bfloat16 gives up, in a block that others are done with or have yet to do.
void AddManyNearTies(std::mt19937& random, std::vector<Case>& cases) {
  for (int num_spread : {0, 900}) {
    Case test = {"many near ties after " + std::to_string(num_spread), 1300, 1100, 8, 3.0f / 1024, {}, {}, {}, {}};
    test.rows = Lattice(random, test.num_rows, test.dim);
    test.columns = Lattice(random, test.num_columns, test.dim);
    for (int i = num_spread * test.dim; i < test.num_rows * test.dim; ++i) {
      test.rows[i] = Clustered(random, i / test.dim, i % test.dim);
      if (i < test.num_columns * test.dim) test.columns[i] = Clustered(random, i / test.dim, i % test.dim);
    }
    for (int i = 0; i < test.num_rows; ++i) test.row_groups.push_back(i);
    for (int j = 0; j < test.num_columns; ++j) test.column_groups.push_back(j);
    cases.push_back(std::move(test));
  }
}

// Collapsed embeddings: all in one or two points, so that ties decide, and more of them than a task puts off.
void AddEqual(std::vector<Case>& cases) {
  for (int num_points : {1, 2}) {
    for (float threshold : {-1.0f, 0.0f, 0.5f}) {
      Case test = {std::to_string(num_points) + " points, threshold " + std::to_string(threshold),
                   600, 1100, 8, threshold, {}, {}, {}, {}};
      for (int i = 0; i < 600 * 8; ++i) test.rows.push_back(static_cast<float>(i / 8 * 7 / 4 % num_points));
      for (int i = 0; i < 1100 * 8; ++i) test.columns.push_back(static_cast<float>(i / 8 * 5 / 3 % num_points));
      for (int i = 0; i < 600; ++i) test.row_groups.push_back(i / 50);
      for (int j = 0; j < 1100; ++j) test.column_groups.push_back(j / 100);
      cases.push_back(std::move(test));
    }
  }
}

std::vector<Case> Cases() {
  std::mt19937 random(0);
  std::vector<Case> cases;
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  for (const auto& [num_rows, num_columns, dim] : std::vector<std::array<int, 3>>{
           {0, 0, 4}, {0, 5, 4}, {5, 0, 4}, {1, 1, 1}, {3, 4, 0}, {12, 32, 16}, {13, 33, 17}, {64, 64, 128},
           {5, 700, 3}, {700, 5, 3}, {481, 130, 20}, {130, 2200, 30}, {300, 300, 128}}) {
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
  AddNearTies(random, cases);
  AddManyNearTies(random, cases);
  AddEqual(cases);
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

void CheckCase(const Case& test, const Outcome& expected, InstructionSet set, const std::string& name) {
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

// Calls at the same time must not share their memory.
void CheckConcurrentCalls(const std::vector<Case>& cases) {
  std::vector<std::thread> threads;
  std::vector<char> is_right(4, true);
  for (size_t i = 0; i < is_right.size(); ++i) {
    threads.emplace_back([&, i] {
      for (size_t k = i; k < cases.size(); k += 40) {
        is_right[i] &= Run(cases[k], InstructionSet::kBest, {}) == Naive(cases[k]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (bool is : is_right) Check(is, "calls at the same time");
}

// A signal stack too small for the tile registers makes the kernel refuse them to the process: others must do then.
// In a child, before this process asks for them.
void CheckRefusedTiles() {
  const pid_t child = fork();
  if (child == 0) {
    static char stack[4096];
    const stack_t small = {stack, 0, sizeof(stack)};
    const Case test = {"refused tiles", 2, 2, 1, 0.0f, {0, 3}, {1, 5}, {0, 1}, {0, 1}};
    const bool is_right = sigaltstack(&small, nullptr) == 0 && !mcss::IsSupported(InstructionSet::kAmx) &&
                          Run(test, InstructionSet::kBest, {}) == Naive(test);
    _exit(is_right ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  Check(child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0, "without permission to use tile registers");
}

}  // namespace

int main() {
  CheckRefusedTiles();
  std::vector<std::pair<InstructionSet, std::string>> sets;
  for (const auto& [set, name] : std::vector<std::pair<InstructionSet, std::string>>{
           {InstructionSet::kPortable, "portable"}, {InstructionSet::kAvx2, "AVX2"},
           {InstructionSet::kAvx512, "AVX-512"}, {InstructionSet::kAvx512Bfloat16, "AVX-512 with bfloat16"},
           {InstructionSet::kAmx, "AMX"}}) {
    if (mcss::IsSupported(set)) {
      sets.push_back({set, name});
    } else {
      std::printf("SKIPPED: this processor has no %s.\n", name.c_str());
    }
  }
  const std::vector<Case> cases = Cases();
  for (const Case& test : cases) {
    const Outcome expected = Naive(test);
    for (const auto& [set, name] : sets) CheckCase(test, expected, set, name);
  }
  for (const auto& [set, name] : sets) std::printf("%s: %zu cases\n", name.c_str(), cases.size());
  CheckConcurrentCalls(cases);
  CheckBfloat16();
  std::printf(num_failures == 0 ? "passed\n" : "%d failures\n", num_failures);
  return num_failures == 0 ? 0 : 1;
}
