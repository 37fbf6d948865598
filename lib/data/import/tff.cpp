#include "data/import/tff.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "base/error.hpp"
#include "data/import/text.hpp"
#include "data/tff.hpp"

namespace fedmpi::data {

namespace {

class TffSource final : public Source {
 public:
  explicit TffSource(const std::string& path)
      : file_(hdf5::File::open(path)), layout_(tff_layout(file_)), names_(tff_clients(file_)) {
    constexpr std::size_t kBlockBytes = std::size_t{1} << 20;
    block_rows_ = std::max<std::size_t>(1, kBlockBytes / std::max<std::size_t>(1, schema().row_bytes()));
  }

  const Schema& schema() const override { return layout_.schema; }
  const std::vector<std::string>& client_names() const override { return names_; }
  void rewind() override {
    next_client_ = 0;
    client_.reset();
  }

  bool next(Example& example) override {
    while (!client_ || row_ == client_->features.rows()) {
      if (next_client_ == names_.size()) return false;
      client_ = tff_client(file_, layout_, names_[next_client_++]);
      row_ = 0;
    }
    const std::size_t in_block = row_ % block_rows_;
    if (in_block == 0) read_block();
    const std::size_t bytes = schema().row_bytes();
    example.features = stored_bytes().subspan(in_block * bytes, bytes);
    example.label = label(in_block);
    example.client = next_client_ - 1;
    ++row_;
    return true;
  }

 private:
  void read_block() {
    const std::size_t count = std::min(block_rows_, client_->features.rows() - row_);
    labels_.resize(count);
    client_->labels.read(row_, count, std::span(labels_));
    const std::size_t elements = count * schema().features();
    if (schema().type == FeatureType::uint8) {
      bytes_.resize(elements);
      client_->features.read(row_, count, std::span(bytes_));
    } else {
      floats_.resize(elements);
      client_->features.read(row_, count, std::span(floats_));
      check_finite();
    }
  }

  void check_finite() const {
    const auto bad = std::find_if_not(floats_.begin(), floats_.end(), [](float x) { return std::isfinite(x); });
    if (bad == floats_.end()) return;
    const auto row = row_ + static_cast<std::size_t>(bad - floats_.begin()) / schema().features();
    client_->features.refuse(std::string(kFloat), fmt::format("{} in row {}", *bad, row));
  }

  std::int32_t label(std::size_t in_block) const {
    const std::int64_t label = labels_[in_block];
    constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
    if (label < 0 || label > kMost)
      client_->labels.refuse(fmt::format("labels from 0 to {}", kMost), fmt::format("{} in row {}", label, row_));
    return static_cast<std::int32_t>(label);
  }

  std::span<const std::byte> stored_bytes() const {
    return schema().type == FeatureType::uint8 ? std::as_bytes(std::span(bytes_)) : std::as_bytes(std::span(floats_));
  }

  hdf5::File file_;
  TffLayout layout_;
  std::vector<std::string> names_;
  std::size_t block_rows_ = 1, next_client_ = 0, row_ = 0;
  std::optional<TffClient> client_;
  std::vector<std::uint8_t> bytes_;  // the block, in one of the two stored types
  std::vector<float> floats_;
  std::vector<std::int64_t> labels_;
};

}  // namespace

std::unique_ptr<Source> open_tff(const std::string& path) { return std::make_unique<TffSource>(path); }

}  // namespace fedmpi::data
