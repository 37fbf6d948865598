#include "data/import/idx.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <filesystem>
#include <limits>

#include "base/error.hpp"
#include "data/import/gz.hpp"
#include "data/import/text.hpp"

namespace fedmpi::data {

namespace {

enum class Element : std::uint8_t {
  ubyte = 0x08,
  byte = 0x09,
  int16 = 0x0B,
  int32 = 0x0C,
  float32 = 0x0D,
  float64 = 0x0E
};

struct ElementKind {
  Element type;
  std::size_t bytes;
  const char* name;
};
constexpr std::array<ElementKind, 6> kElements = {{{Element::ubyte, 1, "uint8"},
                                                   {Element::byte, 1, "int8"},
                                                   {Element::int16, 2, "int16"},
                                                   {Element::int32, 4, "int32"},
                                                   {Element::float32, 4, "float32"},
                                                   {Element::float64, 8, "float64"}}};

// Null for a number that names no type.
const ElementKind* find_element(std::uint64_t number) {
  for (const ElementKind& kind : kElements)
    if (static_cast<std::uint64_t>(kind.type) == number) return &kind;
  return nullptr;
}

// A big-endian unsigned number of any width.
std::uint64_t big_endian(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (const std::byte b : bytes) value = value << 8 | std::to_integer<std::uint64_t>(b);
  return value;
}

double decode(Element type, std::span<const std::byte> bytes) {
  const std::uint64_t raw = big_endian(bytes);
  switch (type) {
    case Element::ubyte:
      return static_cast<double>(raw);
    case Element::byte:
      return static_cast<std::int8_t>(raw);
    case Element::int16:
      return static_cast<std::int16_t>(raw);
    case Element::int32:
      return static_cast<std::int32_t>(raw);
    case Element::float32:
      return std::bit_cast<float>(static_cast<std::uint32_t>(raw));
    case Element::float64:
      return std::bit_cast<double>(raw);
  }
  return 0.0;
}

// One IDX file, row by row. The header is believed only when the file is exactly as long as it says.
class IdxFile {
 public:
  explicit IdxFile(const std::string& path) : file_(path) {
    read_header();
    check_length();
    row_.resize(row_elements_ * element_->bytes);
    rewind();
  }

  const std::string& path() const { return file_.path(); }
  Element type() const { return element_->type; }
  std::string text() const { return fmt::format("{} of shape {}", element_->name, fmt::join(shape(), " × ")); }
  std::size_t rows() const { return rows_; }
  const std::vector<std::size_t>& row_shape() const { return row_shape_; }
  std::size_t row_elements() const { return row_elements_; }

  std::span<const std::byte> next_row() {
    if (file_.read(row_) != row_.size()) fail(ExitCode::bad_data, "{}: the file has shrunk while being read", path());
    return row_;
  }
  double element(std::size_t i) const {
    const std::size_t bytes = element_->bytes;
    return decode(element_->type, std::span(row_).subspan(i * bytes, bytes));
  }

  void rewind() {
    file_.rewind();
    std::array<std::byte, 4 + 4 * kMostDimensions> header;
    file_.read(std::span(header).first(4 + 4 * (row_shape_.size() + 1)));
  }

 private:
  static constexpr std::size_t kMostDimensions = 8;

  std::vector<std::size_t> shape() const {
    std::vector<std::size_t> all = {rows_};
    all.insert(all.end(), row_shape_.begin(), row_shape_.end());
    return all;
  }

  void read_header() {
    std::array<std::byte, 4> word{};
    const bool whole = file_.read(word) == word.size();
    const std::uint64_t magic = big_endian(word), rank = magic & 0xFF;
    element_ = find_element(magic >> 8 & 0xFF);
    if (!whole || magic >> 16 != 0 || element_ == nullptr || rank == 0 || rank > kMostDimensions)
      fail(ExitCode::bad_data, "{}: expected the magic number of an IDX file of 1 to {} dimensions, found 0x{:08x}",
           path(), kMostDimensions, magic);
    for (std::size_t d = 0; d < rank; ++d) {
      if (file_.read(word) != word.size())
        fail(ExitCode::bad_data, "{}: expected {} dimensions, found the end of the file after {}", path(), rank, d);
      const auto extent = static_cast<std::size_t>(big_endian(word));
      if (d == 0)
        rows_ = extent;
      else
        row_shape_.push_back(extent);
    }
  }

  // Reads the file through once in a fixed buffer, so that no dimension asks for memory before it is proved.
  void check_length() {
    const std::vector<std::size_t> extents = shape();
    if (std::find(extents.begin(), extents.end(), 0U) != extents.end())
      fail(ExitCode::bad_data, "{}: expected at least one example, with at least one element, found {}", path(),
           text());
    std::size_t row_bytes = element_->bytes, expected = 0;
    bool fits = true;
    for (const std::size_t extent : row_shape_) fits = fits && !__builtin_mul_overflow(row_bytes, extent, &row_bytes);
    fits = fits && !__builtin_mul_overflow(row_bytes, rows_, &expected);
    std::vector<std::byte> buffer(std::size_t{1} << 15);
    std::size_t found = 0;
    while (const std::size_t got = file_.read(buffer)) found += got;
    if (!fits || found != expected)
      fail(ExitCode::bad_data, "{}: expected {} bytes of elements as the dimensions say, found {}", path(),
           fits ? std::to_string(expected) : "more than memory holds", found);
    row_elements_ = row_bytes / element_->bytes;
  }

  GzFile file_;
  const ElementKind* element_ = nullptr;
  std::size_t rows_ = 0, row_elements_ = 1;
  std::vector<std::size_t> row_shape_;
  std::vector<std::byte> row_;
};

class IdxSource final : public Source {
 public:
  IdxSource(const std::string& features, const std::string& labels) : features_(features), labels_(labels) {
    if (labels_.row_elements() != 1 || labels_.type() == Element::float32 || labels_.type() == Element::float64)
      fail(ExitCode::bad_data, "{}: expected one whole number per label, found {}", labels, labels_.text());
    if (labels_.rows() != features_.rows())
      fail(ExitCode::bad_data, "{}: expected {} labels as {} has examples, found {}", labels, features_.rows(),
           features, labels_.rows());
    schema_.feature_shape = features_.row_shape();
    if (schema_.feature_shape.empty()) schema_.feature_shape = {1};
    if (features_.type() == Element::ubyte) {
      schema_.type = FeatureType::uint8;
      schema_.scale = 1.0F / 255.0F;
    } else {
      converted_.resize(features_.row_elements());
    }
  }

  const Schema& schema() const override { return schema_; }
  const std::vector<std::string>& client_names() const override { return no_clients_; }

  void rewind() override {
    features_.rewind();
    labels_.rewind();
    row_ = 0;
  }

  bool next(Example& example) override {
    if (row_ == features_.rows()) return false;
    example.features = features_.next_row();
    if (schema_.type == FeatureType::float32) example.features = convert();
    example.label = label();
    ++row_;
    return true;
  }

 private:
  std::span<const std::byte> convert() {
    for (std::size_t i = 0; i < converted_.size(); ++i) {
      const double x = features_.element(i);
      if (!(std::abs(x) <= std::numeric_limits<float>::max()))
        fail(ExitCode::bad_data, "{}: row {}: expected {}, found {} at element {}", features_.path(), row_, kFloat, x,
             i);
      converted_[i] = static_cast<float>(x);
    }
    return std::as_bytes(std::span(converted_));
  }

  std::int32_t label() {
    labels_.next_row();
    const double label = labels_.element(0);
    if (label < 0)
      fail(ExitCode::bad_data, "{}: row {}: expected a label of 0 or more, found {}", labels_.path(), row_, label);
    return static_cast<std::int32_t>(label);
  }

  IdxFile features_, labels_;
  Schema schema_;
  std::vector<std::string> no_clients_;
  std::vector<float> converted_;
  std::size_t row_ = 0;
};

// `stem` or `stem`.gz in the directory, whichever is there; empty when none is.
std::string find_file(const std::string& directory, const std::string& stem) {
  for (const char* ending : {"", ".gz"}) {
    const std::filesystem::path path = std::filesystem::path(directory) / (stem + ending);
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) return path.string();
  }
  return {};
}

std::unique_ptr<Source> open_split(const std::string& directory, const std::string& split) {
  const std::string features = find_file(directory, split + "-images-idx3-ubyte");
  const std::string labels = find_file(directory, split + "-labels-idx1-ubyte");
  if (features.empty() && labels.empty()) return nullptr;
  if (features.empty() || labels.empty())
    fail(ExitCode::bad_data, "{}: expected {}-{} (or .gz) too, found only {}", directory, split,
         features.empty() ? "images-idx3-ubyte" : "labels-idx1-ubyte", features.empty() ? labels : features);
  return open_idx(features, labels);
}

}  // namespace

std::unique_ptr<Source> open_idx(const std::string& features, const std::string& labels) {
  return std::make_unique<IdxSource>(features, labels);
}

Input open_idx_directory(const std::string& directory) {
  Input splits{open_split(directory, "train"), open_split(directory, "t10k")};
  if (splits.train == nullptr)
    fail(ExitCode::bad_data, "{}: expected train-images-idx3-ubyte and train-labels-idx1-ubyte (or .gz), found neither",
         directory);
  return splits;
}

}  // namespace fedmpi::data
