// fedmpi inspect: what a shard or a checkpoint holds, as text or as JSON.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "checkpoint/checkpoint.hpp"
#include "commands.hpp"
#include "data/shard.hpp"
#include "hdf5/file.hpp"
#include "hdf5/probe.hpp"
#include "progress.hpp"

namespace fedmpi::app {

namespace {

using nlohmann::ordered_json;

ordered_json describe_shard(const std::string& path) {
  const auto shard = data::Shard::open(path);
  const data::Schema& s = shard->schema();
  const bool classes = s.task == data::Task::classification;
  const data::Block block = shard->read(0, shard->rows(), s.classes, true);
  std::vector<std::uint64_t> sizes;
  for (std::size_t c = 0; c < shard->clients(); ++c) sizes.push_back(shard->offsets()[c + 1] - shard->offsets()[c]);
  std::sort(sizes.begin(), sizes.end());
  const std::uint64_t middle = sizes[(sizes.size() - 1) / 2] + sizes[sizes.size() / 2];

  ordered_json j;
  j["file"] = path;
  j["kind"] = "shard";
  j["task"] = classes ? "classification" : "regression";
  j["examples"] = shard->rows();
  if (block.dropped > 0) j["bad_examples"] = block.dropped;
  j["clients"] = {
      {"count", sizes.size()},
      {"examples_min", sizes.front()},
      {"examples_median", middle % 2 == 0 ? ordered_json(middle / 2) : ordered_json(0.5 * static_cast<double>(middle))},
      {"examples_max", sizes.back()},
      {"first", shard->client_name(0)},
      {"last", shard->client_name(sizes.size() - 1)}};
  j["features"] = {
      {"shape", s.feature_shape}, {"type", shard->stored_type()}, {"scale", s.scale}, {"offset", s.offset}};
  if (classes) {
    std::vector<std::uint64_t> counts(s.classes, 0);
    for (const std::int32_t label : block.labels) ++counts[static_cast<std::size_t>(label)];
    j["classes"] = s.classes;
    j["label_counts"] = counts;
  } else {
    j["targets"] = s.targets;
  }
  return j;
}

ordered_json describe_checkpoint(const std::string& path) {
  const checkpoint::Checkpoint c = checkpoint::read(path);
  ordered_json j;
  j["file"] = path;
  j["kind"] = "checkpoint";
  j["whole"] = true;  // read() compares the digest
  j["round"] = c.round;
  j["seed"] = c.seed;
  j["git_revision"] = c.revision;
  j["weights_sha256"] = checkpoint::weights_digest(c.parameters);
  j["clients"] = c.clients;
  j["examples"] = c.examples;
  j["parameters"] = c.parameters.size();
  for (const Tensor& t : c.layout.tensors()) {
    double square = 0.0;
    for (std::size_t i = t.offset; i < t.offset + t.size(); ++i)
      square += double{c.parameters[i]} * double{c.parameters[i]};
    j["model"][t.layer + "/" + t.name] = {{"shape", t.shape}, {"norm", std::sqrt(square)}};
  }
  for (const auto& [name, values] : c.states) {  // "server/velocity"
    const auto slash = name.find('/');
    j[name.substr(0, slash)][name.substr(slash + 1)] = values.size();
  }
  if (c.client_states.clients > 0) j["clients_that_keep_something"] = c.client_states.clients;
  const checkpoint::Row& last = c.history.back();
  const std::string metric = checkpoint::metric_name(c.schema.task);
  const auto number = [](double x) -> ordered_json {  // JSON knows no infinity
    if (std::isinf(x)) return x > 0 ? "inf" : "-inf";
    return std::isnan(x) ? ordered_json(nullptr) : ordered_json(x);
  };
  j["history"] = {{"rows", c.history.size()},
                  {"train_loss", number(last.train_loss)},
                  {"test_loss", number(last.test_loss)},
                  {"test_" + metric, number(last.test_metric)},
                  {"update_norm", number(last.update_norm)}};
  if (!c.events.empty()) j["events"] = c.events;
  j["config"] = c.config;
  return j;
}

bool is_checkpoint(const std::string& path) {
  const hdf5::File file = hdf5::File::open(path);
  return file.has_attribute("format") && file.text("format") == "fedmpi-checkpoint";
}

// One line per value, groups indented; what spans lines, such as the configuration, follows its name.
void print_text(const ordered_json& j, int indent) {
  for (const auto& [key, value] : j.items()) {
    const std::string name = fmt::format("{:{}}{:<{}}", "", indent, key, 18 - indent);
    if (value.is_object()) {
      fmt::print("{}\n", printable(name));
      print_text(value, indent + 2);
    } else if (value.is_string() && value.get<std::string>().find('\n') != std::string::npos) {
      fmt::print("{}\n{}", printable(name), printable(value.get<std::string>()));
    } else {
      fmt::print("{} {}\n", printable(name), value.is_string() ? printable(value.get<std::string>()) : value.dump());
    }
  }
}

}  // namespace

int inspect(int argc, char** argv) {
  std::vector<std::string> files;
  bool json = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--help" || word == "-h") {
      fmt::print(
          "usage: fedmpi inspect FILE ... [--json]\n\nShows what shards and checkpoints hold; with --json as one JSON "
          "object a line.\n");
      return 0;
    }
    if (word == "--json")
      json = true;
    else if (word.starts_with("-"))
      fail(ExitCode::usage, "inspect: '{}' is not known; known are --json, --help", word);
    else
      files.push_back(word);
  }
  if (files.empty()) fail(ExitCode::usage, "inspect: expected a shard or a checkpoint, found no file name");
  for (const std::string& path : files) {
    hdf5::probe(path, [](const std::string& tried, std::uint64_t, std::uint64_t) { is_checkpoint(tried); });
    const ordered_json j = is_checkpoint(path) ? describe_checkpoint(path) : describe_shard(path);
    if (json)
      fmt::print("{}\n", j.dump(-1, ' ', false, ordered_json::error_handler_t::replace));  // names need not be UTF-8
    else
      print_text(j, 0);
  }
  return 0;
}

}  // namespace fedmpi::app
