#include "data/shard_tff.hpp"

#include <algorithm>

namespace fedmpi::data {

TffShard::TffShard(hdf5::File file)
    : Shard(file.path()), file_(std::move(file)), layout_(tff_layout(file_)), names_(tff_clients(file_)) {
  schema_ = layout_.schema;
  classes_inferred_ = true;
  offsets_ = {0};
  for (const std::string& name : names_) {
    const TffClient client = tff_client(file_, layout_, name);
    offsets_.push_back(offsets_.back() + client.labels.rows());
    for (const std::int32_t label : client.labels.read_all<std::int32_t>())
      schema_.classes = std::max(schema_.classes, static_cast<std::size_t>(std::max(label, 0)) + 1);
  }
}

void TffShard::read_rows(std::size_t first, std::size_t count, bool again, Block& block) const {
  const auto read = [&](const hdf5::Dataset& from, std::size_t begin, std::size_t n, auto out) {
    again ? from.read_again(begin, n, out) : from.read(begin, n, out);
  };
  const std::size_t width = schema_.features(), end = first + count;
  std::size_t client =
      static_cast<std::size_t>(std::upper_bound(offsets_.begin(), offsets_.end(), first) - offsets_.begin() - 1);
  for (std::size_t row = first; row < end; ++client) {
    const TffClient from = tff_client(file_, layout_, names_[client]);
    const std::size_t begin = row - offsets_[client];
    const std::size_t n = std::min<std::size_t>(offsets_[client + 1], end) - row, to = row - first;
    if (schema_.type == FeatureType::uint8)
      read(from.features, begin, n, std::span<std::uint8_t>(block.bytes).subspan(to * width, n * width));
    else
      read(from.features, begin, n, std::span<float>(block.numbers).subspan(to * width, n * width));
    read(from.labels, begin, n, std::span<std::int32_t>(block.labels).subspan(to, n));
    row += n;
  }
}

}  // namespace fedmpi::data
