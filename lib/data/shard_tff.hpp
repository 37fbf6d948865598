// A file of TensorFlow Federated, read as it is: one group per client, clients in alphabetical order.
#pragma once

#include "data/shard.hpp"
#include "data/tff.hpp"
#include "hdf5/file.hpp"

namespace fedmpi::data {

class TffShard : public Shard {
 public:
  explicit TffShard(hdf5::File file);
  std::string client_name(std::size_t client) const override { return names_[client]; }

 private:
  std::size_t client_of(std::size_t row) const;
  std::string feature_text(std::size_t row, std::size_t feature) const override;
  std::string label_text(std::size_t row, std::size_t target) const override;
  void read_rows(std::size_t first, std::size_t count, bool again, Block& block) const override;

  hdf5::File file_;
  TffLayout layout_;
  std::vector<std::string> names_;
};

}  // namespace fedmpi::data
