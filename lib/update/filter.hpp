// What happens to an update after a client has trained and before it is exchanged, in this order: clipping.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace fedmpi::update {

struct Options {
  double clip = 0.0;  // the largest norm of an update; 0 = any
};

class Filter {
 public:
  virtual ~Filter() = default;
  // Changes the update in place; returns whether it was another before. A function of the update alone, which is left
  // as it is where it is not finite.
  virtual bool apply(std::span<float> update) const = 0;
  // The largest magnitude that is left in an update, where there is a limit.
  virtual std::optional<float> bound() const { return std::nullopt; }
};

// The filters that are on, in their order. Error(usage).
std::vector<std::unique_ptr<Filter>> make(const Options& options);

std::unique_ptr<Filter> make_clip(double norm);

}  // namespace fedmpi::update
