#include "progress.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/error.hpp"
#include "base/plural.hpp"

namespace fedmpi::app {

using checkpoint::Row;

namespace {

double seconds(std::chrono::steady_clock::duration time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

std::string printable(std::string text) {
  for (char& c : text)
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7f) c = '?';
  return text;
}

void fill_standard_descriptors() {
  for (int descriptor = 0; descriptor <= 2; ++descriptor)  // open() takes the lowest that is free
    if (fcntl(descriptor, F_GETFD) == -1) open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

std::string short_text(double number) {
  const double size = std::abs(number);
  const bool plain = number == 0 || (size >= 0.01 && size < 1e4);
  return plain ? fmt::format("{:.4f}", number) : fmt::format("{:.4g}", number);
}

void to_stderr(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stderr); }

void flush_output() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    fail(ExitCode::io, "standard output cannot be written: {}", std::strerror(errno));
}

void print_error(const std::string& text) {
  std::string lines = "fedmpi: " + printable(text);
  for (std::size_t at = 0; (at = lines.find('\n', at)) != std::string::npos; ++at) lines.insert(at + 1, "fedmpi: ");
  to_stderr(lines + "\n");
}

void Progress::plan(const std::string& text) {
  planned_ = last_ = Clock::now();
  to_stderr(printable(text));
}

void Progress::note(const std::string& text) { to_stderr(fmt::format("note: {}\n", printable(text))); }

void Progress::round(const Row& row, const std::string& metric) {
  static const bool terminal = isatty(STDERR_FILENO) == 1;
  last_ = Clock::now();
  if (row.round > 0) ++rounds_;
  const bool evaluated = !std::isnan(row.test_loss) || !std::isnan(row.client_mean);
  if (terminal && !evaluated && last_ - printed_ < std::chrono::seconds(5)) return;
  printed_ = last_;
  std::string line = fmt::format("round {:>5}", row.round);
  if (!std::isnan(row.train_loss)) line += fmt::format("  train loss {}", short_text(row.train_loss));
  if (!std::isnan(row.test_loss))
    line += fmt::format("  test loss {}  test {} {}", short_text(row.test_loss), metric, short_text(row.test_metric));
  if (!std::isnan(row.client_mean))
    line +=
        fmt::format("  clients' {} {} (worst {})", metric, short_text(row.client_mean), short_text(row.client_worst));
  if (row.dropped > 0) line += fmt::format("  {} dropped", counted(row.dropped, "update"));
  to_stderr(fmt::format("{}  {:.3f} s\n", line, row.seconds));
}

std::string Progress::summary() const {
  const Clock::time_point now = Clock::now();
  return fmt::format("{:.2f} s in this job: {:.2f} before its first round, {:.2f} in {}, {:.2f} after the last",
                     seconds(now - start_), seconds(planned_ - start_), seconds(last_ - planned_),
                     counted(rounds_, "round"), seconds(now - last_));
}

std::string chart(std::span<const Row> history, const std::string& metric) {
  std::vector<const Row*> points;
  for (const Row& row : history)
    if (std::isfinite(row.test_metric)) points.push_back(&row);
  if (points.size() < 2) return {};
  constexpr std::size_t kWidth = 60, kHeight = 10;
  const auto [low, high] = std::minmax_element(
      points.begin(), points.end(), [](const Row* a, const Row* b) { return a->test_metric < b->test_metric; });
  const double bottom = (*low)->test_metric, top = (*high)->test_metric;
  const double first = static_cast<double>(points.front()->round), last = static_cast<double>(points.back()->round);
  std::vector<std::string> lines(kHeight, std::string(kWidth, ' '));
  for (const Row* p : points) {
    const double x = (static_cast<double>(p->round) - first) / (last - first);
    const double y = top > bottom ? (p->test_metric - bottom) / (top - bottom) : 0.0;
    lines[kHeight - 1 - static_cast<std::size_t>(std::lround(y * (kHeight - 1)))]
         [static_cast<std::size_t>(std::lround(x * (kWidth - 1)))] = '*';
  }
  std::string text = fmt::format("test {} by round\n", metric);
  for (std::size_t i = 0; i < kHeight; ++i)
    text +=
        fmt::format("{:>9} |{}\n", short_text(top - (top - bottom) * static_cast<double>(i) / (kHeight - 1)), lines[i]);
  text += fmt::format("          +{}\n           {:<30.0f}{:>30.0f}\n", std::string(kWidth, '-'), first, last);
  return text;
}

std::string time_summary(std::span<const Row> history) {
  Row sum;
  for (const Row& r : history) {
    sum.seconds += r.seconds;
    sum.seconds_broadcast += r.seconds_broadcast;
    sum.seconds_train += r.seconds_train;
    sum.seconds_exchange += r.seconds_exchange;
    sum.seconds_server += r.seconds_server;
    sum.seconds_evaluate += r.seconds_evaluate;
    sum.seconds_checkpoint += r.seconds_checkpoint;
  }
  return fmt::format(
      "{:.2f} s in rounds: training {:.2f}, evaluation {:.2f}, exchange {:.2f}, broadcast {:.2f}, server "
      "{:.2f}, "
      "checkpoints {:.2f}",
      sum.seconds, sum.seconds_train, sum.seconds_evaluate, sum.seconds_exchange, sum.seconds_broadcast,
      sum.seconds_server, sum.seconds_checkpoint);
}

}  // namespace fedmpi::app
