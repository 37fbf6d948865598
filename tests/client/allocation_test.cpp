// A training step allocates nothing after the first: counted by taking the place of the C library's malloc, which
// operator new and Eigen call too, and of mmap, which long vectors come from.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>

#include "base/error.hpp"
#include "client/algorithm.hpp"
#include "model/kernels/activations.hpp"
#include "support/examples.hpp"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define FEDMPI_COUNTS_ALLOCATIONS 0  // malloc is taken already, or has no second name
#else
#define FEDMPI_COUNTS_ALLOCATIONS 1
#endif

namespace {

thread_local bool counting = false;
thread_local std::size_t allocations = 0;

[[maybe_unused]] void count() { allocations += counting ? 1 : 0; }

}  // namespace

#if FEDMPI_COUNTS_ALLOCATIONS
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t size) noexcept {
  count();
  return __libc_malloc(size);
}
void* calloc(std::size_t n, std::size_t size) noexcept {
  count();
  return __libc_calloc(n, size);
}
void* realloc(void* old, std::size_t size) noexcept {
  count();
  return __libc_realloc(old, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  count();
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** result, std::size_t alignment, std::size_t size) noexcept {
  count();
  *result = __libc_memalign(alignment, size);
  return *result == nullptr ? ENOMEM : 0;
}
void* mmap(void* begin, std::size_t bytes, int protection, int flags, int file, off_t offset) noexcept {
  count();
  return reinterpret_cast<void*>(syscall(SYS_mmap, begin, bytes, protection, flags, file, offset));
}
}  // extern "C"
#endif

namespace fedmpi::client {
namespace {

template <class Work>
std::size_t allocations_of(Work&& work) {
  allocations = 0;
  counting = true;
  work();
  counting = false;
  return allocations;
}

class Allocation : public testing::Test {
 protected:
  void SetUp() override {
    if (!FEDMPI_COUNTS_ALLOCATIONS) GTEST_SKIP() << "malloc belongs to a sanitizer, or is not the GNU C library's";
  }
};

// The compiler has to believe that someone looks at the memory.
void* volatile last_seen = nullptr;
void* seen(void* memory) {
  last_seen = memory;
  return last_seen;
}

TEST_F(Allocation, IsCounted) {
  EXPECT_EQ(allocations_of([] { std::free(seen(std::malloc(10))); }), 1u);
  EXPECT_EQ(allocations_of([] { ::operator delete(seen(::operator new(10))); }), 1u);
  EXPECT_EQ(allocations_of([] { seen(Vector(10).data()); }), 1u);
  EXPECT_EQ(allocations_of([] { seen(Vector(kLargePage).data()); }), 1u);
  EXPECT_EQ(allocations_of([] { seen(Matrix(100, 100).data()); }), 1u);
  EXPECT_EQ(allocations_of([] {}), 0u);
}

// Trains the largest client once, and then counts what it takes to train all of them again.
void expect_none(const model::Options& model_options, const data::Schema& schema, const Options& options) {
  const auto model = model::make(model_options, schema);
  const data::Dataset dataset({test::random_block(schema, {610, 1, 13, 256, 600})});
  const auto algorithm = make(*model, options);
  test::Worker worker(*model, *algorithm, schema, dataset.largest_client());
  const Vector global = test::random_vector(model->layout().size(), 0.05);
  const Vector down(algorithm->down().size()), kept(algorithm->kept().size());
  const auto train = [&](data::ClientId client) {
    worker.train(*algorithm, {.examples = dataset.client(client), .global = global, .down = down, .kept = kept});
  };
  train(0);
  EXPECT_EQ(allocations_of([&] {
              for (data::ClientId c = 0; c < 5; ++c) train(c);
            }),
            0u)
      << options.algorithm << ", batch " << options.batch << ", model " << model_options.kind << " "
      << model_options.activation;
}

TEST_F(Allocation, DoesNotHappenInATrainingStep) {
  const std::vector<data::Schema> schemas = {test::classification(20, 2), test::classification(20, 5),
                                             test::regression(20, 3)};
  std::size_t trained = 0;
  for (const Kind& algorithm : algorithms())
    for (const model::Kind& kind : model::kinds())
      for (const auto& activation : model::kernels::activations())
        for (const data::Schema& schema : schemas) {
          const model::Options options{.kind = kind.name, .hidden = {30, 7}, .activation = activation.name, .l2 = 0.1};
          try {
            model::make(options, schema);
          } catch (const Error&) {
            continue;
          }
          ++trained;
          for (const std::int64_t batch : {0, 10, 32, 600})
            expect_none(options, schema,
                        {.algorithm = algorithm.name, .epochs = 2, .batch = batch, .lr = 0.01, .momentum = 0.9});
        }
  EXPECT_GE(trained, algorithms().size() * model::kinds().size());
}

TEST_F(Allocation, DoesNotHappenInAWideNetwork) {
  data::Schema schema = test::classification(784, 10);
  schema.type = data::FeatureType::uint8;
  schema.scale = 1.0F / 255.0F;
  for (const Kind& algorithm : algorithms())
    for (const std::int64_t batch : {0, 10, 32, 600})
      expect_none({.kind = "mlp", .hidden = {200, 200}}, schema,
                  {.algorithm = algorithm.name, .batch = batch, .lr = 0.01});
}

}  // namespace
}  // namespace fedmpi::client
