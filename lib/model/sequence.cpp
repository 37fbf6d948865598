#include "model/sequence.hpp"

#include <algorithm>

namespace fedmpi::model {

namespace {

// The least multiple of a cache line that holds so many floats.
std::size_t lines(std::size_t floats) {
  constexpr std::size_t kLine = kAlignment / sizeof(float);
  return (floats + kLine - 1) / kLine * kLine;
}

Eigen::Index index(std::size_t n) { return static_cast<Eigen::Index>(n); }

}  // namespace

Sequence::Sequence(Shape inputs) : Layer(std::move(inputs)) {}

void Sequence::append(std::unique_ptr<Layer> layer, bool trained) {
  const auto take = [&](std::size_t floats) { return std::exchange(floats_, floats_ + lines(floats)); };
  Step step;
  step.inputs = width();
  if (!steps_.empty()) {  // what were the outputs of the sequence lie in scratch from now on
    Step& below = steps_.back();
    below.outputs_at = below.overwrites ? below.inputs_at : take(width());
    step.inputs_at = below.outputs_at;
    step.overwrites = layer->may_overwrite();
    widest_ = std::max(widest_, lines(width()));
  }
  step.scratch_at = take(layer->scratch());
  elements_of({scratch()}, "the numbers between the model's layers");
  if (lowest_ == steps_.size() && !trained) ++lowest_;
  give(layer->outputs());
  step.layer = std::move(layer);
  steps_.push_back(std::move(step));
}

void Sequence::initialise(Stream& stream, std::span<float> trained, std::span<float> frozen) const {
  for (const Step& s : steps_) s.layer->initialise(stream, trained, frozen);
}

void Sequence::forward(const Weights& w, const ConstMatrixView& x, MatrixView y, std::span<float> scratch) const {
  const std::size_t n = static_cast<std::size_t>(x.cols());
  for (const Step& s : steps_) {
    const float* in = &s == &steps_.front() ? x.data() : place(scratch, n, s.inputs_at);
    float* out = &s == &steps_.back() ? y.data() : place(scratch, n, s.outputs_at);
    s.layer->forward(w, {in, index(s.inputs), x.cols()}, {out, index(s.layer->width()), x.cols()},
                     scratch_of(s, scratch, n));
  }
}

void Sequence::backward(const Weights& w, const ConstMatrixView& x, MatrixView dy, MatrixView dx,
                        const Accumulator& sum, std::span<float> scratch) const {
  const std::size_t n = static_cast<std::size_t>(x.cols());
  const std::size_t lowest = dx.data() != nullptr ? 0 : lowest_;
  float* above = dy.data();
  for (std::size_t l = steps_.size(); l-- > lowest;) {
    const Step& s = steps_[l];
    float* other = above == scratch.data() ? scratch.data() + n * widest_ : scratch.data();
    float* below = l == lowest ? dx.data() : s.overwrites ? above : other;
    const float* in = l == 0 ? x.data() : place(scratch, n, s.inputs_at);
    s.layer->backward(w, {in, index(s.inputs), x.cols()}, {above, index(s.layer->width()), x.cols()},
                      {below, index(s.inputs), x.cols()}, sum, scratch_of(s, scratch, n));
    above = below;
  }
}

float* Sequence::place(std::span<float> scratch, std::size_t rows, std::size_t at) const {
  return scratch.data() + rows * (2 * widest_ + at);
}

std::span<float> Sequence::scratch_of(const Step& s, std::span<float> scratch, std::size_t rows) const {
  return scratch.subspan(rows * (2 * widest_ + s.scratch_at), rows * s.layer->scratch());
}

}  // namespace fedmpi::model
