#include "data/shard_writer.hpp"

#include <numeric>

#include "data/import/csv.hpp"
#include "data/import/sources.hpp"
#include "data/partition.hpp"
#include "fixtures.hpp"
#include "hdf5/file.hpp"

namespace fedmpi::data {
namespace {

using test::expect_error;
using test::no_progress;
using test::read_all;
using test::TemporaryDirectory;

// A small source in memory, one row per example, of either type and task.
class Rows final : public Source {
 public:
  Rows(std::size_t rows, Schema schema) : rows_(rows), schema_(std::move(schema)) {}
  const Schema& schema() const override { return schema_; }
  const std::vector<std::string>& client_names() const override { return names_; }
  void rewind() override { at_ = 0; }
  bool next(Example& e) override {
    if (at_ == rows_) return false;
    for (std::size_t j = 0; j < schema_.features(); ++j) {
      floats_[j] = static_cast<float>(at_ * 10 + j);
      bytes_[j] = static_cast<std::uint8_t>(at_ * 10 + j);
    }
    const auto n = schema_.features();
    e.features = schema_.type == FeatureType::uint8 ? std::as_bytes(std::span(bytes_).first(n))
                                                    : std::as_bytes(std::span(floats_).first(n));
    e.label = static_cast<std::int32_t>(at_ % 3);
    for (std::size_t k = 0; k < schema_.targets; ++k)
      target_[k] = static_cast<float>(at_) + 0.5F * static_cast<float>(k);
    e.target = std::span(target_).first(schema_.targets);
    ++at_;
    return true;
  }
  void resize(std::size_t rows) { rows_ = rows; }

 private:
  std::size_t rows_, at_ = 0;
  Schema schema_;
  std::vector<std::string> names_;
  std::array<float, 8> floats_{}, target_{};
  std::array<std::uint8_t, 8> bytes_{};
};

constexpr std::size_t kPlenty = std::size_t{1} << 30;

Schema image_schema() { return {Task::classification, 3, 1, {2, 2}, FeatureType::uint8, 0.5F, -1.0F, {}, {}}; }

void write(Source& source, const Schema& schema, const std::vector<std::uint32_t>& client,
           const std::vector<ShardFile>& files, std::size_t memory = kPlenty) {
  ShardWriter writer(schema, memory, no_progress);
  writer.write(source, client, files);
  writer.commit();
}

TEST(ShardWriter, WritesTheFormatOfTheReadme) {
  const TemporaryDirectory dir;
  const std::string path = dir / "shard.h5";
  Rows source(5, image_schema());
  write(source, image_schema(), {1, 0, 1, 1, 0}, {{path, {"anna", "bo"}}});

  const hdf5::File file = hdf5::File::open(path);
  EXPECT_EQ(file.text("format"), "fedmpi-shard");
  EXPECT_EQ(file.integers("version"), std::vector<std::uint64_t>{1});
  EXPECT_EQ(file.text("task"), "classification");
  EXPECT_EQ(file.integers("classes"), std::vector<std::uint64_t>{3});
  EXPECT_EQ(file.integers("feature_shape"), (std::vector<std::uint64_t>{2, 2}));
  EXPECT_EQ(file.number("scale", "/features"), 0.5);
  EXPECT_EQ(file.number("offset", "/features"), -1.0);
  const hdf5::Dataset features = file.dataset("/features");
  EXPECT_EQ(features.shape(), (std::vector<std::size_t>{5, 2, 2}));
  EXPECT_EQ(features.element_bytes(), 1U);
  // Client 0 has examples 1 and 4, client 1 has 0, 2 and 3.
  EXPECT_EQ(features.read_all<std::uint8_t>(),
            (std::vector<std::uint8_t>{10, 11, 12, 13, 40, 41, 42, 43, 0, 1, 2, 3, 20, 21, 22, 23, 30, 31, 32, 33}));
  EXPECT_EQ(file.dataset("/labels").shape(), std::vector<std::size_t>{5});
  EXPECT_EQ(file.dataset("/labels").read_all<std::int32_t>(), (std::vector<std::int32_t>{1, 1, 0, 2, 0}));
  EXPECT_EQ(file.dataset("/clients/offsets").read_all<std::uint64_t>(), (std::vector<std::uint64_t>{0, 2, 5}));
  EXPECT_EQ(file.dataset("/clients/names").read_strings(0, 2), (std::vector<std::string>{"anna", "bo"}));
  EXPECT_FALSE(file.has("/columns"));
  EXPECT_FALSE(file.has("/label_names"));
}

TEST(ShardWriter, WritesWhatColumnsAndLabelsAreCalled) {
  const TemporaryDirectory dir;
  Schema schema = image_schema();
  schema.columns = {"age", "blood pressure", "größe", "x"};
  schema.label_names = {"no", "yes", "perhaps"};
  Rows source(2, schema);
  write(source, schema, {0, 1}, {{dir / "a.h5", {"a"}}, {dir / "b.h5", {"b"}}});
  for (const char* name : {"a.h5", "b.h5"}) {
    const hdf5::File file = hdf5::File::open(dir / name);
    EXPECT_EQ(file.dataset("/columns").read_strings(0, 4), schema.columns);
    EXPECT_EQ(file.dataset("/label_names").read_strings(0, 3), schema.label_names);
  }
}

TEST(ShardWriter, WritesTargetsInTwoDimensions) {
  const TemporaryDirectory dir;
  const Schema schema{Task::regression, 0, 2, {3}, FeatureType::float32, 1.0F, 0.0F, {}, {}};
  Rows source(2, schema);
  write(source, schema, {0, 0}, {{dir / "shard.h5", {"a"}}});
  const hdf5::File file = hdf5::File::open(dir / "shard.h5");
  EXPECT_EQ(file.text("task"), "regression");
  EXPECT_FALSE(file.has_attribute("classes"));
  EXPECT_EQ(file.dataset("/labels").shape(), (std::vector<std::size_t>{2, 2}));
  EXPECT_EQ(file.dataset("/labels").read_all<float>(), (std::vector<float>{0, 0.5, 1, 1.5}));
  EXPECT_EQ(file.dataset("/features").read_all<float>(), (std::vector<float>{0, 1, 2, 10, 11, 12}));
}

// What a list of shards holds, one after another.
struct Content {
  std::vector<std::uint8_t> features;
  std::vector<std::int32_t> labels;
  std::vector<std::uint64_t> sizes;
  std::vector<std::string> names;
  bool operator==(const Content&) const = default;
};

Content content_of(const std::vector<ShardFile>& files) {
  Content content;
  const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  for (const ShardFile& shard : files) {
    const hdf5::File file = hdf5::File::open(shard.path);
    append(content.features, file.dataset("/features").read_all<std::uint8_t>());
    append(content.labels, file.dataset("/labels").read_all<std::int32_t>());
    const auto offsets = file.dataset("/clients/offsets").read_all<std::uint64_t>();
    EXPECT_EQ(offsets.front(), 0U);
    EXPECT_EQ(offsets.back(), file.dataset("/labels").rows());
    for (std::size_t c = 0; c + 1 < offsets.size(); ++c) content.sizes.push_back(offsets[c + 1] - offsets[c]);
    append(content.names, file.dataset("/clients/names").read_strings(0, offsets.size() - 1));
  }
  return content;
}

TEST(ShardWriter, WritesTheSameForAnyMemoryAndAnyNumberOfFiles) {
  constexpr std::size_t kExamples = 200, kClients = 12;
  Census census;
  census.examples = kExamples;
  const Assignment a = assign(census, {}, {"iid", kClients, 0.5, 0.0, 1});
  std::vector<std::uint64_t> sizes(kClients);
  for (const std::uint32_t c : a.client) ++sizes[c];

  const TemporaryDirectory dir;
  Content expected;
  int run = 0;
  for (const std::size_t files : {1U, 3U, 12U})
    for (const std::size_t memory : {kPlenty, std::size_t{1000}, std::size_t{57}, std::size_t{1}}) {
      std::vector<ShardFile> plan;
      auto name = a.names.begin();
      for (const std::size_t count : split_clients(sizes, files)) {
        plan.push_back(
            {dir / fmt::format("{}-{}.h5", run, plan.size()), {name, name + static_cast<std::ptrdiff_t>(count)}});
        name += static_cast<std::ptrdiff_t>(count);
      }
      Rows source(kExamples, image_schema());
      write(source, image_schema(), a.client, plan, memory);
      if (run == 0) expected = content_of(plan);
      EXPECT_EQ(content_of(plan), expected) << files << " files, " << memory << " bytes";
      ++run;
    }
  EXPECT_EQ(expected.sizes, sizes);
  EXPECT_EQ(expected.names, a.names);
}

TEST(ShardWriter, NamesFilesOnlyWhenAllAreWhole) {
  const TemporaryDirectory dir;
  const std::vector<ShardFile> files = {{dir / "a.h5", {"a"}}, {dir / "b.h5", {"b"}}};
  Rows source(4, image_schema());
  {
    ShardWriter writer(image_schema(), kPlenty, no_progress);
    writer.write(source, std::vector<std::uint32_t>{0, 1, 0, 1}, files);
    EXPECT_FALSE(std::filesystem::exists(dir / "a.h5"));
    EXPECT_TRUE(std::filesystem::exists(dir / "a.h5.partial"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  dir.write("a.h5.partial", "left by a run that was killed");
  write(source, image_schema(), {0, 1, 0, 1}, files);
  EXPECT_FALSE(std::filesystem::exists(dir / "a.h5.partial"));
  EXPECT_TRUE(std::filesystem::exists(dir / "a.h5"));
  EXPECT_TRUE(std::filesystem::exists(dir / "b.h5"));
}

TEST(ShardWriter, NeverReplacesAFile) {
  const TemporaryDirectory dir;
  dir.write("b.h5", "something of the user's");
  Rows source(2, image_schema());
  expect_error(ExitCode::cannot_create, {"b.h5", "already exists"}, [&] {
    write(source, image_schema(), {0, 1}, {{dir / "a.h5", {"a"}}, {dir / "b.h5", {"b"}}});
  });
  EXPECT_FALSE(std::filesystem::exists(dir / "a.h5"));
  expect_error(ExitCode::cannot_create, {"nowhere"}, [&] {
    write(source, image_schema(), {0, 0}, {{dir / "nowhere/a.h5", {"a"}}});
  });
}

TEST(ShardWriter, NoticesAnInputThatChanges) {
  for (const std::size_t now : {3U, 5U}) {
    const TemporaryDirectory dir;
    Rows source(now, image_schema());
    expect_error(ExitCode::bad_data, {now < 4 ? "fewer than 4" : "more than 4"}, [&] {
      write(source, image_schema(), {0, 0, 0, 0}, {{dir / "a.h5", {"a"}}});
    });
    EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  }
}

TEST(SplitClients, BalancesExamplesOverFiles) {
  const std::vector<std::uint64_t> equal(10, 5), skewed = {100, 1, 1, 1, 1, 1};
  EXPECT_EQ(split_clients(equal, 1), std::vector<std::size_t>{10});
  EXPECT_EQ(split_clients(equal, 5), std::vector<std::size_t>(5, 2));
  EXPECT_EQ(split_clients(equal, 10), std::vector<std::size_t>(10, 1));
  EXPECT_EQ(split_clients(skewed, 2), (std::vector<std::size_t>{1, 5}));
  EXPECT_EQ(split_clients(std::vector<std::uint64_t>{1, 1, 1, 1, 1, 100}, 3), (std::vector<std::size_t>{4, 1, 1}));
  expect_error(ExitCode::usage, {"from 1 to 10", "found 11"}, [&] { split_clients(equal, 11); });
  expect_error(ExitCode::usage, {"found 0"}, [&] { split_clients(equal, 0); });
}

}  // namespace
}  // namespace fedmpi::data
