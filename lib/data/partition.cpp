#include "data/partition.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "base/error.hpp"
#include "base/names.hpp"
#include "base/random.hpp"
#include "data/import/text.hpp"

namespace fedmpi::data {

namespace {

using Clients = std::vector<std::uint32_t>;
using Sizes = std::vector<std::size_t>;

// The streams of Purpose::partition. The numbers are part of what "same seed, same shards" means.
enum Draw : std::uint64_t { kSizes = 0, kOrder = 1, kMixture = 2 };

// `total` things shared out by proportions: everyone gets the whole part, what remains goes to the largest
// fractions.
Sizes apportion(std::size_t total, std::span<const double> proportions) {
  Sizes sizes(proportions.size());
  std::vector<double> fractions(proportions.size());
  std::size_t given = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const double share = proportions[i] * static_cast<double>(total);
    sizes[i] = std::min(static_cast<std::size_t>(share), total - given);
    fractions[i] = share - std::floor(share);
    given += sizes[i];
  }
  std::vector<std::uint32_t> order(sizes.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return fractions[a] > fractions[b]; });
  for (std::size_t i = 0; given < total; ++given, ++i) ++sizes[order[i % order.size()]];
  return sizes;
}

Sizes client_sizes(std::size_t examples, const PartitionOptions& options) {
  const std::size_t clients = options.clients;
  std::vector<double> proportions(clients, options.skew);
  if (options.skew > 0.0)
    Stream(options.seed, Purpose::partition, kSizes).dirichlet(proportions);
  else
    std::fill(proportions.begin(), proportions.end(), 1.0 / static_cast<double>(clients));
  Sizes sizes = apportion(examples - clients, proportions);
  for (std::size_t& size : sizes) ++size;
  return sizes;
}

// The examples sorted by label, those of one label in their own order, and where each label begins.
struct ByLabel {
  std::vector<std::uint32_t> examples;
  Sizes begin;  // classes + 1

  explicit ByLabel(const Census& census) : examples(census.examples), begin(census.classes + 1) {
    for (const std::int32_t label : census.labels) ++begin[static_cast<std::size_t>(label) + 1];
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    Sizes next(begin.begin(), begin.end() - 1);
    for (std::uint32_t i = 0; i < census.labels.size(); ++i)
      examples[next[static_cast<std::size_t>(census.labels[i])]++] = i;
  }
};

Clients iid(const Census& census, const Sizes& sizes, double, std::uint64_t seed) {
  Clients client;
  client.reserve(census.examples);
  for (std::uint32_t c = 0; c < sizes.size(); ++c) client.insert(client.end(), sizes[c], c);
  Stream(seed, Purpose::partition, kOrder).shuffle(std::span(client));
  return client;
}

// McMahan et al. 2017: sorted by label and cut, `pieces` random pieces per client.
Clients by_labels(const Census& census, const Sizes& sizes, double pieces, std::uint64_t seed) {
  const ByLabel sorted(census);
  const auto k = static_cast<std::size_t>(pieces);
  std::vector<std::uint32_t> order(sizes.size() * k);  // the owner of each piece
  for (std::size_t p = 0; p < order.size(); ++p) order[p] = static_cast<std::uint32_t>(p / k);
  Stream(seed, Purpose::partition, kOrder).shuffle(std::span(order));

  Clients client(census.examples);
  Sizes cut(sizes.size());  // pieces that each client has got
  std::size_t at = 0;
  for (const std::uint32_t c : order) {
    const std::size_t piece = sizes[c] / k + (cut[c]++ < sizes[c] % k ? 1 : 0);
    for (std::size_t i = 0; i < piece; ++i) client[sorted.examples[at++]] = c;
  }
  return client;
}

// Hsu, Qi and Brown 2019: a client's mixture of labels is drawn from a Dirichlet distribution whose mean is the
// mixture of the whole, and its examples are drawn by that mixture without replacement. A is the concentration of
// one label, as in NIID-Bench (Li et al. 2022): with K equally frequent labels Dir(A, …, A), else Dir(A · K · prior).
// A label that has run out leaves its share to the others.
Clients dirichlet(const Census& census, const Sizes& sizes, double concentration, std::uint64_t seed) {
  ByLabel pools(census);
  const std::size_t classes = census.classes;
  Sizes left(classes);
  Stream order(seed, Purpose::partition, kOrder);
  for (std::size_t k = 0; k < classes; ++k) {
    left[k] = pools.begin[k + 1] - pools.begin[k];
    order.shuffle(std::span(pools.examples).subspan(pools.begin[k], left[k]));
  }
  std::vector<double> prior(classes);
  for (std::size_t k = 0; k < classes; ++k)
    prior[k] = static_cast<double>(left[k]) / static_cast<double>(census.examples);

  Clients client(census.examples);
  std::vector<double> mixture, cumulative(classes);
  for (std::uint32_t c = 0; c < sizes.size(); ++c) {
    Stream draw(seed, Purpose::partition, kMixture, c);
    mixture = prior;
    // A label that no example has keeps a concentration above zero, as Dirichlet needs; its pool is empty
    // anyhow.
    for (double& m : mixture) m = std::max(m * static_cast<double>(classes) * concentration, 1e-12);
    draw.dirichlet(mixture);
    const auto accumulate = [&] {
      double total = 0.0;
      for (std::size_t k = 0; k < classes; ++k) cumulative[k] = total += left[k] > 0 ? mixture[k] : 0.0;
      if (total > 0.0) return;
      // All that the client wanted has run out: it goes on with what is there.
      for (std::size_t k = 0; k < classes; ++k) mixture[k] = static_cast<double>(left[k]);
      std::partial_sum(mixture.begin(), mixture.end(), cumulative.begin());
    };
    accumulate();
    for (std::size_t i = 0; i < sizes[c]; ++i) {
      // A product that rounds up to the whole still falls on the last label that is left.
      const double u = draw.uniform() * cumulative.back();
      const auto k =
          static_cast<std::size_t>(std::min(std::upper_bound(cumulative.begin(), cumulative.end(), u),
                                            std::lower_bound(cumulative.begin(), cumulative.end(), cumulative.back())) -
                                   cumulative.begin());
      client[pools.examples[pools.begin[k] + --left[k]]] = c;
      if (left[k] == 0 && i + 1 < sizes[c]) accumulate();
    }
  }
  return client;
}

constexpr double kMostArgument = 1e6;  // of a partition, and of --skew: sizes and mixtures are equal long before

using Method = Clients (*)(const Census&, const Sizes&, double argument, std::uint64_t seed);
struct Row : PartitionKind {
  Method method;         // null: the natural clients
  bool argument, whole;  // takes a number from above 0 to kMostArgument; a whole one
  bool labels;           // needs classes
};
constexpr std::array<Row, 4> kRows = {{
    {{"iid", "iid", "shuffled"}, iid, false, false, false},
    {{"dirichlet", "dirichlet:A", "each client's mixture of labels drawn from Dir(A), A up to 1000000 (Hsu 2019)"},
     dirichlet,
     true,
     false,
     true},
    {{"labels", "labels:K", "sorted by label and cut, K pieces per client (FedAvg paper)"},
     by_labels,
     true,
     true,
     true},
    {{"natural", "natural", "the input's own clients"}, nullptr, false, false, false},
}};

double parse_argument(const Row& row, const std::string& text) {
  const std::size_t colon = std::min(text.find(':'), text.size());
  const std::string_view argument = std::string_view(text).substr(std::min(colon + 1, text.size()));
  if (!row.argument) {
    if (colon < text.size()) fail(ExitCode::usage, "--partition: expected {}, found '{}'", row.usage, text);
    return 0.0;
  }
  const double value = parse_number(argument).value_or(0.0);
  if (!(value > 0.0) || value > kMostArgument || (row.whole && std::trunc(value) != value))
    fail(ExitCode::usage, "--partition: expected {} with a {}number above 0 and up to {:.0f}, found '{}'", row.usage,
         row.whole ? "whole " : "", kMostArgument, text);
  return value;
}

// For each natural client, whether it has examples.
std::vector<bool> with_examples(const Census& census, std::size_t clients) {
  std::vector<bool> has(clients);
  for (const std::uint32_t c : census.clients) has[c] = true;
  return has;
}

// Numbers the natural clients that still have examples in `rest`, and leaves out the others.
Clients take_natural(const Census& whole, const Census& rest, const std::vector<std::string>& natural_names,
                     const PartitionOptions& options, Assignment& assignment) {
  const std::size_t natural = natural_names.size();
  if (natural == 0)
    fail(ExitCode::usage, "--partition: natural needs an input with clients of its own, found one without");
  if (options.clients != 0 && options.clients != natural)
    fail(ExitCode::usage, "--clients: the input has {} clients of its own, found {}; choose another --partition",
         natural, options.clients);
  if (options.skew > 0.0) fail(ExitCode::usage, "--skew: the sizes of natural clients are their own");
  const std::vector<bool> had = with_examples(whole, natural), has = with_examples(rest, natural);
  Clients number(natural);
  for (std::size_t c = 0; c < natural; ++c) {
    assignment.empty += had[c] ? 0 : 1;
    assignment.lost += had[c] && !has[c] ? 1 : 0;
    if (!has[c]) continue;
    number[c] = static_cast<std::uint32_t>(assignment.clients());
    assignment.names.push_back(natural_names[c]);
  }
  Clients client = rest.clients;
  for (std::uint32_t& c : client) c = number[c];
  return client;
}

// The client of each example that is not held out.
Clients partition(const Census& whole, const Census& rest, const std::vector<std::string>& natural_names,
                  const PartitionOptions& options, Assignment& assignment) {
  const std::string kind = !options.partition.empty() ? options.partition : (natural_names.empty() ? "iid" : "natural");
  const Row& row = find_by_name(kRows, kind.substr(0, kind.find(':')), "--partition");
  const double argument = parse_argument(row, kind);
  if (row.method == nullptr) return take_natural(whole, rest, natural_names, options, assignment);
  if (options.clients == 0) fail(ExitCode::usage, "--clients: expected a number of clients above 0, found none");
  if (options.clients > rest.examples)
    fail(ExitCode::usage, "--clients: expected at most {}, the number of examples, found {}", rest.examples,
         options.clients);
  if (!(options.skew >= 0.0) || options.skew > kMostArgument)
    fail(ExitCode::usage, "--skew: expected a number from 0 to {:.0f}, found {}", kMostArgument, options.skew);
  if (row.labels && rest.classes == 0)
    fail(ExitCode::usage, "--partition: {} needs labels that are classes, found a regression task", row.usage);
  if (row.whole && argument > static_cast<double>(rest.examples / options.clients))
    fail(ExitCode::usage, "--partition: expected at most {} pieces per client, as each has examples, found {}",
         rest.examples / options.clients, argument);
  for (std::size_t c = 0; c < options.clients; ++c) assignment.names.push_back(std::to_string(c));
  return row.method(rest, client_sizes(rest.examples, options), argument, options.seed);
}

// A mask of exactly round(fraction · examples) random examples: Knuth's selection sampling, in one pass.
std::vector<bool> hold_out(std::size_t examples, double fraction, std::uint64_t seed) {
  if (!(fraction >= 0.0 && fraction < 1.0))
    fail(ExitCode::usage, "--holdout: expected a fraction from 0 to below 1, found {}", fraction);
  std::vector<bool> held(examples);
  auto wanted = static_cast<std::uint64_t>(std::llround(fraction * static_cast<double>(examples)));
  if (fraction > 0.0 && wanted == 0)
    fail(ExitCode::usage, "--holdout: expected a fraction that holds out at least one of {} examples, found {}",
         examples, fraction);
  Stream draw(seed, Purpose::holdout);
  for (std::size_t i = 0; i < examples && wanted > 0; ++i) {
    held[i] = draw.below(examples - i) < wanted;
    if (held[i]) --wanted;
  }
  return held;
}

// The census of the examples that are not held out.
Census remaining(const Census& census, const std::vector<bool>& held) {
  Census rest;
  rest.classes = census.classes;
  for (std::size_t i = 0; i < census.examples; ++i) {
    if (held[i]) continue;
    ++rest.examples;
    if (!census.labels.empty()) rest.labels.push_back(census.labels[i]);
    if (!census.clients.empty()) rest.clients.push_back(census.clients[i]);
  }
  return rest;
}

}  // namespace

std::span<const PartitionKind> partition_kinds() {
  static const std::vector<PartitionKind> kinds(kRows.begin(), kRows.end());
  return kinds;
}

Assignment assign(const Census& census, const std::vector<std::string>& natural_names,
                  const PartitionOptions& options) {
  const std::vector<bool> held = hold_out(census.examples, options.holdout, options.seed);
  const Census rest = remaining(census, held);
  if (rest.examples == 0)
    fail(ExitCode::usage, "--holdout: expected to leave examples to the clients, found {} of {} held out",
         census.examples, census.examples);
  Assignment assignment;
  const Clients client = partition(census, rest, natural_names, options, assignment);
  assignment.held_out = census.examples - rest.examples;
  assignment.client.resize(census.examples);
  for (std::size_t i = 0, next = 0; i < census.examples; ++i)
    assignment.client[i] = held[i] ? static_cast<std::uint32_t>(assignment.clients()) : client[next++];
  return assignment;
}

}  // namespace fedmpi::data
