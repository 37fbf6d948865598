#include "checkpoint/history.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

namespace fedmpi::checkpoint {

std::vector<Column> columns(const std::string& metric) {
  return {
      {"round", offsetof(Row, round), true},
      {"train_loss", offsetof(Row, train_loss), false},
      {"test_loss", offsetof(Row, test_loss), false},
      {"test_" + metric, offsetof(Row, test_metric), false},
      {"client_mean", offsetof(Row, client_mean), false},
      {"client_p10", offsetof(Row, client_p10), false},
      {"client_p50", offsetof(Row, client_p50), false},
      {"client_p90", offsetof(Row, client_p90), false},
      {"client_worst", offsetof(Row, client_worst), false},
      {"update_norm", offsetof(Row, update_norm), false},
      {"clients", offsetof(Row, clients), true},
      {"examples", offsetof(Row, examples), true},
      {"dropped", offsetof(Row, dropped), true},
      {"lost", offsetof(Row, lost), true},
      {"clipped", offsetof(Row, clipped), true},
      {"bytes_up", offsetof(Row, bytes_up), true},
      {"bytes_down", offsetof(Row, bytes_down), true},
      {"seconds", offsetof(Row, seconds), false},
      {"seconds_broadcast", offsetof(Row, seconds_broadcast), false},
      {"seconds_train", offsetof(Row, seconds_train), false},
      {"seconds_exchange", offsetof(Row, seconds_exchange), false},
      {"seconds_server", offsetof(Row, seconds_server), false},
      {"seconds_evaluate", offsetof(Row, seconds_evaluate), false},
      {"seconds_checkpoint", offsetof(Row, seconds_checkpoint), false},
  };
}

std::string csv_header(std::span<const Column> columns) {
  std::string line;
  for (const Column& c : columns) line += (line.empty() ? "" : ",") + c.name;
  return line + "\n";
}

std::string csv_line(std::span<const Column> columns, const Row& row) {
  std::string line;
  for (const Column& c : columns) {
    const char* at = reinterpret_cast<const char*>(&row) + c.offset;
    if (&c != columns.data()) line += ',';
    if (c.whole) {
      std::uint64_t value;
      std::memcpy(&value, at, sizeof value);
      line += fmt::format("{}", value);
    } else {
      double value;
      std::memcpy(&value, at, sizeof value);
      if (!std::isnan(value)) line += fmt::format("{:.7g}", value);
    }
  }
  return line + "\n";
}

}  // namespace fedmpi::checkpoint
