#include "model/weights.hpp"

#include <fmt/ranges.h>

#include "base/error.hpp"

namespace fedmpi::model {

void Tensors::check() const {
  std::set<std::string> known;
  for (const Layout* layout : {&trained_, &frozen_})
    for (const Tensor& t : layout->tensors()) known.insert(t.layer);
  for (const std::string& name : frozen_layers_)
    if (!known.contains(name))
      fail(ExitCode::usage, "model.freeze: '{}' is not known; known are {}", name, fmt::join(known, ", "));
  if (trained_.size() == 0)
    fail(ExitCode::usage, "model.freeze: expected a layer that is left to train, found all frozen: {}",
         fmt::join(frozen_layers_, ", "));
}

}  // namespace fedmpi::model
