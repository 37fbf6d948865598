// The shard format of this program.
#pragma once

#include "data/shard.hpp"
#include "hdf5/file.hpp"

namespace fedmpi::data {

class NativeShard : public Shard {
 public:
  explicit NativeShard(hdf5::File file);
  std::string client_name(std::size_t client) const override;
  void will_need(std::size_t first, std::size_t count) const override {
    features_.will_need(first, count);
    labels_.will_need(first, count);
  }

 private:
  bool plain() const override;
  std::string feature_text(std::size_t row, std::size_t feature) const override {
    return features_.number_text(row, feature);
  }
  std::string label_text(std::size_t row, std::size_t target) const override {
    return labels_.number_text(row, target);
  }
  void read_header();
  void read_features();
  void read_labels(std::size_t rows);
  std::vector<std::string> names(const std::string& dataset, std::size_t count) const;
  void read_offsets(std::size_t rows);
  void read_rows(std::size_t first, std::size_t count, bool again, Block& block) const override;

  hdf5::File file_;
  hdf5::Dataset features_, labels_;
};

}  // namespace fedmpi::data
