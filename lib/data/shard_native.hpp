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
  void read_header();
  void read_offsets(std::size_t rows);
  void read_rows(std::size_t first, std::size_t count, bool again, Block& block) const override;

  hdf5::File file_;
  hdf5::Dataset features_, labels_;
};

}  // namespace fedmpi::data
