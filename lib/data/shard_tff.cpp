#include "data/shard_tff.hpp"

#include <algorithm>

namespace fedmpi::data {

TffShard::TffShard(hdf5::File file)
    : Shard(file.path()), file_(std::move(file)), layout_(tff_layout(file_)), names_(tff_clients(file_)) {
  schema_ = layout_.schema;
  stored_type_ = layout_.type_name;
  offsets_ = {0};
  for (const std::string& name : names_) {
    const TffClient client = tff_client(file_, layout_, name);
    offsets_.push_back(offsets_.back() + client.labels.rows());
    infer_classes(client.labels);
  }
}

std::size_t TffShard::client_of(std::size_t row) const {
  return static_cast<std::size_t>(std::upper_bound(offsets_.begin(), offsets_.end(), row) - offsets_.begin() - 1);
}

std::string TffShard::feature_text(std::size_t row, std::size_t feature) const {
  const std::size_t client = client_of(row);
  return tff_client(file_, layout_, names_[client]).features.number_text(row - offsets_[client], feature);
}

std::string TffShard::label_text(std::size_t row, std::size_t) const {
  const std::size_t client = client_of(row);
  return tff_client(file_, layout_, names_[client]).labels.number_text(row - offsets_[client]);
}

void TffShard::read_rows(std::size_t first, std::size_t count, bool again, Block& block) const {
  const auto read = [&]<class T>(const hdf5::Dataset& from, std::size_t begin, std::size_t n, std::span<T> out,
                                 std::optional<T> instead = {}) {
    again ? from.read_again(begin, n, out, instead) : from.read(begin, n, out, instead);
  };
  const std::size_t width = schema_.features(), end = first + count;
  std::size_t client = client_of(first);
  for (std::size_t row = first; row < end; ++client) {
    const TffClient from = tff_client(file_, layout_, names_[client]);
    const std::size_t begin = row - offsets_[client];
    const std::size_t n = std::min<std::size_t>(offsets_[client + 1], end) - row, to = row - first;
    if (schema_.type == FeatureType::uint8)
      read(from.features, begin, n, std::span<std::uint8_t>(block.bytes).subspan(to * width, n * width));
    else
      read(from.features, begin, n, std::span<float>(block.numbers).subspan(to * width, n * width));
    read(from.labels, begin, n, std::span<std::int32_t>(block.labels).subspan(to, n), std::optional(kNoClass));
    row += n;
  }
}

}  // namespace fedmpi::data
