// What is known of each round.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace fedmpi::checkpoint {

inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

// One row. Row 0 is the model before training. NaN = not measured in this round.
struct Row {
  std::uint64_t round = 0;
  double train_loss = kUnknown;                         // mean over the cohort's examples, as they were trained on
  double test_loss = kUnknown, test_metric = kUnknown;  // accuracy, or root mean squared error
  // The same metric per client, on its own examples: mean weighted by examples, quantiles, worst client.
  double client_mean = kUnknown, client_p10 = kUnknown, client_p50 = kUnknown, client_p90 = kUnknown,
         client_worst = kUnknown;
  double update_norm = kUnknown;               // of the aggregated update
  std::uint64_t clients = 0, examples = 0;     // of the cohort, as far as they are in the aggregate
  std::uint64_t dropped = 0, lost = 0;         // of the cohort: with a bad update; of a participant that did not answer
  std::uint64_t clipped = 0;                   // updates that were longer than update.clip
  std::uint64_t bytes_up = 0, bytes_down = 0;  // to and from rank 0, all participants together
  // Wall-clock time as rank 0 sees it. The parts: sending the model, waiting for the training, the exchange, the
  // server's step, and what was done about the model that the round began with while it was trained: evaluating it,
  // saving it. Together they are `seconds`. The last row has its own model's evaluation too.
  double seconds = 0, seconds_broadcast = 0, seconds_train = 0, seconds_exchange = 0, seconds_server = 0,
         seconds_evaluate = 0, seconds_checkpoint = 0;
};

// The parts of Row::seconds.
inline constexpr std::array kParts = {&Row::seconds_broadcast, &Row::seconds_train,    &Row::seconds_exchange,
                                      &Row::seconds_server,    &Row::seconds_evaluate, &Row::seconds_checkpoint};

struct Column {
  std::string name;
  std::size_t offset;  // in Row
  bool whole;          // uint64, else double
};

// The columns in order. `metric` is the task's: "accuracy" or "rmse" gives test_accuracy or test_rmse.
std::vector<Column> columns(const std::string& metric);

std::string csv_header(std::span<const Column> columns);
std::string csv_line(std::span<const Column> columns, const Row& row);  // an unknown value is an empty cell

}  // namespace fedmpi::checkpoint
