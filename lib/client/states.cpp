#include "client/states.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "base/checksum.hpp"

namespace fedmpi::client {

std::span<const float> States::of(data::ClientId id) const {
  const auto found = kept_.find(id);
  return found == kept_.end() ? std::span<const float>(zeros_) : std::span<const float>(found->second);
}

std::span<float> States::next(data::ClientId id) {
  if (none()) return {};
  const std::lock_guard lock(mutex_);
  Vector& values = next_[id];
  if (values.empty() && !spare_.empty()) {
    values = std::move(spare_.back());
    spare_.pop_back();
  }
  values.resize(layout_.size());
  return values;
}

void States::forget(data::ClientId id) {
  const std::lock_guard lock(mutex_);
  const auto found = next_.find(id);
  if (found == next_.end()) return;
  spare_.push_back(std::move(found->second));
  next_.erase(found);
}

void States::forget() {
  for (auto& [id, values] : next_) spare_.push_back(std::move(values));
  next_.clear();
}

void States::keep() {
  for (auto& [id, values] : next_) {
    Vector& kept = kept_[id];
    std::swap(kept, values);
    if (!values.empty()) spare_.push_back(std::move(values));
  }
  next_.clear();
}

StatesSum States::sum() const {
  StatesSum sum;
  for (const auto& [id, values] : kept_) {
    const std::array<std::uint64_t, 2> of_client = {id, checksum(std::as_bytes(std::span(values)))};
    sum.checksum += checksum(std::as_bytes(std::span(of_client)));
    ++sum.clients;
  }
  return sum;
}

std::span<float> States::restore(data::ClientId id) {
  Vector& values = kept_[id];
  values.resize(layout_.size());
  return values;
}

std::vector<data::ClientId> States::clients(data::ClientId first, data::ClientId end) const {
  std::vector<data::ClientId> ids;
  for (const auto& [id, values] : kept_)
    if (first <= id && id < end) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::size_t States::memory() const {
  return (kept_.size() + next_.size() + spare_.size() + 1) * layout_.size() * sizeof(float);
}

}  // namespace fedmpi::client
