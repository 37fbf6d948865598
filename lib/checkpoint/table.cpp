#include "checkpoint/table.hpp"

#include <algorithm>
#include <cstring>

namespace fedmpi::checkpoint {

namespace {

constexpr std::size_t kBytes = 8;  // of a number

// The values of a column, which begins at that byte of each row.
template <class Each>
void for_each_value(std::span<const std::byte> rows, std::size_t row_bytes, std::size_t offset, Each each) {
  for (std::size_t at = offset; at + kBytes <= rows.size(); at += row_bytes) each(rows.subspan(at, kBytes));
}

void add_column(Digest& digest, const std::string& name, std::span<const std::byte> rows, std::size_t row_bytes,
                std::size_t offset) {
  digest.add(name + "\n");
  std::vector<std::byte> values;
  values.reserve(rows.size() / row_bytes * kBytes);
  for_each_value(rows, row_bytes, offset, [&](auto value) { values.insert(values.end(), value.begin(), value.end()); });
  digest.add(std::span<const std::byte>(values));
}

}  // namespace

void write_table(hdf5::File& file, const std::string& path, std::span<const Row> rows, const std::string& metric) {
  const hdf5::Exclusive alone;
  const hdf5::Handle type(H5Tcreate(H5T_COMPOUND, sizeof(Row)), H5Tclose);
  for (const Column& c : columns(metric))
    H5Tinsert(type.get(), c.name.c_str(), c.offset, c.whole ? H5T_NATIVE_UINT64 : H5T_NATIVE_DOUBLE);
  file.create_dataset(path, {rows.size()}, type.get()).write_rows(type.get(), 0, rows.size(), rows.data(), rows.size());
}

Table::Table(const hdf5::Dataset& dataset) {
  const hdf5::Exclusive alone;
  const auto refuse = [&] { dataset.refuse("columns of 64-bit numbers", "others"); };
  if (dataset.element_class() != hdf5::ElementClass::compound) refuse();
  const hdf5::Handle stored(H5Dget_type(dataset.id()), H5Tclose);
  const hdf5::Handle type(H5Tget_native_type(stored.get(), H5T_DIR_ASCEND), H5Tclose);
  const int n = type.get() < 0 ? 0 : H5Tget_nmembers(type.get());
  if (n < 1 || n > 1000) refuse();
  for (unsigned i = 0; i < static_cast<unsigned>(n); ++i) {
    const hdf5::Handle member(H5Tget_member_type(type.get(), i), H5Tclose);
    char* name = H5Tget_member_name(type.get(), i);
    if (name == nullptr) refuse();
    members_.push_back({name, H5Tget_member_offset(type.get(), i), H5Tget_class(member.get()) == H5T_INTEGER});
    H5free_memory(name);
    const bool number = members_.back().whole || H5Tget_class(member.get()) == H5T_FLOAT;
    if (!number || H5Tget_size(member.get()) != kBytes) refuse();
  }
  row_bytes_ = H5Tget_size(type.get());
  bytes_.resize(dataset.size() * row_bytes_);
  dataset.read_compound(type.get(), bytes_);
}

std::vector<Row> Table::rows(const std::string& metric) const {
  std::vector<Row> rows(bytes_.size() / row_bytes_);
  for (const Column& c : columns(metric)) {
    const auto member = std::ranges::find_if(members_, [&](const Member& m) { return m.name == c.name; });
    if (member == members_.end() || member->whole != c.whole) continue;
    auto row = rows.begin();
    for_each_value(bytes_, row_bytes_, member->offset, [&](auto value) {
      std::memcpy(reinterpret_cast<std::byte*>(&*row++) + c.offset, value.data(), kBytes);
    });
  }
  return rows;
}

void Table::add_to(Digest& digest) const {
  for (const Member& m : members_) add_column(digest, m.name, bytes_, row_bytes_, m.offset);
}

void add_to(Digest& digest, std::span<const Row> rows, const std::string& metric) {
  for (const Column& c : columns(metric)) add_column(digest, c.name, std::as_bytes(rows), sizeof(Row), c.offset);
}

}  // namespace fedmpi::checkpoint
